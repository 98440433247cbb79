/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "swupd/content/diff.h"

/* A diff_write_fn: diff_collect(), of parts of 1 byte to 64 KiB */
int difference_collect(void *buf, const void *data, size_t len, struct err *e);

/* diff_apply() of streams in memory, to an old file that ends where it ends */
int difference_apply(const struct buf *old, size_t new_len, const struct diff_streams *s, struct buf *out,
		     struct diff_cursor *c, struct err *e);

/* The streams of a golden file: each stream's length (LEB128), then all streams. Differences that follow one another are read by one cursor. */
void difference_load(const char *path, struct diff_streams *out);

/*
 * Change one byte of it at a time, in CONTROL every other time or anywhere, and apply it: that must give an error, or a file of the right length.
 * Returns how often it was an error.
 */
size_t difference_damage(const struct buf *old, size_t new_len, struct diff_streams *s, int rounds, bool control,
			 uint32_t *seed);
