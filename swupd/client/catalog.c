/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/catalog.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/client/scratch.h"
#include "swupd/client/update_head.h"
#include "swupd/content/delta.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/tar.h"

#define MANIFEST_DELTA_MAX (64UL << 20)
#define TRIES              2 /* a ".part" of an earlier run may have been resumed from another file */

/* Manifests that come one by one: of more all come in one file, where the tree has one, and there are none that they could be made from. */
#define SINGLE_MAX 4

/* One bundle of a load. Its manifest is known by its hash wherever it comes from. */
struct item {
	const struct entry *entry;     /* in the MoM */
	const struct entry *old_entry; /* of the text that a delta applies to; NULL: no delta */
	uint32_t old_release;
	char hex[DIGEST_HEX];      /* its name in the store */
	char *tar, *delta;         /* names in download/ */
	struct manifest *manifest; /* NULL: not here yet */
	bool fetched;              /* the delta or tar is there */
};

/*
 * A load goes in rounds, one for each level of includes: items[from..n) are the round's, found in the cache, else by delta, else by tar. Reading, hashing and
 * parsing runs on all cores.
 */
struct load {
	struct machine *m;
	const struct catalog *base;
	uint32_t release;
	struct table *listed; /* the MoM's entries by name */
	struct table *known;  /* names that are items */
	struct item *items;
	size_t n, cap, from;
	unsigned levels;
	bool deltas;   /* the tree seems to have some */
	bool last_try; /* what is wrong now is an error */
	int store;     /* <cache>/manifest: texts by hash; only verified ones, and verified again at each use */
	struct scratch download;
};

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		manifest_free(c->manifests[i]);
	free(c->manifests);
	free(c->names);
	manifest_free(c->mom);
	free(c);
}

struct manifest *catalog_find(const struct catalog *c, const char *name)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int r = strcmp(c->names[mid], name);
		if (r == 0)
			return c->manifests[mid];
		if (r < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* What this CPU can do, less what the owner of the machine forbids. Another root may run anywhere. */
static unsigned cpu_levels(const struct machine *m)
{
	unsigned levels = strcmp(m->path, "/") == 0 ? manifest_cpu_levels() : 0;

	if (fs_exists(m->root, "etc/clear/elf-replace-avx2"))
		levels &= ~1U;
	if (fs_exists(m->root, "etc/clear/elf-replace-avx512"))
		levels &= ~2U;
	return levels;
}

static int manifest_error(const struct item *it, int r, struct err *e)
{
	if (r <= -ERR_USAGE && r != -ERR_CONNECT && r != -ERR_TLS && r != -ERR_CONFIG)
		r = err_as(e, -ERR_MANIFEST);
	return err_in(e, r, "manifest of bundle '%s' (release %" PRIu32 ")", it->entry->name, it->entry->release);
}

static bool hash_is(const struct buf *text, const struct digest *want)
{
	struct digest hash;

	manifest_hash(text->data, text->len, &hash);
	return digest_equal(&hash, want);
}

/* text is what the MoM lists. */
static int use_text(const struct load *l, struct item *it, const struct buf *text, struct err *e)
{
	int r = manifest_parse(text->data, text->len, false, it->entry->release, &it->manifest, e);

	if (r < 0)
		return r;
	manifest_select(it->manifest, l->levels);
	return 0;
}

static int keep_text(const struct load *l, struct item *it, const struct buf *text, struct err *e)
{
	int r = fs_save_cache(l->store, it->hex, text->data, text->len, 0644, e);

	return r < 0 ? r : use_text(l, it, text, e);
}

static int read_stored(void *arg, size_t i, struct err *e)
{
	const struct load *l = arg;
	struct item *it = &l->items[l->from + i];
	_cleanup_(buf_free) struct buf text = {0};

	if (it->manifest)
		return 0;
	int r = fs_load(l->store, it->hex, MANIFEST_MAX, &text, NULL);
	if (r == -ENOENT)
		return 0;
	if (r < 0 || !hash_is(&text, &it->entry->hash)) {
		(void)fs_remove_tree(l->store, it->hex, NULL); /* cut short by a crash, most likely */
		return 0;
	}
	r = use_text(l, it, &text, e);
	return r < 0 ? manifest_error(it, r, e) : 0;
}

/* Whatever is wrong with a delta, the tar comes next. */
static int apply_delta(void *arg, size_t i, struct err *e)
{
	const struct load *l = arg;
	struct item *it = &l->items[l->from + i];
	_cleanup_(buf_free) struct buf old = {0}, delta = {0}, new = {0};
	char old_hex[DIGEST_HEX];
	struct attrs attrs;
	int r;

	if (!it->fetched)
		return 0;
	it->fetched = false;
	digest_format(&it->old_entry->hash, old_hex);
	r = fs_load(l->download.fd, it->delta, MANIFEST_DELTA_MAX, &delta, NULL);
	(void)unlinkat(l->download.fd, it->delta, 0);
	if (r < 0 || fs_load(l->store, old_hex, MANIFEST_MAX, &old, NULL) < 0 || !hash_is(&old, &it->old_entry->hash) ||
	    delta_apply(old.data, old.len, delta.data, delta.len, &attrs, &new, NULL) < 0 || new.len > MANIFEST_MAX ||
	    !hash_is(&new, &it->entry->hash))
		return 0;
	r = keep_text(l, it, &new, e);
	return r < 0 ? manifest_error(it, r, e) : 0;
}

static int unpack(const struct load *l, struct item *it, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0}, text = {0};
	_cleanup_free_ char *member = xasprintf("Manifest.%s", it->entry->name);
	const char *names[] = {member};

	int r = fs_load(l->download.fd, it->tar, MANIFEST_MAX, &tar, e);
	if (r < 0)
		return r;
	r = tar_read_texts(tar.data, tar.len, names, 1, MANIFEST_MAX, &text, e);
	if (r < 0)
		return r;
	buf_add(&text, "", 0);
	if (!hash_is(&text, &it->entry->hash))
		return err_set(e, -ERR_DIGEST, "it is not the one that the MoM lists");
	return keep_text(l, it, &text, e);
}

static int unpack_tar(void *arg, size_t i, struct err *e)
{
	const struct load *l = arg;
	struct item *it = &l->items[l->from + i];

	if (!it->fetched)
		return 0;
	it->fetched = false;
	int r = unpack(l, it, e);
	(void)unlinkat(l->download.fd, it->tar, 0);
	/* it->manifest stays NULL, which asks for one more try */
	if ((r == -ERR_DIGEST || r == -ERR_FORMAT) && !l->last_try)
		return 0;
	return r < 0 ? manifest_error(it, r, e) : 0;
}

static int delta_done(void *arg, const struct fetch_job *job, int result, struct err *e __attribute__((unused)))
{
	bool *any = arg;
	struct item *it = job->user;

	it->fetched = result >= 0;
	*any = *any || it->fetched;
	return 0;
}

static int tar_done(void *arg __attribute__((unused)), const struct fetch_job *job, int result, struct err *e)
{
	struct item *it = job->user;

	it->fetched = result >= 0;
	return result < 0 ? manifest_error(it, result, e) : 0;
}

static void free_jobs(struct fetch_job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((char *)jobs[i].path);
	free(jobs);
}

static int fetch_deltas(struct load *l, struct err *e)
{
	struct fetch_job *jobs = xcalloc(l->n - l->from, sizeof(*jobs));
	bool any = false;
	size_t n = 0;

	for (size_t i = l->from; i < l->n; i++) {
		struct item *it = &l->items[i];
		if (!it->manifest && it->old_entry)
			jobs[n++] = (struct fetch_job){
				.path = layout_manifest_delta(it->entry->release, it->entry->name, it->old_release),
				.name = it->delta,
				.max = MANIFEST_DELTA_MAX,
				.user = it,
			};
	}
	int r = n == 0 ? 0
		       : fetch_files(l->m->fetch, l->m->content_url, l->download.fd, jobs, n, delta_done, &any, NULL,
				     e);
	free_jobs(jobs, n);
	if (n > 0 && !any)
		l->deltas = false; /* this tree has none: the next rounds need not ask */
	return r < 0 || !any ? r : work_each(0, l->n - l->from, apply_delta, l, e);
}

static int fetch_tars(struct load *l, struct err *e)
{
	struct fetch_job *jobs = xcalloc(l->n - l->from, sizeof(*jobs));
	size_t n = 0;

	for (size_t i = l->from; i < l->n; i++) {
		struct item *it = &l->items[i];
		if (!it->manifest)
			jobs[n++] = (struct fetch_job){
				.path = layout_manifest(it->entry->release, it->entry->name),
				.name = it->tar,
				.max = MANIFEST_MAX,
				.user = it,
			};
	}
	int r = n == 0 ? 0
		       : fetch_files(l->m->fetch, l->m->content_url, l->download.fd, jobs, n, tar_done, NULL, NULL, e);
	free_jobs(jobs, n);
	return r < 0 || n == 0 ? r : work_each(0, l->n - l->from, unpack_tar, l, e);
}

static size_t count_missing(const struct load *l)
{
	size_t n = 0;

	for (size_t i = l->from; i < l->n; i++)
		n += !l->items[i].manifest;
	return n;
}

static bool round_complete(const struct load *l)
{
	return count_missing(l) == 0;
}

/* Some of what came was wrong. */
static void leave_mirror(const struct load *l)
{
	struct err why = ERR_INIT;

	err_set(&why, -ERR_DIGEST, "a manifest is not the one that the MoM lists");
	(void)fetch_leave(l->m->fetch, l->m->content_url, -ERR_DIGEST, &why);
	err_clear(&why);
}

/* All of items[from..n), from the cache or the server. */
static int load_round(struct load *l, struct err *e)
{
	int r = work_each(0, l->n - l->from, read_stored, l, e);

	if (r < 0 || round_complete(l))
		return r;
	fetch_machine(l->m);
	if (!l->base && !l->m->offline && count_missing(l) > SINGLE_MAX) {
		update_head_fetch_manifests(l->m, l->release);
		r = work_each(0, l->n - l->from, read_stored, l, e);
		if (r < 0 || round_complete(l))
			return r;
	}
	if (l->deltas)
		r = fetch_deltas(l, e);
	for (int i = 1; r >= 0 && i <= TRIES && !round_complete(l); i++) {
		l->last_try = i == TRIES;
		if (i > 1)
			leave_mirror(l);
		r = fetch_tars(l, e);
	}
	return r;
}

/* The text that a delta to entry applies to: that of the same bundle in base, if it is another. */
static void find_old(const struct load *l, struct item *it)
{
	const struct manifest *old = l->base ? catalog_find(l->base, it->entry->name) : NULL;
	const struct entry *entry = old ? manifest_find(l->base->mom, it->entry->name) : NULL;

	if (!entry || digest_equal(&entry->hash, &it->entry->hash))
		return;
	it->old_entry = entry;
	it->old_release = old->release;
}

/* 1: added, or there already; 0: the MoM does not have it. */
static int want(struct load *l, const char *name)
{
	const struct entry *entry = table_find_str(l->listed, name);

	if (!entry)
		return 0;
	if (table_add_str(l->known, entry->name, (void *)entry))
		return 1;
	VEC_GROW(l->items, l->n, l->cap);
	struct item *it = &l->items[l->n++];
	*it = (struct item){.entry = entry};
	digest_format(&entry->hash, it->hex);
	/* the bundle's name, too: two may have the same manifest. A file name takes BUNDLE_NAME_LIMIT and this. */
	it->tar = xasprintf("manifest-%s-%.16s.tar", entry->name, it->hex);
	it->delta = xasprintf("manifest-%s-%.16s.delta", entry->name, it->hex);
	find_old(l, it);
	return 1;
}

static int want_included(struct load *l, const struct manifest *by, const char *by_name, const char *name,
			 struct strv *missing, struct err *e)
{
	if (want(l, name))
		return 0;
	if (!missing)
		return err_set(e, -ERR_BUNDLE, "bundle '%s' (release %" PRIu32 ") includes '%s', which is no bundle",
			       by_name, by->release, name);
	if (!strv_has(missing, name))
		strv_add(missing, name);
	return 0;
}

/* What items[from..end) include are the next round's items. */
static int want_next(struct load *l, size_t end, bool also_add, struct strv *missing, struct err *e)
{
	int r = 0;

	for (size_t i = l->from; i < end && r >= 0; i++) {
		const struct manifest *m = l->items[i].manifest;
		const char *name = l->items[i].entry->name;
		for (size_t k = 0; k < m->n_includes && r >= 0; k++)
			r = want_included(l, m, name, m->includes[k], missing, e);
		for (size_t k = 0; also_add && k < m->n_also_add && r >= 0; k++)
			r = want_included(l, m, name, m->also_add[k], missing, e);
	}
	l->from = end;
	return r;
}

static int load_begin(struct load *l, struct machine *m, const struct manifest *mom, struct err *e)
{
	assert(m->cache >= 0);
	*l = (struct load){.m = m, .levels = cpu_levels(m), .download = SCRATCH_INIT};
	l->store = fs_make_dir(m->cache, "manifest", 0755, e);
	int r = l->store < 0 ? l->store : scratch_open(m->cache, &l->download, e);
	if (r < 0)
		return r;
	l->release = mom->release;
	l->listed = manifest_index(mom);
	l->known = table_new();
	return 0;
}

static void load_end(struct load *l)
{
	for (size_t i = 0; i < l->n; i++) {
		manifest_free(l->items[i].manifest);
		free(l->items[i].tar);
		free(l->items[i].delta);
	}
	free(l->items);
	table_free(l->listed);
	table_free(l->known);
	closep(&l->store);
	scratch_close(&l->download);
}

static int by_item_name(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return strcmp(x->entry->name, y->entry->name);
}

static struct catalog *catalog_of(struct load *l, struct manifest *mom)
{
	struct catalog *c = xcalloc(1, sizeof(*c));

	if (l->n)
		qsort(l->items, l->n, sizeof(*l->items), by_item_name);
	c->mom = mom;
	c->n = l->n;
	c->names = xcalloc(l->n, sizeof(*c->names));
	c->manifests = xcalloc(l->n, sizeof(*c->manifests));
	for (size_t i = 0; i < l->n; i++) {
		c->names[i] = l->items[i].entry->name;
		c->manifests[i] = take(l->items[i].manifest);
	}
	return c;
}

int catalog_load(struct machine *m, struct manifest *mom, const struct strv *names, bool also_add,
		 const struct catalog *base, struct strv *missing, struct catalog **out, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *ours = mom;
	_cleanup_(load_end) struct load l = {.download = SCRATCH_INIT};

	int r = load_begin(&l, m, mom, e);
	l.base = base;
	l.deltas = base != NULL;
	for (size_t i = 0; i < names->n && r >= 0; i++) {
		if (want(&l, names->items[i]))
			continue;
		if (!missing)
			r = err_set(e, -ERR_BUNDLE, "release %" PRIu32 " has no bundle '%s'", mom->release,
				    names->items[i]);
		else if (!strv_has(missing, names->items[i]))
			strv_add(missing, names->items[i]);
	}
	while (r >= 0 && l.from < l.n) {
		size_t end = l.n;
		progress_total(m->progress, end - l.from);
		r = load_round(&l, e);
		progress_add(m->progress, end - l.from);
		if (r >= 0)
			r = want_next(&l, end, also_add, missing, e);
	}
	if (r < 0)
		return r;
	*out = catalog_of(&l, take(ours));
	return 0;
}

int catalog_bundle(struct machine *m, const struct manifest *mom, const char *name, struct manifest **out,
		   struct err *e)
{
	_cleanup_(load_end) struct load l = {.download = SCRATCH_INIT};

	int r = load_begin(&l, m, mom, e);
	if (r >= 0 && !want(&l, name))
		r = err_set(e, -ERR_BUNDLE, "release %" PRIu32 " has no bundle '%s'", mom->release, name);
	if (r >= 0)
		r = load_round(&l, e);
	if (r < 0)
		return r;
	*out = take(l.items[0].manifest);
	return 0;
}
