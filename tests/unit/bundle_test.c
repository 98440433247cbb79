/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/bundle.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/config.h"
#include "swupd/base/fs.h"
#include "tests/unit/test.h"

static int parse(const char *text, bool strict, struct bundle **out, struct err *e)
{
	return bundle_parse(text, strlen(text), "editors", "/dir/editors", strict, out, e);
}

static void assert_list(const struct strv *v, const char *want)
{
	_cleanup_free_ char *got = strv_join(v, " ");

	assert_string_equal(got, want);
}

TEST(bundle_reads_all_of_the_grammar)
{
	static const char text[] = "# [TITLE]: editors\n"
				   "# [DESCRIPTION]: Programs to write: all of them # and more\n"
				   "#[STATUS]:Active\n"
				   "# [CAPABILITIES]:\n"
				   "# [MAINTAINER]: someone <a@b>\n"
				   "# [TAGS]: ignored\n"
				   "# a comment with [brackets]: too\n"
				   "\n"
				   "include(os-core)\n"
				   "  include( libs ) # why\n"
				   "also-add(docs)\n"
				   "initrd(host)\n"
				   "also-add(os-core)\n"
				   "vim\n"
				   "\tg++-14   # the compiler\n"
				   "vim\n"
				   "content(overlay/editors)\n"
				   "content(/abs)\n"
				   "drop(/usr/lib/systemd/)\n"
				   "keep(/usr/lib/systemd/*.target) # these\n"
				   "un-export(/usr/lib/x)\n";
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	struct err e = ERR_INIT;

	assert_ok(parse(text, false, &b, &e), &e);
	assert_string_equal(b->name, "editors");
	assert_string_equal(b->title, "editors");
	assert_string_equal(b->description, "Programs to write: all of them # and more");
	assert_string_equal(b->status, "Active");
	assert_string_equal(b->capabilities, "");
	assert_string_equal(b->maintainer, "someone <a@b>");
	assert_list(&b->includes, "os-core libs");
	assert_list(&b->also_add, "docs");
	assert_list(&b->packages, "vim g++-14");
	assert_list(&b->contents, "/dir/overlay/editors /abs");
	assert_list(&b->drops, "/usr/lib/systemd/");
	assert_list(&b->initrds, "host");
	assert_list(&b->keeps, "/usr/lib/systemd/*.target");
	assert_list(&b->unexports, "/usr/lib/x");
}

TEST(bundle_may_end_without_a_line_feed)
{
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	struct err e = ERR_INIT;

	assert_ok(parse("vim\r\nnano", false, &b, &e), &e);
	assert_list(&b->packages, "vim nano");
}

TEST(bundle_says_which_line_is_wrong)
{
	static const char *const cases[][2] = {
		{"vim\ntwo words\n", "/dir/editors:2: 'two words' is neither a package nor a directive"},
		{"include(os-core\n", "/dir/editors:1: 'include(os-core' must end in ')'"},
		{"include(os-core) x\n", "must end in ')'"},
		{"includes(x)\n", "'includes()' is none of include(), also-add(), alone(), content(), initrd(), "
				  "drop(), keep(), no-build-id(), un-export()"},
		{"include(MoM)\n", "'MoM' is no name of a bundle"},
		{"include()\n", "'' is no name of a bundle"},
		{"also-add(a/b)\n", "'a/b' is no name of a bundle"},
		{"content()\n", "a path is missing between the parentheses"},
		{"un-export(usr/x)\n", "'usr/x' must be an absolute path"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bundle *b = NULL;
		struct err e = ERR_INIT;
		assert_fails(parse(cases[i][0], false, &b, &e), ERR_FORMAT, &e, cases[i][1]);
	}
}

#define HEADERS "# [DESCRIPTION]: d\n# [STATUS]: s\n# [CAPABILITIES]: c\n# [MAINTAINER]: m\n"

TEST(bundle_strictly_has_all_headers)
{
	static const char *const cases[][2] = {
		{HEADERS, "/dir/editors: the header '# [TITLE]: …' is missing or empty"},
		{"# [TITLE]: other\n" HEADERS, "/dir/editors: TITLE is 'other', but the bundle's name is 'editors'"},
		{"# [TITLE]: editors\n", "the header '# [DESCRIPTION]: …' is missing or empty"},
	};
	_cleanup_(bundle_freep) struct bundle *good = NULL;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bundle *b = NULL;
		assert_fails(parse(cases[i][0], true, &b, &e), ERR_FORMAT, &e, cases[i][1]);
	}
	assert_ok(parse("# [TITLE]: editors\n" HEADERS, true, &good, &e), &e);
}

TEST(bundle_names_are_what_manifests_can_be_called)
{
	static const char *const good[] = {"os-core", "a", "c++", "x_1.2"};
	static const char *const bad[] = {"",    "MoM",           "full",          ".hidden",   "a b",
					  "a/b", "packages.drop", "convert.rules", "README.md", "ä"};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(bundle_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(bundle_name_valid(bad[i]));
}

/* A workspace with a folder of definitions */
struct fixture {
	struct config *config;
	int upstream, local;
};

static void fixture_open(struct fixture *f)
{
	char path[4096], workspace[4096];
	struct err e = ERR_INIT;

	f->upstream = test_dir(path, sizeof(path));
	int dir = test_dir(workspace, sizeof(workspace));
	f->local = fs_make_dir(dir, "local-bundles", 0755, &e);
	assert_ok(f->local, &e);
	_cleanup_free_ char *text = xasprintf("[mix]\nbundles = %s\n", path);
	assert_ok(config_parse(text, strlen(text), "mixer.conf", dir, workspace, &f->config, &e), &e);
}

static void fixture_close(struct fixture *f)
{
	config_free(f->config);
	close(f->upstream);
	close(f->local);
}

static void define(int dir, const char *name, const char *text)
{
	struct err e = ERR_INIT;

	assert_ok(fs_save_cache(dir, name, text, strlen(text), 0644, &e), &e);
}

static int load_set(const struct fixture *f, const char *names, struct bundle_set *out, struct err *e)
{
	_cleanup_(strv_free) struct strv v = {0};

	strv_split(&v, names, " ");
	return bundle_set_load(f->config, &v, false, out, e);
}

TEST(bundle_in_local_bundles_hides_the_others)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(bundle_freep) struct bundle *b = NULL, *other = NULL;
	struct bundle *none = NULL;
	struct err e = ERR_INIT;

	fixture_open(&f);
	define(f.upstream, "a", "up\n");
	define(f.upstream, "b", "up\n");
	define(f.local, "a", "mine\n");
	assert_ok(bundle_load(f.config, "a", &b, &e), &e);
	assert_list(&b->packages, "mine");
	assert_ok(bundle_load(f.config, "b", &other, &e), &e);
	assert_list(&other->packages, "up");
	assert_fails(bundle_load(f.config, "c", &none, &e), ERR_BUNDLE, &e, "there is no definition of bundle 'c'");
	assert_fails(bundle_load(f.config, "../x", &none, &e), ERR_BUNDLE, &e,
		     "there is no definition of bundle '../x'");
}

TEST(bundle_names_lists_only_definitions)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(strv_free) struct strv v = {0};
	struct err e = ERR_INIT;

	fixture_open(&f);
	define(f.upstream, "b", "");
	define(f.upstream, "a", "");
	define(f.upstream, "packages.drop", "");
	define(f.upstream, ".hidden", "");
	assert_ok(fs_mkdirs(f.upstream, "overlay/a", 0755, &e), &e);
	assert_ok(bundle_names(f.config->bundle_dirs.items[1], &v, &e), &e);
	assert_list(&v, "a b");
	assert_ok(bundle_names("/nowhere/at/all", &v, &e), &e);
}

TEST(bundle_set_is_closed_over_includes_and_also_adds)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(strv_free) struct strv v = {0};
	struct err e = ERR_INIT;

	fixture_open(&f);
	define(f.upstream, "a", "include(b)\nalso-add(e)\n");
	define(f.upstream, "b", "include(d)\ninclude(c)\n");
	define(f.upstream, "c", "include(a)\n");
	define(f.upstream, "d", "");
	define(f.upstream, "e", "include(f)\n");
	define(f.upstream, "f", "");
	define(f.upstream, "unused", "two words\n");
	assert_ok(load_set(&f, "a", &set, &e), &e);
	assert_int_equal(set.n, 6);
	assert_string_equal(set.items[0]->name, "a");
	assert_string_equal(set.items[5]->name, "f");
	assert_null(bundle_set_find(&set, "unused"));
	/* nearest first, without itself, though c includes it again */
	bundle_set_includes(&set, bundle_set_find(&set, "a"), &v);
	assert_list(&v, "b d c");
}

TEST(bundle_set_says_who_wants_a_missing_bundle)
{
	_cleanup_(fixture_close) struct fixture f;
	struct bundle_set set = {0};
	struct err e = ERR_INIT;

	fixture_open(&f);
	define(f.upstream, "a", "include(b)\n");
	define(f.upstream, "b", "also-add(gone)\n");
	int r = load_set(&f, "a", &set, &e);
	assert_true(e.hint && strstr(e.hint, "'mixer bundle create gone'"));
	assert_fails(r, ERR_BUNDLE, &e, "bundle 'b' wants 'gone': there is no definition of bundle 'gone'");
	define(f.upstream, "b", "bad line\n");
	assert_fails(load_set(&f, "a", &set, &e), ERR_FORMAT, &e, "/b:1: 'bad line'");
}

TEST(mixbundles_is_kept_sorted)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(strv_free) struct strv v = {0}, got = {0};
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	fixture_open(&f);
	int r = mixbundles_load(f.config, &got, &e);
	assert_true(e.hint && strstr(e.hint, "'mixer bundle add"));
	assert_fails(r, ERR_CONFIG, &e, "has no mixbundles");
	strv_split(&v, "os-core b a b", " ");
	assert_ok(mixbundles_save(f.config, &v, &e), &e);
	assert_ok(fs_load(f.config->dir, "mixbundles", 100, &text, &e), &e);
	assert_string_equal(text.data, "a\nb\nos-core\n");
	define(f.config->dir, "mixbundles", "b # why\n\n# c\na\n");
	assert_ok(mixbundles_load(f.config, &got, &e), &e);
	assert_list(&got, "a b");
	define(f.config->dir, "mixbundles", "a\nfull\n");
	assert_fails(mixbundles_load(f.config, &got, &e), ERR_CONFIG, &e,
		     "mixbundles:2: 'full' is no name of a bundle");
}
