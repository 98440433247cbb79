/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct buf;
struct config;
struct delta_kind;
struct err;
struct mix;
struct node;

/*
 * What takes long in a build is a list of jobs. Each makes one file of the cache from objects and other files there, all named by what they hold: it does not matter who
 * does a job, when, or how often, and what is there already was done.
 *
 *     fullfile <object>                      → fullfiles/…     compress.c
 *     part     <object> or <from>-<to> …     → parts/…         parts.c
 *     delta    <from> <to>                   → deltas/…        deltas.c
 *     diff     <from> <to>                   → diffs/…         section.c
 *     section  <object> or <from>-<to> …     → sections/…      section.c
 *
 * Threads of this process do them; or Slurm's nodes (slurm.h), and the threads what is missing then.
 */
struct member {
	const struct node *node; /* an object; NULL: a delta */
	struct digest from, to;  /* of a delta */
	const char *file;        /* of a delta: in the cache; lent */
	uint64_t size;           /* bytes of its content */
};

struct job;
struct job_kind {
	const char *name;
	size_t objects; /* that it is made of; 0: any members */
	char *(*file)(const struct mix *m, const struct job *j, struct err *e);
	int (*make)(const struct mix *m, const struct job *j, struct buf *out, struct err *e);
	/* instead of make, of what may be large: writes the file itself, below its folder */
	int (*save)(const struct mix *m, const struct job *j, int dirfd, const char *name, struct err *e);
	uint64_t (*memory)(const struct mix *m,
			   const struct job *j); /* bytes at most, with all that it reads and writes */
	const struct delta_kind *delta;          /* that it makes, or has among its members */
};
extern const struct job_kind job_fullfile, job_part, job_delta, job_diff, job_section;

struct job {
	const struct job_kind *kind;
	const struct member *members; /* lent */
	size_t n;
	char *file;      /* of the cache; owned */
	uint64_t size;   /* bytes of its members, for progress and shares */
	uint64_t memory; /* that it takes at most */
	bool told;       /* to the progress */
};

/* kind and members are set: the rest follows from them. */
int job_name(const struct mix *m, struct job *j, struct err *e);

/*
 * Do those jobs whose file is not there. They are put into another order. Memory: those that threads do at one time take together what the
 * configuration says at most, or it is a single one.
 */
int jobs_run(const struct mix *m, struct job *jobs, size_t n, struct err *e);
void jobs_free(struct job *jobs, size_t n);

bool job_done(const struct mix *m, const struct job *j);

/*
 * A list for another process:
 *
 *     limpid-jobs 1 CODEC LEVEL COUNT
 *     KIND MEMBER…                     COUNT lines
 *     …                                a tree (tree.h), with what the objects are
 *
 * codec and level of c are set to those of the list. -ERR_FORMAT: it is none, or not whole.
 */
struct job_list;
void jobs_format(const struct mix *m, struct job *const *jobs, size_t n, struct buf *out);
int jobs_parse(const char *text, size_t len, struct config *c, struct job_list **out, struct err *e);
struct job *job_list_jobs(const struct job_list *l, size_t *n); /* lent */
int job_list_run(const struct mix *m, struct job_list *l, struct err *e);
void job_list_free(struct job_list *l);
DEFINE_CLEANUP(struct job_list *, job_list_free);
