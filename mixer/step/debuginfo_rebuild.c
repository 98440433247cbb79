/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "mixer/input/config.h"
#include "mixer/input/lock.h"
#include "mixer/input/recipe.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/package_build.h"
#include "mixer/step/package_lock.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

struct rebuild {
	const struct locked_package *shipped; /* one of the source's packages */
	struct recipe *recipe;                /* NULL: it cannot be rebuilt, and that was told */
};

struct rebuilds {
	const struct mix *m;
	const struct debuginfo_wish *wish;
	struct rebuild *items;
	size_t n;
	struct strv failed; /* sources */
};

static void rebuilds_clear(struct rebuilds *b)
{
	for (size_t i = 0; i < b->n; i++)
		recipe_free(b->items[i].recipe);
	free(b->items);
	strv_free(&b->failed);
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

/* r is what became of x. Negative: of all */
static int pass(struct rebuilds *b, struct rebuild *x, int r, struct err *why, struct err *e)
{
	if (r >= 0)
		return 0;
	if (!concerns_one(r)) {
		err_move(e, why);
		return r;
	}
	if (why->hint)
		ui_warn(b->m->ui, "%s (%s)", why->text, why->hint);
	else
		ui_warn(b->m->ui, "%s", why->text);
	err_clear(why);
	strv_add(&b->failed, x->shipped->source);
	recipe_free(x->recipe);
	x->recipe = NULL;
	return 0;
}

/* --- inputs -------------------------------------------------------------------------------------------------------------- */

static int check_except(const struct strv *except, const struct lock *l, struct err *e)
{
	for (size_t i = 0; i < except->n; i++) {
		size_t k = 0;
		while (k < l->n_packages && strcmp(l->packages[k].source, except->items[i]) != 0)
			k++;
		if (k == l->n_packages)
			return err_set(e, -ERR_USAGE, "no package of the mix is of a source '%s'", except->items[i]);
	}
	return 0;
}

static int load_recipe(const struct mix *m, const char *source, struct recipe **out, struct err *e)
{
	_cleanup_free_ char *name = recipe_of_source(m->config, source);
	_cleanup_(recipe_freep) struct recipe *recipe = NULL;

	int r = recipe_get(m->config, name, &recipe, e);
	if (r < 0)
		return r;
	if (strcmp(recipe->source, source) != 0)
		return err_set(e, -ERR_CONFIG, "source '%s': the recipe of that name is of another", source);
	*out = take(recipe);
	return 0;
}

static int load_recipes(struct rebuilds *b, const struct missing *missing, struct err *e)
{
	int r = 0;

	b->items = xcalloc(missing->n + 1, sizeof(*b->items));
	for (size_t i = 0; r >= 0 && i < missing->n; i++) {
		struct err why = ERR_INIT;
		if (strv_has(b->wish->except, missing->items[i]->source))
			continue;
		struct rebuild *x = &b->items[b->n++];
		x->shipped = missing->items[i];
		r = load_recipe(b->m, x->shipped->source, &x->recipe, &why);
		r = pass(b, x, r, &why, e);
	}
	return r;
}

/* A lock of a source that is not older than what the release has of it: the one that is there, or a new one */
static int lock_one(const struct rebuilds *b, struct package_locker *locker, const struct rebuild *x, struct err *e)
{
	const struct locked_package *p = x->shipped;
	_cleanup_(lock_freep) struct lock *l = NULL;
	struct err own = ERR_INIT;

	int r = lock_load_recipe(b->m->config, x->recipe->name, &l, &own);
	if (r < 0 && r != -ENOENT) {
		err_move(e, &own);
		return r;
	}
	err_clear(&own);
	if (l && !package_lock_is_older(l, p->source_version))
		return 0;
	lock_free(take(l));
	r = package_lock_make(locker, x->recipe, &l, e);
	if (r < 0)
		return r;
	if (!b->wish->older && package_lock_is_older(l, p->source_version)) {
		r = err_set(e, -ERR_MISSING, "source '%s': the archives have %s, the release is of %s", p->source,
			    l->source.version, p->source_version);
		return err_hint(e, r, "--older rebuilds that");
	}
	return lock_save_recipe(b->m->config, x->recipe->name, l, e);
}

static int lock_all(struct rebuilds *b, struct err *e)
{
	_cleanup_(package_locker_closep) struct package_locker *locker = NULL;
	_cleanup_free_ struct recipe **recipes = xcalloc(b->n + 1, sizeof(struct recipe *));
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->items[i].recipe)
			recipes[n++] = b->items[i].recipe;
	int r = package_locker_open(b->m, recipes, n, b->wish->archives, &locker, e);
	for (size_t i = 0; r >= 0 && i < b->n; i++) {
		struct err why = ERR_INIT;
		if (!b->items[i].recipe)
			continue;
		r = lock_one(b, locker, &b->items[i], &why);
		r = pass(b, &b->items[i], r, &why, e);
	}
	return r;
}

/* --- around them --------------------------------------------------------------------------------------------------------- */

static int build_all(struct rebuilds *b, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < b->n; i++) {
		struct err why = ERR_INIT;
		if (!b->items[i].recipe)
			continue;
		r = package_build(b->m, b->items[i].recipe, true, &why);
		r = pass(b, &b->items[i], r, &why, e);
	}
	return r;
}

static int answer(const struct rebuilds *b, struct err *e)
{
	const size_t failed = b->failed.n;

	if (failed < b->n)
		ui_answer(b->m->ui,
			  "%zu of %zu sources are rebuilt: 'mixer lock' and 'mixer build' make a release of them",
			  b->n - failed, b->n);
	if (failed == 0)
		return 0;
	_cleanup_free_ char *names = strv_join(&b->failed, " ");
	return err_set(e, -ERR_INCOMPLETE, "%zu sources could not be rebuilt: %s", failed, names);
}

int debuginfo_rebuild(const struct mix *m, uint32_t release, const struct debuginfo_wish *w, struct err *e)
{
	_cleanup_(rebuilds_clear) struct rebuilds b = {.m = m, .wish = w};
	_cleanup_(lock_freep) struct lock *l = NULL;
	struct missing missing = {0};

	if (!m->config->debuginfo) {
		int r = err_set(e, -ERR_CONFIG, "the mix has no debug information");
		return err_hint(e, r, "'debuginfo = yes' in mixer.conf: mixer.conf(5)");
	}
	int r = lock_load(m->config, &l, e);
	if (r >= 0)
		r = check_except(w->except, l, e);
	if (r >= 0)
		r = debuginfo_missing(m, release, w->bundles, l, &missing, e);
	if (r >= 0)
		r = load_recipes(&b, &missing, e);
	free(missing.items);
	if (r >= 0 && b.n == 0)
		return err_set(e, -ERR_NO, "there is nothing to rebuild");
	if (r >= 0)
		r = lock_all(&b, e);
	if (r >= 0)
		r = build_all(&b, e);
	return r < 0 ? r : answer(&b, e);
}
