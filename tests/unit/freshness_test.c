/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/freshness.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/statement.h"
#include "tests/unit/keys.h"
#include "tests/unit/test.h"

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define MOM "mom:\t" HEX "\n\n"
#define CMS "-----BEGIN CMS-----\nAAAA\n-----END CMS-----\n"

static const struct freshness sample = {
	.format = 30,
	.release = 20,
	.root = 1,
	.time = TEST_NOW,
	.expires = TEST_NOW + 30 * 86400,
	.mom = {{0x12, 0x34, 0xff}},
};

static void sample_write(const struct freshness *f, const struct test_key *k, struct buf *out)
{
	struct err e = ERR_INIT;

	assert_ok(freshness_write(f, &k->signer, out, &e), &e);
}

TEST(freshness_is_read_as_it_was_written)
{
	_cleanup_(buf_free) struct buf text = {0}, head = {0}, sig = {0};
	struct freshness f = {0};
	struct err e = ERR_INIT;
	size_t signed_len = 0;
	struct test_key k;

	test_key_make(&k, "mix");
	_cleanup_(anchors_freep) struct anchors *a = test_anchors((const struct test_key *const[]){&k}, 1);
	sample_write(&sample, &k, &text);
	freshness_format(&sample, &head);
	assert_string_equal(head.data,
			    "FRESHNESS\t1\nformat:\t30\nrelease:\t20\ntime:\t1763700000\nexpires:\t1766292000\n"
			    "root:\t1\nmom:\t1234ff0000000000000000000000000000000000000000000000000000000000"
			    "\n\n");
	assert_memory_equal(text.data, head.data, head.len);
	assert_ok(freshness_parse(text.data, text.len, &f, &signed_len, &sig, &e), &e);
	assert_int_equal(signed_len, head.len);
	assert_ok(signature_verify(a, text.data, signed_len, sig.data, sig.len, TEST_NOW, &e), &e);
	assert_int_equal(f.format, 30);
	assert_int_equal(f.release, 20);
	assert_int_equal(f.root, 1);
	assert_int_equal(f.time, sample.time);
	assert_int_equal(f.expires, sample.expires);
	assert_true(digest_equal(&f.mom, &sample.mom));
	f = (struct freshness){0};
	assert_ok(freshness_read(text.data, text.len, 30, a, TEST_NOW, &f, &e), &e);
	assert_int_equal(f.release, 20);
}

TEST(freshness_is_believed_from_a_day_before_its_time_until_it_expires)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct test_key k, other;
	struct freshness f = {0};

	test_key_make(&k, "mix");
	test_key_make(&other, "other");
	_cleanup_(anchors_freep) struct anchors *a = test_anchors((const struct test_key *const[]){&k}, 1);
	_cleanup_(anchors_freep) struct anchors *b = test_anchors((const struct test_key *const[]){&other}, 1);
	sample_write(&sample, &k, &text);
	const struct {
		const struct anchors *a;
		int64_t now;
		uint32_t format;
		int code;
		const char *part;
	} cases[] = {
		{a, TEST_NOW - 86400, 30, 0, NULL},
		{a, TEST_NOW - 86401, 30, ERR_CLOCK,
		 "freshness: was signed at 2025-11-21 04:40:00 UTC, but the clock says 2025-11-20 04:39:59 UTC"},
		{a, sample.expires, 30, 0, NULL},
		{a, sample.expires + 1, 30, ERR_EXPIRED, "freshness: expired at 2025-12-21 04:40:00 UTC"},
		{a, 1500000000, 30, ERR_EXPIRED, "signature rests on 'CN=mix', which is valid from 2020"},
		{a, TEST_NOW, 31, ERR_FORMAT, "freshness: is that of format 30, not of 31"},
		{a, TEST_NOW, 3, ERR_FORMAT, "freshness: is that of format 30, not of 3"},
		{b, TEST_NOW, 30, ERR_SIGNATURE, "freshness: signature is by 'CN=mix', which is not a key we trust"},
		/* what is not signed by a known key is not even read */
		{b, sample.expires + 1, 31, ERR_SIGNATURE, "not a key we trust"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int r = freshness_read(text.data, text.len, cases[i].format, cases[i].a, cases[i].now, &f, &e);
		if (cases[i].code)
			assert_fails(r, cases[i].code, &e, cases[i].part);
		else
			assert_ok(r, &e);
	}
}

TEST(freshness_with_a_changed_byte_is_refused)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct freshness f = {0};
	struct err e = ERR_INIT;
	size_t signed_len = 0;
	struct test_key k;

	test_key_make(&k, "mix");
	_cleanup_(anchors_freep) struct anchors *a = test_anchors((const struct test_key *const[]){&k}, 1);
	sample_write(&sample, &k, &text);
	assert_ok(freshness_parse(text.data, text.len, &f, &signed_len, NULL, &e), &e);
	f = (struct freshness){0};
	for (size_t i = 0; i < signed_len; i++) {
		text.data[i] ^= 1;
		int r = freshness_read(text.data, text.len, 30, a, TEST_NOW, &f, NULL);
		assert_true(r == -ERR_FORMAT || r == -ERR_SIGNATURE);
		text.data[i] ^= 1;
	}
	for (size_t n = 0; n < text.len; n++)
		assert_int_equal(freshness_read(text.data, n, 30, a, TEST_NOW, &f, NULL), -ERR_FORMAT);
	/* a whole block that holds only a part of the signature */
	_cleanup_(buf_free) struct buf sig = {0}, cut = {0};
	assert_ok(freshness_parse(text.data, text.len, &(struct freshness){0}, NULL, &sig, &e), &e);
	buf_add(&cut, text.data, signed_len);
	statement_add_block(&cut, "CMS", sig.data, sig.len / 2);
	assert_fails(freshness_read(cut.data, cut.len, 30, a, TEST_NOW, &f, &e), ERR_SIGNATURE, &e,
		     "damaged (not CMS in DER)");
	/* the signature of another statement */
	_cleanup_(buf_free) struct buf other = {0};
	struct freshness later = sample;
	later.release = 30;
	freshness_format(&later, &other);
	statement_add_block(&other, "CMS", sig.data, sig.len);
	assert_fails(freshness_read(other.data, other.len, 30, a, TEST_NOW, &f, &e), ERR_SIGNATURE, &e,
		     "not of this content");
	assert_int_equal(f.release, 0);
}

static const char good_head[] = "FRESHNESS\t1\nformat:\t30\nrelease:\t20\n";
static const struct {
	const char *start, *rest; /* start NULL: good_head */
	const char *part;         /* NULL: is accepted */
} forms[] = {
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM CMS, NULL},
	{NULL, "time:\t0\nexpires:\t253402300799\nroot:\t4294967295\n" MOM CMS, NULL},
	{"", "", "line 1 is not 'FRESHNESS 2'"},
	{"FRESHNESS\t1", "", "line 1 is not 'FRESHNESS 2'"},
	{"FRESHNESS\t2\n", "", "line 2 is not 'format:'"},
	{"FRESHNESS\t3\n", "", "line 1 is not 'FRESHNESS 2'"},
	{"FRESHNESS\t10\n", "", "line 1 is not"},
	{"FRESHNESS 1\n", "", "line 1 is not"},
	{"FRESHNESS\t1\r\n", "", "line 1 is not"},
	{"\nFRESHNESS\t1\n", "", "line 1 is not"},
	{"ROOT\t1\n", "", "line 1 is not"},
	{"FRESHNESS\t1\n", "format:\t0\n", "line 2: 'format:' is not a number from 1 to 4294967295"},
	{"FRESHNESS\t1\n", "format:\t030\n", "line 2: 'format:'"},
	{"FRESHNESS\t1\n", "format:\t30 \n", "line 2: 'format:'"},
	{"FRESHNESS\t1\n", "format:\t 30\n", "line 2: 'format:'"},
	{"FRESHNESS\t1\n", "format:\t+30\n", "line 2: 'format:'"},
	{"FRESHNESS\t1\n", "format:\t\n", "line 2: 'format:'"},
	{"FRESHNESS\t1\n", "format:\t4294967296\n", "line 2: 'format:'"},
	{"FRESHNESS\t1\n", "format:\t18446744073709551617\n", "line 2: 'format:'"},
	{"FRESHNESS\t1\n", "format: 30\n", "line 2 is not 'format:'"},
	{"FRESHNESS\t1\n", "format:\t30", "line 2 is not 'format:'"},
	{"FRESHNESS\t1\n", "Format:\t30\n", "line 2 is not 'format:'"},
	{"FRESHNESS\t1\n", "release:\t30\n", "line 2 is not 'format:'"},
	{"FRESHNESS\t1\n", "format:\t30\nformat:\t30\n", "line 3 is not 'release:'"},
	{"FRESHNESS\t1\n", "format:\t30\nrelease:\t0\n", "line 3: 'release:'"},
	{NULL, "", "line 4 is not 'time:'"},
	{NULL, "time:\t-1\n", "line 4: 'time:'"},
	{NULL, "time:\t253402300800\n", "line 4: 'time:'"},
	{NULL, "time:\t6\nexpires:\t5\n", "line 5: 'expires:' is not a number from 6 to"},
	{NULL, "time:\t5\nexpires:\t5\nextra:\t1\n", "line 6 is not 'root:'"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\nmom:\t00\n", "line 7: 'mom:' is not 64 hex digits"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\nmom:\t" HEX "0\n", "line 7: 'mom:'"},
	{NULL,
	 "time:\t5\nexpires:\t5\nroot:\t0\nmom:"
	 "\t00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF\n",
	 "line 7: 'mom:'"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\nmom:\t" HEX "\n", "line 8 is not empty"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\nmom:\t" HEX "\n" CMS, "line 8 is not empty"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM, "line 9 is not -----BEGIN CMS-----"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "\n" CMS, "line 9 is not -----BEGIN CMS-----"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM CMS "\n", "line 12 is not the end of the file"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM CMS CMS, "line 12 is not the end of the file"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n",
	 "line 9 is not -----BEGIN CMS-----"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\n-----END CMS-----\n", "is empty"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAAA\n-----END CMS-----\n",
	 "line 10 is not base64"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAA!A\n-----END CMS-----\n",
	 "line 10 is not base64"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\n\n-----END CMS-----\n",
	 "line 10 is not base64"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAAAA\nAAAA\n-----END CMS-----\n",
	 "line 11 is not -----END CMS-----"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAAAA\n-----END CMS-----",
	 "line 11 is not -----END CMS-----"},
	/* bits behind the end, blanks: what base64 decoders forgive */
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAAE=\n-----END CMS-----\n", NULL},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAAF=\n-----END CMS-----\n",
	 "not base64 in its usual form"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAQ==\n-----END CMS-----\n", NULL},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nA===\n-----END CMS-----\n", "base64"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\n====\n-----END CMS-----\n", "base64"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\n  AA\n-----END CMS-----\n", "base64"},
	{NULL, "time:\t5\nexpires:\t5\nroot:\t0\n" MOM "-----BEGIN CMS-----\nAA=A\n-----END CMS-----\n", "base64"},
};

#define HEAD_2  "FRESHNESS\t2\nformat:\t30\nrelease:\t20\ntime:\t5\nexpires:\t5\nroot:\t0\nmom:\t" HEX "\n"
#define UPDATES "updates:\t" HEX "\n"
static const struct {
	const char *lines, *part; /* part NULL: is accepted */
} update_forms[] = {
	{UPDATES "\n" CMS, NULL},
	{UPDATES "update:\t0 1 1\nupdate:\t1 7 9\nupdate:\t19 8 9223372036854775807\n\n" CMS, NULL},
	{"\n" CMS, "line 8 is not 'updates:'"},
	{"update:\t10 7 9\n", "line 8 is not 'updates:'"},
	{"updates:\t00\n", "line 8: 'updates:' is not 64 hex digits"},
	{UPDATES "update:\t20 7 9\n", "line 9: 'update:' is not an older release"},
	{UPDATES "update:\t4294967306 7 9\n", "line 9: 'update:' is not an older release"},
	{UPDATES "update:\t10 7 9\nupdate:\t10 7 9\n", "line 10: 'update:' is not an older release"},
	{UPDATES "update:\t10 7 9\nupdate:\t9 7 9\n", "line 10: 'update:' is not an older release"},
	{UPDATES "update:\t10 0 9\n", "line 9: 'update:' is not an older release"},
	{UPDATES "update:\t10 9 7\n", "line 9: 'update:' is not an older release"},
	{UPDATES "update:\t10 9 9223372036854775808\n", "line 9: 'update:' is not an older release"},
	{UPDATES "update:\t10 7\n", "line 9: 'update:' is not 3 numbers"},
	{UPDATES "update:\t10 7 9 9\n", "line 9: 'update:' is not 3 numbers"},
	{UPDATES "update:\t10  7 9\n", "line 9: 'update:' is not 3 numbers"},
	{UPDATES "update:\t10 7 09\n", "line 9: 'update:' is not 3 numbers"},
	{UPDATES "update:\t10 7 9 \n", "line 9: 'update:' is not 3 numbers"},
	{UPDATES "update:\t\n", "line 9: 'update:' is not 3 numbers"},
	{UPDATES UPDATES, "line 9 is not empty"},
};

TEST(freshness_says_of_updates_in_one_form)
{
	for (size_t i = 0; i < ARRAY_LEN(update_forms); i++) {
		_cleanup_free_ char *text = xasprintf(HEAD_2 "%s", update_forms[i].lines);
		_cleanup_(freshness_clear) struct freshness f = {0};
		struct err e = ERR_INIT;

		int r = freshness_parse(text, strlen(text), &f, NULL, NULL, &e);
		if (update_forms[i].part)
			assert_fails(r, ERR_FORMAT, &e, update_forms[i].part);
		else
			assert_ok(r, &e);
	}
}

TEST(freshness_of_updates_is_read_as_it_was_written)
{
	_cleanup_(freshness_clear) struct freshness f = sample, read = {0};
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct test_key k;

	test_key_make(&k, "mix");
	f.has_updates = true;
	f.updates.bytes[31] = 0xfe;
	ways_add(&f.direct, 7, 20, 900);
	ways_add(&f.direct, 10, 20, 90);
	f.direct.items[0].head = 800;
	f.direct.items[1].head = 90;
	sample_write(&f, &k, &text);
	assert_ok(freshness_parse(text.data, text.len, &read, NULL, NULL, &e), &e);
	assert_true(read.has_updates && digest_equal(&read.updates, &f.updates));
	assert_int_equal(read.direct.n, 2);
	const struct way_step *step = ways_next(&read.direct, 7);
	assert_true(step->to == 20 && step->head == 800 && step->bytes == 900);
	step = ways_next(&read.direct, 10);
	assert_true(step->to == 20 && step->head == 90 && step->bytes == 90);
}

TEST(freshness_has_one_form)
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		_cleanup_free_ char *text =
			xasprintf("%s%s", forms[i].start ? forms[i].start : good_head, forms[i].rest);
		struct err e = ERR_INIT;
		struct freshness f;

		int r = freshness_parse(text, strlen(text), &f, NULL, NULL, &e);
		if (forms[i].part)
			assert_fails(r, ERR_FORMAT, &e, forms[i].part);
		else
			assert_ok(r, &e);
	}
}

TEST(freshness_has_a_limit)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct freshness f;

	freshness_format(&sample, &text);
	while (text.len <= SMALL_TEXT_MAX)
		buf_putc(&text, 'A');
	assert_fails(freshness_parse(text.data, text.len, &f, NULL, NULL, &e), ERR_LIMIT, &e,
		     "larger than 65536 bytes");
	/* NUL bytes are bytes like others */
	text.data[3] = '\0';
	assert_fails(freshness_parse(text.data, 100, &f, NULL, NULL, &e), ERR_FORMAT, &e, "line 1");
}

TEST(freshness_is_not_written_when_nobody_would_believe_it)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct test_key k;

	test_key_make(&k, "mix");
	const struct {
		struct freshness f;
		int code;
		const char *part;
	} cases[] = {
		{{.format = 0, .release = 20, .time = 5, .expires = 6}, EINVAL, "must be given"},
		{{.format = 30, .release = 0, .time = 5, .expires = 6}, EINVAL, "must be given"},
		{{.format = 30, .release = 20, .time = 6, .expires = 5}, EINVAL, "in their order"},
		{{.format = 30, .release = 20, .time = -6, .expires = 5}, EINVAL, "in their order"},
		{{.format = 30, .release = 20, .time = 6, .expires = 7}, ERR_EXPIRED, "is valid from 2020-09-13"},
		{{.format = 30, .release = 20, .time = TEST_NOW, .expires = 253402300800}, ERR_FORMAT, "expires"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_fails(freshness_write(&cases[i].f, &k.signer, &text, &e), cases[i].code, &e, cases[i].part);
	assert_int_equal(text.len, 0);
}
