/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;

#define BUILD_ID_MAX  64                     /* bytes: the linker's have 16 or 20, --build-id=0x… any number */
#define BUILD_ID_TEXT (2 * BUILD_ID_MAX + 1) /* in hex */

/* What an ELF file says of its debug information. */
struct debuginfo_elf {
	uint16_t type;  /* ET_…: of programs, libraries and plug-ins ET_EXEC or ET_DYN, of kernel modules ET_REL */
	bool has_debug; /* it brings .debug_info itself */
	char id[BUILD_ID_TEXT];  /* in hex; "": it has none */
	char alt[BUILD_ID_TEXT]; /* of the file with what dwz has moved out of several (.gnu_debugaltlink); "": none */
};

/* 1: it is ELF; 0: it is not; -ERR_FORMAT: damaged. Call program_init (program.h) once before, in one thread. */
int debuginfo_elf_read(int fd, struct debuginfo_elf *out, struct err *e);
