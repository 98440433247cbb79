/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/diff.h"
#include "tests/unit/difference.h"
#include "tests/unit/edits.h"
#include "tests/unit/library.h"

static void assert_same(const struct buf *a, const struct buf *b)
{
	assert_int_equal(a->len, b->len);
	if (a->len > 0)
		assert_memory_equal(a->data, b->data, a->len);
}

/* What is made makes the new file, uses up all streams, and is the same again. Returns the bytes of all streams. */
static size_t there_and_back(const struct buf *old, const struct buf *new)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0}, again = {0};
	_cleanup_(buf_free) struct buf out = {0};
	struct err e = ERR_INIT;
	struct diff_cursor c;
	size_t total = 0;

	assert_ok(diff_make(old->data, old->len, new->data, new->len, &s, &e), &e);
	assert_ok(difference_apply(old, new->len, &s, &out, &c, &e), &e);
	assert_same(&out, new);
	assert_ok(diff_make(old->data, old->len, new->data, new->len, &again, &e), &e);
	for (size_t i = 0; i < DIFF_STREAMS; i++) {
		assert_int_equal(c.at[i], s.s[i].len);
		assert_same(&s.s[i], &again.s[i]);
		total += s.s[i].len;
	}
	return total;
}

static void expect(const struct diff_streams *s, enum diff_stream i, const char *bytes, size_t len)
{
	assert_int_equal(s->s[i].len, len);
	assert_memory_equal(s->s[i].data, bytes, len);
}

TEST(diff_make_makes_these_streams)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	const char *old = "no line from here, this line stays but for a letter, and this one moves to the front";
	const char *new = "and this one moves to the front; this line stays but for x letter, and that is all";
	struct err e = ERR_INIT;

	assert_ok(diff_make(old, strlen(old), new, strlen(new), &s, &e), &e);
	expect(&s, DIFF_CONTROL, "\0", 1);
	expect(&s, DIFF_COPY, "\x1f\x29", 2);
	expect(&s, DIFF_INSERT, "\x01\x09", 2);
	expect(&s, DIFF_ALIGN, "\x6a\x85\x01", 3); /* 53, then -67 */
	expect(&s, DIFF_GAP, "\x39\0", 2);
	expect(&s, DIFF_VALUE, "\x17", 1); /* 'x' - 'a' */
	expect(&s, DIFF_LITERAL, ";at is all", 10);
	/* behind what is there */
	assert_ok(diff_make("", 0, "abc", 3, &s, &e), &e);
	expect(&s, DIFF_CONTROL, "\0\0", 2);
	expect(&s, DIFF_COPY, "\x1f\x29\0", 3);
	expect(&s, DIFF_LITERAL, ";at is allabc", 13);
}

TEST(diff_apply_turns_back_what_diff_make_makes)
{
	static const unsigned letters[] = {1, 2, 3, 10, 256};

	for (uint32_t round = 0; round < 600; round++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0};
		uint32_t seed = round;
		unsigned l = letters[round % ARRAY_LEN(letters)];
		edits_noise(&old, edits_random(&seed) % (round % 3 ? 3000 : 40), l, &seed);
		buf_add(&new, old.data, old.len);
		for (uint32_t edits = edits_random(&seed) % 12; edits > 0; edits--)
			edits_edit(&new, l, &seed);
		there_and_back(&old, &new);
	}
}

TEST(diff_costs_little_for_what_is_the_same)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};
	uint32_t seed = 1;

	edits_noise(&old, 300000, 256, &seed);
	buf_add(&new, old.data, old.len);
	assert_int_equal(there_and_back(&old, &new), 7);
	new.data[100000] ^= 1;
	assert_int_equal(there_and_back(&old, &new), 11);
	buf_puts(&new, "more");
	assert_int_equal(there_and_back(&old, &new), 15);
}

TEST(diff_takes_empty_files)
{
	_cleanup_(buf_free) struct buf empty = {0}, some = {0};

	buf_puts(&some, "some");
	assert_int_equal(there_and_back(&empty, &empty), 2);
	assert_int_equal(there_and_back(&some, &empty), 2);
	assert_int_equal(there_and_back(&empty, &some), 8);
}

/* The libraries that this program uses: files of machine code that every machine has */
static void load_libraries(struct buf *files, size_t *n, size_t max)
{
	_cleanup_(buf_free) struct buf maps = {0};
	_cleanup_(strv_free) struct strv paths = {0};
	const char *pos, *line;
	struct err e = ERR_INIT;
	size_t len;

	assert_ok(fs_load(AT_FDCWD, "/proc/self/maps", 1UL << 20, &maps, &e), &e);
	pos = maps.data;
	while (text_line(&pos, maps.data + maps.len, &line, &len, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		const char *path = strchr(copy, '/');
		if (path && strstr(path, ".so"))
			strv_add(&paths, path);
	}
	strv_sort_unique(&paths);
	for (size_t i = 0; i < paths.n && *n < max; i++) {
		struct buf b = {0};
		assert_ok(fs_load(AT_FDCWD, paths.items[i], 64UL << 20, &b, &e), &e);
		if (b.len < 400000)
			files[(*n)++] = b;
		else
			buf_free(&b);
	}
}

TEST(diff_turns_one_library_into_another)
{
	struct buf files[6] = {0};
	size_t n = 0;

	load_libraries(files, &n, ARRAY_LEN(files));
	assert_true(n >= 3);
	for (size_t i = 1; i < n; i++)
		there_and_back(&files[i - 1], &files[i]);
	for (size_t i = 0; i < n; i++)
		buf_free(&files[i]);
}

static void make(bool fixed, unsigned first, unsigned n, unsigned without, struct buf *out)
{
	unsigned functions[1000];
	size_t count = 0;

	/* what is called stays; first to come are those that may go */
	for (unsigned i = first; i < n; i++)
		if (i != without)
			functions[count++] = i;
	for (unsigned i = 0; i < 100; i++)
		functions[count++] = i;
	library_make(functions, count, fixed, out);
}

/* A large old file is looked at in blocks: the same comes of it, also when it is another than the one it was made for, and what cannot be read is an error */
TEST(diff_apply_reads_a_large_file_in_blocks)
{
	for (int fixed = 0; fixed < 2; fixed++) {
		_cleanup_(diff_streams_clear) struct diff_streams s = {0};
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, out = {0};
		_cleanup_(view_close) struct view view = {0};
		struct err e = ERR_INIT;
		struct diff_cursor c = {.streams = &s};
		const struct diff_source in = {.read = diff_cursor_read, .arg = &c};
		char path[PATH_MAX];
		uint32_t seed = 7;

		make(fixed, 100, 700, 0, &old);
		make(fixed, 90, 660, 130, &new);
		edits_noise(&old, 5UL << 20, 200, &seed);
		buf_add(&new, old.data + old.len - (5UL << 20), 5UL << 20);
		new.data[new.len - 70000]++;
		assert_ok(diff_make(old.data, old.len, new.data, new.len, &s, &e), &e);
		assert_int_equal(s.s[DIFF_CONTROL].data[0], 1);
		_cleanup_close_ int dir = test_dir(path, sizeof(path));
		assert_ok(fs_save(dir, "old", old.data, old.len, 0600, &e), &e);
		_cleanup_close_ int fd = openat(dir, "old", O_RDWR | O_CLOEXEC);
		assert_ok(view_open(&view, fd, "old", SIZE_MAX, &e), &e);
		assert_null(view.data);
		assert_ok(diff_apply(&view, new.len, &in, -1, difference_collect, &out, &e), &e);
		assert_same(&out, &new);
		c = (struct diff_cursor){.streams = &s};
		out.len = 0;
		assert_int_equal(ftruncate(fd, 4L << 20), 0);
		for (size_t i = 0; i < 64; i++) /* nothing of it is kept from before */
			(void)view_at(&view, (i + 64) * VIEW_BLOCK, &(size_t){0});
		assert_fails(diff_apply(&view, new.len, &in, -1, difference_collect, &out, &e), ERR_FORMAT, &e,
			     "cannot be read");
		assert_fails(view_open(&view, fd, "old", 1UL << 20, &e), ERR_LIMIT, &e, "larger than");
		assert_ok(view_open(&view, fd, "old", SIZE_MAX, &e), &e);
		assert_non_null(view.data);
	}
}

/* Code that moved costs nothing: neither it nor what refers to it */
static void check_move(bool fixed)
{
	_cleanup_(buf_free) struct buf old = {0}, gone = {0}, more = {0}, few = {0};

	make(fixed, 100, 700, 0, &old);
	make(fixed, 100, 700, 130, &gone);
	make(fixed, 100, 701, 600, &more);
	make(fixed, 500, 503, 0, &few);
	assert_true(old.len > 200000);
	there_and_back(&few, &old);
	there_and_back(&gone, &few);
	/* plain ones have 16 KB and more of addresses */
	assert_in_range(there_and_back(&old, &gone), 100, 500);
	assert_in_range(there_and_back(&old, &more), 100, 800);
}

TEST(diff_of_a_library_does_not_grow_with_what_refers_to_moved_code)
{
	check_move(false);
}

TEST(diff_of_a_program_does_not_grow_with_what_refers_to_moved_code)
{
	check_move(true);
}

/*
 * What some version wrote of programs still makes what it made: a predictor that says something else is another kind of difference (difference(5)). So this file, of two
 * differences, never changes.
 */
TEST(diff_of_programs_is_read_for_ever)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	struct diff_cursor c = {.streams = &s};
	const struct diff_source in = {.read = diff_cursor_read, .arg = &c};
	struct err e = ERR_INIT;

	difference_load("tests/golden/diff-program", &s);
	for (int fixed = 0; fixed < 2; fixed++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0}, out = {0};
		make(fixed, 100, fixed ? 300 : 700, 0, &old);
		make(fixed, fixed ? 120 : 90, fixed ? 320 : 660, fixed ? 200 : 130, &new);
		assert_ok(diff_apply(&VIEW_OF((const uint8_t *)old.data, old.len), new.len, &in, -1, difference_collect,
				     &out, &e),
			  &e);
		assert_same(&out, &new);
	}
	for (size_t i = 0; i < DIFF_STREAMS; i++)
		assert_int_equal(c.at[i], s.s[i].len);
}

/* Also of a file that is made of nothing: calls of one function are the same bytes wherever they are */
TEST(diff_of_a_new_library_tells_targets)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	_cleanup_(buf_free) struct buf nothing = {0}, new = {0};
	struct err e = ERR_INIT;

	make(false, 100, 700, 0, &new);
	there_and_back(&nothing, &new);
	assert_ok(diff_make(NULL, 0, new.data, new.len, &s, &e), &e);
	assert_true(s.s[DIFF_TARGET].len > new.len / 100);
}

/* ---- what is no difference ---- */

struct bad {
	const char *what;
	struct {
		const char *bytes;
		size_t len;
	} s[DIFF_STREAMS];
	size_t new_len;
	const char *message;
};
#define B(text)                                                                                                        \
	{                                                                                                              \
		text, sizeof(text) - 1                                                                                 \
	}

TEST(diff_apply_refuses_what_cannot_be)
{
	static const struct bad cases[] = {
		{"nothing", {{NULL, 0}}, 4, "ends too early"},
		{"an unknown kind", {B("\x63")}, 4, "unknown kind, 99"},
		{"a number of too many bits", {B("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")}, 4, "not well formed"},
		{"a number with a byte too many", {B("\x80\0")}, 4, "not well formed"},
		{"a kind that is not known yet", {B("\3")}, 4, "unknown kind, 3"},
		{"no pieces", {B("\0")}, 4, "ends too early"},
		{"an empty piece", {B("\0"), B("\0"), B("\0")}, 4, "is empty"},
		{"a long copy", {B("\0"), B("\5"), B("\0")}, 4, "behind the end of the new file"},
		{"a long insert", {B("\0"), B("\1"), B("\4")}, 4, "behind the end of the new file"},
		{"lengths that overflow together",
		 {B("\0"), B("\1"), B("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1")},
		 4,
		 "behind the end of the new file"},
		{"before the old file", {B("\0"), B("\4"), B("\0"), B("\1")}, 4, "out of the old file"},
		{"behind the old file", {B("\0"), B("\4"), B("\0"), B("\x0a")}, 4, "out of the old file"},
		{"far behind the old file",
		 {B("\0"), B("\4"), B("\0"), B("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1")},
		 4,
		 "out of the old file"},
		{"alignments that overflow together",
		 {B("\0"), B("\1\1\1\1"), B("\0\0\0\0"), B("\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1")},
		 4,
		 "out of the old file"},
		{"no gap", {B("\0"), B("\4"), B("\0"), B("\0")}, 4, "ends too early"},
		{"no value", {B("\0"), B("\4"), B("\0"), B("\0"), B("\4")}, 4, "ends too early"},
		{"a change behind the end", {B("\0"), B("\4"), B("\0"), B("\0"), B("\5")}, 4, "changes bytes behind"},
		{"a change of nothing", {B("\0"), B(""), B(""), B(""), B("\1")}, 0, "changes bytes behind"},
		{"no references", {B("\1"), B("\0"), B("\4"), B(""), B("\0"), B(""), B("abcd")}, 4, "ends too early"},
		{"a reference behind the end",
		 {B("\1"), B("\0"), B("\4"), B(""), B("\0"), B(""), B("abcd"), B("\1")},
		 4,
		 "changes references behind"},
		{"no literals", {B("\0"), B("\0"), B("\4"), B(""), B("\0"), B(""), B("abc")}, 4, "ends too early"},
	};
	_cleanup_(buf_free) struct buf old = {0};

	buf_puts(&old, "olden ol");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(diff_streams_clear) struct diff_streams s = {0};
		_cleanup_(buf_free) struct buf out = {0};
		struct err e = ERR_INIT;
		struct diff_cursor c;
		for (size_t k = 0; k < DIFF_STREAMS; k++)
			buf_add(&s.s[k], cases[i].s[k].bytes, cases[i].s[k].len);
		int r = difference_apply(&old, cases[i].new_len, &s, &out, &c, &e);
		if (r != -ERR_FORMAT || !strstr(e.text, cases[i].message))
			fail_msg("%s: %d, %s", cases[i].what, r, e.text ? e.text : "(no text)");
		err_clear(&e);
	}
}

TEST(diff_apply_refuses_too_many_pieces)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	_cleanup_(buf_free) struct buf old = {0}, out = {0};
	struct err e = ERR_INIT;
	struct diff_cursor c;

	buf_putc(&s.s[DIFF_CONTROL], 0);
	buf_putc(&s.s[DIFF_GAP], 0);
	for (size_t i = 0; i < DIFF_PIECES_MAX; i++) {
		buf_putc(&s.s[DIFF_COPY], 0);
		buf_putc(&s.s[DIFF_INSERT], 1);
		buf_putc(&s.s[DIFF_LITERAL], 'x');
	}
	assert_ok(difference_apply(&old, DIFF_PIECES_MAX, &s, &out, &c, &e), &e);
	assert_int_equal(out.len, DIFF_PIECES_MAX);
	buf_putc(&s.s[DIFF_COPY], 0);
	buf_putc(&s.s[DIFF_INSERT], 1);
	assert_fails(difference_apply(&old, DIFF_PIECES_MAX + 1, &s, &out, &c, &e), ERR_LIMIT, &e,
		     "more than 1048576 pieces");
}

/* Whatever bytes are changed: an error, or a file of the right length */
TEST(diff_apply_survives_damage)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	_cleanup_(buf_free) struct buf old = {0}, new = {0};
	uint32_t seed = 5;

	edits_noise(&old, 20000, 256, &seed);
	buf_add(&new, old.data, old.len);
	for (int i = 0; i < 30; i++)
		edits_edit(&new, 256, &seed);
	assert_int_equal(diff_make(old.data, old.len, new.data, new.len, &s, NULL), 0);
	assert_in_range(difference_damage(&old, new.len, &s, 3000, false, &seed), 100, 2900);
}

static int full(void *arg __attribute__((unused)), const void *data __attribute__((unused)),
		size_t len __attribute__((unused)), struct err *e)
{
	return err_set(e, -ENOSPC, "full");
}

TEST(diff_apply_ends_when_nothing_more_can_be_written)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	struct diff_cursor c = {.streams = &s};
	const struct diff_source in = {.read = diff_cursor_read, .arg = &c};
	struct err e = ERR_INIT;

	assert_ok(diff_make("abc", 3, "abcd", 4, &s, &e), &e);
	assert_fails(diff_apply(&VIEW_OF((const uint8_t *)"abc", 3), 4, &in, -1, full, NULL, &e), ENOSPC, &e, "full");
}

/* mixer reads such a file piece by piece */
TEST(diff_of_a_file_too_large_for_a_program_is_its_literals)
{
	const size_t len = DIFF_PROGRAM_MAX + 1;
	_cleanup_(diff_streams_clear) struct diff_streams made = {0}, want = {0};
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *program = xcalloc(1, len);
	struct err e = ERR_INIT;

	assert_ok(fs_read_at(fd, 0, program, 65536, &e), &e);
	assert_ok(diff_make(NULL, 0, program, len, &made, &e), &e);
	diff_make_large(len, &want);
	buf_add(&want.s[DIFF_LITERAL], program, len);
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		assert_same(&made.s[k], &want.s[k]);
}
