/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mixer/input/cache.h"
#include "mixer/input/tree.h"
#include "mixer/step/gc.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

#define RELEASES "update/releases"
#define TREE_MAX (2UL << 30)

/* Folders of the cache, by what has a time of its own there. What else lies in the cache is not ours to remove. */
static const char *const of_files[] = {"objects", "packages", "made",    "fullfiles", "parts", "deltas",
				       "diffs",   "sections", "samples", "jobs",      "debs",  "sources"};
static const char *const of_trees[] = {"tools", "kernels", "buildroots", "rebuilds"};

struct sweeping {
	const struct mix *m;
	bool dry_run;
	int64_t since;      /* what was used later stays */
	struct table *keep; /* digests, whatever their age */
	struct arena *arena;
	uint64_t files, bytes;
};

static void sweeping_clear(struct sweeping *s)
{
	table_free(s->keep);
	arena_free(s->arena);
}

static void keep(struct sweeping *s, const struct digest *d)
{
	if (!table_find(s->keep, d, sizeof(*d))) {
		struct digest *own = arena_alloc(s->arena, sizeof(*own));
		*own = *d;
		(void)table_add(s->keep, own, sizeof(*own), own);
	}
}

/* Later releases get their update files from these. */
static int keep_objects(struct sweeping *s, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	const int dir = s->m->config->dir;

	int r = fs_exists(dir, RELEASES) ? fs_list(dir, RELEASES, &names, e) : 0;
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf(RELEASES "/%s/full.tree", names.items[i]);
		_cleanup_(buf_free) struct buf text = {0};
		_cleanup_(tree_freep) struct tree *t = NULL;
		if (!fs_exists(dir, path))
			continue;
		r = fs_load(dir, path, TREE_MAX, &text, e);
		if (r >= 0)
			r = tree_parse(text.data, text.len, &t, e);
		for (size_t k = 0; r >= 0 && k < t->n; k++)
			keep(s, &t->nodes[k].hash);
		if (r < 0)
			r = err_in(e, r, "%s", path);
	}
	return r;
}

/* An archive may have dropped them. */
static int keep_packages(struct sweeping *s, int (*load)(const struct config *, struct lock **, struct err *),
			 struct err *e)
{
	_cleanup_(lock_freep) struct lock *l = NULL;

	int r = load(s->m->config, &l, e);
	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	for (size_t i = 0; r >= 0 && i < l->n_packages; i++)
		keep(s, &l->packages[i].sha256);
	return r;
}

/* What recipes are built from, in the same way. */
static int keep_recipes(struct sweeping *s, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	const struct config *c = s->m->config;

	int r = fs_exists(c->dir, LOCK_RECIPES) ? fs_list(c->dir, LOCK_RECIPES, &names, e) : 0;
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_(lock_freep) struct lock *l = NULL;
		r = lock_load_recipe(c, names.items[i], &l, e);
		for (size_t k = 0; r >= 0 && k < l->n_packages; k++)
			keep(s, &l->packages[k].sha256);
		for (size_t k = 0; r >= 0 && k < l->source.n_files; k++)
			keep(s, &l->source.files[k].sha256);
	}
	return r;
}

static bool is_kept(const struct sweeping *s, const char *name)
{
	_cleanup_free_ char *hex = xstrndup(name, DIGEST_HEX - 1);
	struct digest d;

	return digest_parse(hex, &d) == 0 && table_find(s->keep, &d, sizeof(d));
}

static int remove_file(struct sweeping *s, int dir, const char *name, const struct stat *st, struct err *e)
{
	s->files++;
	s->bytes += (uint64_t)st->st_blocks * 512;
	if (!s->dry_run && unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_errno(e, "cannot remove %s", name);
	return 0;
}

static int sweep_files(struct sweeping *s, int dirfd, const char *path, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", path);
	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		struct stat st;
		if (fstatat(dir, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = err_errno(e, "%s", names.items[i]);
		else if (S_ISDIR(st.st_mode))
			r = sweep_files(s, dir, names.items[i], e);
		/* with another name it takes no room here */
		else if (st.st_nlink == 1 && st.st_mtime < s->since && !is_kept(s, names.items[i]))
			r = remove_file(s, dir, names.items[i], &st, e);
	}
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

static int measure_tree(struct sweeping *s, int dirfd, const char *path, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	int r = dir < 0 ? err_errno(e, "%s", path) : fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		struct stat st;
		if (fstatat(dir, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, "%s", names.items[i]);
		if (S_ISDIR(st.st_mode))
			r = measure_tree(s, dir, names.items[i], e);
		s->files += !S_ISDIR(st.st_mode);
		/* build roots share files */
		s->bytes += (uint64_t)st.st_blocks * 512 / (S_ISDIR(st.st_mode) ? 1 : st.st_nlink);
	}
	return r;
}

/* Roots, kernels, rebuilt packages: each as a whole, by its digest. It loses its name first, so that half of one is never used. */
static int sweep_trees(struct sweeping *s, const char *path, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = openat(s->m->cache, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", path);
	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		const char *name = names.items[i];
		const bool gone = text_starts(name, ".gone-");
		struct digest d;
		struct stat st;
		if ((!gone && digest_parse(name, &d) < 0) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode) || (!gone && st.st_mtime >= s->since))
			continue;
		r = measure_tree(s, dir, name, e);
		if (r < 0 || s->dry_run)
			continue;
		_cleanup_free_ char *to = gone ? xstrdup(name) : xasprintf(".gone-%s", name);
		if (!gone && renameat(dir, name, dir, to) < 0)
			return err_errno(e, "cannot remove %s", name);
		r = fs_remove_tree(dir, to, e);
	}
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

int gc_cache(const struct mix *m, bool dry_run, struct err *e)
{
	_cleanup_(sweeping_clear) struct sweeping s = {
		.m = m,
		.dry_run = dry_run,
		.since = (int64_t)time(NULL) - (int64_t)m->config->cache_days * CACHE_DAY,
		.keep = table_new(),
		.arena = arena_new(),
	};

	int r = keep_objects(&s, e);
	if (r >= 0)
		r = keep_packages(&s, lock_load, e);
	if (r >= 0)
		r = keep_packages(&s, lock_load_tools, e);
	if (r >= 0)
		r = keep_recipes(&s, e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(of_files); i++)
		r = sweep_files(&s, m->cache, of_files[i], e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(of_trees); i++)
		r = sweep_trees(&s, of_trees[i], e);
	if (r < 0)
		return err_in(e, r, "cannot tidy up the cache '%s'", m->config->cache);
	_cleanup_free_ char *size = text_size(s.bytes);
	ui_answer(m->ui, "%s the cache: %llu files, %s", dry_run ? "to be removed from" : "removed from",
		  (unsigned long long)s.files, size);
	return 0;
}
