/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/program.h"

#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"

#define LINE_MAX_KERNEL 256 /* bytes of a script's first line that Linux reads */

void program_init(void)
{
	(void)elf_version(EV_CURRENT);
}

void program_clear(struct program *p)
{
	free(p->interpreter);
	free(p->command);
	strv_free(&p->needed);
	strv_free(&p->folders);
	*p = (struct program){0};
}

static const struct {
	uint16_t machine;
	bool wide;
	const char *triplet;
} triplets[] = {
	{EM_X86_64, true, "x86_64-linux-gnu"},
	{EM_X86_64, false, "x86_64-linux-gnux32"},
	{EM_386, false, "i386-linux-gnu"},
	{EM_AARCH64, true, "aarch64-linux-gnu"},
	{EM_ARM, false, "arm-linux-gnueabihf"},
	{EM_RISCV, true, "riscv64-linux-gnu"},
	{EM_PPC64, true, "powerpc64le-linux-gnu"},
	{EM_S390, true, "s390x-linux-gnu"},
	{EM_LOONGARCH, true, "loongarch64-linux-gnu"},
};

const char *program_triplet(const struct program *p)
{
	for (size_t i = 0; i < ARRAY_LEN(triplets); i++)
		if (triplets[i].machine == p->machine && triplets[i].wide == p->wide)
			return triplets[i].triplet;
	return NULL;
}

/* "#!/usr/bin/env -S NAME=value program arg": the program */
static char *env_command(char *args)
{
	char *word;

	while ((word = strsep(&args, " \t")))
		if (*word && *word != '-' && !strchr(word, '='))
			return xstrdup(word);
	return NULL;
}

static void parse_script(char *line, struct program *out)
{
	char *args = line + 2 + strspn(line + 2, " \t");
	const char *interpreter = strsep(&args, " \t");

	if (!*interpreter)
		return; /* the kernel refuses it, so it is only text */
	out->kind = PROGRAM_SCRIPT;
	out->interpreter = xstrdup(interpreter);
	if (args && text_ends(interpreter, "/env"))
		out->command = env_command(args);
}

/* Where the bytes are that will lie at this address; false: nowhere in the file. */
static bool find_address(Elf *elf, size_t n_headers, uint64_t address, uint64_t *offset)
{
	for (size_t i = 0; i < n_headers; i++) {
		GElf_Phdr h;
		if (!gelf_getphdr(elf, (int)i, &h) || h.p_type != PT_LOAD || address < h.p_vaddr ||
		    address - h.p_vaddr >= h.p_filesz)
			continue;
		*offset = address - h.p_vaddr + h.p_offset;
		return true;
	}
	return false;
}

/* A text of the file; NULL: it does not end within the file. */
static const char *text_at(Elf *elf, uint64_t offset)
{
	size_t size;
	const char *raw = elf_rawfile(elf, &size);

	return raw && offset < size && memchr(raw + offset, '\0', size - offset) ? raw + offset : NULL;
}

static int read_dynamic(Elf *elf, size_t n_headers, const GElf_Phdr *dynamic, struct program *out, struct err *e)
{
	Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)dynamic->p_offset, dynamic->p_filesz, ELF_T_DYN);
	const char *runpath = NULL, *rpath = NULL;
	uint64_t strings = UINT64_MAX, offset = 0;
	GElf_Dyn d;

	for (int i = 0; data && gelf_getdyn(data, i, &d) && d.d_tag != DT_NULL; i++)
		if (d.d_tag == DT_STRTAB)
			strings = d.d_un.d_ptr;
	if (strings == UINT64_MAX || !find_address(elf, n_headers, strings, &offset))
		return err_set(e, -ERR_FORMAT, "an ELF file without the strings of its dynamic section");
	for (int i = 0; gelf_getdyn(data, i, &d) && d.d_tag != DT_NULL; i++) {
		if (d.d_tag != DT_NEEDED && d.d_tag != DT_RUNPATH && d.d_tag != DT_RPATH)
			continue;
		const char *text = text_at(elf, offset + d.d_un.d_val);
		if (!text)
			return err_set(e, -ERR_FORMAT, "an ELF file whose dynamic section points outside of it");
		if (d.d_tag == DT_NEEDED)
			strv_add(&out->needed, text);
		else if (d.d_tag == DT_RUNPATH)
			runpath = text;
		else
			rpath = text;
	}
	if (runpath || rpath)
		strv_split(&out->folders, runpath ? runpath : rpath, ":");
	out->kind = PROGRAM_ELF;
	return 0;
}

static int parse_elf(Elf *elf, struct program *out, struct err *e)
{
	size_t n_headers = 0;
	GElf_Ehdr header;
	int r = 0;

	if (!gelf_getehdr(elf, &header))
		return err_set(e, -ERR_FORMAT, "a damaged ELF file: %s", elf_errmsg(-1));
	out->machine = header.e_machine;
	out->wide = header.e_ident[EI_CLASS] == ELFCLASS64;
	if (header.e_type != ET_DYN && header.e_type != ET_EXEC)
		return 0; /* a kernel module, or for the linker */
	if (elf_getphdrnum(elf, &n_headers) < 0)
		return err_set(e, -ERR_FORMAT, "a damaged ELF file: %s", elf_errmsg(-1));
	for (size_t i = 0; r >= 0 && i < n_headers; i++) {
		GElf_Phdr h;
		if (!gelf_getphdr(elf, (int)i, &h))
			return err_set(e, -ERR_FORMAT, "a damaged ELF file: %s", elf_errmsg(-1));
		const char *interpreter = h.p_type == PT_INTERP ? text_at(elf, h.p_offset) : NULL;
		if (h.p_type == PT_INTERP && !interpreter)
			return err_set(e, -ERR_FORMAT, "an ELF file whose interpreter lies outside of it");
		if (interpreter && !out->interpreter)
			out->interpreter = xstrdup(interpreter);
		/* the separate debugging information has headers without bytes */
		if (h.p_type == PT_DYNAMIC && h.p_filesz > 0)
			r = read_dynamic(elf, n_headers, &h, out, e);
	}
	return r;
}

int program_read(int fd, struct program *out, struct err *e)
{
	char start[LINE_MAX_KERNEL];
	_cleanup_(program_clear) struct program p = {0};
	ssize_t n = pread(fd, start, sizeof(start) - 1, 0);
	int r = 0;

	if (n < 0)
		return err_errno(e, "read");
	start[n] = '\0';
	if (n > 2 && memcmp(start, "#!", 2) == 0) {
		start[strcspn(start, "\r\n")] = '\0';
		parse_script(start, &p);
	} else if (n > SELFMAG && memcmp(start, ELFMAG, SELFMAG) == 0) {
		Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
		r = elf ? parse_elf(elf, &p, e) : err_set(e, -ERR_FORMAT, "a damaged ELF file: %s", elf_errmsg(-1));
		(void)elf_end(elf);
	}
	if (r < 0)
		return r;
	*out = p;
	p = (struct program){0};
	return 0;
}
