/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gelf.h>
#include <stdbool.h>
#include <string.h>

#include "mixer/input/elf_functions.h"
#include "mixer/input/profile.h"
#include "swupd/base/err.h"
#include "swupd/base/table.h"

/* The functions that files have, under the names that a profile has. */
struct names {
	struct profile *owner; /* of the names */
	struct table *table;
};

static void name_add(struct names *n, const char *name)
{
	(void)table_add_str(n->table, profile_name(n->owner, name, strlen(name)), n);
}

static void function_add(void *arg, const char *name, const GElf_Sym *symbol)
{
	if (symbol->st_shndx != SHN_UNDEF)
		name_add(arg, name);
}

static void strings_add(struct names *n, Elf_Scn *section, const GElf_Shdr *h)
{
	Elf_Data *data;

	if ((h->sh_flags & SHF_COMPRESSED) && elf_compress(section, 0, 0) < 0)
		return;
	data = elf_getdata(section, NULL);
	if (!data || !data->d_buf || !data->d_size)
		return;
	const char *at = data->d_buf, *end = at + data->d_size;
	for (size_t len; at < end && (len = strnlen(at, (size_t)(end - at))) < (size_t)(end - at); at += len + 1)
		if (*at)
			name_add(n, at);
}

/* What was inlined everywhere has no symbol: its name is among the strings of debug information. */
static void debug_strings_add(struct names *n, Elf *elf)
{
	Elf_Scn *section = NULL;
	GElf_Shdr h;
	size_t index;

	if (elf_getshdrstrndx(elf, &index) < 0)
		return;
	while ((section = elf_nextscn(elf, section))) {
		const char *name = gelf_getshdr(section, &h) ? elf_strptr(elf, index, h.sh_name) : NULL;
		if (name && strcmp(name, ".debug_str") == 0)
			strings_add(n, section, &h);
	}
}

static int file_add(struct names *n, int fd)
{
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	const bool is_elf = elf && elf_kind(elf) == ELF_K_ELF;

	if (is_elf) {
		elf_each_function(elf, function_add, n);
		debug_strings_add(n, elf);
	}
	elf_end(elf);
	return is_elf;
}

int profile_match(const struct profile *p, const int *fds, size_t n, uint32_t *permille, struct err *e)
{
	_cleanup_(profile_freep) struct profile *owner = profile_new();
	_cleanup_(table_freep) struct table *t = table_new();
	struct names names = {owner, t};
	uint64_t total = profile_total(p), found = 0;
	int elfs = 0;

	(void)elf_version(EV_CURRENT);
	for (size_t i = 0; i < n; i++)
		elfs += file_add(&names, fds[i]);
	if (!elfs)
		return err_set(e, -ERR_FORMAT, "none of %zu files is ELF", n);
	for (size_t i = 0; i < p->n_functions; i++)
		if (table_find_str(t, p->functions[i].name))
			found += p->functions[i].total;
	*permille = total ? (uint32_t)((unsigned __int128)found * 1000 / total) : 0;
	return 0;
}
