/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/compress.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/manifest.h"
#include "swupd/content/object.h"
#include "swupd/content/pack.h"
#include "swupd/content/tar.h"

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("pack", MFD_CLOEXEC);
	struct err e = ERR_INIT;

	assert_true(fd >= 0);
	assert_ok(fs_write_all(fd, data, len, &e), &e);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void read_all(struct pack *p, struct buf *out)
{
	struct err e = ERR_INIT;
	int n;

	do {
		n = pack_read(p, buf_reserve(out, 4096), 4096, &e);
		assert_ok(n, &e);
		out->len += (size_t)n;
	} while (n > 0);
	out->data[out->len] = '\0';
}

/* Each object of the pack has its hash, each delta a size; counts both */
static void check_pack(int fd, size_t *objects, size_t *deltas)
{
	_cleanup_(pack_closep) struct pack *p = NULL;
	struct pack_member m;
	struct err e = ERR_INIT;
	int r;

	assert_ok(pack_open(fd, &p, &e), &e);
	while ((r = pack_next(p, &m, &e)) > 0) {
		_cleanup_(buf_free) struct buf b = {0};
		struct digest got;
		if (m.attrs.kind == KIND_LINK)
			buf_puts(&b, m.link);
		else
			read_all(p, &b);
		assert_int_equal(b.len, m.attrs.size);
		if (m.is_delta) {
			assert_memory_equal(b.data, "BSDIFF4", 7);
			++*deltas;
			continue;
		}
		file_hash_mem(&m.attrs, b.data, b.len, &got);
		assert_true(digest_equal(&got, &m.hash));
		++*objects;
	}
	assert_ok(r, &e);
}

TEST(pack_of_the_predecessor_is_read)
{
	static const char *const releases[] = {"10", "20", "30"};
	struct err e = ERR_INIT;
	size_t packs = 0, objects = 0, deltas = 0;

	for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
		_cleanup_free_ char *path = xasprintf("%s/www/%s", test_vectors(), releases[i]);
		_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(fs_list(dir, ".", &names, &e), &e);
		for (size_t j = 0; j < names.n; j++) {
			if (!text_starts(names.items[j], "pack-"))
				continue;
			size_t before = objects + deltas;
			_cleanup_close_ int fd = openat(dir, names.items[j], O_RDONLY | O_CLOEXEC);
			check_pack(fd, &objects, &deltas);
			assert_true(objects + deltas > before);
			packs++;
		}
	}
	assert_true(packs >= 20);
	assert_true(objects > 100);
	assert_true(deltas > 10);
}

TEST(pack_of_everything_has_every_object_of_its_manifest)
{
	_cleanup_free_ char *path = xasprintf("%s/www/10", test_vectors());
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = openat(dir, "pack-os-core-from-0.tar", O_RDONLY | O_CLOEXEC);
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(pack_closep) struct pack *p = NULL;
	_cleanup_(buf_free) struct buf seen = {0};
	struct pack_member member;
	struct err e = ERR_INIT;

	assert_ok(fs_load(dir, "Manifest.os-core", 1 << 20, &b, &e), &e);
	assert_ok(manifest_parse(b.data, b.len, false, 10, &m, &e), &e);
	assert_ok(pack_open(fd, &p, &e), &e);
	buf_puts(&seen, "");
	while (pack_next(p, &member, &e) > 0)
		buf_add(&seen, &member.hash, sizeof(member.hash));
	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].kind != KIND_NONE)
			assert_non_null(memmem(seen.data, seen.len, &m->entries[i].hash, sizeof(struct digest)));
}

/* The members of our packs in these tests: object i is a file of i bytes, and so on */
#define N_OBJECTS 40

static struct attrs object_attrs(unsigned i)
{
	return (struct attrs){.kind = i % 5 == 3   ? KIND_DIR
				      : i % 5 == 4 ? KIND_LINK
						   : KIND_FILE,
			      .mode = i % 5 == 4 ? 0 : 0700 + i % 8,
			      .uid = i,
			      .size = i % 5 == 3 ? 0 : (uint64_t)i * i * i + 1};
}

static char *object_content(unsigned i, uint64_t size)
{
	char *content = xcalloc(1, size + 1);

	memset(content, 'a' + (int)i % 26, size % 4000);
	return content;
}

static void add_object(struct buf *part, unsigned i, struct digest *d)
{
	struct attrs a = object_attrs(i);
	struct err e = ERR_INIT;

	if (a.kind == KIND_LINK)
		a.size = i + 1;
	_cleanup_free_ char *content = object_content(i, a.size);
	file_hash_mem(&a, content, a.size, d);
	_cleanup_free_ char *name = pack_object_name(d);
	assert_ok(pack_part_add(part, name, &a, content, &e), &e);
}

/* A pack of one part per n members, each compressed by itself */
static struct buf make_pack(enum codec codec, unsigned n, struct digest want[N_OBJECTS])
{
	struct buf pack = {0};
	struct err e = ERR_INIT;

	for (unsigned i = 0; i <= N_OBJECTS; i += n) {
		_cleanup_(buf_free) struct buf part = {0};
		if (i == 0)
			assert_ok(pack_part_begin(&part, &e), &e);
		for (unsigned j = i; j < i + n && j < N_OBJECTS; j++)
			add_object(&part, j, &want[j]);
		if (i + n > N_OBJECTS)
			pack_part_end(&part);
		assert_ok(compress_mem(codec, 1, part.data, part.len, &pack, &e), &e);
	}
	return pack;
}

TEST(pack_of_many_compressed_parts_is_read_as_one)
{
	static const enum codec codecs[] = {CODEC_NONE, CODEC_GZIP, CODEC_BZIP2, CODEC_XZ, CODEC_ZSTD};
	static const unsigned sizes[] = {1, 3, N_OBJECTS, N_OBJECTS + 1};

	for (size_t c = 0; c < ARRAY_LEN(codecs) * ARRAY_LEN(sizes); c++) {
		struct digest want[N_OBJECTS];
		_cleanup_(buf_free) struct buf b =
			make_pack(codecs[c / ARRAY_LEN(sizes)], sizes[c % ARRAY_LEN(sizes)], want);
		_cleanup_close_ int fd = file_of(b.data, b.len);
		_cleanup_(pack_closep) struct pack *p = NULL;
		struct pack_member m;
		struct err e = ERR_INIT;
		assert_ok(pack_open(fd, &p, &e), &e);
		for (unsigned i = 0; i < N_OBJECTS; i++) {
			_cleanup_(buf_free) struct buf content = {0};
			struct digest got;
			assert_int_equal(pack_next(p, &m, &e), 1);
			assert_false(m.is_delta);
			assert_true(digest_equal(&m.hash, &want[i]));
			if (m.attrs.kind == KIND_LINK)
				buf_puts(&content, m.link);
			else
				read_all(p, &content);
			file_hash_mem(&m.attrs, content.data, content.len, &got);
			assert_true(digest_equal(&got, &want[i]));
		}
		assert_int_equal(pack_next(p, &m, &e), 0);
	}
}

TEST(pack_members_may_be_left_unread)
{
	struct digest want[N_OBJECTS];
	_cleanup_(buf_free) struct buf b = make_pack(CODEC_ZSTD, 7, want);
	_cleanup_close_ int fd = file_of(b.data, b.len);
	_cleanup_(pack_closep) struct pack *p = NULL;
	struct pack_member m;
	struct err e = ERR_INIT;
	char byte;

	assert_ok(pack_open(fd, &p, &e), &e);
	for (unsigned i = 0; i < N_OBJECTS; i++) {
		assert_int_equal(pack_next(p, &m, &e), 1);
		assert_true(digest_equal(&m.hash, &want[i]));
		if (i % 2 && m.attrs.kind == KIND_FILE)
			assert_int_equal(pack_read(p, &byte, 1, &e), 1);
	}
	assert_int_equal(pack_next(p, &m, &e), 0);
}

TEST(pack_gives_deltas_by_their_two_hashes)
{
	const struct digest from = {{1}}, to = {{2}};
	const struct attrs a = {.kind = KIND_FILE, .mode = 04755, .uid = 5, .size = 5};
	_cleanup_(buf_free) struct buf part = {0}, content = {0};
	_cleanup_free_ char *name = pack_delta_name(&from, &to);
	_cleanup_(pack_closep) struct pack *p = NULL;
	struct pack_member m;
	struct err e = ERR_INIT;

	assert_int_equal(strlen(name), 141); /* longer than a tar's name field */
	assert_ok(pack_part_begin(&part, &e), &e);
	assert_ok(pack_part_add(&part, name, &a, "delta", &e), &e);
	pack_part_end(&part);
	_cleanup_close_ int fd = file_of(part.data, part.len);
	assert_ok(pack_open(fd, &p, &e), &e);
	assert_int_equal(pack_next(p, &m, &e), 1);
	assert_true(m.is_delta);
	assert_true(digest_equal(&m.from, &from));
	assert_true(digest_equal(&m.hash, &to));
	assert_int_equal(m.attrs.size, 5);
	assert_int_equal(m.attrs.mode, 0); /* the delta itself tells the attributes of its result */
	read_all(p, &content);
	assert_string_equal(content.data, "delta");
	assert_int_equal(pack_next(p, &m, &e), 0);
}

TEST(pack_members_of_other_names_or_types_are_not_seen)
{
#define HEX "28cb7c6cad23920f344157f48ae353caca34e9a2f5cff934a4fdaaf7509f2062"
	static const struct {
		const char *name;
		enum file_kind kind;
	} cases[] = {
		{"staged/../" HEX, KIND_FILE},
		{"./staged/" HEX, KIND_FILE},
		{"/staged/" HEX, KIND_FILE},
		{"staged/" HEX "0", KIND_FILE},
		{"staged/" HEX "/x", KIND_FILE},
		{"staged/" HEX "/x", KIND_DIR},
		{"staged/28CB7C6CAD23920F344157F48AE353CACA34E9A2F5CFF934A4FDAAF7509F2062", KIND_FILE},
		{"staged/28cb", KIND_FILE},
		{"staged//" HEX, KIND_FILE},
		{HEX, KIND_FILE},
		{"manifest/10/Manifest.os-core", KIND_FILE},
		{"delta/10-20-" HEX "-" HEX, KIND_LINK},
		{"delta/10-20-" HEX "-" HEX, KIND_DIR},
		{"delta/10-20-" HEX "-" HEX "x", KIND_FILE},
		{"delta/" HEX, KIND_FILE},
	};
	_cleanup_(buf_free) struct buf part = {0};
	_cleanup_(pack_closep) struct pack *p = NULL;
	struct digest last;
	struct pack_member m;
	struct err e = ERR_INIT;

	assert_ok(pack_part_begin(&part, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct attrs a = {.kind = cases[i].kind, .mode = 0644, .size = cases[i].kind == KIND_DIR ? 0 : 5};
		assert_ok(pack_part_add(&part, cases[i].name, &a, "hello", &e), &e);
	}
	add_object(&part, 7, &last);
	pack_part_end(&part);
	_cleanup_close_ int fd = file_of(part.data, part.len);
	assert_ok(pack_open(fd, &p, &e), &e);
	assert_int_equal(pack_next(p, &m, &e), 1);
	assert_true(digest_equal(&m.hash, &last));
	assert_int_equal(pack_next(p, &m, &e), 0);
}

TEST(pack_takes_only_what_can_be_content)
{
	const struct attrs none = {.kind = KIND_NONE}, bundle = {.kind = KIND_BUNDLE};
	_cleanup_(buf_free) struct buf part = {0};
	struct err e = ERR_INIT;

	assert_fails(pack_part_add(&part, "a", &none, NULL, &e), ERR_FORMAT, &e, "pack: a is neither");
	assert_fails(pack_part_add(&part, "a", &bundle, NULL, &e), ERR_FORMAT, &e, "pack: a is neither");
	assert_int_equal(part.len, 0);
}

TEST(pack_cut_anywhere_ends_in_an_error_or_early)
{
	static const enum codec codecs[] = {CODEC_NONE, CODEC_XZ, CODEC_ZSTD};
	struct digest want[N_OBJECTS];

	for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
		_cleanup_(buf_free) struct buf b = make_pack(codecs[c], 3, want);
		for (size_t len = 0; len < b.len; len += b.len / 97 + 1) {
			_cleanup_close_ int fd = file_of(b.data, len);
			_cleanup_(pack_closep) struct pack *p = NULL;
			struct pack_member m;
			struct err e = ERR_INIT;
			int r = pack_open(fd, &p, &e), n = 0;
			while (r >= 0 && (r = pack_next(p, &m, &e)) > 0)
				n++;
			assert_true(n <= N_OBJECTS);
			assert_true(r == 0 || r == -ERR_FORMAT);
			err_clear(&e);
		}
	}
}
