/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/solve.h"

#include <string.h>

#include <solv/bitmap.h>
#include <solv/evr.h>
#include <solv/solver.h>

#include "mixer/input/bundle.h"
#include "mixer/input/package.h"
#include "mixer/step/universe.h"
#include "swupd/base/err.h"
#include "swupd/base/text.h"

#define SHOWN     5  /* of wishes without a package, and of versions that do not fit */
#define NAME_MAX_ 64 /* bytes of names that are compared; no package has a longer one */
#define EDITS_MAX 2  /* changed letters for a name to be taken for a slip of another */

/* Levenshtein's distance, or EDITS_MAX + 1 when it is larger. */
static unsigned edits(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned before[NAME_MAX_ + 1], row[NAME_MAX_ + 1];

	if (n > NAME_MAX_ || m > NAME_MAX_ || n > m + EDITS_MAX || m > n + EDITS_MAX)
		return EDITS_MAX + 1;
	for (size_t k = 0; k <= m; k++)
		before[k] = (unsigned)k;
	for (size_t i = 1; i <= n; i++) {
		row[0] = (unsigned)i;
		for (size_t k = 1; k <= m; k++) {
			unsigned change = before[k - 1] + (a[i - 1] != b[k - 1]);
			row[k] = MIN(change, MIN(before[k], row[k - 1]) + 1);
		}
		memcpy(before, row, (m + 1) * sizeof(*row));
	}
	return MIN(before[m], (unsigned)EDITS_MAX + 1);
}

/* A name that the one who wrote name may have meant, or NULL: few letters differ, or it goes on (libssl → libssl3t64). */
static const char *similar(const struct universe *u, const char *name)
{
	const char *best = NULL;
	unsigned best_edits = EDITS_MAX + 1;

	for (size_t i = 0; i < u->n; i++) {
		const char *other = u->packages[i]->name;
		unsigned n = text_starts(other, name) ? EDITS_MAX : edits(name, other);
		if (n < best_edits) {
			best = other;
			best_edits = n;
		}
	}
	return best;
}

/* Packages that no archive has, and what makes them. NULL: not one of those. */
static const char *how_to_make(const char *name)
{
	if (strcmp(name, "swupd") == 0)
		return "'make deb' in Limpid's source makes it: copy build/deb/swupd_*.deb to local-debs";
	if (text_starts(name, "limpid-kernel-"))
		return "'mixer kernel build' puts it into local-debs";
	return NULL;
}

int explain_wishes(const struct universe *u, struct err *e)
{
	const struct bundle_set *set = u->world->bundles;
	_cleanup_(buf_free) struct buf text = {0}, hint = {0};
	unsigned missing = 0;

	for (size_t i = 0; i < set->n; i++)
		for (size_t k = 0; k < set->items[i]->packages.n; k++) {
			const struct bundle *b = set->items[i];
			const char *name = b->packages.items[k];
			if (wish_find(u, name) || ++missing > SHOWN)
				continue;
			buf_printf(&text, "%sbundle '%s' wants package '%s', which is in no repository (%s)",
				   missing > 1 ? "; and " : "", b->name, name, b->file);
			const char *way = how_to_make(name), *other = way ? NULL : similar(u, name);
			if (way && !(hint.len && strstr(hint.data, way)))
				buf_printf(&hint, "%s%s", hint.len ? "; " : "", way);
			else if (other)
				buf_printf(&hint, "%sthere is '%s'", hint.len ? ", " : "", other);
		}
	if (missing == 0)
		return 0;
	if (missing > SHOWN)
		buf_printf(&text, "; and %u more", missing - SHOWN);
	int r = err_set(e, -ERR_UNRESOLVABLE, "cannot resolve: %s", text.data);
	return hint.len ? err_hint(e, r, "%s", hint.data) : r;
}

/* How a solvable was reached from a bundle's wish */
struct step {
	Id from; /* the solvable that needs it; 0: a bundle wishes it */
	Id dep;
	const char *bundle;
	bool reached;
};

struct way {
	const struct universe *u;
	const Map *allowed; /* NULL: all */
	struct step *steps; /* by solvable */
	Queue todo;
};

static void reach(struct way *w, Id dep, Id from, const char *bundle)
{
	for (const Id *p = pool_whatprovides_ptr(w->u->pool, dep); *p; p++) {
		struct step *s = &w->steps[*p];
		if (s->reached || !universe_package(w->u, *p) || (w->allowed && !MAPTST(w->allowed, *p)))
			continue;
		*s = (struct step){.from = from, .dep = dep, .bundle = bundle, .reached = true};
		queue_push(&w->todo, *p);
	}
}

/* Breadth first, so that the shortest way is shown */
static void reach_all(struct way *w)
{
	const struct bundle_set *set = w->u->world->bundles;
	_cleanup_(queue_free) Queue deps;

	queue_init(&deps);
	for (size_t i = 0; i < set->n; i++)
		for (size_t k = 0; k < set->items[i]->packages.n; k++)
			reach(w, wish_find(w->u, set->items[i]->packages.items[k]), 0, set->items[i]->name);
	for (int i = 0; i < w->todo.count; i++) {
		Id s = w->todo.elements[i];
		solvable_lookup_idarray(pool_id2solvable(w->u->pool, s), SOLVABLE_REQUIRES, &deps);
		for (int k = 0; k < deps.count; k++)
			reach(w, deps.elements[k], s, NULL);
	}
}

/* "bundle 'x' wants 'foo', which needs 'bar (>= 2) | baz'" */
static void format_step(const struct way *w, Id solvable, struct buf *out)
{
	const struct step *s = &w->steps[solvable];

	if (s->from) {
		format_step(w, s->from, out);
		buf_puts(out, ", which needs '");
	} else {
		buf_printf(out, "bundle '%s' wants '", s->bundle);
	}
	dependency_format(w->u, s->dep, out);
	buf_putc(out, '\'');
	Id rest = s->dep, first = alternative_take(w->u, &rest);
	if (rest || !candidate_is_called(w->u, solvable, alternative_name(w->u, first)))
		buf_printf(out, " ('%s')", universe_package(w->u, solvable)->name);
}

static bool try_way(const struct universe *u, Id solvable, const Map *allowed, struct buf *out)
{
	struct way w = {.u = u, .allowed = allowed};

	w.steps = xcalloc((size_t)u->pool->nsolvables, sizeof(*w.steps));
	queue_init(&w.todo);
	reach_all(&w);
	bool found = w.steps[solvable].reached;
	if (found)
		format_step(&w, solvable, out);
	free(w.steps);
	queue_free(&w.todo);
	return found;
}

/* How some bundle's wish leads to solvable: by what would be chosen, if it is among that, else by any way. */
static void format_way(const struct universe *u, Id solvable, const Queue *likely, struct buf *out)
{
	_cleanup_(map_free) Map allowed;

	map_init(&allowed, u->pool->nsolvables);
	for (int i = 0; i < likely->count; i++)
		MAPSET(&allowed, likely->elements[i]);
	if (!try_way(u, solvable, &allowed, out) && !try_way(u, solvable, NULL, out))
		buf_printf(out, "'%s' is wanted", universe_package(u, solvable)->name);
}

/* What is there under the name of alternative, though none of it fits */
static void format_others(const struct universe *u, Id alternative, struct buf *out)
{
	Id name = alternative_name(u, alternative);
	unsigned n = 0;

	for (const Id *s = pool_whatprovides_ptr(u->pool, name); *s; s++) {
		const struct package *p = universe_package(u, *s);
		if (!p || ++n > SHOWN)
			continue;
		buf_puts(out, n > 1 ? ", " : "");
		if (candidate_is_called(u, *s, name))
			buf_printf(out, "%s (%s)", p->version, p->repository);
		else
			buf_printf(out, "'%s' (%s)", p->name, p->repository);
	}
}

static bool version_fits(const struct universe *u, Id alternative, const char *version)
{
	if (!ISRELDEP(alternative))
		return true;
	const Reldep *rel = GETRELDEP(u->pool, alternative);
	int r = pool_evrcmp_str(u->pool, version, pool_id2str(u->pool, rel->evr), EVRCMP_COMPARE);
	return rel->flags & (r < 0 ? REL_LT : r > 0 ? REL_GT : REL_EQ);
}

/* A package would do, but a repository of higher priority has the same name */
static void hint_at_hidden(const struct universe *u, Id alternative, struct buf *hint)
{
	const struct package_list *all = u->world->packages;
	Id name = alternative_name(u, alternative), best = 0;

	for (const Id *p = pool_whatprovides_ptr(u->pool, name); *p; p++)
		if (universe_package(u, *p) && candidate_is_called(u, *p, name))
			best = *p;
	const struct package *winner = best ? universe_package(u, best) : NULL;
	for (size_t i = 0; winner && i < all->n; i++) {
		const struct package *p = &all->items[i];
		if (strcmp(p->name, winner->name) != 0 || p->priority >= winner->priority ||
		    !version_fits(u, alternative, p->version))
			continue;
		buf_printf(hint, "%s'%s' %s of repository '%s' would do, but repository '%s' has a higher priority",
			   hint->len ? "; " : "", p->name, p->version, p->repository, winner->repository);
		return;
	}
}

static void format_missing(const struct universe *u, Id dep, struct buf *out, struct buf *hint)
{
	_cleanup_(buf_free) struct buf others = {0};
	bool several = false;

	for (Id rest = dep; rest;) {
		_cleanup_(buf_free) struct buf these = {0};
		Id alternative = alternative_take(u, &rest);
		several |= rest != 0;
		hint_at_hidden(u, alternative, hint);
		format_others(u, alternative, &these);
		if (!these.len)
			continue;
		buf_puts(&others, others.len ? ", " : "");
		if (several)
			buf_printf(&others, "%s ", pool_id2str(u->pool, alternative_name(u, alternative)));
		buf_puts(&others, these.data);
	}
	if (others.len)
		buf_printf(out, ", but only %s is there", others.data);
	else
		buf_puts(out, several ? ", none of which is in any repository" : ", which is in no repository");
}

static void format_needs(const struct universe *u, Id source, Id dep, const Queue *likely, struct buf *out)
{
	format_way(u, source, likely, out);
	buf_puts(out, ", which needs '");
	dependency_format(u, dep, out);
	buf_putc(out, '\'');
}

void explain_problem(const struct universe *u, const struct problem *p, const Queue *likely, struct buf *out,
		     struct buf *hint)
{
	switch (p->type) {
	case SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
		format_needs(u, p->source, p->dep, likely, out);
		format_missing(u, p->dep, out, hint);
		return;
	case SOLVER_RULE_PKG_CONFLICTS:
		format_way(u, p->source, likely, out);
		buf_puts(out, ", which conflicts with '");
		dependency_format(u, p->dep, out);
		buf_puts(out, "', but ");
		format_way(u, p->target, likely, out);
		return;
	case SOLVER_RULE_PKG_SAME_NAME:
		format_way(u, p->source, likely, out);
		buf_puts(out, ", but ");
		format_way(u, p->target, likely, out);
		buf_printf(out, ", and '%s' cannot be there in the versions %s and %s at once",
			   universe_package(u, p->source)->name, universe_package(u, p->source)->version,
			   universe_package(u, p->target)->version);
		return;
	case SOLVER_RULE_PKG_REQUIRES:
		format_needs(u, p->source, p->dep, likely, out);
		buf_puts(out, ", which cannot be installed");
		return;
	default:
		buf_puts(out, "the wishes contradict each other");
	}
}
