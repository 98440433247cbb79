/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swupd/base/text.h"

struct err;

enum program_kind {
	PROGRAM_NONE,   /* neither */
	PROGRAM_ELF,    /* that is linked dynamically: a program or a shared library */
	PROGRAM_SCRIPT, /* begins with #! */
};

/* What a file needs to be run or loaded. */
struct program {
	enum program_kind kind;
	char *interpreter;   /* of a script, or an ELF program's dynamic linker; NULL: none */
	char *command;       /* a script's that begins with "#!/usr/bin/env": what env is to run; else NULL */
	uint16_t machine;    /* EM_… */
	bool wide;           /* ELF of 64 bits */
	struct strv needed;  /* DT_NEEDED */
	struct strv folders; /* DT_RUNPATH, else DT_RPATH, as they stand there: with $ORIGIN and the like */
};

/* The file at fd's start. -ERR_FORMAT: a damaged ELF file. Call program_init once before, in one thread. */
int program_read(int fd, struct program *out, struct err *e);
void program_clear(struct program *p);
void program_init(void);

/* "x86_64-linux-gnu": Debian's name of the machine, which is also a folder of /usr/lib; NULL: unknown. */
const char *program_triplet(const struct program *p);
