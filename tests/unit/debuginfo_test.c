/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mixer/input/bundle.h"
#include "mixer/input/lock.h"
#include "mixer/input/package.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/debuginfo_elf.h"
#include "mixer/step/program.h"
#include "mixer/step/step.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

/* --- ELF ------------------------------------------------------------------------------------------------------------------ */

static void add_note(struct buf *out, uint32_t type, const char *name, uint32_t name_len, const void *desc,
		     uint32_t len, uint32_t said)
{
	const Elf64_Nhdr h = {.n_namesz = name_len, .n_descsz = said, .n_type = type};

	buf_add(out, &h, sizeof(h));
	buf_add(out, name, name_len);
	buf_add(out, "\0\0\0", (4 - name_len % 4) % 4);
	buf_add(out, desc, len);
	buf_add(out, "\0\0\0", (4 - len % 4) % 4);
}

/* A program with these notes in a segment: what is left of one whose sections were stripped. */
static void make_elf(const struct buf *notes, struct buf *out)
{
	const Elf64_Ehdr h = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(h),
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
	};
	const Elf64_Phdr p = {
		.p_type = PT_NOTE, .p_offset = sizeof(h) + sizeof(p), .p_filesz = notes->len, .p_align = 4};

	buf_add(out, &h, sizeof(h));
	buf_add(out, &p, sizeof(p));
	buf_add(out, notes->data, notes->len);
}

static int read_bytes(const void *data, size_t len, struct debuginfo_elf *out, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("elf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_ok(fs_write_all(fd, data, len, e), e);
	program_init();
	return debuginfo_elf_read(fd, out, e);
}

static int read_notes(const struct buf *notes, struct debuginfo_elf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf elf = {0};

	make_elf(notes, &elf);
	return read_bytes(elf.data, elf.len, out, e);
}

TEST(debuginfo_elf_finds_the_build_id_behind_other_notes)
{
	_cleanup_(buf_free) struct buf notes = {0};
	struct debuginfo_elf x;
	struct err e = ERR_INIT;

	add_note(&notes, NT_GNU_BUILD_ID, "Go\0", 3, "\xff\xff", 2, 2);
	add_note(&notes, NT_GNU_ABI_TAG, "GNU", 4, "0123456789abcdef", 16, 16);
	add_note(&notes, NT_GNU_BUILD_ID, "GNU", 4, "\x01\x02\xab", 3, 3);
	assert_int_equal(read_notes(&notes, &x, &e), 1);
	assert_string_equal(x.id, "0102ab");
	assert_string_equal(x.alt, "");
	assert_int_equal(x.type, ET_EXEC);
	assert_false(x.has_debug);
}

TEST(debuginfo_elf_takes_no_build_id_that_is_empty_too_long_or_cut_off)
{
	static const char many[BUILD_ID_MAX + 4] = {1};
	static const struct {
		uint32_t len, said;
		size_t id; /* characters */
	} cases[] = {
		{0, 0, 0},
		{BUILD_ID_MAX, BUILD_ID_MAX, BUILD_ID_TEXT - 1},
		{BUILD_ID_MAX + 1, BUILD_ID_MAX + 1, 0},
		{20, 24, 0},
		{20, UINT32_MAX, 0},
		{20, UINT32_MAX - 3, 0},
		{20, INT32_MAX, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf notes = {0};
		struct debuginfo_elf x;
		struct err e = ERR_INIT;
		add_note(&notes, NT_GNU_BUILD_ID, "GNU", 4, many, cases[i].len, cases[i].said);
		assert_int_equal(read_notes(&notes, &x, &e), 1);
		assert_int_equal(strlen(x.id), cases[i].id);
	}
}

TEST(debuginfo_elf_cut_anywhere_has_no_build_id)
{
	_cleanup_(buf_free) struct buf notes = {0}, elf = {0};

	add_note(&notes, NT_GNU_BUILD_ID, "GNU", 4, "0123456789abcdefghij", 20, 20);
	make_elf(&notes, &elf);
	for (size_t len = 0; len < elf.len; len++) {
		struct debuginfo_elf x = {.id = "untouched"};
		struct err e = ERR_INIT;
		int r = read_bytes(elf.data, len, &x, &e);
		if (r == 1)
			assert_string_equal(x.id, "");
		else
			assert_true((r == 0 && len < SELFMAG) || r == -ERR_FORMAT);
		err_clear(&e);
	}
}

/* --- the list ------------------------------------------------------------------------------------------------------------- */

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEAD "limpid-debuginfo 2\ninput\t" HASH "\n"

TEST(debuginfo_list_is_read_as_it_was_written)
{
	static const char text[] =
		HEAD "file\tab12\t4755\t0\t33\t77\t" HASH "\tone-dbgsym\tone\t/usr/bin/one\t-\n"
		     "file\t-\t644\t0\t0\t78\t" HASH "\t-\t-\t/usr/bin/two words\tit has no build-id\n"
		     "debug\tab12\t644\t0\t0\t99\t" HASH "\tone-1:2\n"
		     "debug\tcd34\t644\t0\t0\t99\t" HASH "\t-\n"
		     "text\tone-1:2\t644\t0\t0\t5\t" HASH "\tsrc/a.c\n";
	_cleanup_(debuginfo_freep) struct debuginfo *d = NULL;
	_cleanup_(buf_free) struct buf again = {0};
	struct err e = ERR_INIT;

	assert_ok(debuginfo_parse(text, strlen(text), &d, &e), &e);
	assert_int_equal(d->n_files, 2);
	assert_string_equal(d->files[0].by, "one-dbgsym");
	assert_string_equal(d->files[0].why, "");
	assert_int_equal(d->files[0].attrs.mode, 04755);
	assert_int_equal(d->files[0].attrs.gid, 33);
	assert_int_equal(d->files[0].attrs.size, 77);
	assert_string_equal(d->files[1].id, "");
	assert_string_equal(d->files[1].path, "/usr/bin/two words");
	assert_string_equal(d->debugs[1].folder, "");
	assert_string_equal(d->texts[0].path, "src/a.c");
	debuginfo_format(d, &again);
	assert_string_equal(again.data, text);
}

TEST(debuginfo_list_that_leads_elsewhere_is_refused)
{
	static const char *const cases[][2] = {
		{"", "it is empty"},
		{"limpid-debuginfo 1\n", "line 1: it does not begin with"},
		{HEAD "file\tab12\t644\t0\t0\t1\t" HASH "\t-\t-\t/x\t-", "line 3: the line is damaged or cut off"},
		{HEAD "file\tab12\t644\t0\t0\t1\t" HASH "\t-\t-\t/x\n", "line 3: it must have 11 words"},
		{HEAD "file\tab12\t644\t0\t0\t1\t" HASH "\t-\t-\t/x\t-\tmore\n", "line 3: it must have 11 words"},
		{HEAD "file\tab12\t644\t0\t0\t-1\t" HASH "\t-\t-\t/x\t-\n", "line 3: '644 0 0 -1' is no mode"},
		{HEAD "file\tab12\t644\t0\t0\t1\t0011\t-\t-\t/x\t-\n", "line 3: '0011' is no hash"},
		{HEAD "file\tab12\t8\t0\t0\t1\t" HASH "\t-\t-\t/x\t-\n", "line 3: '8 0 0 1' is no mode"},
		{HEAD "file\tab12\t644\t0\n", "line 3: '644 0  ' is no mode"},
		{HEAD "file\t-\t644\t0\t0\t1\t" HASH "\tone\t-\t/x\t-\n", "line 3: '' is no build-id"},
		{HEAD "file\t../x\t644\t0\t0\t1\t" HASH "\t-\t-\t/x\t-\n", "line 3: '../x' is no build-id"},
		{HEAD "debug\t-\t644\t0\t0\t1\t" HASH "\t-\n", "line 3: '' is no build-id"},
		{HEAD "debug\tabc\t644\t0\t0\t1\t" HASH "\t-\n", "line 3: 'abc' is no build-id"},
		{HEAD "debug\tab\t644\t0\t0\t1\t" HASH "\t../x\n", "with '../x' as the folder"},
		{HEAD "debug\tab\t644\t0\t0\t1\t" HASH "\ta/b\n", "with 'a/b' as the folder"},
		{HEAD "text\t-\t644\t0\t0\t1\t" HASH "\ta.c\n", "line 3: 'a.c' is no name of a source"},
		{HEAD "text\tone\t644\t0\t0\t1\t" HASH "\t../a.c\n", "line 3: '../a.c' is no name of a source"},
		{HEAD "text\tone\t644\t0\t0\t1\t" HASH "\t/a.c\n", "line 3: '/a.c' is no name of a source"},
		{HEAD "text\tone\t644\t0\t0\t1\t" HASH "\t-\n", "line 3: '' is no name of a source"},
		{HEAD "input\t00\n", "line 3: '00' is no digest"},
		{HEAD "other\tx\n", "line 3: 'other' is none of"},
		{HEAD "file\n", "line 3: it has one word"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct debuginfo *d = NULL;
		struct err e = ERR_INIT;
		assert_fails(debuginfo_parse(cases[i][0], strlen(cases[i][0]), &d, &e), ERR_FORMAT, &e, cases[i][1]);
		assert_null(d);
	}
}

TEST(debuginfo_folder_is_named_by_its_texts)
{
	struct debuginfo_text a[] = {{.folder = "one", .path = "a.c"}, {.folder = "one", .path = "b.c"}};
	_cleanup_free_ char *first = debuginfo_folder(a, 2), *less = debuginfo_folder(a, 1);

	a[1].folder = a[0].folder = "two";
	_cleanup_free_ char *same = debuginfo_folder(a, 2);
	assert_string_equal(first, same);
	assert_string_not_equal(first, less);
	a[1].hash.bytes[0] = 1;
	_cleanup_free_ char *other = debuginfo_folder(a, 2);
	assert_string_not_equal(first, other);
}

/* --- what is locked --------------------------------------------------------------------------------------------------------- */

static void add_packages(struct package_list *l, const char *repository, uint32_t priority, const char *text)
{
	_cleanup_(strv_free) struct strv lines = {0};
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	/* NAME VERSION SOURCE (VERSION) */
	strv_split(&lines, text, "\n");
	for (size_t i = 0; i < lines.n; i++) {
		_cleanup_(strv_free) struct strv w = {0};
		strv_split(&w, lines.items[i], " ");
		buf_printf(&b,
			   "Package: %s\nVersion: %s\nArchitecture: amd64\nSource: %s (%s)\nFilename: %s.deb\nSize: "
			   "1\nSHA256: " HASH "\n\n",
			   w.items[0], w.items[1], w.items[2], w.items[3], w.items[0]);
	}
	assert_ok(packages_parse(b.data, b.len, "amd64", repository, priority, l, &e), &e);
}

static char *locked(const struct lock *l)
{
	_cleanup_(buf_free) struct buf b = {0};

	for (size_t i = 0; i < l->n_packages; i++)
		if (debuginfo_is_package(l->packages[i].name))
			buf_printf(&b, "%s %s %s\n", l->packages[i].name, l->packages[i].version,
				   l->packages[i].repository);
	buf_puts(&b, "");
	return take(b.data);
}

TEST(debuginfo_lock_takes_what_explains_the_very_version)
{
	/* a-five is for all architectures: only five was rebuilt, of an older source */
	static const char text[] = "limpid-lock 1\n"
				   "package a-five 6 all " HASH " 1 main five 6 x.deb\n"
				   "package five 5 amd64 " HASH " 1 main five 5 x.deb\n"
				   "package libone 1 amd64 " HASH " 1 main one 1 x.deb\n"
				   "package one 1 amd64 " HASH " 1 main one 1 x.deb\n"
				   "package three-dbg 3 amd64 " HASH " 1 main three 3 x.deb\n"
				   "package three 3 amd64 " HASH " 1 main three 3 x.deb\n"
				   "package two 2+b1 amd64 " HASH " 1 main two 2 x.deb\n"
				   "bundle lone libone\nbundle lone-debuginfo\nbundle more one three two three-dbg\n";
	_cleanup_(package_list_freep) struct package_list *all = package_list_new();
	_cleanup_(lock_freep) struct lock *l = NULL;
	_cleanup_(drop_list_freep) struct drop_list *drops = NULL;
	struct bundle explaining = {.name = (char *)"lone-debuginfo", .explains = (char *)"lone"};
	struct bundle *items[] = {&explaining};
	const struct bundle_set set = {.items = items, .n = 1};
	struct config config = {.debuginfo = true};
	struct ui ui;
	const struct mix m = {.config = &config, .ui = &ui};
	struct err e = ERR_INIT;

	ui_init(&ui, "test");
	add_packages(
		all, "main", 500,
		"libone 1 one 1\nlibone-dbgsym 1 one 1\none-dbgsym 2 one 2\none-dbg 1 one 1\nthree-dbg 3 three 3\n"
		"two-dbgsym 2+b1 two 2\ntwo-dbgsrc 2 two 2\none-dbgsrc 2 one 2\nfour-dbgsym 1 four 1\n-dbgsym 1 x 1");
	add_packages(all, "local", 900, "five-dbgsrc 5+x five 5\nlibone-dbgsym 1 one 1\none-dbgsrc 1+x one 1\n");
	add_packages(all, "late", 100, "libone-dbgsym 1 one 1\nthree-dbgsym 3 three 3\n");
	assert_ok(lock_parse(text, strlen(text), &l, &e), &e);
	assert_ok(drop_list_parse("three-dbgsym from three\n", 24, "drop", &drops, &e), &e);
	debuginfo_lock(&m, all, drops, &set, l);
	_cleanup_free_ char *got = locked(l);
	assert_string_equal(got, "five-dbgsrc 5+x local\n"
				 "libone-dbgsym 1 local\n"
				 "one-dbg 1 main\n"
				 "one-dbgsrc 1+x local\n"
				 "three-dbg 3 main\n"
				 "two-dbgsrc 2 main\n"
				 "two-dbgsym 2+b1 main\n");
	const struct locked_bundle *b = lock_find_bundle(l, "lone-debuginfo");
	assert_int_equal(b->n_packages, 2);
	assert_string_equal(b->packages[0], "libone-dbgsym");
	assert_string_equal(b->packages[1], "one-dbgsrc");
	assert_true(lock_is_shipped(l, "libone-dbgsym"));
	assert_true(lock_is_shipped(l, "three-dbg"));
	assert_false(lock_is_shipped(l, "two-dbgsym"));
}
