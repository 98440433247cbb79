/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct elf_set;
struct err;
struct profile;
struct store;
struct tree;

/* Where debug information is looked for, besides the ELF files themselves. */
struct debug_files {
	struct strv dirs;   /* roots, or their usr/lib/debug; lent names */
	struct tree **debs; /* of -dbgsym packages, unpacked into store */
	size_t n_debs, cap_debs;
	struct store *store; /* lent; NULL: there are no packages */
};

/* A directory; or a package (.deb), or all -dbgsym packages of a directory of them: these need a store. */
int debug_files_add(struct debug_files *d, const char *path, struct err *e);
void debug_files_clear(struct debug_files *d);

/*
 * A descriptor of the debug information of this build-id (hex), or of what several files of a package share, which dwz calls shared (NULL: not that). -ENOENT without
 * text: there is none.
 */
int debug_files_open(const struct debug_files *d, const char *build_id, const char *shared, struct err *e);

/* What became of the samples of a file; bytes of code times how often they ran. */
struct symbolized {
	uint64_t sampled; /* of the file */
	uint64_t lines;   /* of them, those that a line of the source is known of */
};

/*
 * Add to p, by function and line, what the file number i of the set did; p has to be folded when all are added. A line's count is that of the instruction of it that ran
 * most, a function's head that of its first. 0: there is no debug information of it, nothing was added; 1: done. -ERR_FORMAT: it is damaged.
 */
int symbolize(struct elf_set *s, size_t i, const struct debug_files *d, struct profile *p, struct symbolized *out,
	      struct err *e);
