/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/client/place.h"

/* One letter per object: F file, D directory, L link, E directory with something in it, '-' nothing. */
static void make(int root, const char *name, char what)
{
	char inner[64];

	switch (what) {
	case 'F':
		assert_int_equal(fs_save(root, name, name, strlen(name), 0644, NULL), 0);
		break;
	case 'L':
		assert_int_equal(symlinkat("somewhere", root, name), 0);
		break;
	case 'D':
	case 'E':
		assert_int_equal(mkdirat(root, name, 0755), 0);
		if (what == 'E') {
			snprintf(inner, sizeof(inner), "%s/user", name);
			make(root, inner, 'F');
		}
		break;
	default:
		break;
	}
}

static char kind_of(int root, const char *name)
{
	struct stat st;

	if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return '-';
	return S_ISDIR(st.st_mode) ? 'D' : S_ISLNK(st.st_mode) ? 'L' : 'F';
}

static enum file_kind kind_for(char c)
{
	return c == 'F' ? KIND_FILE : c == 'L' ? KIND_LINK : KIND_DIR;
}

TEST(place_keeps_what_users_have_under_a_name_of_its_own)
{
	struct err e = ERR_INIT;
	_cleanup_close_ int root = test_dir(NULL, 0);

	for (int i = 0; i < 3; i++) {
		make(root, "prepared", 'F');
		make(root, "target", 'E');
		assert_ok(place_put(root, "prepared", "target", KIND_FILE, 77, &e), &e);
		assert_int_equal(unlinkat(root, "target", 0), 0);
	}
	assert_int_equal(kind_of(root, ".deleted.77.target/user"), 'F');
	assert_int_equal(kind_of(root, ".deleted.78.target/user"), 'F');
	assert_int_equal(kind_of(root, ".deleted.79.target/user"), 'F');
}

TEST(place_puts_anything_in_the_place_of_anything)
{
	for (const char *new = "FLD"; *new; new ++) {
		for (const char *old = "-FLDE"; *old; old++) {
			struct err e = ERR_INIT;
			_cleanup_close_ int root = test_dir(NULL, 0);
			make(root, "prepared", *new);
			make(root, "target", *old);
			/* twice: a step that was done is done again after a crash */
			for (int i = 0; i < 2; i++) {
				assert_ok(place_put(root, "prepared", "target", kind_for(*new), 77, &e), &e);
				assert_int_equal(kind_of(root, "target"), *new);
				assert_int_equal(kind_of(root, "prepared"), '-');
			}
			/* nothing of the user's is lost */
			if (*old == 'E' && *new != 'D')
				assert_int_equal(kind_of(root, ".deleted.77.target/user"), 'F');
			if (*old == 'E' && *new == 'D')
				assert_int_equal(kind_of(root, "target/user"), 'F');
		}
	}
}

TEST(place_goes_on_after_a_crash_between_exchange_and_removal)
{
	for (const char *old = "DE"; *old; old++) {
		struct err e = ERR_INIT;
		_cleanup_close_ int root = test_dir(NULL, 0);
		make(root, "target", 'F');
		make(root, "prepared", *old); /* what the exchange left */
		assert_ok(place_put(root, "prepared", "target", KIND_FILE, 5, &e), &e);
		assert_int_equal(kind_of(root, "target"), 'F');
		assert_int_equal(kind_of(root, "prepared"), '-');
		assert_int_equal(kind_of(root, ".deleted.5.target"), *old == 'E' ? 'D' : '-');
	}
}

TEST(place_goes_on_after_a_crash_between_two_renames)
{
	for (const char *old = "DE"; *old; old++) {
		for (int placed = 0; placed < 2; placed++) {
			struct err e = ERR_INIT;
			_cleanup_close_ int root = test_dir(NULL, 0);
			/* where the file system cannot exchange: the old one is aside, the new one perhaps not yet in its place */
			make(root, "prepared.old", *old);
			make(root, placed ? "target" : "prepared", 'F');
			assert_ok(place_put(root, "prepared", "target", KIND_FILE, 5, &e), &e);
			assert_int_equal(kind_of(root, "target"), 'F');
			assert_int_equal(kind_of(root, "prepared"), '-');
			assert_int_equal(kind_of(root, "prepared.old"), '-');
			assert_int_equal(kind_of(root, ".deleted.5.target"), *old == 'E' ? 'D' : '-');
		}
	}
}

TEST(place_follows_no_link_and_makes_no_parent)
{
	struct err e = ERR_INIT;
	_cleanup_close_ int root = test_dir(NULL, 0);

	make(root, "prepared", 'F');
	make(root, "real", 'D');
	assert_int_equal(symlinkat("real", root, "link"), 0);
	assert_fails(place_put(root, "prepared", "link/x", KIND_FILE, 1, &e), ENOENT, &e, "/link/x");
	assert_fails(place_put(root, "prepared", "none/x", KIND_FILE, 1, &e), ENOENT, &e, "/none/x");
	assert_int_equal(kind_of(root, "real/x"), '-');
	assert_int_equal(kind_of(root, "prepared"), 'F');
	make(root, "real/x", 'F');
	assert_ok(place_del(root, "link/x", &e), &e);
	assert_int_equal(kind_of(root, "real/x"), 'F');
}

TEST(place_removes_what_is_there_but_no_users_file)
{
	for (const char *old = "-FLDE"; *old; old++) {
		struct err e = ERR_INIT;
		_cleanup_close_ int root = test_dir(NULL, 0);
		make(root, "target", *old);
		assert_ok(place_del(root, "target", &e), &e);
		assert_int_equal(kind_of(root, "target"), *old == 'E' ? 'D' : '-');
		assert_ok(place_del(root, "target/below", &e), &e);
	}
}
