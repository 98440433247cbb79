/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/archive.h"
#include "mixer/input/config.h"
#include "mixer/input/download.h"
#include "mixer/input/inrelease.h"
#include "mixer/input/package.h"
#include "mixer/step/step.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define GOLDEN   "tests/golden/archive/"
#define JAN_2026 1767225600 /* of InRelease */
#define JUN_2026 1780272000 /* of InRelease.newer */

/* An archive of its own for each test, below file:, and a workspace that uses it */
struct fixture {
	char path[4096]; /* of the archive */
	int dir, cache;
	struct config *config;
	struct mix mix;
};

static void copy(const char *from, int dir, const char *to)
{
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_free_ char *path = xasprintf(GOLDEN "%s", from);
	_cleanup_free_ char *parent = xstrdup(to);
	struct err e = ERR_INIT;

	*strrchr(parent, '/') = '\0';
	assert_ok(fs_mkdirs(dir, parent, 0755, &e), &e);
	assert_ok(fs_load(AT_FDCWD, path, 1 << 20, &b, &e), &e);
	assert_ok(fs_save_cache(dir, to, b.data, b.len, 0644, &e), &e);
}

/* Where the archive has its index, by its digest */
static char *index_path(void)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;
	struct digest d;
	char hex[DIGEST_HEX];

	assert_ok(fs_load(AT_FDCWD, GOLDEN "Packages.xz", 1 << 20, &b, &e), &e);
	sha256_mem(b.data, b.len, &d);
	digest_format(&d, hex);
	return xasprintf("dists/trial/main/binary-amd64/by-hash/SHA256/%s", hex);
}

static void fixture_open(struct fixture *f, const char *inrelease)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0), *index = index_path();
	struct err e = ERR_INIT;

	f->dir = test_dir(f->path, sizeof(f->path));
	copy(inrelease, f->dir, "dists/trial/InRelease");
	copy("Packages.xz", f->dir, index);
	copy("a_1_amd64.deb", f->dir, "pool/main/a_1_amd64.deb");
	copy("b_2_all.deb", f->dir, "pool/main/b_2_all.deb");
	f->cache = test_dir(NULL, 0);
	_cleanup_free_ char *text =
		xasprintf("[repository test]\nuri = file://%s/\nsuite = trial\nkeyring = %s/" GOLDEN "keyring.gpg\n"
			  "[repository local]\npath = debs\npriority = 900\n",
			  f->path, cwd);
	assert_ok(config_parse(text, strlen(text), "mixer.conf", test_dir(NULL, 0), f->path, &f->config, &e), &e);
	f->mix = (struct mix){.config = f->config, .cache = f->cache};
}

static void fixture_close(struct fixture *f)
{
	config_free(f->config);
	close(f->dir);
	close(f->cache);
}

static int load(const struct fixture *f, struct package_list *l, struct lock *lock, int64_t now, int64_t *date,
		struct err *e)
{
	_cleanup_(downloader_freep) struct downloader *d = downloader_new();
	_cleanup_(buf_free) struct buf targets = {0};

	return archive_load(f->config, f->cache, &f->config->repositories[0], &targets, d, now, NULL, l, NULL, lock,
			    date, e);
}

static int load_only(const struct fixture *f, int64_t now, struct err *e)
{
	_cleanup_(package_list_freep) struct package_list *l = package_list_new();
	_cleanup_(lock_freep) struct lock *lock = lock_new();
	int64_t date;

	return load(f, l, lock, now, &date, e);
}

TEST(archive_gives_its_packages_and_what_a_lock_says_of_it)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(package_list_freep) struct package_list *l = package_list_new();
	_cleanup_(lock_freep) struct lock *lock = lock_new();
	struct err e = ERR_INIT;
	int64_t date = 0;

	fixture_open(&f, "InRelease");
	assert_ok(load(&f, l, lock, JAN_2026 + 1, &date, &e), &e);
	assert_int_equal(l->n, 2);
	assert_string_equal(l->items[0].name, "a");
	assert_string_equal(l->items[0].depends, "b");
	assert_string_equal(l->items[0].file, "pool/main/a_1_amd64.deb");
	assert_string_equal(l->items[0].repository, "test");
	assert_int_equal(l->items[0].size, 13);
	assert_string_equal(l->items[1].arch, "all");
	assert_int_equal(date, JAN_2026);
	assert_int_equal(lock->n_archives, 1);
	assert_string_equal(lock->archives[0].date, "2026-01-01T00:00:00Z");
	assert_string_equal(lock->archives[0].suite, "trial");
}

TEST(archive_is_loaded_again_from_the_cache)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_free_ char *index = index_path();
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	assert_ok(load_only(&f, JAN_2026, &e), &e);
	assert_int_equal(unlinkat(f.dir, index, 0), 0);
	assert_ok(load_only(&f, JAN_2026, &e), &e);
}

TEST(archive_notices_a_damaged_cache)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_free_ char *index = index_path();
	_cleanup_free_ char *cached = xasprintf("indexes/%s", strrchr(index, '/') + 1);
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	assert_ok(load_only(&f, JAN_2026, &e), &e);
	assert_ok(fs_save_cache(f.cache, cached, "damaged", 7, 0644, &e), &e);
	assert_ok(load_only(&f, JAN_2026, &e), &e);
}

TEST(archive_refuses_what_another_key_signed)
{
	_cleanup_(fixture_close) struct fixture f;
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease.stranger");
	int r = load_only(&f, JAN_2026, &e);
	assert_true(e.hint && strstr(e.hint, "keyring"));
	assert_fails(r, ERR_SIGNATURE, &e, "it is signed by key ");
}

TEST(archive_refuses_a_changed_or_unsigned_index)
{
	static const struct {
		const char *from, *to, *part;
	} cases[] = {
		{"Suite: stable", "Suite: stabel", "it was changed after it was signed"},
		{"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n", "", "it is not signed"},
	};
	_cleanup_(buf_free) struct buf good = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_load(AT_FDCWD, GOLDEN "InRelease", 1 << 20, &good, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(fixture_close) struct fixture f;
		_cleanup_(buf_free) struct buf bad = {0};
		fixture_open(&f, "InRelease");
		const char *at = strstr(good.data, cases[i].from);
		buf_add(&bad, good.data, (size_t)(at - good.data));
		buf_puts(&bad, cases[i].to);
		buf_puts(&bad, at + strlen(cases[i].from));
		assert_ok(fs_save_cache(f.dir, "dists/trial/InRelease", bad.data, bad.len, 0644, &e), &e);
		assert_fails(load_only(&f, JAN_2026, &e), ERR_SIGNATURE, &e, cases[i].part);
	}
}

TEST(archive_takes_only_the_signed_part)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	assert_ok(fs_load(f.dir, "dists/trial/InRelease", 1 << 20, &b, &e), &e);
	_cleanup_free_ char *before = xasprintf("Codename: evil\nAcquire-By-Hash: no\n%s\nSuite: evil\n", b.data);
	assert_ok(fs_save_cache(f.dir, "dists/trial/InRelease", before, strlen(before), 0644, &e), &e);
	assert_ok(load_only(&f, JAN_2026, &e), &e);
}

TEST(archive_refuses_an_index_whose_time_is_over)
{
	_cleanup_(fixture_close) struct fixture f;
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease.expired");
	assert_ok(load_only(&f, JAN_2026 + 7 * 86400, &e), &e);
	int r = load_only(&f, JAN_2026 + 7 * 86400 + 1, &e);
	assert_fails(r, ERR_EXPIRED, &e, "it was valid until 2026-01-08T00:00:00Z only");
}

TEST(archive_refuses_another_suites_index)
{
	_cleanup_(fixture_close) struct fixture f;
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	copy("InRelease", f.dir, "dists/other/InRelease");
	free(f.config->repositories[0].suite);
	f.config->repositories[0].suite = xstrdup("other");
	assert_fails(load_only(&f, JAN_2026, &e), ERR_SIGNATURE, &e,
		     "it is for suite 'stable' ('trial'), not for 'other'");
}

TEST(archive_cannot_take_back_a_newer_index)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(package_list_freep) struct package_list *l = package_list_new();
	_cleanup_(lock_freep) struct lock *lock = lock_new();
	const struct timespec later[2] = {{.tv_sec = 2000000000}, {.tv_sec = 2000000000}};
	struct err e = ERR_INIT;
	int64_t date = 0;

	fixture_open(&f, "InRelease.newer");
	assert_ok(load_only(&f, JUN_2026, &e), &e);
	copy("InRelease", f.dir, "dists/trial/InRelease");
	assert_int_equal(utimensat(f.dir, "dists/trial/InRelease", later, 0), 0);
	assert_ok(load(&f, l, lock, JUN_2026, &date, &e), &e);
	assert_int_equal(date, JUN_2026);
}

TEST(archive_without_a_component_says_so)
{
	_cleanup_(fixture_close) struct fixture f;
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	strv_add(&f.config->repositories[0].components, "contrib");
	assert_fails(load_only(&f, JAN_2026, &e), ERR_CONFIG, &e, "suite 'trial' has no component 'contrib' for amd64");
}

TEST(archive_that_is_not_there_is_missing)
{
	_cleanup_(fixture_close) struct fixture f;
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	assert_int_equal(unlinkat(f.dir, "dists/trial/InRelease", 0), 0);
	assert_fails(load_only(&f, JAN_2026, &e), ERR_MISSING, &e,
		     "repository 'test': InRelease of 'trial': there is no ");
}

static void read_text(const char *text, struct inrelease **out)
{
	struct err e = ERR_INIT;

	assert_ok(inrelease_parse(text, strlen(text), out, &e), &e);
}

#define HASH "0000000000000000000000000000000000000000000000000000000000000000"

TEST(inrelease_tells_where_packages_for_all_are)
{
	static const struct {
		const char *fields;
		bool apart;
	} cases[] = {
		{"Architectures: amd64 arm64\n", false},
		{"Architectures: all amd64\n", true},
		{"Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(inrelease_freep) struct inrelease *r = NULL;
		_cleanup_free_ char *text =
			xasprintf("Date: Thu, 01 Jan 2026 00:00:00 UTC\n%sSHA256:\n " HASH " 1 x\n", cases[i].fields);
		read_text(text, &r);
		assert_int_equal(r->all_apart, cases[i].apart);
		assert_non_null(inrelease_find(r, "x"));
		assert_null(inrelease_find(r, "y"));
	}
}

TEST(inrelease_refuses_what_says_too_little)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"SHA256:\n " HASH " 1 x\n", "it has no Date"},
		{"Date: Thu, 01 Jan 2026 00:00:00 UTC\nMD5Sum:\n 00 1 x\n", "it has no list of files with SHA256"},
		{"Date: yesterday\n", "'yesterday' is no date"},
		{"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n 00 1 x\n", "its list of files is damaged"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct inrelease *r = NULL;
		struct err e = ERR_INIT;
		assert_fails(inrelease_parse(cases[i].text, strlen(cases[i].text), &r, &e), ERR_FORMAT, &e,
			     cases[i].part);
	}
}

/* A .deb with a control file, nothing else */
static void write_deb(int dir, const char *name, const char *control, const char *member)
{
	char tar[65536], deb[131072];
	size_t tar_len = 0, deb_len = 0;
	struct err e = ERR_INIT;
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();

	archive_write_set_format_ustar(a);
	archive_write_add_filter_xz(a);
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open_memory(a, tar, sizeof(tar), &tar_len), ARCHIVE_OK);
	archive_entry_set_pathname(entry, "./control");
	archive_entry_set_mode(entry, S_IFREG | 0644);
	archive_entry_set_size(entry, (la_int64_t)strlen(control));
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	archive_write_data(a, control, strlen(control));
	archive_write_close(a);
	archive_write_free(a);

	a = archive_write_new();
	archive_write_set_format_ar_svr4(a);
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open_memory(a, deb, sizeof(deb), &deb_len), ARCHIVE_OK);
	const struct {
		const char *name, *data;
		size_t len;
	} members[] = {{"debian-binary", "2.0\n", 4}, {member, tar, tar_len}};
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		archive_entry_clear(entry);
		archive_entry_set_pathname(entry, members[i].name);
		archive_entry_set_mode(entry, S_IFREG | 0644);
		archive_entry_set_size(entry, (la_int64_t)members[i].len);
		archive_entry_set_mtime(entry, JAN_2026, 0);
		assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
		archive_write_data(a, members[i].data, members[i].len);
	}
	archive_write_close(a);
	archive_write_free(a);
	archive_entry_free(entry);
	assert_ok(fs_save_cache(dir, name, deb, deb_len, 0644, &e), &e);
}

#define CONTROL "Package: own\nVersion: 1:2-3\nArchitecture: amd64\nSource: src (2-3)\nDepends: a,\n b (>= 2)\n"

/* The directory of the fixture's second repository */
static int make_local(const struct fixture *f)
{
	struct err e = ERR_INIT;
	int fd = fs_make_dir(f->dir, "debs", 0755, &e);

	assert_ok(fd, &e);
	return fd;
}

TEST(directory_gives_what_its_debs_say)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(package_list_freep) struct package_list *l = package_list_new();
	struct err e = ERR_INIT;
	struct stat st;

	fixture_open(&f, "InRelease");
	assert_ok(directory_load(f.config, &f.config->repositories[1], l, &e), &e); /* not there: no packages */
	assert_int_equal(l->n, 0);
	_cleanup_close_ int debs = make_local(&f);
	write_deb(debs, "own.deb", CONTROL, "control.tar.xz");
	write_deb(debs, "arm.deb", "Package: arm\nVersion: 1\nArchitecture: arm64\n", "control.tar.xz");
	assert_ok(fs_save_cache(debs, "README", "no package", 10, 0644, &e), &e);
	assert_ok(directory_load(f.config, &f.config->repositories[1], l, &e), &e);
	assert_int_equal(l->n, 1);
	assert_string_equal(l->items[0].name, "own");
	assert_string_equal(l->items[0].version, "1:2-3");
	assert_string_equal(l->items[0].source, "src");
	assert_string_equal(l->items[0].source_version, "2-3");
	assert_string_equal(l->items[0].file, "own.deb");
	assert_int_equal(l->items[0].priority, 900);
	assert_int_equal(l->items[0].time, JAN_2026);
	assert_int_equal(fstatat(debs, "own.deb", &st, 0), 0);
	assert_int_equal(l->items[0].size, st.st_size);
}

TEST(directory_names_a_damaged_deb)
{
	static const struct {
		const char *control, *member, *part;
	} cases[] = {
		{"no field\n", "control.tar.xz", "bad.deb is no proper .deb: line 1 is no 'Field: value'"},
		{"Package: x\nVersion: 1\n", "control.tar.xz",
		 "bad.deb is no proper .deb: package 'x' has no architecture"},
		{CONTROL, "data.tar.xz", "bad.deb is no proper .deb: it has no control.tar"},
		{"", "control.tar.xz", "bad.deb is no proper .deb: its control file is empty"},
	};
	_cleanup_(fixture_close) struct fixture f;
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	_cleanup_close_ int debs = make_local(&f);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(package_list_freep) struct package_list *l = package_list_new();
		write_deb(debs, "bad.deb", cases[i].control, cases[i].member);
		int r = directory_load(f.config, &f.config->repositories[1], l, &e);
		assert_fails(r, ERR_FORMAT, &e, cases[i].part);
	}
	_cleanup_(package_list_freep) struct package_list *l = package_list_new();
	assert_ok(fs_save_cache(debs, "bad.deb", "just text", 9, 0644, &e), &e);
	assert_fails(directory_load(f.config, &f.config->repositories[1], l, &e), ERR_FORMAT, &e, "bad.deb");
}

/* Locks a from the archive and own from the directory */
static void lock_all(const struct fixture *f, struct lock *lock)
{
	struct package_list *l = package_list_new();
	struct err e = ERR_INIT;
	int64_t date;

	assert_ok(load(f, l, lock, JAN_2026, &date, &e), &e);
	assert_ok(directory_load(f->config, &f->config->repositories[1], l, &e), &e);
	for (size_t i = 0; i < l->n; i++) {
		const struct package *p = &l->items[i];
		VEC_GROW(lock->packages, lock->n_packages, lock->cap_packages);
		lock->packages[lock->n_packages++] = (struct locked_package){
			.name = arena_strdup(lock->arena, p->name),
			.sha256 = p->sha256,
			.size = p->size,
			.repository = arena_strdup(lock->arena, p->repository),
			.file = arena_strdup(lock->arena, p->file),
		};
	}
	package_list_free(l);
}

TEST(fetch_brings_packages_from_archives_and_directories)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(lock_freep) struct lock *lock = lock_new();
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	_cleanup_close_ int debs = make_local(&f);
	write_deb(debs, "own.deb", CONTROL, "control.tar.xz");
	lock_all(&f, lock);
	assert_ok(fetch_packages(&f.mix, lock, &e), &e);
	assert_ok(fs_list(f.cache, "debs", &names, &e), &e);
	assert_int_equal(names.n, 3);
	for (size_t i = 0; i < lock->n_packages; i++) {
		char hex[DIGEST_HEX];
		digest_format(&lock->packages[i].sha256, hex);
		_cleanup_free_ char *name = xasprintf("%s.deb", hex);
		assert_true(strv_has(&names, name));
	}
	/* what is there is not asked for again */
	assert_int_equal(unlinkat(f.dir, "pool/main/a_1_amd64.deb", 0), 0);
	assert_int_equal(unlinkat(debs, "own.deb", 0), 0);
	assert_ok(fetch_packages(&f.mix, lock, &e), &e);
}

static char *cached_path(const struct lock *lock, size_t i, const char *suffix)
{
	char hex[DIGEST_HEX];

	digest_format(&lock->packages[i].sha256, hex);
	return xasprintf("debs/%s.deb%s", hex, suffix);
}

TEST(fetch_goes_on_with_what_an_interrupted_run_left)
{
	static const char *const beginnings[] = {"the pack", "the PACK", "much more than the package has"};
	struct err e = ERR_INIT;

	/* the beginning of the file, of another one, and more than it has */
	for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
		_cleanup_(fixture_close) struct fixture f;
		_cleanup_(lock_freep) struct lock *lock = lock_new();
		_cleanup_(buf_free) struct buf got = {0};
		fixture_open(&f, "InRelease");
		lock_all(&f, lock);
		_cleanup_free_ char *part = cached_path(lock, 0, ".part"), *whole = cached_path(lock, 0, "");
		assert_ok(fs_mkdirs(f.cache, "debs", 0755, &e), &e);
		assert_ok(fs_save_cache(f.cache, part, beginnings[i], strlen(beginnings[i]), 0644, &e), &e);
		assert_ok(fetch_packages(&f.mix, lock, &e), &e);
		assert_ok(fs_load(f.cache, whole, 100, &got, &e), &e);
		assert_string_equal(got.data, "the package a");
		assert_false(fs_exists(f.cache, part));
	}
}

TEST(fetch_refuses_a_package_that_is_not_the_locked_one)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(lock_freep) struct lock *lock = lock_new();
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	lock_all(&f, lock);
	assert_ok(fs_save_cache(f.dir, "pool/main/a_1_amd64.deb", "the package A", 13, 0644, &e), &e);
	int r = fetch_packages(&f.mix, lock, &e);
	assert_true(e.hint && strstr(e.hint, "'mixer lock'"));
	assert_fails(r, ERR_DIGEST, &e, "package 'a': file://");
	assert_ok(fs_save_cache(f.dir, "pool/main/a_1_amd64.deb", "short", 5, 0644, &e), &e);
	assert_fails(fetch_packages(&f.mix, lock, &e), ERR_DIGEST, &e, "has 5 bytes instead of 13");
	assert_ok(fs_save_cache(f.dir, "pool/main/a_1_amd64.deb", "the package a, longer", 21, 0644, &e), &e);
	assert_fails(fetch_packages(&f.mix, lock, &e), ERR_DIGEST, &e, "is larger than 13 bytes");
	assert_int_equal(unlinkat(f.dir, "pool/main/a_1_amd64.deb", 0), 0);
	r = fetch_packages(&f.mix, lock, &e);
	assert_true(e.hint && strstr(e.hint, "'mixer lock'"));
	assert_fails(r, ERR_MISSING, &e, "package 'a'");
}

TEST(fetch_refuses_a_file_of_a_directory_that_is_not_the_locked_one)
{
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(lock_freep) struct lock *lock = lock_new();
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	_cleanup_close_ int debs = make_local(&f);
	write_deb(debs, "own.deb", CONTROL, "control.tar.xz");
	lock_all(&f, lock);
	assert_ok(fs_save_cache(debs, "own.deb", "new", 3, 0644, &e), &e);
	assert_fails(fetch_packages(&f.mix, lock, &e), ERR_DIGEST, &e, "is not what is locked");
	assert_int_equal(unlinkat(debs, "own.deb", 0), 0);
	assert_fails(fetch_packages(&f.mix, lock, &e), ERR_MISSING, &e, "is not there any more");
}

TEST(resolve_writes_a_lock_that_is_current_until_a_wish_changes)
{
	static const char definition[] = "a\n", other[] = "a\nb\n";
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(bundle_set_free) struct bundle_set set = {0}, changed = {0};
	_cleanup_(lock_freep) struct lock *first = NULL, *second = NULL, *parsed = NULL;
	_cleanup_(buf_free) struct buf a = {0}, b = {0};
	const struct strv only = {.items = (char *[]){(char *)"nowhere"}, .n = 1};
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	set.items = xcalloc(1, sizeof(*set.items));
	set.n = 1;
	assert_ok(bundle_parse(definition, strlen(definition), "os-core", "os-core", false, &set.items[0], &e), &e);
	changed.items = xcalloc(1, sizeof(*set.items));
	changed.n = 1;
	assert_ok(bundle_parse(other, strlen(other), "os-core", "os-core", false, &changed.items[0], &e), &e);
	assert_ok(resolve(&f.mix, &set, NULL, false, NULL, &first, &e), &e);
	uint32_t id;
	assert_ok(lock_id(first, "user", "someone", &id, &e), &e);
	assert_ok(resolve(&f.mix, &set, NULL, true, first, &second, &e), &e);
	lock_format(first, &a);
	lock_format(second, &b);
	assert_string_equal(a.data, b.data); /* the ids, too */
	assert_ok(lock_parse(a.data, a.len, &parsed, &e), &e);
	assert_int_equal(parsed->time, JAN_2026);
	assert_true(resolve_is_current(&f.mix, &set, parsed));
	assert_false(resolve_is_current(&f.mix, &changed, parsed));
	f.config->repositories[0].priority++;
	assert_false(resolve_is_current(&f.mix, &set, parsed));
	struct lock *none = NULL;
	assert_fails(resolve(&f.mix, &set, &only, false, NULL, &none, &e), ERR_USAGE, &e,
		     "there is no repository 'nowhere'");
}

TEST(resolve_without_an_archive_takes_the_time_of_its_newest_package)
{
	static const char definition[] = "own\n";
	static const char control[] = "Package: own\nVersion: 1\nArchitecture: all\n";
	const struct strv only = {.items = (char *[]){(char *)"local"}, .n = 1};
	_cleanup_(fixture_close) struct fixture f;
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(lock_freep) struct lock *l = NULL, *kept = NULL;
	struct err e = ERR_INIT;

	fixture_open(&f, "InRelease");
	_cleanup_close_ int debs = make_local(&f);
	write_deb(debs, "own.deb", control, "control.tar.xz");
	set.items = xcalloc(1, sizeof(*set.items));
	set.n = 1;
	assert_ok(bundle_parse(definition, strlen(definition), "os-core", "os-core", false, &set.items[0], &e), &e);
	assert_ok(resolve(&f.mix, &set, &only, false, NULL, &l, &e), &e);
	assert_int_equal(l->time, JAN_2026);
	assert_int_equal(l->n_archives, 0);

	/* what is kept may be gone from its repository when it is in the cache */
	assert_ok(fetch_packages(&f.mix, l, &e), &e);
	assert_int_equal(unlinkat(debs, "own.deb", 0), 0);
	assert_ok(resolve(&f.mix, &set, &only, true, l, &kept, &e), &e);
	assert_string_equal(lock_find(kept, "own")->file, "own.deb");
	struct lock *none = NULL;
	assert_fails(resolve(&f.mix, &set, &only, false, l, &none, &e), ERR_UNRESOLVABLE, &e, "wants package 'own'");
}

/* What apt says is what a program called apt-get prints. */
static int ask_apt(const char *answer, const char *suite, char **out, struct err *e)
{
	const struct repository r = {.name = (char *)"x", .uri = (char *)"apt", .suite = (char *)suite};
	char path[4096];
	_cleanup_close_ int dir = test_dir(path, sizeof(path));
	_cleanup_free_ char *before =
		xstrdup(getenv("PATH")); /* NOLINT(concurrency-mt-unsafe): tests have one thread */
	_cleanup_free_ char *with = xasprintf("%s:%s", path, before);
	_cleanup_(buf_free) struct buf targets = {0};
	_cleanup_free_ char *script = xasprintf("#!/bin/sh\ncat <<END\n%sEND\n", answer);

	assert_ok(fs_save_cache(dir, "apt-get", script, strlen(script), 0755, e), e);
	setenv("PATH", with, 1); /* NOLINT(concurrency-mt-unsafe) */
	int result = archive_uri(&r, &targets, out, e);
	setenv("PATH", before, 1); /* NOLINT(concurrency-mt-unsafe) */
	return result;
}

TEST(archive_uri_of_apt_is_that_of_debian)
{
#define OTHERS "https://a/|Other|Debian|trixie\ncdrom:[x]/|Debian|Debian|trixie\n\n|short\n"
	static const char *const cases[][3] = {
		{OTHERS "http://m/debian/|Debian|Debian|bookworm\nhttp://n/debian/|Debian|Debian|trixie\n", "trixie",
		 "http://n/debian/"},
		{OTHERS "http://m/debian/|Debian|Debian|bookworm\nhttp://n/debian/|Debian|Debian|sid\n", "trixie",
		 "http://m/debian/"},
		{"http://m/debian/|Debian|Debian|trixie\nhttp://s/sec|Debian|Debian-Security|bookworm-security\n",
		 "trixie-security", "http://s/sec"},
		{"http://m/debian/|Debian|Debian|trixie\n", "trixie-security", "http://m/debian-security"},
		{"http://s/sec|Debian|Debian-Security|trixie-security\nhttp://m/d|Debian|Debian|x\n", "trixie",
		 "http://m/d"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *uri = NULL;
		struct err e = ERR_INIT;
		assert_ok(ask_apt(cases[i][0], cases[i][1], &uri, &e), &e);
		assert_string_equal(uri, cases[i][2]);
	}
}

TEST(archive_uri_says_when_apt_has_none)
{
	struct err e = ERR_INIT;
	char *uri = NULL;

	assert_fails(ask_apt("", "trixie", &uri, &e), ERR_CONFIG, &e, "this machine's apt has no archive of Debian");
	int r = ask_apt("http://m/mirror/|Debian|Debian|trixie\n", "trixie-security", &uri, &e);
	assert_true(e.hint && strstr(e.hint, "'uri ='"));
	assert_fails(r, ERR_CONFIG, &e, "this machine's apt has no archive of Debian's security updates");
}

TEST(url_join_encodes_what_a_url_cannot_hold)
{
	static const char *const cases[][3] = {
		{"http://x/debian/", "pool/a_1+2~3:4.deb", "http://x/debian/pool/a_1+2~3:4.deb"},
		{"http://x", "a b%c#d?e", "http://x/a%20b%25c%23d%3Fe"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *url = url_join(cases[i][0], cases[i][1]);
		assert_string_equal(url, cases[i][2]);
	}
}
