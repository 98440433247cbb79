/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/between.h"
#include "mixer/step/diff.h"
#include "mixer/step/release.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/delta.h"
#include "swupd/content/pack.h"
#include "tests/unit/mixed.h"

#define LARGE 20000

/* Two releases: what changes, moves, gets a new version, is new, is gone, and what a bundle takes over from another. */
static void two_releases(struct mixed *x)
{
	_cleanup_free_ char *one = mixed_noise(LARGE, 1), *moved = mixed_noise(LARGE, 2), *lib = mixed_noise(LARGE, 3),
			    *other = mixed_noise(LARGE, 4), *fresh = mixed_noise(LARGE, 5);

	mixed_bundle(x, "app", "os-core");
	mixed_file(x, "/usr/bin/one", 0755, one, LARGE);
	mixed_file(x, "/usr/share/moved-from", 0644, moved, LARGE);
	mixed_file(x, "/usr/lib/lib.so.1.2", 0644, lib, LARGE);
	mixed_text(x, "/usr/share/gone", "gone");
	mixed_text(x, "/usr/share/small", "small");
	mixed_bundle(x, "os-core", "");
	mixed_text(x, "/usr/lib/os-release", "VERSION_ID=10");
	mixed_bundle(x, "stranger", "os-core");
	mixed_file(x, "/usr/share/strange", 0644, other, LARGE);
	mixed_release(x, 10, 0);

	one[LARGE / 2]++;
	lib[LARGE / 3]++;
	other[5]++;
	mixed_bundle(x, "app", "os-core");
	mixed_file(x, "/usr/bin/one", 0755, one, LARGE);
	mixed_file(x, "/usr/share/moved-to", 0644, moved, LARGE);
	mixed_file(x, "/usr/lib/lib.so.1.3", 0644, lib, LARGE);
	mixed_file(x, "/usr/share/fresh", 0644, fresh, LARGE);
	mixed_file(x, "/usr/share/strange", 0644, other, LARGE);
	mixed_text(x, "/usr/share/small", "other");
	mixed_link(x, "/usr/share/link", "fresh");
	mixed_bundle(x, "os-core", "");
	mixed_text(x, "/usr/lib/os-release", "VERSION_ID=20");
	mixed_release(x, 20, 10);
}

static void diff(struct mixed *x, uint32_t from, uint32_t to)
{
	_cleanup_(between_clear) struct between b = {0};
	struct err e = ERR_INIT;

	assert_ok(between_open(&x->m, from, to, &b, &e), &e);
	assert_ok(diff_packs(&b, &e), &e);
	assert_ok(diff_manifests(&b, &e), &e);
}

static void read_member(struct pack *p, struct buf *out)
{
	struct err e = ERR_INIT;
	int n;

	do {
		n = pack_read(p, buf_reserve(out, 4096), 4096, &e);
		assert_ok(n, &e);
		out->len += (size_t)n;
	} while (n > 0);
	buf_puts(out, "");
}

/* The member gives the content that its hash says, the delta from what is in the store. */
static void check_member(const struct mixed *x, struct pack *p, const struct pack_member *m)
{
	_cleanup_(buf_free) struct buf data = {0}, old = {0}, new = {0};
	struct err e = ERR_INIT;
	struct attrs a = m->attrs;
	struct digest real;

	read_member(p, &data);
	if (m->is_delta) {
		assert_ok(store_load(x->m.store, &m->from, 1 << 20, &old, &e), &e);
		assert_ok(delta_apply(old.data, old.len, data.data, data.len, &a, &new, &e), &e);
		file_hash_mem(&a, new.data, new.len, &real);
	} else if (m->attrs.kind == KIND_LINK) {
		file_hash_mem(&a, m->link, strlen(m->link), &real);
	} else {
		file_hash_mem(&a, data.data, data.len, &real);
	}
	assert_true(digest_equal(&real, &m->hash));
}

/* "delta" or "object" of each path that the pack brings, with blanks between, in order of paths. */
static char *describe_pack(const struct mixed *x, uint32_t release, const char *bundle, uint32_t from)
{
	_cleanup_free_ char *path = xasprintf("update/www/%u/pack-%s-from-%u.tar", release, bundle, from);
	_cleanup_close_ int fd = openat(x->config.dir, path, O_RDONLY | O_CLOEXEC);
	_cleanup_(release_freep) struct release *r = NULL;
	_cleanup_(pack_closep) struct pack *p = NULL;
	_cleanup_(strv_free) struct strv found = {0};
	struct pack_member m;
	struct err e = ERR_INIT;
	bool objects = false;
	int result;

	assert_true(fd >= 0);
	assert_ok(release_load(&x->m, release, &r, &e), &e);
	assert_ok(pack_open(fd, &p, &e), &e);
	const struct manifest *bundle_manifest = release_find(r, bundle);
	while ((result = pack_next(p, &m, &e)) > 0) {
		check_member(x, p, &m);
		assert_false(objects && m.is_delta); /* deltas come first */
		objects = !m.is_delta;
		for (size_t i = 0; i < bundle_manifest->n_entries; i++)
			if (digest_equal(&bundle_manifest->entries[i].hash, &m.hash))
				strv_take(&found, xasprintf("%s:%s", bundle_manifest->entries[i].name,
							    m.is_delta ? "delta" : "object"));
	}
	assert_ok(result, &e);
	strv_sort_unique(&found);
	return strv_join(&found, " ");
}

TEST(diff_packs_has_deltas_and_objects_of_what_the_bundle_got)
{
	struct mixed x;

	mixed_begin(&x);
	two_releases(&x);
	diff(&x, 10, 20);
	/* moved-to is made of moved-from; a client with app need not have stranger, so strange is whole */
	_cleanup_free_ char *app = describe_pack(&x, 20, "app", 10);
	assert_string_equal(app, "/usr/bin/one:delta /usr/lib/lib.so.1.3:delta /usr/share/fresh:object "
				 "/usr/share/link:object /usr/share/moved-to:delta /usr/share/small:object "
				 "/usr/share/strange:object");
	_cleanup_free_ char *core = describe_pack(&x, 20, "os-core", 10);
	assert_string_equal(core, "/usr/lib/os-release:object");
	assert_false(fs_exists(x.config.dir, "update/www/20/pack-stranger-from-10.tar"));
	assert_false(fs_exists(x.config.dir, "update/www/.new-packs-10-20"));
	mixed_end(&x);
}

static size_t count(int dirfd, const char *path)
{
	_cleanup_(strv_free) struct strv names = {0};

	return fs_list(dirfd, path, &names, NULL) < 0 ? 0 : names.n;
}

TEST(diff_packs_publishes_deltas_only_for_the_predecessor)
{
	for (int classic = 0; classic < 2; classic++) {
		struct mixed x;
		mixed_begin(&x);
		x.config.classic = classic;
		two_releases(&x);
		diff(&x, 10, 20);
		assert_int_equal(count(x.config.dir, "update/www/20/delta"), classic ? 3 : 0);
		mixed_end(&x);
	}
}

/* The cached deltas, each with its bytes. */
static size_t cached_deltas(const struct mixed *x, struct strv *out)
{
	_cleanup_(strv_free) struct strv dirs = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_list(x->m.cache, "deltas", &dirs, &e), &e);
	for (size_t i = 0; i < dirs.n; i++) {
		_cleanup_(strv_free) struct strv files = {0};
		_cleanup_free_ char *dir = xasprintf("deltas/%s", dirs.items[i]);
		assert_ok(fs_list(x->m.cache, dir, &files, &e), &e);
		for (size_t k = 0; k < files.n; k++)
			strv_take(out, xasprintf("%s/%s", dir, files.items[k]));
	}
	return out->n;
}

TEST(diff_packs_makes_a_delta_once)
{
	_cleanup_(strv_free) struct strv files = {0};
	struct stat before[8], after;
	struct mixed x;

	mixed_begin(&x);
	two_releases(&x);
	diff(&x, 10, 20);
	assert_int_equal(cached_deltas(&x, &files), 3);
	for (size_t i = 0; i < files.n; i++)
		assert_int_equal(fstatat(x.m.cache, files.items[i], &before[i], 0), 0);
	_cleanup_free_ char *want = describe_pack(&x, 20, "app", 10);
	assert_int_equal(unlinkat(x.config.dir, "update/www/20/pack-app-from-10.tar", 0), 0);
	diff(&x, 10, 20);
	_cleanup_free_ char *again = describe_pack(&x, 20, "app", 10);
	assert_string_equal(again, want);
	for (size_t i = 0; i < files.n; i++) {
		assert_int_equal(fstatat(x.m.cache, files.items[i], &after, 0), 0);
		assert_int_equal(after.st_ino, before[i].st_ino);
	}
	/* what a crash of the machine leaves is no delta */
	for (size_t i = 0; i < files.n; i++)
		assert_int_equal(fs_save_cache(x.m.cache, files.items[i], "", 0, 0644, NULL), 0);
	assert_int_equal(unlinkat(x.config.dir, "update/www/20/pack-app-from-10.tar", 0), 0);
	assert_int_equal(fs_remove_tree(x.m.cache, "parts", NULL), 0);
	diff(&x, 10, 20);
	_cleanup_free_ char *healed = describe_pack(&x, 20, "app", 10);
	assert_string_equal(healed, want);
	mixed_end(&x);
}

TEST(diff_packs_leaves_a_pack_that_is_there)
{
	struct mixed x;
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	mixed_begin(&x);
	two_releases(&x);
	assert_ok(fs_save_cache(x.config.dir, "update/www/20/pack-app-from-10.tar", "mine", 4, 0644, &e), &e);
	diff(&x, 10, 20);
	assert_ok(fs_load(x.config.dir, "update/www/20/pack-app-from-10.tar", 100, &text, &e), &e);
	assert_string_equal(text.data, "mine");
	mixed_end(&x);
}

TEST(diff_packs_takes_content_from_fullfiles_when_the_cache_is_lost)
{
	struct mixed x;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	two_releases(&x);
	assert_ok(fs_remove_tree(x.m.cache, "objects", &e), &e);
	store_close(x.m.store);
	assert_ok(store_open(x.m.cache, &x.m.store, &e), &e);
	diff(&x, 10, 20);
	_cleanup_free_ char *app = describe_pack(&x, 20, "app", 10);
	assert_non_null(strstr(app, "/usr/bin/one:delta"));
	mixed_end(&x);
}

TEST(diff_packs_says_when_a_release_is_too_old)
{
	struct mixed x;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	two_releases(&x);
	assert_ok(fs_remove_tree(x.config.dir, "update/releases/10", &e), &e);
	_cleanup_(between_clear) struct between b = {0};
	assert_ok(between_open(&x.m, 10, 20, &b, &e), &e);
	assert_fails(diff_packs(&b, &e), ERR_MISSING, &e, "update/releases/10");
	mixed_end(&x);
}

TEST(diff_packs_goes_from_the_release_of_the_bundle)
{
	_cleanup_free_ char *data = mixed_noise(LARGE, 7);
	struct mixed x;

	mixed_begin(&x);
	two_releases(&x);
	/* app stays at 20, os-core goes on to 30: from 10 to 30 there are two packs, in two directories */
	_cleanup_free_ char *one = mixed_noise(LARGE, 1), *moved = mixed_noise(LARGE, 2), *lib = mixed_noise(LARGE, 3),
			    *other = mixed_noise(LARGE, 4), *fresh = mixed_noise(LARGE, 5);
	one[LARGE / 2]++;
	lib[LARGE / 3]++;
	other[5]++;
	mixed_bundle(&x, "app", "os-core");
	mixed_file(&x, "/usr/bin/one", 0755, one, LARGE);
	mixed_file(&x, "/usr/share/moved-to", 0644, moved, LARGE);
	mixed_file(&x, "/usr/lib/lib.so.1.3", 0644, lib, LARGE);
	mixed_file(&x, "/usr/share/fresh", 0644, fresh, LARGE);
	mixed_file(&x, "/usr/share/strange", 0644, other, LARGE);
	mixed_text(&x, "/usr/share/small", "other");
	mixed_link(&x, "/usr/share/link", "fresh");
	mixed_bundle(&x, "os-core", "");
	mixed_text(&x, "/usr/lib/os-release", "VERSION_ID=30");
	mixed_file(&x, "/usr/lib/core", 0644, data, LARGE);
	mixed_release(&x, 30, 20);
	diff(&x, 10, 30);
	assert_true(fs_exists(x.config.dir, "update/www/20/pack-app-from-10.tar"));
	_cleanup_free_ char *core = describe_pack(&x, 30, "os-core", 10);
	assert_string_equal(core, "/usr/lib/core:object /usr/lib/os-release:object");
	diff(&x, 20, 30);
	assert_true(fs_exists(x.config.dir, "update/www/30/pack-os-core-from-20.tar"));
	assert_false(fs_exists(x.config.dir, "update/www/30/pack-app-from-20.tar"));
	mixed_end(&x);
}

static void load(const struct mixed *x, const char *path, struct buf *out)
{
	struct err e = ERR_INIT;

	assert_ok(fs_load(x->config.dir, path, 1 << 20, out, &e), &e);
}

TEST(diff_manifests_makes_the_new_manifest_of_the_old_one)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0}, made = {0};
	struct err e = ERR_INIT;
	struct attrs a;
	struct mixed x;

	mixed_begin(&x);
	for (uint32_t release = 10; release <= 20; release += 10) {
		mixed_bundle(&x, "os-core", "");
		for (unsigned i = 0; i < 100; i++) {
			_cleanup_free_ char *path = xasprintf("/usr/share/file-%u", i);
			_cleanup_free_ char *text = xasprintf("%u of %u", i, i == 50 ? release : 0);
			mixed_text(&x, path, text);
		}
		mixed_release(&x, release, release - 10);
	}
	diff(&x, 10, 20);
	load(&x, "update/www/10/Manifest.os-core", &old);
	load(&x, "update/www/20/Manifest.os-core", &new);
	load(&x, "update/www/20/Manifest-os-core-delta-from-10", &delta);
	assert_ok(delta_apply(old.data, old.len, delta.data, delta.len, &a, &made, &e), &e);
	assert_int_equal(made.len, new.len);
	assert_memory_equal(made.data, new.data, new.len);
	assert_int_equal(a.mode, 0644);
	assert_int_equal(a.uid, 0);
	assert_true(delta.len < 500);
	mixed_end(&x);
}
