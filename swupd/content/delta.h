/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct buf;
struct err;

/* The predecessor's bsdiff container (spec/swupd-format.md section 6): control, difference and literal blocks, each coded by itself. */

enum delta_coding { DELTA_RAW, DELTA_BZIP2, DELTA_GZIP, DELTA_XZ, DELTA_ZEROS, DELTA_ANY };

struct delta_header {
	uint64_t control_len, diff_len, extra_len; /* stored bytes */
	uint64_t old_len, new_len;
	size_t first_block; /* offset of the control block */
	enum delta_coding control, diff, extra;
	struct attrs attrs; /* of the result */
};

/* -ERR_FORMAT: no delta, or its lengths do not add up to len. -ERR_MISSING: the marker "fetch the whole file instead". */
int delta_parse_header(const void *delta, size_t len, struct delta_header *out, struct err *e);

/*
 * Make the new file from the old one. old[0..old_len) must be what the header says. The result is added to out (at most DELTA_RESULT_MAX);
 * a hostile delta gives -ERR_FORMAT or -ERR_LIMIT, never a read or write outside. The caller still compares the result's hash.
 */
int delta_apply(const void *old, size_t old_len, const void *delta, size_t len, struct attrs *attrs, struct buf *out,
		struct err *e);

/*
 * Make a delta that the predecessor's client accepts. coding: DELTA_ANY takes the smallest for each block. Returns 0, or 1 when a delta is not
 * worth it (the rules of section 6.3; out is unchanged). Memory: about 5 × old_len + new_len (suffix array of int32), so old_len is at most 2 GiB.
 */
int delta_make(const void *old, size_t old_len, const void *new, size_t new_len, const struct attrs *attrs,
	       enum delta_coding coding, struct buf *out, struct err *e);

/* "10-20-<from>-<to>" or "<from>-<to>". -EINVAL for any other name. */
int delta_name_parse(const char *name, struct digest *from, struct digest *to);
