/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/coverage.h"

#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "tests/unit/test.h"

#define DAY   86400
#define START (1763596800 + 3 * DAY) /* 2025-11-23; the week of the epoch turned three days before */

/* Releases 1, 2 ... of these days, the newest first. */
static void add_days(struct history *h, const unsigned *days, size_t n)
{
	for (size_t i = n; i-- > 0;) {
		VEC_GROW(h->items, h->n, h->cap);
		h->items[h->n++] =
			(struct published){.release = (uint32_t)i + 1, .time = START + (int64_t)days[i] * DAY};
	}
}

static char *covered(const struct history *h)
{
	struct buf text = {0};

	buf_puts(&text, "");
	for (size_t i = 0; i < h->n; i++)
		if (h->items[i].covered)
			buf_printf(&text, " %u", h->items[i].release);
	return text.data;
}

TEST(coverage_is_the_last_releases_and_the_last_of_each_span)
{
	/*                                1   2   3   4   5   6   7    8    9    10   11 */
	static const unsigned days[] = {0, 40, 41, 80, 90, 97, 98, 104, 105, 106, 107};
	_cleanup_(history_clear) struct history h = {0};

	add_days(&h, days, ARRAY_LEN(days));
	coverage_choose(&h, 2, 365);
	/* 8 is of the newest's week, 6 of that of 7; spans of 5 and 4 are two weeks; eight weeks that 3 and 2 are of end with 4; the eight before with 1 */
	_cleanup_free_ char *text = covered(&h);
	assert_string_equal(text, " 10 9 7 5 4 1");
	coverage_choose(&h, 2, 0);
	_cleanup_free_ char *last = covered(&h);
	assert_string_equal(last, " 10 9");
	coverage_choose(&h, 0, 66);
	_cleanup_free_ char *recent = covered(&h);
	assert_string_equal(recent, " 7 5 4");
	coverage_choose(&h, 0, 0);
	_cleanup_free_ char *none = covered(&h);
	assert_string_equal(none, "");
}

TEST(coverage_of_releases_without_times_is_the_last_ones)
{
	static const unsigned days[] = {5, 5, 5, 5, 5, 5};
	_cleanup_(history_clear) struct history h = {0};

	add_days(&h, days, ARRAY_LEN(days));
	coverage_choose(&h, 3, 365);
	_cleanup_free_ char *text = covered(&h);
	assert_string_equal(text, " 5 4 3");
}

/*
 * One after the other is published, and gc removes each time what is not covered: what remains is what would be covered had nothing ever been removed. And it is little.
 */
static void publish_for(unsigned releases, unsigned every_days, unsigned jitter)
{
	_cleanup_(history_clear) struct history all = {0}, left = {0};
	unsigned seed = 7, day = 0, most = 0;

	for (unsigned i = 0; i < releases; i++) {
		seed = seed * 1103515245 + 12345;
		day += every_days + (jitter ? (seed >> 16) % jitter : 0);
		struct history *const both[] = {&all, &left};
		for (size_t k = 0; k < ARRAY_LEN(both); k++) {
			struct history *h = both[k];
			VEC_GROW(h->items, h->n, h->cap);
			memmove(h->items + 1, h->items, h->n++ * sizeof(*h->items));
			h->items[0] = (struct published){.release = i + 1, .time = START + (int64_t)day * DAY};
			coverage_choose(h, 3, 3650);
		}
		_cleanup_free_ char *want = covered(&all), *have = covered(&left);
		assert_string_equal(have, want);
		size_t kept = 1;
		for (size_t k = 1; k < left.n; k++)
			if (left.items[k].covered)
				left.items[kept++] = left.items[k];
		left.n = kept;
		most = MAX(most, (unsigned)kept - 1);
		/* two for each doubling of the age in weeks, the first two weeks, and the last three */
		unsigned doublings = 1;
		for (unsigned weeks = day / 7; weeks > 1; weeks /= 2)
			doublings++;
		assert_true(kept - 1 <= 2 * doublings + 3);
	}
	assert_true(most >= 5);
}

TEST(coverage_is_stable_under_gc_and_grows_with_the_logarithm_of_age)
{
	publish_for(1000, 1, 0);
	publish_for(300, 7, 0);
	publish_for(500, 0, 12);
}
