/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;
struct machine;
struct plan;

/*
 * The commit by exchange. Everything the plan needs is staged. In order:
 *
 *  1. .usr-next: a second tree of the files of usr that stay (clone.h), with the plan's changes in it; no file that usr has is written to
 *  2. usr/.swupd/back: the journal that will lead back to what is usr now
 *  3. syncfs: all of that is durable; nothing installed has changed
 *  4. .usr-next/.swupd/journal: what is to be done outside of usr, marks of bundles, and to keep the old tree; synced
 *  5. usr and .usr-next change names by one renameat2: with it, the release and its journal are there, or neither
 *  6. the journal's steps: the old tree becomes .usr-old; the one before it goes
 *
 * A run that dies before 5 changed nothing, and the next one removes what it had made; one that dies later is completed by install_recover.
 */
#define TREE_NEXT ".usr-next"
#define TREE_OLD  ".usr-old"  /* usr before the last exchange */
#define TREE_GONE ".usr-gone" /* being removed */

struct exchange_look {
	bool possible;
	bool snapshot;  /* by a snapshot, not by links */
	uint64_t bytes; /* that a tree of links takes; only when it was asked for */
	char *why;      /* not possible: what stands against it */
};
void exchange_look_free(struct exchange_look *l);

/* Can usr be exchanged? Changes nothing. measure: the bytes are counted also where it is plain that there is room for them. */
int exchange_look(const struct machine *m, bool measure, struct exchange_look *out, struct err *e);

/* Commit by exchange; where that is not possible in place, and *why (the caller frees it) says what stood against it. */
int exchange(struct machine *m, const struct plan *p, char **why, struct err *e);

/* The release of the tree that rollback would go to; 0: there is none. */
uint32_t exchange_old_release(const struct machine *m);

/* Go back to it: the same steps with .usr-old in the place of .usr-next; what is usr now becomes .usr-old. */
int exchange_back(struct machine *m, struct err *e);

/* The steps of journals: .usr-next is to be .usr-old; .usr-old is to go. May be done twice. */
int exchange_keep(const struct machine *m, struct err *e);
int exchange_forget(const struct machine *m, struct err *e);

/* Remove trees that nobody needs: .usr-next and .usr-gone. There must be no journal. A failure is a warning. */
void exchange_sweep(const struct machine *m);
