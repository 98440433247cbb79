/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/job.h"
#include "mixer/step/objects.h"
#include "mixer/step/release.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/table.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/layout.h"
#include "swupd/content/pack.h"
#include "swupd/content/tar.h"
#include "tests/unit/mixed.h"

/* Both fullfiles and packs: what the steps behind the manifests make of the content. */

static void hash_member(const struct attrs *a, const char *link, const struct buf *content, struct digest *out)
{
	if (a->kind == KIND_LINK && link)
		file_hash_mem(a, link, strlen(link), out);
	else
		file_hash_mem(a, content->data, content->len, out);
}

static void read_tar(struct tar *t, struct buf *out)
{
	struct err e = ERR_INIT;
	int n;

	do {
		n = tar_read(t, buf_reserve(out, 65536), 65536, &e);
		assert_ok(n, &e);
		out->len += (size_t)n;
	} while (n > 0);
}

/* The fullfile holds exactly what its name says. */
static void check_fullfile(const struct mixed *x, uint32_t release, const struct digest *want)
{
	_cleanup_free_ char *name = layout_fullfile(release, want), *path = xasprintf("update/www/%s", name);
	_cleanup_(buf_free) struct buf file = {0}, content = {0};
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member member;
	struct digest real;
	struct err e = ERR_INIT;

	assert_ok(fs_load(x->config.dir, path, 1 << 24, &file, &e), &e);
	assert_ok(tar_open_mem(file.data, file.len, &t, &e), &e);
	assert_int_equal(tar_next(t, &member, &e), 1);
	_cleanup_free_ char *link = member.link ? xstrdup(member.link) : NULL;
	struct attrs a = member.attrs;
	read_tar(t, &content);
	hash_member(&a, link, &content, &real);
	assert_true(digest_equal(&real, want));
	assert_int_equal(tar_next(t, &member, &e), 0);
}

/* All objects of a pack, each checked: how often each hash is in it. Keys lie in *digests. */
static struct table *read_pack(const struct mixed *x, const char *path, struct digest *digests, size_t *n)
{
	_cleanup_close_ int fd = openat(x->config.dir, path, O_RDONLY | O_CLOEXEC);
	_cleanup_(pack_closep) struct pack *p = NULL;
	struct table *t = table_new();
	struct pack_member m;
	struct err e = ERR_INIT;
	int r;

	assert_true(fd >= 0);
	assert_ok(pack_open(fd, &p, &e), &e);
	for (*n = 0; (r = pack_next(p, &m, &e)) > 0; (*n)++) {
		_cleanup_(buf_free) struct buf content = {0};
		_cleanup_free_ char *link = m.link ? xstrdup(m.link) : NULL;
		struct digest real;
		int got;
		assert_false(m.is_delta);
		do {
			got = pack_read(p, buf_reserve(&content, 65536), 65536, &e);
			assert_ok(got, &e);
			content.len += (size_t)got;
		} while (got > 0);
		hash_member(&m.attrs, link, &content, &real);
		assert_true(digest_equal(&real, &m.hash));
		digests[*n] = m.hash;
		assert_null(table_add(t, &digests[*n], sizeof(*digests), &digests[*n]));
	}
	assert_ok(r, &e);
	return t;
}

static size_t count_files(int dirfd, const char *path)
{
	_cleanup_(buf_free) struct buf out = {0};
	const char *const argv[] = {"find", path, "-type", "f", "-printf", ".", NULL};
	struct err e = ERR_INIT;

	assert_ok(proc_check(&(struct proc){.argv = argv, .dirfd = dirfd, .out = &out}, &e), &e);
	return out.len;
}

static void mixture(struct mixed *x, const char *changing)
{
	_cleanup_free_ char *large = mixed_noise(300000, 1);

	mixed_bundle(x, "os-core", "");
	mixed_file(x, "/usr/bin/large", 0755, large, 300000);
	mixed_file(x, "/usr/bin/setuid", 04755, "setuid", 6);
	mixed_text(x, "/usr/lib/changing", changing);
	mixed_text(x, "/usr/lib/empty", "");
	mixed_link(x, "/usr/lib/link", "changing");
	mixed_text(x, "/usr/share/one", "the same");
	mixed_text(x, "/usr/share/two", "the same");
}

TEST(compress_makes_a_fullfile_of_each_object_of_the_release)
{
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	mixture(&x, "10");
	mixed_release(&x, 10, 0);
	mixture(&x, "20");
	mixed_release(&x, 20, 10);
	_cleanup_(release_freep) struct release *r = NULL;
	assert_ok(release_load(&x.m, 20, &r, &e), &e);
	const struct manifest *m = release_find(r, "os-core");
	for (size_t i = 0; i < m->n_entries; i++)
		check_fullfile(&x, m->entries[i].release, &m->entries[i].hash);
	/* directories are one object, equal files are, and nothing is published twice */
	assert_int_equal(count_files(x.config.dir, "update/www/10/files"), 7);
	assert_int_equal(count_files(x.config.dir, "update/www/20/files"), 1);
	mixed_end(&x);
}

TEST(compress_makes_anew_what_a_crash_left_empty_in_the_cache)
{
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	mixture(&x, "10");
	mixed_release(&x, 10, 0);
	/* the names came to the disk, their content did not; links to published files are cut first */
	const char *const argv[] = {"sh", "-ec", "for f in $(find fullfiles parts -type f); do rm $f; : >$f; done",
				    NULL};
	assert_ok(proc_check(&(struct proc){.argv = argv, .dirfd = x.m.cache}, &e), &e);
	assert_ok(fs_remove_tree(x.config.dir, "update", &e), &e);
	mixture(&x, "10");
	mixed_release(&x, 10, 0);
	_cleanup_(release_freep) struct release *r = NULL;
	assert_ok(release_load(&x.m, 10, &r, &e), &e);
	const struct manifest *m = release_find(r, "os-core");
	struct digest digests[16];
	size_t n;
	for (size_t i = 0; i < m->n_entries; i++)
		check_fullfile(&x, 10, &m->entries[i].hash);
	_cleanup_(table_freep) struct table *t = read_pack(&x, "update/www/10/pack-os-core-from-0.tar", digests, &n);
	assert_int_equal(table_count(t), 7);
	mixed_end(&x);
}

TEST(compress_names_the_file_whose_content_is_damaged)
{
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	mixture(&x, "10");
	x.m.release = 10;
	for (size_t i = 0; i < x.trees.n; i++)
		tree_sort(x.trees.bundles[i].tree);
	struct node *n = tree_find(x.trees.bundles[0].tree, "/usr/lib/changing");
	assert_non_null(n);
	char hex[DIGEST_HEX];
	digest_format(&n->hash, hex);
	_cleanup_free_ char *object = xasprintf("objects/%.2s/%s", hex, hex);
	assert_ok(fs_save_cache(x.m.cache, object, "1", 1, 0644, &e), &e);
	struct tree *full = x.trees.full;
	x.trees.full = x.trees.bundles[0].tree;
	assert_ok(release_trees_save(&x.m, &x.trees, &e), &e);
	x.trees.full = full;
	assert_ok(describe(&x.m, &x.trees, 0, &e), &e);
	assert_fails(compress(&x.m, &e), ERR_DIGEST, &e, "/usr/lib/changing");
	mixed_end(&x);
}

TEST(assemble_puts_each_object_of_a_bundle_into_its_pack_once)
{
	struct digest digests[16];
	struct err e = ERR_INIT;
	struct mixed x;
	size_t n;

	mixed_begin(&x);
	mixture(&x, "10");
	mixed_release(&x, 10, 0);
	mixture(&x, "20");
	mixed_release(&x, 20, 10);
	_cleanup_(release_freep) struct release *r = NULL;
	assert_ok(release_load(&x.m, 20, &r, &e), &e);
	const struct manifest *m = release_find(r, "os-core");
	_cleanup_(table_freep) struct table *t = read_pack(&x, "update/www/20/pack-os-core-from-0.tar", digests, &n);
	assert_int_equal(n, 7);
	for (size_t i = 0; i < m->n_entries; i++)
		assert_non_null(table_find(t, &m->entries[i].hash, sizeof(m->entries[i].hash)));
	mixed_end(&x);
}

static void many_files(struct mixed *x, int changed)
{
	mixed_bundle(x, "os-core", "");
	for (int i = 0; i < 400; i++) {
		_cleanup_free_ char *path = xasprintf("/usr/share/%03d", i);
		_cleanup_free_ char *text = mixed_noise(30000, (unsigned)(i == changed ? 1000 : i));
		mixed_file(x, path, 0644, text, 30000);
	}
}

TEST(assemble_makes_one_part_again_for_one_file_that_changed)
{
	struct mixed x;
	size_t counts[3];

	mixed_begin(&x);
	for (int i = 0; i < 3; i++) {
		many_files(&x, i == 2 ? 200 : -1);
		if (i < 2) /* the second makes all anew, but nothing has changed */
			assert_int_equal(fs_remove_tree(x.config.dir, "update", NULL), 0);
		mixed_release(&x, i == 2 ? 20 : 10, i == 2 ? 10 : 0);
		counts[i] = count_files(x.m.cache, "parts");
	}
	/* 12 MB in parts of 1 MiB, more or less */
	assert_in_range(counts[0], 5, 40);
	assert_int_equal(counts[1], counts[0]);
	/* the part that has it; two when its hash ends a part, or the old one did */
	assert_in_range(counts[2], counts[0] + 1, counts[0] + 2);
	mixed_end(&x);
}

TEST(assemble_makes_the_same_packs_on_any_number_of_threads)
{
	struct buf packs[2] = {{0}, {0}};
	struct err e = ERR_INIT;

	for (int i = 0; i < 2; i++) {
		struct mixed x;
		mixed_begin(&x);
		x.config.threads = i ? 4 : 1;
		many_files(&x, -1);
		mixed_release(&x, 10, 0);
		assert_ok(fs_load(x.config.dir, "update/www/10/pack-os-core-from-0.tar", 1 << 24, &packs[i], &e), &e);
		mixed_end(&x);
	}
	assert_int_equal(packs[0].len, packs[1].len);
	assert_memory_equal(packs[0].data, packs[1].data, packs[0].len);
	buf_free(&packs[0]);
	buf_free(&packs[1]);
}

TEST(assemble_makes_no_pack_of_a_bundle_that_only_has_deletions)
{
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	mixed_bundle(&x, "app", "os-core");
	mixed_text(&x, "/usr/bin/app", "app");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/lib/core", "core");
	mixed_release(&x, 10, 0);
	mixed_bundle(&x, "app", "os-core");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/lib/core", "core");
	mixed_release(&x, 20, 10);
	assert_true(fs_exists(x.config.dir, "update/www/20/Manifest.app"));
	assert_false(fs_exists(x.config.dir, "update/www/20/pack-app-from-0.tar"));
	_cleanup_(release_freep) struct release *r = NULL;
	assert_ok(release_load(&x.m, 20, &r, &e), &e);
	assert_int_equal(release_find(r, "app")->contentsize, 0);
	mixed_end(&x);
}

TEST(assemble_makes_a_part_that_several_bundles_have_once)
{
	static const char *const names[] = {"app", "other", "third"};
	struct digest digests[4];
	struct mixed x;

	mixed_begin(&x);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *own = xasprintf("/usr/share/%s", names[i]);
		_cleanup_free_ char *large = mixed_noise(300000, 1);
		mixed_bundle(&x, names[i], "");
		mixed_file(&x, "/usr/bin/large", 0755, large, 300000); /* a part of its own */
		mixed_text(&x, own, own);
	}
	mixed_release(&x, 10, 0);
	assert_int_equal(count_files(x.m.cache, "parts"),
			 2 + ARRAY_LEN(names)); /* directories, large; each one's own */
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *path = xasprintf("update/www/10/pack-%s-from-0.tar", names[i]);
		size_t n;
		_cleanup_(table_freep) struct table *t = read_pack(&x, path, digests, &n);
		assert_int_equal(table_count(t), 3);
	}
	mixed_end(&x);
}

static void make_part(const struct mixed *x, const struct member *member, struct buf *out)
{
	const struct job j = {.kind = &job_part, .members = member, .n = 1};
	struct err e = ERR_INIT;

	assert_ok(job_part.make(&x->m, &j, out, &e), &e);
}

TEST(assemble_compresses_a_large_file_no_more_where_it_has_a_fullfile)
{
	_cleanup_free_ char *large = mixed_noise(300000, 1);
	_cleanup_(buf_free) struct buf fullfile = {0}, with = {0}, without = {0};
	struct node node = {.path = "/usr/bin/large", .attrs = {.kind = KIND_FILE, .mode = 0755, .size = 300000}};
	const struct member member = {.node = &node, .size = 300000};
	struct err e = ERR_INIT;
	struct mixed x;
	size_t len;

	mixed_begin(&x);
	mixed_bundle(&x, "os-core", "");
	mixed_file(&x, "/usr/bin/large", 0755, large, 300000);
	mixed_release(&x, 10, 0);
	file_hash_mem(&node.attrs, large, 300000, &node.hash);
	_cleanup_free_ char *cached = cache_path(&x.m, "fullfiles", &node.hash, &e);
	assert_ok(fs_load(x.m.cache, cached, 1 << 20, &fullfile, &e), &e);
	const char *content =
		fullfile_find_content(&fullfile, &node.hash, &node.attrs, x.config.codec, x.config.level, &len);
	assert_non_null(content);
	make_part(&x, &member, &with);
	assert_int_equal(unlinkat(x.m.cache, cached, 0), 0);
	make_part(&x, &member, &without);
	assert_int_equal(with.len, without.len);
	assert_memory_equal(with.data, without.data, with.len);
	assert_memory_equal(with.data + with.len - len, content, len);
	/* it is not looked at again: what the fullfile has is taken as it is */
	fullfile.data[fullfile.len / 2] ^= 1;
	assert_ok(fs_save_cache(x.m.cache, cached, fullfile.data, fullfile.len, 0644, &e), &e);
	with.len = 0;
	make_part(&x, &member, &with);
	assert_memory_not_equal(with.data, without.data, without.len);
	mixed_end(&x);
}
