/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mixer/step/keys.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "mixer/step/validating.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/format.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"

#define WWW "update/www/"

static void add(struct validating *v, struct strv *list, const char *fmt, va_list ap)
{
	char *text = xvasprintf(fmt, ap);

	pthread_mutex_lock(&v->lock);
	strv_take(list, text);
	pthread_mutex_unlock(&v->lock);
}

void finding(struct validating *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(v, &v->findings, fmt, ap);
	va_end(ap);
}

void note(struct validating *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(v, &v->notes, fmt, ap);
	va_end(ap);
}

/* A text below www. False, and a finding: it is not there, or cannot be read. */
static bool load(struct validating *v, const char *path, struct buf *out)
{
	_cleanup_free_ char *below = xasprintf(WWW "%s", path);
	struct err e = ERR_INIT;

	int r = fs_load(v->m->config->dir, below, MANIFEST_MAX, out, &e);
	if (r == -ENOENT)
		finding(v, "%s is missing", path);
	else if (r < 0)
		finding(v, "%s: %s", path, e.text);
	err_clear(&e);
	buf_puts(out, "");
	return r >= 0;
}

static bool same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The tar is what clients read: it must have the same texts. One that is wanted without data may be anything. */
static void check_tar(struct validating *v, const char *path, const char *const *names, const struct buf *want,
		      size_t n)
{
	_cleanup_(buf_free) struct buf tar = {0};
	struct buf got[2] = {{0}, {0}};
	struct err e = ERR_INIT;

	if (!load(v, path, &tar))
		return;
	if (tar_read_texts(tar.data, tar.len, names, n, MANIFEST_MAX, got, &e) < 0)
		finding(v, "%s: %s", path, e.text);
	else
		for (size_t i = 0; i < n; i++)
			if (want[i].data && !same(&got[i], &want[i]))
				finding(v, "%s has another text than %s", path, names[i]);
	err_clear(&e);
	for (size_t i = 0; i < n; i++)
		buf_free(&got[i]);
}

static int check_signature(struct validating *v, const char *path, const struct buf *mom, const struct buf *sig,
			   struct err *e)
{
	_cleanup_(anchors_freep) struct anchors *anchors = NULL;
	const int64_t now = (int64_t)time(NULL);
	struct err why = ERR_INIT;

	int r = keys_anchors(v->m, now, &anchors, e);
	if (r == -ERR_EXPIRED) {
		finding(v, "%s: the keys that may sign have expired", path);
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	if (signature_verify(anchors, mom->data, mom->len, sig->data, sig->len, now, &why) < 0)
		finding(v, "%s: %s", path, why.text);
	err_clear(&why);
	return 0;
}

static int check_mom(struct validating *v, uint32_t release, struct buf *mom, struct err *e)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig"};
	_cleanup_free_ char *path = layout_manifest_plain(release, "MoM"), *tar = layout_mom(release);
	_cleanup_free_ char *sig_path = layout_mom_signature(release);
	struct buf texts[2] = {{0}, {0}};
	int r = 0;

	if (load(v, path, &texts[0])) {
		bool sig = load(v, sig_path, &texts[1]);
		if (sig)
			r = check_signature(v, sig_path, &texts[0], &texts[1], e);
		/* once keys have changed, the tar still has the first signature */
		const struct buf want[2] = {texts[0], keys_newest_root(v->m) ? (struct buf){0} : texts[1]};
		check_tar(v, tar, names, want, sig ? 2 : 1);
	}
	*mom = texts[0];
	buf_free(&texts[1]);
	return r;
}

static void check_manifest(struct validating *v, const struct entry *line)
{
	_cleanup_free_ char *path = layout_manifest_plain(line->release, line->name);
	_cleanup_free_ char *tar = layout_manifest(line->release, line->name),
			    *name = xasprintf("Manifest.%s", line->name);
	_cleanup_(buf_free) struct buf text = {0};
	struct digest real;

	if (!load(v, path, &text))
		return;
	manifest_hash(text.data, text.len, &real);
	if (!digest_equal(&real, &line->hash) || (line->size != SIZE_UNKNOWN && line->size != text.len))
		finding(v, "%s is not what the MoM lists", path);
	check_tar(v, tar, (const char *const[]){name}, &text, 1);
}

static void check_attached(struct validating *v, const struct manifest *mom)
{
	for (size_t i = 0; i < mom->n_attached; i++) {
		_cleanup_free_ char *path = layout_release_file(mom->release, mom->attached[i].name);
		_cleanup_(buf_free) struct buf text = {0};
		struct digest real;
		if (!load(v, path, &text))
			continue;
		sha256_mem(text.data, text.len, &real);
		if (!digest_equal(&real, &mom->attached[i].sha256) || mom->attached[i].size != text.len)
			finding(v, "%s is not what the MoM lists", path);
	}
}

int validate_texts(struct validating *v, uint32_t release, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *mom = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	progress_stage(v->m->progress, "manifests", 0, false);
	int r = check_mom(v, release, &text, e);
	if (r < 0 || text.len == 0)
		return r;
	r = manifest_parse(text.data, text.len, true, release, &mom, e);
	if (r < 0)
		return err_in(e, r, "Manifest.MoM");
	for (size_t i = 0; i < mom->n_entries; i++)
		check_manifest(v, &mom->entries[i]);
	check_attached(v, mom);
	return 0;
}

struct fullfiles {
	struct validating *v;
	const struct entry **entries;
	size_t n, cap;
};

static int check_fullfile(void *arg, size_t i, struct err *e)
{
	struct fullfiles *f = arg;
	const struct entry *x = f->entries[i];
	_cleanup_free_ char *path = layout_fullfile(x->release, &x->hash), *below = xasprintf(WWW "%s", path);
	struct err why = ERR_INIT;

	(void)e;
	progress_add(f->v->m->progress, 1);
	_cleanup_close_ int fd = openat(f->v->m->config->dir, below, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && table_find(f->v->on_the_way, &x->hash, sizeof(x->hash)))
		return 0;
	if (fd < 0)
		finding(f->v, "%s (%s) %s", path, x->name, errno == ENOENT ? "is missing" : "cannot be opened");
	else if (!f->v->quick && fullfile_check(fd, &x->hash, &why) < 0)
		finding(f->v, "%s (%s): %s", path, x->name, why.text);
	err_clear(&why);
	return 0;
}

int validate_fullfiles(struct validating *v, struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	struct fullfiles f = {.v = v};

	for (size_t b = 0; b < v->release->n; b++) {
		const struct manifest *m = v->release->bundles[b];
		for (size_t i = 0; i < m->n_entries; i++) {
			const struct entry *x = &m->entries[i], *other;
			if (x->kind == KIND_NONE)
				continue;
			/* one hash can be asked for in the directories of several releases */
			other = table_add(seen, &x->hash, sizeof(x->hash), (void *)x);
			if (other && other->release == x->release)
				continue;
			VEC_GROW(f.entries, f.n, f.cap);
			f.entries[f.n++] = x;
		}
	}
	progress_stage(v->m->progress, "fullfiles", f.n, false);
	int r = work_each(v->m->config->threads, f.n, check_fullfile, &f, e);
	free(f.entries);
	return r;
}

static void validating_clear(struct validating *v)
{
	strv_free(&v->findings);
	strv_free(&v->notes);
	table_free(v->on_the_way);
	pthread_mutex_destroy(&v->lock);
}

static int check_all(struct validating *v, uint32_t number, struct err *e)
{
	_cleanup_(release_freep) struct release *release = NULL;

	int r = validate_texts(v, number, e);
	/* what is damaged may not load */
	if (r < 0 || v->findings.n)
		return r;
	r = release_load(v->m, number, &release, e);
	if (r < 0)
		return r;
	v->release = release;
	r = validate_ways(v, e);
	if (r >= 0)
		r = validate_fullfiles(v, e);
	if (r >= 0)
		r = validate_packs(v, e);
	if (r >= 0)
		r = validate_updates(v, e);
	return r < 0 ? r : validate_programs(v, e);
}

int validate_list(const struct mix *m, uint32_t release, bool quick, struct strv *findings, struct err *e)
{
	_cleanup_(validating_clear) struct validating v = {
		.m = m, .quick = quick, .lock = PTHREAD_MUTEX_INITIALIZER, .on_the_way = table_new()};

	int r = check_all(&v, release, e);
	strv_sort_unique(&v.findings);
	for (size_t i = 0; i < v.findings.n; i++)
		strv_add(findings, v.findings.items[i]);
	strv_sort_unique(&v.notes);
	for (size_t i = 0; i < v.notes.n; i++)
		ui_note(m->ui, "%s", v.notes.items[i]);
	return r < 0 ? err_in(e, r, "cannot check release %u", release) : 0;
}

int validate(const struct mix *m, uint32_t release, bool quick, struct err *e)
{
	_cleanup_(strv_free) struct strv findings = {0};

	int r = validate_list(m, release, quick, &findings, e);
	progress_end(m->progress);
	/* also those that were found before something kept us from looking further */
	for (size_t i = 0; i < findings.n; i++)
		ui_answer(m->ui, "%s", findings.items[i]);
	if (r < 0)
		return r;
	if (findings.n)
		return err_set(e, -ERR_INCOMPLETE, "release %u: %zu %s", release, findings.n,
			       findings.n == 1 ? "finding" : "findings");
	ui_message(m->ui, "release %u: nothing is wrong", release);
	return 0;
}
