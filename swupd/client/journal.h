/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/content/file.h"

struct arena;
struct buf;
struct err;

/*
 * The journal of a commit: what is still to be done to reach a release, in order. Text, one step per line, fields separated by tabs; paths are relative to the
 * root. Every step may be done twice.
 *
 *     swupd-journal 1
 *     release\tFROM\tTO
 *     put\tKIND\tPREPARED\tTARGET        put what lies at PREPARED (F, D or L) in the place of TARGET, whatever that is
 *     dir\tMODE\tUID\tGID\tTARGET        give the directory TARGET these attributes (mode in octal)
 *     del\tTARGET                        remove the file or the empty directory TARGET
 *     mark\tBUNDLE                       remember that the bundle was asked for
 *     unmark\tBUNDLE
 *     keep\tTREE                        what lies at .usr-next is the usr that was exchanged: from now on it is .usr-old (exchange.h)
 *     forget\tTREE                      .usr-old is not the release before the installed one any more
 *     end\tSHA256                        of all bytes before this line
 */
enum step_kind { STEP_PUT, STEP_DIR, STEP_DEL, STEP_MARK, STEP_UNMARK, STEP_KEEP, STEP_FORGET };

struct journal_step {
	enum step_kind kind;
	const char *target;   /* path, or the bundle of a mark */
	const char *prepared; /* STEP_PUT */
	struct attrs attrs;   /* STEP_PUT: kind; STEP_DIR: mode, uid, gid */
};

struct journal {
	uint32_t from, to;
	struct journal_step *steps;
	size_t n, cap;
	struct arena *arena;
};

struct journal *journal_new(uint32_t from, uint32_t to);
void journal_free(struct journal *j);
void journal_add(struct journal *j, const struct journal_step *s); /* copies the strings */

void journal_format(const struct journal *j, struct buf *out);

/* -ERR_FORMAT: damaged (then it was never complete, or someone changed it), or a path that could lead outside. */
int journal_parse(const char *text, size_t len, struct journal **out, struct err *e);

#define JOURNAL_MAX (1UL << 30) /* bytes; 4 M steps of 250 */
