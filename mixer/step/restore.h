/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct err;
struct mix;
struct node;
struct release;

/*
 * The store is a cache: what it lacks of these nodes comes back from what was published with the releases, fullfiles or the update files from nothing (ways.h),
 * checked by hash. -ERR_MISSING: one is not there either.
 */
int restore_content(const struct mix *m, const struct node *const *nodes, size_t n,
		    const struct release *const *releases, size_t n_releases, struct err *e);
