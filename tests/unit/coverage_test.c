/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/coverage.h"

#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/ways.h"
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
	/* weeks turn on days 109, 116 ... 144, four of them on 81, 109, 137, sixteen on 81
	 *                                1   2   3   4    5    6    7    8    9   10   11   12   13   14 */
	static const unsigned days[] = {0, 40, 70, 82, 100, 110, 120, 130, 139, 140, 145, 147, 147, 148};
	_cleanup_(history_clear) struct history h = {0};

	add_days(&h, days, ARRAY_LEN(days));
	coverage_choose(&h, 1, 365);
	/* of this week the last of each day, of these four weeks 10, of these sixteen 8 and 5, of those before 3 */
	_cleanup_free_ char *text = covered(&h);
	assert_string_equal(text, " 13 11 10 8 5 3");
	coverage_choose(&h, 2, 0);
	_cleanup_free_ char *last = covered(&h);
	assert_string_equal(last, " 13 12");
	coverage_choose(&h, 0, 20);
	_cleanup_free_ char *recent = covered(&h);
	assert_string_equal(recent, " 13 11 10 8");
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

/* The most steps from any release of the last year to the newest; steps: the numbers of those that cover each. */
static unsigned steps_at_most(const struct history *all, struct ways *steps)
{
	_cleanup_(ways_clear) struct ways chosen = {0};
	const uint32_t newest = all->items[0].release;
	unsigned most = 0;

	ways_choose(steps, newest, &chosen);
	for (size_t i = 1; i < all->n && all->items[0].time - all->items[i].time <= INT64_C(365) * DAY; i++) {
		_cleanup_(ways_clear) struct ways way = {0};
		ways_follow(&chosen, all->items[i].release, newest, &way);
		assert_true(way.n > 0);
		most = MAX(most, (unsigned)way.n);
	}
	return most;
}

/* How releases come: so many of one time, with numbers so far apart. */
struct rhythm {
	unsigned releases, burst, step;
	unsigned days, jitter; /* from one time to the next, and so many more at most */
	unsigned files_max, steps_max;
};

/*
 * One after the other is published, and gc removes each time what is not covered: what remains is what would be covered had nothing ever been removed. It is little, and no way is long.
 */
static void publish(const struct rhythm *x)
{
	_cleanup_(history_clear) struct history all = {0}, left = {0};
	_cleanup_(ways_clear) struct ways steps = {0};
	unsigned seed = 7, day = 0, most = 0, longest = 0;

	for (unsigned i = 0; i < x->releases; i++) {
		if (i % x->burst == 0) {
			seed = seed * 1103515245 + 12345;
			day += x->days + (x->jitter ? (seed >> 16) % x->jitter : 0);
		}
		const struct published p = {.release = (i + 1) * x->step, .time = START + (int64_t)day * DAY};
		struct history *const both[] = {&all, &left};
		for (size_t k = 0; k < ARRAY_LEN(both); k++) {
			struct history *h = both[k];
			VEC_GROW(h->items, h->n, h->cap);
			memmove(h->items + 1, h->items, h->n++ * sizeof(*h->items));
			h->items[0] = p;
			coverage_choose(h, 3, 365);
		}
		_cleanup_free_ char *want = covered(&all), *have = covered(&left);
		assert_string_equal(have, want);
		size_t kept = 1;
		for (size_t k = 1; k < left.n; k++)
			if (left.items[k].covered) {
				ways_add(&steps, left.items[k].release, p.release, 0);
				left.items[kept++] = left.items[k];
			}
		left.n = kept;
		most = MAX(most, (unsigned)kept - 1);
		if (i % 50 == 49)
			longest = MAX(longest, steps_at_most(&all, &steps));
	}
	assert_true(most >= 5);
	if (most > x->files_max || longest > x->steps_max)
		fail_msg("%u releases at once, %u apart, each %u days: %u files of one, ways of %u", x->burst, x->step,
			 x->days, most, longest);
}

TEST(coverage_is_stable_under_gc_little_and_no_way_is_long)
{
	/* 6 of this week, 3 of these four, 3 of these sixteen, those of a year; the last three may be others */
	static const struct rhythm rhythms[] = {
		{.releases = 1000, .burst = 1, .step = 10, .days = 1, .files_max = 19, .steps_max = 4},
		{.releases = 300, .burst = 1, .step = 10, .days = 7, .files_max = 19, .steps_max = 4},
		{.releases = 500, .burst = 1, .step = 10, .days = 1, .jitter = 12, .files_max = 19, .steps_max = 4},
		{.releases = 500, .burst = 1, .step = 1, .days = 1, .jitter = 12, .files_max = 19, .steps_max = 4},
		/* and of this day every fourth, or eighth */
		{.releases = 3000, .burst = 4, .step = 10, .days = 1, .files_max = 20, .steps_max = 5},
		{.releases = 3000, .burst = 12, .step = 10, .days = 1, .files_max = 22, .steps_max = 6},
		{.releases = 3000, .burst = 50, .step = 10, .days = 7, .files_max = 32, .steps_max = 6},
		{.releases = 3000, .burst = 12, .step = 1, .days = 1, .files_max = 22, .steps_max = 7},
		{.releases = 3000, .burst = 50, .step = 1, .days = 7, .files_max = 26, .steps_max = 8},
	};

	for (size_t i = 0; i < ARRAY_LEN(rhythms); i++)
		publish(&rhythms[i]);
}
