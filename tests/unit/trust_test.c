/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/catalog.h"
#include "swupd/content/layout.h"
#include "swupd/content/root.h"
#include "tests/unit/test.h"
#include "tests/unit/world.h"

#define DAY 86400

static const struct entry usr = {
	.name = "/usr",
	.hash = {{1}},
	.release = 10,
	.kind = KIND_DIR,
	.size = SIZE_UNKNOWN,
};

/* A tree and a machine whose installed certificate is that of key A. */
struct town {
	struct test_key a, b, c;
	struct tree t;
	struct world w;
};

static void install_certificate(struct town *o, const struct test_key *key)
{
	_cleanup_(buf_free) struct buf pem = {0};

	assert_int_equal(fs_mkdirs(o->w.m.root, "usr/share/clear/update-ca", 0755, NULL), 0);
	assert_int_equal(fs_load(-1, key->cert, 65536, &pem, NULL), 0);
	assert_int_equal(fs_save(o->w.m.root, INSTALLED_CERTIFICATE, pem.data, pem.len, 0644, NULL), 0);
}

static struct town *town_new(void)
{
	struct town *o = xcalloc(1, sizeof(*o));

	test_key_make(&o->a, "A");
	test_key_make(&o->b, "B");
	test_key_make(&o->c, "C");
	tree_begin(&o->t);
	world_begin(&o->w, o->t.url);
	free((char *)o->w.opts.certpath);
	o->w.opts.certpath = NULL;
	o->w.opts.ignore_time = true;
	o->w.m.now = TEST_NOW;
	install_certificate(o, &o->a);
	return o;
}

static void town_free(struct town *o)
{
	world_end(&o->w);
	tree_end(&o->t);
	free(o);
}

/* As the next run would: what is in memory is forgotten, what is on disk stays. */
static void next_run(struct town *o)
{
	struct err e = ERR_INIT;

	trust_free(take(o->w.m.trust));
	anchors_free(take(o->w.m.anchors));
	assert_ok(trust_load(&o->w.m, &e), &e);
}

static void write_root(struct town *o, uint32_t number, const struct test_key *root, const struct test_key *release,
		       const struct test_key *const *by, size_t n)
{
	_cleanup_(strv_free) struct strv roots = {0}, releases = {0};
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *path = layout_root(number);
	struct signer signers[4];
	struct err e = ERR_INIT;

	strv_add(&roots, root->cert);
	strv_add(&releases, release->cert);
	for (size_t i = 0; i < n; i++)
		signers[i] = by[i]->signer;
	assert_ok(root_write(number, 1, &roots, &releases, signers, n, &text, &e), &e);
	tree_write(&o->t, path, text.data, text.len);
}

static void write_stamp(struct town *o, const char *text)
{
	assert_int_equal(fs_mkdirs(o->w.m.root, "usr/share/clear", 0755, NULL), 0);
	assert_int_equal(fs_save(o->w.m.root, INSTALLED_VERSIONSTAMP, text, strlen(text), 0644, NULL), 0);
}

TEST(trust_needs_a_certificate)
{
	struct town *o = town_new();
	struct err e = ERR_INIT;

	o->w.m.release = 10;
	assert_int_equal(fs_remove_tree(o->w.m.root, "usr", NULL), 0);
	assert_fails(trust_load(&o->w.m, &e), ERR_SIGNATURE, &e, "no certificate");
	trust_free(take(o->w.m.trust));
	o->w.opts.certpath = xstrdup("/nonexistent.pem");
	assert_int_equal(trust_load(&o->w.m, &e), -ERR_SIGNATURE);
	assert_non_null(strstr(e.hint, "--certpath"));
	err_clear(&e);
	trust_free(take(o->w.m.trust));
	o->w.opts.nosigcheck = true;
	assert_ok(trust_load(&o->w.m, &e), &e);
	town_free(o);
}

TEST(trust_ends_with_the_certificate)
{
	struct town *o = town_new();
	struct err e = ERR_INIT;

	o->w.m.now = TEST_NOW + 200LL * 366 * DAY;
	assert_int_equal(trust_load(&o->w.m, &e), -ERR_EXPIRED);
	err_clear(&e);
	town_free(o);
}

TEST(trust_finds_a_clock_that_is_behind)
{
	static const struct {
		const char *stamp;
		int64_t now;
		int want;
	} cases[] = {
		{"1763700000", 1763700000 - DAY - 1, -ERR_CLOCK},
		{"1763700000", 1763700000 - DAY, 0},
		{"1763700000\n", 1763700000 + 900LL * DAY, 0},
		{"17637000001234", 1763700000, 0}, /* only ten digits count */
		{"yesterday", 1763700000, -ERR_CLOCK},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct town *o = town_new();
		write_stamp(o, cases[i].stamp);
		o->w.m.release = 10;
		o->w.m.now = cases[i].now;
		assert_ok(trust_load(&o->w.m, &e), &e);
		o->w.opts.ignore_time = false;
		trust_free(take(o->w.m.trust));
		anchors_free(take(o->w.m.anchors));
		assert_int_equal(trust_load(&o->w.m, &e), cases[i].want);
		if (cases[i].want < 0)
			assert_non_null(strstr(e.hint, "--ignore-time"));
		err_clear(&e);
		town_free(o);
	}
}

TEST(trust_needs_a_version_stamp_only_where_something_is_installed)
{
	struct town *o = town_new();
	struct err e = ERR_INIT;

	o->w.opts.ignore_time = false;
	assert_ok(trust_load(&o->w.m, &e), &e);
	trust_free(take(o->w.m.trust));
	anchors_free(take(o->w.m.anchors));
	o->w.m.release = 10;
	assert_fails(trust_load(&o->w.m, &e), ERR_CLOCK, &e, "versionstamp");
	town_free(o);
}

TEST(freshness_stands_before_latest)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct town *o = town_new();
	struct err e = ERR_INIT;
	uint32_t release;

	tree_add_release(&o->t, &o->a, 20, &usr, 1);
	tree_write_latest(&o->t, &o->a, 10);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 0);
	next_run(o);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	assert_int_equal(release, 20);
	assert_int_equal(fs_load(o->w.m.data, "seen", 1000, &text, NULL), 0);
	assert_string_equal(text.data, "format 30 release 20 time 1763700000 freshness 1\n");
	town_free(o);
}

TEST(freshness_that_is_replayed_is_refused)
{
	struct town *o = town_new();
	struct err e = ERR_INIT;
	uint32_t release;

	tree_add_release(&o->t, &o->a, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 0);
	next_run(o);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	/* an older release, and an older statement about the same */
	tree_write_freshness(&o->t, &o->a, 10, TEST_NOW + 5, 0);
	next_run(o);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_STALE, &e, "release 20 was seen");
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW - 5, 0);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_STALE, &e, "2025-11-21");
	/* the same again, and a newer one */
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 0);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW + 5, 0);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	town_free(o);
}

TEST(freshness_cannot_be_left_out_once_it_was_there)
{
	_cleanup_free_ char *path = layout_freshness(30);
	struct town *o = town_new();
	struct err e = ERR_INIT;
	uint32_t release;

	tree_add_release(&o->t, &o->a, 20, &usr, 1);
	tree_write_latest(&o->t, &o->a, 20);
	next_run(o);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 0);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	assert_int_equal(fs_remove_tree(o->t.dir, path, NULL), 0);
	next_run(o);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_STALE, &e, "no freshness file");
	/* the user may say so */
	o->w.opts.nosigcheck = true;
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	town_free(o);
}

TEST(freshness_must_be_signed_of_our_format_and_in_time)
{
	struct town *o = town_new();
	struct err e = ERR_INIT;
	uint32_t release;

	tree_add_release(&o->t, &o->a, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->b, 20, TEST_NOW, 0);
	next_run(o);
	assert_int_equal(catalog_newest(&o->w.m, &release, &e), -ERR_SIGNATURE);
	err_clear(&e);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW - 40LL * DAY, 0);
	assert_int_equal(catalog_newest(&o->w.m, &release, &e), -ERR_EXPIRED);
	err_clear(&e);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW + 3LL * DAY, 0);
	assert_int_equal(catalog_newest(&o->w.m, &release, &e), -ERR_CLOCK);
	err_clear(&e);
	/* the statement about another format */
	_cleanup_(buf_free) struct buf text = {0};
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 0);
	assert_int_equal(fs_load(o->t.dir, "version/format30/freshness", 65536, &text, NULL), 0);
	tree_write(&o->t, "version/format31/freshness", text.data, text.len);
	o->w.m.format = 31;
	assert_int_equal(catalog_newest(&o->w.m, &release, &e), -ERR_SIGNATURE);
	err_clear(&e);
	assert_false(fs_exists(o->w.m.data, "seen"));
	town_free(o);
}

TEST(freshness_binds_the_mom)
{
	struct manifest *mom = NULL;
	struct town *o = town_new();
	struct err e = ERR_INIT;
	uint32_t release;

	tree_add_release(&o->t, &o->a, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 0);
	/* the same number, rightly signed, but other content */
	struct entry other = usr;
	other.hash.bytes[0] = 2;
	tree_add_release(&o->t, &o->a, 20, &other, 1);
	next_run(o);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	assert_fails(catalog_mom(&o->w.m, 20, &mom, &e), ERR_MOM, &e, "freshness");
	tree_add_release(&o->t, &o->a, 20, &usr, 1);
	assert_ok(catalog_mom(&o->w.m, 20, &mom, &e), &e);
	manifest_free(mom);
	town_free(o);
}

TEST(root_keys_are_learned_kept_and_replace_the_certificate)
{
	struct town *o = town_new();
	const struct test_key *const by_a[] = {&o->a}, *const by_ab[] = {&o->a, &o->b};
	struct manifest *mom = NULL;
	struct err e = ERR_INIT;
	uint32_t release;

	/* root 1: key A is root key and names B to sign releases; root 2: B is root key, and C signs */
	write_root(o, 1, &o->a, &o->b, by_a, 1);
	tree_add_release(&o->t, &o->b, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->b, 20, TEST_NOW, 1);
	next_run(o);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	assert_true(fs_exists(o->w.m.data, "trust/root"));
	assert_ok(catalog_mom(&o->w.m, 20, &mom, &e), &e);
	manifest_free(mom);
	write_root(o, 2, &o->b, &o->c, by_ab, 2);
	tree_add_release(&o->t, &o->c, 30, &usr, 1);
	tree_write_freshness(&o->t, &o->c, 30, TEST_NOW + 1, 2);
	next_run(o);
	assert_int_equal(root_number(o->w.m.trust->root), 1);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	assert_int_equal(root_number(o->w.m.trust->root), 2);
	next_run(o);
	assert_int_equal(root_number(o->w.m.trust->root), 2);
	/* the old key signs no more, whatever the certificate on disk says */
	tree_write_freshness(&o->t, &o->a, 40, TEST_NOW + 2, 2);
	assert_int_equal(catalog_newest(&o->w.m, &release, &e), -ERR_SIGNATURE);
	err_clear(&e);
	/* nor is there a way back to root 1 */
	tree_write_freshness(&o->t, &o->c, 40, TEST_NOW + 2, 1);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_STALE, &e, "root 2");
	town_free(o);
}

TEST(root_keys_that_nobody_vouches_for_are_not_learned)
{
	struct town *o = town_new();
	const struct test_key *const by_b[] = {&o->b}, *const by_a[] = {&o->a};
	struct err e = ERR_INIT;
	uint32_t release;

	/* self-made: B names itself */
	write_root(o, 1, &o->b, &o->b, by_b, 1);
	tree_add_release(&o->t, &o->b, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->b, 20, TEST_NOW, 1);
	next_run(o);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_SIGNATURE, &e, "version/root/1");
	/* it names A, too, but A did not sign */
	write_root(o, 1, &o->a, &o->b, by_b, 1);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_SIGNATURE, &e, "version/root/1");
	/* promised, but not there */
	write_root(o, 1, &o->a, &o->a, by_a, 1);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 4000000000);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_SIGNATURE, &e, "version/root/2");
	/* root 1 was good, and stays */
	next_run(o);
	assert_int_equal(root_number(o->w.m.trust->root), 1);
	town_free(o);
}

TEST(root_keys_of_one_command_line_do_not_outlive_it)
{
	struct town *o = town_new();
	const struct test_key *const by_b[] = {&o->b};
	struct err e = ERR_INIT;
	uint32_t release;

	write_root(o, 1, &o->b, &o->b, by_b, 1);
	tree_add_release(&o->t, &o->b, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->b, 20, TEST_NOW, 1);
	o->w.opts.certpath = xstrdup(o->b.cert);
	next_run(o);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	assert_false(fs_exists(o->w.m.data, "trust/root"));
	town_free(o);
}

TEST(root_file_named_on_the_command_line_begins_the_walk)
{
	struct town *o = town_new();
	const struct test_key *const by_a[] = {&o->a}, *const by_ab[] = {&o->a, &o->b}, *const by_bc[] = {&o->b, &o->c};
	struct err e = ERR_INIT;
	uint32_t release;

	write_root(o, 1, &o->a, &o->a, by_a, 1);
	write_root(o, 2, &o->b, &o->b, by_ab, 2);
	write_root(o, 3, &o->c, &o->c, by_bc, 2);
	tree_add_release(&o->t, &o->c, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->c, 20, TEST_NOW, 3);
	/* today's certificate is not enough: it did not sign root 1 */
	o->w.opts.certpath = xstrdup(o->c.cert);
	next_run(o);
	assert_fails(catalog_newest(&o->w.m, &release, &e), ERR_SIGNATURE, &e,
		     "not signed by an installed certificate");
	for (int n = 2; n <= 3; n++) {
		free((char *)o->w.opts.certpath);
		o->w.opts.certpath = xasprintf("%s/version/root/%d", o->t.path, n);
		next_run(o);
		assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	}
	assert_false(fs_exists(o->w.m.data, "trust/root"));
	tree_write(&o->t, "version/root/3", "ROOT\t1\n", 7);
	trust_free(take(o->w.m.trust));
	anchors_free(take(o->w.m.anchors));
	assert_fails(trust_load(&o->w.m, &e), ERR_SIGNATURE, &e, "version/root/3");
	town_free(o);
}

/* latest_version is signed by whoever signs today, and a mirror may be frozen: */
TEST(newest_of_all_is_believed_by_the_keys_and_the_time_of_freshness)
{
	struct town *o = town_new();
	const struct test_key *const by_a[] = {&o->a}, *const by_ab[] = {&o->a, &o->b};
	_cleanup_(buf_free) struct buf sig = {0};
	struct err e = ERR_INIT;
	uint32_t release;

	write_root(o, 1, &o->a, &o->a, by_a, 1);
	write_root(o, 2, &o->b, &o->b, by_ab, 2);
	tree_add_release(&o->t, &o->b, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->b, 20, TEST_NOW, 2);
	assert_ok(signature_make(&o->b.signer, "20", 2, &sig, &e), &e);
	tree_write(&o->t, "version/latest_version", "20", 2);
	tree_write(&o->t, "version/latest_version.sig", sig.data, sig.len);
	next_run(o);
	assert_ok(catalog_newest_any(&o->w.m, &release, &e), &e);
	assert_int_equal(release, 20);
	tree_write_freshness(&o->t, &o->b, 20, TEST_NOW - 40LL * DAY, 2);
	assert_fails(catalog_newest_any(&o->w.m, &release, &e), ERR_EXPIRED, &e, "expired");
	town_free(o);
}

/* Both are genuine, but a mirror has put an old one beside the other, or taken the other away. */
TEST(newest_of_all_cannot_be_held_back)
{
	struct town *o = town_new();
	_cleanup_free_ char *name = layout_freshness(o->w.m.format);
	_cleanup_free_ char *file = xasprintf("%s/%s", o->t.path, name);
	const struct test_key *const by_a[] = {&o->a};
	_cleanup_(buf_free) struct buf sig = {0};
	struct err e = ERR_INIT;
	uint32_t release;

	write_root(o, 1, &o->a, &o->a, by_a, 1);
	tree_add_release(&o->t, &o->a, 20, &usr, 1);
	assert_ok(signature_make(&o->a.signer, "10", 2, &sig, &e), &e);
	tree_write(&o->t, "version/latest_version", "10", 2);
	tree_write(&o->t, "version/latest_version.sig", sig.data, sig.len);
	next_run(o);
	assert_ok(catalog_newest_any(&o->w.m, &release, &e), &e);
	assert_int_equal(release, 10);
	tree_write_freshness(&o->t, &o->a, 20, TEST_NOW, 1);
	assert_ok(catalog_newest_any(&o->w.m, &release, &e), &e);
	assert_int_equal(release, 20);
	assert_int_equal(unlink(file), 0);
	assert_fails(catalog_newest_any(&o->w.m, &release, &e), ERR_STALE, &e, "no freshness file");
	o->w.opts.nosigcheck = true;
	assert_ok(catalog_newest_any(&o->w.m, &release, &e), &e);
	town_free(o);
}

TEST(root_keys_that_are_damaged_on_disk_are_an_error)
{
	struct town *o = town_new();
	struct err e = ERR_INIT;

	assert_int_equal(fs_mkdirs(o->w.m.data, "trust", 0755, NULL), 0);
	assert_int_equal(fs_save(o->w.m.data, "trust/root", "ROOT\t1\n", 7, 0644, NULL), 0);
	assert_fails(trust_load(&o->w.m, &e), ERR_SIGNATURE, &e, "root keys");
	town_free(o);
}

TEST(root_keys_are_found_without_the_data_directory)
{
	struct town *o = town_new();
	const struct test_key *const by_a[] = {&o->a};
	struct err e = ERR_INIT;
	uint32_t release;

	assert_int_equal(fs_mkdirs(o->w.m.root, INSTALLED_STATE, 0755, NULL), 0);
	closep(&o->w.m.data);
	o->w.m.data = fs_open_dir(o->w.m.root, INSTALLED_STATE, NULL);
	write_root(o, 1, &o->a, &o->b, by_a, 1);
	tree_add_release(&o->t, &o->b, 20, &usr, 1);
	tree_write_freshness(&o->t, &o->b, 20, TEST_NOW, 1);
	next_run(o);
	assert_ok(catalog_newest(&o->w.m, &release, &e), &e);
	closep(&o->w.m.data);
	o->w.m.data = -1;
	next_run(o);
	assert_int_equal(root_number(o->w.m.trust->root), 1);
	town_free(o);
}
