/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "swupd/base/conf.h"
#include "swupd/base/json.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

TEST(text_numbers_are_whole_strings_within_their_range)
{
	static const struct {
		const char *text;
		uint64_t min, max;
		int want;
		uint64_t value;
	} cases[] = {
		{"0", 0, 10, 0, 0},
		{"10", 0, 10, 0, 10},
		{"007", 0, 10, 0, 7},
		{"11", 0, 10, -ERANGE, 0},
		{"4", 5, 10, -ERANGE, 0},
		{"18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX},
		{"18446744073709551616", 0, UINT64_MAX, -ERANGE, 0},
		{"99999999999999999999999", 0, UINT64_MAX, -ERANGE, 0},
		{"", 0, 10, -EINVAL, 0},
		{"-1", 0, 10, -EINVAL, 0},
		{"+1", 0, 10, -EINVAL, 0},
		{" 1", 0, 10, -EINVAL, 0},
		{"1 ", 0, 10, -EINVAL, 0},
		{"0x1", 0, 10, -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t value = 77;
		assert_int_equal(text_u64(cases[i].text, cases[i].min, cases[i].max, &value), cases[i].want);
		assert_int_equal(value, cases[i].want == 0 ? cases[i].value : 77);
	}
}

TEST(text_hex_goes_both_ways_and_is_lower_case_only)
{
	const uint8_t bytes[] = {0, 0x0f, 0xa5, 0xff};
	uint8_t back[4];
	char hex[9];

	text_hex(bytes, sizeof(bytes), hex);
	assert_string_equal(hex, "000fa5ff");
	assert_int_equal(text_unhex(hex, back, 4), 0);
	assert_memory_equal(bytes, back, 4);
	assert_int_equal(text_unhex("000FA5FF", back, 4), -EINVAL);
	assert_int_equal(text_unhex("000fa5f", back, 4), -EINVAL);
}

TEST(text_lines_tell_whether_the_last_one_is_whole)
{
	const char *text = "a\n\nbc", *pos = text, *line;
	bool complete;
	size_t len;

	assert_true(text_line(&pos, text + 5, &line, &len, &complete));
	assert_int_equal(len, 1);
	assert_true(complete);
	assert_true(text_line(&pos, text + 5, &line, &len, &complete));
	assert_int_equal(len, 0);
	assert_true(text_line(&pos, text + 5, &line, &len, &complete));
	assert_int_equal(len, 2);
	assert_false(complete);
	assert_false(text_line(&pos, text + 5, &line, &len, &complete));
}

TEST(strv_sorts_and_keeps_each_once)
{
	_cleanup_(strv_free) struct strv v = {0};

	strv_split(&v, ",b,a,,b,c,a", ",");
	assert_int_equal(v.n, 5);
	strv_sort_unique(&v);
	_cleanup_free_ char *joined = strv_join(&v, "-");
	assert_string_equal(joined, "a-b-c");
}

TEST(table_finds_ten_thousand_keys_and_no_other)
{
	_cleanup_(table_freep) struct table *t = table_new();
	_cleanup_(strv_free) struct strv keys = {0};

	for (int i = 0; i < 10000; i++)
		strv_take(&keys, xasprintf("/usr/lib/%d", i));
	for (size_t i = 0; i < keys.n; i++)
		assert_null(table_add_str(t, keys.items[i], keys.items[i]));
	assert_int_equal(table_count(t), 10000);
	for (size_t i = 0; i < keys.n; i++)
		assert_ptr_equal(table_find_str(t, keys.items[i]), keys.items[i]);
	assert_null(table_find_str(t, "/usr/lib/10000"));
	assert_ptr_equal(table_add_str(t, "/usr/lib/5", keys.items[6]), keys.items[5]);
	assert_ptr_equal(table_find_str(t, "/usr/lib/5"), keys.items[5]);
}

TEST(json_strings_are_valid_whatever_comes_in)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain", "\"plain\""},
		{"a\"b\\c\n\x01", "\"a\\\"b\\\\c\\u000a\\u0001\""},
		{"\xc3\xbc", "\"\xc3\xbc\""},
		{"\xff\xc3", "\"\\ufffd\\ufffd\""},
		{"\xc0\xaf", "\"\\ufffd\\ufffd\""},
		{"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
		{"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf b = {0};
		json_string(&b, cases[i].in);
		assert_string_equal(b.data, cases[i].out);
	}
}

static int note_key(void *arg, const char *section, const char *key, const char *value, struct err *e)
{
	if (strcmp(key, "bad") == 0)
		return err_set(e, -ERR_CONFIG, "unknown key 'bad'");
	buf_printf(arg, "[%s]%s=%s;", section, key, value);
	return 0;
}

TEST(conf_gives_sections_keys_and_values)
{
	_cleanup_(buf_free) struct buf b = {0};
	static const char text[] = "a=1\n# c\n ; c\n[s x]\n  key =  v = w  \nempty=\n";

	assert_int_equal(conf_parse(text, strlen(text), "f", note_key, &b, NULL), 0);
	assert_string_equal(b.data, "[]a=1;[s x]key=v = w;[s x]empty=;");
}

TEST(conf_names_file_and_line_of_what_it_does_not_know)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	assert_fails(conf_parse("a=1\nbad=2\n", 10, "mixer.conf", note_key, &b, &e), ERR_CONFIG, &e,
		     "mixer.conf:2: unknown key 'bad'");
	assert_fails(conf_parse("[open\n", 6, "f", note_key, &b, &e), ERR_CONFIG, &e, "f:1:");
	assert_fails(conf_parse("word\n", 5, "f", note_key, &b, &e), ERR_CONFIG, &e, "f:1: 'word'");
	assert_fails(conf_parse("=v\n", 3, "f", note_key, &b, &e), ERR_CONFIG, &e, "f:1:");
}

TEST(text_modes_are_octal_and_no_more_than_permissions)
{
	static const struct {
		const char *text;
		int result;
		uint32_t mode;
	} cases[] = {
		{"0", 0, 0},           {"644", 0, 0644},      {"4755", 0, 04755},    {"7777", 0, 07777},
		{"00755", 0, 0755},    {"10000", -EINVAL, 0}, {"77777", -EINVAL, 0}, {"", -EINVAL, 0},
		{"8", -EINVAL, 0},     {"-1", -EINVAL, 0},    {" 644", -EINVAL, 0},  {"644 ", -EINVAL, 0},
		{"0x1ff", -EINVAL, 0}, {"0o644", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint32_t mode = 1;
		assert_int_equal(text_mode(cases[i].text, &mode), cases[i].result);
		assert_int_equal(mode, cases[i].result < 0 ? 1 : cases[i].mode);
	}
}
