/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/base/view.h"
#include "swupd/content/diff.h"

struct err;

/*
 * Parts of diff.c and diff_make.c: files that have deflated streams (gzip; zip, and so jar and jmod; ELF files with
 * sections that zlib compressed, as files of debug information). A letter that changes in what is deflated changes all
 * bytes behind it; so both files are compared in their expanded form, in which such streams are replaced by what they
 * expand to. The new file's are deflated again, where zlib makes the very same bytes; others, and those that are the
 * same in both files, stay as they are. The difference says where streams are, so a reader need not find them.
 *
 *   file     |header|deflated|header|deflated |rest|
 *   expanded |header|what it expands to|header|what it expands to|rest|
 */

/* A stream without gzip's, zip's or zlib's header */
struct deflated {
	uint64_t at;               /* where it begins in the file */
	uint64_t packed, expanded; /* bytes */
	uint8_t level, memory;     /* of zlib, that make it again: of the new file's */
	struct buf blocks;         /* deflate_tokens.h: what zlib makes is divided into these; empty: it is not */
};

/* Longer ones are not divided anew, as that takes memory. */
#define DEFLATED_ANEW_MAX (4UL << 20)

#define DEFLATED_MAX (1UL << 16) /* of a file */

struct deflated_list {
	struct deflated *items; /* ascending */
	size_t n, cap;
	uint64_t packed, expanded, blocks; /* bytes of all */
	bool sections; /* of an ELF file, whose expanded form has its section headers elsewhere than it says */
};
void deflated_list_clear(struct deflated_list *l);              /* for _cleanup_ */
void deflated_add(struct deflated_list *l, struct deflated *d); /* takes the blocks */

/* Bytes of the expanded form of a file of so many, in which they are; limit: an expanded form is not longer. */
uint64_t deflated_form_size(const struct deflated_list *l, uint64_t len);
uint64_t deflated_form_max(uint64_t len);

/*
 * Expand what begins here, which must not become more than max bytes, to out (NULL: only to know how much it is).
 * Returns 0; or -ERR_FORMAT: it is no deflated stream, or larger.
 */
int deflated_expand(struct view *file, uint64_t at, uint64_t max, diff_write_fn *out, void *arg, uint64_t *packed,
		    uint64_t *expanded, struct err *e);

/* The expanded form of a file, or -ERR_FORMAT when the list is not of this file. */
int deflated_form(struct view *file, const struct deflated_list *l, diff_write_fn *out, void *arg, struct err *e);

/* Writes a file whose expanded form is given. */
struct repacker;
struct repacker *repacker_new(const struct deflated_list *l, diff_write_fn *write, void *arg);
int repacker_write(void *repacker, const void *data, size_t len,
		   struct err *e); /* -ERR_FORMAT: zlib makes something else */
void repacker_free(struct repacker *r);
DEFINE_CLEANUP(struct repacker *, repacker_free);

/* Find the streams of a file that is in memory, each of some length. */
void deflated_find(const uint8_t *p, size_t len, struct deflated_list *out);

/* How zlib makes these bytes of what they expand to: in d; false: in none of the ways that are common. */
bool deflated_find_way(struct deflated *d, const uint8_t *packed, const uint8_t *expanded);
