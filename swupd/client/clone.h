/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct err;
struct strv;
struct table;

/*
 * A second tree of the same files: names are relative to root, a directory fd. What the work directory of swupd in the tree's root holds
 * (.swupd) is left out.
 */

/* Is name the root of a btrfs subvolume? And does that hold others (1: yes, or this kernel cannot tell; 0: no)? */
bool clone_is_subvolume(int root, const char *name);
int clone_has_subvolumes(int root, const char *name, struct err *e);

struct clone_size {
	uint64_t dirs, others;
};

/*
 * Count what a clone by links has to make. 1: counted; 0: it cannot be cloned, *why (the caller frees it) says what stands against it: another
 * file system, an immutable directory.
 */
int clone_measure(int root, const char *name, struct clone_size *out, char **why, struct err *e);

/*
 * Make to from: a snapshot where from is a subvolume, else directories with owner, mode, times and extended attributes in which all else is a
 * second link. Of what has a name in without (absolute paths; may be NULL) and is no directory, no link is made; a snapshot has it all the same.
 * The directories that were read are added to dirs, each before those in it; none for a snapshot. 1: made; 0: this cannot be done here, *why says what stands against it. On 0 and failures the caller removes to.
 */
int clone_make(int root, const char *from, const char *to, const struct table *without, struct strv *dirs, char **why,
	       struct err *e);

/* A time such that what is changed after the call is later or equal. Takes some milliseconds. */
struct timespec clone_now(void);

/*
 * 1: something was made, renamed or removed in one of these directories (clone_make) at or after since; where there are none, of a snapshot, anything
 * below name was changed. 0: nothing.
 */
int clone_is_stale(int root, const char *name, const struct strv *dirs, const struct timespec *since, struct err *e);

/* Remove a tree or a subvolume. Missing is success. */
int clone_remove(int root, const char *name, struct err *e);
