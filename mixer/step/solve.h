/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <solv/pool.h>
#include <solv/queue.h>

struct buf;
struct err;
struct lock;
struct package;
struct universe;
struct world;

/*
 * Choose packages for all bundles together, so that everything that any of them wants can be installed on one system, and write them and each bundle's
 * closure into l (packages, bundles). The same world gives the same choice.
 *
 * Of the alternatives "a | b" the first that can be had is taken, unless a later one is there anyway; of several that provide a name the one that
 * is called so, else of the highest priority, else the lowest name; of several versions the newest. -ERR_UNRESOLVABLE: the text says who wants what, and
 * what stands against it.
 */
int solve(const struct world *w, struct lock *l, struct err *e);

/* Append a copy; l is not sorted any more. */
void lock_package(const struct package *p, struct lock *l);

/* explain.c: the wishes that no package satisfies; -ERR_UNRESOLVABLE when there are any. */
int explain_wishes(const struct universe *u, struct err *e);

/* One rule that cannot be kept, as solver_ruleinfo has it. */
struct problem {
	int type; /* SOLVER_RULE_… */
	Id source, target, dep;
};

/*
 * explain.c: add the text of one problem, and a way out, if there is one, to hint. likely: solvables that would be chosen if all went well, through
 * which the way from a bundle's wish is shown.
 */
void explain_problem(const struct universe *u, const struct problem *p, const Queue *likely, struct buf *out,
		     struct buf *hint);
