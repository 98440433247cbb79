/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/content/deflate_tokens.h"

/* The header that zlib gives a block of these tokens: RFC 1951 leaves it to the writer which codes a block has. */
struct deflate_header {
	uint8_t data[DEFLATE_HEADER_BITS / 8];
	unsigned bits;
	uint64_t size; /* bytes of the whole block, rounded up: what zlib compares with a stored one */
};
void deflate_codes_choose(const uint32_t *tokens, size_t n, bool last, struct deflate_header *out);
