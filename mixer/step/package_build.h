/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct err;
struct mix;
struct recipe;

/*
 * Packages of Debian built anew, with frame pointers, full debug information whose file names say where the sources are published, the flags of a recipe, and a
 * profile if there is one. From the locked source, in the locked root (package_root.h), a recipe becomes packages in <workspace>/local-debs:
 *
 *     the binary packages of the source for our architecture    VERSION is Debian's, "+limpid.", 10 digits of a digest of all inputs
 *     NAME-dbgsym        /usr/lib/debug/.build-id/xx/<rest>.debug, and what dwz made common of several
 *     SOURCE-dbgsrc      /usr/src/debug/SOURCE-VERSION/: the files that the debug information names, generated ones among them
 *
 * A profile of which less than half fits what was built is stale: a warning says so, and the package is built again without it, as one that compilers crash on.
 * with_profile: false, there shall be none.
 *
 * The same inputs give the same bytes. The result is kept in <cache>/rebuilds/<key>: what is there is whole.
 *
 * -ERR_CONFLICT: the recipe's lock is for another wish; -ERR_CHILD: a stage failed, the text has its last lines, <cache>/rebuilds/log/RECIPE.log has all;
 * -ERR_SPACE: the disk of the cache or of local-debs is full; -ERR_DIGEST: the source is not what is locked.
 */
int package_build(const struct mix *m, struct recipe *r, bool with_profile, struct err *e);

struct package_state {
	char *version; /* that lies in local-debs, without epoch; NULL: none. The caller frees it. */
	bool current;  /* it is what the lock, the recipe and the profile as they are now give */
	bool profile;  /* there is one to build with */
	bool stale; /* but what lies in local-debs was built without it: it did not fit, or the compiler crashed on it */
};
int package_state(const struct mix *m, struct recipe *r, struct package_state *out, struct err *e);
