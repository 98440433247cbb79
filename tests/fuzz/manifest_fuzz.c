/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/manifest.h"

static void check_entries(const struct manifest *m, bool mom)
{
	FUZZ_CHECK(m->n_entries <= MANIFEST_ENTRIES_MAX && m->release > 0);
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct entry *x = &m->entries[i];
		FUZZ_CHECK((mom ? bundle_name_check(x->name, NULL) : name_check(x->name, NULL)) == 0);
		FUZZ_CHECK(x->variant <= VARIANT_MAX && x->release <= m->release);
		FUZZ_CHECK(mom == (x->kind == KIND_BUNDLE));
	}
	for (size_t i = 0; i < m->n_includes; i++)
		FUZZ_CHECK(bundle_name_check(m->includes[i], NULL) == 0);
	for (size_t i = 0; i < m->n_also_add; i++)
		FUZZ_CHECK(bundle_name_check(m->also_add[i], NULL) == 0);
}

/* For each CPU one line per path remains. */
static void check_select(const struct buf *text, bool mom)
{
	for (unsigned levels = 0; levels < 8; levels++) {
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		FUZZ_CHECK(manifest_parse(text->data, text->len, mom, 0, &m, NULL) == 0);
		manifest_select(m, levels);
		_cleanup_(table_freep) struct table *names = table_new();
		for (size_t i = 0; i < m->n_entries; i++)
			FUZZ_CHECK(!table_add_str(names, m->entries[i].name, &m->entries[i]));
	}
}

/* What is accepted is written again, and that is read as the same. */
static void try_manifest(const char *text, size_t len, bool mom)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL, *again = NULL;
	_cleanup_(buf_free) struct buf first = {0}, second = {0};

	if (manifest_parse(text, len, mom, 0, &m, NULL) < 0) {
		FUZZ_CHECK(!m);
		return;
	}
	check_entries(m, mom);
	manifest_format(m, &first);
	FUZZ_CHECK(manifest_parse(first.data, first.len, mom, m->release, &again, NULL) == 0);
	manifest_format(again, &second);
	FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	check_select(&first, mom);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* an exact copy: the parser must not look behind the end */
	_cleanup_free_ char *copy = xmemdup(data, size);

	try_manifest(copy, size, true);
	try_manifest(copy, size, false);
	return 0;
}
