/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/text.h"

struct err;

/*
 * Deflated streams (RFC 1951), taken apart as far as it takes to make one out of another: what finds the same copies may
 * still divide them into other blocks, as gzip and zlib do. A token is a literal, or a copy of bytes before: length << 16
 * | distance. A block has a header, which says the codes of its tokens, and so many of them. Stored blocks have none, and
 * are not known here.
 */
struct deflate_block {
	size_t tokens; /* how many */
	uint64_t at;   /* where its header begins in the stream, in bits */
	unsigned bits; /* of the header */
};

struct deflate_tokens {
	uint32_t *items;
	size_t n, cap;
	struct deflate_block *blocks;
	size_t n_blocks, cap_blocks;
};
void deflate_tokens_clear(struct deflate_tokens *t); /* for _cleanup_ */

#define DEFLATE_TOKENS_MAX (1UL << 22)

/* -ERR_FORMAT: these bytes, all of them, are no stream of such blocks, or it has more tokens. */
int deflate_tokens_read(const uint8_t *p, size_t len, struct deflate_tokens *out, struct err *e);

/* The blocks, which came with this stream, in few bytes: varint, how many; of each varints, tokens and bits of the header, and that. */
void deflate_blocks_save(const struct deflate_tokens *t, const uint8_t *stream, struct buf *out);

/* Write the same tokens in such blocks. -ERR_FORMAT: they do not fit one another. */
int deflate_tokens_write(const struct deflate_tokens *t, const struct buf *blocks, struct buf *out, struct err *e);

/* ---- writing bit by bit ---- */

struct deflate_writer {
	struct buf *out;
	uint64_t held;
	unsigned n; /* bits of it */
};

void deflate_put_bits(struct deflate_writer *w, uint64_t v, unsigned n); /* at most 16, the lowest first */
void deflate_align(struct deflate_writer *w); /* zeros, until a byte is full; all are in out then */

#define DEFLATE_HEADER_BITS 4096U /* none is longer */

/* A block with such a header, which says whether it is the last one. false: it is none, or has no codes for these tokens. */
bool deflate_put_block(struct deflate_writer *w, const uint8_t *header, unsigned bits, const uint32_t *tokens, size_t n,
		       bool *last);
