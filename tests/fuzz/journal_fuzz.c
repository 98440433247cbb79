/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/journal.h"
#include "swupd/content/digest.h"

DEFINE_CLEANUP(struct journal *, journal_free);

/* What is going to be done below the root leads nowhere else. */
static void check_path(const char *path)
{
	_cleanup_free_ char *absolute = xasprintf("/%s", path);

	FUZZ_CHECK(name_check(absolute, NULL) == 0);
}

static void try_journal(const char *text, size_t len)
{
	_cleanup_(journal_freep) struct journal *j = NULL, *again = NULL;
	_cleanup_(buf_free) struct buf first = {0}, second = {0};

	if (journal_parse(text, len, &j, NULL) < 0) {
		FUZZ_CHECK(!j);
		return;
	}
	for (size_t i = 0; i < j->n; i++) {
		const struct journal_step *s = &j->steps[i];
		if (s->kind == STEP_MARK || s->kind == STEP_UNMARK)
			FUZZ_CHECK(bundle_name_check(s->target, NULL) == 0);
		else
			check_path(s->target);
		if (s->kind == STEP_PUT)
			check_path(s->prepared);
	}
	journal_format(j, &first);
	FUZZ_CHECK(journal_parse(first.data, first.len, &again, NULL) == 0 && again->n == j->n);
	journal_format(again, &second);
	FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
}

/* The input as it is, and with the sum that nobody guesses. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *copy = xmemdup(data, size);
	_cleanup_(buf_free) struct buf summed = {0};
	struct digest sum;
	char hex[DIGEST_HEX];

	try_journal(copy, size);
	sha256_mem(data, size, &sum);
	digest_format(&sum, hex);
	buf_add(&summed, data, size);
	buf_printf(&summed, "end\t%s\n", hex);
	_cleanup_free_ char *exact = xmemdup(summed.data, summed.len);
	try_journal(exact, summed.len);
	return 0;
}
