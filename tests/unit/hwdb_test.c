/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

#include "mixer/step/hwdb.h"
#include "swupd/base/text.h"

static uint64_t number(const struct buf *b, uint64_t at, unsigned bytes)
{
	uint64_t x = 0;

	assert_true(at + bytes <= b->len);
	for (unsigned i = bytes; i-- > 0;)
		x = x << 8 | (unsigned char)b->data[at + i];
	return x;
}

static const char *string(const struct buf *b, uint64_t at)
{
	assert_true(at < b->len);
	return b->data + at;
}

/* "PATTERN KEY=VALUE SOURCE:LINE:PRIORITY" of all that is below the node, in the order of the file */
static void walk(const struct buf *b, uint64_t at, const char *path, struct strv *out)
{
	_cleanup_free_ char *here = xasprintf("%s%s", path, string(b, number(b, at, 8)));
	const uint64_t children = number(b, at + 8, 1), values = number(b, at + 16, 8);
	int last = -1;

	for (uint64_t i = 0; i < values; i++) {
		const uint64_t v = at + 24 + 16 * children + 32 * i;
		strv_take(out, xasprintf("%s%s=%s %s:%u:%u", here, string(b, number(b, v, 8)),
					 string(b, number(b, v + 8, 8)), string(b, number(b, v + 16, 8)),
					 (unsigned)number(b, v + 24, 4), (unsigned)number(b, v + 28, 2)));
	}
	for (uint64_t i = 0; i < children; i++) {
		const uint64_t c = at + 24 + 16 * i;
		const int letter = (int)number(b, c, 1);
		/* readers search it by halves */
		assert_true(letter > last);
		last = letter;
		_cleanup_free_ char *below = xasprintf("%s%c", here, letter);
		assert_true(number(b, c + 8, 8) < at);
		walk(b, number(b, c + 8, 8), below, out);
	}
}

static char *compile(const char *const *texts, size_t n)
{
	_cleanup_(hwdb_freep) struct hwdb *h = hwdb_new();
	_cleanup_(strv_free) struct strv found = {0};
	_cleanup_(buf_free) struct buf b = {0};

	for (size_t i = 0; i < n; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%zu.hwdb", i);
		hwdb_add(h, name, texts[i], strlen(texts[i]));
	}
	hwdb_format(h, &b);
	assert_memory_equal(b.data, "KSLPHHRH", 8);
	assert_int_equal(number(&b, 16, 8), b.len);
	assert_int_equal(number(&b, 24, 8) + number(&b, 64, 8) + number(&b, 72, 8), b.len);
	walk(&b, number(&b, 56, 8), "", &found);
	return strv_join(&found, "\n");
}

TEST(hwdb_has_every_property_under_every_pattern)
{
	static const char *const texts[] = {
		"# comment\n\nusb:v1*\nusb:v12*   # two\n KEY=a b\n   OTHER=x=y\n\nusb:*\n KEY=all\n",
		"usb:v12*\n KEY=later\n KEY=last",
	};
	_cleanup_free_ char *got = compile(texts, 2);

	assert_string_equal(got, "usb:* KEY=all 0.hwdb:9:1\n"
				 "usb:v1* KEY=a b 0.hwdb:5:1\n"
				 "usb:v1* OTHER=x=y 0.hwdb:6:1\n"
				 "usb:v12* KEY=last 1.hwdb:3:2\n"
				 "usb:v12* OTHER=x=y 0.hwdb:6:1");
}

TEST(hwdb_leaves_out_what_is_no_record)
{
	static const char *const texts[] = {
		" LOST=1\nnothing\n\na\n =no key\n no equals\n A=\n\nb\n B=1\nc\n C=lost\n\nd\n D=1\n",
	};
	_cleanup_free_ char *got = compile(texts, 1);

	assert_string_equal(got, "a A= 0.hwdb:7:1\nb B=1 0.hwdb:10:1\nd D=1 0.hwdb:15:1");
}

TEST(hwdb_of_nothing_is_a_database)
{
	_cleanup_free_ char *got = compile(NULL, 0);

	assert_string_equal(got, "");
}
