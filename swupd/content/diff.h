/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/base/text.h"
#include "swupd/base/view.h"

struct err;

/*
 * The difference of two files, as streams of like things that are not compressed here: those of many files are put
 * behind one another, and the whole is. What the streams say stands in difference(5). Lengths and hashes of both files
 * are known from elsewhere.
 */
enum diff_stream {
	DIFF_CONTROL,
	DIFF_COPY,
	DIFF_INSERT,
	DIFF_ALIGN,
	DIFF_GAP,
	DIFF_VALUE,
	DIFF_LITERAL,
	DIFF_REFERENCE,
	DIFF_CORRECTION,
	DIFF_TARGET,
	DIFF_STREAMS
};

/* No difference has more pieces: a reader holds all of them, 24 bytes each */
#define DIFF_PIECES_MAX (1UL << 20)

/* {0} is empty */
struct diff_streams {
	struct buf s[DIFF_STREAMS];
};

void diff_streams_clear(struct diff_streams *s); /* for _cleanup_ */

/*
 * Add the difference to the streams, which are untouched on failure. old_len may be 0: all is literal then. The same
 * input makes the same streams. Memory besides old, new and out: up to 4.5 times old_len but no more than 310 MiB, and
 * for programs, which have 64 MiB at most, old_len and new_len once more and 64 MiB; of what has deflated streams also
 * the expanded forms, and as much for each. Only lack of memory fails.
 */
int diff_make(const void *old, size_t old_len, const void *new, size_t new_len, struct diff_streams *out,
	      struct err *e);

/*
 * A file from nothing that is larger than programs are, and so plain: all that diff_make adds but the literals, which
 * are the file's bytes, for the caller to put behind the others.
 */
#define DIFF_PROGRAM_MAX (64UL << 20)
void diff_make_large(uint64_t new_len, struct diff_streams *out);

/* Where a difference is read from: exactly the next len bytes of a stream, or an error. */
struct diff_source {
	int (*read)(void *arg, enum diff_stream s, void *data, size_t len, struct err *e);
	void *arg;
};

/* A source of streams in memory: {.read = diff_cursor_read, .arg = &cursor}. -ERR_FORMAT: a stream ends too early. */
struct diff_cursor {
	const struct diff_streams *streams;
	size_t at[DIFF_STREAMS];
};
int diff_cursor_read(void *cursor, enum diff_stream s, void *data, size_t len, struct err *e);

/* Takes the next part of the new file, at most 64 KiB. An error ends the work. */
typedef int diff_write_fn(void *arg, const void *data, size_t len, struct err *e);
int diff_collect(void *buf, const void *data, size_t len, struct err *e); /* adds it to a struct buf */

/*
 * Make the new file. A difference that does not fit old_len or new_len, or is none, gives -ERR_FORMAT, one with too
 * many pieces -ERR_LIMIT; other errors are those of read and write. Whatever it is: nothing outside of old is read,
 * never more than new_len bytes are written, time is that of reading old_len and writing new_len bytes (at most 16 times
 * as many where they are deflated), memory is 1 MiB, the view, the pieces (at most 24 MiB), for programs as much again
 * and 2 bytes for each reference of the old file (at most 8 MiB, as much again while they grow), and for a deflated
 * stream in other blocks than zlib's, which has 4 MiB at most, 24 MiB, and as much again while that grows. scratch is a
 * directory in which a file may lie until then that has what the old one expands to, when that is large; -1: memory is
 * taken instead. The caller compares the result's hash.
 */
int diff_apply(struct view *old, uint64_t new_len, const struct diff_source *in, int scratch, diff_write_fn *write,
	       void *arg, struct err *e);
