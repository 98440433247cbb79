/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct buf;

/* The smallest ELF file that has these: 64 bits, headers, strings and a dynamic section. needed: separated by blanks; interpreter, runpath: may be NULL. */
void elf_make(uint16_t machine, const char *interpreter, const char *needed, const char *runpath, struct buf *out);
