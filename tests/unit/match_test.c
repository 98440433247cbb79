/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/match.h"
#include "tests/unit/edits.h"

#define WINDOW 65536UL

/* Goes the steps; *copied: bytes that are as in the old file */
static void follow(const struct buf *old, const struct buf *new, const struct match_steps *steps, size_t *copied)
{
	uint64_t at = 0, made = 0;

	*copied = 0;
	for (size_t i = 0; i < steps->n; i++) {
		const struct match_step *s = &steps->items[i];
		assert_in_range(s->copy, 0, new->len - made);
		assert_in_range(s->insert, 0, new->len - made - s->copy);
		if (s->copy > 0)
			assert_in_range(at + s->copy, s->copy, old->len);
		for (size_t k = 0; k < s->copy; k++)
			*copied += new->data[made + k] == old->data[at + k];
		made += s->copy + s->insert;
		at += s->copy + (uint64_t)s->seek;
	}
	assert_int_equal(made, new->len);
}

TEST(match_find_large_finds_what_moved_far)
{
	_cleanup_(match_steps_clear) struct match_steps steps = {0}, again = {0};
	_cleanup_(buf_free) struct buf old = {0}, new = {0};
	struct err e = ERR_INIT;
	uint32_t seed = 1;
	size_t copied;

	/* ten windows; the halves change places, and a part of a window is new */
	edits_noise(&old, 10 * WINDOW, 256, &seed);
	buf_add(&new, old.data + 5 * WINDOW, 5 * WINDOW);
	edits_noise(&new, 1000, 256, &seed);
	buf_add(&new, old.data, 5 * WINDOW);
	assert_ok(match_find_large(old.data, old.len, new.data, new.len, WINDOW, 1000, &steps, &e), &e);
	follow(&old, &new, &steps, &copied);
	assert_in_range(copied, new.len - 1100, new.len);
	assert_in_range(steps.n, 2, 60);
	assert_ok(match_find_large(old.data, old.len, new.data, new.len, WINDOW, 1000, &again, &e), &e);
	assert_int_equal(steps.n, again.n);
	assert_memory_equal(steps.items, again.items, steps.n * sizeof(*steps.items));
}

TEST(match_find_large_takes_any_file)
{
	static const unsigned letters[] = {1, 2, 10, 256};

	for (uint32_t round = 0; round < 60; round++) {
		_cleanup_(match_steps_clear) struct match_steps steps = {0};
		_cleanup_(buf_free) struct buf old = {0}, new = {0};
		struct err e = ERR_INIT;
		uint32_t seed = round;
		unsigned l = letters[round % ARRAY_LEN(letters)];
		size_t copied;
		edits_noise(&old, edits_random(&seed) % 5000, l, &seed);
		buf_add(&new, old.data, old.len);
		for (uint32_t edits = edits_random(&seed) % 20; edits > 0; edits--)
			edits_edit(&new, l, &seed);
		if (old.len == 0)
			continue;
		int r = match_find_large(old.data, old.len, new.data, new.len, 512, 10000, &steps, &e);
		assert_ok(r, &e);
		follow(&old, &new, &steps, &copied);
	}
}

TEST(match_find_large_ends_with_too_many_steps)
{
	_cleanup_(match_steps_clear) struct match_steps steps = {0};
	_cleanup_(buf_free) struct buf old = {0}, new = {0};
	struct err e = ERR_INIT;
	uint32_t seed = 1;

	edits_noise(&old, 100000, 256, &seed);
	for (size_t i = 0; i < 1000; i++)
		buf_add(&new, old.data + i * 7919 % 90000, 100);
	assert_int_equal(match_find_large(old.data, old.len, new.data, new.len, 50000, 20, &steps, &e), 1);
	assert_in_range(steps.n, 1, 21);
}
