/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/step.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mixer/input/archive.h"
#include "mixer/input/download.h"
#include "mixer/input/package.h"
#include "mixer/input/recipe.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/solve.h"
#include "mixer/step/universe.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"

#define DROP_FILE_MAX (1UL << 20)
#define REBUILT       "+limpid." /* in a version: package_build.h */

static int load_drops(const struct config *c, struct drop_list **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (!c->drop_file)
		return 0;
	int r = fs_load(AT_FDCWD, c->drop_file, DROP_FILE_MAX, &text, e);
	return r < 0 ? r : drop_list_parse(text.data, text.len, c->drop_file, out, e);
}

static int check_only(const struct config *c, const struct strv *only, struct err *e)
{
	for (size_t i = 0; only && i < only->n; i++)
		if (!config_repository(c, only->items[i]))
			return err_set(e, -ERR_USAGE, "there is no repository '%s' in mixer.conf", only->items[i]);
	return 0;
}

int resolve_load(const struct mix *m, const struct strv *only, struct package_list *list, struct package_list *debug,
		 struct source_list *sources, struct lock *l, int64_t *date, struct err *e)
{
	_cleanup_(downloader_freep) struct downloader *d = downloader_new();
	_cleanup_(buf_free) struct buf targets = {0};
	const struct config *c = m->config;

	*date = 0;
	progress_stage(m->progress, "package indexes", 0, true);
	for (size_t i = 0; i < c->n_repositories; i++) {
		const struct repository *repository = &c->repositories[i];
		int64_t of_archive = 0;
		if ((only && only->n && !strv_has(only, repository->name)) || (repository->debug && !c->debuginfo))
			continue;
		struct package_list *into = repository->debug ? debug : list;
		int r = repository->kind == REPOSITORY_DIRECTORY
				? directory_load(c, repository, into, e)
				: archive_load(c, m->cache, repository, &targets, d, time(NULL), m->progress, into,
					       sources, l, &of_archive, e);
		if (r < 0)
			return r;
		/* what is only published beside a release does not date it */
		if (!repository->debug)
			*date = MAX(*date, of_archive);
	}
	progress_end(m->progress);
	return 0;
}

/* What is to be kept may be gone from its archive, but still lie in our cache of packages: then it can be had, too. */
static int add_cached(const struct mix *m, const struct lock *old, struct package_list *list, struct err *e)
{
	_cleanup_(table_freep) struct table *known = table_new();
	_cleanup_close_ int debs = openat(m->cache, "debs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (debs < 0)
		return errno == ENOENT ? 0 : err_errno(e, "debs");
	for (size_t i = 0; i < list->n; i++)
		table_add(known, &list->items[i].sha256, sizeof(struct digest), &list->items[i]);
	for (size_t i = 0; i < old->n_packages; i++) {
		const struct locked_package *p = &old->packages[i];
		const struct repository *repository = config_repository(m->config, p->repository);
		char hex[DIGEST_HEX];
		if (!repository || table_find(known, &p->sha256, sizeof(p->sha256)))
			continue;
		digest_format(&p->sha256, hex);
		_cleanup_free_ char *name = xasprintf("%s.deb", hex);
		if (!fs_exists(debs, name))
			continue;
		int r = package_load(debs, name, m->config->architecture, p->repository, repository->priority, list, e);
		if (r < 0)
			return err_in(e, r, "cache '%s/debs'", m->config->cache);
		if (r == 0)
			continue;
		struct package *added = &list->items[list->n - 1];
		if (digest_equal(&added->sha256, &p->sha256))
			added->file = arena_strdup(list->arena, p->file);
		else
			list->n--; /* damaged; fetch will bring it anew when it is wanted */
	}
	return 0;
}

static void add_ids(const struct lock *old, struct lock *l)
{
	for (size_t i = 0; old && i < old->n_ids; i++) {
		VEC_GROW(l->ids, l->n_ids, l->cap_ids);
		l->ids[l->n_ids++] = (struct locked_id){
			.kind = arena_strdup(l->arena, old->ids[i].kind),
			.name = arena_strdup(l->arena, old->ids[i].name),
			.id = old->ids[i].id,
		};
	}
}

/* Without an archive there is no date but that of the packages themselves: the newest one that is locked */
static int64_t newest_package(const struct package_list *list, const struct lock *l)
{
	int64_t newest = 0;

	for (size_t i = 0; i < list->n; i++) {
		const struct package *p = &list->items[i];
		if (p->time > newest) {
			const struct locked_package *locked = lock_find(l, p->name);
			if (locked && digest_equal(&locked->sha256, &p->sha256))
				newest = p->time;
		}
	}
	return newest;
}

static void add_words(struct buf *b, const char *key, const struct strv *words)
{
	for (size_t i = 0; i < words->n; i++)
		buf_printf(b, "%s %s\n", key, words->items[i]);
}

void resolve_repositories(const struct config *c, bool directories, struct buf *out)
{
	buf_printf(out, "architecture %s\n", c->architecture);
	for (size_t i = 0; i < c->n_repositories; i++) {
		const struct repository *r = &c->repositories[i];
		if ((r->kind == REPOSITORY_DIRECTORY || r->debug) && !directories)
			continue;
		buf_printf(out, "repository %s %s %u%s\n", r->name, r->suite ? r->suite : "-", r->priority,
			   r->debug ? " debug" : "");
		add_words(out, "component", &r->components);
	}
}

/*
 * The wishes in one text: when its digest is that in the lock, the lock is for them. Not in it: where archives are (a mirror is as good as another) and what
 * lies in directories (what is locked is known by its digest).
 */
static void wishes_digest(const struct config *c, const struct bundle_set *set, const struct drop_list *drops,
			  struct digest *out)
{
	_cleanup_(buf_free) struct buf b = {0};

	resolve_repositories(c, true, &b);
	for (size_t i = 0; i < set->n; i++) {
		buf_printf(&b, "bundle %s\n", set->items[i]->name);
		add_words(&b, "include", &set->items[i]->includes);
		add_words(&b, "package", &set->items[i]->packages);
	}
	drop_list_format(drops, &b);
	sha256_mem(b.data, b.len, out);
}

/* The newest source that any archive has the package from; NULL: none. */
static const struct package *newest_source(const struct config *c, const struct package_list *list, const char *name)
{
	const struct package *best = NULL;

	for (size_t i = 0; i < list->n; i++) {
		const struct package *p = &list->items[i];
		const struct repository *from = config_repository(c, p->repository);
		if (strcmp(p->name, name) == 0 && from && from->kind == REPOSITORY_DEBIAN &&
		    (!best || universe_compare_versions(p->source_version, best->source_version) > 0))
			best = p;
	}
	return best;
}

/* What we built ourselves wins over Debian's, also when that has become newer: nobody else would notice. */
static void warn_of_old_rebuilds(const struct mix *m, const struct package_list *list, const struct lock *l)
{
	_cleanup_(strv_free) struct strv told = {0};

	for (size_t i = 0; i < l->n_packages; i++) {
		const struct locked_package *p = &l->packages[i];
		if (!strstr(p->version, REBUILT) || strv_has(&told, p->source))
			continue;
		const struct package *newer = newest_source(m->config, list, p->name);
		if (!newer || universe_compare_versions(newer->source_version, p->source_version) <= 0)
			continue;
		_cleanup_free_ char *recipe = recipe_of_source(m->config, p->source);
		strv_add(&told, p->source);
		ui_warn(m->ui,
			"Debian has %s %s, the rebuild in use is of %s: 'mixer package lock %s', then 'mixer package "
			"build %s'",
			p->source, newer->source_version, p->source_version, recipe, recipe);
	}
}

int resolve(const struct mix *m, const struct bundle_set *set, const struct strv *only, bool keep,
	    const struct lock *old, struct lock **out, struct err *e)
{
	_cleanup_(package_list_freep) struct package_list *list = package_list_new(), *debug = package_list_new();
	_cleanup_(drop_list_freep) struct drop_list *drops = NULL;
	_cleanup_(lock_freep) struct lock *l = lock_new();
	_cleanup_(buf_free) struct buf sorted = {0};
	int64_t date = 0;

	int r = check_only(m->config, only, e);
	if (r >= 0)
		r = load_drops(m->config, &drops, e);
	if (r >= 0)
		r = resolve_load(m, only, list, debug, NULL, l, &date, e);
	if (r >= 0 && keep && old)
		r = add_cached(m, old, list, e);
	if (r < 0)
		return r;
	progress_stage(m->progress, "resolving", 0, false);
	const struct world w = {
		.packages = list,
		.architecture = m->config->architecture,
		.bundles = set,
		.drops = drops,
		.keep = keep ? old : NULL,
	};
	r = solve(&w, l, e);
	if (r < 0)
		return r;
	wishes_digest(m->config, set, drops, &l->input);
	add_ids(old, l);
	lock_format(l, &sorted); /* sorts, for lock_find */
	l->time = date ? date : newest_package(list, l);
	if (m->config->debuginfo) {
		for (size_t i = 0; i < list->n; i++) {
			VEC_GROW(debug->items, debug->n, debug->cap);
			debug->items[debug->n++] = list->items[i]; /* its strings live as long as list */
		}
		debuginfo_lock(m, debug, drops, set, l);
	}
	progress_end(m->progress);
	if (m->ui)
		warn_of_old_rebuilds(m, list, l);
	*out = take(l);
	return 0;
}

bool resolve_is_current(const struct mix *m, const struct bundle_set *set, const struct lock *l)
{
	_cleanup_(drop_list_freep) struct drop_list *drops = NULL;
	struct digest wishes;

	/* a drop list that cannot be read: resolving again will say why */
	if (load_drops(m->config, &drops, NULL) < 0)
		return false;
	wishes_digest(m->config, set, drops, &wishes);
	return digest_equal(&wishes, &l->input);
}
