/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/object.h"

static struct attrs mine(enum file_kind kind, uint32_t mode, uint64_t size)
{
	return (struct attrs){.kind = kind, .mode = mode, .uid = geteuid(), .gid = getegid(), .size = size};
}

static int make(int dir, const struct attrs *a, const char *content, const struct digest *want, struct err *e)
{
	struct object *o;
	int r = object_begin(dir, a, a->kind == KIND_LINK ? content : NULL, &o, e);

	if (r < 0)
		return r;
	if (a->kind == KIND_FILE)
		r = object_write(o, content, strlen(content), e);
	if (r < 0) {
		object_abort(o);
		return r;
	}
	return object_commit(o, want, e);
}

static void assert_empty(int dir)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_list(dir, ".", &names, &e), &e);
	assert_int_equal(names.n, 0);
}

/* It lies there under its hash, is what it says, and has the time of all content */
static void assert_object(int dir, const struct digest *d, const struct attrs *want)
{
	char hex[DIGEST_HEX];
	struct err e = ERR_INIT;
	struct digest got;
	struct attrs a;
	struct stat st;

	digest_format(d, hex);
	assert_true(object_exists(dir, d));
	assert_ok(file_hash_at(dir, hex, &a, &got, &e), &e);
	assert_true(digest_equal(&got, d));
	assert_int_equal(a.kind, want->kind);
	assert_int_equal(a.mode, want->mode);
	assert_int_equal(a.uid, want->uid);
	assert_int_equal(a.gid, want->gid);
	assert_int_equal(fstatat(dir, hex, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mtim.tv_sec, OBJECT_MTIME);
	assert_int_equal(st.st_mtim.tv_nsec, 0);
}

TEST(object_is_there_when_committed)
{
	const struct attrs all[] = {mine(KIND_FILE, 0644, 5), mine(KIND_FILE, 04755, 5), mine(KIND_FILE, 06711, 5),
				    mine(KIND_DIR, 0755, 0),  mine(KIND_DIR, 03777, 0),  mine(KIND_LINK, 0, 5)};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct digest d;
		file_hash_mem(&all[i], "hello", 5, &d);
		assert_false(object_exists(dir, &d));
		assert_ok(make(dir, &all[i], "hello", &d, &e), &e);
		assert_object(dir, &d, &all[i]);
		/* and again: it replaces itself */
		assert_ok(make(dir, &all[i], "hello", &d, &e), &e);
		assert_object(dir, &d, &all[i]);
	}
	_cleanup_(strv_free) struct strv names = {0};
	assert_ok(fs_list(dir, ".", &names, &e), &e);
	assert_int_equal(names.n, ARRAY_LEN(all));
}

TEST(object_may_belong_to_anybody)
{
	const struct attrs all[] = {{.kind = KIND_FILE, .mode = 06755, .uid = 1000, .gid = 1001, .size = 5},
				    {.kind = KIND_DIR, .mode = 02750, .uid = 1000},
				    {.kind = KIND_LINK, .uid = 5, .gid = 6, .size = 5}};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct digest d;
		file_hash_mem(&all[i], "hello", 5, &d);
		assert_ok(make(dir, &all[i], "hello", &d, &e), &e);
		assert_object(dir, &d, &all[i]);
	}
}

TEST(object_of_another_hash_leaves_nothing)
{
	const struct attrs file = mine(KIND_FILE, 04755, 5), link = mine(KIND_LINK, 0, 5),
			   sub = mine(KIND_DIR, 0755, 0);
	struct attrs other = file;
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	struct digest d;

	file_hash_mem(&file, "hello", 5, &d);
	assert_fails(make(dir, &file, "hallo", &d, &e), ERR_DIGEST, &e, "have another hash");
	other.mode = 0755;
	assert_fails(make(dir, &other, "hello", &d, &e), ERR_DIGEST, &e, "have another hash");
	assert_fails(make(dir, &file, "hell", &d, &e), ERR_DIGEST, &e, "4 bytes, not 5");
	assert_fails(make(dir, &file, "hello!", &d, &e), ERR_DIGEST, &e, "more than its 5 bytes");
	assert_fails(make(dir, &link, "hello", &d, &e), ERR_DIGEST, &e, "have another hash");
	assert_fails(make(dir, &link, "hell", &d, &e), ERR_DIGEST, &e, "target");
	assert_fails(make(dir, &sub, NULL, &d, &e), ERR_DIGEST, &e, "have another hash");
	assert_empty(dir);
}

TEST(object_of_no_known_kind_is_refused)
{
	const struct attrs none = mine(KIND_NONE, 0, 0), bundle = mine(KIND_BUNDLE, 0, 0), link = mine(KIND_LINK, 0, 0);
	struct attrs nobody = mine(KIND_FILE, 0644, 0);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	struct object *o;

	assert_fails(object_begin(dir, &none, NULL, &o, &e), ERR_FORMAT, &e, "neither");
	assert_fails(object_begin(dir, &bundle, NULL, &o, &e), ERR_FORMAT, &e, "neither");
	assert_fails(object_begin(dir, &link, NULL, &o, &e), ERR_FORMAT, &e, "neither");
	nobody.uid = UINT32_MAX;
	assert_fails(object_begin(dir, &nobody, NULL, &o, &e), ERR_FORMAT, &e, "-1");
	assert_empty(dir);
}

TEST(object_aborted_leaves_nothing)
{
	const struct attrs all[] = {mine(KIND_FILE, 0644, 5), mine(KIND_DIR, 0755, 0), mine(KIND_LINK, 0, 5)};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	struct object *o;

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_ok(object_begin(dir, &all[i], "hello", &o, &e), &e);
		object_abort(o);
	}
	object_abort(NULL);
	assert_empty(dir);
}

TEST(object_replaces_whatever_had_its_name)
{
	const struct attrs file = mine(KIND_FILE, 0644, 5), sub = mine(KIND_DIR, 0755, 0);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	struct digest f, d;
	char hex[DIGEST_HEX];

	file_hash_mem(&file, "hello", 5, &f);
	digest_format(&f, hex);
	assert_ok(fs_mkdirs(dir, hex, 0755, &e), &e);
	assert_ok(make(dir, &file, "hello", &f, &e), &e);
	assert_object(dir, &f, &file);

	file_hash_mem(&sub, NULL, 0, &d);
	digest_format(&d, hex);
	_cleanup_free_ char *inner = xasprintf("%s/inner", hex);
	assert_ok(fs_mkdirs(dir, inner, 0755, &e), &e);
	assert_ok(make(dir, &sub, NULL, &d, &e), &e);
	assert_object(dir, &d, &sub);
	assert_false(fs_exists(dir, inner));
	assert_ok(fs_remove_tree(dir, hex, &e), &e);
	assert_ok(fs_save(dir, hex, "x", 1, 0644, &e), &e);
	assert_ok(make(dir, &sub, NULL, &d, &e), &e);
	assert_object(dir, &d, &sub);
}

TEST(object_does_not_write_through_a_link_of_its_name)
{
	const struct attrs file = mine(KIND_FILE, 0644, 5);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;
	struct digest d;
	char hex[DIGEST_HEX];

	file_hash_mem(&file, "hello", 5, &d);
	digest_format(&d, hex);
	assert_ok(fs_save(dir, "victim", "v", 1, 0644, &e), &e);
	assert_int_equal(symlinkat("victim", dir, hex), 0);
	assert_ok(make(dir, &file, "hello", &d, &e), &e);
	assert_object(dir, &d, &file);
	assert_ok(fs_load(dir, "victim", 10, &b, &e), &e);
	assert_string_equal(b.data, "v");
}

TEST(object_inherits_no_access_list)
{
	/* acl(5) in its xattr form: version 2; owner rwx, user 12345 rwx, group r-x, mask rwx, others r-x */
	static const unsigned char acl[] = {2,    0,    0,    0, /* version */
					    1,    0,    7,    0,    0xff, 0xff, 0xff, 0xff, 2,    0,
					    7,    0,    0x39, 0x30, 0,    0,    4,    0,    5,    0,
					    0xff, 0xff, 0xff, 0xff, 0x10, 0,    7,    0,    0xff, 0xff,
					    0xff, 0xff, 0x20, 0,    5,    0,    0xff, 0xff, 0xff, 0xff};
	const struct attrs all[] = {mine(KIND_FILE, 0640, 5), mine(KIND_DIR, 0750, 0)};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	char list[256];

	if (fsetxattr(dir, "system.posix_acl_default", acl, sizeof(acl), 0) < 0)
		skip(); /* a file system without them */
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct digest d;
		char hex[DIGEST_HEX];
		file_hash_mem(&all[i], "hello", 5, &d);
		digest_format(&d, hex);
		assert_ok(make(dir, &all[i], "hello", &d, &e), &e);
		assert_object(dir, &d, &all[i]);
		_cleanup_close_ int fd = openat(dir, hex, O_RDONLY | O_CLOEXEC);
		assert_int_equal(fgetxattr(fd, "system.posix_acl_access", list, sizeof(list)), -1);
		assert_int_equal(fgetxattr(fd, "system.posix_acl_default", list, sizeof(list)), -1);
	}
}
