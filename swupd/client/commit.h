/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "swupd/client/stage.h"

struct err;
struct journal;
struct machine;
struct plan;

/* The parts of which install.h and exchange.h make a commit. Names in the root of a tree that is or will be usr: */
#define WORK_IN_TREE     ".swupd"
#define PREPARED_IN_TREE "/" WORK_IN_TREE "/next"
#define JOURNAL_NAME     "journal"
#define JOURNAL_PATH     STAGE_PARENT "/" JOURNAL_NAME
#define BACK_NAME        "back" /* beside a journal's place: the journal that leads back to this tree */

/*
 * Everything the plan needs is staged: give each object a name for the commit, in tree or beside its target, and fill the journals. Steps below usr go to
 * inside, with tree ("usr" or its next one) in the place of usr; the others to outside, to be done when tree is usr. Both may be the same journal.
 */
int commit_prepare(const struct machine *m, const struct plan *p, const char *tree, struct journal *inside,
		   struct journal *outside, struct err *e);

/* Make durable all that the steps write to, on each file system that they reach. */
int commit_sync(const struct machine *m, const struct journal *j, struct err *e);

/* Write the journal into a tree under this name, durably. */
int commit_write(const struct machine *m, const char *tree, const char *name, const struct journal *j, struct err *e);

/* Do the steps; may be done twice. commit_written: those of the journal that is in place, with which the next run goes on after a failure. */
int commit_steps(const struct machine *m, const struct journal *j, struct err *e);
int commit_written(const struct machine *m, const struct journal *j, struct err *e);

/* After all of them: durable, the release noted, what was staged and prepared and the journal removed. */
int commit_finish(struct machine *m, const struct journal *j, struct err *e);

/* Where another file system than the prepared object's takes the path: a name beside the nearest directory that exists. The caller frees it. */
int commit_name_beside(const struct machine *m, const char *path, size_t number, char **out, struct err *e);

/* A copy of a file or link with owner, mode and time. */
int commit_copy(int from_dir, const char *from, int to_dir, const char *to, struct err *e);
