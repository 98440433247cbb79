/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "mixer/step/kernel.h"

static int parse(const char *text, struct kernel_profile **out, struct err *e)
{
	return kernel_profile_parse(text, strlen(text), "p", "profiles/p", out, e);
}

TEST(kernel_profile_is_read_with_its_title)
{
	_cleanup_(kernel_profile_freep) struct kernel_profile *p = NULL;
	struct err e = ERR_INIT;

	assert_ok(parse("# SPDX-License-Identifier: LGPL-2.1-or-later\n# A guest.\n# More of it.\n"
			"fragments = base  virtio\ncmdline = quiet root=/dev/vda\nmodules = yes\ncompiler = clang\n"
			"trained = guest\n",
			&p, &e),
		  &e);
	assert_string_equal(p->name, "p");
	assert_string_equal(p->title, "A guest.");
	assert_int_equal(p->fragments.n, 2);
	assert_string_equal(p->fragments.items[1], "virtio");
	assert_string_equal(p->cmdline, "quiet root=/dev/vda");
	assert_true(p->modules);
	assert_true(p->clang);
	assert_string_equal(p->trained, "guest");
}

TEST(kernel_profile_says_what_is_wrong)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"", "profiles/p: the profile has no fragments"},
		{"fragments =\n", "profiles/p: the profile has no fragments"},
		{"fragments = base ../x\n", "profiles/p: '../x' is no name of a fragment"},
		{"fragments = base\nmodules = some\n", "profiles/p:2: modules is 'yes' or 'no', not 'some'"},
		{"fragments = base\ncompiler = tcc\n", "profiles/p:2: compiler is 'gcc' or 'clang', not 'tcc'"},
		{"fragments = base\ntrained = ../guest\n",
		 "profiles/p:2: '../guest' is no name of what a kernel is trained with"},
		{"fragment = base\n", "profiles/p:1: a profile has no key 'fragment' (there are fragments, cmdline, "
				      "modules, compiler, trained)"},
		{"[kernel]\nfragments = base\n", "profiles/p:2: a profile has no sections, as [kernel]"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kernel_profile *p = NULL;
		struct err e = ERR_INIT;
		assert_int_equal(parse(cases[i].text, &p, &e), -ERR_CONFIG);
		assert_string_equal(e.text, cases[i].error);
		assert_null(p);
		err_clear(&e);
	}
}
