/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

#define HELLO_0644 "f716c6cb18be9041e1748d52be544645cfc98d2c99dd7e72bdd6f702aa1ee744" /* "hello\n", root */

static void assert_digest(const struct digest *d, const char *hex)
{
	char got[DIGEST_HEX];

	digest_format(d, got);
	assert_string_equal(got, hex);
}

/* Columns of hash-vectors.tsv */
enum { V_NAME, V_KIND, V_MODE, V_UID, V_GID, V_SIZE, V_BLOCK, V_KEY, V_MESSAGE, V_HASH, V_N };

static size_t split_tabs(char *line, char *col[V_N])
{
	size_t n = 0;

	for (size_t i = 0; i < V_N; i++)
		col[i] = line + strlen(line);
	for (char *s = line; s && n < V_N; n++) {
		col[n] = s;
		s = strchr(s, '\t');
		if (s)
			*s++ = '\0';
	}
	return n;
}

static struct attrs vector_attrs(char *const col[V_N])
{
	struct attrs a = {
		.kind = col[V_KIND][0] == 'F'   ? KIND_FILE
			: col[V_KIND][0] == 'D' ? KIND_DIR
						: KIND_LINK,
		.mode = (uint32_t)strtoul(col[V_MODE], NULL, 8) & 07777,
		.uid = (uint32_t)strtoul(col[V_UID], NULL, 10),
		.gid = (uint32_t)strtoul(col[V_GID], NULL, 10),
		.size = strtoull(col[V_SIZE], NULL, 10),
	};
	return a;
}

static void check_vector(char *const col[V_N])
{
	struct attrs a = vector_attrs(col);
	struct digest d;
	size_t len = strlen(col[V_MESSAGE]) / 2;
	_cleanup_free_ uint8_t *message = xcalloc(1, a.size + len);

	/* "sha256:…" stands for a long message: one of zeros */
	if (!text_starts(col[V_MESSAGE], "sha256:"))
		assert_int_equal(text_unhex(col[V_MESSAGE], message, len), 0);
	else
		len = a.size;
	file_hash_mem(&a, message, len, &d);
	assert_digest(&d, col[V_HASH]);

	struct file_hash *h = file_hash_new(&a);
	for (size_t i = 0; a.kind != KIND_DIR && i < len; i += 7)
		file_hash_add(h, message + i, MIN((size_t)7, len - i));
	file_hash_end(h, &d);
	file_hash_free(h);
	assert_digest(&d, col[V_HASH]);
}

TEST(file_hash_is_that_of_the_predecessor)
{
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_free_ char *path = xasprintf("%s/hash/hash-vectors.tsv", test_vectors());
	struct err e = ERR_INIT;
	const char *pos, *line;
	size_t len, n = 0;

	assert_ok(fs_load(AT_FDCWD, path, 1 << 20, &b, &e), &e);
	pos = b.data;
	while (text_line(&pos, b.data + b.len, &line, &len, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		char *col[V_N];
		assert_int_equal(split_tabs(copy, col), V_N);
		if (strcmp(col[V_NAME], "name") == 0)
			continue;
		n++;
		if (strcmp(col[V_KIND], "-") == 0)
			assert_digest(&digest_zero, col[V_HASH]);
		else
			check_vector(col);
	}
	assert_true(n >= 18);
}

TEST(file_hash_at_hashes_what_lies_there)
{
	struct err e = ERR_INIT;
	struct attrs a;
	struct digest on_disk, in_memory;
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_free_ char *big = xcalloc(1, 300001);

	assert_ok(fs_save(dir, "empty", "", 0, 0600, &e), &e);
	assert_ok(file_hash_at(dir, "empty", &a, &on_disk, &e), &e);
	assert_int_equal(a.kind, KIND_FILE);
	assert_int_equal(a.mode, 0600);
	file_hash_mem(&a, "", 0, &in_memory);
	assert_true(digest_equal(&on_disk, &in_memory));

	big[300000] = 'x';
	assert_ok(fs_save(dir, "big", big, 300001, 04755, &e), &e);
	assert_ok(file_hash_at(dir, "big", &a, &on_disk, &e), &e);
	assert_int_equal(a.mode, 04755);
	assert_int_equal(a.size, 300001);
	file_hash_mem(&a, big, 300001, &in_memory);
	assert_true(digest_equal(&on_disk, &in_memory));

	assert_int_equal(symlinkat("nowhere", dir, "link"), 0);
	assert_ok(file_hash_at(dir, "link", &a, &on_disk, &e), &e);
	assert_int_equal(a.kind, KIND_LINK);
	assert_int_equal(a.mode, 0);
	assert_int_equal(a.size, 7);
	file_hash_mem(&a, "nowhere", 7, &in_memory);
	assert_true(digest_equal(&on_disk, &in_memory));

	assert_int_equal(mkdirat(dir, "dir", 0755), 0);
	assert_ok(file_hash_at(dir, "dir", &a, &on_disk, &e), &e);
	assert_int_equal(a.kind, KIND_DIR);
	assert_int_equal(a.size, 0);
	file_hash_mem(&a, NULL, 0, &in_memory);
	assert_true(digest_equal(&on_disk, &in_memory));
}

TEST(file_hash_at_of_root_files_is_the_published_value)
{
	struct err e = ERR_INIT;
	struct digest d;
	_cleanup_close_ int dir = test_dir(NULL, 0);

	if (geteuid() != 0)
		skip();
	assert_ok(fs_save(dir, "f", "hello\n", 6, 0644, &e), &e);
	assert_ok(file_hash_at(dir, "f", NULL, &d, &e), &e);
	assert_digest(&d, HELLO_0644);
}

TEST(file_hash_at_neither_waits_for_a_fifo_nor_follows_a_missing_name)
{
	struct err e = ERR_INIT;
	struct digest d = {{1}};
	_cleanup_close_ int dir = test_dir(NULL, 0);

	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_fails(file_hash_at(dir, "fifo", NULL, &d, &e), ERR_FORMAT, &e, "fifo: not a file");
	assert_fails(file_hash_at(dir, "missing", NULL, &d, &e), ENOENT, &e, "missing");
	assert_int_equal(d.bytes[0], 1);
}

TEST(file_hash_at_notices_a_size_that_does_not_hold)
{
	struct err e = ERR_INIT;
	struct digest d;

	/* procfs says 0 bytes and gives more, as a file that grows meanwhile */
	_cleanup_close_ int dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_fails(file_hash_at(dir, "status", NULL, &d, &e), EAGAIN, &e, "changed while it was read");
}

TEST(sha256_of_memory_and_of_a_file_are_equal)
{
	static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; /* FIPS 180-2 */
	struct err e = ERR_INIT;
	struct digest d;
	_cleanup_close_ int dir = test_dir(NULL, 0);

	sha256_mem("abc", 3, &d);
	assert_digest(&d, abc);
	assert_ok(fs_save(dir, "f", "xxabc", 5, 0644, &e), &e);
	_cleanup_close_ int fd = openat(dir, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
	assert_ok(sha256_fd(fd, &d, &e), &e);
	assert_digest(&d, abc);
	_cleanup_close_ int none = open("/", O_RDONLY | O_CLOEXEC);
	assert_fails(sha256_fd(none, &d, &e), EISDIR, &e, "read");
}

TEST(digest_parse_takes_64_lower_case_digits_only)
{
	struct digest d = {{7}};

	assert_int_equal(digest_parse("F716c6cb18be9041e1748d52be544645cfc98d2c99dd7e72bdd6f702aa1ee744", &d), -EINVAL);
	assert_int_equal(digest_parse("f716c6cb18be9041e1748d52be544645cfc98d2c99dd7e72bdd6f702aa1ee74", &d), -EINVAL);
	assert_int_equal(digest_parse("", &d), -EINVAL);
	assert_int_equal(d.bytes[0], 7);
	assert_int_equal(digest_parse(HELLO_0644 "\trest", &d), 0);
	assert_digest(&d, HELLO_0644);
	assert_false(digest_equal(&d, &digest_zero));
}
