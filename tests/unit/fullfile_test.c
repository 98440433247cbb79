/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/object.h"

static struct attrs mine(enum file_kind kind, uint32_t mode, uint64_t size)
{
	return (struct attrs){.kind = kind, .mode = mode, .uid = geteuid(), .gid = getegid(), .size = size};
}

/* A file of these bytes; the caller closes it */
static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("fullfile", MFD_CLOEXEC);
	struct err e = ERR_INIT;

	assert_true(fd >= 0);
	assert_ok(fs_write_all(fd, data, len, &e), &e);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static size_t count_names(int dir)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_list(dir, ".", &names, &e), &e);
	return names.n;
}

static void assert_object(int dir, const struct digest *d)
{
	char hex[DIGEST_HEX];
	struct err e = ERR_INIT;
	struct digest got;

	digest_format(d, hex);
	assert_ok(file_hash_at(dir, hex, NULL, &got, &e), &e);
	assert_true(digest_equal(&got, d));
}

TEST(fullfile_of_the_predecessor_becomes_its_object)
{
	static const char *const trees[] = {"www/10", "www/20", "www/30", "www-format-bump/10", "www-format-bump/30"};
	struct err e = ERR_INIT;
	size_t n = 0;

	if (geteuid() != 0)
		skip(); /* they belong to root and others */
	for (size_t t = 0; t < ARRAY_LEN(trees); t++) {
		_cleanup_free_ char *path = xasprintf("%s/%s/files", test_vectors(), trees[t]);
		_cleanup_close_ int files = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir = test_dir(NULL, 0);
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(fs_list(files, ".", &names, &e), &e);
		for (size_t i = 0; i < names.n; i++) {
			_cleanup_close_ int fd = openat(files, names.items[i], O_RDONLY | O_CLOEXEC);
			struct digest want;
			assert_int_equal(digest_parse(names.items[i], &want), 0);
			assert_ok(fullfile_unpack(fd, &want, dir, &e), &e);
			assert_object(dir, &want);
			n++;
		}
		assert_int_equal(count_names(dir), names.n);
	}
	assert_true(n > 100);
}

TEST(fullfile_written_is_unpacked_to_the_same)
{
	static const enum codec codecs[] = {CODEC_NONE, CODEC_GZIP, CODEC_BZIP2, CODEC_XZ, CODEC_ZSTD};
	_cleanup_free_ char *zeros = xcalloc(1, 200000);
	const struct {
		struct attrs a;
		const char *content;
	} cases[] = {
		{mine(KIND_FILE, 0644, 0), ""},
		{mine(KIND_FILE, 04755, 5), "hello"},
		{mine(KIND_FILE, 0600, 200000), zeros},
		{mine(KIND_DIR, 01777, 0), NULL},
		{mine(KIND_LINK, 0, 5), "hello and what lies behind it"},
		{mine(KIND_LINK, 0, 9), "../\xc3\xa9/\xff!x"},
	};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases) * ARRAY_LEN(codecs); i++) {
		const struct attrs *a = &cases[i / ARRAY_LEN(codecs)].a;
		const char *content = cases[i / ARRAY_LEN(codecs)].content;
		enum codec codec = codecs[i % ARRAY_LEN(codecs)];
		_cleanup_(buf_free) struct buf out = {0}, again = {0};
		struct digest d;
		file_hash_mem(a, content, a->size, &d);
		assert_ok(fullfile_write(&d, a, content, codec, 0, &out, &e), &e);
		assert_ok(fullfile_write(&d, a, content, codec, 0, &again, &e), &e);
		assert_int_equal(out.len, again.len);
		assert_memory_equal(out.data, again.data, out.len);
		assert_int_equal(codec_detect(out.data, out.len), codec);
		_cleanup_close_ int fd = file_of(out.data, out.len);
		assert_ok(fullfile_unpack(fd, &d, dir, &e), &e);
		assert_object(dir, &d);
	}
	assert_int_equal(count_names(dir), ARRAY_LEN(cases));
}

#define NOISE (1U << 20)

TEST(fullfile_stays_uncompressed_when_that_is_smaller)
{
	_cleanup_(buf_free) struct buf out = {0};
	_cleanup_free_ uint8_t *noise = xmalloc(NOISE);
	const struct attrs a = mine(KIND_FILE, 0644, NOISE);
	struct err e = ERR_INIT;
	struct digest d;

	/* SHA-256 of a counter: nothing compresses it (but for 1.5 KiB of the tar around it) */
	for (uint32_t i = 0; i < NOISE / 32; i++) {
		struct digest x;
		sha256_mem(&i, sizeof(i), &x);
		memcpy(noise + (size_t)32 * i, &x, 32);
	}
	file_hash_mem(&a, noise, a.size, &d);
	buf_puts(&out, "kept");
	assert_ok(fullfile_write(&d, &a, noise, CODEC_BZIP2, 0, &out, &e), &e);
	assert_int_equal(codec_detect(out.data + 4, out.len - 4), CODEC_NONE);
	assert_memory_equal(out.data, "kept", 4);
}

/* What a hostile server may send: libarchive writes it, which can do more than our writer */
struct member {
	const char *name; /* NULL: the wanted hash */
	int type;         /* AE_IF… */
	const char *content;
	const char *hard_link; /* or NULL */
	bool xattr, sparse;
};

static struct buf hostile(const char *hex, const struct member *members, size_t n)
{
	struct buf b = {0};
	size_t used = 0;
	struct archive *a = archive_write_new();

	buf_reserve(&b, 1 << 20);
	archive_write_set_format_pax(a);
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open_memory(a, b.data, 1 << 20, &used), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		const struct member *m = &members[i];
		struct archive_entry *x = archive_entry_new();
		archive_entry_set_pathname(x, m->name ? m->name : hex);
		archive_entry_set_filetype(x, (unsigned)m->type);
		archive_entry_set_perm(x, 0644);
		archive_entry_set_uid(x, geteuid());
		archive_entry_set_gid(x, getegid());
		archive_entry_set_mtime(x, 1234567, 5);
		if (m->hard_link)
			archive_entry_set_hardlink(x, m->hard_link);
		else if (m->type == AE_IFLNK)
			archive_entry_set_symlink(x, m->content);
		else if (m->type == AE_IFREG)
			archive_entry_set_size(x, (la_int64_t)strlen(m->content));
		if (m->xattr) {
			archive_entry_xattr_add_entry(x, "user.test", "value", 5);
			/* vfs_cap_data revision 2: cap_setuid, effective */
			archive_entry_xattr_add_entry(x, "security.capability",
						      "\1\0\0\2\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
		}
		if (m->sparse) {
			archive_entry_set_size(x, (la_int64_t)1 << 40);
			archive_entry_sparse_add_entry(x, 0, 5);
		}
		assert_int_equal(archive_write_header(a, x), ARCHIVE_OK);
		if (m->type == AE_IFREG && !m->hard_link)
			archive_write_data(a, m->content, strlen(m->content));
		archive_entry_free(x);
		if (m->sparse)
			break; /* its terabyte cannot be finished */
	}
	archive_write_free(a);
	b.len = used;
	return b;
}

static const struct member hello = {.type = AE_IFREG, .content = "hello"};

static struct digest hello_digest(void)
{
	const struct attrs a = mine(KIND_FILE, 0644, 5);
	struct digest d;

	file_hash_mem(&a, "hello", 5, &d);
	return d;
}

static int unpack_members(const struct member *members, size_t n, int dir, struct err *e)
{
	const struct digest want = hello_digest();
	char hex[DIGEST_HEX];

	digest_format(&want, hex);
	_cleanup_(buf_free) struct buf b = hostile(hex, members, n);
	_cleanup_close_ int fd = file_of(b.data, b.len);
	return fullfile_unpack(fd, &want, dir, e);
}

TEST(fullfile_with_anything_but_its_one_member_is_refused)
{
	static const struct {
		struct member members[2];
		size_t n;
		int code;
		const char *message;
	} cases[] = {
		{{{"hello", AE_IFREG, "hello", NULL, false, false}}, 1, ERR_FORMAT, "the first member is not"},
		{{{"../hello", AE_IFREG, "hello", NULL, false, false}}, 1, ERR_FORMAT, "the first member is not"},
		{{{"/etc/hello", AE_IFREG, "hello", NULL, false, false}}, 1, ERR_FORMAT, "the first member is not"},
		{{{NULL, AE_IFREG, "hello", NULL, false, false}, {"b", AE_IFREG, "b", NULL, false, false}},
		 2,
		 ERR_FORMAT,
		 "second member"},
		{{{NULL, AE_IFREG, "hello", NULL, false, false}, {NULL, AE_IFREG, "hello", NULL, false, false}},
		 2,
		 ERR_FORMAT,
		 "second member"},
		{{{NULL, AE_IFREG, "", "/etc/passwd", false, false}}, 1, ERR_FORMAT, "the first member is not"},
		{{{NULL, AE_IFCHR, "", NULL, false, false}}, 1, ERR_FORMAT, "the first member is not"},
		{{{NULL, AE_IFBLK, "", NULL, false, false}}, 1, ERR_FORMAT, "the first member is not"},
		{{{NULL, AE_IFIFO, "", NULL, false, false}}, 1, ERR_FORMAT, "the first member is not"},
		{{{NULL, AE_IFREG, "hello", NULL, false, true}}, 1, ERR_FORMAT, "the first member is not"},
		{{{NULL, AE_IFREG, "hallo", NULL, false, false}}, 1, ERR_DIGEST, "another hash"},
		{{{NULL, AE_IFREG, "", NULL, false, false}}, 1, ERR_DIGEST, "another hash"},
		{{{NULL, AE_IFDIR, "", NULL, false, false}}, 1, ERR_DIGEST, "another hash"},
		{{{NULL, AE_IFLNK, "hello", NULL, false, false}}, 1, ERR_DIGEST, "another hash"},
		{{{NULL, AE_IFLNK, "/etc", NULL, false, false}, {"x", AE_IFREG, "x", NULL, false, false}},
		 2,
		 ERR_FORMAT,
		 "second member"},
	};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	assert_ok(unpack_members(&hello, 1, dir, &e), &e);
	char hex[DIGEST_HEX];
	struct digest want = hello_digest();
	digest_format(&want, hex);
	assert_ok(fs_remove_tree(dir, hex, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_fails(unpack_members(cases[i].members, cases[i].n, dir, &e), cases[i].code, &e,
			     cases[i].message);
		assert_int_equal(count_names(dir), 0);
	}
}

TEST(fullfile_gives_no_extended_attributes_and_no_time)
{
	static const struct member with = {.type = AE_IFREG, .content = "hello", .xattr = true};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	const struct digest want = hello_digest();
	char hex[DIGEST_HEX], list[256];
	struct err e = ERR_INIT;
	struct stat st;

	digest_format(&want, hex);
	_cleanup_(buf_free) struct buf b = hostile(hex, &with, 1);
	assert_non_null(memmem(b.data, b.len, "SCHILY.xattr.security.capability", 32));
	assert_ok(unpack_members(&with, 1, dir, &e), &e);
	_cleanup_close_ int fd = openat(dir, hex, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(fd, "security.capability", list, sizeof(list)), -1);
	assert_int_equal(fgetxattr(fd, "user.test", list, sizeof(list)), -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, OBJECT_MTIME);
	assert_int_equal(st.st_nlink, 1);
}

TEST(fullfile_cut_anywhere_is_refused)
{
	const struct attrs a = mine(KIND_FILE, 0644, 3000);
	_cleanup_free_ char *content = xcalloc(1, 3000);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	struct digest d;

	for (int i = 0; i < 3000; i++)
		content[i] = (char)(i * i >> 3);
	file_hash_mem(&a, content, a.size, &d);
	for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
		_cleanup_(buf_free) struct buf b = {0};
		assert_ok(fullfile_write(&d, &a, content, (enum codec)codec, 0, &b, &e), &e);
		for (size_t len = 0; len < b.len - 1; len += 61) {
			_cleanup_close_ int fd = file_of(b.data, len);
			int r = fullfile_unpack(fd, &d, dir, &e);
			err_clear(&e);
			/* a tar without its end, or a stream without its checksum, may be taken: the content is whole */
			if (r == 0) {
				assert_object(dir, &d);
				assert_true(len > b.len / 2);
				break;
			}
			assert_true(r == -ERR_FORMAT || r == -ERR_DIGEST);
			assert_int_equal(count_names(dir), 0);
		}
		char hex[DIGEST_HEX];
		digest_format(&d, hex);
		assert_ok(fs_remove_tree(dir, hex, &e), &e);
	}
}

TEST(fullfile_of_garbage_is_refused)
{
	static const char garbage[2048] = "garbage";
	_cleanup_close_ int dir = test_dir(NULL, 0), fd = file_of(garbage, sizeof(garbage));
	const struct digest want = hello_digest();
	struct err e = ERR_INIT;

	assert_fails(fullfile_unpack(fd, &want, dir, &e), ERR_FORMAT, &e, "fullfile");
	assert_int_equal(count_names(dir), 0);
}

TEST(fullfile_of_a_large_file_has_its_content_as_a_pack_has_it)
{
	static const enum codec codecs[] = {CODEC_GZIP, CODEC_BZIP2, CODEC_XZ, CODEC_ZSTD};
	const struct attrs a = mine(KIND_FILE, 0644, FULLFILE_LARGE + 1),
			   small = mine(KIND_FILE, 0644, FULLFILE_LARGE - 1);
	_cleanup_free_ char *content = xcalloc(1, FULLFILE_LARGE + 1);
	struct err e = ERR_INIT;
	struct digest d, other = {{1}};
	size_t len;

	memset(content + 1000, 'x', 1000);
	file_hash_mem(&a, content, a.size, &d);
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf out = {0}, want = {0}, less = {0};
		assert_ok(fullfile_write(&d, &a, content, codecs[i], 0, &out, &e), &e);
		assert_ok(fullfile_content(content, a.size, codecs[i], 0, &want, &e), &e);
		const char *found = fullfile_find_content(&out, &d, &a, codecs[i], 0, &len);
		assert_non_null(found);
		assert_int_equal(len, want.len);
		assert_memory_equal(found, want.data, len);
		int fd = file_of(out.data, out.len);
		assert_ok(fullfile_check(fd, &d, &e), &e);
		assert_int_equal(close(fd), 0);
		assert_null(fullfile_find_content(&out, &other, &a, codecs[i], 0, &len));
		assert_ok(fullfile_write(&d, &small, content, codecs[i], 0, &less, &e), &e);
		assert_null(fullfile_find_content(&less, &d, &small, codecs[i], 0, &len));
		out.len /= 2;
		assert_null(fullfile_find_content(&out, &d, &a, codecs[i], 0, &len));
	}
}
