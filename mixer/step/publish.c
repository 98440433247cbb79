/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mixer/step/keys.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "mixer/step/ways.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/format.h"
#include "swupd/content/freshness.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/tar.h"

#define WWW "update/www"

static int pack_texts(const struct mix *m, int dir, const char *tar_name, const char *const *names, struct buf *texts,
		      size_t n, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0};

	int r = tar_write_texts(names, texts, n, m->config->codec, m->config->level, &tar, e);
	return r < 0 ? err_in(e, r, "%s", tar_name) : fs_save_cache(dir, tar_name, tar.data, tar.len, 0644, e);
}

static int pack_manifest(const struct mix *m, int dir, const char *bundle, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("Manifest.%s", bundle), *tar = xasprintf("Manifest.%s.tar", bundle);
	_cleanup_(buf_free) struct buf text = {0};
	const char *const names[] = {name};

	int r = fs_load(dir, name, MANIFEST_MAX, &text, e);
	return r < 0 ? r : pack_texts(m, dir, tar, names, &text, 1, e);
}

static int pack_mom(const struct mix *m, int dir, bool sign, struct err *e)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig"};
	struct buf texts[2] = {{0}, {0}};

	int r = fs_load(dir, names[0], MANIFEST_MAX, &texts[0], e);
	if (r >= 0 && sign) {
		r = signature_make(&m->config->signer, texts[0].data, texts[0].len, &texts[1], e);
		if (r >= 0)
			r = fs_save_cache(dir, names[1], texts[1].data, texts[1].len, 0644, e);
	}
	if (r >= 0)
		r = pack_texts(m, dir, "Manifest.MoM.tar", names, texts, sign ? 2 : 1, e);
	buf_free(&texts[0]);
	buf_free(&texts[1]);
	return r;
}

/* 1: the release is there and the same, 0: it is not there. */
static int published_before(const struct mix *m, int dir, struct err *e)
{
	_cleanup_free_ char *mom = xasprintf(WWW "/%u/Manifest.MoM", m->release);
	_cleanup_(buf_free) struct buf old = {0}, new = {0};

	if (!fs_exists(m->config->dir, mom))
		return 0;
	int r = fs_load(m->config->dir, mom, MANIFEST_MAX, &old, e);
	if (r >= 0)
		r = fs_load(dir, "Manifest.MoM", MANIFEST_MAX, &new, e);
	if (r < 0)
		return r;
	if (old.len == new.len && memcmp(old.data, new.data, old.len) == 0)
		return 1;
	return err_hint(e, err_set(e, -ERR_CONFLICT, "release %u is published with other content", m->release),
			"'mixer versions update' takes the next number");
}

static int complete_tree(const struct mix *m, int dir, const struct release *release, bool sign, struct err *e)
{
	_cleanup_free_ char *format = xasprintf("%u", m->format);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < release->n; i++)
		if (release->mom->entries[i].release == m->release)
			r = pack_manifest(m, dir, release->mom->entries[i].name, e);
	if (r >= 0)
		r = fs_save_cache(dir, "format", format, strlen(format), 0644, e);
	if (r >= 0)
		r = pack_mom(m, dir, sign, e);
	/* everything of it must be durable before its name is */
	if (r >= 0 && syncfs(dir) < 0)
		r = err_errno(e, "cannot write out the release");
	return r;
}

int publish(const struct mix *m, bool sign, struct err *e)
{
	_cleanup_free_ char *new = release_new_path(m->release), *final = xasprintf(WWW "/%u", m->release);
	_cleanup_(release_freep) struct release *release = NULL;
	_cleanup_close_ int dir = fs_open_dir(m->config->dir, new, e);

	progress_stage(m->progress, "publish", 0, false);
	int r = dir < 0 ? dir : published_before(m, dir, e);
	if (r == 1) {
		r = fs_remove_tree(m->config->dir, new, e);
		return r < 0 ? r : 1;
	}
	if (r >= 0)
		r = release_load_new(m, &release, e);
	if (r >= 0)
		r = complete_tree(m, dir, release, sign, e);
	if (r >= 0 && renameat(m->config->dir, new, m->config->dir, final) < 0)
		r = err_errno(e, "%s", final);
	if (r >= 0)
		r = fs_sync_dir(m->config->dir, WWW, e);
	return r < 0 ? err_in(e, r, "cannot publish release %u", m->release) : 0;
}

/* The value and its signature: two files, so the signature comes first; a client that reads between the two tries again. */
static int save_signed(const struct mix *m, const char *path, uint32_t release, bool sign, struct err *e)
{
	_cleanup_free_ char *file = xasprintf(WWW "/%s", path), *sig_file = xasprintf(WWW "/%s.sig", path);
	_cleanup_free_ char *text = xasprintf("%u", release);
	_cleanup_(buf_free) struct buf sig = {0};
	int r;

	if (sign) {
		r = signature_make(&m->config->signer, text, strlen(text), &sig, e);
		if (r >= 0)
			r = fs_save(m->config->dir, sig_file, sig.data, sig.len, 0644, e);
	} else {
		r = fs_remove_tree(m->config->dir, sig_file, e);
	}
	return r < 0 ? r : fs_save(m->config->dir, file, text, strlen(text), 0644, e);
}

static int64_t time_of_publishing(void)
{
	const char *epoch =
		getenv("SOURCE_DATE_EPOCH"); /* NOLINT(concurrency-mt-unsafe): nobody changes the environment */
	uint64_t seconds;

	return epoch && text_u64(epoch, 0, INT64_MAX, &seconds) == 0 ? (int64_t)seconds : (int64_t)time(NULL);
}

/* All clients read them each time they look for updates: only those that are ways of one step. */
static int say_ways(const struct mix *m, struct freshness *f, struct err *e)
{
	_cleanup_(ways_clear) struct ways all = {0};

	int r = ways_load(m, f->release, &all, &f->updates, e);
	f->has_updates = r > 0;
	for (size_t i = 0; i < all.n; i++)
		if (all.items[i].to == f->release && all.items[i].head)
			ways_add_step(&f->direct, &all.items[i]);
	return r;
}

/* before: what was said last; NULL: nothing that must not be taken back */
static int save_freshness(const struct mix *m, uint32_t release, const struct freshness *before, struct err *e)
{
	_cleanup_free_ char *mom = xasprintf(WWW "/%u/Manifest.MoM", release);
	_cleanup_free_ char *name = layout_freshness(m->format), *file = xasprintf(WWW "/%s", name);
	_cleanup_(buf_free) struct buf text = {0}, out = {0};
	_cleanup_(freshness_clear) struct freshness f = {
		.format = m->format, .release = release, .root = keys_newest_root(m)};

	int r = fs_load(m->config->dir, mom, MANIFEST_MAX, &text, e);
	if (r >= 0)
		r = say_ways(m, &f, e);
	if (r < 0)
		return r;
	manifest_hash(text.data, text.len, &f.mom);
	f.time = time_of_publishing();
	f.expires = f.time + (int64_t)m->config->freshness_days * 86400;
	if (before) {
		f.time = MAX(f.time, before->time);
		f.expires = MAX(f.expires, before->expires);
	}
	r = freshness_write(&f, &m->config->signer, &out, e);
	return r < 0 ? r : fs_save(m->config->dir, file, out.data, out.len, 0644, e);
}

int publish_renewed(const struct mix *m, uint32_t release, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *mom = NULL;
	_cleanup_(freshness_clear) struct freshness f = {0}, now = {.release = release};
	_cleanup_(buf_free) struct buf text = {0};
	struct mix of_format = *m;

	int r = release_load_mom(m, release, &mom, e);
	if (r < 0)
		return r;
	of_format.format = mom->format;
	_cleanup_free_ char *name = layout_freshness(of_format.format), *file = xasprintf(WWW "/%s", name);
	if (!fs_exists(m->config->dir, file))
		return 0;
	r = fs_load(m->config->dir, file, SMALL_TEXT_MAX, &text, e);
	if (r >= 0)
		r = freshness_parse(text.data, text.len, &f, NULL, NULL, e);
	if (r >= 0)
		r = say_ways(m, &now, e);
	_cleanup_free_ char *dir = xasprintf(WWW "/version/format%u", of_format.format);
	if (r >= 0)
		r = fs_tmp_sweep(m->config->dir, dir, e);
	if (r >= 0 && f.release == release &&
	    (f.has_updates != now.has_updates || !digest_equal(&f.updates, &now.updates)))
		r = save_freshness(&of_format, release, &f, e);
	return r < 0 ? err_in(e, r, "cannot say which updates there are to release %" PRIu32, release) : 0;
}

/* What was said, and signed, of an older release must not stand beside what is said of this one. */
static int remove_freshness(const struct mix *m, struct err *e)
{
	_cleanup_free_ char *name = layout_freshness(m->format), *file = xasprintf(WWW "/%s", name);

	return fs_remove_tree(m->config->dir, file, e);
}

int publish_freshness(const struct mix *m, uint32_t release, bool sign, struct err *e)
{
	_cleanup_free_ char *latest = layout_latest(m->format), *tree = xasprintf(WWW "/%u", release);
	_cleanup_free_ char *dir = xasprintf(WWW "/version/format%u", m->format);

	int r = fs_mkdirs(m->config->dir, dir, 0755, e);
	/* a run that was killed leaves what it was writing, without its name */
	if (r >= 0)
		r = fs_tmp_sweep(m->config->dir, dir, e);
	if (r >= 0)
		r = fs_tmp_sweep(m->config->dir, WWW "/version", e);
	if (r >= 0)
		r = fs_tmp_sweep(m->config->dir, tree, e);
	/* freshness first: it is one file, and who has it does not read the others */
	if (r >= 0)
		r = sign ? save_freshness(m, release, NULL, e) : remove_freshness(m, e);
	if (r >= 0)
		r = save_signed(m, latest, release, sign, e);
	return r < 0 ? err_in(e, r, "cannot say that release %u is the newest of format %u", release, m->format) : 0;
}

int publish_latest(const struct mix *m, uint32_t release, bool sign, struct err *e)
{
	_cleanup_free_ char *any = layout_latest_version();

	int r = publish_freshness(m, release, sign, e);
	if (r < 0)
		return r;
	r = save_signed(m, any, release, sign, e);
	return r < 0 ? err_in(e, r, "cannot say that release %u is the newest", release) : 0;
}
