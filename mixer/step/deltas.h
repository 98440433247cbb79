/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/content/file.h"

struct attrs;
struct buf;
struct err;
struct mix;
struct node;

/* Two files, and the delta between them: once made it lies in <cache>/deltas/xx/<from>-<to>. */
struct delta_pair {
	const struct node *from, *to;
	char *file;    /* of the delta, in the cache; NULL: it is not worth it; owned */
	uint64_t size; /* of the delta */
};

/*
 * Make what is not in the cache yet, the largest first, on all cores; each is applied and compared before it counts. The content of both files must be in
 * the store. pairs are put into another order. Memory: the jobs that run at one time together need DELTAS_MEMORY at most, or it is a single one.
 */
int deltas_make(const struct mix *m, struct delta_pair **pairs, size_t n, struct err *e);

#define DELTAS_MEMORY (2ULL << 30)

/* One delta, applied and compared. attrs: of the new one. 1: not worth it. */
int delta_make_checked(const struct buf *old, const struct buf *new, const struct attrs *attrs, struct buf *out,
		       struct err *e);
