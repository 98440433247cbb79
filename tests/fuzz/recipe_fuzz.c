/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "mixer/input/bundle.h"
#include "mixer/input/recipe.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* A recipe is run as root in a build root: names are names, and nothing of it is a shell's to read. */

static bool is_name_of_file(const char *s)
{
	return *s && !strchr(s, '/') && !strchr(s, '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(recipe_freep) struct recipe *r = NULL;
	_cleanup_(strv_free) struct strv profiles = {0};
	_cleanup_free_ char *exact = xmemdup(data, size);

	if (recipe_parse(exact, size, "fuzz", NULL, &r, NULL) < 0)
		return 0;
	FUZZ_CHECK(bundle_name_valid(r->source) && !strchr(r->title, '\n'));
	FUZZ_CHECK(!strpbrk(r->flags, "$`\"'\\;&|<>()#\n") && !strchr(r->reason, '\n'));
	FUZZ_CHECK(!r->workload || is_name_of_file(r->workload));
	for (size_t i = 0; i < r->patches.n; i++)
		FUZZ_CHECK(is_name_of_file(r->patches.items[i]));
	for (size_t i = 0; i < r->bundles.n; i++)
		FUZZ_CHECK(bundle_name_valid(r->bundles.items[i]));
	recipe_build_profiles(r, &profiles);
	for (size_t i = 0; i < profiles.n; i++)
		FUZZ_CHECK(bundle_name_valid(profiles.items[i]));
	return 0;
}
