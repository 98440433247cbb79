/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swupd/base/text.h"
#include "swupd/content/digest.h"

struct err;

/* How a package's programs, or a kernel, ran when they were trained (profile(5)), for the compiler that builds them. */
struct build_profile {
	char *path; /* NULL: there is none */
	struct buf text;
	struct digest sha256;
	bool no_targets; /* it is written without what lines call */
};

/* path: takes it; NULL: there is none. */
int build_profile_load(char *path, struct build_profile *out, struct err *e);
void build_profile_clear(struct build_profile *p);

/* Less than so much of it, in permille of its counts, is of functions that a build has: it was of something else. */
#define BUILD_PROFILE_FITS 500

/* The version of gcc that a package is, from its name ("gcc-14"); 0: it is none. */
unsigned build_profile_gcc(const char *package);

/*
 * Write the profile as the compiler reads it, clang or the gcc of that version, into dir, which is bound to /mnt/profile; its file is called name. *flags: what the
 * compiler is told, when there is no profile, too; the caller frees it.
 */
int build_profile_write(const struct build_profile *p, const char *name, bool clang, unsigned gcc, int dir,
			char **flags, struct err *e);

/*
 * How much of the profile is of functions that the ELF files fds[0..n) have, which are not stripped: permille of its counts. gcc takes a function that the profile does
 * not have for one that never runs, so a build with a profile of something else is worse than one without.
 */
int build_profile_match(const struct build_profile *p, const int *fds, size_t n, uint32_t *permille, struct err *e);
