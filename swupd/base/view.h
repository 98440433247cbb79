/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "swupd/base/text.h"

struct err;

/*
 * A file to look at, here and there: in memory as a whole when it is small, else in blocks that are read when they are
 * asked for, of which 64 are kept. What cannot be read is zeros, and view_check() says so: ask before what was made of
 * it is used.
 */
#define VIEW_WHOLE   (4UL << 20)  /* larger files are looked at in blocks: 1.1 MiB of memory */
#define VIEW_BLOCK   (16UL << 10) /* at multiples of this */
#define VIEW_STRETCH 1024UL       /* so many bytes behind a block are read with it */

struct view_block;

struct view {
	const uint8_t *data; /* NULL: it is looked at in blocks */
	size_t len;
	int fd, error;
	struct buf whole; /* kept for the next file */
	struct view_block *blocks;
	const uint8_t *last; /* the block that was looked at last; NULL: none */
	uint64_t last_at;
};

/* {0} is an empty file; so is one of memory that someone else has. */
#define VIEW_OF(bytes, n) ((struct view){.data = (bytes), .len = (n)})

/* Look at this file from now on; fd is lent. The view may have been another file's. max: a larger one is -ERR_LIMIT. */
int view_open(struct view *v, int fd, const char *name, size_t max, struct err *e);
void view_close(struct view *v);

const uint8_t *view_block_at(struct view *v, uint64_t at, size_t *have); /* the slow way of view_at() */

/*
 * The bytes from at on, which is not behind the end: *have of them, at least VIEW_STRETCH where the file has as many.
 * Valid until the next call.
 */
static inline const uint8_t *view_at(struct view *v, uint64_t at, size_t *have)
{
	if (v->data) {
		*have = v->len - at;
		return v->data + at;
	}
	const uint64_t in = at - v->last_at;
	if (in >= VIEW_BLOCK || !v->last)
		return view_block_at(v, at, have);
	const uint64_t len =
		v->len - v->last_at < VIEW_BLOCK + VIEW_STRETCH ? v->len - v->last_at : VIEW_BLOCK + VIEW_STRETCH;
	*have = len - in;
	return v->last + in;
}

/* Bytes of the file, which are there */
static inline void view_copy(struct view *v, uint64_t at, uint8_t *out, size_t len)
{
	for (size_t have; len > 0; at += have, out += have, len -= have) {
		const uint8_t *p = view_at(v, at, &have);
		have = have < len ? have : len;
		memcpy(out, p, have);
	}
}

int view_check(const struct view *v, struct err *e);
