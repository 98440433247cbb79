/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/kata.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/image/dax_header.h"
#include "mixer/image/mbr.h"
#include "mixer/image/verity.h"
#include "swupd/base/mem.h"
#include "tests/unit/test.h"

#define MIB (UINT64_C(1) << 20)
#define ID  0xfeedbeef

static int new_file(void)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	int fd = openat(dir, "image", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	return fd;
}

static void load_label(int fd, uint64_t at, struct mbr *out)
{
	struct err e = ERR_INIT;
	uint8_t bytes[MBR_BYTES];

	assert_int_equal(pread(fd, bytes, sizeof(bytes), (off_t)at), sizeof(bytes));
	assert_ok(mbr_parse(bytes, out, &e), &e);
}

TEST(kata_layout_is_the_documented_one)
{
	struct err e = ERR_INIT;
	struct kata_layout l;
	struct dax_header h;
	struct mbr first, second;
	uint8_t header[DAX_HEADER_BYTES];
	_cleanup_close_ int fd = new_file();

	kata_layout_make(40 * MIB, true, false, ID, &l);
	assert_ok(kata_layout_write(&l, fd, &e), &e);
	assert_int_equal(lseek(fd, 0, SEEK_END), 44 * MIB); /* a multiple of 2 MiB */

	/* who takes it as a disk: one partition from 3 MiB to the end */
	load_label(fd, 0, &first);
	assert_int_equal(first.id, ID);
	assert_int_equal(first.partitions[0].type, 0x83);
	assert_int_equal(first.partitions[0].start, 3 * MIB);
	assert_int_equal(first.partitions[0].size, 41 * MIB);
	for (unsigned i = 1; i < MBR_PARTITIONS; i++)
		assert_int_equal(first.partitions[i].type, 0);

	/* who takes it as persistent memory: a header, and the same from 2 MiB on */
	assert_int_equal(pread(fd, header, sizeof(header), 4096), sizeof(header));
	assert_ok(dax_header_parse(header, &h, &e), &e);
	assert_int_equal(h.data_offset, 2 * MIB);
	load_label(fd, 2 * MIB, &second);
	assert_int_equal(second.id, ID);
	assert_int_equal(second.partitions[0].type, 0x83);
	assert_int_equal(second.partitions[0].start, 1 * MIB);
	assert_int_equal(second.partitions[0].size, 41 * MIB);
}

TEST(kata_layout_without_a_header_has_one_label)
{
	struct err e = ERR_INIT;
	struct kata_layout l, back;
	struct mbr label;
	uint8_t between[2048], zeros[2048] = {0};
	_cleanup_close_ int fd = new_file();

	kata_layout_make(40 * MIB, false, false, ID, &l);
	assert_ok(kata_layout_write(&l, fd, &e), &e);
	load_label(fd, 0, &label);
	assert_int_equal(label.partitions[0].start, 1 * MIB);
	assert_int_equal(label.partitions[0].size, 41 * MIB);
	assert_int_equal(lseek(fd, 0, SEEK_END), 42 * MIB);
	assert_int_equal(pread(fd, between, sizeof(between), 4096), sizeof(between));
	assert_memory_equal(between, zeros, sizeof(between));
	assert_ok(kata_layout_read(fd, &back, &e), &e);
	assert_int_equal(back.device_start, 0);
	assert_int_equal(back.root_start, 1 * MIB);
}

/* Kata's own builder rounds 99 % of each label's disk for itself, and they disagree where the size modulo 100 MiB is 1 or 2. */
TEST(kata_layout_has_the_hash_tree_at_one_place_whatever_the_size)
{
	struct err e = ERR_INIT;

	for (uint64_t size = 1 * MIB; size < 420 * MIB; size += MIB) {
		struct kata_layout l, back;
		struct mbr first, second;
		_cleanup_close_ int fd = new_file();
		kata_layout_make(size - UINT64_C(5) * 4096, true, true, ID, &l);
		assert_ok(kata_layout_write(&l, fd, &e), &e);
		load_label(fd, 0, &first);
		load_label(fd, 2 * MIB, &second);
		assert_int_equal(first.partitions[1].type, 0x83);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(first.partitions[i].start, second.partitions[i].start + 2 * MIB);
			assert_int_equal(first.partitions[i].size, second.partitions[i].size);
		}
		assert_int_equal(first.partitions[0].size, size);
		assert_int_equal(first.partitions[1].start, 3 * MIB + size);
		assert_true(first.partitions[1].size >= verity_tree_bytes(size / VERITY_BLOCK));
		assert_int_equal(l.size % (2 * MIB), 0);
		assert_int_equal(first.partitions[1].start + first.partitions[1].size, l.size);
		assert_ok(kata_layout_read(fd, &back, &e), &e);
		assert_int_equal(back.device_start, l.device_start);
		assert_int_equal(back.hash_start, l.hash_start);
		assert_int_equal(back.hash_size, l.hash_size);
		assert_int_equal(back.size, l.size);
	}
}

/* What changes these bytes of an image, and what is said of it */
TEST(kata_layout_read_finds_what_is_wrong)
{
	static const struct {
		uint64_t at;
		uint8_t byte;
		int code;
		const char *text;
	} cases[] = {
		{510, 0, ERR_FORMAT, "no disk label"},
		{446 + 4, 0x0c, ERR_FORMAT, "other partitions"},
		{478 + 4, 0x83, ERR_FORMAT, "partition 3 makes no sense"},
		{4096, 'X', ERR_FORMAT, "no DAX header"},
		{4096 + 72, 2, ERR_DIGEST, "checksum"},
		{4096 + 4088, 0, ERR_DIGEST, "checksum"},
		{2 * MIB + 511, 0, ERR_FORMAT, "the second label"},
		{2 * MIB + 440, 1, ERR_FORMAT, "labels disagree"},
		{2 * MIB + 446 + 13, 1, ERR_FORMAT, "labels disagree"},
		{2 * MIB + 462 + 9, 0xff, ERR_FORMAT, "labels disagree"},
	};
	struct err e = ERR_INIT;
	struct kata_layout l, back;

	kata_layout_make(40 * MIB, true, true, ID, &l);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_close_ int fd = new_file();
		assert_ok(kata_layout_write(&l, fd, &e), &e);
		assert_ok(kata_layout_read(fd, &back, &e), &e);
		assert_int_equal(pwrite(fd, &cases[i].byte, 1, (off_t)cases[i].at), 1);
		assert_fails(kata_layout_read(fd, &back, &e), cases[i].code, &e, cases[i].text);
	}
	_cleanup_close_ int fd = new_file();
	assert_ok(kata_layout_write(&l, fd, &e), &e);
	assert_int_equal(ftruncate(fd, (off_t)(l.size - MIB)), 0);
	assert_fails(kata_layout_read(fd, &back, &e), ERR_FORMAT, &e, "do not lie where Kata has them");
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_fails(kata_layout_read(fd, &back, &e), ERR_FORMAT, &e, "too short");
}
