/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct config;
struct digest;
struct err;

/* <workspace>/local-debs, where what we built ourselves waits for 'mixer lock'. One version of a package is there. */

/*
 * Put the .deb files of the directory from into debs, in the place of other versions of the same packages, and of what an earlier build of their source (NULL: they
 * are not of one alone) made besides: nobody would replace that any more. Packages that we did not build stay. -ERR_SPACE: the disk is full; what was there
 * before is still there.
 */
int local_debs_put(int from, int debs, const char *source, struct err *e);

/* The version of a package that is there, as its file name has it: without epoch; NULL: none. The caller frees it. */
char *local_debs_version(const struct config *c, const char *package);

/*
 * Remember in debs, as PACKAGE.stale beside the package, that this version of it (without epoch) was built without its profile, which did not fit; NULL: it was
 * not. The cache knows that, too, but may be emptied, or be another one, while the package is still in use.
 */
int local_debs_mark(int debs, const char *package, const char *version, const struct digest *profile, struct err *e);

/* Was what lies there of the package built without this profile? */
bool local_debs_is_stale(const struct config *c, const char *package, const struct digest *profile);
