/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <elf.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>

#include "swupd/base/fs.h"
#include "swupd/base/le.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/content/deflate_again.h"
#include "swupd/content/diff.h"
#include "swupd/content/diff_elf.h"
#include "swupd/content/digest.h"
#include "swupd/content/varint.h"
#include "tests/unit/difference.h"
#include "tests/unit/edits.h"

/* Words, so that there are copies and literals */
static void add_text(struct buf *b, size_t len, uint32_t seed)
{
	for (const size_t end = b->len + len; b->len < end;)
		buf_printf(b, "word%u%c", edits_random(&seed) % 1500, edits_random(&seed) % 9 ? ' ' : '\n');
}

static void deflate_to(struct buf *out, const struct buf *in, int level, int memory)
{
	z_stream z = {.next_in = (Bytef *)in->data, .avail_in = (uInt)in->len};

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -15, memory, Z_DEFAULT_STRATEGY), Z_OK);
	const size_t room = deflateBound(&z, in->len);
	z.next_out = (Bytef *)buf_reserve(out, room);
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += room - z.avail_out;
	deflateEnd(&z);
}

/* A member of a zip file, as far as it matters */
static void add_member(struct buf *out, const struct buf *text, int level)
{
	static const char header[30] = "PK\3\4\24\0\0\0\10\0";

	buf_add(out, header, sizeof(header));
	out->data[out->len - 4] = 4; /* length of the name */
	buf_puts(out, "name");
	deflate_to(out, text, level, 8);
}

struct texts {
	struct buf first, second, third;
};

static void texts_free(struct texts *t)
{
	buf_free(&t->first);
	buf_free(&t->second);
	buf_free(&t->third);
}

/* The last is the same in all; what of the second is another text */
static void texts_make(struct texts *t, unsigned what)
{
	add_text(&t->first, 30000, 1);
	t->first.data[100] = (char)('A' + what);
	add_text(&t->second, 1000 + 50 * what, 2);
	add_text(&t->second, 40000, 3);
	add_text(&t->third, 20000, 4);
}

static void make_zip(struct buf *out, unsigned what, int level)
{
	_cleanup_(texts_free) struct texts t = {0};

	texts_make(&t, what);
	buf_puts(out, "JM1.");
	add_member(out, &t.first, level);
	buf_puts(out, "between");
	add_member(out, &t.second, level);
	add_member(out, &t.third, level);
	buf_puts(out, "PK\1\2 the directory");
}

/* A compressed section of an ELF file, and its header */
static void add_section(struct buf *out, struct buf *headers, const struct buf *text, int level, bool wide)
{
	const Elf64_Chdr c64 = {.ch_type = ELFCOMPRESS_ZLIB, .ch_size = text->len, .ch_addralign = 1};
	const Elf32_Chdr c32 = {.ch_type = ELFCOMPRESS_ZLIB, .ch_size = (Elf32_Word)text->len, .ch_addralign = 1};
	const uint32_t sum = htobe32((uint32_t)adler32(1, (const Bytef *)text->data, (uInt)text->len));
	const size_t at = out->len;

	if (wide)
		buf_add(out, &c64, sizeof(c64));
	else
		buf_add(out, &c32, sizeof(c32));
	buf_puts(out, "\x78\x9c");
	deflate_to(out, text, level, 8);
	buf_add(out, &sum, sizeof(sum));
	const Elf64_Shdr s64 = {
		.sh_type = SHT_PROGBITS, .sh_flags = SHF_COMPRESSED, .sh_offset = at, .sh_size = out->len - at};
	const Elf32_Shdr s32 = {.sh_type = SHT_PROGBITS,
				.sh_flags = SHF_COMPRESSED,
				.sh_offset = (Elf32_Off)at,
				.sh_size = (Elf32_Word)(out->len - at)};
	if (wide)
		buf_add(headers, &s64, sizeof(s64));
	else
		buf_add(headers, &s32, sizeof(s32));
}

/* As many of the texts as sections, the second with a level of its own */
static void make_debug(struct buf *out, unsigned what, size_t n, int level, bool wide)
{
	_cleanup_(texts_free) struct texts t = {0};
	_cleanup_(buf_free) struct buf headers = {0};
	const struct buf *const all[] = {&t.second, &t.first, &t.third};
	Elf64_Ehdr h64 = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
			  .e_shnum = (Elf64_Half)n};
	Elf32_Ehdr h32 = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB},
			  .e_shnum = (Elf32_Half)n};

	texts_make(&t, what);
	buf_add(out, &h64, sizeof(h64));
	for (size_t i = 0; i < n; i++) {
		add_section(out, &headers, all[i], i == 1 ? level : 6, wide);
		buf_puts(out, "between");
	}
	h64.e_shoff = h32.e_shoff = (Elf32_Off)out->len;
	buf_add(out, headers.data, headers.len);
	if (wide)
		memcpy(out->data, &h64, sizeof(h64));
	else
		memcpy(out->data, &h32, sizeof(h32));
}

/* What gzip compresses well although most of it is literals: it ends blocks early then, which zlib does not */
static void add_lines(struct buf *b, size_t len, uint32_t seed)
{
	for (const size_t end = b->len + len; b->len < end;) {
		for (int i = 0; i < 12; i++)
			buf_putc(b, (char)('a' + edits_random(&seed) % 26));
		for (int i = 0; i < 3; i++)
			buf_puts(b, ", and what all lines have in common");
		buf_putc(b, '\n');
	}
}

static void gzip_to(struct buf *out, const struct buf *text, const char *level)
{
	const char *const argv[] = {"gzip", "-cn", level, NULL};
	const struct proc p = {
		.argv = argv, .dirfd = AT_FDCWD, .input = text->data, .input_len = text->len, .out = out};
	struct err e = ERR_INIT;

	assert_ok(proc_check(&p, &e), &e);
}

/* Returns bytes of all streams. */
static size_t there_and_back(const struct buf *old, const struct buf *new, enum diff_kind kind)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	_cleanup_(buf_free) struct buf out = {0};
	struct err e = ERR_INIT;
	struct diff_cursor c;
	size_t total = 0;

	assert_ok(diff_make(old->data, old->len, new->data, new->len, &s, &e), &e);
	assert_int_equal(s.s[DIFF_CONTROL].data[0], kind);
	assert_ok(difference_apply(old, new->len, &s, &out, &c, &e), &e);
	assert_int_equal(out.len, new->len);
	assert_memory_equal(out.data, new->data, new->len);
	for (size_t i = 0; i < DIFF_STREAMS; i++)
		total += s.s[i].len;
	return total;
}

/* So that there are blocks that are stored, that zlib cannot store any more, and copies of all lengths from near and far */
static void add_kind(struct buf *b, unsigned kind)
{
	uint32_t seed = kind + 1;
	const size_t len = 150000;

	switch (kind) {
	case 0:
		add_text(b, len, 1);
		return;
	case 1:
		add_lines(b, len, 2);
		return;
	case 2:
		edits_noise(b, len, 256, &seed);
		return;
	case 3:
		/* as far as zlib looks back */
		edits_noise(b, 32768 - 262, 30, &seed);
		while (b->len < len)
			buf_putc(b, b->data[b->len - (32768 - 262)]);
		return;
	case 4:
		/* four bytes that our hash takes for the same, and some of them twice */
		while (b->len < len) {
			const uint32_t four = htole32((edits_random(&seed) % 4000) * 244002641U);
			buf_add(b, &four, sizeof(four));
		}
		return;
	default:
		edits_noise(b, len, kind == 5 ? 2 : 30, &seed);
	}
	for (unsigned i = 0; i < 3000; i++) {
		const size_t n = 3 + edits_random(&seed) % 300, from = edits_random(&seed) % (len - n);
		memmove(b->data + from, b->data + edits_random(&seed) % (len - n), n);
		if (kind == 6 && i % 8 == 0)
			memset(b->data + from, 0, n);
	}
}

/* One after the other by one deflater, in pieces: nothing of one stream shows in the next. */
TEST(deflater_makes_what_zlib_makes)
{
	static const unsigned memories[] = {1, 8, 9};
	_cleanup_(deflater_freep) struct deflater *d = deflater_new();
	uint32_t seed = 1;

	for (unsigned kind = 0; kind < 7; kind++) {
		_cleanup_(buf_free) struct buf text = {0};
		add_kind(&text, kind);
		for (unsigned i = 0; i < 6 * ARRAY_LEN(memories); i++) {
			const unsigned level = DEFLATE_AGAIN_LEVEL + i % 6, memory = memories[i / 6];
			_cleanup_(buf_free) struct buf want = {0}, out = {0};
			struct err e = ERR_INIT;
			deflate_to(&want, &text, (int)level, (int)memory);
			deflater_begin(d, level, memory, &out, NULL);
			for (size_t at = 0, n; at < text.len; at += n) {
				n = 1 + edits_random(&seed) % 90000;
				n = MIN(n, text.len - at);
				assert_ok(deflater_write(d, (const uint8_t *)text.data + at, n, at + n == text.len, &e),
					  &e);
			}
			if (out.len != want.len || memcmp(out.data, want.data, out.len) != 0)
				fail_msg("text %u, level %u, memory %u: %zu bytes of %zu", kind, level, memory, out.len,
					 want.len);
		}
	}
}

/* Long enough for the deflater, by levels that it has and that are left to zlib */
TEST(diff_deflates_long_streams_again)
{
	static const struct {
		int level, memory;
	} ways[] = {{1, 8}, {6, 8}, {9, 8}, {9, 9}};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		_cleanup_(buf_free) struct buf text = {0}, old = {0}, new = {0};
		add_text(&text, 400000, 6);
		buf_add(&old, "\x1f\x8b\x08\0\0\0\0\0\0\3", 10);
		buf_add(&new, old.data, old.len);
		deflate_to(&old, &text, ways[i].level, ways[i].memory);
		memcpy(text.data + 100000, "other", 5);
		deflate_to(&new, &text, ways[i].level, ways[i].memory);
		buf_add(&old, "checksum", 8);
		buf_add(&new, "checksum", 8);
		assert_in_range(there_and_back(&old, &new, DIFF_DEFLATED), 10, 100);
	}
}

TEST(diff_expands_members_of_zip_files_that_changed)
{
	for (int level = 1; level <= 9; level++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0};
		make_zip(&old, 0, level);
		make_zip(&new, 3, level);
		const bool known = level == 1 || level == 6 || level == 9;
		const size_t total = there_and_back(&old, &new, known ? DIFF_DEFLATED : DIFF_PLAIN);
		if (known)
			assert_in_range(total, 10, 400);
		else
			assert_in_range(total, 10000, new.len);
	}
}

TEST(diff_expands_compressed_sections_of_elf_files)
{
	for (int wide = 0; wide < 2; wide++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, other = {0};
		make_debug(&old, 0, 3, 6, wide);
		make_debug(&new, 3, 3, 6, wide);
		assert_in_range(there_and_back(&old, &new, DIFF_DEFLATED), 10, 500);
		/* what zlib does not make again stays as it is; the others do not */
		make_debug(&other, 3, 3, 3, wide);
		assert_in_range(there_and_back(&old, &other, DIFF_DEFLATED), 6000, 12000);
	}
}

/* A section is expanded when all that is said of it can be; whatever is said, the new file is made. */
TEST(diff_leaves_sections_that_are_not_what_they_say)
{
	enum part { FILE_HEADER, SECTION_HEADER, SECTION };
	static const struct {
		const char *what;
		enum part part;
		size_t at, bytes;
		uint64_t value;
		enum diff_kind kind;
	} cases[] = {
		{"right", FILE_HEADER, EI_VERSION, 1, 0, DIFF_DEFLATED},
		{"big-endian", FILE_HEADER, EI_DATA, 1, ELFDATA2MSB, DIFF_PLAIN},
		{"of 32 bits", FILE_HEADER, EI_CLASS, 1, ELFCLASS32, DIFF_PLAIN},
		{"no section headers", FILE_HEADER, offsetof(Elf64_Ehdr, e_shoff), 8, UINT64_MAX, DIFF_PLAIN},
		{"too many of them", FILE_HEADER, offsetof(Elf64_Ehdr, e_shnum), 2, UINT16_MAX, DIFF_PLAIN},
		{"not compressed", SECTION_HEADER, offsetof(Elf64_Shdr, sh_flags), 8, 0, DIFF_PLAIN},
		{"behind the end", SECTION_HEADER, offsetof(Elf64_Shdr, sh_offset), 8, UINT64_MAX, DIFF_PLAIN},
		{"too long", SECTION_HEADER, offsetof(Elf64_Shdr, sh_size), 8, UINT64_MAX, DIFF_PLAIN},
		{"shorter than its stream", SECTION_HEADER, offsetof(Elf64_Shdr, sh_size), 8, 3000, DIFF_PLAIN},
		{"shorter than a header", SECTION_HEADER, offsetof(Elf64_Shdr, sh_size), 8, 20, DIFF_PLAIN},
		{"empty", SECTION_HEADER, offsetof(Elf64_Shdr, sh_size), 8, 0, DIFF_PLAIN},
		{"of zstd", SECTION, offsetof(Elf64_Chdr, ch_type), 4, 2, DIFF_PLAIN},
		{"of another size", SECTION, offsetof(Elf64_Chdr, ch_size), 8, UINT64_MAX, DIFF_DEFLATED},
		{"not of zlib", SECTION, sizeof(Elf64_Chdr), 2, 0x9c77, DIFF_PLAIN},
		{"with a dictionary", SECTION, sizeof(Elf64_Chdr), 2, 0xbb78, DIFF_PLAIN},
		{"not deflated", SECTION, sizeof(Elf64_Chdr) + 2, 8, UINT64_MAX, DIFF_PLAIN},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, bad_old = {0}, bad_new = {0};
		make_debug(&old, 0, 1, 6, true);
		make_debug(&new, 3, 1, 6, true);
		buf_add(&bad_old, old.data, old.len);
		buf_add(&bad_new, new.data, new.len);
		for (int of_new = 0; of_new < 2; of_new++) {
			struct buf *b = of_new ? &bad_new : &bad_old;
			const uint64_t headers = le64_at(b->data + offsetof(Elf64_Ehdr, e_shoff));
			const uint64_t at = cases[i].part == FILE_HEADER      ? 0
					    : cases[i].part == SECTION_HEADER ? headers
									      : sizeof(Elf64_Ehdr);
			const uint64_t value = htole64(cases[i].value);
			memcpy(b->data + at + cases[i].at, &value, cases[i].bytes);
		}
		there_and_back(&bad_old, &new, cases[i].kind);
		there_and_back(&old, &bad_new, cases[i].kind);
		there_and_back(&bad_old, &bad_new, cases[i].kind);
	}
}

/* Two sections with the same bytes: the first counts. */
TEST(diff_takes_sections_that_overlap)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};

	make_debug(&old, 0, 2, 6, true);
	make_debug(&new, 3, 2, 6, true);
	char *headers = new.data + le64_at(new.data + offsetof(Elf64_Ehdr, e_shoff));
	memcpy(headers + sizeof(Elf64_Shdr), headers, sizeof(Elf64_Shdr));
	assert_in_range(there_and_back(&old, &new, DIFF_DEFLATED), 6000, 20000);
}

TEST(diff_expands_what_gzip_made)
{
	static const char *const levels[] = {"-9", "-6"};

	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		_cleanup_(buf_free) struct buf text = {0}, old = {0}, new = {0};
		add_lines(&text, 3000000, 5);
		gzip_to(&old, &text, levels[i]);
		for (size_t at = 1000; at < text.len; at += 50000)
			text.data[at] = 'X';
		gzip_to(&new, &text, levels[i]);
		/* with headers of blocks */
		assert_in_range(there_and_back(&old, &new, DIFF_DEFLATED), 200, 3000);
	}
}

TEST(diff_leaves_deflated_streams_that_are_the_same)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};

	make_zip(&old, 0, 6);
	make_zip(&new, 0, 6);
	buf_puts(&new, ", longer");
	assert_in_range(there_and_back(&old, &new, DIFF_PLAIN), 8, 40);
}

/* What the old file expands to lies in a file without a name that stays, when it is large */
TEST(diff_apply_expands_a_large_file_into_the_scratch_directory)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	_cleanup_(buf_free) struct buf text = {0}, old = {0}, new = {0}, out = {0};
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	struct diff_cursor c = {.streams = &s};
	const struct diff_source in = {.read = diff_cursor_read, .arg = &c};

	add_text(&text, VIEW_WHOLE + 100000, 6);
	add_member(&old, &text, 6);
	text.data[3000000] ^= 1;
	add_member(&new, &text, 6);
	struct view view = VIEW_OF((const uint8_t *)old.data, old.len);
	assert_ok(diff_make(old.data, old.len, new.data, new.len, &s, &e), &e);
	assert_ok(diff_apply(&view, new.len, &in, dir, difference_collect, &out, &e), &e);
	assert_int_equal(out.len, new.len);
	assert_memory_equal(out.data, new.data, new.len);
	assert_ok(fs_list(dir, ".", &names, &e), &e);
	assert_int_equal(names.n, 0);
	c = (struct diff_cursor){.streams = &s};
	assert_fails(diff_apply(&view, new.len, &in, -9, difference_collect, &out, &e), EBADF, &e, "temporary file");
	/* another old file */
	old.data[1000] ^= 1;
	c = (struct diff_cursor){.streams = &s};
	out.len = 0;
	const int r = diff_apply(&view, new.len, &in, dir, difference_collect, &out, &e);
	assert_true(r == -ERR_FORMAT || out.len == new.len);
	err_clear(&e);
}

/* A deflated stream that needs no compressor: stored blocks */
static void add_stored(struct buf *out, const struct buf *text)
{
	for (size_t at = 0, n; at < text->len; at += n) {
		n = MIN(text->len - at, 50000U);
		const uint16_t lengths[] = {htole16((uint16_t)n), htole16((uint16_t)~n)};
		buf_putc(out, at + n == text->len ? '\1' : '\0');
		buf_add(out, lengths, sizeof(lengths));
		buf_add(out, text->data + at, n);
	}
}

/* The old file of a golden difference; a letter of each text is another in the new one. */
static void golden_old(bool zip, struct buf *old)
{
	static const char gzip[10] = "\x1f\x8b\10\0\0\0\0\0\2\3", member[30] = "PK\3\4\24\0\0\0\10\0";

	for (uint32_t i = 0; i < (zip ? 2 : 1); i++) {
		_cleanup_(buf_free) struct buf text = {0};
		if (zip)
			add_text(&text, 20000, 11 + i);
		else
			add_lines(&text, 600000, 10);
		buf_add(old, zip ? member : gzip, zip ? sizeof(member) : sizeof(gzip));
		add_stored(old, &text);
		buf_puts(old, "the sums");
	}
}

/*
 * What some version wrote of deflated streams still makes what it made: one of gzip -9, in its own blocks, and two of zlib, by levels 6 and 9. So this file never changes, nor do
 * the texts. A zlib that makes other bytes of them is noticed here, too.
 */
TEST(diff_of_deflated_streams_is_read_for_ever)
{
	static const struct {
		size_t len;
		const char *sha256;
	} news[] = {
		{47096, "3c0ab89d9f39908278a4e1e2d190180f13a2605ad058c4bde8a172c40ad60f14"},
		{10640, "a9e10bcb5215c9b794f3ca450083edeefaadd2a3c07bd3fdd85e6fbdb482086a"},
	};
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	struct diff_cursor c = {.streams = &s};
	const struct diff_source in = {.read = diff_cursor_read, .arg = &c};

	difference_load("tests/golden/diff-deflated", &s);
	for (size_t zip = 0; zip < ARRAY_LEN(news); zip++) {
		_cleanup_(buf_free) struct buf old = {0}, out = {0};
		char hex[DIGEST_HEX];
		struct digest made;
		struct err e = ERR_INIT;
		golden_old(zip, &old);
		assert_int_equal(s.s[DIFF_CONTROL].data[c.at[DIFF_CONTROL]], DIFF_DEFLATED);
		assert_ok(diff_apply(&VIEW_OF((const uint8_t *)old.data, old.len), news[zip].len, &in, -1,
				     difference_collect, &out, &e),
			  &e);
		sha256_mem(out.data, out.len, &made);
		digest_format(&made, hex);
		assert_string_equal(hex, news[zip].sha256);
	}
	for (size_t i = 0; i < DIFF_STREAMS; i++)
		assert_int_equal(c.at[i], s.s[i].len);
}

TEST(diff_apply_refuses_deflated_streams_that_cannot_be)
{
	/* numbers of CONTROL behind the kind; the old file is the zip file, the new one has 1000 bytes */
	static const struct {
		const char *message;
		int code;
		uint64_t numbers[12];
		size_t n;
	} cases[] = {
		{"ends too early", ERR_FORMAT, {0}, 0},
		{"more than 65536", ERR_LIMIT, {65537}, 1},
		{"cannot be", ERR_FORMAT, {1, 1UL << 40, 1, 1}, 4},
		{"cannot be", ERR_FORMAT, {1, 38, 1UL << 40, 1}, 4},
		{"cannot be", ERR_FORMAT, {1, 38, 0, 1}, 4},
		{"cannot be", ERR_FORMAT, {1, 38, 1, 0}, 4},
		{"cannot be", ERR_FORMAT, {1, 38, 1, 1UL << 40}, 4},
		{"cannot be", ERR_FORMAT, {0, 1, 0, 100, 100, 0, 8, 0}, 8},
		{"cannot be", ERR_FORMAT, {0, 1, 0, 100, 100, 10, 8, 0}, 8},
		{"cannot be", ERR_FORMAT, {0, 1, 0, 100, 100, 6, 10, 0}, 8},
		{"cannot be", ERR_FORMAT, {0, 1, 0, 100, 100, 6, 8, 101}, 8},
		{"too large", ERR_LIMIT, {0, 2, 0, 10, 70000, 6, 8, 0, 0, 10, 70000, 6}, 12},
		{"unknown kind, 2", ERR_FORMAT, {0, 0, 2}, 3},
		{"no deflated stream", ERR_FORMAT, {1, 10, 100, 1000, 0, 0}, 6},
	};
	_cleanup_(buf_free) struct buf old = {0};

	make_zip(&old, 0, 6);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(diff_streams_clear) struct diff_streams s = {0};
		_cleanup_(buf_free) struct buf out = {0};
		struct err e = ERR_INIT;
		struct diff_cursor c;
		varint_add(&s.s[DIFF_CONTROL], DIFF_DEFLATED);
		for (size_t k = 0; k < cases[i].n; k++)
			varint_add(&s.s[DIFF_CONTROL], cases[i].numbers[k]);
		if (cases[i].n == 12) {
			varint_add(&s.s[DIFF_CONTROL], 8);
			varint_add(&s.s[DIFF_CONTROL], 0);
		}
		const int r = difference_apply(&old, 1000, &s, &out, &c, &e);
		if (r != -cases[i].code || !strstr(e.text, cases[i].message))
			fail_msg("%zu: %d, %s", i, r, e.text ? e.text : "(no text)");
		err_clear(&e);
	}
}

/* Headers of blocks are held in memory: all together no more than those of one stream may be */
TEST(diff_apply_refuses_too_many_headers_of_blocks)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	_cleanup_(buf_free) struct buf old = {0}, out = {0}, zeros = {0};
	struct err e = ERR_INIT;
	struct diff_cursor c;
	const size_t each = 3UL << 20;

	memset(buf_reserve(&zeros, each), 0, each);
	varint_add(&s.s[DIFF_CONTROL], DIFF_DEFLATED);
	varint_add(&s.s[DIFF_CONTROL], 0);
	varint_add(&s.s[DIFF_CONTROL], 2);
	for (int i = 0; i < 2; i++) {
		varint_add(&s.s[DIFF_CONTROL], 0);
		varint_add(&s.s[DIFF_CONTROL], each);
		varint_add(&s.s[DIFF_CONTROL], each);
		varint_add(&s.s[DIFF_CONTROL], 9);
		varint_add(&s.s[DIFF_CONTROL], 8);
		varint_add(&s.s[DIFF_CONTROL], each);
		buf_add(&s.s[DIFF_CONTROL], zeros.data, each);
	}
	assert_fails(difference_apply(&old, 2 * each, &s, &out, &c, &e), ERR_LIMIT, &e, "too large");
}

/* Whatever bytes are changed: an error, or a file of the right length */
TEST(diff_apply_survives_damage_of_deflated_streams)
{
	for (int gzip = 0; gzip < 2; gzip++) {
		_cleanup_(diff_streams_clear) struct diff_streams s = {0};
		_cleanup_(buf_free) struct buf text = {0}, old = {0}, new = {0};
		uint32_t seed = 8;

		if (gzip) {
			add_lines(&text, 600000, 5);
			gzip_to(&old, &text, "-9");
			text.data[70000] = 'Y';
			gzip_to(&new, &text, "-9");
		} else {
			make_zip(&old, 0, 6);
			make_zip(&new, 2, 6);
		}
		assert_int_equal(diff_make(old.data, old.len, new.data, new.len, &s, NULL), 0);
		assert_int_equal(s.s[DIFF_CONTROL].data[0], DIFF_DEFLATED);
		assert_in_range(difference_damage(&old, new.len, &s, 600, true, &seed), 50, 590);
	}
}
