/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gelf.h>

/* Call fn for each symbol of a function, defined or not, in the symbol tables of a file. name is the file's. */
typedef void elf_function_fn(void *arg, const char *name, const GElf_Sym *symbol);
void elf_each_function(Elf *elf, elf_function_fn *fn, void *arg);
