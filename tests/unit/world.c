/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/world.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/fetch.h"
#include "swupd/client/trust.h"
#include "swupd/content/freshness.h"
#include "swupd/content/layout.h"
#include "swupd/content/tar.h"
#include "tests/unit/test.h"

void world_begin(struct world *w, const char *url)
{
	*w = (struct world){
		.opts =
			{
				.max_parallel_downloads = 4,
				.max_retries = 0,
				.allow_insecure_http = true,
			},
		.m =
			{
				.lock = -1,
				.format_text = xstrdup("30"),
				.format = 30,
				.content_url = xstrdup(url),
				.version_url = xstrdup(url),
				.now = time(NULL),
			},
	};
	ui_init(&w->ui, "unit");
	w->ui.level = UI_QUIET;
	w->opts.certpath = xasprintf("%s/cert/Swupd_Root.pem", test_vectors());
	w->m.opts = &w->opts;
	w->m.ui = &w->ui;
	w->m.root = test_dir(w->root, sizeof(w->root));
	w->m.data = test_dir(w->data, sizeof(w->data));
	w->m.cache = test_dir(w->cache, sizeof(w->cache));
	w->m.path = xstrdup(w->root);
}

void world_end(struct world *w)
{
	struct machine *m = &w->m;

	fetch_free(m->fetch);
	anchors_free(m->anchors);
	trust_free(m->trust);
	closep(&m->root);
	closep(&m->data);
	closep(&m->cache);
	free(m->path);
	free(m->content_url);
	free(m->version_url);
	free(m->format_text);
	free((char *)w->opts.certpath);
}

void world_go_to(struct world *w, const char *url)
{
	free(w->m.content_url);
	free(w->m.version_url);
	w->m.content_url = xstrdup(url);
	w->m.version_url = xstrdup(url);
}

void world_forget_cache(struct world *w)
{
	static const char *const parts[] = {"mom", "manifest", "download"};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		assert_int_equal(fs_remove_tree(w->m.cache, parts[i], NULL), 0);
}

void tree_begin(struct tree *t)
{
	*t = (struct tree){0};
	t->dir = test_dir(t->path, sizeof(t->path));
	snprintf(t->url, sizeof(t->url), "file://%s", t->path);
}

void tree_end(struct tree *t)
{
	closep(&t->dir);
}

void tree_write(struct tree *t, const char *path, const void *data, size_t len)
{
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	assert_int_equal(fs_mkdirs(t->dir, dir, 0755, NULL), 0);
	assert_int_equal(fs_save_cache(t->dir, path, data, len, 0644, NULL), 0);
}

static void write_signed(struct tree *t, const struct test_key *key, const char *path, const struct buf *text)
{
	_cleanup_free_ char *sig_path = xasprintf("%s.sig", path);
	_cleanup_(buf_free) struct buf sig = {0};
	struct err e = ERR_INIT;

	assert_ok(signature_make(&key->signer, text->data, text->len, &sig, &e), &e);
	tree_write(t, path, text->data, text->len);
	tree_write(t, sig_path, sig.data, sig.len);
}

static void format_manifest(uint32_t release, struct entry *entries, size_t n, struct buf *out)
{
	struct manifest *m = manifest_new();

	m->format = 30;
	m->release = release;
	m->timestamp = TEST_NOW;
	m->entries = entries;
	m->n_entries = n;
	manifest_format(m, out);
	manifest_free(m);
}

void tree_add_release(struct tree *t, const struct test_key *key, uint32_t release, const struct entry *entries,
		      size_t n)
{
	static const char *const mom_names[] = {"Manifest.MoM", "Manifest.MoM.sig"};
	static const char *const names[] = {"Manifest.os-core"};
	_cleanup_(buf_free) struct buf bundle = {0}, bundle_tar = {0}, mom_tar = {0};
	_cleanup_free_ char *path = layout_manifest(release, "os-core"), *mom_path = layout_mom(release);
	_cleanup_free_ struct entry *copy = xmemdup(entries, n * sizeof(*entries));
	struct buf mom[2] = {0};
	struct err e = ERR_INIT;

	format_manifest(release, copy, n, &bundle);
	struct entry line = {.name = "os-core", .release = release, .kind = KIND_BUNDLE, .size = SIZE_UNKNOWN};
	manifest_hash(bundle.data, bundle.len, &line.hash);
	format_manifest(release, &line, 1, &mom[0]);
	manifest_hash(mom[0].data, mom[0].len, &t->mom);
	assert_ok(signature_make(&key->signer, mom[0].data, mom[0].len, &mom[1], &e), &e);
	assert_ok(tar_write_texts(names, &bundle, 1, CODEC_GZIP, 0, &bundle_tar, &e), &e);
	assert_ok(tar_write_texts(mom_names, mom, 2, CODEC_NONE, 0, &mom_tar, &e), &e);
	tree_write(t, path, bundle_tar.data, bundle_tar.len);
	tree_write(t, mom_path, mom_tar.data, mom_tar.len);
	buf_free(&mom[0]);
	buf_free(&mom[1]);
}

void tree_write_latest(struct tree *t, const struct test_key *key, uint32_t release)
{
	_cleanup_free_ char *path = layout_latest(30);
	_cleanup_(buf_free) struct buf text = {0};

	buf_printf(&text, "%u\n", release);
	write_signed(t, key, path, &text);
}

void tree_write_freshness(struct tree *t, const struct test_key *key, uint32_t release, int64_t when, uint32_t root)
{
	_cleanup_free_ char *path = layout_freshness(30);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	const struct freshness f = {
		.format = 30,
		.release = release,
		.root = root,
		.time = when,
		.expires = when + 30 * 86400LL,
		.mom = t->mom,
	};

	assert_ok(freshness_write(&f, &key->signer, &text, &e), &e);
	tree_write(t, path, text.data, text.len);
}

struct buf hostile_tar(const struct hostile *members, size_t n)
{
	struct buf b = {0};
	size_t used = 0;
	struct archive *a = archive_write_new();

	buf_reserve(&b, 1 << 20);
	archive_write_set_format_pax(a);
	assert_int_equal(archive_write_open_memory(a, b.data, 1 << 20, &used), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		const struct hostile *m = &members[i];
		struct archive_entry *x = archive_entry_new();
		archive_entry_set_pathname(x, m->name);
		archive_entry_set_filetype(x, m->type);
		archive_entry_set_perm(x, m->perm);
		archive_entry_set_size(x, m->hard_link || !m->content ? 0 : (la_int64_t)strlen(m->content));
		if (m->hard_link)
			archive_entry_set_hardlink(x, m->hard_link);
		else if (m->type == AE_IFLNK)
			archive_entry_set_symlink(x, m->content);
		if (m->xattr) {
			archive_entry_xattr_add_entry(x, "user.test", "value", 5);
			/* vfs_cap_data revision 2: cap_setuid, effective */
			archive_entry_xattr_add_entry(x, "security.capability",
						      "\1\0\0\2\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
		}
		assert_int_equal(archive_write_header(a, x), ARCHIVE_OK);
		if (m->type == AE_IFREG && !m->hard_link && m->content)
			archive_write_data(a, m->content, strlen(m->content));
		archive_entry_free(x);
	}
	archive_write_close(a);
	archive_write_free(a);
	b.len = used;
	return b;
}
