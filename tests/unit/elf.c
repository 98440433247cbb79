/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/elf.h"

#include <elf.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define BASE 0x400000UL /* where the file lies in memory */

/* Adds a string; returns its place in the table. */
static uint64_t add_string(struct buf *strings, const char *s)
{
	uint64_t at = strings->len;

	buf_add(strings, s, strlen(s) + 1);
	return at;
}

static void add_dynamic(struct buf *b, int64_t tag, uint64_t value)
{
	const Elf64_Dyn d = {.d_tag = tag, .d_un.d_val = value};

	buf_add(b, &d, sizeof(d));
}

void elf_make(uint16_t machine, const char *interpreter, const char *needed, const char *runpath, struct buf *out)
{
	_cleanup_(buf_free) struct buf strings = {0}, dynamic = {0};
	_cleanup_(strv_free) struct strv names = {0};
	Elf64_Ehdr h = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = machine,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(h),
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	const uint64_t first = sizeof(h) + 3 * sizeof(Elf64_Phdr);

	(void)add_string(&strings, "");
	strv_split(&names, needed, " ");
	for (size_t i = 0; i < names.n; i++)
		add_dynamic(&dynamic, DT_NEEDED, add_string(&strings, names.items[i]));
	if (runpath)
		add_dynamic(&dynamic, DT_RUNPATH, add_string(&strings, runpath));
	const uint64_t interpreter_at = add_string(&strings, interpreter ? interpreter : "");
	const uint64_t strings_at = first + dynamic.len + 2 * sizeof(Elf64_Dyn);
	add_dynamic(&dynamic, DT_STRTAB, BASE + strings_at);
	add_dynamic(&dynamic, DT_NULL, 0);
	const uint64_t all = strings_at + strings.len;
	const Elf64_Phdr p[3] = {
		{.p_type = PT_LOAD, .p_vaddr = BASE, .p_filesz = all, .p_memsz = all},
		{.p_type = PT_DYNAMIC, .p_offset = first, .p_vaddr = BASE + first, .p_filesz = dynamic.len},
		{.p_type = interpreter ? PT_INTERP : PT_NULL, .p_offset = strings_at + interpreter_at},
	};
	buf_add(out, &h, sizeof(h));
	buf_add(out, p, sizeof(p));
	buf_add(out, dynamic.data, dynamic.len);
	buf_add(out, strings.data, strings.len);
}
