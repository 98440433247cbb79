/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/digest.h"
#include "swupd/content/tar.h"

static char *repeat(const char *s, size_t n)
{
	struct buf b = {0};

	for (size_t i = 0; i < n; i++)
		buf_puts(&b, s);
	return b.data;
}

static void check_round_trip(const char *name, const struct attrs *a, const char *content)
{
	_cleanup_(buf_free) struct buf tar = {0};
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member m;
	struct err e = ERR_INIT;
	char data[100];

	tar_add(&tar, name, a, content);
	tar_add(&tar, "after", &(struct attrs){.kind = KIND_FILE, .size = 2}, "ok");
	tar_end(&tar);
	assert_int_equal(tar.len % 512, 0);
	assert_ok(tar_open_mem(tar.data, tar.len, &t, &e), &e);
	assert_int_equal(tar_next(t, &m, &e), 1);
	assert_true(strncmp(m.name, name, strlen(name)) == 0);
	assert_string_equal(m.name + strlen(name), a->kind == KIND_DIR ? "/" : "");
	assert_int_equal(m.attrs.kind, a->kind);
	assert_int_equal(m.attrs.mode, a->mode);
	assert_int_equal(m.attrs.uid, a->uid);
	assert_int_equal(m.attrs.gid, a->gid);
	assert_int_equal(m.attrs.size, a->size);
	if (a->kind == KIND_LINK)
		assert_string_equal(m.link, content);
	else
		assert_null(m.link);
	if (a->kind == KIND_FILE) {
		assert_int_equal(tar_read(t, data, sizeof(data), &e), (int)a->size);
		assert_memory_equal(data, content, a->size);
		assert_int_equal(tar_read(t, data, sizeof(data), &e), 0);
	}
	assert_int_equal(tar_next(t, &m, &e), 1);
	assert_string_equal(m.name, "after");
	assert_int_equal(tar_next(t, &m, &e), 0);
}

TEST(tar_members_come_back_as_they_were_written)
{
	_cleanup_free_ char *l98 = repeat("x", 98), *l99 = repeat("x", 99), *l100 = repeat("x", 100),
			    *l101 = repeat("x", 101), *l3000 = repeat("abcdefghij", 300),
			    *utf8 = repeat("\xc3\xa9", 70), *latin1 = repeat("\xe9", 140);
	const char *const names[] = {"a", l98, l99, l100, l101, l3000, "caf\xc3\xa9", utf8, latin1};
	const struct attrs file = {.kind = KIND_FILE, .mode = 06755, .uid = 1000, .gid = 1001, .size = 5};
	const struct attrs large = {.kind = KIND_FILE, .uid = 2097152, .gid = 4294967294U, .size = 0};
	const struct attrs dir = {.kind = KIND_DIR, .mode = 01777, .uid = 2097151};
	struct attrs link = {.kind = KIND_LINK, .uid = 5};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		check_round_trip(names[i], &file, "hello");
		check_round_trip(names[i], &large, "");
		check_round_trip(names[i], &dir, NULL);
		for (size_t j = 0; j < ARRAY_LEN(names); j++) {
			link.size = strlen(names[j]);
			check_round_trip(names[i], &link, names[j]);
		}
	}
}

TEST(tar_padding_ends_at_a_block)
{
	_cleanup_free_ char *content = repeat("0123456789abcdef", 65);

	for (size_t size = 511; size <= 513; size++) {
		_cleanup_(buf_free) struct buf tar = {0};
		const struct attrs a = {.kind = KIND_FILE, .size = size};
		tar_add(&tar, "a", &a, content);
		assert_int_equal(tar.len, size <= 512 ? 1024 : 1536);
	}
}

TEST(tar_has_the_same_bytes_on_any_machine)
{
	static const char golden[] = "bd2b85758b679c049e1c600e88288e6dfa512f5b8b9078f51e663ae3f5ab3bfb";
	_cleanup_free_ char *name = repeat("0123456789abcdef", 8);
	const struct attrs file = {.kind = KIND_FILE, .mode = 0644, .uid = 1, .gid = 2097152, .size = 5};
	const struct attrs dir = {.kind = KIND_DIR, .mode = 0755};
	const struct attrs link = {.kind = KIND_LINK, .size = 3};
	_cleanup_(buf_free) struct buf tar = {0};
	struct digest d;
	char hex[DIGEST_HEX];

	tar_add(&tar, name, &file, "hello");
	tar_add(&tar, "dir", &dir, NULL);
	tar_add(&tar, "link", &link, "dir");
	tar_end(&tar);
	sha256_mem(tar.data, tar.len, &d);
	digest_format(&d, hex);
	assert_string_equal(hex, golden);
}

TEST(tar_texts_come_back_in_every_codec)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig", "missing"};
	static const enum codec codecs[] = {CODEC_NONE, CODEC_GZIP, CODEC_BZIP2, CODEC_XZ, CODEC_ZSTD};
	struct buf texts[2] = {{(char *)"text\n", 5, 0}, {(char *)"\0\1", 2, 0}};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		struct buf back[3] = {{0}, {0}, {0}};
		_cleanup_(buf_free) struct buf tar = {0};
		assert_ok(tar_write_texts(names, texts, 2, codecs[i], 0, &tar, &e), &e);
		assert_int_equal(codec_detect(tar.data, tar.len), codecs[i]);
		assert_ok(tar_read_texts(tar.data, tar.len, names, 3, 5, back, &e), &e);
		assert_string_equal(back[0].data, "text\n");
		assert_int_equal(back[1].len, 2);
		assert_memory_equal(back[1].data, "\0\1", 3);
		assert_null(back[2].data);
		for (size_t j = 0; j < 3; j++)
			buf_free(&back[j]);
	}
}

TEST(tar_texts_of_the_predecessor_are_those_beside_them)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig"};
	_cleanup_free_ char *dir = xasprintf("%s/www/20", test_vectors());
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(buf_free) struct buf tar = {0}, text = {0}, sig = {0};
	struct buf back[2] = {{0}, {0}};
	struct err e = ERR_INIT;

	assert_ok(fs_load(fd, "Manifest.MoM.tar", 1 << 20, &tar, &e), &e);
	assert_ok(fs_load(fd, names[0], 1 << 20, &text, &e), &e);
	assert_ok(fs_load(fd, names[1], 1 << 20, &sig, &e), &e);
	assert_ok(tar_read_texts(tar.data, tar.len, names, 2, 1 << 20, back, &e), &e);
	assert_int_equal(back[0].len, text.len);
	assert_memory_equal(back[0].data, text.data, text.len);
	assert_int_equal(back[1].len, sig.len);
	assert_memory_equal(back[1].data, sig.data, sig.len);
	buf_free(&back[0]);
	buf_free(&back[1]);
}

/* Text members as a hostile server might send them; what was wanted stays as it was */
static void check_refused(const struct buf *tar, size_t max, int code, const char *message)
{
	static const char *const names[] = {"Manifest.a"};
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	buf_puts(&text, "before");
	assert_fails(tar_read_texts(tar->data, tar->len, names, 1, max, &text, &e), code, &e, message);
	assert_string_equal(text.data, "before");
}

TEST(tar_texts_take_no_other_members)
{
	const struct attrs file = {.kind = KIND_FILE, .mode = 0644, .size = 5}, dir = {.kind = KIND_DIR, .mode = 0755},
			   link = {.kind = KIND_LINK, .size = 5};
	static const struct {
		const char *first, *second, *message;
	} cases[] = {
		{"Manifest.a", "Manifest.b", "does not belong"},
		{"Manifest.a", "Manifest.a", "tar: Manifest.a is there twice"},
		{"./Manifest.a", NULL, "does not belong"},
		{"../Manifest.a", NULL, "does not belong"},
		{"", NULL, "does not belong"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf tar = {0};
		tar_add(&tar, cases[i].first, &file, "hello");
		if (cases[i].second)
			tar_add(&tar, cases[i].second, &file, "hello");
		tar_end(&tar);
		check_refused(&tar, 5, ERR_FORMAT, cases[i].message);
	}
	const struct attrs *const kinds[] = {&dir, &link};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		_cleanup_(buf_free) struct buf tar = {0};
		tar_add(&tar, "Manifest.a", kinds[i], "hello");
		tar_end(&tar);
		check_refused(&tar, 5, ERR_FORMAT, "does not belong");
	}
}

TEST(tar_texts_have_a_limit_and_an_end)
{
	const struct attrs file = {.kind = KIND_FILE, .mode = 0644, .size = 5},
			   huge = {.kind = KIND_FILE, .mode = 0644, .size = 0};
	_cleanup_(buf_free) struct buf tar = {0}, lie = {0};
	size_t len;

	tar_add(&tar, "Manifest.a", &file, "hello");
	len = tar.len;
	tar_end(&tar);
	check_refused(&tar, 4, ERR_LIMIT, "tar: Manifest.a: larger than 4 bytes");
	tar.len = len - 509; /* cut within the content */
	check_refused(&tar, 5, ERR_FORMAT, "tar");
	tar.len = 300; /* cut within the header */
	check_refused(&tar, 5, ERR_FORMAT, "tar");

	/* a size of 1 GiB with nothing behind it */
	tar_add(&lie, "Manifest.a", &huge, NULL);
	memcpy(lie.data + 124, "10000000000", 11);
	unsigned sum = 8 * ' ';
	for (size_t i = 0; i < 512; i++)
		sum += i >= 148 && i < 156 ? 0 : (unsigned char)lie.data[i];
	snprintf(lie.data + 148, 8, "%06o", sum);
	check_refused(&lie, SIZE_MAX, ERR_FORMAT, "tar");
	check_refused(&lie, 1 << 20, ERR_LIMIT, "larger than");
}

TEST(tar_of_garbage_is_refused)
{
	_cleanup_free_ char *garbage = repeat("garbage ", 500);
	const struct buf tar = {garbage, 4000, 0}, empty = {(char *)"", 0, 0};

	check_refused(&tar, 5, ERR_FORMAT, "tar");
	check_refused(&empty, 5, ERR_FORMAT, "tar");
}

TEST(tar_of_nothing_leaves_what_is_missing_empty)
{
	_cleanup_(buf_free) struct buf tar = {0}, text = {0};
	static const char *const names[] = {"a"};
	struct err e = ERR_INIT;

	tar_end(&tar);
	assert_ok(tar_read_texts(tar.data, tar.len, names, 1, 5, &text, &e), &e);
	assert_null(text.data);
}
