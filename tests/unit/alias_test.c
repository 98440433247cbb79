/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/alias.h"

static const char text[] = "# comment\n"
			   "web\tnginx\tcurl\n"
			   "db postgresql # the big one\n"
			   "empty\n"
			   "web\tnginx\n";

TEST(alias_takes_the_last_definition_of_a_file)
{
	_cleanup_(strv_free) struct strv out = {0};

	assert_int_equal(alias_parse(text, strlen(text), "web", &out), 1);
	assert_int_equal(out.n, 1);
	assert_string_equal(out.items[0], "nginx");
}

TEST(alias_ignores_comments_and_what_it_does_not_know)
{
	_cleanup_(strv_free) struct strv out = {0};

	assert_int_equal(alias_parse(text, strlen(text), "db", &out), 1);
	assert_int_equal(out.n, 1);
	assert_string_equal(out.items[0], "postgresql");
	assert_int_equal(alias_parse(text, strlen(text), "empty", &out), 0);
	assert_int_equal(alias_parse(text, strlen(text), "we", &out), 0);
	assert_int_equal(out.n, 1);
}
