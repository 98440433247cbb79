/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mixer/step/program.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "tests/unit/elf.h"

static int read_bytes(const void *data, size_t len, struct program *out, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("program", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_ok(fs_write_all(fd, data, len, e), e);
	program_init();
	return program_read(fd, out, e);
}

TEST(program_of_elf_has_its_libraries_and_folders)
{
	_cleanup_(program_clear) struct program p = {0};
	_cleanup_(buf_free) struct buf elf = {0};
	struct err e = ERR_INIT;

	elf_make(EM_X86_64, "/lib64/ld.so", "libone.so.1 libtwo.so.2", "$ORIGIN/../lib:/opt", &elf);
	assert_ok(read_bytes(elf.data, elf.len, &p, &e), &e);
	assert_int_equal(p.kind, PROGRAM_ELF);
	assert_string_equal(p.interpreter, "/lib64/ld.so");
	assert_string_equal(program_triplet(&p), "x86_64-linux-gnu");
	assert_int_equal(p.needed.n, 2);
	assert_string_equal(p.needed.items[1], "libtwo.so.2");
	assert_int_equal(p.folders.n, 2);
	assert_string_equal(p.folders.items[0], "$ORIGIN/../lib");
}

TEST(program_cut_anywhere_is_refused_or_none)
{
	_cleanup_(buf_free) struct buf elf = {0};

	elf_make(EM_X86_64, "/lib64/ld.so", "libone.so.1", NULL, &elf);
	for (size_t len = 0; len < elf.len; len++) {
		_cleanup_(program_clear) struct program p = {0};
		struct err e = ERR_INIT;
		int r = read_bytes(elf.data, len, &p, &e);
		assert_true(r == -ERR_FORMAT || (r == 0 && p.needed.n == 0));
		err_clear(&e);
	}
}

TEST(program_of_elf_that_points_outside_is_refused)
{
	_cleanup_(program_clear) struct program p = {0};
	_cleanup_(buf_free) struct buf elf = {0};
	struct err e = ERR_INIT;
	Elf64_Dyn d;

	elf_make(EM_X86_64, NULL, "libone.so.1", NULL, &elf);
	char *first = elf.data + sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
	memcpy(&d, first, sizeof(d));
	d.d_un.d_val = UINT64_MAX / 2;
	memcpy(first, &d, sizeof(d));
	assert_fails(read_bytes(elf.data, elf.len, &p, &e), ERR_FORMAT, &e, "points outside");
}

static const struct {
	const char *text, *interpreter, *command;
} scripts[] = {
	{"#!/bin/sh\nexit\n", "/bin/sh", NULL},
	{"#! /usr/bin/perl -w\r\n", "/usr/bin/perl", NULL},
	{"#!/usr/bin/env python3\n", "/usr/bin/env", "python3"},
	{"#!/usr/bin/env -S LANG=C awk -f\n", "/usr/bin/env", "awk"},
	{"#!/usr/bin/env\n", "/usr/bin/env", NULL},
	{"#!/bin/sh", "/bin/sh", NULL},
	{"#!\n", NULL, NULL},
	{"# comment\n", NULL, NULL},
	{"", NULL, NULL},
};

static void assert_text(const char *got, const char *want)
{
	assert_string_equal(got ? got : "(none)", want ? want : "(none)");
}

TEST(program_of_script_is_its_interpreter)
{
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		_cleanup_(program_clear) struct program p = {0};
		struct err e = ERR_INIT;
		assert_ok(read_bytes(scripts[i].text, strlen(scripts[i].text), &p, &e), &e);
		assert_int_equal(p.kind, scripts[i].interpreter ? PROGRAM_SCRIPT : PROGRAM_NONE);
		assert_text(p.interpreter, scripts[i].interpreter);
		assert_text(p.command, scripts[i].command);
	}
}
