/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/profile_files.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/debuginfo_elf.h"
#include "mixer/step/program.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"

void elf_set_clear(struct elf_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct elf_file *f = &s->files[i];
		munmap((void *)f->map, f->size);
		free(f->path);
		free(f->build_id);
		free(f->other_id);
		free(f->ranges);
		free(f->calls);
	}
	free(s->files);
	*s = (struct elf_set){0};
}

/* Fills f from its map: false when that is not code of ours. */
static bool headers_read(struct elf_file *f)
{
	Elf64_Ehdr h;

	memcpy(&h, f->map, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != EM_X86_64 ||
	    (h.e_type != ET_DYN && h.e_type != ET_EXEC) || h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phoff > f->size ||
	    h.e_phnum > (f->size - h.e_phoff) / sizeof(Elf64_Phdr))
		return false;
	for (size_t i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr p;
		memcpy(&p, f->map + h.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_offset > f->size || p.p_filesz > f->size - p.p_offset || p.p_vaddr > UINT64_MAX - p.p_filesz)
			return false;
		if (p.p_type != PT_LOAD || !p.p_filesz)
			continue;
		const bool is_kernel = p.p_vaddr >> 63;
		f->is_kernel |= is_kernel;
		/* a kernel's code of its start lies among data, and is made executable by itself */
		if (((p.p_flags & PF_X) || is_kernel) && f->n_segments < ARRAY_LEN(f->segments))
			f->segments[f->n_segments++] = (struct elf_segment){p.p_vaddr, p.p_offset, p.p_filesz};
	}
	return f->n_segments > 0;
}

static bool is_there(const struct elf_set *s, const struct elf_file *f)
{
	for (size_t i = 0; i < s->n; i++)
		if (f->build_id && s->files[i].build_id
			    ? strcmp(f->build_id, s->files[i].build_id) == 0
			    : f->size == s->files[i].size && memcmp(f->map, s->files[i].map, f->size) == 0)
			return true;
	return false;
}

int elf_set_add(struct elf_set *s, const char *path, int fd, struct err *e)
{
	struct elf_file f = {0};
	struct debuginfo_elf about = {0};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s", path);
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(Elf64_Ehdr))
		return 0;
	f.size = (size_t)st.st_size;
	void *map = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return err_errno(e, "%s", path);
	f.map = map;
	const bool is_code = headers_read(&f);
	program_init();
	/* what is damaged otherwise still has code */
	if (is_code && debuginfo_elf_read(fd, &about, NULL) > 0 && *about.id)
		f.build_id = xstrdup(about.id);
	if (!is_code || is_there(s, &f)) {
		munmap(map, f.size);
		free(f.build_id);
		return 0;
	}
	f.path = xstrdup(path);
	VEC_GROW(s->files, s->n, s->cap);
	s->files[s->n++] = f;
	return 1;
}

static int file_add(void *arg, const char *path, int fd, struct err *e)
{
	return elf_set_add(arg, path, fd, e);
}

int elf_set_add_tree(struct elf_set *s, const char *dir, struct err *e)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, "%s", dir);
	return fs_each_file(fd, file_add, s, e);
}
