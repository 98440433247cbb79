/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "swupd/content/digest.h"

struct err;
struct lock;
struct mix;

/*
 * The root that a recipe is built in: <cache>/buildroots/<key>, made by mmdebstrap(1) of exactly the packages of its lock. Other than a root of tools
 * (toolroot.h) it is an installed Debian: scripts of packages were run, and dpkg knows what is there, which builds ask it. Nobody writes there afterwards.
 * What is there under its key is whole; recipes with the same packages share it.
 *
 * *path: the caller frees it. -ERR_NOT_ROOT: it is not there yet, and to make it is for root. -ERR_CHILD: mmdebstrap failed; <cache>/buildroots/mmdebstrap.log has all that it said.
 */
int package_root(const struct mix *m, const struct lock *l, char **path, char key[DIGEST_HEX], struct err *e);

/* After writing to dir of the cache failed with r, or a program did: -ERR_SPACE and a text that says so when the disk is full, else r. */
int package_space(const struct mix *m, int dir, int r, struct err *e);
