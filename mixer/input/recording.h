/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct arena;
struct err;

/* What was executed, as the plugin of QEMU (mixer/record) or perf writes it: by address, before anybody knows of what files. profile(5), RECORDINGS. */

/* A block of code of one entry, which ran count times from its first to its last byte. */
struct block {
	uint64_t vaddr, count;
	uint32_t insns, len;
	const uint8_t *bytes; /* as it was in memory */
};

/* A call by pointer at the end of block from, to the beginning of block to. */
struct block_call {
	uint32_t from, to;
	uint64_t count;
};

struct recording {
	struct arena *arena;
	struct block *blocks; /* by vaddr */
	size_t n_blocks, cap_blocks;
	struct block_call *calls;
	size_t n_calls, cap_calls;
	uint64_t kernel, firmware, lost; /* instructions of which no blocks were kept */
};

/* Does this text begin as a recording of ours? */
bool recording_is(const char *text, size_t len);

/* *out: the caller frees it. -ERR_FORMAT, with the line, also when its end is missing; -ERR_LIMIT. */
int recording_parse(const char *text, size_t len, const char *file, struct recording **out, struct err *e);
void recording_free(struct recording *r);
DEFINE_CLEANUP(struct recording *, recording_free);

/* What perf's branch records say: straight runs of code, and jumps between them. */
struct perf_mapping {
	uint32_t pid;
	uint64_t start, len, offset; /* of the file */
	const char *path;
	const char *build_id; /* hex; NULL: not known */
};

struct perf_run {
	uint32_t pid;
	uint64_t from, to; /* the first byte, and the first of the last instruction */
	uint64_t count;
};

struct perf_branch {
	uint32_t pid;
	uint64_t from, to, count;
};

struct perf_samples {
	struct arena *arena;
	struct perf_mapping *mappings; /* executable ones, in the order in which they were made */
	size_t n_mappings, cap_mappings;
	struct perf_run *runs; /* each but once */
	size_t n_runs, cap_runs;
	struct perf_branch *branches;
	size_t n_branches, cap_branches;
	uint64_t samples; /* with branch records */
};

/*
 * Read what 'perf script -F pid,ip,brstack,event --show-mmap-events' writes; pid and event may be missing. *out: the caller frees it. -ERR_FORMAT: not such a text,
 * or without branch records; -ERR_LIMIT.
 */
int perf_parse(const char *text, size_t len, const char *file, struct perf_samples **out, struct err *e);
/*
 * Add what 'perf buildid-list' writes, "HEX PATH" a line: without further options perf has build-ids in the header of perf.data alone, a path each. Mappings that have one
 * keep theirs; lines without one are passed over.
 */
void perf_add_build_ids(struct perf_samples *s, const char *text, size_t len);
void perf_samples_free(struct perf_samples *s);
DEFINE_CLEANUP(struct perf_samples *, perf_samples_free);
