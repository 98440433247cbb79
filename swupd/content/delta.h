/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct buf;
struct err;

/*
 * The predecessor's bsdiff container (spec/swupd-format.md section 6, delta(5)): control, difference and extra
 * blocks, each coded by itself.
 */

#define DELTA_LARGE_HEADER 67
#define DELTA_SMALL_HEADER 32
#define DELTA_STEP         24 /* of the control block: add, insert, seek */
#define DELTA_CONTROL_SLACK                                                                                            \
	25 /* no writer makes a control block (decoded) that is longer than the new file and this (section 6.3) */

/* In the order of the bits that tell them */
enum delta_coding { DELTA_RAW, DELTA_BZIP2, DELTA_GZIP, DELTA_XZ, DELTA_ZEROS, DELTA_ANY };

struct delta_header {
	uint64_t control_len, diff_len, extra_len; /* stored bytes */
	uint64_t old_len, new_len;
	size_t first_block; /* offset of the control block */
	enum delta_coding control, diff, extra;
	struct attrs attrs; /* of the result */
};

/*
 * -ERR_FORMAT: no delta, not of a file, or its lengths do not add up to len. -ERR_LIMIT: the result would exceed
 * DELTA_RESULT_MAX. -ERR_MISSING: the marker "fetch the whole file instead".
 */
int delta_parse_header(const void *delta, size_t len, struct delta_header *out, struct err *e);

/*
 * Make the new file from the old one. old[0..old_len) must be what the header says. The result is added to out, which
 * is untouched on failure, as is *attrs (of the result, by the header). A hostile delta gives -ERR_FORMAT or
 * -ERR_LIMIT, never a read or write outside, and no more memory than twice new_len of the header (decoded blocks,
 * result), at most as much again for the control block, and 80 MiB for xz. The caller still compares the result's
 * hash.
 */
int delta_apply(const void *old, size_t old_len, const void *delta, size_t len, struct attrs *attrs, struct buf *out,
		struct err *e);

/*
 * Make a delta that the predecessor's client accepts; the same bytes for the same input (with other versions of the
 * compressors only for DELTA_RAW). coding: DELTA_ANY takes the smallest for each block; DELTA_ZEROS codes only blocks
 * of zeros; another is used where it makes a block smaller. Of attrs the mode and owner are used. Returns 0, or 1
 * when a delta is not worth it: the old file is empty or 2 GiB or more, the new one is below 200 bytes or above
 * DELTA_RESULT_MAX, or the delta has more than 90 % of its bytes (but not for DELTA_RAW; the rules of section 6.3);
 * out is unchanged then. Only lack of memory fails. Memory besides old and new: up to 4.5 times old_len while
 * matching, after that twice new_len and 700 MiB for xz at most.
 */
int delta_make(const void *old, size_t old_len, const void *new, size_t new_len, const struct attrs *attrs,
	       enum delta_coding coding, struct buf *out, struct err *e);

/*
 * "10-20-<from>-<to>" or "<from>-<to>", both of 64 digits. The two fields in front once were releases, and mean
 * nothing now (section 6.1). -EINVAL for any other name.
 */
int delta_name_parse(const char *name, struct digest *from, struct digest *to);
