/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/journal.h"
#include "swupd/content/digest.h"

DEFINE_CLEANUP(struct journal *, journal_free);

static struct journal *sample(void)
{
	struct journal *j = journal_new(10, 20);

	journal_add(j, &(struct journal_step){.kind = STEP_DEL, .target = "usr/lib/a b/ü"});
	journal_add(j, &(struct journal_step){
			       .kind = STEP_PUT,
			       .prepared = "usr/.swupd/next/0",
			       .target = "usr/bin/x",
			       .attrs = {.kind = KIND_FILE},
		       });
	journal_add(j, &(struct journal_step){
			       .kind = STEP_DIR,
			       .target = "usr/share/sticky",
			       .attrs = {.kind = KIND_DIR, .mode = 01777, .uid = 5, .gid = 4294967294U},
		       });
	journal_add(j, &(struct journal_step){.kind = STEP_MARK, .target = "editors"});
	journal_add(j, &(struct journal_step){.kind = STEP_UNMARK, .target = "libs"});
	return j;
}

TEST(journal_reads_what_it_wrote)
{
	_cleanup_(journal_freep) struct journal *j = sample(), *back = NULL;
	_cleanup_(buf_free) struct buf text = {0}, again = {0};
	struct err e = ERR_INIT;

	journal_format(j, &text);
	assert_ok(journal_parse(text.data, text.len, &back, &e), &e);
	assert_int_equal(back->from, 10);
	assert_int_equal(back->to, 20);
	assert_int_equal(back->n, 5);
	assert_int_equal(back->steps[2].attrs.mode, 01777);
	assert_int_equal(back->steps[2].attrs.gid, 4294967294U);
	journal_format(back, &again);
	assert_string_equal(text.data, again.data);
}

TEST(journal_cut_anywhere_is_none)
{
	_cleanup_(journal_freep) struct journal *j = sample(), *back = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	journal_format(j, &text);
	for (size_t len = 0; len < text.len; len++)
		assert_int_equal(journal_parse(text.data, len, &back, NULL), -ERR_FORMAT);
	for (size_t i = 0; i < text.len; i++) {
		text.data[i] ^= 1;
		assert_int_equal(journal_parse(text.data, text.len, &back, NULL), -ERR_FORMAT);
		text.data[i] ^= 1;
	}
}

TEST(journal_has_its_first_lines)
{
	static const char *const bodies[] = {"", "swupd-journal 1\n", "release\t1\t2\n",
					     "swupd-journal 1\ndel\tusr/x\n"};

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		_cleanup_(journal_freep) struct journal *back = NULL;
		_cleanup_(buf_free) struct buf text = {0};
		struct digest sum;
		char hex[DIGEST_HEX];
		sha256_mem(bodies[i], strlen(bodies[i]), &sum);
		digest_format(&sum, hex);
		buf_printf(&text, "%send\t%s\n", bodies[i], hex);
		assert_int_equal(journal_parse(text.data, text.len, &back, NULL), -ERR_FORMAT);
	}
}

TEST(journal_refuses_paths_that_lead_outside)
{
	static const char *const targets[] = {"../etc/passwd", "usr/../../x", "usr//x", "", "/usr/x", "usr/x/."};

	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		_cleanup_(journal_freep) struct journal *j = journal_new(1, 2), *back = NULL;
		_cleanup_(buf_free) struct buf text = {0};
		journal_add(j, &(struct journal_step){.kind = STEP_DEL, .target = targets[i]});
		journal_format(j, &text);
		assert_true(journal_parse(text.data, text.len, &back, NULL) < 0);
	}
}
