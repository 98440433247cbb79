/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mixer/step/job.h"
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
	/* What the cache has beside the mark that it is not worth it: 0 a delta, negative none of this kind. */
	int (*look)(int fd, uint64_t size);
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
 * Make what is not in the cache yet, as jobs (job.h); each is applied and compared before it counts. The content of both files must be in the store. kind: of a delta.
 */
int deltas_make(const struct mix *m, const struct job_kind *kind, struct delta_pair **pairs, size_t n, struct err *e);

/* Where the cache has one. The caller frees it. */
char *delta_file(const struct delta_kind *kind, const struct digest *from, const struct digest *to);

/* Of each kind of job that makes a delta. */
char *delta_job_file(const struct mix *m, const struct job *j, struct err *e);
int delta_job_make(const struct mix *m, const struct job *j, struct buf *out, struct err *e);

/* One classic delta, applied and compared. attrs: of the new one. 1: not worth it. */
int delta_make_checked(const struct buf *old, const struct buf *new, const struct attrs *attrs, struct buf *out,
		       struct err *e);
