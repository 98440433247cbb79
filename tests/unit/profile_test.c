/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/profile.h"
#include "mixer/input/recording.h"
#include "mixer/step/profile_files.h"
#include "mixer/step/profile_make.h"
#include "mixer/step/symbolize.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

#define HASH "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

static const char text_of_two[] = "# limpid-profile 1\n"
				  "# build-id 0123456789abcdef\n"
				  "# source known 1.0-1\n"
				  "# recorded 2026-11-22T00:45:00Z workload " HASH " by qemu\n"
				  "# weight 1000 generation 0\n"
				  "hot:170:2\n"
				  " 1: 2\n"
				  " 5: 60 thrice:10 twice:50\n"
				  " 7.2: 8\n"
				  " 9: step:100\n"
				  "  1: 40\n"
				  "  2: deep:60\n"
				  "   65535: 60\n"
				  "main:1:1\n"
				  " 3: 1\n";

static struct profile *parsed(const char *text)
{
	struct err e = ERR_INIT;
	struct profile *p = NULL;

	assert_ok(profile_parse(text, strlen(text), "p", &p, &e), &e);
	return p;
}

static void assert_text(const struct profile *p, const char *want)
{
	_cleanup_(buf_free) struct buf out = {0};

	assert_int_equal(profile_write_llvm(p, &out, NULL), 0);
	assert_string_equal(out.data, want);
}

/* --- the text ------------------------------------------------------------------------------------------------------------- */

TEST(profile_reads_what_it_writes)
{
	_cleanup_(profile_freep) struct profile *p = parsed(text_of_two);

	assert_int_equal(p->n_functions, 2);
	assert_int_equal(p->functions[0].n_calls, 1);
	assert_int_equal(p->functions[0].calls[0].total, 100);
	assert_int_equal(p->origins[0].recorded, 1795308300);
	assert_text(p, text_of_two);
}

TEST(profile_joins_what_is_there_twice_and_makes_totals)
{
	_cleanup_(profile_freep) struct profile *p = parsed("f.isra.0:0:1\n 2: 5 g:1\n 1: 4\n 3: g:0\n  1: 1\nf:0:2\n "
							    "1: 6\n 2: 1 h:2 g:7\n 3: g.part.1:0\n  1: 2\n");

	assert_text(p, "# limpid-profile 1\nf:19:3\n 1: 10\n 2: 6 g:8 h:2\n 3: g:3\n  1: 3\n");
}

TEST(profile_of_llvm_without_provenance_is_one)
{
	_cleanup_(profile_freep) struct profile *p =
		parsed("# anything\nmain:3:0\n !CFGChecksum: 1\n 0: 1\n 1.1: 2 _Z1fv:2\n");

	assert_int_equal(p->n_origins, 0);
	assert_text(p, "# limpid-profile 1\nmain:3:0\n 0: 1\n 1.1: 2 _Z1fv:2\n");
}

TEST(profile_refuses_what_is_none)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"hot\n", "line 1"},
		{"hot:1\n", "line 1"},
		{":1:1\n", "line 1"},
		{"hot:1:-1\n", "line 1"},
		{"hot:18446744073709551616:1\n", "line 1"},
		{" 1: 2\n", "line 1"},
		{"hot:1:1\n  1: 2\n", "line 2"},
		{"hot:1:1\n 1 2\n", "line 2"},
		{"hot:1:1\n 65536: 2\n", "line 2"},
		{"hot:1:1\n 1.: 2\n", "line 2"},
		{"hot:1:1\n 1: \n", "line 2"},
		{"hot:1:1\n 1: 2 f\n", "line 2"},
		{"hot:1:1\n 1: 2  f:1\n", "line 2"},
		{"hot:1:1\n 1: f:1:1x\n", "line 2"},
		{"ho t:1:1\n", "line 1"},
		{"hot:1:1\r\n", "line 1"},
		{"# limpid-profile 2\n", "line 1"},
		{"# limpid-profile 1\n# build-id XYZ\n", "line 2"},
		{"# limpid-profile 1\n# build-id 12\n# recorded yesterday workload - by qemu\n", "line 3"},
		{"# limpid-profile 1\n# build-id 12\n# recorded 2026-11-22T00:45:00Z workload - by hand\n", "line 3"},
		{"# limpid-profile 1\n# build-id 12\n# weight 1001 generation 0\n", "line 3"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct profile *p = NULL;
		assert_fails(profile_parse(cases[i].text, strlen(cases[i].text), "p", &p, &e), ERR_FORMAT, &e,
			     cases[i].part);
		assert_null(p);
	}
}

TEST(profile_refuses_functions_without_end_inside_each_other)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;
	struct profile *p = NULL;

	buf_puts(&b, "f:1:1\n");
	for (int i = 1; i < 70; i++)
		buf_printf(&b, "%*s1: f:1\n", i, "");
	assert_fails(profile_parse(b.data, b.len, "p", &p, &e), ERR_LIMIT, &e, "line 65");
}

/* --- for gcc ---------------------------------------------------------------------------------------------------------------- */

TEST(profile_for_gcc_has_names_lines_targets_and_calls)
{
	_cleanup_(profile_freep) struct profile *p = parsed("f:0:3\n 2.1: 5 g:4\n 3: g:0\n  1: 6\n");
	_cleanup_(buf_free) struct buf out = {0};
	static const unsigned char want[] = {
		'a', 'd', 'c', 'g', 2, 0, 0, 0, 0, 0, 0, 0,
		/* names: "", f, g */
		0, 0, 0, 0xaa, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 'f', 0, 2, 0, 0, 0, 'g', 0,
		/* a function: head 3, f, one line, one call */
		0, 0, 0, 0xac, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
		/* 2.1, one target, 5: g 4 */
		1, 0, 2, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0,
		0,
		/* 3: g, one line, no call; 1: 6 */
		0, 0, 3, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
		/* modules */
		0, 0, 0, 0xae, 0, 0, 0, 0, 0, 0, 0, 0};

	assert_int_equal(profile_write_gcc(p, 14, &out, NULL), 0);
	assert_int_equal(out.len, sizeof(want));
	assert_memory_equal(out.data, want, sizeof(want));
}

TEST(profile_for_gcc_12_has_no_discriminators)
{
	_cleanup_(profile_freep) struct profile *p = parsed("f:0:3\n 2: 4\n 2.1: 5\n 3.7: g:0\n  1.2: 6\n");
	_cleanup_(profile_freep) struct profile *plain = parsed("f:0:3\n 2: 5\n 3: g:0\n  1: 6\n");
	_cleanup_(buf_free) struct buf out = {0}, want = {0};

	assert_int_equal(profile_write_gcc(p, 12, &out, NULL), 0);
	assert_int_equal(profile_write_gcc(plain, 14, &want, NULL), 0);
	assert_int_equal(out.len, want.len);
	assert_memory_equal(out.data, want.data, want.len);
}

/* --- merging ---------------------------------------------------------------------------------------------------------------- */

static struct profile *recorded(const char *build_id, const char *date, const char *body)
{
	_cleanup_free_ char *text =
		xasprintf("# limpid-profile 1\n# build-id %s\n# source s 1\n# recorded %sT00:00:00Z workload - by "
			  "qemu\n# weight 1000 generation 0\n%s",
			  build_id, date, body);
	return parsed(text);
}

TEST(profile_of_an_older_build_counts_half_for_each_newer_one)
{
	_cleanup_(profile_freep) struct profile *newest = recorded("aa", "2026-03-01", "f:0:1\n 1: 100\n");
	_cleanup_(profile_freep) struct profile *same = recorded("aa", "2026-02-01", "f:0:1\n 1: 100\n");
	_cleanup_(profile_freep) struct profile *older = recorded("bb", "2026-01-15", "f:0:2\n 1: 100\n 2: 1\n");
	_cleanup_(profile_freep) struct profile *oldest =
		recorded("cc", "2026-01-01", "f:0:4\n 1: 100\ng:0:0\n 1: 8\n");
	_cleanup_(profile_freep) struct profile *merged = NULL, *again = NULL;
	struct profile *const in[] = {oldest, same, newest, older};
	struct err e = ERR_INIT;

	assert_ok(profile_merge(in, ARRAY_LEN(in), 500, &merged, &e), &e);
	assert_int_equal(merged->functions[0].lines[0].count, 100 + 100 + 50 + 25);
	/* what ran is never nothing */
	assert_int_equal(merged->functions[0].lines[1].count, 1);
	assert_int_equal(merged->functions[0].head, 1 + 1 + 1 + 1);
	assert_int_equal(merged->functions[1].total, 2);
	assert_int_equal(merged->n_origins, 4);
	assert_string_equal(merged->origins[3].build_id, "cc");
	assert_int_equal(merged->origins[3].weight, 250);
	assert_int_equal(merged->origins[3].generation, 2);

	/* and one more build makes all of it older */
	_cleanup_(profile_freep) struct profile *next = recorded("dd", "2026-04-01", "f:0:1\n 1: 1\n");
	struct profile *const two[] = {merged, next};
	assert_ok(profile_merge(two, ARRAY_LEN(two), 500, &again, &e), &e);
	assert_int_equal(again->functions[0].lines[0].count, 1 + 275 / 2);
	assert_int_equal(again->origins[4].weight, 125);
	assert_int_equal(again->origins[4].generation, 3);
}

TEST(profile_trim_leaves_out_the_coldest_within_their_share)
{
	_cleanup_(profile_freep) struct profile *p =
		parsed("a:0:0\n 1: 1\nb:0:0\n 1: 4\nc:0:0\n 1: 6\nd:0:0\n 1: 989\n");

	assert_int_equal(profile_trim(p, 5), 2);
	assert_text(p, "# limpid-profile 1\nc:6:0\n 1: 6\nd:989:0\n 1: 989\n");
	assert_int_equal(profile_trim(p, 0), 0);
	assert_int_equal(profile_trim(p, 1000), 2);
}

/* --- recordings ------------------------------------------------------------------------------------------------------------- */

TEST(recording_refuses_what_is_none)
{
	static const struct {
		const char *body, *part;
	} cases[] = {
		{"", "no end"},
		{"block 10 1 1 90\n", "no end"},
		{"end unmarked\n", "not begun"},
		{"end whole\nblock 10 1 1 90\n", "line 2"},
		{"end whole", "line 2"},
		{"block 10 1 1 9\nend whole\n", "line 2"},
		{"block 10 1 1 9g\nend whole\n", "line 2"},
		{"block 10 2 1 90\nend whole\n", "line 2"},
		{"block 10 0 1 90\nend whole\n", "line 2"},
		{"block 10 1 -1 90\nend whole\n", "line 2"},
		{"block ffffffffffffffff 1 1 9090\nend whole\n", "line 2"},
		{"block 20 1 1 90\nblock 10 1 1 90\nend whole\n", "line 3"},
		{"call 0 0 1\nend whole\n", "line 2"},
		{"block 10 1 1 90\ncall 0 1 1\nend whole\n", "line 3"},
		{"kernel x\nend whole\n", "line 2"},
		{"other 1\nend whole\n", "line 2"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text = xasprintf("limpid-recording 1\n%s", cases[i].body);
		struct err e = ERR_INIT;
		struct recording *r = NULL;
		assert_fails(recording_parse(text, strlen(text), "r", &r, &e), ERR_FORMAT, &e, cases[i].part);
	}
}

TEST(perf_text_gives_runs_and_jumps_once_each)
{
	static const char text[] = "            true  77 [000]  1.0: PERF_RECORD_MMAP2 77/77: [0x5000(0x1000) @ 0x2000 "
				   "fe:00 12 0]: r-xp /usr/bin/a b\n"
				   "            true  77 [000]  1.0: PERF_RECORD_MMAP2 77/77: [0x7000(0x1000) @ 0 "
				   "<0123abcd>]: r-xp /usr/lib/l.so\n"
				   "            true  77 [000]  1.0: PERF_RECORD_MMAP2 77/77: [0x8000(0x1000) @ 0 "
				   "<0000>]: r-xp /usr/bin/c\n"
				   "            true  77 [000]  1.0: PERF_RECORD_MMAP2 77/77: [0x9000(0x1000) @ 0 "
				   "fe:00 12 0]: r--p /usr/lib/l.so\n"
				   "            true  -1 [000]  1.0: PERF_RECORD_MMAP -1/0: "
				   "[0xffffffff81000000(0x1000) @ 0]: x [kernel.kallsyms]_text\n"
				   "     77 branches:u:      5010  0x5010/0x5000/P/-/-/0  0x5018/0x5004/M/-/-/0\n"
				   "     77 branches:u:      5010  0x5010/0x5000/P/-/-/0  0x5018/0x5004/M/-/-/0\n"
				   "     77 branches:u:      5010\n"
				   "   5010  0x5010/0x5000/P/-/-/0\n";
	struct err e = ERR_INIT;
	_cleanup_(perf_samples_freep) struct perf_samples *p = NULL;

	assert_ok(perf_parse(text, strlen(text), "t", &p, &e), &e);
	assert_int_equal(p->n_mappings, 3);
	assert_string_equal(p->mappings[0].path, "/usr/bin/a b");
	assert_int_equal(p->mappings[0].offset, 0x2000);
	assert_string_equal(p->mappings[1].build_id, "0123abcd");
	assert_int_equal(p->samples, 3);
	assert_int_equal(p->n_runs, 1);
	assert_int_equal(p->runs[0].from, 0x5004);
	assert_int_equal(p->runs[0].to, 0x5010);
	assert_int_equal(p->runs[0].count, 2);
	assert_int_equal(p->n_branches, 3);

	/* only what has none gets one */
	static const char ids[] = "0000 /usr/bin/a\n"
				  "89ef /usr/bin/a b\n"
				  "0000000000000000 /usr/bin/c\n"
				  "4567 /usr/lib/l.so\n"
				  "     /usr/bin/other\n"
				  "hello\n";
	perf_add_build_ids(p, ids, strlen(ids));
	assert_string_equal(p->mappings[0].build_id, "89ef");
	assert_string_equal(p->mappings[1].build_id, "0123abcd");
	assert_null(p->mappings[2].build_id);
}

TEST(perf_text_without_branch_records_is_refused_with_a_hint)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "neither"},
		{"anything\n", "neither"},
		{"x 1 PERF_RECORD_MMAP2 1/1: [0x5000(0x1000) @ 0 1:1 1 1]: r-xp /a\n 1 cycles: 50\n", "no sample"},
		{"x 1 PERF_RECORD_MMAP2 1/1: 0x5000\n", "line 1"},
		{"x 1 PERF_RECORD_MMAP2 1/1: [0xffffffffffffffff(0x1000) @ 0 1:1 1 1]: r-xp /a\n", "line 1"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct perf_samples *p = NULL;
		assert_fails(perf_parse(cases[i].text, strlen(cases[i].text), "t", &p, &e), ERR_FORMAT, &e,
			     cases[i].part);
	}
}

/* --- a program: from addresses to files, functions and lines ---------------------------------------------------------------- */

static const char program_text[] = "int atoi(const char *);\n"
				   "static inline __attribute__((always_inline)) unsigned step(unsigned x)\n"
				   "{\n"
				   "	x ^= x << 13;\n"
				   "	return x * 3 + 1;\n"
				   "}\n"
				   "\n"
				   "__attribute__((noinline)) unsigned hot(unsigned n)\n"
				   "{\n"
				   "	unsigned sum = 0;\n"
				   "	for (unsigned i = 0; i < n; i++)\n"
				   "		sum +=\n"
				   "			step(sum + i * 5);\n"
				   "	return sum;\n"
				   "}\n"
				   "\n"
				   "__attribute__((noinline)) unsigned other(unsigned n)\n"
				   "{\n"
				   "	return n * 7 + hot(n);\n"
				   "}\n"
				   "\n"
				   "#ifndef KERNEL\n"
				   "int main(int argc, char **argv)\n"
				   "{\n"
				   "	return (int)other(argc > 1 ? (unsigned)atoi(argv[1]) : 1);\n"
				   "}\n"
				   "#endif\n";

struct program {
	char dir[PATH_MAX];
	int fd;
	uint64_t hot, hot_end, other, other_end;
	uint8_t code[256]; /* of hot */
};

static int run_in(const struct program *p, const char *const *argv, struct buf *out)
{
	struct err e = ERR_INIT;
	const struct proc proc = {.argv = argv, .dirfd = p->fd, .out = out};

	assert_ok(proc_check(&proc, &e), &e);
	return 0;
}

static void symbol_find(const char *nm, const char *name, uint64_t *start, uint64_t *end)
{
	_cleanup_free_ char *want = xasprintf(" T %s\n", name);
	const char *found = strstr(nm, want);

	assert_non_null(found);
	while (found > nm && found[-1] != '\n')
		found--;
	char *size;
	*start = strtoul(found, &size, 16);
	*end = *start + strtoul(size, NULL, 16);
}

/* The program that gcc makes with these options, in dir/root/usr/bin/p without debug information, which lies in dir/debug. */
static void program_make_with(struct program *p, const char *options)
{
	static const char script[] =
		"mkdir -p root/usr/bin debug && gcc -O2 -g -fcf-protection -Wl,--build-id $0 -o p p.c && "
		"id=$(readelf -n p | sed -n 's/.*Build ID: //p') && "
		"mkdir -p debug/.build-id/$(printf %.2s $id) && "
		"objcopy --only-keep-debug p debug/.build-id/$(printf %.2s $id)/${id#??}.debug && "
		"strip -o root/usr/bin/p p && nm -S p";
	const char *const argv[] = {"sh", "-c", script, options, NULL};
	_cleanup_(buf_free) struct buf nm = {0};

	p->fd = test_dir(p->dir, sizeof(p->dir));
	assert_int_equal(fs_save(p->fd, "p.c", program_text, strlen(program_text), 0644, NULL), 0);
	run_in(p, argv, &nm);
	symbol_find(nm.data, "hot", &p->hot, &p->hot_end);
	symbol_find(nm.data, "other", &p->other, &p->other_end);
	assert_true(p->hot_end - p->hot > 24 && p->hot_end - p->hot < sizeof(p->code));
	_cleanup_close_ int fd = openat(p->fd, "p", O_RDONLY | O_CLOEXEC);
	/* its code's first segment has the same addresses as offsets, behind where all begins */
	assert_int_equal(fs_read_at(fd, p->hot & 0xffff, p->code, p->hot_end - p->hot, NULL), 0);
}

static void program_make(struct program *p)
{
	program_make_with(p, "");
}

static void block_add(struct buf *b, uint64_t vaddr, uint64_t count, const uint8_t *bytes, size_t len)
{
	char hex[2 * 256 + 1];

	text_hex(bytes, len, hex);
	buf_printf(b, "block %lx 1 %lu %s\n", vaddr, count, hex);
}

static void import(const struct program *p, const char *recording, const char *debug, int want, struct profile **out,
		   struct err *e)
{
	_cleanup_free_ char *root = xasprintf("%s/root", p->dir);
	_cleanup_free_ char *debug_dir = xasprintf("%s/%s", p->dir, debug);
	_cleanup_free_ char *path = xasprintf("%s/recording", p->dir);
	_cleanup_(elf_set_clear) struct elf_set files = {0};
	_cleanup_(debug_files_clear) struct debug_files d = {0};
	struct strv none = {0};
	struct ui ui;

	ui_init(&ui, "unit");
	ui.level = UI_QUIET;
	assert_ok(fs_save(AT_FDCWD, path, recording, strlen(recording), 0644, e), e);
	assert_ok(elf_set_add_tree(&files, root, e), e);
	assert_int_equal(files.n, 1);
	assert_string_equal(files.files[0].path, "/usr/bin/p");
	assert_ok(debug_files_add(&d, debug_dir, e), e);
	const struct profile_job job = {
		.recording = path, .files = &files, .only = &none, .debug = &d, .source = "p 1", .time = 0};
	assert_int_equal(profile_make(&job, &ui, out, e), want);
}

static const struct profile_function *function(const struct profile *p, const char *name)
{
	for (size_t i = 0; i < p->n_functions; i++)
		if (strcmp(p->functions[i].name, name) == 0)
			return &p->functions[i];
	fail_msg("there is no %s", name);
	return NULL;
}

TEST(symbolize_gives_lines_and_what_was_inlined)
{
	struct program p;
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_(profile_freep) struct profile *out = NULL;
	struct err e = ERR_INIT;
	/* somewhere, as address space is random */
	const uint64_t base = 0x7f1234560000;
	static const uint8_t elsewhere[] = {0x0f, 0x0b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

	program_make(&p);
	buf_puts(&b, "limpid-recording 1\nkernel 5\nfirmware 0\nlost 0\n");
	/* all of it three times, and its first four bytes, which any function has, once more: a block that only its neighbours tell about */
	block_add(&b, base + p.hot, 1, p.code, 4);
	block_add(&b, base + p.hot, 3, p.code, p.hot_end - p.hot);
	block_add(&b, base + 0x100000, 1000, elsewhere, sizeof(elsewhere));
	buf_puts(&b, "end whole\n");
	import(&p, b.data, "debug", 0, &out, &e);
	assert_int_equal(out->n_functions, 1);
	const struct profile_function *hot = function(out, "hot");
	assert_int_equal(hot->head, 4);
	for (size_t i = 0; i < hot->n_lines; i++)
		assert_in_range(hot->lines[i].count, 3, 4);
	/* step is called five lines below hot's first, and computes in its second and third */
	assert_true(hot->n_calls > 0);
	for (size_t i = 0; i < hot->n_calls; i++) {
		assert_string_equal(hot->calls[i].name, "step");
		assert_int_equal(hot->calls[i].place.line, 5);
		for (size_t k = 0; k < hot->calls[i].n_lines; k++) {
			assert_in_range(hot->calls[i].lines[k].place.line, 2, 3);
			assert_int_equal(hot->calls[i].lines[k].count, 3);
		}
	}
	assert_int_equal(out->n_origins, 1);
	assert_string_equal(out->origins[0].by, "qemu");
}

/* As a kernel is: at a fixed place in the upper half of addresses, with code that it has changed since. */
TEST(recording_of_a_kernel_belongs_to_its_file_by_address)
{
	struct program p;
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_(profile_freep) struct profile *out = NULL, *none = NULL;
	struct err e = ERR_INIT;
	uint8_t patched[64];

	program_make_with(&p, "-DKERNEL -nostdlib -static -no-pie -fno-pic -mcmodel=kernel -Wl,-e,other "
			      "-Wl,-Ttext-segment=0xffffffff81000000");
	assert_true(p.hot > 0xffffffff81000000);
	memset(patched, 0x90, sizeof(patched));
	buf_puts(&b, "limpid-recording 1\nkernel 0\nfirmware 0\nlost 0\n");
	if (p.other < p.hot)
		block_add(&b, p.other, 5, patched, p.other_end - p.other);
	block_add(&b, p.hot, 1, p.code, 4);
	block_add(&b, p.hot, 2, p.code, p.hot_end - p.hot);
	if (p.other > p.hot)
		block_add(&b, p.other, 5, patched, p.other_end - p.other);
	buf_puts(&b, "end whole\n");
	import(&p, b.data, "debug", 0, &out, &e);
	assert_int_equal(out->n_functions, 2);
	assert_int_equal(function(out, "hot")->head, 3);
	assert_int_equal(function(out, "other")->head, 5);
	/* most of another kernel's code is not the file's */
	b.len = 0;
	buf_puts(&b, "limpid-recording 1\n");
	block_add(&b, p.hot, 2, patched, 20);
	block_add(&b, p.hot + 20, 2, patched, 4);
	buf_puts(&b, "end whole\n");
	import(&p, b.data, "debug", -ERR_MISSING, &none, &e);
	err_clear(&e);
}

TEST(symbolize_takes_calls_from_perf)
{
	struct program p;
	_cleanup_(profile_freep) struct profile *out = NULL;
	struct err e = ERR_INIT;
	const uint64_t base = 0x555500000000;

	program_make(&p);
	/* other, whole, and from its call of hot, which is a byte somewhere in it, to hot */
	const uint64_t call = base + p.other + 8;
	_cleanup_free_ char *text = xasprintf("p 9 PERF_RECORD_MMAP2 9/9: [0x%lx(0x%lx) @ 0 fe:00 12 0]: r-xp /bin/p\n"
					      "  9 b: 0 0x%lx/0x%lx/P/-/-/0 0x1000/0x%lx/P/-/-/0\n"
					      "  9 b: 0 0x%lx/0x%lx/P/-/-/0 0x1000/0x%lx/P/-/-/0\n",
					      base, p.other_end + 4096, call, base + p.hot, base + p.other, call,
					      base + p.hot, base + p.other);
	import(&p, text, "debug", 0, &out, &e);
	const struct profile_function *other = function(out, "other");
	assert_int_equal(other->head, 2);
	uint64_t calls = 0;
	for (size_t i = 0; i < other->n_lines; i++)
		for (size_t k = 0; k < other->lines[i].n_targets; k++) {
			assert_string_equal(other->lines[i].targets[k].name, "hot");
			calls += other->lines[i].targets[k].count;
		}
	assert_int_equal(calls, 2);
	assert_string_equal(out->origins[0].by, "perf");
}

/* Of 16 bytes that each process ran there: p has those of 9, which mapped it over something else, and of its copy 10; 11 had another build, 12 another program. */
TEST(perf_belongs_to_what_a_process_mapped_last_and_to_no_other_build)
{
	struct program p;
	struct err e = ERR_INIT;
	_cleanup_(elf_set_clear) struct elf_set files = {0};
	_cleanup_(perf_samples_freep) struct perf_samples *samples = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	const uint64_t base = 0x555500000000;
	struct attribution a;

	program_make(&p);
	const uint64_t from = base + p.hot;
	_cleanup_free_ char *root = xasprintf("%s/root", p.dir);
	assert_ok(elf_set_add_tree(&files, root, &e), &e);
	buf_printf(&text, "p 11 PERF_RECORD_MMAP2 11/11: [0x%lx(0x100000) @ 0 <0123>]: r-xp /bin/p\n", base);
	buf_printf(&text, "p 12 PERF_RECORD_MMAP2 12/12: [0x%lx(0x100000) @ 0 <4567>]: r-xp /bin/r\n", base);
	buf_printf(&text, "p 9 PERF_RECORD_MMAP2 9/9: [0x%lx(0x200000) @ 0 fe:00 1 0]: r-xp /bin/q\n", base - 4096);
	buf_printf(&text, "p 9 PERF_RECORD_MMAP2 9/9: [0x%lx(0x100000) @ 0 fe:00 2 0]: r-xp /bin/p\n", base);
	buf_printf(&text, "p 9 PERF_RECORD_MMAP2 9/9: [0x%lx(0x1000) @ 0 fe:00 3 0]: r-xp /bin/s\n", base + 0x100000);
	for (unsigned pid = 9; pid <= 12; pid++)
		buf_printf(&text, "%u b: 0 0x%lx/0x%lx/P/-/-/0 0x1000/0x%lx/P/-/-/0\n", pid, from + 15, from, from);
	assert_ok(perf_parse(text.data, text.len, "t", &samples, &e), &e);
	perf_attribute(samples, &files, &a);
	assert_int_equal(a.known, 32);
	assert_int_equal(a.unknown, 32);
	assert_int_equal(files.files[0].n_ranges, 2);
	assert_int_equal(files.files[0].ranges[0].start, p.hot);
	assert_true(files.files[0].by_path);
	assert_string_equal(files.files[0].other_id, "0123");
}

TEST(symbolize_says_what_is_missing)
{
	struct program p;
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_(profile_freep) struct profile *out = NULL;
	struct err e = ERR_INIT;

	program_make(&p);
	buf_puts(&b, "limpid-recording 1\n");
	block_add(&b, 0x555500000000 + p.hot, 3, p.code, p.hot_end - p.hot);
	buf_puts(&b, "end whole\n");
	import(&p, b.data, "root", -ERR_MISSING, &out, &e);
	assert_non_null(strstr(e.text, "no debug information"));
	assert_non_null(strstr(e.text, "/usr/bin/p"));
	assert_non_null(strstr(e.hint, "--debug"));
	err_clear(&e);
	/* another page offset: not its code */
	b.len = 0;
	buf_puts(&b, "limpid-recording 1\n");
	block_add(&b, 0x555500000001 + p.hot, 3, p.code, p.hot_end - p.hot);
	buf_puts(&b, "end whole\n");
	import(&p, b.data, "debug", -ERR_MISSING, &out, &e);
	assert_non_null(strstr(e.text, "nothing that was executed"));
	err_clear(&e);
}

TEST(profile_match_says_how_much_is_of_a_build)
{
	struct program p;
	_cleanup_(profile_freep) struct profile *mine =
		parsed("hot:0:0\n 1: 30\nhot.cold:0:0\n 1: 30\nother:0:0\n 1: 15\ngone:0:0\n 1: 25\n");
	_cleanup_(profile_freep) struct profile *alien = parsed("zebra:0:0\n 1: 30\n");
	struct err e = ERR_INIT;
	uint32_t permille;

	program_make(&p);
	_cleanup_close_ int fd = openat(p.fd, "p", O_RDONLY | O_CLOEXEC),
			    text = openat(p.fd, "p.c", O_RDONLY | O_CLOEXEC);
	const int fds[] = {text, fd};
	assert_ok(profile_match(mine, fds, ARRAY_LEN(fds), &permille, &e), &e);
	assert_int_equal(permille, 750);
	assert_ok(profile_match(alien, fds, ARRAY_LEN(fds), &permille, &e), &e);
	assert_int_equal(permille, 0);
	assert_fails(profile_match(mine, fds, 1, &permille, &e), ERR_FORMAT, &e, "ELF");
}
