/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/package_lock.h"

#include <string.h>

#include "mixer/input/bundle.h"
#include "mixer/input/package.h"
#include "mixer/input/recipe.h"
#include "mixer/input/source.h"
#include "mixer/step/solve.h"
#include "mixer/step/step.h"
#include "mixer/step/universe.h"
#include "swupd/base/err.h"
#include "swupd/base/ui.h"

struct package_locker {
	const struct mix *m;
	struct strv sources; /* names */
	struct package_list *packages;
	struct source_list *list;
	struct lock *archives;
	int64_t date;
};

void package_locker_close(struct package_locker *l)
{
	if (!l)
		return;
	strv_free(&l->sources);
	package_list_free(l->packages);
	source_list_free(l->list);
	lock_free(l->archives);
	free(l);
}

/* Archives alone: what lies in a directory differs between machines. */
static int archives_of(const struct config *c, const struct strv *only, struct strv *out, struct err *e)
{
	for (size_t i = 0; i < c->n_repositories; i++) {
		const struct repository *r = &c->repositories[i];
		if (r->kind == REPOSITORY_DEBIAN && !r->debug && (!only || only->n == 0 || strv_has(only, r->name)))
			strv_add(out, r->name);
	}
	for (size_t i = 0; only && i < only->n; i++)
		if (!strv_has(out, only->items[i]))
			return err_set(e, -ERR_USAGE, "'%s' is no archive of mixer.conf", only->items[i]);
	return out->n ? 0 : err_set(e, -ERR_CONFIG, "mixer.conf has no archive that sources could come from");
}

int package_locker_open(const struct mix *m, struct recipe *const *recipes, size_t n, const struct strv *only,
			struct package_locker **out, struct err *e)
{
	_cleanup_(package_locker_closep) struct package_locker *l = xcalloc(1, sizeof(*l));
	_cleanup_(strv_free) struct strv archives = {0};

	l->m = m;
	for (size_t i = 0; i < n; i++)
		strv_add(&l->sources, recipes[i]->source);
	l->packages = package_list_new();
	l->list = source_list_new(&l->sources);
	l->archives = lock_new();
	int r = archives_of(m->config, only, &archives, e);
	if (r >= 0)
		r = resolve_load(m, &archives, l->packages, NULL, l->list, l->archives, &l->date, e);
	if (r < 0)
		return r;
	*out = take(l);
	return 0;
}

/* As packages of the mix are chosen: the highest priority, there the newest. NULL: there is none. */
static const struct source_package *find_source(const struct package_locker *l, const char *name)
{
	const struct source_package *best = NULL;

	for (size_t i = 0; i < l->list->n; i++) {
		const struct source_package *s = &l->list->items[i];
		if (strcmp(s->name, name) == 0 &&
		    (!best || s->priority > best->priority ||
		     (s->priority == best->priority && universe_compare_versions(s->version, best->version) > 0)))
			best = s;
	}
	return best;
}

static void wishes_digest(const struct config *c, const struct recipe *r, struct digest *out)
{
	_cleanup_(strv_free) struct strv profiles = {0};
	_cleanup_(buf_free) struct buf b = {0};

	resolve_repositories(c, false, &b);
	recipe_build_profiles(r, &profiles);
	_cleanup_free_ char *words = strv_join(&profiles, " ");
	buf_printf(&b, "source %s\nprofiles %s\n%s", r->source, words,
		   r->compiler == COMPILER_CLANG ? "compiler clang\n" : "");
	sha256_mem(b.data, b.len, out);
}

/* The essential packages, each name once */
static void add_essential(const struct package_list *list, struct buf *out)
{
	_cleanup_(strv_free) struct strv names = {0};

	for (size_t i = 0; i < list->n; i++)
		if (list->items[i].essential)
			strv_add(&names, list->items[i].name);
	strv_sort_unique(&names);
	for (size_t i = 0; i < names.n; i++)
		buf_printf(out, ", %s", names.items[i]);
}

/*
 * Fields of a package that needs what the build needs. In this way the solver knows alternatives, versions and conflicts of sources without being told of
 * sources.
 */
static int fields_of(const struct package_locker *l, const struct recipe *r, const struct source_package *s,
		     struct buf *depends, struct buf *conflicts, struct err *e)
{
	const char *architecture = l->m->config->architecture;
	_cleanup_(strv_free) struct strv profiles = {0};

	recipe_build_profiles(r, &profiles);
	buf_puts(depends, r->compiler == COMPILER_CLANG ? "build-essential, clang" : "build-essential");
	add_essential(l->packages, depends);
	int result = source_depends(s->depends, architecture, &profiles, depends, e);
	if (result >= 0)
		result = source_depends(s->depends_arch, architecture, &profiles, depends, e);
	buf_puts(conflicts, "");
	if (result >= 0)
		result = source_depends(s->conflicts, architecture, &profiles, conflicts, e);
	if (result >= 0)
		result = source_depends(s->conflicts_arch, architecture, &profiles, conflicts, e);
	return result;
}

static int choose(struct package_locker *l, const struct recipe *r, const char *name, const char *depends,
		  const char *conflicts, struct lock *lock, struct err *e)
{
	const struct package wish = {
		.name = name,
		.version = "1",
		.arch = "all",
		.source = name,
		.source_version = "1",
		.depends = depends,
		.pre_depends = "",
		.provides = "",
		.conflicts = conflicts,
		.breaks = "",
		.file = name,
		.repository = "",
	};
	struct bundle bundle = {.name = r->name};
	struct bundle *items[] = {&bundle};
	const struct bundle_set set = {.items = items, .n = 1};
	const struct world w = {
		.packages = l->packages,
		.architecture = l->m->config->architecture,
		.bundles = &set,
	};

	strv_add(&bundle.packages, name);
	VEC_GROW(l->packages->items, l->packages->n, l->packages->cap);
	l->packages->items[l->packages->n++] = wish;
	int result = solve(&w, lock, e);
	l->packages->n--;
	strv_free(&bundle.packages);
	return result;
}

/* What stood for the wishes is no package. */
static void drop_wish(struct lock *l, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_packages; i++)
		if (strcmp(l->packages[i].name, name) != 0)
			l->packages[n++] = l->packages[i];
	l->n_packages = n;
	struct locked_bundle *b = &l->bundles[0];
	n = 0;
	for (size_t i = 0; i < b->n_packages; i++)
		if (strcmp(b->packages[i], name) != 0)
			b->packages[n++] = b->packages[i];
	b->n_packages = n;
}

static void lock_archives(const struct lock *from, struct lock *l)
{
	for (size_t i = 0; i < from->n_archives; i++) {
		const struct locked_archive *a = &from->archives[i];
		VEC_GROW(l->archives, l->n_archives, l->cap_archives);
		l->archives[l->n_archives++] = (struct locked_archive){
			.name = arena_strdup(l->arena, a->name),
			.suite = arena_strdup(l->arena, a->suite),
			.date = arena_strdup(l->arena, a->date),
			.inrelease = a->inrelease,
		};
	}
}

static void lock_source(const struct source_package *from, struct lock *l)
{
	struct locked_source *s = &l->source;

	s->name = arena_strdup(l->arena, from->name);
	s->version = arena_strdup(l->arena, from->version);
	s->repository = arena_strdup(l->arena, from->repository);
	s->directory = arena_strdup(l->arena, from->directory);
	for (size_t i = 0; i < from->n_files; i++) {
		VEC_GROW(s->files, s->n_files, s->cap_files);
		s->files[s->n_files] = from->files[i];
		s->files[s->n_files++].name = arena_strdup(l->arena, from->files[i].name);
	}
}

static int lock_make(struct package_locker *l, const struct recipe *r, struct lock **out, struct err *e)
{
	const struct source_package *s = find_source(l, r->source);
	_cleanup_(buf_free) struct buf depends = {0}, conflicts = {0}, sorted = {0};
	_cleanup_(lock_freep) struct lock *lock = lock_new();

	if (!s && !r->folder) {
		int result =
			err_set(e, -ERR_CONFIG,
				"there is no recipe '%s', and no archive has a source package of that name", r->name);
		return err_hint(e, result, "'mixer package list' shows what recipes there are");
	}
	if (!s) {
		int result = err_set(e, -ERR_CONFIG, "no archive has a source package '%s'", r->source);
		return err_hint(e, result, "'source =' in the recipe names it: recipe(5)");
	}
	_cleanup_free_ char *name = xasprintf("build-dependencies-of-%s", s->name);
	int result = fields_of(l, r, s, &depends, &conflicts, e);
	if (result >= 0)
		result = choose(l, r, name, depends.data, conflicts.data, lock, e);
	if (result < 0)
		return err_in(e, result, "source '%s' %s", s->name, s->version);
	drop_wish(lock, name);
	lock_archives(l->archives, lock);
	lock_source(s, lock);
	lock->time = l->date;
	wishes_digest(l->m->config, r, &lock->input);
	lock_format(lock, &sorted); /* sorts */
	*out = take(lock);
	return 0;
}

int package_lock_make(struct package_locker *l, const struct recipe *r, struct lock **out, struct err *e)
{
	progress_stage(l->m->progress, "resolving", 0, false);
	int result = lock_make(l, r, out, e);
	progress_end(l->m->progress);
	return result < 0 && r->folder ? err_in(e, result, "recipe '%s'", r->name) : result;
}

bool package_lock_is_current(const struct mix *m, const struct recipe *r, const struct lock *l)
{
	struct digest wishes;

	wishes_digest(m->config, r, &wishes);
	return digest_equal(&wishes, &l->input);
}

bool package_lock_is_older(const struct lock *l, const char *version)
{
	return universe_compare_versions(l->source.version, version) < 0;
}

int package_lock_get(const struct mix *m, struct recipe *r, struct lock **out, struct err *e)
{
	_cleanup_(package_locker_closep) struct package_locker *locker = NULL;
	_cleanup_(lock_freep) struct lock *l = NULL;
	struct err own = ERR_INIT;

	int result = lock_load_recipe(m->config, r->name, &l, &own);
	if (result == -ENOENT) {
		err_clear(&own);
		result = package_locker_open(m, &r, 1, NULL, &locker, e);
		if (result >= 0)
			result = package_lock_make(locker, r, &l, e);
		if (result >= 0)
			result = lock_save_recipe(m->config, r->name, l, e);
	} else if (result < 0) {
		err_move(e, &own);
	} else if (!package_lock_is_current(m, r, l)) {
		result = err_set(e, -ERR_CONFLICT, "recipe '%s' changed since recipes.lock/%s was made", r->name,
				 r->name);
		return err_hint(e, result, "'mixer package lock %s' makes it anew", r->name);
	}
	if (result >= 0)
		*out = take(l);
	return result;
}
