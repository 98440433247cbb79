/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "swupd/base/compress.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/delta.h"
#include "swupd/content/format.h"
#include "tests/unit/edits.h"

/* ---- the predecessor's vectors: delta/index.tsv, one line for each pair and coding ---- */

enum {
	PAIR,
	OPTION,
	EXIT,
	MAGIC,
	SIZE,
	FIRST,
	CONTROL,
	DIFF,
	EXTRA,
	OLD,
	NEW,
	MODE,
	FLAGS,
	CODINGS,
	APPLIED,
	SAME,
	TWIN,
	N_FIELDS
};

struct vector {
	char *line, *fields[N_FIELDS];
	struct buf old, new, delta;
};

static void vector_clear(struct vector *v)
{
	free(v->line);
	buf_free(&v->old);
	buf_free(&v->new);
	buf_free(&v->delta);
	*v = (struct vector){0};
}

static void load(const char *name, struct buf *out)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", test_vectors(), name);
	struct err e = ERR_INIT;

	assert_ok(fs_load(AT_FDCWD, path, 64UL << 20, out, &e), &e);
}

static void load_pair(const char *pair, struct buf *old, struct buf *new)
{
	_cleanup_free_ char *from = xasprintf("delta/%s.from", pair), *to = xasprintf("delta/%s.to", pair);

	load(from, old);
	load(to, new);
}

static void vector_load(const char *line, size_t len, struct vector *v)
{
	*v = (struct vector){.line = xstrndup(line, len)};
	char *rest = v->line;
	for (int i = 0; i < N_FIELDS; i++) {
		char *field = strsep(&rest, "\t");
		v->fields[i] = field ? field : rest;
	}
	assert_non_null(v->fields[SAME]);
	const char *twin = v->fields[TWIN] && *v->fields[TWIN] ? v->fields[TWIN] : v->fields[OPTION];
	_cleanup_free_ char *delta = xasprintf("delta/%s.%s.bsdiff", v->fields[PAIR], twin);
	load_pair(v->fields[PAIR], &v->old, &v->new);
	load(delta, &v->delta);
}

/* Call check for each line; there must be some */
static void each_vector(void (*check)(const struct vector *v))
{
	_cleanup_(buf_free) struct buf index = {0};
	size_t n = 0, len;
	const char *line;

	load("delta/index.tsv", &index);
	const char *pos = index.data, *end = pos + index.len;
	(void)text_line(&pos, end, &line, &len, NULL); /* the names of the columns */
	for (; text_line(&pos, end, &line, &len, NULL); n++) {
		_cleanup_(vector_clear) struct vector v;
		vector_load(line, len, &v);
		check(&v);
	}
	assert_true(n >= 60);
}

static uint64_t number(const struct vector *v, int field)
{
	uint64_t n = 0;

	assert_int_equal(text_u64(v->fields[field], 0, UINT64_MAX, &n), 0);
	return n;
}

static bool is_marker(const struct vector *v)
{
	return strcmp(v->fields[MAGIC], "FULLV20U") == 0;
}

static void check_header(const struct vector *v)
{
	static const char *const codings[] = {"none", "bzip2", "gzip", "xz", "zeros"};
	struct delta_header h = {0};
	struct err e = ERR_INIT;

	if (is_marker(v)) {
		assert_fails(delta_parse_header(v->delta.data, v->delta.len, &h, &e), ERR_MISSING, &e, "whole file");
		return;
	}
	assert_ok(delta_parse_header(v->delta.data, v->delta.len, &h, &e), &e);
	assert_int_equal(v->delta.len, number(v, SIZE));
	assert_int_equal(h.first_block, number(v, FIRST));
	assert_int_equal(h.control_len, number(v, CONTROL));
	assert_int_equal(h.diff_len, number(v, DIFF));
	assert_int_equal(h.extra_len, number(v, EXTRA));
	assert_int_equal(h.old_len, number(v, OLD));
	assert_int_equal(h.new_len, number(v, NEW));
	assert_int_equal(h.attrs.kind, KIND_FILE);
	assert_int_equal(h.attrs.size, h.new_len);
	assert_int_equal(h.attrs.uid, 0);
	assert_int_equal(h.attrs.gid, 0);
	_cleanup_free_ char *mode = xasprintf("0o100%o", h.attrs.mode);
	assert_string_equal(mode, v->fields[MODE]);
	_cleanup_free_ char *names = xasprintf("%s,%s,%s", codings[h.control], codings[h.diff], codings[h.extra]);
	assert_string_equal(names, v->fields[CODINGS]);
}

TEST(delta_parse_header_reads_what_the_predecessor_wrote)
{
	each_vector(check_header);
}

static void assert_same(const struct buf *got, const void *want, size_t len)
{
	assert_int_equal(got->len, len);
	assert_memory_equal(got->data, want, len);
	assert_int_equal(got->data[len], 0);
}

static void check_apply(const struct vector *v)
{
	_cleanup_(buf_free) struct buf out = {0};
	struct err e = ERR_INIT;
	struct attrs a;

	int r = delta_apply(v->old.data, v->old.len, v->delta.data, v->delta.len, &a, &out, &e);
	if (is_marker(v)) {
		assert_fails(r, ERR_MISSING, &e, "whole file");
		return;
	}
	assert_ok(r, &e);
	assert_same(&out, v->new.data, v->new.len);
	assert_int_equal(a.size, v->new.len);
}

TEST(delta_apply_makes_the_new_file_of_each_vector)
{
	each_vector(check_apply);
}

TEST(delta_apply_makes_manifests)
{
	static const struct {
		const char *to, *bundle, *from;
	} cases[] = {
		{"20", "editors", "10"}, {"20", "extras", "10"},  {"20", "libs", "10"},    {"20", "os-core", "10"},
		{"30", "editors", "10"}, {"30", "editors", "20"}, {"30", "extras", "10"},  {"30", "extras", "20"},
		{"30", "libs", "10"},    {"30", "libs", "20"},    {"30", "os-core", "20"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0}, out = {0};
		_cleanup_free_ char *a = xasprintf("www/%s/Manifest.%s", cases[i].from, cases[i].bundle);
		_cleanup_free_ char *b = xasprintf("www/%s/Manifest.%s", cases[i].to, cases[i].bundle);
		_cleanup_free_ char *d =
			xasprintf("www/%s/Manifest-%s-delta-from-%s", cases[i].to, cases[i].bundle, cases[i].from);
		struct err e = ERR_INIT;
		struct attrs attrs;
		load(a, &old);
		load(b, &new);
		load(d, &delta);
		assert_ok(delta_apply(old.data, old.len, delta.data, delta.len, &attrs, &out, &e), &e);
		assert_same(&out, new.data, new.len);
		assert_int_equal(attrs.kind, KIND_FILE);
		assert_int_equal(attrs.mode, 0644);
		assert_int_equal(attrs.uid, 0);
		assert_int_equal(attrs.gid, 0);
	}
}

/* The only member of www/<any release>/files/<hash>.tar */
static void load_fullfile(const struct digest *d, struct buf *out)
{
	static const char *const releases[] = {"10", "20", "30"};
	char hex[DIGEST_HEX];
	struct archive_entry *entry;
	struct archive *tar = archive_read_new();
	bool open = false;

	digest_format(d, hex);
	archive_read_support_filter_all(tar);
	archive_read_support_format_tar(tar);
	for (size_t i = 0; i < ARRAY_LEN(releases) && !open; i++) {
		_cleanup_free_ char *path = xasprintf("%s/www/%s/files/%s.tar", test_vectors(), releases[i], hex);
		open = fs_exists(AT_FDCWD, path) && archive_read_open_filename(tar, path, 65536) == ARCHIVE_OK;
	}
	assert_true(open);
	assert_int_equal(archive_read_next_header(tar, &entry), ARCHIVE_OK);
	size_t len = (size_t)archive_entry_size(entry);
	assert_int_equal(archive_read_data(tar, buf_reserve(out, len), len), len);
	out->len = len;
	archive_read_free(tar);
}

TEST(delta_apply_makes_files_with_the_hash_in_the_name)
{
	static const char *const releases[] = {"20", "30"};
	struct err e = ERR_INIT;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
		_cleanup_free_ char *dir = xasprintf("%s/www/%s/delta", test_vectors(), releases[i]);
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(fs_list(AT_FDCWD, dir, &names, &e), &e);
		for (size_t k = 0; k < names.n; k++, n++) {
			_cleanup_(buf_free) struct buf old = {0}, delta = {0}, out = {0};
			_cleanup_free_ char *path = xasprintf("www/%s/delta/%s", releases[i], names.items[k]);
			struct digest from, to, got;
			struct attrs a;
			assert_int_equal(delta_name_parse(names.items[k], &from, &to), 0);
			load_fullfile(&from, &old);
			load(path, &delta);
			assert_ok(delta_apply(old.data, old.len, delta.data, delta.len, &a, &out, &e), &e);
			file_hash_mem(&a, out.data, out.len, &got);
			assert_true(digest_equal(&got, &to));
		}
	}
	assert_true(n >= 10);
}

/* ---- deltas by hand ---- */

static void put(struct buf *b, uint64_t v, size_t bytes)
{
	for (; bytes > 0; bytes--, v >>= 8)
		buf_putc(b, (char)(v & 0xff));
}

#define RAW_RAW_RAW 0x0421

/* What a header says, for both kinds. Zero lengths stand for those of the blocks. */
struct hand {
	bool large;
	unsigned first, flags, mode;
	uint64_t control_len, diff_len, extra_len, old_len, new_len;
	const char *magic;
	struct step {
		int64_t add, insert, seek;
	} steps[4];
	size_t n_steps;
	const char *diff, *extra, *behind; /* texts */
};

static void hand_delta(const struct hand *h, struct buf *out)
{
	bool l = h->large;
	const char *diff = h->diff ? h->diff : "", *extra = h->extra ? h->extra : "";

	buf_puts(out, h->magic ? h->magic : l ? "BSDIFF4U" : "BSDIFF4V");
	put(out, h->first ? h->first : l ? 67 : 32, 1);
	put(out, h->control_len ? h->control_len : h->n_steps * 24, l ? 4 : 1);
	put(out, h->diff_len ? h->diff_len : strlen(diff), l ? 8 : 2);
	put(out, h->extra_len ? h->extra_len : strlen(extra), l ? 8 : 2);
	put(out, h->old_len ? h->old_len : 10, l ? 8 : 2);
	put(out, h->new_len ? h->new_len : 10, l ? 8 : 2);
	put(out, 0, l ? 8 : 0);
	put(out, h->mode ? h->mode : 0100644, 4);
	put(out, 1000, 4);
	put(out, 1001, 4);
	put(out, h->flags ? h->flags : RAW_RAW_RAW, 2);
	for (unsigned i = l ? 67 : 32; i < h->first; i++)
		buf_putc(out, '?');
	for (size_t i = 0; i < h->n_steps; i++) {
		put(out, (uint64_t)h->steps[i].add, 8);
		put(out, (uint64_t)h->steps[i].insert, 8);
		put(out, (uint64_t)h->steps[i].seek, 8);
	}
	buf_puts(out, diff);
	buf_puts(out, extra);
	buf_puts(out, h->behind ? h->behind : "");
}

#define OLD_TEXT "0123456789"

TEST(delta_apply_takes_the_steps_as_they_are_defined)
{
	static const struct {
		struct hand hand;
		const char *want;
	} cases[] = {
		/* all from extra, all from old and differences */
		{{.steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"}, "abcdefghij"},
		{{.steps = {{10, 0, 0}}, .n_steps = 1, .diff = "\1\1\1\1\1\1\1\1\1\1"}, "123456789:"},
		/* differences count modulo 256 */
		{{.steps = {{1, 9, 0}}, .n_steps = 1, .diff = "\xff", .extra = "abcdefghi"}, "/abcdefghi"},
		/* there and back; the place behind the last byte is allowed, too */
		{{.steps = {{0, 2, 10}, {0, 2, -10}, {3, 0, 4}, {3, 0, 0}},
		  .n_steps = 4,
		  .diff = "\1\1\1\1\1\1",
		  .extra = "abcd"},
		 "abcd12389:"},
		/* behind the end of the old file there is nothing to add to */
		{{.steps = {{0, 2, 8}, {8, 0, -6}}, .n_steps = 2, .diff = "\1\1ghijkl", .extra = "ab"}, "ab9:ghijkl"},
		{{.steps = {{0, 2, 10}, {8, 0, -18}}, .n_steps = 2, .diff = "cdefghij", .extra = "ab"}, "abcdefghij"},
		/* steps of nothing but a seek */
		{{.steps = {{0, 0, 9}, {0, 0, -9}, {0, 10, 0}}, .n_steps = 3, .extra = "abcdefghij"}, "abcdefghij"},
		/*
		 * the reader goes by the header's offset; of several bits the lowest of a block counts; unused bits
		 * mean nothing
		 */
		{{.first = 40, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"}, "abcdefghij"},
		{{.flags = 0xffff, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"}, "abcdefghij"},
	};

	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf delta = {0}, out = {0};
		struct hand h = cases[i / 2].hand;
		struct err e = ERR_INIT;
		struct attrs a;
		h.large = i % 2;
		h.first = h.large && h.first ? 80 : h.first;
		hand_delta(&h, &delta);
		buf_puts(&out, "> ");
		assert_ok(delta_apply(OLD_TEXT, 10, delta.data, delta.len, &a, &out, &e), &e);
		assert_string_equal(out.data + 2, cases[i / 2].want);
		assert_int_equal(out.len, 12);
		assert_int_equal(a.mode, 0644);
		assert_int_equal(a.uid, 1000);
		assert_int_equal(a.gid, 1001);
	}
}

/* Refused, and what was in the outputs stays */
static void assert_refuses(const void *old, size_t old_len, const struct buf *delta, int code, const char *part)
{
	_cleanup_(buf_free) struct buf out = {0};
	struct attrs a = {.mode = 07};
	struct err e = ERR_INIT;

	buf_puts(&out, "before");
	assert_fails(delta_apply(old, old_len, delta->data, delta->len, &a, &out, &e), code, &e, part);
	assert_string_equal(out.data, "before");
	assert_int_equal(out.len, 6);
	assert_int_equal(a.mode, 07);
}

TEST(delta_apply_refuses_hostile_steps)
{
	static const struct {
		struct hand hand;
		const char *part;
	} cases[] = {
		{{.steps = {{-1, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"},
		 "step 0 leads behind the end of the new"},
		{{.steps = {{0, -1, 0}, {0, 11, 0}}, .n_steps = 2, .extra = "abcdefghij"}, "step 0 leads behind"},
		{{.steps = {{5, -5, 0}, {10, 0, 0}}, .n_steps = 2, .diff = "abcdefghijabcde"}, "step 0 leads behind"},
		{{.steps = {{0, 11, 0}}, .n_steps = 1, .extra = "abcdefghijk"}, "step 0 leads behind"},
		{{.steps = {{1, 0, 0}, {10, 0, 0}}, .n_steps = 2, .diff = "abcdefghijk"}, "step 1 leads behind"},
		{{.steps = {{6, 5, 0}}, .n_steps = 1, .diff = "abcdef", .extra = "abcde"}, "step 0 leads behind"},
		{{.steps = {{INT64_MAX, INT64_MAX, 0}}, .n_steps = 1}, "step 0 leads behind"},
		{{.steps = {{INT64_MIN, INT64_MIN, 0}}, .n_steps = 1}, "step 0 leads behind"},
		{{.steps = {{0, 5, -1}, {0, 5, 0}}, .n_steps = 2, .extra = "abcdefghij"},
		 "step 0 leads out of the old"},
		{{.steps = {{0, 5, 11}, {0, 5, 0}}, .n_steps = 2, .extra = "abcdefghij"},
		 "step 0 leads out of the old"},
		{{.steps = {{5, 0, 6}, {0, 5, 0}}, .n_steps = 2, .diff = "abcde", .extra = "abcde"},
		 "leads out of the old"},
		{{.steps = {{5, 5, INT64_MAX}}, .n_steps = 1, .diff = "abcde", .extra = "abcde"},
		 "leads out of the old"},
		{{.steps = {{5, 5, INT64_MIN}}, .n_steps = 1, .diff = "abcde", .extra = "abcde"},
		 "leads out of the old"},
		{{.steps = {{0, 9, 0}}, .n_steps = 1, .extra = "abcdefghi"}, "ends before the new file"},
		{{.n_steps = 0}, "ends before the new file"},
		{{.steps = {{0, 10, 0}, {0, 0, 0}}, .n_steps = 2, .extra = "abcdefghij"}, "goes on behind the end"},
		{{.control_len = 23, .steps = {{0, 10, 0}}, .n_steps = 1, .extra_len = 11, .extra = "abcdefghij"},
		 "ends within a step"},
		{{.steps = {{10, 0, 0}}, .n_steps = 1, .diff = "abcdefghi"}, "difference block: it has 9 bytes, but"},
		{{.steps = {{10, 0, 0}}, .n_steps = 1, .diff = "abcdefghijk"},
		 "difference block: it has 11 bytes, but"},
		{{.steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghi"}, "extra block: it has 9 bytes, but"},
		{{.steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghijk"}, "extra block: it has 11 bytes, but"},
		/* zeros: a count that is none, or not the right one (the text's bytes are a large one) */
		{{.flags = 0x4021, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "\12"}, "count of zeros has 1 bytes"},
		{{.flags = 0x4021, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "aaaaaaaa"},
		 "7016996765293437281 bytes"},
		{{.flags = 0x0601, .steps = {{10, 0, 0}}, .n_steps = 1, .diff = "aaaaaaaa"},
		 "7016996765293437281 bytes"},
		{{.flags = 0x0422, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"}, "control block: bzip2"},
		{{.flags = 0x0424, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"}, "control block: gzip"},
		{{.flags = 0x0428, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"}, "control block: xz"},
		{{.flags = 0x0481, .steps = {{10, 0, 0}}, .n_steps = 1, .diff = "abcdefghij"},
		 "difference block: gzip"},
		{{.flags = 0x2021, .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"}, "extra block: xz"},
	};

	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf delta = {0};
		struct hand h = cases[i / 2].hand;
		h.large = i % 2;
		hand_delta(&h, &delta);
		assert_refuses(OLD_TEXT, 10, &delta, ERR_FORMAT, cases[i / 2].part);
	}
}

TEST(delta_parse_header_refuses_what_cannot_be)
{
#define FINE .steps = {{0, 10, 0}}, .n_steps = 1, .extra = "abcdefghij"
	static const struct {
		struct hand hand;
		int code;
		const char *part;
	} cases[] = {
		{{FINE, .magic = "BSDIFF40"}, ERR_FORMAT, "not a delta"},
		{{FINE, .magic = "DIR_V20U"}, ERR_FORMAT, "not a delta"},
		{{FINE, .magic = "FULLV20U"}, ERR_MISSING, "whole file"},
		{{FINE, .behind = "x"}, ERR_FORMAT, "do not add up"},
		{{FINE, .extra_len = 11}, ERR_FORMAT, "do not add up"},
		{{FINE, .extra_len = 9}, ERR_FORMAT, "do not add up"},
		{{FINE, .diff_len = 1}, ERR_FORMAT, "do not add up"},
		{{FINE, .diff_len = 500}, ERR_FORMAT, "do not add up"},
		{{FINE, .control_len = 255}, ERR_FORMAT, "do not add up"},
		{{FINE, .control_len = 25}, ERR_FORMAT, "do not add up"},
		{{FINE, .first = 31}, ERR_FORMAT, "do not add up"},
		{{FINE, .first = 8}, ERR_FORMAT, "do not add up"},
		{{FINE, .large = true, .first = 32}, ERR_FORMAT, "do not add up"},
		{{FINE, .large = true, .control_len = UINT32_MAX}, ERR_FORMAT, "do not add up"},
		{{FINE, .large = true, .diff_len = UINT64_MAX}, ERR_FORMAT, "do not add up"},
		/* their sum is right again */
		{{FINE, .large = true, .diff_len = UINT64_MAX - 9, .extra_len = 20}, ERR_FORMAT, "do not add up"},
		{{FINE, .large = true, .extra_len = UINT64_MAX}, ERR_FORMAT, "do not add up"},
		{{FINE, .large = true, .new_len = DELTA_RESULT_MAX + 1}, ERR_LIMIT, "would have 536870913 bytes"},
		{{FINE, .large = true, .new_len = UINT64_MAX}, ERR_LIMIT, "would have 18446744073709551615 bytes"},
		{{FINE, .mode = 040755}, ERR_FORMAT, "something else than a file (mode 040755)"},
		{{FINE, .mode = 0120777}, ERR_FORMAT, "something else"},
		{{FINE, .mode = 0644}, ERR_FORMAT, "something else"},
		{{FINE, .mode = 0x10000 | 0100644}, ERR_FORMAT, "something else"},
		{{FINE, .flags = 0x8010}, ERR_FORMAT, "how its blocks are coded (flags 0x8010)"},
		{{FINE, .flags = 0x0420}, ERR_FORMAT, "how its blocks are coded"},
		{{FINE, .flags = 0x0401}, ERR_FORMAT, "how its blocks are coded"},
		{{FINE, .flags = 0x0021}, ERR_FORMAT, "how its blocks are coded"},
		/* zeros cannot be control */
		{{FINE, .flags = 0x0430}, ERR_FORMAT, "how its blocks are coded"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf delta = {0};
		struct delta_header h;
		struct err e = ERR_INIT;
		hand_delta(&cases[i].hand, &delta);
		assert_fails(delta_parse_header(delta.data, delta.len, &h, &e), cases[i].code, &e, cases[i].part);
		assert_refuses(OLD_TEXT, 10, &delta, cases[i].code, cases[i].part);
	}
}

TEST(delta_apply_refuses_another_old_file)
{
	_cleanup_(buf_free) struct buf delta = {0};
	const struct hand h = {FINE};

	hand_delta(&h, &delta);
	assert_refuses("012345678", 9, &delta, ERR_FORMAT, "from a file of 10 bytes, not 9");
	assert_refuses("0123456789a", 11, &delta, ERR_FORMAT, "from a file of 10 bytes, not 11");
	assert_refuses("", 0, &delta, ERR_FORMAT, "from a file of 10 bytes, not 0");
	/* an old file of no bytes cannot be written by hand_delta */
	delta.data[14] = 0;
	assert_refuses("", 0, &delta, ERR_FORMAT, "from an empty file");
}

TEST(delta_apply_refuses_each_truncation)
{
	for (int large = 0; large < 2; large++) {
		_cleanup_(buf_free) struct buf delta = {0};
		const struct hand h = {FINE, .large = large};
		hand_delta(&h, &delta);
		while (delta.len > 0) {
			delta.len--;
			assert_refuses(OLD_TEXT, 10, &delta, ERR_FORMAT, "delta");
		}
	}
}

static void put_packed(struct buf *out, enum codec c, size_t zeros, struct buf *header)
{
	_cleanup_(buf_free) struct buf plain = {0};
	size_t before = out->len;
	struct err e = ERR_INIT;

	memset(buf_reserve(&plain, zeros), 0, zeros);
	plain.len = zeros;
	assert_ok(compress_mem(c, 1, plain.data, plain.len, out, &e), &e);
	put(header, out->len - before, 8);
}

/* Blocks that expand to far more than there can be are refused before they are held in memory */
TEST(delta_apply_refuses_bombs)
{
	static const struct {
		enum codec codec;
		unsigned bit;
	} codings[] = {{CODEC_BZIP2, 1}, {CODEC_GZIP, 2}, {CODEC_XZ, 3}};

	for (size_t i = 0; i < ARRAY_LEN(codings); i++)
		for (int block = 0; block < 3; block++) {
			_cleanup_(buf_free) struct buf delta = {0}, lengths = {0}, blocks = {0};
			if (block == 0) {
				put_packed(&blocks, codings[i].codec, 32UL << 20, &lengths);
				lengths.len = 4;
				put(&lengths, 0, 16);
			} else {
				put(&lengths, 24, 4);
				put(&blocks, block == 1 ? 300 : 0, 8);
				put(&blocks, block == 1 ? 0 : 300, 8);
				put(&blocks, block == 1 ? (uint64_t)-300 : 0, 8);
				put(&lengths, 0, block == 1 ? 0 : 8);
				put_packed(&blocks, codings[i].codec, 32UL << 20, &lengths);
				put(&lengths, 0, block == 1 ? 8 : 0);
			}
			buf_puts(&delta, "BSDIFF4U");
			put(&delta, 67, 1);
			buf_add(&delta, lengths.data, 20);
			put(&delta, 10, 8);
			put(&delta, 300, 8);
			put(&delta, 0, 8);
			put(&delta, 0100644, 4);
			put(&delta, 0, 8);
			unsigned flags = RAW_RAW_RAW & ~(1U << (5 * (unsigned)block));
			put(&delta, flags | 1U << (5 * (unsigned)block + codings[i].bit), 2);
			buf_add(&delta, blocks.data, blocks.len);
			assert_refuses(OLD_TEXT, 10, &delta, ERR_LIMIT, "more than the expected size");
		}
}

/* Whatever bit is wrong: a refusal, or a file of the length that the header says. Run this with SAN=1. */
static void check_flips(const struct vector *v)
{
	/* the header alone where xz takes 64 MiB each time */
	size_t bits = MIN(v->delta.len, (size_t)(strstr(v->fields[CODINGS], "xz") ? 32 : 400)) * 8;

	for (size_t bit = 0; bit < bits && v->new.len < 10000; bit += bit < 544 ? 1 : 13) {
		_cleanup_(buf_free) struct buf out = {0};
		struct delta_header h;
		struct attrs a;
		v->delta.data[bit / 8] = (char)(v->delta.data[bit / 8] ^ 1 << bit % 8);
		int r = delta_apply(v->old.data, v->old.len, v->delta.data, v->delta.len, &a, &out, NULL);
		if (r == 0) {
			assert_int_equal(delta_parse_header(v->delta.data, v->delta.len, &h, NULL), 0);
			assert_int_equal(out.len, h.new_len);
		} else {
			assert_true(r == -ERR_FORMAT || r == -ERR_LIMIT || r == -ERR_MISSING);
			assert_int_equal(out.len, 0);
		}
		v->delta.data[bit / 8] = (char)(v->delta.data[bit / 8] ^ 1 << bit % 8);
	}
}

TEST(delta_apply_stands_changed_bits)
{
	each_vector(check_flips);
}

/* ---- our own deltas ---- */

static const char *const pairs[] = {"small-edit", "large-edit", "append",       "append-zeros",
				    "identical",  "truncate",   "moved-blocks", "binary-large",
				    "old-empty",  "new-tiny",   "unrelated"};

/* Make one, apply it, compare. Returns its length, 0 for none. delta may be NULL. */
static size_t make_and_apply(const struct buf *old, const struct buf *new, enum delta_coding coding, struct buf *delta)
{
	_cleanup_(buf_free) struct buf d = {0}, out = {0};
	const struct attrs attrs = {.kind = KIND_FILE, .mode = 04755, .uid = 70000, .gid = 5, .size = new->len};
	struct err e = ERR_INIT;
	struct attrs got;

	int r = delta_make(old->data, old->len, new->data, new->len, &attrs, coding, &d, &e);
	assert_ok(r, &e);
	if (r == 1) {
		assert_int_equal(d.len, 0);
		return 0;
	}
	assert_ok(delta_apply(old->data, old->len, d.data, d.len, &got, &out, &e), &e);
	assert_same(&out, new->data, new->len);
	assert_int_equal(got.kind, KIND_FILE);
	assert_int_equal(got.mode, attrs.mode);
	assert_int_equal(got.uid, attrs.uid);
	assert_int_equal(got.gid, attrs.gid);
	assert_true(coding == DELTA_RAW || 10 * d.len <= 9 * new->len);
	if (delta)
		buf_add(delta, d.data, d.len);
	return d.len;
}

TEST(delta_make_of_the_vectors_is_no_larger_than_the_predecessors)
{
	size_t ours = 0, theirs = 0;

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0};
		_cleanup_free_ char *name = xasprintf("delta/%s.any.bsdiff", pairs[i]);
		load_pair(pairs[i], &old, &new);
		load(name, &delta);
		bool marker = delta.len == 8;
		size_t n = make_and_apply(&old, &new, DELTA_ANY, NULL);
		assert_int_equal(n == 0, marker);
		ours += n;
		theirs += marker ? 0 : delta.len;
		if (n * 100 > delta.len * 102)
			print_message("%s: %zu bytes, the predecessor's has %zu\n", pairs[i], n, delta.len);
	}
	assert_true(ours * 100 <= theirs * 102);
}

/* For each option of the predecessor: a delta where it made one, applied by ours; DELTA_ZEROS is of use with us */
static void check_make(const struct vector *v)
{
	static const char *const options[] = {"raw", "bzip2", "gzip", "xz", "zeros", "any"};
	_cleanup_(buf_free) struct buf delta = {0}, again = {0};
	size_t coding = 0;

	while (strcmp(options[coding], v->fields[OPTION]) != 0)
		coding++;
	size_t n = make_and_apply(&v->old, &v->new, (enum delta_coding)coding, &delta);
	if (coding != DELTA_ZEROS)
		assert_int_equal(n == 0, number(v, EXIT));
	if (n == 0)
		return;
	make_and_apply(&v->old, &v->new, (enum delta_coding)coding, &again);
	assert_same(&again, delta.data, delta.len);
	struct delta_header h = {0};
	assert_int_equal(delta_parse_header(delta.data, delta.len, &h, NULL), 0);
	bool small = h.old_len < 65536 && h.new_len < 65536 && h.control_len < 256 && h.diff_len < 65536;
	assert_int_equal(h.first_block, small ? 32 : 67);
	const enum delta_coding used[] = {h.control, h.diff, h.extra};
	for (size_t i = 0; i < ARRAY_LEN(used) && coding != DELTA_ANY; i++)
		assert_true(used[i] == DELTA_RAW || used[i] == (enum delta_coding)coding);
}

TEST(delta_make_makes_each_coding_where_the_predecessor_did)
{
	each_vector(check_make);
}

TEST(delta_make_codes_blocks_of_zeros_as_a_count)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0}, marked = {0};
	struct delta_header h = {0};

	load_pair("append-zeros", &old, &new);
	assert_int_equal(make_and_apply(&old, &new, DELTA_ANY, &delta), 72);
	assert_int_equal(delta_parse_header(delta.data, delta.len, &h, NULL), 0);
	assert_int_equal(h.diff, DELTA_ZEROS);
	assert_int_equal(h.extra, DELTA_ZEROS);
	assert_int_equal(make_and_apply(&old, &new, DELTA_ZEROS, &marked), 72);
	assert_same(&marked, delta.data, delta.len);
}

/* A tenth of a difference that is not zero is what decides; literals are xz's. */
TEST(delta_make_codes_large_blocks_as_is_usual)
{
	static const struct {
		size_t every; /* a byte in so many has changed */
		enum delta_coding diff;
	} cases[] = {{40, DELTA_BZIP2}, {11, DELTA_BZIP2}, {9, DELTA_XZ}, {6, DELTA_XZ}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0};
		struct delta_header h = {0};
		uint32_t seed = 4;
		edits_noise(&old, 200000, 256, &seed);
		buf_add(&new, old.data, old.len);
		for (size_t at = 1000; at < new.len; at += cases[i].every)
			new.data[at] = (char)(new.data[at] + 1);
		edits_noise(&new, 100000, 10, &seed);
		size_t any = make_and_apply(&old, &new, DELTA_ANY, &delta);
		assert_int_equal(delta_parse_header(delta.data, delta.len, &h, NULL), 0);
		assert_int_equal(h.diff, cases[i].diff);
		assert_int_equal(h.extra, DELTA_XZ);
		assert_in_range(any, 1, make_and_apply(&old, &new, DELTA_GZIP, NULL));
	}
}

/*
 * The bytes of DELTA_RAW depend on nothing but the matching: a change here is a change of all deltas that are
 * published.
 */
TEST(delta_make_writes_the_golden_bytes)
{
	_cleanup_(buf_free) struct buf golden = {0}, now = {0};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0};
		char hex[DIGEST_HEX];
		struct digest d;
		load_pair(pairs[i], &old, &new);
		if (make_and_apply(&old, &new, DELTA_RAW, &delta) == 0)
			continue;
		sha256_mem(delta.data, delta.len, &d);
		digest_format(&d, hex);
		buf_printf(&now, "%s  %s.raw\n", hex, pairs[i]);
	}
	assert_ok(fs_load(AT_FDCWD, "tests/golden/delta.sha256", 1UL << 20, &golden, &e), &e);
	assert_string_equal(now.data, golden.data);
}

TEST(delta_make_has_a_smallest_and_a_largest_file)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0}, none = {0};
	uint32_t seed = 1;

	edits_noise(&old, 1000, 256, &seed);
	buf_add(&new, old.data, 199);
	for (int c = DELTA_RAW; c <= DELTA_ANY; c++) {
		new.len = 199;
		assert_int_equal(make_and_apply(&old, &new, (enum delta_coding)c, NULL), 0);
		assert_int_equal(make_and_apply(&none, &old, (enum delta_coding)c, NULL), 0);
		new.len = 0;
		assert_int_equal(make_and_apply(&old, &new, (enum delta_coding)c, NULL), 0);
	}
	new.len = 0;
	buf_add(&new, old.data, 200);
	assert_int_equal(make_and_apply(&old, &new, DELTA_ANY, NULL), 64);
	/* never read: these lengths alone decide */
	struct buf out = {0};
	assert_int_equal(delta_make(old.data, old.len, new.data, DELTA_RESULT_MAX + 1, &(struct attrs){0}, DELTA_RAW,
				    &out, NULL),
			 1);
	assert_int_equal(delta_make(old.data, 1UL << 31, new.data, new.len, &(struct attrs){0}, DELTA_RAW, &out, NULL),
			 1);
	assert_null(out.data);
}

TEST(delta_make_gives_up_at_90_percent)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};
	uint32_t seed = 2;

	/* a small header, a step and the zeros' count are 64 bytes, so 836 new ones of 1000 are 900 */
	edits_noise(&old, 164, 256, &seed);
	buf_add(&new, old.data, old.len);
	edits_noise(&new, 836, 256, &seed);
	assert_int_equal(make_and_apply(&old, &new, DELTA_ANY, NULL), 900);
	old.len--;
	old.data[163] = (char)(new.data[163] + 1);
	assert_int_equal(make_and_apply(&old, &new, DELTA_ANY, NULL), 0);
	assert_int_equal(make_and_apply(&old, &new, DELTA_RAW, NULL), 32 + 24 + 1000);
}

TEST(delta_make_adds_behind_what_is_there)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0};
	uint32_t seed = 3;

	edits_noise(&old, 1000, 256, &seed);
	buf_add(&new, old.data, old.len);
	buf_puts(&delta, "head");
	assert_int_equal(make_and_apply(&old, &new, DELTA_ANY, &delta), 64);
	const struct attrs a = {.kind = KIND_FILE, .mode = 0644};
	assert_int_equal(delta_make(old.data, old.len, new.data, new.len, &a, DELTA_ANY, &delta, NULL), 0);
	assert_int_equal(delta.len, 4 + 64 + 64);
	assert_memory_equal(delta.data, "headBSDIFF4V", 12);
	assert_memory_equal(delta.data + 68, "BSDIFF4V", 8);
}

TEST(delta_make_makes_what_apply_turns_back)
{
	static const unsigned letters[] = {1, 2, 3, 10, 256};
	size_t made = 0;

	for (uint32_t round = 0; round < 600; round++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0};
		uint32_t seed = round;
		unsigned l = letters[round % ARRAY_LEN(letters)];
		edits_noise(&old, 1 + edits_random(&seed) % (round % 3 ? 3000 : 40), l, &seed);
		buf_add(&new, old.data, old.len);
		for (uint32_t edits = edits_random(&seed) % 12; edits > 0 || new.len<200; edits -= edits> 0) {
			edits_edit(&new, l, &seed);
			if (new.len < 200)
				edits_noise(&new, 100, l, &seed);
		}
		made += make_and_apply(&old, &new, DELTA_RAW, NULL) > 0;
		make_and_apply(&old, &new, round % 2 ? DELTA_GZIP : DELTA_ZEROS, NULL);
	}
	assert_true(made > 500);
}

/* What is slow with plain matching: long repeats with few misses. Each of these takes well below a second. */
TEST(delta_make_is_not_slow_with_repetitions)
{
	for (size_t period = 1; period < 3000; period = period * 5 + 2) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, part = {0};
		uint32_t seed = (uint32_t)period;
		edits_noise(&part, period, 256, &seed);
		while (old.len < 1000000)
			buf_add(&old, part.data, period);
		buf_add(&new, old.data + period / 2, old.len - period / 2);
		for (int i = 0; i < 200; i++) {
			old.data[edits_random(&seed) % old.len] ^= 1;
			new.data[edits_random(&seed) % new.len] ^= 1;
		}
		assert_true(make_and_apply(&old, &new, DELTA_BZIP2, NULL) > 0);
	}
}

TEST(delta_name_parse_takes_both_forms)
{
#define A "28cb7c6cad23920f344157f48ae353caca34e9a2f5cff934a4fdaaf7509f2062"
#define B "f716c6cb18be9041e1748d52be544645cfc98d2c99dd7e72bdd6f702aa1ee744"
	static const char *const good[] = {A "-" B, "10-20-" A "-" B, "0-0-" A "-" B, "--" A "-" B,
					   "a.b-" B "-" A "-" B};
	static const char *const bad[] = {
		"",
		"-",
		A,
		A "-",
		A "_" B,
		A B,
		A "-" A "-" B,
		"10-" A "-" B,
		"10-20-30-" A "-" B,
		"10-20" A "-" B,
		A "-" B ".tar",
		A "-" B "-10-20",
		"10-20-" A "-" B "0",
		"10-20-" A "-" A "x",
		/* not lower-case hex */
		"28CB7C6CAD23920F344157F48AE353CACA34E9A2F5CFF934A4FDAAF7509F2062-" B,
		A "-g716c6cb18be9041e1748d52be544645cfc98d2c99dd7e72bdd6f702aa1ee744",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct digest from, to, a, b;

	assert_int_equal(digest_parse(A, &a), 0);
	assert_int_equal(digest_parse(B, &b), 0);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		from = to = digest_zero;
		assert_int_equal(delta_name_parse(good[i], &from, &to), 0);
		assert_true(digest_equal(&from, &a));
		assert_true(digest_equal(&to, &b));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		from = to = a;
		assert_int_equal(delta_name_parse(bad[i], &from, &to), -EINVAL);
		assert_true(digest_equal(&from, &a));
		assert_true(digest_equal(&to, &a));
	}
}
