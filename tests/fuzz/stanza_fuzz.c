/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "mixer/input/package.h"
#include "mixer/input/source.h"
#include "mixer/input/stanza.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* What Debian's archives and packages say of themselves: Packages, Sources and .dsc, and the dependencies in them. Names become paths, addresses and words of a lock. */

static bool leads_out(const char *place)
{
	_cleanup_(strv_free) struct strv parts = {0};

	strv_split(&parts, place, "/");
	return *place == '/' || strv_has(&parts, "..");
}

static void try_relations(const char *field)
{
	struct dependency d;
	const char *pos = field;

	while (dependency_next(&pos, &d, NULL) > 0) {
		FUZZ_CHECK(pos <= field + strlen(field) && d.name_len > 0);
		FUZZ_CHECK(d.name >= field && d.name + d.name_len <= pos);
		FUZZ_CHECK(!d.qualifier_len || (d.qualifier >= d.name && d.qualifier + d.qualifier_len <= pos));
		FUZZ_CHECK((d.version_len > 0) == (d.relation != ANY_VERSION));
		FUZZ_CHECK(!d.version_len || (d.version >= d.name && d.version + d.version_len <= pos));
	}
}

/* What is left of a field has no restrictions any more: to take it again changes nothing. */
static void try_depends(const char *field)
{
	static char nocheck[] = "nocheck";
	char *words[] = {nocheck};
	const struct strv profiles = {.items = words, .n = 1};
	_cleanup_(buf_free) struct buf out = {0}, again = {0};

	try_relations(field);
	if (source_depends(field, "amd64", &profiles, &out, NULL) < 0 || !out.data)
		return;
	FUZZ_CHECK(out.len <= 2 * strlen(field));
	FUZZ_CHECK(source_depends(out.data, "amd64", &profiles, &again, NULL) >= 0);
	FUZZ_CHECK(again.data && strcmp(again.data, out.data) == 0);
	try_relations(out.data);
}

static void try_packages(const char *text, size_t len)
{
	_cleanup_(package_list_freep) struct package_list *l = package_list_new();

	(void)packages_parse(text, len, "amd64", "fuzz", 1, l, NULL);
	for (size_t i = 0; i < l->n; i++) {
		const struct package *p = &l->items[i];
		FUZZ_CHECK(stanza_is_word(p->name) && stanza_is_word(p->version) && stanza_is_word(p->source) &&
			   stanza_is_word(p->source_version) && stanza_is_word(p->file) && !leads_out(p->file) &&
			   p->size);
		try_relations(p->depends);
		try_relations(p->provides);
	}
}

static void try_sources(const char *text, size_t len)
{
	static char hello[] = "hello", zstd[] = "zstd";
	char *words[] = {hello, zstd};
	const struct strv names = {.items = words, .n = ARRAY_LEN(words)};
	_cleanup_(source_list_freep) struct source_list *l = source_list_new(&names);

	(void)sources_parse(text, len, "fuzz", 1, l, NULL);
	for (size_t i = 0; i < l->n; i++) {
		const struct source_package *p = &l->items[i];
		FUZZ_CHECK(strv_has(&names, p->name) && stanza_is_word(p->version) && stanza_is_word(p->directory) &&
			   !leads_out(p->directory) && p->n_files);
		for (size_t k = 0; k < p->n_files; k++)
			FUZZ_CHECK(stanza_is_word(p->files[k].name) && !strchr(p->files[k].name, '/') &&
				   p->files[k].name[0] != '.');
		try_depends(p->depends);
		try_depends(p->conflicts);
		(void)source_check_dsc(text, len, p->files, p->n_files, NULL);
	}
	(void)source_check_dsc(text, len, NULL, 0, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *exact = xmemdup(data, size);
	_cleanup_free_ char *field = xstrndup(exact, size);

	try_packages(exact, size);
	try_sources(exact, size);
	try_depends(field);
	return 0;
}
