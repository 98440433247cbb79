/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"

struct err;
struct lock;
struct mix;
struct recipe;
struct strv;

/*
 * Locks of recipes, <workspace>/recipes.lock/NAME (mixer.lock(5)): the exact source package, and every package of the root that it is built in. That is what its
 * Build-Depends want, build-essential, the essential packages, and all that these depend on, of the archives alone: what lies in local-debs differs between machines.
 * Each recipe is resolved for itself, since the wishes of two may contradict.
 */

/* The indexes that these recipes are resolved from, loaded once. only: names of archives, NULL or empty: all. */
struct package_locker;
int package_locker_open(const struct mix *m, struct recipe *const *recipes, size_t n, const struct strv *only,
			struct package_locker **out, struct err *e);
void package_locker_close(struct package_locker *l);
DEFINE_CLEANUP(struct package_locker *, package_locker_close);

/* *out: the caller frees it. -ERR_CONFIG: no archive has the source; -ERR_UNRESOLVABLE: the root cannot be. */
int package_lock_make(struct package_locker *l, const struct recipe *r, struct lock **out, struct err *e);

/* The lock that is there; a new one, saved, when there is none. -ERR_CONFLICT: it was made for another wish. */
int package_lock_get(const struct mix *m, struct recipe *r, struct lock **out, struct err *e);

/* Is the lock made for this wish? */
bool package_lock_is_current(const struct mix *m, const struct recipe *r, const struct lock *l);

/* Is its source older than this version of it? */
bool package_lock_is_older(const struct lock *l, const char *version);
