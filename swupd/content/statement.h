/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/content/digest.h"

struct buf;
struct err;

/*
 * The form that freshness(5) and root(5) share: lines "key:\tvalue\n" in a fixed order, an empty line, then blocks of
 * base64 as in PEM. There is one text for one meaning: numbers without leading zeros, base64 in lines of 64, nothing
 * between blocks. A cursor reads it from front to back; every error is -ERR_FORMAT and names the line.
 */
struct statement {
	const char *pos, *end;
	unsigned line; /* number of the line at pos, from 1 */
};

/* text[0..len) must outlive the cursor. -ERR_LIMIT: larger than SMALL_TEXT_MAX. magic: the first line. */
int statement_open(struct statement *s, const char *text, size_t len, const char *magic, struct err *e);

bool statement_at(const struct statement *s, const char *key); /* does the next line have this key? */
int statement_number(struct statement *s, const char *key, uint64_t min, uint64_t max, uint64_t *out, struct err *e);
int statement_numbers(struct statement *s, const char *key, uint64_t *out, size_t n,
		      struct err *e); /* n of any size, a blank between them */
int statement_u32(struct statement *s, const char *key, uint32_t min, uint32_t *out, struct err *e);
int statement_digest(struct statement *s, const char *key, struct digest *out, struct err *e);
int statement_blank(struct statement *s, struct err *e);

/* Is the next line the begin of a block of this label ("CMS")? */
bool statement_at_block(const struct statement *s, const char *label);
int statement_block(struct statement *s, const char *label, struct buf *der, struct err *e); /* added to der */
int statement_end(struct statement *s, struct err *e);                                       /* nothing follows */

/* The writer of a block. */
void statement_add_block(struct buf *out, const char *label, const void *der, size_t len);
