/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/content/ways.h"

struct digest;
struct err;
struct mix;

/*
 * The ways that clients go from release to release, by update files (update(5)). They go as swupd/content/ways.h chooses; what leads from nothing, as for an installation,
 * is a file with all objects of a release, "update-from-0".
 */

/* The files of all releases up to this one, added to out. */
int ways_list(const struct mix *m, uint32_t to, struct ways *out, struct err *e);

/* Those from nothing to this release, as clients take them, added to out; none: there is no such way. */
int ways_from_nothing(const struct mix *m, uint32_t to, struct ways *out, struct err *e);

/* Write what tells clients of them, "<to>/updates". */
int ways_publish(const struct mix *m, uint32_t to, struct err *e);

/* The same of ways that were chosen; sets the heads of the files. Of none there is no list. */
int ways_save(const struct mix *m, uint32_t to, struct ways *chosen, struct err *e);

/* What is written, added to out, and its file hash. 0: there is no list. */
int ways_load(const struct mix *m, uint32_t to, struct ways *out, struct digest *hash, struct err *e);

/* Where a mix publishes no classic files: see that there is a way from nothing to this release, and none that is much longer than all of its content. */
int ways_complete(const struct mix *m, uint32_t to, struct err *e);
