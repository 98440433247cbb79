/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/diff.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "mixer/step/validating.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/delta.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/pack.h"

#define WWW   "update/www/"
#define CHUNK (64UL << 10)

/* A pack, or a delta of a manifest. */
struct job {
	bool is_pack;
	const struct entry *line; /* of the MoM */
	const struct manifest *manifest;
	uint32_t from;
	char *path; /* below www; owned */
};

struct packs {
	struct validating *v;
	struct job *jobs;
	size_t n, cap;
	pthread_mutex_t large; /* one delta with a large old or new file at a time: they are whole in memory */
};

#define LARGE (64UL << 20)

static void packs_clear(struct packs *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->jobs[i].path);
	free(p->jobs);
	pthread_mutex_destroy(&p->large);
}

/* "<prefix><bundle><middle><from><suffix>" of this bundle */
static bool parse_name(const char *name, const char *prefix, const char *bundle, const char *middle, const char *suffix,
		       uint32_t *from)
{
	_cleanup_free_ char *start = xasprintf("%s%s%s", prefix, bundle, middle);
	const size_t all = strlen(name), skip = strlen(start), end = strlen(suffix);

	if (!text_starts(name, start) || !text_ends(name, suffix) || all <= skip + end)
		return false;
	_cleanup_free_ char *digits = xstrndup(name + skip, all - skip - end);
	return text_u32(digits, 0, INT32_MAX, from) == 0;
}

static void add_job(struct packs *p, size_t bundle, const char *name)
{
	const struct release *release = p->v->release;
	struct job j = {.line = &release->mom->entries[bundle], .manifest = release->bundles[bundle]};

	j.is_pack = parse_name(name, "pack-", j.line->name, "-from-", ".tar", &j.from);
	if (!j.is_pack && !parse_name(name, "Manifest-", j.line->name, "-delta-from-", "", &j.from))
		return;
	j.path = layout_release_file(j.line->release, name);
	VEC_GROW(p->jobs, p->n, p->cap);
	p->jobs[p->n++] = j;
}

static bool has_objects(const struct manifest *m)
{
	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].kind != KIND_NONE)
			return true;
	return false;
}

/* The packs of each bundle lie in the directory of its release. A release made without packs has none at all. */
static int list_jobs(struct packs *p, struct err *e)
{
	const struct release *release = p->v->release;

	for (size_t b = 0; b < release->n; b++) {
		const struct entry *line = &release->mom->entries[b];
		_cleanup_free_ char *dir = xasprintf(WWW "%u", line->release);
		_cleanup_free_ char *zero = xasprintf("pack-%s-from-0.tar", line->name);
		_cleanup_(strv_free) struct strv names = {0};
		bool packs = false;
		int r = fs_list(p->v->m->config->dir, dir, &names, e);
		if (r < 0)
			return r;
		for (size_t i = 0; i < names.n; i++) {
			packs |= text_starts(names.items[i], "pack-") && text_ends(names.items[i], "-from-0.tar");
			add_job(p, b, names.items[i]);
		}
		if (packs && has_objects(release->bundles[b]) && !strv_has(&names, zero))
			finding(p->v, "%u/%s is missing", line->release, zero);
	}
	return 0;
}

static int load_text(const struct packs *p, const char *path, size_t max, struct buf *out, struct err *e)
{
	_cleanup_free_ char *below = xasprintf(WWW "%s", path);

	int r = fs_load(p->v->m->config->dir, below, max, out, e);
	buf_puts(out, "");
	return r;
}

static int load_old_manifest(const struct packs *p, const struct job *j, struct buf *out)
{
	_cleanup_free_ char *path = layout_manifest_plain(j->from, j->line->name);

	return load_text(p, path, MANIFEST_MAX, out, NULL);
}

/* What the pack must have: digest → entry. NULL: the old manifest is not there any more, so nobody knows. */
static struct table *wanted(const struct packs *p, const struct job *j)
{
	_cleanup_(manifest_freep) struct manifest *old = j->from ? NULL : manifest_new();
	_cleanup_(buf_free) struct buf text = {0};

	if (j->from &&
	    (load_old_manifest(p, j, &text) < 0 || manifest_parse(text.data, text.len, false, j->from, &old, NULL) < 0))
		return NULL;
	struct table *want = table_new();
	_cleanup_(table_freep) struct table *index = manifest_index(old);
	for (size_t i = 0; i < j->manifest->n_entries; i++) {
		const struct entry *x = &j->manifest->entries[i];
		if (diff_brings(x, j->from, index))
			(void)table_add(want, &x->hash, sizeof(x->hash), (void *)x);
	}
	return want;
}

static int apply(const struct packs *p, const struct pack_member *m, const struct buf *delta, struct digest *out,
		 struct err *e)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};
	struct attrs a;

	/* of a release whose content is no longer in the cache only the form can be checked */
	if (store_load(p->v->m->store, &m->from, DELTA_RESULT_MAX, &old, NULL) < 0) {
		*out = m->hash;
		return 0;
	}
	int r = delta_apply(old.data, old.len, delta->data, delta->len, &a, &new, e);
	if (r >= 0)
		file_hash_mem(&a, new.data, new.len, out);
	return r;
}

static int hash_delta(struct packs *p, struct pack *pack, const struct pack_member *m, struct digest *out,
		      struct err *e)
{
	_cleanup_(buf_free) struct buf delta = {0};
	struct delta_header h;
	int n = 1;

	if (m->attrs.size > DELTA_RESULT_MAX)
		return err_set(e, -ERR_LIMIT, "the delta is too large");
	while (n > 0) {
		n = pack_read(pack, buf_reserve(&delta, CHUNK), CHUNK, e);
		if (n < 0)
			return n;
		delta.len += (size_t)n;
	}
	int r = delta_parse_header(delta.data, delta.len, &h, e);
	if (r < 0)
		return r;
	const bool large = h.old_len > LARGE || h.new_len > LARGE;
	if (large)
		pthread_mutex_lock(&p->large);
	r = apply(p, m, &delta, out, e);
	if (large)
		pthread_mutex_unlock(&p->large);
	return r;
}

static int check_members(struct packs *p, const struct job *j, struct pack *pack, struct table *seen,
			 const struct table *known, struct err *e)
{
	struct pack_member m;
	int r;

	while ((r = pack_next(pack, &m, e)) > 0) {
		struct digest real;
		char hex[DIGEST_HEX];
		struct entry *x = table_find(known, &m.hash, sizeof(m.hash));
		digest_format(&m.hash, hex);
		if (m.is_delta)
			r = hash_delta(p, pack, &m, &real, e);
		else
			r = file_hash_source(&m.attrs, m.link, pack_read_source, pack, &real, e);
		if (r < 0)
			return err_in(e, r, "%s", x ? x->name : hex);
		if (!x)
			finding(p->v, "%s has %s, which the bundle has not", j->path, hex);
		else if (!digest_equal(&real, &m.hash))
			finding(p->v, "%s has something else for %s", j->path, x->name);
		else
			(void)table_add(seen, &x->hash, sizeof(x->hash), x);
	}
	return r;
}

static void report_missing(struct packs *p, const struct job *j, const struct table *want, const struct table *seen)
{
	const struct entry *first = NULL;
	size_t n = 0;

	for (size_t i = 0; i < j->manifest->n_entries; i++) {
		const struct entry *x = &j->manifest->entries[i];
		/* each hash once: the entry that the table has */
		if (table_find(want, &x->hash, sizeof(x->hash)) != x || table_find(seen, &x->hash, sizeof(x->hash)))
			continue;
		first = first ? first : x;
		n++;
	}
	if (n == 1)
		finding(p->v, "%s lacks %s", j->path, first->name);
	else if (n)
		finding(p->v, "%s lacks %s and %zu more", j->path, first->name, n - 1);
}

static void check_pack(struct packs *p, const struct job *j)
{
	_cleanup_free_ char *below = xasprintf(WWW "%s", j->path);
	_cleanup_close_ int fd = openat(p->v->m->config->dir, below, O_RDONLY | O_CLOEXEC);
	_cleanup_(table_freep) struct table *seen = table_new(), *known = table_new(), *want = NULL;
	_cleanup_(pack_closep) struct pack *pack = NULL;
	struct err why = ERR_INIT;

	for (size_t i = 0; i < j->manifest->n_entries; i++) {
		const struct entry *x = &j->manifest->entries[i];
		if (x->kind != KIND_NONE)
			(void)table_add(known, &x->hash, sizeof(x->hash), (void *)x);
	}
	int r = fd < 0 ? err_errno(&why, "cannot be opened") : pack_open(fd, &pack, &why);
	if (r >= 0)
		r = check_members(p, j, pack, seen, known, &why);
	if (r < 0)
		finding(p->v, "%s: %s", j->path, why.text);
	else if ((want = wanted(p, j)))
		report_missing(p, j, want, seen);
	err_clear(&why);
}

static void check_manifest_delta(struct packs *p, const struct job *j)
{
	_cleanup_(buf_free) struct buf old = {0}, delta = {0}, made = {0};
	struct err why = ERR_INIT;
	struct digest real = digest_zero;
	struct attrs a;

	if (load_old_manifest(p, j, &old) < 0)
		return;
	int r = load_text(p, j->path, MANIFEST_MAX, &delta, &why);
	if (r >= 0)
		r = delta_apply(old.data, old.len, delta.data, delta.len, &a, &made, &why);
	if (r >= 0)
		file_hash_mem(&a, made.data, made.len, &real);
	if (r < 0)
		finding(p->v, "%s: %s", j->path, why.text);
	else if (!digest_equal(&real, &j->line->hash))
		finding(p->v, "%s does not give the manifest that the MoM lists", j->path);
	err_clear(&why);
}

static int check_one(void *arg, size_t i, struct err *e)
{
	struct packs *p = arg;
	const struct job *j = &p->jobs[i];

	(void)e;
	progress_add(p->v->m->progress, 1);
	if (j->is_pack)
		check_pack(p, j);
	else
		check_manifest_delta(p, j);
	return 0;
}

int validate_packs(struct validating *v, struct err *e)
{
	_cleanup_(packs_clear) struct packs p = {.v = v, .large = PTHREAD_MUTEX_INITIALIZER};

	int r = list_jobs(&p, e);
	if (r < 0 || v->quick)
		return r;
	progress_stage(v->m->progress, "packs", p.n, false);
	return work_each(v->m->config->threads, p.n, check_one, &p, e);
}
