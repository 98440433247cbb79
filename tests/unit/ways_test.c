/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/ways.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "tests/unit/test.h"

static char *chosen(const char *list, uint32_t to)
{
	_cleanup_(ways_clear) struct ways all = {0}, out = {0};
	struct buf text = {0};

	ways_parse(list, strlen(list), to, &all);
	ways_choose(&all, to, &out);
	buf_puts(&text, "");
	ways_format(&out, &text);
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
