/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/deflate_tokens.h"

struct err;

/*
 * Deflate bytes to the very stream that zlib makes of them, in less time: zlib tries all that begins with the same three
 * bytes, the nearest first, up to a number that depends on the level. Here what cannot be longer is not tried, only
 * counted; so what is found is the same.
 */
#define DEFLATE_AGAIN_LEVEL 4           /* and up: lower ones search otherwise, and are zlib's */
#define DEFLATE_AGAIN_MAX   (1UL << 30) /* of the bytes */

struct deflater;
struct deflater *deflater_new(void);
void deflater_free(struct deflater *d);
DEFINE_CLEANUP(struct deflater *, deflater_free);

/* A new stream: level and memory (1 to 9) as in deflateInit2(). out: where it is written to; or NULL: only tokens are made, to `tokens`. */
void deflater_begin(struct deflater *d, unsigned level, unsigned memory, struct buf *out,
		    struct deflate_tokens *tokens);

/* last: the stream ends behind them. -ERR_FORMAT: there are more tokens than DEFLATE_TOKENS_MAX. */
int deflater_write(struct deflater *d, const uint8_t *p, size_t len, bool last, struct err *e);
