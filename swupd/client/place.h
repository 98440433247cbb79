/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "swupd/content/file.h"

struct err;

/*
 * The single steps of a commit, below root, each of which may be done twice with the same result. Paths are relative to root; none
 * is followed through a symbolic link.
 */

/*
 * Put what lies at prepared (of this kind) in the place of target, whatever is there, by one rename; where a directory is replaced by something else or the
 * reverse, by an exchange. Nothing at prepared: it was done before. What a replaced directory still holds is kept as
 * .deleted.<now>.<name> beside target.
 */
int place_put(int root, const char *prepared, const char *target, enum file_kind kind, int64_t now, struct err *e);

/* Give a directory these attributes. */
int place_dir(int root, const char *target, const struct attrs *a, struct err *e);

/* Remove a file, a link or an empty directory. Missing, or a directory with something left in it, is fine. */
int place_del(int root, const char *target, struct err *e);

/* Owner, then mode, of a file or directory. */
int place_attributes(int dirfd, const char *name, const struct attrs *a, struct err *e);
