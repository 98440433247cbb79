/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct buf;
struct err;

/*
 * What a program did while it was trained, by function and line of its source: what AutoFDO feeds a compiler with. profile(5) draws the text, which is LLVM's
 * for sample profiles with our provenance in comments; clang reads it as it is.
 */

/* A line of a function, counted from the one that the function is declared in. */
struct profile_place {
	uint32_t line;          /* wraps as a 16-bit number: a macro's may lie before its function's */
	uint32_t discriminator; /* tells blocks of one line apart; 0 mostly */
};

struct profile_target {
	const char *name;
	uint64_t count;
};

struct profile_line {
	struct profile_place place;
	uint64_t count;
	struct profile_target *targets; /* called from here, by name */
	size_t n_targets, cap_targets;
};

/* A function; or what of it was inlined at place of another one. */
struct profile_function {
	const char *name;           /* as the linker knows it, without a clone's suffix */
	struct profile_place place; /* of the call; of a function by itself {0} */
	uint64_t total;             /* of all lines, inlined calls among them */
	uint64_t head;              /* how often it was entered; of an inlined call 0 */
	struct profile_line *lines; /* by place */
	size_t n_lines, cap_lines;
	struct profile_function *calls; /* inlined here, by place and name */
	size_t n_calls, cap_calls;
};

/* One ELF file of one recording. */
struct profile_origin {
	char *build_id;      /* hex */
	char *source;        /* Debian's source package and version, "bzip2 1.0.8-6" */
	int64_t recorded;    /* seconds since 1970 */
	char *workload;      /* sha256 of its text, or "-" */
	char *by;            /* "qemu" or "perf" */
	uint32_t weight;     /* permille of its counts that are in the profile */
	uint32_t generation; /* how many recordings of other builds were merged after it */
};

struct profile {
	struct arena *arena; /* names */
	struct profile_origin *origins;
	size_t n_origins, cap_origins;
	struct profile_function *functions; /* by name */
	size_t n_functions, cap_functions;
};

struct profile *profile_new(void);
void profile_free(struct profile *p);
DEFINE_CLEANUP(struct profile *, profile_free);

/* How counts of the same line join: of several instructions the largest is the line's; those of several copies and recordings are added. */
enum profile_join { PROFILE_MAX, PROFILE_SUM };

/*
 * Making one: append in any order, the same place as often as wanted; then fold, which sorts, joins and makes the totals. What they return stays where it is until the
 * next one is appended there. Names are lent: profile_name keeps a copy of one, without what a compiler adds to the names of clones (.isra.0, .part.1 …).
 */
const char *profile_name(struct profile *p, const char *name, size_t len);
struct profile_function *profile_add(struct profile *p, const char *name);
struct profile_line *profile_line_add(struct profile_function *f, struct profile_place place, uint64_t count);
void profile_target_add(struct profile_line *l, const char *name, uint64_t count);
struct profile_function *profile_call_add(struct profile_function *f, struct profile_place place, const char *name);
void profile_function_fold(struct profile_function *f, enum profile_join join);
void profile_function_clear(struct profile_function *f);
void profile_fold(struct profile *p);

uint64_t profile_total(const struct profile *p);

/* Add permille of from's counts, what is left of it is at least 1, to into, which has to be folded then; and its origins, so many generations older. */
void profile_add_scaled(struct profile *into, const struct profile *from, uint32_t permille, uint32_t older);
void profile_add_origin(struct profile *p, const struct profile_origin *o); /* copies */

/* Remove the coldest functions, as long as they have together at most permille of all counts. Returns how many. */
size_t profile_trim(struct profile *p, uint32_t permille);

/*
 * Read a profile; file names it in messages. *out: the caller frees it. -ERR_FORMAT: with the line; -ERR_LIMIT: larger or deeper than any compiler would
 * take. A text of LLVM without provenance is one, too.
 */
int profile_parse(const char *text, size_t len, const char *file, struct profile **out, struct err *e);
int profile_load(const char *path, struct profile **out, struct err *e);

/* Our text, provenance included: what clang -fprofile-sample-use reads. The same profile, the same bytes. */
int profile_write_llvm(const struct profile *p, struct buf *out, struct err *e);

/* Forget what is called from each line. What was inlined there stays. */
void profile_drop_targets(struct profile *p);

/*
 * What gcc -fauto-profile reads: gcov's format, version 2, of gcc 12 and later. major: of that gcc; before 13 it knew no discriminators, and blocks of one line are
 * one. -ERR_LIMIT: more names than its numbers have room for.
 */
int profile_write_gcc(const struct profile *p, unsigned major, struct buf *out, struct err *e);

/*
 * How much of the profile is of functions that these ELF files have, or have inlined: permille of all counts. fds are files with a symbol table, with debug information where it shall be sure (of a build
 * without profile, or of the one to be judged). 0: the profile is of something else. -ERR_FORMAT: not one of them is ELF.
 */
int profile_match(const struct profile *p, const int *fds, size_t n, uint32_t *permille, struct err *e);
