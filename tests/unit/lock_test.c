/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/lock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/config.h"
#include "swupd/base/fs.h"
#include "tests/unit/test.h"

#define D1 "1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "2222222222222222222222222222222222222222222222222222222222222222"

#define LOCK                                                                                                           \
	"limpid-lock 1\n"                                                                                              \
	"time 1763700000\n"                                                                                            \
	"input " D1 "\n"                                                                                               \
	"archive debian trixie " D2 " 2026-09-12T07:55:41Z\n"                                                          \
	"package a 1:2.0-1 amd64 " D1 " 100 debian src 2.0-1 pool/main/a/a_2.0-1_amd64.deb\n"                          \
	"package b 1 all " D2 " 5 local b 1 a name with blanks.deb\n"                                                  \
	"bundle empty\n"                                                                                               \
	"bundle os-core a b\n"                                                                                         \
	"id group systemd-journal 999\n"                                                                               \
	"id user systemd-network 998\n"

static int parse(const char *text, struct lock **out, struct err *e)
{
	return lock_parse(text, strlen(text), out, e);
}

TEST(lock_is_written_as_it_was_read)
{
	_cleanup_(lock_freep) struct lock *l = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	assert_ok(parse(LOCK, &l, &e), &e);
	assert_int_equal(l->time, 1763700000);
	const struct locked_package *p = lock_find(l, "b");
	assert_non_null(p);
	assert_string_equal(p->file, "a name with blanks.deb");
	assert_int_equal(p->size, 5);
	assert_null(lock_find(l, "c"));
	assert_int_equal(lock_find_bundle(l, "empty")->n_packages, 0);
	assert_int_equal(lock_find_bundle(l, "os-core")->n_packages, 2);
	lock_format(l, &b);
	assert_string_equal(b.data, LOCK);
}

TEST(lock_of_a_recipe_has_its_source)
{
	static const char sorted[] = "limpid-lock 1\n"
				     "time 5\n"
				     "input " D1 "\n"
				     "source zstd 1:1.5-1 debian pool/main/z/zstd\n"
				     "file " D2 " 7 zstd_1.5-1.dsc\n"
				     "file " D1 " 9 zstd_1.5.orig.tar.xz\n"
				     "package a 1 all " D2 " 5 debian a 1 pool/a.deb\n"
				     "bundle zstd a\n",
			  shuffled[] = "limpid-lock 1\n"
				       "file " D1 " 9 zstd_1.5.orig.tar.xz\n"
				       "bundle zstd a\n"
				       "package a 1 all " D2 " 5 debian a 1 pool/a.deb\n"
				       "file " D2 " 7 zstd_1.5-1.dsc\n"
				       "source zstd 1:1.5-1 debian pool/main/z/zstd\n"
				       "input " D1 "\n"
				       "time 5\n";
	_cleanup_(lock_freep) struct lock *l = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	assert_ok(parse(shuffled, &l, &e), &e);
	assert_string_equal(l->source.version, "1:1.5-1");
	assert_string_equal(l->source.directory, "pool/main/z/zstd");
	assert_int_equal(l->source.n_files, 2);
	assert_int_equal(l->source.files[0].size, 7);
	lock_format(l, &b);
	assert_string_equal(b.data, sorted);
}

TEST(lock_is_written_sorted)
{
	static const char shuffled[] =
		"limpid-lock 1\n"
		"# a comment\n"
		"id user systemd-network 998\n"
		"bundle os-core b a\n"
		"package b 1 all " D2 " 5 local b 1 a name with blanks.deb\n"
		"bundle empty\n"
		"id group systemd-journal 999\n"
		"package a 1:2.0-1 amd64 " D1 " 100 debian src 2.0-1 pool/main/a/a_2.0-1_amd64.deb\n"
		"input " D1 "\n"
		"archive debian trixie " D2 " 2026-09-12T07:55:41Z\n"
		"time 1763700000\n";
	_cleanup_(lock_freep) struct lock *l = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	assert_ok(parse(shuffled, &l, &e), &e);
	lock_format(l, &b);
	assert_string_equal(b.data, LOCK);
}

TEST(lock_refuses_what_it_cannot_mean)
{
	static const char *const cases[][2] = {
		{"", "it is empty"},
		{"limpid-lock 2\n", "line 1: does not begin with 'limpid-lock 1'"},
		{"limpid-lock 1\ntime 5", "line 2: the line is damaged or cut off"},
		{"limpid-lock 1\nwhat 5\n", "line 2: 'what 5' is no line of a lock"},
		{"limpid-lock 1\ntime yesterday\n", "line 2: 'yesterday' is no time"},
		{"limpid-lock 1\ninput 12\n", "line 2: '12' is no SHA-256"},
		{"limpid-lock 1\narchive debian trixie " D1 "\n", "must have 5 words"},
		{"limpid-lock 1\npackage a 1 all " D1 " 5 local a 1\n", "must have 10 words"},
		{"limpid-lock 1\npackage a 1 all " D1 " 0 local a 1 f\n", "'0' is no size of a package"},
		{"limpid-lock 1\npackage a 1 all " D1 " 5 local a 1 /etc/passwd\n",
		 "'/etc/passwd' is no name of a package's file"},
		{"limpid-lock 1\npackage a 1 all " D1 " 5 local a 1 x/../../y\n", "is no name of a package's file"},
		{"limpid-lock 1\npackage a  1 all " D1 " 5 local a 1 f\n", "must have 10 words"},
		{"limpid-lock 1\npackage a 1 all " D1 " 5 l a 1 f\npackage a 2 all " D1 " 5 l a 1 g\n",
		 "package a is locked twice"},
		{"limpid-lock 1\nbundle x a\n", "bundle x has package a, which is not locked"},
		{"limpid-lock 1\nbundle x\nbundle x\n", "bundle x is there twice"},
		{"limpid-lock 1\nid other x 5\n", "'other x 5' is no 'user NAME NUMBER' or 'group NAME NUMBER'"},
		{"limpid-lock 1\nid user x -5\n", "is no 'user NAME NUMBER'"},
		{"limpid-lock 1\nid user x 5\nid user x 6\n", "user x has two numbers"},
		{"limpid-lock 1\nsource a 1 debian\n", "must have 5 words"},
		{"limpid-lock 1\nsource a 1 debian ../etc\n", "'../etc' is no folder of an archive"},
		{"limpid-lock 1\nsource a 1/2 debian pool\n", "'a 1/2' is no source"},
		{"limpid-lock 1\nsource a 1 debian pool\n", "a source has files, and files a source"},
		{"limpid-lock 1\nfile " D1 " 5 a.dsc\n", "a source has files, and files a source"},
		{"limpid-lock 1\nsource a 1 d pool\nsource b 1 d pool\n", "line 3: there are two sources"},
		{"limpid-lock 1\nfile " D1 " 0 a.dsc\n", "'0' is no size of a file"},
		{"limpid-lock 1\nfile " D1 " 5 ../a.dsc\n", "'../a.dsc' is no name of a source's file"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lock *l = NULL;
		struct err e = ERR_INIT;
		assert_fails(parse(cases[i][0], &l, &e), ERR_FORMAT, &e, cases[i][1]);
	}
}

TEST(lock_gives_numbers_once_and_downwards)
{
	_cleanup_(lock_freep) struct lock *l = NULL;
	struct err e = ERR_INIT;
	uint32_t id;

	assert_ok(parse(LOCK, &l, &e), &e);
	assert_ok(lock_id(l, "user", "systemd-network", &id, &e), &e);
	assert_int_equal(id, 998);
	assert_ok(lock_id(l, "group", "systemd-network", &id, &e), &e); /* that of the user */
	assert_int_equal(id, 998);
	assert_ok(lock_id(l, "user", "sshd", &id, &e), &e);
	assert_int_equal(id, 997);
	assert_ok(lock_id(l, "group", "render", &id, &e), &e);
	assert_int_equal(id, 996);
	assert_ok(lock_id(l, "user", "sshd", &id, &e), &e);
	assert_int_equal(id, 997);
	assert_int_equal(l->n_ids, 5);
}

TEST(lock_says_when_no_number_is_left)
{
	_cleanup_(lock_freep) struct lock *l = lock_new();
	struct err e = ERR_INIT;
	uint32_t id;

	for (unsigned i = 999; i >= 100; i--) {
		_cleanup_free_ char *name = xasprintf("u%u", i);
		assert_ok(lock_id(l, "user", name, &id, &e), &e);
		assert_int_equal(id, i);
	}
	assert_fails(lock_id(l, "group", "one-more", &id, &e), ERR_LIMIT, &e,
		     "no number from 100 to 999 is left for group 'one-more'");
}

TEST(lock_is_saved_and_loaded)
{
	_cleanup_(lock_freep) struct lock *l = NULL, *again = NULL;
	_cleanup_(config_freep) struct config *c = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	assert_ok(config_parse("", 0, "mixer.conf", test_dir(NULL, 0), "/w", &c, &e), &e);
	int r = lock_load(c, &l, &e);
	assert_true(e.hint && strstr(e.hint, "'mixer lock'"));
	assert_fails(r, ENOENT, &e, "there is no mixer.lock yet");
	assert_ok(parse(LOCK, &l, &e), &e);
	assert_ok(lock_save(c, l, &e), &e);
	assert_ok(fs_load(c->dir, "mixer.lock", 10000, &text, &e), &e);
	assert_string_equal(text.data, LOCK);
	assert_ok(lock_load(c, &again, &e), &e);
	assert_int_equal(again->n_packages, 2);
	assert_ok(fs_save_cache(c->dir, "mixer.lock", "x\n", 2, 0644, &e), &e);
	struct lock *none = NULL;
	assert_fails(lock_load(c, &none, &e), ERR_FORMAT, &e, "mixer.lock: line 1: ");
}
