/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct err;
struct stat;
struct ui;

/*
 * The cache holds what can be made again, for any number of mixes, and nobody knows who will need a thing once more. So each remembers when it was used last: its time of change is
 * that, or up to a day before, and gc (step/gc.h) goes by it.
 */
#define CACHE_DAY 86400

/* path in dirfd is used; st is what stat says of it. What has a second name, in a published tree, keeps its time there, and its place here. */
void cache_used(int dirfd, const char *path, const struct stat *st);

/*
 * Who uses the cache shares its lock with all others that do; who removes something from it must be alone. Returns the fd that holds it; alone: -ERR_LOCKED instead of waiting.
 */
int cache_lock(int cache, bool alone, struct err *e);

/* One builds in a folder of the cache at a time; who has to wait is told what for ("kernels"). Returns the fd that holds the lock. */
int cache_lock_builds(int dir, const char *what, struct ui *ui, struct err *e);
