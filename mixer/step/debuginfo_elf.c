/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/debuginfo_elf.h"

#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/text.h"

/* The first build-id among some notes. One that is empty or too long is none. */
static bool find_id(Elf_Data *notes, char out[BUILD_ID_TEXT])
{
	GElf_Nhdr h;
	size_t name, desc;

	for (size_t at = 0; notes && (at = gelf_getnote(notes, at, &h, &name, &desc)) > 0;) {
		if (h.n_type != NT_GNU_BUILD_ID || h.n_namesz != sizeof(ELF_NOTE_GNU) ||
		    memcmp((const char *)notes->d_buf + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) != 0)
			continue;
		if (h.n_descsz == 0 || h.n_descsz > BUILD_ID_MAX)
			return false;
		text_hex((const char *)notes->d_buf + desc, h.n_descsz, out);
		return true;
	}
	return false;
}

/* "path\0", then the other file's build-id */
static void read_alt(Elf_Data *data, struct debuginfo_elf *out)
{
	const char *end = data && data->d_buf ? memchr(data->d_buf, '\0', data->d_size) : NULL;

	if (!end)
		return;
	const size_t len = data->d_size - (size_t)(end + 1 - (const char *)data->d_buf);
	if (len > 0 && len <= BUILD_ID_MAX)
		text_hex(end + 1, len, out->alt);
}

/* Sections first: where debug information was split off, headers of segments speak of bytes that are not there any more. */
static void read_sections(Elf *elf, struct debuginfo_elf *out)
{
	size_t names;

	if (elf_getshdrstrndx(elf, &names) < 0)
		return;
	for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));) {
		GElf_Shdr h;
		if (!gelf_getshdr(s, &h) || h.sh_type == SHT_NOBITS)
			continue;
		const char *name = elf_strptr(elf, names, h.sh_name);
		if (h.sh_type == SHT_NOTE && !*out->id)
			(void)find_id(elf_getdata(s, NULL), out->id);
		else if (name && strcmp(name, ".gnu_debugaltlink") == 0)
			read_alt(elf_rawdata(s, NULL), out);
		else if (name && (strcmp(name, ".debug_info") == 0 || strcmp(name, ".zdebug_info") == 0))
			out->has_debug = h.sh_size > 0;
	}
}

static void read_segments(Elf *elf, struct debuginfo_elf *out)
{
	size_t n = 0;

	if (elf_getphdrnum(elf, &n) < 0)
		return;
	for (size_t i = 0; i < n && !*out->id; i++) {
		GElf_Phdr h;
		if (!gelf_getphdr(elf, (int)i, &h) || h.p_type != PT_NOTE)
			continue;
		(void)find_id(elf_getdata_rawchunk(elf, (int64_t)h.p_offset, h.p_filesz,
						   h.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR),
			      out->id);
	}
}

int debuginfo_elf_read(int fd, struct debuginfo_elf *out, struct err *e)
{
	char start[SELFMAG];
	struct debuginfo_elf x = {0};
	GElf_Ehdr header;

	const ssize_t n = pread(fd, start, sizeof(start), 0);
	if (n < 0)
		return err_errno(e, "read");
	if (n < SELFMAG || memcmp(start, ELFMAG, SELFMAG) != 0)
		return 0;
	Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header)) {
		(void)elf_end(elf);
		return err_set(e, -ERR_FORMAT, "a damaged ELF file: %s", elf_errmsg(-1));
	}
	x.type = header.e_type;
	read_sections(elf, &x);
	if (!*x.id)
		read_segments(elf, &x);
	(void)elf_end(elf);
	*out = x;
	return 1;
}
