/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/release.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/format.h"
#include "tests/unit/mixed.h"

/* A directory of the bundle that was added last, without anything below it. */
static void add_dir(struct mixed *x, const char *path)
{
	struct node n = {.path = path, .attrs = {.kind = KIND_DIR, .mode = 0755}, .origin = "test"};

	file_hash_mem(&n.attrs, NULL, 0, &n.hash);
	(void)tree_add(x->trees.bundles[x->trees.n - 1].tree, &n);
}

static struct release *load(const struct mixed *x, uint32_t number)
{
	struct release *r = NULL;
	struct err e = ERR_INIT;

	assert_ok(release_load(&x->m, number, &r, &e), &e);
	return r;
}

/* What the newest manifest of a bundle says in release number: "F..x 10 /usr/bin/one" for each line, in their order, with ", " between. dirs: these, too */
static char *entries(const struct mixed *x, uint32_t number, const char *bundle, bool dirs)
{
	static const char kinds[] = ".FDL", statuses[] = ".dg";
	_cleanup_(release_freep) struct release *r = load(x, number);
	_cleanup_(strv_free) struct strv lines = {0};
	const struct manifest *m = release_find(r, bundle);

	assert_non_null(m);
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct entry *n = &m->entries[i];
		if (dirs == (n->kind == KIND_DIR) || n->kind == KIND_NONE)
			strv_take(&lines, xasprintf("%c%c.%c %u %s", kinds[n->kind], statuses[n->status],
						    n->exported ? 'x' : '.', n->release, n->name));
	}
	return strv_join(&lines, ", ");
}

#define assert_entries(x, number, bundle, want)                                                                        \
	do {                                                                                                           \
		_cleanup_free_ char *have_ = entries((x), (number), (bundle), false);                                  \
		assert_string_equal(have_, (want));                                                                    \
	} while (0)

#define assert_dirs(x, number, bundle, want)                                                                           \
	do {                                                                                                           \
		_cleanup_free_ char *have_ = entries((x), (number), (bundle), true);                                   \
		assert_string_equal(have_, (want));                                                                    \
	} while (0)

/* "app 10, os-core 20": the lines of a MoM, an experimental bundle with a '!' */
static char *mom_lines(const struct mixed *x, uint32_t number)
{
	_cleanup_(release_freep) struct release *r = load(x, number);
	_cleanup_(strv_free) struct strv lines = {0};

	for (size_t i = 0; i < r->mom->n_entries; i++) {
		const struct entry *n = &r->mom->entries[i];
		strv_take(&lines,
			  xasprintf("%s%s %u", n->name, n->status == STATUS_EXPERIMENTAL ? "!" : "", n->release));
	}
	strv_sort_unique(&lines);
	return strv_join(&lines, ", ");
}

#define assert_mom(x, number, want)                                                                                    \
	do {                                                                                                           \
		_cleanup_free_ char *have_ = mom_lines((x), (number));                                                 \
		assert_string_equal(have_, (want));                                                                    \
	} while (0)

/* describe() alone; the trees are of the next release, and stay. */
static int describe_only(struct mixed *x, uint32_t release, uint32_t previous, uint32_t minversion, struct err *e)
{
	x->m.release = release;
	x->m.previous = previous;
	for (size_t i = 0; i < x->trees.n; i++)
		tree_sort(x->trees.bundles[i].tree);
	return describe(&x->m, &x->trees, minversion, e);
}

/* A world of os-core and app. */
static void base_and_app(struct mixed *x, const char *core, const char *app)
{
	mixed_bundle(x, "app", "os-core");
	mixed_text(x, "/usr/bin/app", app);
	mixed_bundle(x, "os-core", "");
	mixed_text(x, "/usr/lib/core", core);
}

TEST(describe_leaves_a_file_to_the_bundle_that_is_included)
{
	struct mixed x;

	mixed_begin(&x);
	mixed_bundle(&x, "app", "os-core lib");
	mixed_text(&x, "/usr/share/app", "app");
	mixed_text(&x, "/usr/share/deep", "deep");
	mixed_text(&x, "/usr/share/lib", "lib");
	mixed_text(&x, "/usr/share/twice", "twice");
	mixed_bundle(&x, "deep", "os-core");
	mixed_text(&x, "/usr/share/deep", "deep");
	mixed_bundle(&x, "lib", "os-core deep");
	mixed_text(&x, "/usr/share/deep", "deep");
	mixed_text(&x, "/usr/share/lib", "lib");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/share/core", "core");
	mixed_bundle(&x, "stranger", "os-core");
	mixed_text(&x, "/usr/share/core", "core");
	mixed_text(&x, "/usr/share/strange", "strange");
	mixed_text(&x, "/usr/share/twice", "twice");
	mixed_release(&x, 10, 0);
	assert_entries(&x, 10, "app", "F... 10 /usr/share/app, F... 10 /usr/share/twice");
	assert_entries(&x, 10, "deep", "F... 10 /usr/share/deep");
	assert_entries(&x, 10, "lib", "F... 10 /usr/share/lib");
	assert_entries(&x, 10, "os-core", "F... 10 /usr/share/core");
	/* bundles that do not include one another both have it */
	assert_entries(&x, 10, "stranger", "F... 10 /usr/share/strange, F... 10 /usr/share/twice");
	mixed_end(&x);
}

TEST(describe_leaves_directories_to_os_core_and_where_nothing_is_put_into_them)
{
	struct mixed x;

	mixed_begin(&x);
	mixed_bundle(&x, "app", "os-core lib");
	mixed_text(&x, "/usr/share/both/app", "app");
	mixed_text(&x, "/usr/share/dropped/lib", "lib"); /* lib has it, but it still counts for the directory */
	add_dir(&x, "/usr/share/empty");
	mixed_text(&x, "/usr/share/own/app", "app");
	mixed_bundle(&x, "lib", "os-core");
	mixed_text(&x, "/usr/share/both/lib", "lib");
	mixed_text(&x, "/usr/share/dropped/lib", "lib");
	add_dir(&x, "/usr/share/empty");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/share/core", "core");
	mixed_release(&x, 10, 0);
	assert_dirs(&x, 10, "os-core", "D... 10 /usr, D... 10 /usr/share");
	assert_dirs(&x, 10, "lib", "D... 10 /usr/share/both, D... 10 /usr/share/dropped, D... 10 /usr/share/empty");
	assert_dirs(&x, 10, "app", "D... 10 /usr/share/both, D... 10 /usr/share/dropped, D... 10 /usr/share/own");
	mixed_end(&x);
}

TEST(describe_survives_bundles_that_include_one_another)
{
	struct mixed x;

	mixed_begin(&x);
	mixed_bundle(&x, "a", "os-core b");
	mixed_text(&x, "/usr/share/a", "a");
	mixed_text(&x, "/usr/share/both", "both");
	mixed_bundle(&x, "b", "os-core a");
	mixed_text(&x, "/usr/share/b", "b");
	mixed_text(&x, "/usr/share/both", "both");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/lib/core", "core");
	mixed_release(&x, 10, 0);
	/* who installs either has both of them, so the file must be in one at least, and nobody's own may vanish */
	_cleanup_free_ char *a = entries(&x, 10, "a", false), *b = entries(&x, 10, "b", false);
	assert_non_null(strstr(a, "/usr/share/a"));
	assert_non_null(strstr(b, "/usr/share/b"));
	assert_true(strstr(a, "/usr/share/both") || strstr(b, "/usr/share/both"));
	mixed_end(&x);
}

TEST(describe_keeps_the_release_of_what_did_not_change)
{
	struct mixed x;

	mixed_begin(&x);
	for (uint32_t release = 10; release <= 20; release += 10) {
		const bool second = release == 20;
		mixed_bundle(&x, "os-core", "");
		mixed_text(&x, "/usr/lib/content", second ? "other" : "some");
		mixed_file(&x, "/usr/lib/mode", second ? 0755 : 0644, "mode", 4);
		if (second)
			mixed_text(&x, "/usr/lib/new", "new");
		mixed_text(&x, "/usr/lib/same", "same");
		if (second)
			mixed_link(&x, "/usr/lib/type", "same");
		else
			mixed_text(&x, "/usr/lib/type", "same");
		mixed_release(&x, release, release - 10);
	}
	assert_entries(&x, 20, "os-core",
		       "F... 10 /usr/lib/same, F... 20 /usr/lib/content, F... 20 /usr/lib/mode, F... 20 /usr/lib/new, "
		       "L... 20 /usr/lib/type");
	assert_dirs(&x, 20, "os-core", "D... 10 /usr, D... 10 /usr/lib");
	mixed_end(&x);
}

static void release_with(struct mixed *x, uint32_t release, const char *const *paths)
{
	_cleanup_free_ char *number = xasprintf("%u", release);

	mixed_bundle(x, "os-core", "");
	mixed_text(x, "/usr/lib/os-release", number);
	for (; *paths; paths++)
		mixed_text(x, *paths, *paths);
	mixed_release(x, release, release - 10);
}

TEST(describe_tells_what_is_gone)
{
	static const char *const all[] = {"/usr/lib/kernel/vmlinuz", "/usr/lib/modules/a", "/usr/lib/systemd/boot/x",
					  "/usr/share/back",         "/usr/share/gone",    NULL};
	static const char *const none[] = {NULL}, *const back[] = {"/usr/share/back", NULL};
	struct mixed x;

	mixed_begin(&x);
	release_with(&x, 10, all);
	release_with(&x, 20, none);
	/* a running system still needs the files of its kernel */
	assert_entries(&x, 20, "os-core",
		       ".d.. 20 /usr/lib/kernel, .g.. 20 /usr/lib/kernel/vmlinuz, .d.. 20 /usr/lib/modules, "
		       ".g.. 20 /usr/lib/modules/a, F... 20 /usr/lib/os-release, .d.. 20 /usr/lib/systemd, "
		       ".d.. 20 /usr/lib/systemd/boot, .d.. 20 /usr/lib/systemd/boot/x, .d.. 20 /usr/share, "
		       ".d.. 20 /usr/share/back, .d.. 20 /usr/share/gone");
	/* for clients from before 20 they are listed on; what comes back is no longer gone */
	release_with(&x, 30, back);
	assert_entries(&x, 30, "os-core",
		       ".d.. 20 /usr/lib/kernel, .d.. 20 /usr/lib/modules, .d.. 20 /usr/lib/systemd, "
		       ".d.. 20 /usr/lib/systemd/boot, .d.. 20 /usr/lib/systemd/boot/x, .d.. 20 /usr/share/gone, F... "
		       "30 /usr/lib/os-release, F... 30 /usr/share/back");
	/* nobody comes from another format without passing through its last release */
	x.m.format = x.config.format = 31;
	release_with(&x, 40, back);
	assert_entries(&x, 40, "os-core", "F... 30 /usr/share/back, F... 40 /usr/lib/os-release");
	mixed_end(&x);
}

TEST(describe_does_not_write_what_is_as_before)
{
	struct mixed x;

	mixed_begin(&x);
	base_and_app(&x, "core", "app");
	mixed_release(&x, 10, 0);
	base_and_app(&x, "other", "app");
	mixed_release(&x, 20, 10);
	assert_mom(&x, 20, "app 10, os-core 20");
	assert_false(fs_exists(x.config.dir, "update/www/20/Manifest.app"));
	assert_false(fs_exists(x.config.dir, "update/www/20/Manifest.app.tar"));
	assert_false(fs_exists(x.config.dir, "update/www/20/pack-app-from-0.tar"));
	mixed_end(&x);
}

TEST(describe_says_when_nothing_differs)
{
	struct mixed x;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	base_and_app(&x, "core", "app");
	mixed_release(&x, 10, 0);
	base_and_app(&x, "core", "app");
	assert_int_equal(describe_only(&x, 20, 10, 0, &e), 1);
	assert_false(fs_exists(x.config.dir, "update/www/.new-20"));
	x.trees.bundles[0].experimental = true;
	assert_int_equal(describe_only(&x, 20, 10, 0, &e), 0);
	mixed_end(&x);
}

TEST(describe_writes_a_bundle_that_includes_others_than_before)
{
	static const char *const includes[] = {"os-core", "os-core lib", "os-core"};
	struct mixed x;

	mixed_begin(&x);
	for (uint32_t i = 0; i < ARRAY_LEN(includes); i++) {
		mixed_bundle(&x, "app", includes[i]);
		mixed_text(&x, "/usr/bin/app", "app");
		if (i == 2)
			strv_add(&x.trees.bundles[0].also_add, "lib");
		mixed_bundle(&x, "lib", "os-core");
		mixed_text(&x, "/usr/lib/lib", "lib");
		mixed_bundle(&x, "os-core", "");
		mixed_text(&x, "/usr/lib/core", "core");
		mixed_release(&x, 10 + 10 * i, 10 * i);
	}
	assert_mom(&x, 20, "app 20, lib 10, os-core 10");
	assert_mom(&x, 30, "app 30, lib 10, os-core 10");
	_cleanup_(release_freep) struct release *second = load(&x, 20), *third = load(&x, 30);
	const struct manifest *app = release_find(second, "app");
	assert_int_equal(app->n_includes, 2);
	assert_string_equal(app->includes[0], "os-core");
	assert_string_equal(app->includes[1], "lib");
	app = release_find(third, "app");
	assert_int_equal(app->n_includes, 1);
	assert_int_equal(app->n_also_add, 1);
	assert_string_equal(app->also_add[0], "lib");
	mixed_end(&x);
}

TEST(describe_exports_commands_unless_told_not_to)
{
	struct mixed x;

	mixed_begin(&x);
	for (uint32_t release = 10; release <= 20; release += 10) {
		mixed_bundle(&x, "os-core", "");
		mixed_text(&x, "/usr/bin/hidden", "hidden");
		mixed_text(&x, "/usr/bin/later", "later");
		mixed_text(&x, "/usr/bin/shown", "shown");
		mixed_text(&x, "/usr/lib/bin/none", "none");
		mixed_text(&x, "/usr/local/bin/local", "local");
		strv_add(&x.trees.bundles[0].unexports, "/usr/bin/hidden");
		if (release == 20)
			strv_add(&x.trees.bundles[0].unexports, "/usr/bin/later");
		mixed_release(&x, release, release - 10);
	}
	assert_entries(&x, 10, "os-core",
		       "F... 10 /usr/bin/hidden, F..x 10 /usr/bin/later, F..x 10 /usr/bin/shown, "
		       "F... 10 /usr/lib/bin/none, F..x 10 /usr/local/bin/local");
	/* the flag alone is a change */
	assert_entries(&x, 20, "os-core",
		       "F... 10 /usr/bin/hidden, F..x 10 /usr/bin/shown, F... 10 /usr/lib/bin/none, "
		       "F..x 10 /usr/local/bin/local, F... 20 /usr/bin/later");
	mixed_end(&x);
}

TEST(describe_tells_sizes_and_the_time_of_the_lock)
{
	struct mixed x;

	mixed_begin(&x);
	mixed_bundle(&x, "app", "os-core");
	mixed_text(&x, "/usr/lib/core", "core"); /* not its own: not counted */
	mixed_text(&x, "/usr/share/app", "12345");
	mixed_link(&x, "/usr/share/link", "app");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/lib/core", "core");
	x.trees.time = TEST_NOW;
	mixed_release(&x, 10, 0);
	_cleanup_(release_freep) struct release *r = load(&x, 10);
	const struct manifest *app = release_find(r, "app");
	assert_int_equal(app->contentsize, 5 + 3);
	assert_int_equal(app->timestamp, TEST_NOW);
	assert_int_equal(app->previous, 0);
	assert_int_equal(manifest_find(app, "/usr/share/app")->size, 5);
	assert_int_equal(manifest_find(app, "/usr/share/link")->size, 3);
	assert_int_equal(r->mom->contentsize, 0);
	assert_int_equal(r->mom->timestamp, TEST_NOW);
	mixed_end(&x);
}

TEST(describe_stamps_anew_what_is_older_than_minversion)
{
	struct mixed x;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	base_and_app(&x, "core", "app");
	mixed_release(&x, 10, 0);
	base_and_app(&x, "other", "app");
	mixed_release(&x, 20, 10);
	base_and_app(&x, "other", "app");
	assert_ok(describe_only(&x, 30, 20, 20, &e), &e);
	_cleanup_(release_freep) struct release *r = NULL;
	assert_ok(release_load_new(&x.m, &r, &e), &e);
	assert_int_equal(r->mom->minversion, 20);
	for (size_t b = 0; b < r->n; b++)
		for (size_t i = 0; i < r->bundles[b]->n_entries; i++)
			assert_true(r->bundles[b]->entries[i].release >= 20);
	assert_int_equal(manifest_find(release_find(r, "app"), "/usr/bin/app")->release, 30);
	assert_int_equal(manifest_find(release_find(r, "os-core"), "/usr/lib/core")->release, 20);
	mixed_end(&x);
}

TEST(describe_carries_minversion_from_the_release_before)
{
	struct mixed x;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	base_and_app(&x, "core", "app");
	mixed_release(&x, 10, 0);
	base_and_app(&x, "core", "app");
	assert_ok(describe_only(&x, 20, 10, 20, &e), &e);
	assert_ok(publish(&x.m, false, &e), &e);
	x.trees.bundles[0].experimental = true; /* the same trees, but not the same MoM */
	mixed_release(&x, 30, 20);
	_cleanup_(release_freep) struct release *r = load(&x, 30);
	assert_int_equal(r->mom->minversion, 20);
	assert_mom(&x, 30, "app! 20, os-core 20");
	mixed_end(&x);
}

TEST(describe_marks_experimental_bundles_in_the_mom)
{
	struct mixed x;

	mixed_begin(&x);
	base_and_app(&x, "core", "app");
	x.trees.bundles[0].experimental = true;
	mixed_release(&x, 10, 0);
	assert_mom(&x, 10, "app! 10, os-core 10");
	base_and_app(&x, "other", "app");
	mixed_release(&x, 20, 10);
	assert_mom(&x, 20, "app 10, os-core 20");
	mixed_end(&x);
}

TEST(describe_forgets_a_bundle_that_left_the_mix)
{
	struct mixed x;

	mixed_begin(&x);
	base_and_app(&x, "core", "app");
	mixed_release(&x, 10, 0);
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/lib/core", "core");
	mixed_release(&x, 20, 10);
	assert_mom(&x, 20, "os-core 10");
	mixed_end(&x);
}

TEST(describe_attaches_the_lock_and_the_sbom)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct digest real;
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	base_and_app(&x, "core", "app");
	mixed_release(&x, 10, 0);
	_cleanup_(release_freep) struct release *r = load(&x, 10);
	assert_int_equal(r->mom->n_attached, 2);
	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *path = xasprintf("update/www/10/%s", r->mom->attached[i].name);
		text.len = 0;
		assert_ok(fs_load(x.config.dir, path, SMALL_TEXT_MAX, &text, &e), &e);
		sha256_mem(text.data, text.len, &real);
		assert_true(digest_equal(&real, &r->mom->attached[i].sha256));
		assert_int_equal(r->mom->attached[i].size, text.len);
	}
	assert_int_equal(unlinkat(x.config.dir, "mixer.lock", 0), 0);
	base_and_app(&x, "other", "app");
	mixed_release(&x, 20, 10);
	_cleanup_(release_freep) struct release *next = load(&x, 20);
	assert_int_equal(next->mom->n_attached, 1);
	assert_string_equal(next->mom->attached[0].name, "sbom.spdx.json");
	mixed_end(&x);
}

TEST(describe_gives_the_same_bytes_again)
{
	struct buf texts[2] = {{0}, {0}};
	struct err e = ERR_INIT;

	for (int i = 0; i < 2; i++) {
		struct mixed x;
		mixed_begin(&x);
		x.config.threads = i ? 4 : 1;
		x.trees.time = TEST_NOW;
		base_and_app(&x, "core", "app");
		mixed_release(&x, 10, 0);
		assert_ok(fs_load(x.config.dir, "update/www/10/Manifest.MoM", MANIFEST_MAX, &texts[i], &e), &e);
		mixed_end(&x);
	}
	assert_string_equal(texts[0].data, texts[1].data);
	buf_free(&texts[0]);
	buf_free(&texts[1]);
}

TEST(describe_names_a_bundle_that_has_nothing)
{
	struct mixed x;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	mixed_bundle(&x, "nothing", "os-core");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/lib/core", "core");
	assert_fails(describe_only(&x, 10, 0, 0, &e), ERR_FORMAT, &e, "bundle 'nothing'");
	mixed_end(&x);
}
