/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "images/guest/channel.h"
#include "images/guest/cmdline.h"
#include "swupd/base/mem.h"
#include "tests/unit/test.h"

TEST(cmdline_get_reads_words_as_the_kernel_does)
{
	static const struct {
		const char *line, *value;
	} cases[] = {
		{"", NULL},
		{"quiet", NULL},
		{"name=value", "value"},
		{"a name=value b\n", "value"},
		{"name", ""},
		{"name=", ""},
		{"name\n", ""},
		{"names=x", NULL},
		{"my.name=x", NULL},
		{"name=1 name=2", "2"},
		{"name=a=b", "a=b"},
		{"name=\"two words\" b", "two words"},
		{"\"name=two words\" b", "two words"},
		{"\"name\"", ""},
		{"\"name=\"", ""},
		{"name=\"\"", ""},
		{"name=\"open", "open"},
		{"other=\"a name=wrong b\"", NULL},
		{"other=\"a name=wrong b\" name=right", "right"},
		{"name=a\"b c\"", "a\"b c\""},
		{"nam", NULL},
		{"\"nam", NULL},
		{"\"", NULL},
		{"name\"", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *value = cmdline_get(cases[i].line, "name");

		const char *have = value ? value : "nothing", *want = cases[i].value ? cases[i].value : "nothing";

		if (strcmp(have, want) != 0)
			fail_msg("%s: found '%s', not '%s'", cases[i].line, have, want);
	}
}

/* The guest's end of a channel on which the runtime has said this */
static void channel_with(const char *said, struct channel *c, int *other)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(write(fds[1], said, strlen(said)), strlen(said));
	*c = (struct channel){.fd = fds[0]};
	*other = fds[1];
}

TEST(channel_next_takes_requests_and_nothing_else)
{
	_cleanup_close_ int other = -1;
	_cleanup_free_ char *text =
		xasprintf("hello\nsignal x\nsignal 1 2\nsignal -9\n%0200d\nsignal 15\nwindow 24 80\nwindow 1\nsign", 7);
	struct channel c;
	unsigned int n[2];

	channel_with(text, &c, &other);
	assert_int_equal(channel_next(&c, n), CHANNEL_SIGNAL);
	assert_int_equal(n[0], 15);
	assert_int_equal(channel_next(&c, n), CHANNEL_WINDOW);
	assert_int_equal(n[0], 24);
	assert_int_equal(n[1], 80);
	assert_int_equal(channel_next(&c, n), CHANNEL_NONE);

	/* the rest of a line comes later */
	assert_int_equal(write(other, "al 9\n", 5), 5);
	assert_int_equal(channel_next(&c, n), CHANNEL_SIGNAL);
	assert_int_equal(n[0], 9);
	assert_int_equal(channel_next(&c, n), CHANNEL_NONE);
	closep(&c.fd);
}

TEST(channel_next_of_a_runtime_that_has_left_is_nothing)
{
	int other;
	struct channel c;
	unsigned int n[2];

	channel_with("", &c, &other);
	closep(&other);
	assert_int_equal(channel_next(&c, n), CHANNEL_NONE);
	closep(&c.fd);
	assert_int_equal(channel_next(&c, n), CHANNEL_NONE);
}

TEST(channel_tell_makes_one_line_of_any_message)
{
	char text[64] = "";
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	struct channel c = {.fd = fds[1]};

	assert_true(channel_tell(&c, "failed %s", "two\nlines\033["));
	assert_int_equal(read(fds[0], text, sizeof(text) - 1), 19);
	assert_string_equal(text, "failed two lines [\n");
	close(fds[0]);
	close(fds[1]);
}

TEST(channel_tell_without_a_channel_says_so)
{
	struct channel c = CHANNEL_INIT;

	assert_false(channel_tell(&c, "exited %d", 0));
}
