/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/release.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/format.h"
#include "swupd/content/freshness.h"
#include "swupd/content/tar.h"
#include "tests/unit/mixed.h"

static void load(const struct mixed *x, const char *path, struct buf *out)
{
	struct err e = ERR_INIT;

	out->len = 0;
	assert_ok(fs_load(x->config.dir, path, 1 << 24, out, &e), &e);
}

static void os_core(struct mixed *x, const char *text)
{
	mixed_bundle(x, "os-core", "");
	mixed_text(x, "/usr/lib/core", text);
}

/* The file is signed by the release's key, in path.sig. */
static void assert_signed(const struct mixed *x, const char *path)
{
	const struct test_key *const keys[] = {&x->key};
	_cleanup_(anchors_freep) struct anchors *a = test_anchors(keys, 1);
	_cleanup_free_ char *sig_path = xasprintf("%s.sig", path);
	_cleanup_(buf_free) struct buf text = {0}, sig = {0};
	struct err e = ERR_INIT;

	load(x, path, &text);
	load(x, sig_path, &sig);
	assert_ok(signature_verify(a, text.data, text.len, sig.data, sig.len, TEST_NOW, &e), &e);
}

static void announce(struct mixed *x, uint32_t release, bool sign)
{
	struct err e = ERR_INIT;

	setenv("SOURCE_DATE_EPOCH", "1763700000", 1); /* NOLINT(concurrency-mt-unsafe): this is the only thread */
	assert_ok(publish_latest(&x->m, release, sign, &e), &e);
	unsetenv("SOURCE_DATE_EPOCH"); /* NOLINT(concurrency-mt-unsafe): as above */
}

TEST(publish_signs_the_mom_and_packs_the_manifests)
{
	static const char *const mom_names[] = {"Manifest.MoM", "Manifest.MoM.sig"}, *const names[] = {
											     "Manifest.os-core"};
	struct buf texts[2] = {{0}, {0}};
	_cleanup_(buf_free) struct buf tar = {0}, plain = {0}, one = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	os_core(&x, "core");
	mixed_release(&x, 10, 0);
	assert_signed(&x, "update/www/10/Manifest.MoM");
	load(&x, "update/www/10/Manifest.MoM.tar", &tar);
	assert_ok(tar_read_texts(tar.data, tar.len, mom_names, 2, 1 << 20, texts, &e), &e);
	load(&x, "update/www/10/Manifest.MoM", &plain);
	assert_string_equal(texts[0].data, plain.data);
	load(&x, "update/www/10/Manifest.MoM.sig", &plain);
	assert_int_equal(texts[1].len, plain.len);
	assert_memory_equal(texts[1].data, plain.data, plain.len);
	load(&x, "update/www/10/Manifest.os-core.tar", &tar);
	assert_ok(tar_read_texts(tar.data, tar.len, names, 1, 1 << 20, &one, &e), &e);
	load(&x, "update/www/10/Manifest.os-core", &plain);
	assert_string_equal(one.data, plain.data);
	load(&x, "update/www/10/format", &plain);
	assert_string_equal(plain.data, "30");
	assert_false(fs_exists(x.config.dir, "update/www/.new-10"));
	assert_false(fs_exists(x.config.dir, "update/www/version"));
	buf_free(&texts[0]);
	buf_free(&texts[1]);
	mixed_end(&x);
}

/* Make release 10 again, up to publish(). */
static int publish_again(struct mixed *x, const char *core, struct err *e)
{
	os_core(x, core);
	x->m.release = 10;
	x->m.previous = 0;
	tree_sort(x->trees.bundles[0].tree);
	int r = describe(&x->m, &x->trees, 0, e);
	return r < 0 ? r : publish(&x->m, true, e);
}

TEST(publish_leaves_a_release_as_it_was_published)
{
	_cleanup_(buf_free) struct buf before = {0}, after = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	os_core(&x, "core");
	x.trees.time = TEST_NOW;
	mixed_release(&x, 10, 0);
	load(&x, "update/www/10/Manifest.MoM.tar", &before);
	assert_int_equal(publish_again(&x, "core", &e), 1);
	load(&x, "update/www/10/Manifest.MoM.tar", &after);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, after.len); /* a new signature would differ */
	assert_false(fs_exists(x.config.dir, "update/www/.new-10"));
	mixed_end(&x);
}

TEST(publish_refuses_other_content_under_a_number_that_exists)
{
	_cleanup_(buf_free) struct buf before = {0}, after = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	os_core(&x, "core");
	mixed_release(&x, 10, 0);
	load(&x, "update/www/10/Manifest.MoM", &before);
	int r = publish_again(&x, "other", &e);
	assert_non_null(e.hint);
	assert_fails(r, ERR_CONFLICT, &e, "release 10 is published with other content");
	load(&x, "update/www/10/Manifest.MoM", &after);
	assert_string_equal(before.data, after.data);
	mixed_end(&x);
}

TEST(publish_latest_says_which_release_is_the_newest)
{
	_cleanup_(buf_free) struct buf text = {0}, mom = {0};
	struct freshness f;
	struct digest want;
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	x.config.freshness_days = 30;
	os_core(&x, "core");
	mixed_release(&x, 10, 0);
	assert_ok(fs_mkdirs(x.config.dir, "update/www/version/root/2", 0755, &e), &e);
	assert_ok(fs_mkdirs(x.config.dir, "update/www/version/root/10", 0755, &e), &e);
	announce(&x, 10, true);
	load(&x, "update/www/version/format30/latest", &text);
	assert_string_equal(text.data, "10");
	assert_signed(&x, "update/www/version/format30/latest");
	load(&x, "update/www/version/latest_version", &text);
	assert_string_equal(text.data, "10");
	assert_signed(&x, "update/www/version/latest_version");

	const struct test_key *const keys[] = {&x.key};
	_cleanup_(anchors_freep) struct anchors *a = test_anchors(keys, 1);
	load(&x, "update/www/version/format30/freshness", &text);
	assert_ok(freshness_read(text.data, text.len, 30, a, TEST_NOW, &f, &e), &e);
	load(&x, "update/www/10/Manifest.MoM", &mom);
	manifest_hash(mom.data, mom.len, &want);
	assert_true(digest_equal(&f.mom, &want));
	assert_int_equal(f.release, 10);
	assert_int_equal(f.root, 10); /* by number, not by letter */
	assert_int_equal(f.time, TEST_NOW);
	assert_int_equal(f.expires, TEST_NOW + 30 * 86400);
	mixed_end(&x);
}

TEST(publish_latest_without_signing_leaves_no_signature_of_another_release)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct mixed x;

	mixed_begin(&x);
	os_core(&x, "core");
	mixed_release(&x, 10, 0);
	announce(&x, 10, true);
	os_core(&x, "other");
	mixed_release(&x, 20, 10);
	announce(&x, 20, false);
	load(&x, "update/www/version/format30/latest", &text);
	assert_string_equal(text.data, "20");
	assert_false(fs_exists(x.config.dir, "update/www/version/format30/latest.sig"));
	assert_false(fs_exists(x.config.dir, "update/www/version/latest_version.sig"));
	assert_false(fs_exists(x.config.dir, "update/www/version/format30/freshness"));
	mixed_end(&x);
}

TEST(publish_latest_removes_what_a_killed_run_was_writing)
{
	static const char *const leftovers[] = {"update/www/version/format30/.new.abc", "update/www/version/.new.abc",
						"update/www/10/.new.abc"};
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	os_core(&x, "core");
	mixed_release(&x, 10, 0);
	assert_ok(fs_mkdirs(x.config.dir, "update/www/version/format30", 0755, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(leftovers); i++)
		assert_ok(fs_save_cache(x.config.dir, leftovers[i], "half", 4, 0644, &e), &e);
	announce(&x, 10, true);
	for (size_t i = 0; i < ARRAY_LEN(leftovers); i++)
		assert_false(fs_exists(x.config.dir, leftovers[i]));
	mixed_end(&x);
}
