/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swupd/base/text.h"
#include "swupd/content/digest.h"

struct config;
struct err;
struct lock;
struct recipe;

/* NAME.profile in local-recipes or in a folder of recipes: how the programs of a recipe ran when they were trained (profile(5)). */
struct package_profile {
	char *path; /* NULL: there is none */
	struct buf text;
	struct digest sha256;
};

int package_profile_find(const struct config *c, const struct recipe *r, struct package_profile *out, struct err *e);
void package_profile_clear(struct package_profile *p);

/*
 * Write the profile as the recipe's compiler reads it into dir, which is bound to /mnt/profile. *flags: what the compiler is told, "" when there is no profile; the
 * caller frees it.
 */
int package_profile(const struct package_profile *p, const struct recipe *r, const struct lock *l, int dir,
		    char **flags, struct err *e);

/*
 * How much of the profile is of functions that a build has, whose debug information (a root with usr/lib/debug) is in debug: permille of its counts. gcc takes a function
 * that the profile does not have for one that never runs, so a build with a profile of something else is worse than one without.
 */
int package_profile_fits(const struct package_profile *p, int debug, uint32_t *permille, struct err *e);
