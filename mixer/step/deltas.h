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

/* A kind of delta, made of two files once and kept in <cache>/<folder>/xx/<from>-<to>. */
struct delta_kind {
	const char *folder;
	/* 1: not worth it */
	int (*make)(const struct buf *old, const struct buf *new, const struct attrs *attrs, struct buf *out,
		    struct err *e);
	/* What the cache has: 0 a delta, 1 the mark that it is not worth it, negative neither. */
	int (*look)(const struct buf *delta);
	uint64_t min, max; /* bytes of files that it is for */
};
extern const struct delta_kind delta_classic; /* delta(5), of the classic packs */

/* Two files, and the delta between them. */
struct delta_pair {
	const struct node *from, *to;
	char *file;    /* of the delta, in the cache; NULL: it is not worth it; owned */
	uint64_t size; /* of the delta */
};

/*
 * Make what is not in the cache yet, the largest first, on all cores; each is applied and compared before it counts. The content of both files must be in
 * the store. pairs are put into another order. Memory: the jobs that run at one time together need DELTAS_MEMORY at most, or it is a single one.
 */
int deltas_make(const struct mix *m, const struct delta_kind *kind, struct delta_pair **pairs, size_t n, struct err *e);

#define DELTAS_MEMORY (2ULL << 30)

/* One classic delta, applied and compared. attrs: of the new one. 1: not worth it. */
int delta_make_checked(const struct buf *old, const struct buf *new, const struct attrs *attrs, struct buf *out,
		       struct err *e);
