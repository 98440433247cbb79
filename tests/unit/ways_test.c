/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/ways.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "tests/unit/test.h"

/* Without sizes, which are not known here. */
static char *chosen(const char *list, uint32_t to)
{
	_cleanup_(ways_clear) struct ways all = {0}, out = {0};
	struct buf text = {0};

	ways_parse(list, strlen(list), to, &all);
	ways_choose(&all, to, &out);
	buf_puts(&text, "");
	for (size_t i = 0; i < out.n; i++)
		buf_printf(&text, "%u\t%u\n", out.items[i].from, out.items[i].to);
	return text.data;
}

TEST(ways_take_the_fewest_steps_not_the_longest_one)
{
	/* from 10 the longest step leads to 40, from where it takes two more; 30 leads on at once */
	_cleanup_free_ char *text = chosen("10\t40\n10\t30\n30\t60\n40\t50\n50\t60\n", 60);

	assert_string_equal(text, "10\t30\n30\t60\n40\t50\n50\t60\n");
}

TEST(ways_of_as_many_steps_take_the_longer_first_one)
{
	_cleanup_free_ char *text = chosen("10\t20\n10\t30\n20\t40\n30\t40\n", 40);

	assert_string_equal(text, "10\t30\n20\t40\n30\t40\n");
}

TEST(ways_that_do_not_lead_to_the_release_are_left_out)
{
	_cleanup_free_ char *text = chosen("10\t20\n20\t30\n30\t40\n5\t7\n", 30);

	assert_string_equal(text, "10\t20\n20\t30\n");
}

TEST(ways_from_nothing_are_those_of_installations)
{
	_cleanup_free_ char *text = chosen("0\t20\n20\t30\n", 30);

	assert_string_equal(text, "0\t20\n20\t30\n");
}

TEST(ways_of_a_list_that_makes_no_sense_are_none)
{
	_cleanup_free_ char *text = chosen("20\t20\n30\t20\n20\t-1\nx\t30\n20\n\t\n\n20\t99999999999\n10\t40", 30);

	assert_string_equal(text, "");
}

TEST(ways_are_listed_with_sizes_that_may_be_missing)
{
	static const char list[] = "10\t20\t30\t400\n20\t40\n30\t40\t7\t7\n";
	static const char bad[] = "1\t40\t8\t7\n2\t40\t7\n3\t40\t7\t7\t7\n4\t40\t7\t\n5\t40\t7\t18446744073709551616\n";
	_cleanup_(ways_clear) struct ways all = {0}, none = {0};
	_cleanup_(buf_free) struct buf text = {0};

	ways_parse(list, strlen(list), 40, &all);
	ways_format(&all, &text);
	assert_string_equal(text.data, "10\t20\t30\t400\n20\t40\t0\t0\n30\t40\t7\t7\n");
	ways_forget_sizes(&all);
	assert_true(all.n == 3 && all.items[0].bytes == 0 && all.items[0].head == 0);
	ways_parse(bad, strlen(bad), 40, &none);
	assert_int_equal(none.n, 0);
}

TEST(ways_have_at_most_as_many_steps_as_clients_go)
{
	_cleanup_(ways_clear) struct ways all = {0}, out = {0};

	for (uint32_t i = 1; i <= 2 * WAYS_STEPS_MAX; i++)
		ways_add(&all, i, i + 1, 0);
	const uint32_t to = 2 * WAYS_STEPS_MAX + 1;
	ways_choose(&all, to, &out);
	assert_int_equal(out.n, WAYS_STEPS_MAX);
	assert_int_equal(ways_next(&out, to - WAYS_STEPS_MAX)->to, to - WAYS_STEPS_MAX + 1);
	assert_null(ways_next(&out, to - WAYS_STEPS_MAX - 1));
}

#define KIB 1024UL
#define MIB (1024 * KIB)

/* Where it goes on from a release. */
static uint32_t next(const struct ways *all, uint32_t from, uint32_t to)
{
	_cleanup_(ways_clear) struct ways out = {0};

	ways_choose(all, to, &out);
	const struct way_step *step = ways_next(&out, from);
	return step ? step->to : 0;
}

TEST(ways_of_two_small_files_are_taken_rather_than_a_huge_one)
{
	_cleanup_(ways_clear) struct ways all = {0};

	ways_add(&all, 10, 30, 9 * MIB);
	ways_add(&all, 10, 20, MIB);
	ways_add(&all, 20, 30, MIB);
	assert_int_equal(next(&all, 10, 30), 20);
	/* the rest of the way counts, too */
	ways_add(&all, 5, 10, MIB);
	ways_add(&all, 5, 20, 3 * MIB);
	assert_int_equal(next(&all, 5, 30), 10);
	assert_int_equal(next(&all, 5, 20), 10);
}

TEST(ways_of_one_file_are_taken_unless_several_save_what_they_cost_beside)
{
	_cleanup_(ways_clear) struct ways one = {0}, equal = {0}, two = {0};

	ways_add(&one, 10, 30, 200 * KIB + 127 * KIB);
	ways_add(&one, 10, 20, 100 * KIB);
	ways_add(&one, 20, 30, 100 * KIB);
	assert_int_equal(next(&one, 10, 30), 30);
	ways_add(&equal, 10, 30, 200 * KIB + 128 * KIB);
	ways_add(&equal, 10, 20, 100 * KIB);
	ways_add(&equal, 20, 30, 100 * KIB);
	assert_int_equal(next(&equal, 10, 30), 30);
	ways_add(&two, 10, 30, 200 * KIB + 129 * KIB);
	ways_add(&two, 10, 20, 100 * KIB);
	ways_add(&two, 20, 30, 100 * KIB);
	assert_int_equal(next(&two, 10, 30), 20);
}

TEST(ways_that_cost_the_same_in_as_many_steps_take_the_longer_first_one)
{
	_cleanup_(ways_clear) struct ways all = {0};

	ways_add(&all, 10, 20, 3 * MIB);
	ways_add(&all, 10, 30, MIB);
	ways_add(&all, 20, 40, MIB);
	ways_add(&all, 30, 40, 3 * MIB);
	assert_int_equal(next(&all, 10, 40), 30);
}

TEST(ways_from_nothing_begin_with_the_newest_file_whatever_it_costs)
{
	_cleanup_(ways_clear) struct ways all = {0};

	ways_add(&all, 0, 10, 10 * MIB);
	ways_add(&all, 0, 20, 90 * MIB);
	ways_add(&all, 0, 25, MIB); /* leads nowhere */
	ways_add(&all, 10, 30, MIB);
	ways_add(&all, 20, 30, MIB);
	assert_int_equal(next(&all, 0, 30), 20);
	assert_int_equal(next(&all, 0, 10), 10);
}

TEST(ways_of_more_than_a_few_steps_are_taken_only_where_there_is_no_shorter_one)
{
	_cleanup_(ways_clear) struct ways all = {0};
	const uint32_t to = WAYS_STEPS_FEW + 2;

	for (uint32_t i = 1; i < to; i++)
		ways_add(&all, i, i + 1, 1);
	ways_add(&all, 1, to, UINT64_MAX);
	ways_add(&all, 2, to, UINT64_MAX);
	assert_int_equal(next(&all, 1, to), to);
	assert_int_equal(next(&all, 2, to), 3);
}

TEST(ways_of_many_steps_are_those_of_fewer_bytes_too)
{
	_cleanup_(ways_clear) struct ways all = {0};
	const uint32_t to = WAYS_STEPS_FEW + 3;

	for (uint32_t i = 4; i < to; i++)
		ways_add(&all, i, i + 1, 1);
	ways_add(&all, 2, 4, 1);
	ways_add(&all, 3, 4, 1);
	ways_add(&all, 1, 2, 1);
	ways_add(&all, 1, 3, 90 * MIB);
	assert_int_equal(next(&all, 1, to), 2);
}

TEST(ways_with_too_many_steps_hide_none_that_is_allowed)
{
	_cleanup_(ways_clear) struct ways all = {0}, out = {0};
	const uint32_t to = WAYS_STEPS_MAX + 2, cut = to - WAYS_STEPS_FEW;

	for (uint32_t i = 3; i < to; i++)
		ways_add(&all, i, i + 1, 1);
	ways_add(&all, cut, to, 90 * MIB);
	assert_int_equal(next(&all, cut, to), cut + 1);
	/* without the short cut there is no way from 1 */
	ways_add(&all, 1, 2, 1);
	ways_add(&all, 2, 3, 1);
	ways_choose(&all, to, &out);
	assert_int_equal(out.n, to - 1);
	assert_int_equal(ways_next(&out, cut)->to, to);
}

TEST(ways_of_files_of_any_size_are_counted)
{
	_cleanup_(ways_clear) struct ways all = {0};

	/* whose sums wrap around would be the cheapest */
	ways_add(&all, 10, 20, UINT64_MAX);
	ways_add(&all, 20, 30, UINT64_MAX);
	ways_add(&all, 30, 50, UINT64_MAX);
	ways_add(&all, 10, 40, MIB);
	ways_add(&all, 40, 50, MIB);
	assert_int_equal(next(&all, 10, 50), 40);
}
