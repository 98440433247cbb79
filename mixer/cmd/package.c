/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/input/recipe.h"
#include "mixer/step/package_build.h"
#include "mixer/step/package_lock.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define STATUS_NO 3

/* The recipes that args names, or all */
struct recipes {
	struct recipe **items;
	size_t n;
};

static void recipes_free(struct recipes *r)
{
	for (size_t i = 0; i < r->n; i++)
		recipe_free(r->items[i]);
	free(r->items);
}

/* Before anything is done: can all of them be read? What no recipe has is a source's name; its lock shows whether there is one. */
static int load_recipes(const struct mix *m, const struct strv *args, struct recipes *out, struct err *e)
{
	const bool all = args->n == 0 || (args->n == 1 && strcmp(args->items[0], "all") == 0);
	_cleanup_(strv_free) struct strv names = {0};

	int r = all ? recipe_names(m->config, &names, e) : 0;
	const struct strv *list = all ? &names : args;
	out->items = xcalloc(list->n + 1, sizeof(struct recipe *));
	for (size_t i = 0; r >= 0 && i < list->n; i++) {
		r = recipe_get(m->config, list->items[i], &out->items[out->n], e);
		out->n += r >= 0;
	}
	return r;
}

/* --- list ---------------------------------------------------------------------------------------------------------------- */

struct list_opts {
	bool reasons;
};

static const struct opt list_options[] = {
	{0, "reasons", OPT_FLAG, offsetof(struct list_opts, reasons), NULL, "also why each is built anew", 0, 0},
	{0},
};

static int list_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	struct session *s = context;
	const struct list_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(recipes_free) struct recipes recipes = {0};

	int r = mix_open(s, 0, &m, e);
	if (r >= 0)
		r = load_recipes(m, args, &recipes, e);
	for (size_t i = 0; r >= 0 && i < recipes.n; i++) {
		struct package_state state;
		r = package_state(m, recipes.items[i], &state, e);
		if (r < 0)
			break;
		ui_answer(&s->ui, "%-16s%-40s %-13s %s%s", recipes.items[i]->name,
			  state.version ? state.version : "not built",
			  state.stale     ? "stale profile"
			  : state.profile ? "profile"
					  : "no profile",
			  recipes.items[i]->title,
			  state.version && !state.current ? " (inputs changed since it was built)" : "");
		free(state.version);
		if (o->reasons && *recipes.items[i]->reason)
			ui_answer(&s->ui, "%-16s%s", "", recipes.items[i]->reason);
	}
	return r;
}

const struct command cmd_package_list = {
	.name = "package list",
	.args = "",
	.summary = "list recipes of packages, and which are built",
	.opts = list_options,
	.opts_size = sizeof(struct list_opts),
	.run = list_run,
};

/* --- lock ---------------------------------------------------------------------------------------------------------------- */

struct lock_opts {
	struct strv repositories;
};

static const struct opt lock_options[] = {
	{0, "repositories", OPT_LIST, offsetof(struct lock_opts, repositories), "NAMES",
	 "use only these archives, separated by commas", 0, 0},
	{0},
};

static int load_old(const struct mix *m, const char *name, struct lock **out, struct err *e)
{
	int r = lock_load_recipe(m->config, name, out, e);

	if (r != -ENOENT)
		return r;
	err_clear(e);
	*out = lock_new();
	return 0;
}

/* 1: it is another lock */
static int report(struct ui *ui, const struct recipe *r, const struct lock *old, const struct lock *new)
{
	if (!old->source.name) {
		ui_answer(ui, "%s: source %s %s, in a root of %zu packages", r->name, new->source.name,
			  new->source.version, new->n_packages);
		return 1;
	}
	const bool moved = strcmp(old->source.name, new->source.name) != 0 ||
			   strcmp(old->source.version, new->source.version) != 0;
	if (moved)
		ui_answer(ui, "%s: source %s %s → %s", r->name, new->source.name, old->source.version,
			  new->source.version);
	else
		ui_message(ui, "%s: source %s %s", r->name, new->source.name, new->source.version);
	return lock_report(ui, old, new) || moved;
}

static int lock_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct lock_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(recipes_free) struct recipes recipes = {0};
	_cleanup_(package_locker_closep) struct package_locker *locker = NULL;
	bool changed = false;

	int r = mix_open(s, MIX_WRITE | MIX_CACHE, &m, e);
	if (r >= 0)
		r = load_recipes(m, args, &recipes, e);
	if (r >= 0)
		r = package_locker_open(m, recipes.items, recipes.n, &o->repositories, &locker, e);
	for (size_t i = 0; r >= 0 && i < recipes.n; i++) {
		_cleanup_(lock_freep) struct lock *old = NULL, *new = NULL;
		r = load_old(m, recipes.items[i]->name, &old, e);
		if (r >= 0)
			r = package_lock_make(locker, recipes.items[i], &new, e);
		if (r < 0)
			break;
		if (!report(&s->ui, recipes.items[i], old, new))
			continue;
		changed = true;
		r = lock_save_recipe(m->config, recipes.items[i]->name, new, e);
	}
	if (r < 0)
		return r;
	return changed ? 0 : STATUS_NO;
}

const struct command cmd_package_lock = {
	.name = "package lock",
	.args = "[RECIPE...|all]",
	.summary = "choose the source and the build root of recipes",
	.args_max = UINT_MAX,
	.opts = lock_options,
	.opts_size = sizeof(struct lock_opts),
	.run = lock_run,
};

/* --- build --------------------------------------------------------------------------------------------------------------- */

struct build_opts {
	bool no_profile;
};

static const struct opt build_options[] = {
	{0, "no-profile", OPT_FLAG, offsetof(struct build_opts, no_profile), NULL, "as if there were no profiles", 0,
	 0},
	{0},
};

static int build_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct build_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(recipes_free) struct recipes recipes = {0};

	int r = mix_open(s, MIX_WRITE | MIX_CACHE, &m, e);
	if (r >= 0)
		r = load_recipes(m, args, &recipes, e);
	/* a name that nobody has is to be told now, not after hours */
	for (size_t i = 0; r >= 0 && i < recipes.n; i++) {
		_cleanup_(lock_freep) struct lock *l = NULL;
		if (!recipes.items[i]->folder)
			r = package_lock_get(m, recipes.items[i], &l, e);
	}
	for (size_t i = 0; r >= 0 && i < recipes.n; i++)
		r = package_build(m, recipes.items[i], !o->no_profile, e);
	return r;
}

const struct command cmd_package_build = {
	.name = "package build",
	.args = "RECIPE...|all",
	.summary = "rebuild packages by recipes, into local-debs",
	.args_min = 1,
	.args_max = UINT_MAX,
	.opts = build_options,
	.opts_size = sizeof(struct build_opts),
	.run = build_run,
};
