/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/client/catalog.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/scratch.h"
#include "swupd/client/staging.h"
#include "swupd/client/update_head.h"
#include "swupd/content/format.h"

/*
 * Memory: some 100 bytes for each object that is needed, a pointer for each installed file and the names of one batch of fullfiles. Objects go through in pieces of 64 KiB, packs and fullfiles wait
 * on disk. A delta needs its old and new file and itself in memory (DELTA_RESULT_MAX each); of those where that is much, one is applied at a
 * time.
 */

#define BLOCK 4096 /* a file takes whole blocks */

/* What packs and fullfiles take in the cache at a time: they are removed as they are read, and zero packs measured 0.28 of their content. An update file tells. */
#define DOWNLOAD_SHARE 4

/* Manifests that tell no sizes: nothing in a bundle is larger than all of it, with room for what its builder did not count (CPU variants). */
#define SIZE_SLACK (64ULL << 20)

/* The mode of directories of ours: what is not so may have been filled by others. */
static int check_ours(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s", path);
	return st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

static int make_beneath(int root, const char *path, mode_t mode, struct err *e)
{
	const char *base;
	_cleanup_close_ int dir = fs_open_parent(root, path, &base, e);

	if (dir < 0)
		return dir;
	if (mkdirat(dir, base, mode) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make the directory %s", path);
	return fs_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0, e);
}

static int open_stage(int root, struct err *e)
{
	_cleanup_close_ int usr = make_beneath(root, "usr", 0755, e);
	if (usr < 0)
		return usr;
	_cleanup_close_ int parent = make_beneath(root, STAGE_PARENT, 0700, e);
	if (parent < 0)
		return parent;
	int ours = check_ours(parent, STAGE_PARENT, e);
	if (ours == 0 && (fchown(parent, geteuid(), getegid()) < 0 || fchmod(parent, 0700) < 0))
		return err_errno(e, "%s", STAGE_PARENT);
	_cleanup_close_ int dir = ours < 0 ? ours : make_beneath(root, STAGE_DIR, 0700, e);
	if (dir < 0)
		return dir;
	int same = check_ours(dir, STAGE_DIR, e);
	if (same < 0)
		return same;
	if (ours && same)
		return take_fd(&dir);
	int r = fs_remove_tree(parent, strrchr(STAGE_DIR, '/') + 1, e);
	return r < 0 ? r : make_beneath(root, STAGE_DIR, 0700, e);
}

int stage_open(const struct machine *m, struct err *e)
{
	int fd = open_stage(m->root, e);

	return fd < 0 ? err_in(e, fd, "the place for new files below '%s'", m->path) : fd;
}

struct want *want_claim(struct staging *s, const struct digest *hash)
{
	struct want *w = table_find(s->by_hash, hash->bytes, sizeof(hash->bytes));

	if (!w)
		return NULL;
	pthread_mutex_lock(&s->lock);
	bool free_to_make = w->state == WANT_MISSING;
	if (free_to_make)
		w->state = WANT_BUSY;
	pthread_mutex_unlock(&s->lock);
	return free_to_make ? w : NULL;
}

void want_settle(struct staging *s, struct want *w, bool have)
{
	pthread_mutex_lock(&s->lock);
	w->state = have ? WANT_HAVE : WANT_MISSING;
	if (have)
		s->missing--;
	pthread_mutex_unlock(&s->lock);
}

void stage_note(struct staging *s, char *text)
{
	pthread_mutex_lock(&s->lock);
	strv_take(&s->notes, text);
	pthread_mutex_unlock(&s->lock);
}

void stage_say_notes(struct staging *s)
{
	for (size_t i = 0; i < s->notes.n; i++)
		ui_note(s->m->ui, "%s", s->notes.items[i]);
	strv_free(&s->notes);
}

bool stage_is_fatal(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EROFS;
}

bool stage_falls_through(struct staging *s, int r)
{
	const bool full = r == -ENOSPC || r == -EDQUOT;

	s->was_full = s->was_full || full;
	return full || !stage_is_fatal(r);
}

static int by_hash(const void *a, const void *b)
{
	const struct entry *const *x = a, *const *y = b;

	return memcmp(&(*x)->hash, &(*y)->hash, sizeof((*x)->hash));
}

static void index_installed(struct staging *s)
{
	const struct files *old = s->plan->old;

	if (!old)
		return;
	s->installed = xcalloc(old->n, sizeof(*s->installed));
	for (size_t i = 0; i < old->n; i++)
		if (old->items[i]->kind != KIND_NONE && old->items[i]->status == STATUS_PRESENT)
			s->installed[s->n_installed++] = old->items[i];
	if (s->n_installed)
		qsort(s->installed, s->n_installed, sizeof(*s->installed), by_hash);
}

static const struct digest *installed_at(const void *arg, size_t i)
{
	const struct staging *s = arg;

	return &s->installed[i]->hash;
}

const struct entry *const *installed_find(const struct staging *s, const struct digest *hash, unsigned bytes, size_t *n)
{
	const size_t first = digest_search(installed_at, s, s->n_installed, hash, bytes);

	*n = 0;
	while (first + *n < s->n_installed && memcmp(installed_at(s, first + *n), hash, bytes) == 0)
		++*n;
	return s->installed + first;
}

uint64_t stage_bundle_max(const struct manifest *m)
{
	return m->contentsize ? 2 * m->contentsize + SIZE_SLACK : UINT64_MAX;
}

static uint64_t size_limit(const struct staging *s, const struct change *c)
{
	if (c->want->size != SIZE_UNKNOWN)
		return c->want->size;
	const struct manifest *m = c->bundle ? catalog_find(s->new, c->bundle) : NULL;
	return m ? stage_bundle_max(m) : UINT64_MAX;
}

static void list_wants(struct staging *s)
{
	const struct plan *p = s->plan;

	s->wants = xcalloc(p->n_changes, sizeof(*s->wants));
	s->by_hash = table_new();
	for (size_t i = 0; i < p->n_changes; i++) {
		const struct entry *entry = p->changes[i].want;
		if (!entry || entry->kind == KIND_NONE)
			continue;
		struct want *w = &s->wants[s->n];
		*w = (struct want){.entry = entry, .size_max = size_limit(s, &p->changes[i])};
		if (!table_add(s->by_hash, entry->hash.bytes, sizeof(entry->hash.bytes), w))
			s->n++;
	}
	s->missing = s->n;
}

/* Bytes that the missing objects will take, in whole blocks, as far as manifests tell. */
static uint64_t content_missing(const struct staging *s, uint64_t block, bool *unsized)
{
	bool unknown = false;
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct want *w = &s->wants[i];
		if (w->state != WANT_MISSING || w->promised)
			continue;
		if (w->entry->size == SIZE_UNKNOWN)
			unknown = unknown || w->entry->kind == KIND_FILE;
		else
			sum += (MIN(w->entry->size, CONTENTSIZE_MAX) + block - 1) / block * block;
	}
	/* without sizes only of what is new altogether something is known; the tenth is for what ends in the middle of a block */
	for (size_t i = 0; unknown && i < s->new->n; i++)
		if (!s->old || !catalog_find(s->old, s->new->names[i]))
			sum += s->new->manifests[i]->contentsize / 10 * 11;
	*unsized = unknown;
	return sum;
}

static int measure_space(const struct staging *s, struct stage_needs *n, struct err *e)
{
	struct stat root, cache;

	*n = (struct stage_needs){0};
	n->staging = content_missing(s, BLOCK, &n->unsized);
	_cleanup_close_ int usr = fs_open_beneath(s->m->root, "usr", O_RDONLY | O_DIRECTORY, 0, NULL);
	const int at = usr < 0 ? s->m->root : usr;
	if (fstat(at, &root) < 0 || fstat(s->m->cache, &cache) < 0)
		return err_errno(e, "cannot look for free space");
	n->one_fs = root.st_dev == cache.st_dev;
	int r = fs_free_space(at, &n->root_free, e);
	return r < 0 ? r : fs_free_space(s->m->cache, &n->cache_free, e);
}

static int fits(uint64_t need, uint64_t have, const char *what, const char *where, struct err *e)
{
	if (need <= have)
		return 0;
	_cleanup_free_ char *n = text_size(need), *h = text_size(have);
	return err_hint(e, err_set(e, -ERR_SPACE, "%s takes %s, but %s has only %s left", what, n, where, h),
			"'swupd clean' empties the cache");
}

int stage_fits(const struct machine *m, const struct stage_needs *n, struct err *e)
{
	int r = fits(n->staging + (n->one_fs ? n->transit : 0), n->root_free, "the new content", m->path, e);

	if (r < 0 || n->one_fs)
		return r;
	return fits(n->transit, n->cache_free, "what is to be fetched", "the cache directory", e);
}

/* What is fetched, and what of it is in the cache at a time: sections first, then the rest in packs or alone. The objects of sections are promised. */
static uint64_t measure_transit(struct staging *s, uint64_t *download)
{
	uint64_t sections;
	bool unsized;

	*download = stage_update_measure(s, &sections);
	return MAX(sections, content_missing(s, BLOCK, &unsized) / DOWNLOAD_SHARE);
}

/* transit: also for what is fetched */
static int check_space(struct staging *s, bool transit, struct err *e)
{
	struct stage_needs needs;

	if (s->missing == 0 || s->plan->unchecked_space)
		return 0;
	int r = measure_space(s, &needs, e);
	if (r < 0)
		return r;
	if (transit) {
		needs.transit = measure_transit(s, &needs.download);
		for (size_t i = 0; i < s->n; i++)
			s->wants[i].promised = false;
	}
	return stage_fits(s->m, &needs, e);
}

/* Nobody signs an index: where what it says does not fit, what else there is may. */
static int check_transit(struct staging *s, struct err *e)
{
	struct err why = ERR_INIT;

	int r = check_space(s, true, &why);
	if (r != -ERR_SPACE || !s->m->update || update_head_is_whole(s->m->update)) {
		err_move(e, &why);
		return r;
	}
	stage_note(s, xasprintf("%s is not used: %s", s->m->update->path, why.text));
	err_clear(&why);
	update_head_free(take(s->m->update));
	return check_space(s, true, e);
}

static void staging_end(struct staging *s)
{
	free(s->wants);
	free(s->installed);
	table_free(s->by_hash);
	strv_free(&s->notes);
	free(s->damage);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->large);
	closep(&s->dir);
}

/* Where a publisher has nothing else, what is still missing comes from all that some release has. */
static int stage_whole(struct staging *s, struct err *e)
{
	if (!s->missing || update_head_is_whole(s->m->update))
		return 0;
	int r = update_head_fetch_whole(s->m, s->plan->to, false, e);
	if (r >= 0)
		r = check_space(s, true, e);
	return r < 0 ? r : stage_update(s, e);
}

static int run(struct staging *s, struct err *e)
{
	int r;

	progress_stage(s->m->progress, "validate_fullfiles", s->n, false);
	r = stage_reuse(s, e);
	if (r >= 0)
		r = check_space(s, false, e);
	if (r >= 0)
		r = stage_known(s, e);
	if (r >= 0)
		r = stage_copy(s, e);
	if (r >= 0)
		r = check_transit(s, e);
	if (r >= 0)
		r = stage_update(s, e);
	if (r >= 0)
		r = stage_whole(s, e);
	if (r >= 0)
		r = stage_packs(s, e);
	if (r >= 0)
		r = stage_fullfiles(s, e);
	stage_say_notes(s);
	if (r < 0 && s->was_full && !stage_is_fatal(r))
		r = err_hint(e, err_as(e, -ERR_SPACE),
			     "there was no room for all that comes at once: 'swupd clean' empties the cache");
	return r;
}

int stage_measure(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new,
		  struct stage_needs *out, struct err *e)
{
	_cleanup_(staging_end) struct staging s = {
		.m = m,
		.plan = p,
		.old = old,
		.new = new,
		.rehearsal = true,
		.download = -1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.large = PTHREAD_MUTEX_INITIALIZER,
	};

	s.dir = fs_open_beneath(m->root, STAGE_DIR, O_RDONLY | O_DIRECTORY, 0, NULL);
	list_wants(&s);
	index_installed(&s);
	int r = s.dir < 0 ? 0 : stage_reuse(&s, e);
	if (r >= 0)
		r = measure_space(&s, out, e);
	if (r >= 0)
		r = stage_known(&s, e);
	if (r >= 0)
		r = stage_copy(&s, e);
	if (r < 0)
		return r;
	out->transit = measure_transit(&s, &out->download);
	bool unsized;
	if (content_missing(&s, 1, &unsized) && !update_head_is_whole(m->update)) {
		uint64_t more;
		r = update_head_fetch_whole(m, p->to, false, e);
		if (r < 0)
			return r;
		out->transit = MAX(out->transit, measure_transit(&s, &more));
		out->download += more;
	}
	out->download += content_missing(&s, 1, &unsized);
	out->unsized = out->unsized || unsized;
	out->packs = stage_choose(&s);
	for (size_t i = 0; i < s.n; i++)
		out->fullfiles += s.wants[i].state == WANT_MISSING && !s.wants[i].promised;
	return 0;
}

int stage(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new, struct err *e)
{
	_cleanup_(scratch_close) struct scratch scratch = SCRATCH_INIT;
	_cleanup_(staging_end) struct staging s = {
		.m = m,
		.plan = p,
		.old = old,
		.new = new,
		.dir = -1,
		.download = -1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.large = PTHREAD_MUTEX_INITIALIZER,
	};

	s.dir = stage_open(m, e);
	if (s.dir < 0)
		return s.dir;
	int r = scratch_open(m->cache, &scratch, e);
	if (r < 0)
		return r;
	s.download = scratch.fd;
	list_wants(&s);
	index_installed(&s);
	return run(&s, e);
}
