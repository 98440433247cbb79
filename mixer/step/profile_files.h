/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct err;
struct perf_samples;
struct recording;

/* The ELF files that a recording can be of, and what it says of each: by the file's own addresses. */
struct sample_range {
	uint64_t start, end, count;
};

/* Of a call: from is any byte of the instruction, to is the first of a function. */
struct sample_call {
	uint64_t from, to, count;
	uint32_t file; /* of to */
};

struct elf_file {
	char *path;         /* in the release */
	char *build_id;     /* hex; NULL: it has none */
	const uint8_t *map; /* all of it */
	size_t size;
	struct elf_segment {
		uint64_t vaddr, offset, size;
	} segments[8]; /* that are executable */
	size_t n_segments;
	bool is_kernel; /* its code is in the upper half of addresses */
	bool by_path;   /* perf did not say of which build the file was that ran under its path */
	char *other_id; /* the build-id of another build that ran under its path; NULL: none did */
	struct sample_range *ranges;
	size_t n_ranges, cap_ranges;
	struct sample_call *calls;
	size_t n_calls, cap_calls;
};

struct elf_set {
	struct elf_file *files;
	size_t n, cap;
};

/*
 * Add the file at fd, which is called path in the release. 1: added; 0: not a program or library of x86-64, or there is one with the same build-id. fd may be closed
 * then.
 */
int elf_set_add(struct elf_set *s, const char *path, int fd, struct err *e);
/* All files below a directory, called by their names there. */
int elf_set_add_tree(struct elf_set *s, const char *dir, struct err *e);
void elf_set_clear(struct elf_set *s);

/* Where what was executed belongs to; instructions, or of perf, bytes of code. */
struct attribution {
	uint64_t known;        /* in files of the set */
	uint64_t ambiguous;    /* the same bytes in several of them */
	uint64_t unknown;      /* in none: programs of elsewhere, the vDSO, code made at run time */
	uint64_t known_kernel; /* in the kernel of the set */
	uint64_t kernel;       /* the kernel's others: of which no blocks were kept, modules' */
	uint64_t firmware, lost;
};

/*
 * Code does not depend on where it is loaded: a block belongs to a file that has its bytes at the same place of a page. Blocks that only one file has tell what is mapped
 * where; then each block must be where a mapping has its very bytes, so that short ones find their file by their neighbours.
 *
 * A block in the upper half of addresses belongs by its address to the kernel of the set that has the bytes of most of them.
 */
void recording_attribute(const struct recording *r, struct elf_set *s, struct attribution *out);

/* The same of perf, which says what was mapped: by build-id; by path when there is none. What has the path of a file, and another build-id, is not of it. */
void perf_attribute(const struct perf_samples *p, struct elf_set *s, struct attribution *out);
