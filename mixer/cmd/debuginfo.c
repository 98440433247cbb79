/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/input/lock.h"
#include "mixer/input/recipe.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/package_build.h"
#include "mixer/step/package_lock.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

struct status_opts {
	bool json;
	uint32_t release;
};

static const struct opt status_options[] = {
	{0, "json", OPT_FLAG, offsetof(struct status_opts, json), NULL, "as JSON", 0, 0},
	{0, "release", OPT_U32, offsetof(struct status_opts, release), "N", "of this release, not the newest", 1,
	 INT32_MAX},
	{0},
};

static int choose_release(const struct mix *m, uint32_t wanted, uint32_t *out, struct err *e)
{
	*out = wanted ? wanted : m->previous;
	return *out ? 0 : err_set(e, -ERR_NO, "no release is published yet");
}

static int status_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	const struct status_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;

	uint32_t release;

	int r = mix_open(context, 0, &m, e);
	if (r >= 0)
		r = choose_release(m, o->release, &release, e);
	return r < 0 ? r : debuginfo_status(m, release, o->json, e);
}

const struct command cmd_debuginfo_status = {
	.name = "debuginfo status",
	.args = "",
	.summary = "say which programs of a release have debug information",
	.opts = status_options,
	.opts_size = sizeof(struct status_opts),
	.run = status_run,
};

/* --- build --------------------------------------------------------------------------------------------------------------- */

struct rebuild_opts {
	struct strv repositories, except;
};

static const struct opt rebuild_options[] = {
	{0, "except", OPT_LIST, offsetof(struct rebuild_opts, except), "NAMES", "but not these sources", 0, 0},
	{0, "repositories", OPT_LIST, offsetof(struct rebuild_opts, repositories), "NAMES",
	 "sources from these archives alone", 0, 0},
	{0},
};

/* The recipes of sources, and those of them that have no lock yet */
struct rebuilds {
	struct recipe **all, **unlocked;
	size_t n, n_unlocked;
};

static void rebuilds_free(struct rebuilds *b)
{
	for (size_t i = 0; i < b->n; i++)
		recipe_free(b->all[i]);
	free(b->all);
	free(b->unlocked);
}

static int find_recipes(const struct mix *m, const struct strv *sources, const struct strv *except,
			struct rebuilds *out, struct err *e)
{
	int r = 0;

	out->all = xcalloc(sources->n + 1, sizeof(*out->all));
	out->unlocked = xcalloc(sources->n + 1, sizeof(*out->unlocked));
	for (size_t i = 0; r >= 0 && i < sources->n; i++) {
		if (strv_has(except, sources->items[i]))
			continue;
		_cleanup_free_ char *name = recipe_of_source(m->config, sources->items[i]);
		r = recipe_get(m->config, name, &out->all[out->n], e);
		if (r < 0)
			break;
		struct recipe *recipe = out->all[out->n++];
		if (!lock_has_recipe(m->config, name))
			out->unlocked[out->n_unlocked++] = recipe;
	}
	return r;
}

/* What is wrong with one package, not with the machine: the others may be built. */
static bool concerns_one(int r)
{
	static const int codes[] = {ERR_CHILD,  ERR_MISSING, ERR_UNRESOLVABLE, ERR_CONFIG,
				    ERR_FORMAT, ERR_DIGEST,  ERR_CONFLICT};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (r == -codes[i])
			return true;
	return false;
}

/* 0: done, or said that it cannot be, and in failed */
static int pass(const struct mix *m, const struct recipe *recipe, int r, struct strv *failed, struct err *why,
		struct err *e)
{
	if (r >= 0)
		return 0;
	if (!concerns_one(r)) {
		err_move(e, why);
		return r;
	}
	ui_warn(m->ui, "%s", why->text);
	err_clear(why);
	if (!strv_has(failed, recipe->name))
		strv_add(failed, recipe->name);
	return 0;
}

static int lock_recipes(const struct mix *m, const struct rebuilds *b, const struct strv *only, struct strv *failed,
			struct err *e)
{
	_cleanup_(package_locker_closep) struct package_locker *locker = NULL;

	int r = b->n_unlocked ? package_locker_open(m, b->unlocked, b->n_unlocked, only, &locker, e) : 0;
	for (size_t i = 0; r >= 0 && i < b->n_unlocked; i++) {
		_cleanup_(lock_freep) struct lock *l = NULL;
		struct err why = ERR_INIT;
		r = package_lock_make(locker, b->unlocked[i], &l, &why);
		if (r >= 0)
			r = lock_save_recipe(m->config, b->unlocked[i]->name, l, &why);
		r = pass(m, b->unlocked[i], r, failed, &why, e);
	}
	return r;
}

static int build_recipes(const struct mix *m, const struct rebuilds *b, struct strv *failed, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < b->n; i++) {
		struct err why = ERR_INIT;
		if (strv_has(failed, b->all[i]->name))
			continue;
		r = package_build(m, b->all[i], true, &why);
		r = pass(m, b->all[i], r, failed, &why, e);
	}
	return r;
}

static int rebuild(const struct mix *m, const struct strv *sources, const struct rebuild_opts *o, struct err *e)
{
	_cleanup_(rebuilds_free) struct rebuilds b = {0};
	_cleanup_(strv_free) struct strv failed = {0};

	int r = find_recipes(m, sources, &o->except, &b, e);
	if (r >= 0 && b.n == 0)
		return err_set(e, -ERR_NO, "there is nothing to rebuild");
	if (r >= 0)
		r = lock_recipes(m, &b, &o->repositories, &failed, e);
	if (r >= 0)
		r = build_recipes(m, &b, &failed, e);
	if (r < 0)
		return r;
	ui_answer(m->ui, "%zu of %zu sources are rebuilt: 'mixer lock' and 'mixer build' make a release of them",
		  b.n - failed.n, b.n);
	if (failed.n == 0)
		return 0;
	_cleanup_free_ char *names = strv_join(&failed, " ");
	return err_set(e, -ERR_INCOMPLETE, "%zu sources could not be rebuilt: %s", failed.n, names);
}

static int rebuild_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	static const struct strv every = {0};
	const bool all = args->n == 1 && strcmp(args->items[0], "all") == 0;
	const struct rebuild_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(lock_freep) struct lock *l = NULL;
	_cleanup_(strv_free) struct strv sources = {0};
	uint32_t release;

	int r = mix_open(context, MIX_WRITE | MIX_CACHE, &m, e);
	if (r >= 0)
		r = choose_release(m, 0, &release, e);
	if (r >= 0)
		r = lock_load(m->config, &l, e);
	if (r >= 0)
		r = debuginfo_missing(m, release, all ? &every : args, l, &sources, e);
	return r < 0 ? r : rebuild(m, &sources, o, e);
}

const struct command cmd_debuginfo_build = {
	.name = "debuginfo build",
	.args = "BUNDLE...|all",
	.summary = "rebuild what of bundles has no debug information",
	.args_min = 1,
	.args_max = UINT_MAX,
	.opts = rebuild_options,
	.opts_size = sizeof(struct rebuild_opts),
	.run = rebuild_run,
};
