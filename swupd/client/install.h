/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;
struct machine;
struct plan;

/*
 * The commit in place. Everything the plan needs is staged. In order:
 *
 *  1. usr/.swupd/next/<n>: a link to the staged object for each path (a copy beside the target where it lies on another file system), each new directory made
 *  2. syncfs: all of that is durable; nothing installed has changed
 *  3. usr/.swupd/journal is written and synced: from here the system only goes forward
 *  4. in order of names: directories, files and links by rename (a change of type by exchange), then removals, deepest first, and
 *     usr/lib/os-release at the very end; <data>/bundles marks, <data>/version
 *  5. syncfs, what was staged is removed, the journal, then usr/.swupd
 *
 * A run that dies before 3 changed nothing; one that dies later is completed by install_recover. Each step of 4 may be done twice.
 *
 * What a user put into a directory that has to go is kept: the directory is renamed to .deleted.<unix time>.<name> beside it.
 */
int install(struct machine *m, const struct plan *p, struct err *e);

/* Complete what an interrupted run began, or clean up after one that had not begun. 1: a release was completed, 0: there was nothing to complete. */
int install_recover(struct machine *m, struct err *e);

/* There is a journal: do its steps, and what follows them. *from and *to, if not NULL: its releases. */
int install_complete(struct machine *m, uint32_t *from, uint32_t *to, struct err *e);
