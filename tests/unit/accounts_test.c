/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "mixer/step/accounts.h"
#include "swupd/base/text.h"

static int add(struct accounts *a, const char *text, struct err *e)
{
	return accounts_add(a, "a.conf", text, strlen(text), e);
}

static void assert_file(const struct accounts *a, enum accounts_file file, const char *want)
{
	_cleanup_(buf_free) struct buf out = {0};

	accounts_format(a, file, &out);
	assert_string_equal(out.data, want);
}

/* What systemd-sysusers 257 makes of the same lines, but for the order. */
TEST(accounts_are_those_of_systemd_sysusers)
{
	_cleanup_(accounts_freep) struct accounts *a = accounts_new();
	struct err e = ERR_INIT;

	assert_ok(add(a,
		      "# comment\n\n"
		      "g wheel 20 -\n"
		      "g nogroup 65534\n"
		      "u root 0 - /root /bin/bash\n"
		      "u daemon 1 - /usr/sbin /usr/sbin/nologin\n"
		      "u  sync\t4:65534 - /bin /bin/sync\n"
		      "u! net 997 \"Network Management\"\n"
		      "u named 801:nogroup 'two words' /run/x\n"
		      "m net wheel\nm daemon wheel\nm nobody-declared wheel\nm net undeclared\n"
		      "r - 500-900\n",
		      &e),
		  &e);
	assert_ok(accounts_check(a, &e), &e);
	assert_file(a, ACCOUNTS_PASSWD,
		    "root:x:0:0::/root:/bin/bash\n"
		    "daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n"
		    "sync:x:4:65534::/bin:/bin/sync\n"
		    "named:x:801:65534:two words:/run/x:/usr/sbin/nologin\n"
		    "net:x:997:997:Network Management:/:/usr/sbin/nologin\n");
	assert_file(a, ACCOUNTS_GROUP, "root:x:0:\ndaemon:x:1:\nwheel:x:20:daemon,net\nnet:x:997:\nnogroup:x:65534:\n");
	assert_file(a, ACCOUNTS_SHADOW,
		    "root:!unprovisioned:::::::\ndaemon:!*:::::::\nsync:!*:::::::\nnamed:!*:::::::\nnet:!*::::::1:\n");
	assert_file(a, ACCOUNTS_GSHADOW, "root:!*::\ndaemon:!*::\nwheel:!*::daemon,net\nnet:!*::\nnogroup:!*::\n");
}

TEST(accounts_take_the_first_line_of_a_name)
{
	_cleanup_(accounts_freep) struct accounts *a = accounts_new();
	struct err e = ERR_INIT;

	assert_ok(add(a, "u a 10 first\ng g 30\n", &e), &e);
	assert_ok(add(a, "u a 11 second\ng g 31\n", &e), &e);
	assert_file(a, ACCOUNTS_PASSWD, "a:x:10:10:first:/:/usr/sbin/nologin\n");
	assert_file(a, ACCOUNTS_GROUP, "a:x:10:\ng:x:30:\n");
}

/* A group that is declared with another number than the user of its name is that user's. */
TEST(accounts_give_a_user_the_group_of_its_name)
{
	_cleanup_(accounts_freep) struct accounts *a = accounts_new();
	struct err e = ERR_INIT;

	assert_ok(add(a, "u a 10\ng a 30\n", &e), &e);
	assert_file(a, ACCOUNTS_PASSWD, "a:x:10:30::/:/usr/sbin/nologin\n");
	assert_file(a, ACCOUNTS_GROUP, "a:x:30:\n");
}

TEST(accounts_leave_to_the_machine_what_only_it_knows)
{
	_cleanup_(accounts_freep) struct accounts *a = accounts_new();
	struct err e = ERR_INIT;

	assert_ok(add(a, "u a /usr/bin/owner\ng b -\nu\nx y z\n", &e), &e);
	_cleanup_(buf_free) struct buf out = {0};
	buf_puts(&out, "");
	accounts_format(a, ACCOUNTS_PASSWD, &out);
	accounts_format(a, ACCOUNTS_GROUP, &out);
	assert_string_equal(out.data, "");
}

TEST(accounts_refuse_what_would_be_another_field)
{
	static const char *const bad[][2] = {
		{"u a 10 \"x:y\"\n", "a.conf:1: user 'a': a field has a ':'"},
		{"\nu a:b 10\n", "a.conf:2: 'a:b' is not a name"},
		{"u a 10 \"no end\n", "a.conf:1: a quote has no end"},
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(accounts_freep) struct accounts *a = accounts_new();
		struct err e = ERR_INIT;
		assert_fails(add(a, bad[i][0], &e), ERR_FORMAT, &e, bad[i][1]);
	}
}

TEST(accounts_refuse_a_number_that_two_have)
{
	_cleanup_(accounts_freep) struct accounts *a = accounts_new(), *b = accounts_new();
	struct err e = ERR_INIT;

	assert_ok(add(a, "u x 10\nu y 10:1\n", &e), &e);
	assert_fails(accounts_check(a, &e), ERR_CONFLICT, &e, "users 'x' and 'y' have one number, 10");
	assert_ok(add(b, "u x 10\ng y 10\n", &e), &e);
	assert_fails(accounts_check(b, &e), ERR_CONFLICT, &e, "groups 'x' and 'y' have one number, 10");
}
