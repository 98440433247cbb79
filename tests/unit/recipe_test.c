/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>
#include <unistd.h>

#include "mixer/input/recipe.h"
#include "swupd/base/fs.h"

static int parse(const char *text, const char *folder, struct recipe **out, struct err *e)
{
	return recipe_parse(text, strlen(text), "zstd", folder, out, e);
}

TEST(recipe_is_read)
{
	_cleanup_(recipe_freep) struct recipe *r = NULL;
	_cleanup_(strv_free) struct strv profiles = {0};
	struct err e = ERR_INIT;

	assert_ok(parse("# SPDX-License-Identifier: LGPL-2.1-or-later\n# Unpacks images\n"
			"source = libzstd\ncompiler = clang\nflags = -O3  -mtune=generic\npatches = b.patch a.patch\n"
			"profiles = noudeb\ncheck = yes\ndocs = yes\nworkload = many\nbundles = os-core curl\nreason = "
			"it pays\n",
			NULL, &r, &e),
		  &e);
	assert_string_equal(r->name, "zstd");
	assert_string_equal(r->title, "Unpacks images");
	assert_string_equal(r->source, "libzstd");
	assert_int_equal(r->compiler, COMPILER_CLANG);
	assert_string_equal(r->flags, "-O3  -mtune=generic");
	assert_string_equal(r->patches.items[0], "b.patch");
	assert_true(r->check);
	assert_string_equal(r->workload, "many");
	assert_int_equal(r->bundles.n, 2);
	assert_string_equal(r->reason, "it pays");
	recipe_build_profiles(r, &profiles);
	_cleanup_free_ char *words = strv_join(&profiles, " ");
	assert_string_equal(words, "noudeb");
}

TEST(recipe_needs_nothing_but_its_name)
{
	_cleanup_(recipe_freep) struct recipe *r = NULL;
	_cleanup_(strv_free) struct strv profiles = {0};
	struct err e = ERR_INIT;

	assert_ok(parse("", NULL, &r, &e), &e);
	assert_string_equal(r->source, "zstd");
	assert_int_equal(r->compiler, COMPILER_GCC);
	assert_false(r->check);
	assert_null(r->workload);
	recipe_build_profiles(r, &profiles);
	_cleanup_free_ char *words = strv_join(&profiles, " ");
	assert_string_equal(words, "nocheck nodoc");
}

TEST(recipe_says_what_is_wrong)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"colour = red\n", "zstd:1: a recipe has no key 'colour'"},
		{"\n[recipe]\nsource = a\n", "zstd:3: a recipe has no sections, as [recipe]"},
		{"compiler = icc\n", "zstd:1: compiler is 'gcc' or 'clang', not 'icc'"},
		{"check = maybe\n", "zstd:1: check is 'yes' or 'no', not 'maybe'"},
		{"docs = \n", "zstd:1: docs is 'yes' or 'no', not ''"},
		{"source = ../x\n", "zstd:1: '../x' is no name of a source package"},
		{"flags = -O2 $(id)\n", "zstd:1: flags cannot hold what a shell or make would read, as in '-O2 $(id)'"},
		{"# x\npatches = a ../b\n", "zstd:2: '../b' is no name of a file"},
		{"workload = /bin/sh\n", "zstd:1: '/bin/sh' is no name of a file"},
		{"profiles = <x>\n", "zstd:1: '<x>' is no name of a build profile"},
		{"bundles = a b;c\n", "zstd:1: 'b;c' is no name of a bundle"},
		{"source\n", "zstd:1: 'source' is neither 'key = value' nor a [section] nor a # comment"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct recipe *r = NULL;
		struct err e = ERR_INIT;
		assert_int_equal(parse(cases[i].text, NULL, &r, &e), -ERR_CONFIG);
		assert_string_equal(e.text, cases[i].error);
		assert_null(r);
		err_clear(&e);
	}
}

TEST(recipe_names_the_file_that_is_missing)
{
	char path[4096];
	const int dir = test_dir(path, sizeof(path));
	_cleanup_(recipe_freep) struct recipe *r = NULL;
	struct err e = ERR_INIT;

	assert_fails(parse("# x\npatches = a.patch\n", path, &r, &e), ERR_CONFIG, &e, "/zstd:2: there is no file '");
	assert_fails(parse("workload = train\n", path, &r, &e), ERR_CONFIG, &e, "/train.workload'");
	assert_int_equal(parse("workload = train\n", path, &r, &e), -ERR_CONFIG);
	assert_non_null(e.hint);
	err_clear(&e);
	assert_ok(fs_mkdirs(dir, "patches", 0755, &e), &e);
	assert_ok(fs_save_cache(dir, "patches/a.patch", "", 0, 0644, &e), &e);
	assert_ok(fs_save_cache(dir, "train.workload", "", 0, 0755, &e), &e);
	assert_ok(parse("patches = a.patch\nworkload = train\n", path, &r, &e), &e);
	close(dir);
}
