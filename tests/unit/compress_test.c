/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <lzma.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/compress.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static const enum codec codecs[] = {CODEC_GZIP, CODEC_BZIP2, CODEC_XZ, CODEC_ZSTD};

/* Bytes that do not compress, the same on each run */
static void add_noise(struct buf *b, size_t n, uint32_t seed)
{
	while (n-- > 0) {
		seed = seed * 1664525 + 1013904223;
		buf_putc(b, (char)(seed >> 24));
	}
}

static void add_zeros(struct buf *b, size_t n)
{
	memset(buf_reserve(b, n), 0, n + 1);
	b->len += n;
}

static void compress(enum codec c, const struct buf *in, struct buf *out)
{
	struct err e = ERR_INIT;

	assert_ok(compress_mem(c, 0, in->data, in->len, out, &e), &e);
}

static void assert_expands_to(enum codec c, const struct buf *in, size_t max, const struct buf *want)
{
	_cleanup_(buf_free) struct buf out = {0};
	struct err e = ERR_INIT;

	assert_ok(decompress_mem(c, in->data, in->len, max, &out, &e), &e);
	assert_int_equal(out.len, want->len);
	assert_memory_equal(out.data, want->len ? want->data : "", want->len + 1); /* with the NUL */
}

/* It is refused with this code, and what was in the output stays */
static void assert_refuses(enum codec c, const void *in, size_t len, size_t max, int code, const char *part)
{
	_cleanup_(buf_free) struct buf out = {0};
	struct err e = ERR_INIT;

	buf_puts(&out, "before");
	assert_fails(decompress_mem(c, in, len, max, &out, &e), code, &e, part);
	assert_int_equal(out.len, 6);
	assert_string_equal(out.data, "before");
}

static void round_trip(const struct buf *in)
{
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf packed = {0};
		compress(codecs[i], in, &packed);
		assert_int_equal(codec_detect(packed.data, packed.len), codecs[i]);
		assert_expands_to(codecs[i], &packed, in->len, in);
		assert_expands_to(codecs[i], &packed, SIZE_MAX, in);
	}
}

TEST(compress_and_decompress_give_the_same_bytes)
{
	_cleanup_(buf_free) struct buf b = {0};

	round_trip(&b);
	buf_puts(&b, "x");
	round_trip(&b);
	for (int i = 0; i < 20000; i++)
		buf_printf(&b, "line %d of a text\n", i);
	round_trip(&b);
	add_noise(&b, 300000, 1);
	add_zeros(&b, 700000);
	round_trip(&b);
}

TEST(compress_none_copies)
{
	_cleanup_(buf_free) struct buf in = {0}, out = {0};
	struct err e = ERR_INIT;

	buf_puts(&in, "hello");
	compress(CODEC_NONE, &in, &out);
	assert_string_equal(out.data, "hello");
	assert_expands_to(CODEC_NONE, &in, 5, &in);
	assert_refuses(CODEC_NONE, "hello", 5, 4, ERR_LIMIT, "larger than 4 bytes");
	assert_ok(decompress_mem(CODEC_NONE, "!", 1, 1, &out, &e), &e);
	assert_string_equal(out.data, "hello!");
}

TEST(compress_adds_behind_what_is_there)
{
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf in = {0}, alone = {0}, behind = {0}, out = {0};
		struct err e = ERR_INIT;

		add_noise(&in, 1000, 2);
		compress(codecs[i], &in, &alone);
		buf_puts(&behind, "head");
		compress(codecs[i], &in, &behind);
		assert_int_equal(behind.len, alone.len + 4);
		assert_memory_equal(behind.data + 4, alone.data, alone.len);
		buf_puts(&out, "head");
		/* max counts what is added, not what was there */
		assert_ok(decompress_mem(codecs[i], alone.data, alone.len, 1000, &out, &e), &e);
		assert_int_equal(out.len, 1004);
		assert_memory_equal(out.data + 4, in.data, 1000);
	}
}

TEST(compress_writes_neither_name_nor_time)
{
	_cleanup_(buf_free) struct buf in = {0}, gz = {0};

	buf_puts(&in, "hello");
	compress(CODEC_GZIP, &in, &gz);
	assert_memory_equal(gz.data, "\x1f\x8b\x08\0\0\0\0\0\x02\x03", 10); /* no flags, time 0, best, Unix */
}

TEST(compress_takes_a_level)
{
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf in = {0}, fast = {0}, best = {0};
		struct err e = ERR_INIT;

		for (unsigned k = 0; k < 20000; k++)
			buf_printf(&in, "%x %u\n", k * k % 4093, k);
		add_noise(&in, 120000, 5); /* repeated beyond the 100 kB that bzip2 -1 looks at */
		add_noise(&in, 120000, 5);
		assert_ok(compress_mem(codecs[i], 1, in.data, in.len, &fast, &e), &e);
		compress(codecs[i], &in, &best);
		assert_true(best.len < fast.len);
		assert_expands_to(codecs[i], &fast, in.len, &in);
	}
	_cleanup_(buf_free) struct buf out = {0};
	struct err e = ERR_INIT;
	assert_fails(compress_mem(CODEC_XZ, 10, "x", 1, &out, &e), EINVAL, &e, "no level 10");
}

TEST(decompress_takes_exactly_max_and_no_byte_more)
{
	/* around the step of the decoding loop, too */
	static const size_t sizes[] = {1, 2, 1000, 262143, 262144, 262145, 1000000};

	for (size_t i = 0; i < ARRAY_LEN(codecs); i++)
		for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
			_cleanup_(buf_free) struct buf in = {0}, packed = {0};
			add_noise(&in, sizes[k], 3);
			compress(codecs[i], &in, &packed);
			assert_expands_to(codecs[i], &packed, sizes[k], &in);
			assert_refuses(codecs[i], packed.data, packed.len, sizes[k] - 1, ERR_LIMIT, "more than");
			assert_refuses(codecs[i], packed.data, packed.len, 0, ERR_LIMIT, "more than");
		}
}

TEST(decompress_holds_no_more_than_max_of_a_bomb)
{
	_cleanup_(buf_free) struct buf zeros = {0};

	add_zeros(&zeros, 64UL << 20);
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf packed = {0}, out = {0};
		struct err e = ERR_INIT;
		assert_ok(compress_mem(codecs[i], 1, zeros.data, zeros.len, &packed, &e), &e);
		assert_fails(decompress_mem(codecs[i], packed.data, packed.len, 1UL << 20, &out, &e), ERR_LIMIT, &e,
			     "more than");
		assert_int_equal(out.len, 0);
		assert_true(out.cap <= 4UL << 20);
	}
}

TEST(decompress_refuses_each_truncation)
{
	_cleanup_(buf_free) struct buf in = {0};

	for (int i = 0; i < 40; i++)
		buf_printf(&in, "%d,", i * i);
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf packed = {0};
		compress(codecs[i], &in, &packed);
		for (size_t n = 0; n < packed.len; n++)
			assert_refuses(codecs[i], packed.data, n, in.len, ERR_FORMAT, "damaged or truncated");
	}
}

TEST(decompress_takes_streams_one_after_the_other)
{
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf a = {0}, none = {0}, packed = {0}, both = {0};
		add_noise(&a, 300000, 4);
		compress(codecs[i], &a, &packed);
		compress(codecs[i], &none, &packed);
		compress(codecs[i], &a, &packed);
		buf_add(&both, a.data, a.len);
		buf_add(&both, a.data, a.len);
		assert_expands_to(codecs[i], &packed, both.len, &both);
		assert_refuses(codecs[i], packed.data, packed.len, both.len - 1, ERR_LIMIT, "more than");
		assert_refuses(codecs[i], packed.data, packed.len - 1, both.len, ERR_FORMAT, "truncated");
	}
}

TEST(decompress_refuses_what_follows_the_last_stream)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rests[] = {{"\0", 1}, {"\0\0\0\0", 4}, {"garbage behind the stream", 25}, {"\x1f\x8b", 2}, {"BZ", 2}};

	for (size_t i = 0; i < ARRAY_LEN(codecs); i++)
		for (size_t k = 0; k < ARRAY_LEN(rests); k++) {
			_cleanup_(buf_free) struct buf in = {0}, packed = {0};
			buf_puts(&in, "hello");
			compress(codecs[i], &in, &packed);
			buf_add(&packed, rests[k].bytes, rests[k].len);
			assert_refuses(codecs[i], packed.data, packed.len, 100, ERR_FORMAT, "damaged");
		}
}

TEST(decompress_refuses_what_is_of_another_kind)
{
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++)
		for (size_t k = 0; k < ARRAY_LEN(codecs); k++) {
			_cleanup_(buf_free) struct buf in = {0}, packed = {0};
			if (i == k)
				continue;
			buf_puts(&in, "hello");
			compress(codecs[i], &in, &packed);
			assert_refuses(codecs[k], packed.data, packed.len, 100, ERR_FORMAT, codec_name(codecs[k]));
		}
}

/*
 * All but zstd (whose one-shot writer adds no checksum) notice; nobody reads or writes outside or gives more than max
 */
TEST(decompress_notices_changed_bits)
{
	_cleanup_(buf_free) struct buf in = {0};

	for (int i = 0; i < 60; i++)
		buf_printf(&in, "%d,", i * i);
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_(buf_free) struct buf packed = {0};
		compress(codecs[i], &in, &packed);
		for (size_t bit = 0; bit < packed.len * 8; bit++) {
			_cleanup_(buf_free) struct buf out = {0};
			packed.data[bit / 8] = (char)(packed.data[bit / 8] ^ 1 << bit % 8);
			int r = decompress_mem(codecs[i], packed.data, packed.len, in.len + 10, &out, NULL);
			packed.data[bit / 8] = (char)(packed.data[bit / 8] ^ 1 << bit % 8);
			assert_true(r == 0 ? out.len <= in.len + 10 : r == -ERR_FORMAT || r == -ERR_LIMIT);
			if (r == 0 && codecs[i] != CODEC_ZSTD) /* a bit in gzip's unused header fields */
				assert_memory_equal(out.data, in.data, in.len);
		}
	}
}

/* Where a stream says how large its dictionary is (xz file format, sections 3.1 and 5.3.1) */
static uint8_t *dictionary_of(const struct buf *xz)
{
	uint8_t *p = (uint8_t *)xz->data + 12;
	int sizes = (p[1] >> 6 & 1) + (p[1] >> 7 & 1);

	for (p += 2; sizes > 0; p++)
		sizes -= *p < 0x80;
	assert_int_equal(p[0], 0x21); /* LZMA2 */
	return p + 2;
}

static void ask_dictionary(struct buf *xz, uint8_t bits)
{
	uint8_t *header = (uint8_t *)xz->data + 12;
	size_t size = ((size_t)header[0] + 1) * 4;

	*dictionary_of(xz) = bits;
	uint32_t crc = lzma_crc32(header, size - 4, 0);
	for (size_t i = 0; i < 4; i++)
		header[size - 4 + i] = (uint8_t)(crc >> 8 * i);
}

TEST(decompress_refuses_xz_that_needs_over_80_MiB)
{
	_cleanup_(buf_free) struct buf in = {0}, packed = {0};

	buf_puts(&in, "hello");
	compress(CODEC_XZ, &in, &packed);
	ask_dictionary(&packed, 28); /* 64 MiB, as the predecessor writes */
	assert_expands_to(CODEC_XZ, &packed, 5, &in);
	ask_dictionary(&packed, 29); /* 96 MiB */
	assert_refuses(CODEC_XZ, packed.data, packed.len, 5, ERR_LIMIT, "too much memory");
	ask_dictionary(&packed, 40); /* 4 GiB */
	assert_refuses(CODEC_XZ, packed.data, packed.len, 5, ERR_LIMIT, "too much memory");
}

TEST(compress_xz_wants_no_larger_dictionary_than_the_input)
{
	_cleanup_(buf_free) struct buf in = {0}, packed = {0};

	buf_puts(&in, "hello");
	compress(CODEC_XZ, &in, &packed);
	assert_int_equal(packed.data[7], LZMA_CHECK_CRC32);
	assert_int_equal(*dictionary_of(&packed), 0); /* 4 KiB, the smallest */
	_cleanup_(buf_free) struct buf more = {0}, most = {0};
	for (int i = 0; i < 3000; i++)
		buf_printf(&more, "%d\n", i); /* 13890 bytes */
	compress(CODEC_XZ, &more, &most);
	assert_int_equal(*dictionary_of(&most), 4); /* 16 KiB, the next that can be written */
}

TEST(compress_xz_knows_what_repeats)
{
	static const unsigned units[] = {1, 2, 4, 8};
	size_t sizes[ARRAY_LEN(units)];
	_cleanup_(buf_free) struct buf in = {0};
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < 20000; i++) {
		uint64_t v = (uint64_t)i * (i * 2654435761U % 4093); /* the upper bytes are often alike */
		buf_add(&in, &v, sizeof(v));
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		_cleanup_(buf_free) struct buf packed = {0};
		buf_puts(&packed, "head");
		assert_ok(compress_xz(units[i], SIZE_MAX, in.data, in.len, &packed, &e), &e);
		sizes[i] = packed.len - 4;
		_cleanup_(buf_free) struct buf alone = {0};
		buf_add(&alone, packed.data + 4, packed.len - 4);
		assert_expands_to(CODEC_XZ, &alone, in.len, &in);
	}
	assert_true(sizes[3] < sizes[2]);
	assert_true(sizes[3] < sizes[0]);
	_cleanup_(buf_free) struct buf usual = {0};
	assert_ok(compress_mem(CODEC_XZ, 9, in.data, in.len, &usual, &e), &e);
	assert_int_equal(usual.len, sizes[2]);
}

TEST(decompress_read_gives_pieces_of_what_lies_in_a_file)
{
	static const enum codec all[] = {CODEC_NONE, CODEC_GZIP, CODEC_BZIP2, CODEC_XZ, CODEC_ZSTD};
	static const size_t pieces[] = {1, 5, 70000, 3, 200000};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf in = {0};
	struct err e = ERR_INIT;
	uint8_t byte;

	for (int i = 0; i < 40000; i++)
		buf_printf(&in, "%d\n", i * i);
	add_noise(&in, 100000, 7);
	for (size_t c = 0; c < ARRAY_LEN(all); c++) {
		_cleanup_(buf_free) struct buf file = {0}, out = {0};
		struct decompressor *d = NULL;
		add_noise(&file, 100, 3);
		compress(all[c], &in, &file);
		const size_t stored = file.len - 100;
		add_noise(&file, 50, 5);
		assert_ok(fs_save_cache(dir, "file", file.data, file.len, 0600, &e), &e);
		_cleanup_close_ int fd = openat(dir, "file", O_RDONLY | O_CLOEXEC);
		assert_ok(decompress_open(all[c], 8UL << 20, fd, 100, stored, &d, &e), &e);
		for (size_t i = 0; out.len < in.len; i++) {
			const size_t n = MIN(pieces[i % ARRAY_LEN(pieces)], in.len - out.len);
			assert_ok(decompress_read(d, buf_reserve(&out, n), n, &e), &e);
			out.len += n;
		}
		assert_memory_equal(out.data, in.data, in.len);
		/* what lies behind it is not read */
		assert_fails(decompress_read(d, &byte, 1, &e), ERR_FORMAT, &e, "damaged or truncated");
		decompress_close(d);
		/* cut short */
		assert_ok(decompress_open(all[c], 8UL << 20, fd, 100, stored - 1000, &d, &e), &e);
		out.len = 0;
		assert_fails(decompress_read(d, buf_reserve(&out, in.len), in.len, &e), ERR_FORMAT, &e, "");
		decompress_close(d);
	}
}

/* What looks back further would take more memory than its reader has for it; what keeps to it is read. */
TEST(decompress_read_looks_back_no_further_than_it_may)
{
	static const size_t windows[] = {1UL << 20, 2UL << 20};
	static const enum codec all[] = {CODEC_XZ, CODEC_ZSTD};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf in = {0};
	struct err e = ERR_INIT;
	char piece[4096];

	memset(buf_reserve(&in, 3UL << 20), 'x', 3UL << 20);
	in.len = 3UL << 20;
	for (size_t i = 0; i < 4 * ARRAY_LEN(all); i++) {
		const size_t written = windows[i & 1], may = windows[i >> 1 & 1];
		const enum codec c = all[i >> 2];
		_cleanup_(buf_free) struct buf file = {0};
		struct decompressor *d = NULL;
		if (c == CODEC_XZ)
			assert_ok(compress_xz(4, written, in.data, in.len, &file, &e), &e);
		else
			assert_ok(compress_zstd(0, written, in.data, in.len, &file, &e), &e);
		assert_ok(fs_save_cache(dir, "file", file.data, file.len, 0600, &e), &e);
		_cleanup_close_ int fd = openat(dir, "file", O_RDONLY | O_CLOEXEC);
		assert_ok(decompress_open(c, may, fd, 0, file.len, &d, &e), &e);
		if (written <= may)
			for (size_t n = 0; n < in.len; n += sizeof(piece))
				assert_ok(decompress_read(d, piece, sizeof(piece), &e), &e);
		else
			assert_fails(decompress_read(d, piece, sizeof(piece), &e), ERR_LIMIT, &e, "too much memory");
		decompress_close(d);
	}
}

static int collect(void *arg, const void *data, size_t len, struct err *e __attribute__((unused)))
{
	buf_add(arg, data, len);
	return 0;
}

TEST(compressor_gives_the_same_however_its_input_is_cut)
{
	static const size_t pieces[] = {1, 5000, 0, 130000, 77};
	_cleanup_(buf_free) struct buf in = {0}, whole = {0}, cut = {0};
	struct err e = ERR_INIT;

	add_noise(&in, 300000, 7);
	add_noise(&in, 300000, 7);
	for (int run = 0; run < 2; run++) {
		_cleanup_(compressor_freep) struct compressor *c = NULL;
		assert_ok(compressor_open(1 << 20, collect, run ? &cut : &whole, &c, &e), &e);
		for (size_t at = 0, n, i = 0; at < in.len; at += n, i++) {
			n = run ? MIN(pieces[i % ARRAY_LEN(pieces)], in.len - at) : in.len;
			assert_ok(compressor_write(c, in.data + at, n, &e), &e);
		}
		assert_ok(compressor_end(c, &e), &e);
	}
	assert_true(whole.len < 310000);
	assert_int_equal(whole.len, cut.len);
	assert_memory_equal(whole.data, cut.data, whole.len);
	assert_expands_to(CODEC_ZSTD, &whole, in.len, &in);
}

TEST(compress_xz_keeps_to_the_dictionary)
{
	_cleanup_(buf_free) struct buf in = {0}, small = {0}, large = {0};
	struct err e = ERR_INIT;

	add_noise(&in, 100000, 1);
	add_noise(&in, 100000, 1);
	assert_ok(compress_xz(1, 65536, in.data, in.len, &small, &e), &e);
	assert_ok(compress_xz(1, SIZE_MAX, in.data, in.len, &large, &e), &e);
	assert_true(small.len > 190000);
	assert_true(large.len < 110000);
}

TEST(compress_makes_what_readers_take_at_the_highest_level_of_zstd)
{
	const size_t len = 66UL << 20;
	_cleanup_(buf_free) struct buf in = {0}, packed = {0}, out = {0};
	struct err e = ERR_INIT;

	memset(buf_reserve(&in, len), 'x', len);
	assert_ok(compress_mem(CODEC_ZSTD, 22, in.data, len, &packed, &e), &e);
	assert_ok(decompress_mem(CODEC_ZSTD, packed.data, packed.len, len, &out, &e), &e);
	assert_int_equal(out.len, len);
}

TEST(decompress_refuses_zstd_that_needs_over_80_MiB)
{
	/* magic, no content size, window, one last raw block of 5 bytes (zstd format, section 3.1.1) */
	char frame[] = "\x28\xb5\x2f\xfd\0W\x29\0\0hello";

	frame[5] = (char)((26 - 10) << 3); /* 64 MiB */
	_cleanup_(buf_free) struct buf out = {0};
	struct err e = ERR_INIT;
	assert_ok(decompress_mem(CODEC_ZSTD, frame, sizeof(frame) - 1, 5, &out, &e), &e);
	assert_string_equal(out.data, "hello");
	frame[5] = (char)((27 - 10) << 3); /* 128 MiB */
	assert_refuses(CODEC_ZSTD, frame, sizeof(frame) - 1, 5, ERR_LIMIT, "too much memory");
}

TEST(codec_is_detected_by_whole_magics)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum codec codec;
	} cases[] = {
		{"", 0, CODEC_NONE},
		{"\x1f\x8b\x08", 3, CODEC_GZIP},
		{"\x1f\x8b", 2, CODEC_NONE},
		{"\x1f\x8b\x07", 3, CODEC_NONE},
		{"BZh9", 4, CODEC_BZIP2},
		{"BZ", 2, CODEC_NONE},
		{"\xfd"
		 "7zXZ\0",
		 6, CODEC_XZ},
		{"\xfd"
		 "7zXZ",
		 5, CODEC_NONE},
		{"\x28\xb5\x2f\xfd", 4, CODEC_ZSTD},
		{"ustar", 5, CODEC_NONE},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(codec_detect(cases[i].bytes, cases[i].len), cases[i].codec);
}

TEST(codec_has_a_name)
{
	static const char *const names[] = {"none", "gzip", "bzip2", "xz", "zstd"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		enum codec c;
		assert_int_equal(codec_parse(names[i], &c), 0);
		assert_string_equal(codec_name(c), names[i]);
	}
	enum codec c = CODEC_XZ;
	assert_int_equal(codec_parse("lz4", &c), -EINVAL);
	assert_int_equal(codec_parse("", &c), -EINVAL);
	assert_int_equal(c, CODEC_XZ);
}
