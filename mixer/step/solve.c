/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/solve.h"

#include <assert.h>
#include <string.h>

#include <solv/bitmap.h>
#include <solv/solver.h>

#include "mixer/input/bundle.h"
#include "mixer/input/lock.h"
#include "mixer/input/package.h"
#include "mixer/step/universe.h"
#include "swupd/base/err.h"
#include "swupd/base/text.h"

#define PROBLEMS_SHOWN 5 /* more are consequences of the first ones, as a rule */

/*
 * libsolv finds a set without contradictions, but among equals it has its own taste: it does not know that in "a | b" a comes first. So
 * we first walk the dependencies as if nothing could conflict, and ask libsolv to favour what that finds.
 */
struct walk {
	const struct universe *u;
	Queue found;    /* in order; also the list of those still to be looked at */
	Queue deferred; /* dependencies with a choice: decided only when nothing else is left to do */
	Map has;        /* by solvable */
};

static void walk_add(struct walk *w, Id solvable)
{
	if (MAPTST(&w->has, solvable))
		return;
	MAPSET(&w->has, solvable);
	queue_push(&w->found, solvable);
}

static Id best_of(const struct universe *u, Id alternative)
{
	Id name = alternative_name(u, alternative), best = 0;

	for (const Id *p = pool_whatprovides_ptr(u->pool, alternative); *p; p++)
		if (universe_package(u, *p) && (!best || candidate_compare(u, name, *p, best) < 0))
			best = *p;
	return best;
}

static bool is_satisfied(const struct universe *u, Id dep, const Map *has)
{
	for (const Id *p = pool_whatprovides_ptr(u->pool, dep); *p; p++)
		if (MAPTST(has, *p))
			return true;
	return false;
}

/* Does whatever satisfies dep have one and the same name? */
static bool is_choice(const struct universe *u, Id dep)
{
	Id name = 0;

	for (const Id *p = pool_whatprovides_ptr(u->pool, dep); *p; p++) {
		Id next = pool_id2solvable(u->pool, *p)->name;
		if (name && next != name)
			return true;
		name = next;
	}
	return false;
}

static void walk_decide(struct walk *w, Id dep)
{
	if (is_satisfied(w->u, dep, &w->has))
		return;
	while (dep) {
		Id best = best_of(w->u, alternative_take(w->u, &dep));
		if (best) {
			walk_add(w, best);
			return;
		}
	}
}

static void walk_all(struct walk *w)
{
	_cleanup_(queue_free) Queue deps;
	int decided = 0;

	queue_init(&deps);
	for (int next = 0;;) {
		if (next < w->found.count) {
			solvable_lookup_idarray(pool_id2solvable(w->u->pool, w->found.elements[next++]),
						SOLVABLE_REQUIRES, &deps);
			for (int i = 0; i < deps.count; i++) {
				if (is_choice(w->u, deps.elements[i]))
					queue_push(&w->deferred, deps.elements[i]);
				else
					walk_decide(w, deps.elements[i]);
			}
		} else if (decided < w->deferred.count) {
			walk_decide(w, w->deferred.elements[decided++]);
		} else {
			return;
		}
	}
}

static void walk_from_wishes(const struct universe *u, struct walk *w)
{
	const struct bundle_set *set = u->world->bundles;

	*w = (struct walk){.u = u};
	queue_init(&w->found);
	queue_init(&w->deferred);
	map_init(&w->has, u->pool->nsolvables);
	/* names first: a wish for a virtual one may be satisfied by them */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < set->n; i++)
			for (size_t k = 0; k < set->items[i]->packages.n; k++) {
				Id wish = wish_find(u, set->items[i]->packages.items[k]);
				Id best = best_of(u, wish);
				bool called = candidate_is_called(u, best, wish);
				if (pass == 0 && called)
					walk_add(w, best);
				else if (pass == 1 && !called)
					walk_decide(w, wish);
			}
	walk_all(w);
}

static void walk_free(struct walk *w)
{
	queue_free(&w->found);
	queue_free(&w->deferred);
	map_free(&w->has);
}

static void make_job(const struct universe *u, const struct walk *w, Queue *job)
{
	const struct bundle_set *set = u->world->bundles;

	for (size_t i = 0; i < set->n; i++)
		for (size_t k = 0; k < set->items[i]->packages.n; k++) {
			Id wish = wish_find(u, set->items[i]->packages.items[k]);
			bool called = candidate_is_called(u, best_of(u, wish), wish);
			queue_push2(job, SOLVER_INSTALL | (called ? SOLVER_SOLVABLE_NAME : SOLVER_SOLVABLE_PROVIDES),
				    wish);
		}
	for (int i = 0; i < w->found.count; i++)
		queue_push2(job, SOLVER_FAVOR | SOLVER_SOLVABLE, w->found.elements[i]);
}

static int rank(int type)
{
	switch (type) {
	case SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
		return 4;
	case SOLVER_RULE_PKG_CONFLICTS:
		return 3;
	case SOLVER_RULE_PKG_SAME_NAME:
		return 2;
	case SOLVER_RULE_PKG_REQUIRES:
		return 1;
	default:
		return 0;
	}
}

/* The rule of a problem that says most: what is missing before what conflicts before what follows from these */
static void find_rule(Solver *solver, Id problem, struct problem *best)
{
	_cleanup_(queue_free) Queue rules;
	struct problem p;

	*best = (struct problem){0};
	queue_init(&rules);
	solver_findallproblemrules(solver, problem, &rules);
	for (int i = 0; i < rules.count; i++) {
		p.type = (int)solver_ruleinfo(solver, rules.elements[i], &p.source, &p.target, &p.dep);
		if (rank(p.type) > rank(best->type))
			*best = p;
	}
}

static int unresolvable(const struct universe *u, Solver *solver, const Queue *likely, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0}, hint = {0};
	int n = (int)solver_problem_count(solver);
	struct problem p;

	for (int i = 1; i <= n && i <= PROBLEMS_SHOWN; i++) {
		if (i > 1)
			buf_puts(&text, "; and ");
		find_rule(solver, i, &p);
		explain_problem(u, &p, likely, &text, &hint);
	}
	if (n > PROBLEMS_SHOWN)
		buf_printf(&text, "; and %d more of the kind", n - PROBLEMS_SHOWN);
	int r = err_set(e, -ERR_UNRESOLVABLE, "cannot resolve: %s", text.data);
	return hint.len ? err_hint(e, r, "%s", hint.data) : r;
}

/* Sets chosen (by solvable). */
static int choose(const struct universe *u, Map *chosen, struct err *e)
{
	_cleanup_(walk_free) struct walk w;
	_cleanup_(queue_free) Queue job;
	int r = 0;

	walk_from_wishes(u, &w);
	queue_init(&job);
	make_job(u, &w, &job);
	Solver *solver = solver_create(u->pool);
	solver_set_flag(solver, SOLVER_FLAG_IGNORE_RECOMMENDED, 1);
	if (solver_solve(solver, &job) > 0)
		r = unresolvable(u, solver, &w.found, e);
	for (Id s = u->first; r == 0 && universe_package(u, s); s++)
		if (solver_get_decisionlevel(solver, s) > 0)
			MAPSET(chosen, s);
	solver_free(solver);
	return r;
}

/* The closures of all bundles, made one after the other: those of its includes before a bundle's own. */
struct closures {
	const struct universe *u;
	const Map *chosen;
	Map *maps; /* by bundle, in order of the set */
	enum { TO_DO, DOING, DONE } * states;
};

/* Of what is chosen and satisfies alternative, the best; one that is in has is better than any other. 0: none. */
static Id best_chosen(const struct closures *c, Id alternative, const Map *has)
{
	Id name = alternative_name(c->u, alternative), best = 0;

	for (const Id *p = pool_whatprovides_ptr(c->u->pool, alternative); *p; p++) {
		if (!MAPTST(c->chosen, *p))
			continue;
		bool better = best && MAPTST(has, *p) != 0, worse = best && MAPTST(has, best) != 0;
		if (!best || (better && !worse) || (better == worse && candidate_compare(c->u, name, *p, best) < 0))
			best = *p;
	}
	return best;
}

/* What of the chosen is called so; 0: nothing, it is a virtual name */
static Id chosen_by_name(const struct closures *c, Id name)
{
	for (const Id *p = pool_whatprovides_ptr(c->u->pool, name); *p; p++)
		if (MAPTST(c->chosen, *p) && candidate_is_called(c->u, *p, name))
			return *p;
	return 0;
}

/* One of has wins over the first alternative: a bundle needs no second awk. */
static Id satisfier(const struct closures *c, Id dep, const Map *has)
{
	Id first = 0;

	while (dep) {
		Id best = best_chosen(c, alternative_take(c->u, &dep), has);
		if (best && MAPTST(has, best))
			return best;
		if (!first)
			first = best;
	}
	return first;
}

static void close_over(struct closures *c, size_t index, Map *has)
{
	const struct bundle *b = c->u->world->bundles->items[index];
	Map *own = &c->maps[index];
	_cleanup_(queue_free) Queue todo, deps;

	queue_init(&todo);
	queue_init(&deps);
	/* all wishes before the first dependency, so that a wish decides between alternatives wherever it stands */
	for (size_t i = 0; i < b->packages.n; i++) {
		Id wish = wish_find(c->u, b->packages.items[i]), named = chosen_by_name(c, wish);
		queue_push(&todo, named ? named : satisfier(c, wish, has));
	}
	for (int i = 0; i < todo.count; i++) {
		MAPSET(own, todo.elements[i]);
		MAPSET(has, todo.elements[i]);
	}
	for (int i = 0; i < todo.count; i++) {
		solvable_lookup_idarray(pool_id2solvable(c->u->pool, todo.elements[i]), SOLVABLE_REQUIRES, &deps);
		for (int k = 0; k < deps.count; k++) {
			Id s = satisfier(c, deps.elements[k], has);
			assert(s); /* libsolv has just proved that the chosen satisfy each other */
			if (MAPTST(own, s))
				continue;
			MAPSET(own, s);
			MAPSET(has, s);
			queue_push(&todo, s);
		}
	}
}

static void close_bundle(struct closures *c, size_t index)
{
	const struct bundle_set *set = c->u->world->bundles;
	_cleanup_(strv_free) struct strv includes = {0};
	_cleanup_(map_free) Map has;

	map_init(&has, c->u->pool->nsolvables);
	if (c->states[index] != TO_DO)
		return;
	c->states[index] = DOING;
	bundle_set_includes(set, set->items[index], &includes);
	for (size_t i = 0; i < includes.n; i++)
		for (size_t k = 0; k < set->n; k++)
			if (strcmp(set->items[k]->name, includes.items[i]) == 0) {
				close_bundle(c, k);
				/* in a cycle of includes it is not done; then it counts for nothing here */
				if (c->states[k] == DONE)
					map_or(&has, &c->maps[k]);
			}
	close_over(c, index, &has);
	c->states[index] = DONE;
}

static void lock_bundle(const struct closures *c, size_t index, struct lock *l)
{
	const Map *map = &c->maps[index];
	size_t n = 0;

	for (Id s = c->u->first; universe_package(c->u, s); s++)
		n += MAPTST(map, s) != 0;
	struct locked_bundle b = {
		.name = arena_strdup(l->arena, c->u->world->bundles->items[index]->name),
		.packages = arena_alloc(l->arena, n * sizeof(*b.packages)),
	};
	for (Id s = c->u->first; universe_package(c->u, s); s++)
		if (MAPTST(map, s))
			b.packages[b.n_packages++] = arena_strdup(l->arena, universe_package(c->u, s)->name);
	VEC_GROW(l->bundles, l->n_bundles, l->cap_bundles);
	l->bundles[l->n_bundles++] = b;
}

void lock_package(const struct package *p, struct lock *l)
{
	VEC_GROW(l->packages, l->n_packages, l->cap_packages);
	l->packages[l->n_packages++] = (struct locked_package){
		.name = arena_strdup(l->arena, p->name),
		.version = arena_strdup(l->arena, p->version),
		.arch = arena_strdup(l->arena, p->arch),
		.sha256 = p->sha256,
		.size = p->size,
		.repository = arena_strdup(l->arena, p->repository),
		.source = arena_strdup(l->arena, p->source),
		.source_version = arena_strdup(l->arena, p->source_version),
		.file = arena_strdup(l->arena, p->file),
	};
}

static void lock_closures(const struct universe *u, const Map *chosen, struct lock *l)
{
	const struct bundle_set *set = u->world->bundles;
	struct closures c = {.u = u, .chosen = chosen};
	_cleanup_(map_free) Map all;

	map_init(&all, u->pool->nsolvables);
	c.maps = xcalloc(set->n, sizeof(*c.maps));
	c.states = xcalloc(set->n, sizeof(*c.states));
	for (size_t i = 0; i < set->n; i++)
		map_init(&c.maps[i], u->pool->nsolvables);
	for (size_t i = 0; i < set->n; i++) {
		close_bundle(&c, i);
		lock_bundle(&c, i, l);
		map_or(&all, &c.maps[i]);
	}
	for (Id s = u->first; universe_package(u, s); s++)
		if (MAPTST(&all, s))
			lock_package(universe_package(u, s), l);
	for (size_t i = 0; i < set->n; i++)
		map_free(&c.maps[i]);
	free(c.maps);
	free(c.states);
}

int solve(const struct world *w, struct lock *l, struct err *e)
{
	_cleanup_(universe_freep) struct universe *u = NULL;
	_cleanup_(map_free) Map chosen;

	map_init(&chosen, 0);
	int r = universe_new(w, &u, e);
	if (r >= 0)
		r = explain_wishes(u, e);
	if (r < 0)
		return r;
	map_grow(&chosen, u->pool->nsolvables);
	r = choose(u, &chosen, e);
	if (r < 0)
		return r;
	lock_closures(u, &chosen, l);
	return 0;
}
