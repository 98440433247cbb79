/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct err;

/*
 * One step in making the new file: so many bytes are nearly those at the position in the old file, so many have
 * nothing like them there; then that position, which is behind the copy, moves by seek.
 */
struct match_step {
	uint64_t copy, insert;
	int64_t seek;
};

struct match_steps {
	struct match_step *items;
	size_t n, cap;
};

void match_steps_clear(struct match_steps *s); /* for _cleanup_ */

/*
 * Find the new file in the old one: the steps are added to out and make all of new; copies lie within old. Returns 1
 * when it would take more than max steps (out has some of them then). old_len: 1 to INT32_MAX. Memory besides old, new
 * and out: up to 4.5 times old_len. Same input, same steps.
 */
int match_find(const void *old, size_t old_len, const void *new, size_t new_len, size_t max, struct match_steps *out,
	       struct err *e);

/*
 * The same for an old file of any size: a larger one than a window is matched in windows, for each part of the new file
 * with the one that has most of it. Memory besides old, new and out: up to 4.5 times window, and 16 MiB.
 */
#define MATCH_WINDOW (64UL << 20)
int match_find_large(const void *old, size_t old_len, const void *new, size_t new_len, size_t window, size_t max,
		     struct match_steps *out, struct err *e);
