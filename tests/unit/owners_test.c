/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/owners.h"

#include <string.h>

#include "mixer/step/between.h"
#include "tests/unit/mixed.h"
#include "tests/unit/test.h"

static void make_release(struct mixed *x)
{
	mixed_bundle(x, "app", "lib");
	mixed_text(x, "/usr/bin/app", "app");
	mixed_bundle(x, "lib", "os-core");
	mixed_text(x, "/usr/lib/lib", "lib");
	mixed_bundle(x, "os-core", "");
	mixed_text(x, "/usr/bin/core", "core");
	mixed_bundle(x, "other", "os-core");
	mixed_text(x, "/usr/lib/lib", "lib"); /* it has it, too */
	mixed_text(x, "/usr/bin/other", "other");
	mixed_describe(x, 10, 0, 0);
}

static const struct {
	const char *bundle, *content;
	bool have;
} cases[] = {
	{"app", "app", true},      {"app", "lib", true},  /* of what it includes */
	{"app", "core", true},                            /* and of what that includes */
	{"app", "other", false},   {"lib", "app", false}, /* what includes it need not be there */
	{"os-core", "core", true}, {"os-core", "lib", false}, {"other", "lib", true},
	{"other", "core", true},   {"none", "core", false}, /* the release does not have it */
	{"app", "nothing", false},
};

TEST(owners_have_what_their_bundles_and_all_included_ones_have)
{
	_cleanup_(between_clear) struct between b = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	make_release(&x);
	assert_ok(between_open(&x.m, 0, 10, &b, &e), &e);
	_cleanup_(owners_freep) struct owners *o = owners_new(b.to);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct attrs attrs = {.kind = KIND_FILE, .mode = 0644, .size = strlen(cases[i].content)};
		struct digest hash;
		file_hash_mem(&attrs, cases[i].content, attrs.size, &hash);
		owners_choose(o, cases[i].bundle);
		if (owners_have(o, &hash) != cases[i].have)
			fail_msg("%s, %s", cases[i].bundle, cases[i].content);
	}
	mixed_end(&x);
}

TEST(owners_of_nothing_have_nothing)
{
	_cleanup_(release_freep) struct release *none = release_none();
	_cleanup_(owners_freep) struct owners *o = owners_new(none);
	const struct digest hash = {0};

	owners_choose(o, "os-core");
	assert_false(owners_have(o, &hash));
}
