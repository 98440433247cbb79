/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/elf_functions.h"

#include <stddef.h>
#include <stdint.h>

void elf_each_function(Elf *elf, elf_function_fn *fn, void *arg)
{
	Elf_Scn *section = NULL;
	GElf_Shdr h;

	while ((section = elf_nextscn(elf, section))) {
		Elf_Data *data;
		if (!gelf_getshdr(section, &h) || (h.sh_type != SHT_SYMTAB && h.sh_type != SHT_DYNSYM) ||
		    !h.sh_entsize || !(data = elf_getdata(section, NULL)))
			continue;
		for (size_t i = 0; i < data->d_size / h.sh_entsize && i < INT32_MAX; i++) {
			GElf_Sym symbol;
			if (!gelf_getsym(data, (int)i, &symbol) || GELF_ST_TYPE(symbol.st_info) != STT_FUNC)
				continue;
			const char *name = elf_strptr(elf, h.sh_link, symbol.st_name);
			if (name && *name)
				fn(arg, name, &symbol);
		}
	}
}
