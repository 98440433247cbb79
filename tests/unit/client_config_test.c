/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/opt.h"
#include "swupd/base/ui.h"
#include "swupd/client/config.h"

struct settings {
	const char *url;
	bool quick;
	uint32_t retries;
};

static const struct opt options[] = {
	{'u', "url", OPT_STRING, offsetof(struct settings, url), "URL", "", 0, 0},
	{'q', "quick-look", OPT_FLAG, offsetof(struct settings, quick), NULL, "", 0, 0},
	{'r', "retries", OPT_U32, offsetof(struct settings, retries), "N", "", 0, 9},
	{0},
};

static int read_config(const char *text, const char *command, struct settings *s, struct arena *a, struct err *e)
{
	const struct opt_table table = {options, s};
	struct ui ui;

	ui_init(&ui, "test");
	return client_config_parse(text, strlen(text), "config", &table, 1, command, a, &ui, e);
}

TEST(client_config_reads_global_keys_and_those_of_its_command)
{
	struct arena *a = arena_new();
	struct settings s = {0};
	struct err e = ERR_INIT;

	assert_ok(read_config("retries = 2\n[Global]\nurl=https://h/?a=b\n[update]\nquick_look = TRUE\n"
			      "[diagnose]\nretries=5\n",
			      "update", &s, a, &e),
		  &e);
	assert_string_equal(s.url, "https://h/?a=b");
	assert_true(s.quick);
	assert_int_equal(s.retries, 2);
	arena_free(a);
}

TEST(client_config_names_the_line_of_a_bad_value)
{
	struct arena *a = arena_new();
	struct settings s = {0};
	struct err e = ERR_INIT;

	assert_fails(read_config("\n[GLOBAL]\nretries = 10\n", "update", &s, a, &e), ERR_USAGE, &e,
		     "config:3: --retries");
	assert_fails(read_config("what is this\n", "update", &s, a, &e), ERR_CONFIG, &e, "config:1:");
	arena_free(a);
}
