/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include <solv/pool.h>
#include <solv/queue.h>

#include "swupd/base/mem.h"

struct buf;
struct bundle_set;
struct drop_list;
struct err;
struct lock;
struct package;
struct package_list;

/* What resolving is a function of. */
struct world {
	const struct package_list *packages; /* of all repositories, in order of configuration */
	const char *architecture;
	const struct bundle_set *bundles;
	const struct drop_list *drops; /* may be NULL */
	const struct lock *keep;       /* stay with its versions where they are among packages; NULL: take the newest */
};

/*
 * The packages that can be chosen, in libsolv's terms. Of each name these are all versions from the repository with the highest priority (of two
 * that are equal, the one configured first counts) and the one that is to be kept. Dependencies that packages.drop names are left out here.
 */
struct universe {
	Pool *pool;
	const struct world *world;
	Id first;                        /* the solvable of packages[0] */
	const struct package **packages; /* by solvable; lent from world */
	bool *kept;                      /* the version that is to be kept */
	size_t n;
};

/* -ERR_FORMAT: a package's field cannot be read. */
int universe_new(const struct world *w, struct universe **out, struct err *e);
void universe_free(struct universe *u);
DEFINE_CLEANUP(struct universe *, universe_free);

const struct package *universe_package(const struct universe *u, Id solvable); /* NULL: libsolv's own */

/* Take the first alternative from *dep ("a | b | c"), which is then the rest, 0 at the end. */
Id alternative_take(const struct universe *u, Id *dep);

/* What alternative stands for without version: the name. */
Id alternative_name(const struct universe *u, Id alternative);

/* As Debian orders versions: < 0, 0, > 0 */
int universe_compare_versions(const char *a, const char *b);

/* The wish for a name: that name, or, when no package has it, what provides it. An id for pool_whatprovides; 0: there is neither. */
Id wish_find(const struct universe *u, const char *name);

/* Is the candidate called so, rather than only providing it? */
bool candidate_is_called(const struct universe *u, Id candidate, Id name);

/* As a control file writes it: "a (>= 2) | b". */
void dependency_format(const struct universe *u, Id dep, struct buf *out);

/* The order in which solvables are preferred when several would do: < 0: a before b. name: the wanted one. A total order. */
int candidate_compare(const struct universe *u, Id name, Id a, Id b);
