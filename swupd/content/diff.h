/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/base/text.h"
#include "swupd/base/view.h"

struct err;

/*
 * The difference of two files, as streams of like things that are not compressed here: those of many files are put
 * behind one another, and the whole is. Lengths and hashes of both files are known from elsewhere. What one difference
 * has in each stream tells itself where it ends.
 *
 * The new file is made of pieces, in its order. A piece copies bytes of the old file, some of them changed, and goes on
 * with bytes that are given (literals). "varint": 7 bits a byte, the lowest first, the highest bit says that more
 * follow; as few bytes as can be. "signed": 0, -1, 1, -2, 2 … as the varints 0, 1, 2, 3, 4 …
 *
 *   stream      of each difference
 *   CONTROL     varint, its kind: 0 plain, 1 program, 2 of what has deflated streams
 *   COPY        of each piece, until they make the new file: varint, how many bytes are copied
 *   INSERT      of each piece: varint, how many literals follow. Of copy and insert one at least is not 0.
 *   ALIGN       of each piece that copies: signed varint, how the position in the old file minus that in the new one
 *               differs from the piece's before; at first from 0
 *   GAP         all copied bytes in a row: varints, 1 + how many are unchanged before the next changed one; at the end 0
 *   VALUE       of each changed byte: new minus old modulo 256
 *   LITERAL     the literals
 *
 *   old    |....AAAAAAAAAA.......BBBBBBB...|
 *               | copy  |        |copy |           ALIGN: 4, then 1 more
 *   new    |AAAAaAAAAAxxxxxxxBBBbBBB|              GAP: 5 (4 unchanged, then a), 9 (5 of A, 3 of B, then b), 0
 *                     |insert|
 *
 * A program (kind 1) has more; diff_elf.h has its words. From ELF_HEAD bytes of the new file on, each reference of the
 * old file that is copied as a whole in one piece is replaced by the predicted one, before the changes:
 *
 *   REFERENCE   all those references in a row: varints, 1 + how many are as predicted before the next that is not; at
 *               the end 0
 *   CORRECTION  of each that is not: signed varint, reference minus prediction; 0: it is as in the old file
 *   TARGET      where a piece's literals begin at ELF_HEAD or behind it and all are in one segment of code: of each
 *               operand that the machine finds in them alone, its target's address minus the file's lowest, 4 bytes,
 *               the highest first. It is not in LITERAL then.
 *
 * Of what has deflated streams (kind 2; diff_deflated.h), CONTROL goes on with a list of the old file's streams and one of
 * the new file's, and then with the kind of the difference of their expanded forms, 0 or 1, which is all the rest. A
 * list: varint, how many; of each stream varints, bytes between the one before and it, its bytes, what it expands to;
 * in the new file also level and memory level of the zlib that makes it (no header, window of 32 KiB), and bytes that
 * say in which blocks (deflate_tokens.h), or 0.
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
