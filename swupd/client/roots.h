/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct machine;
struct strv;

/*
 * The btrfs file system of a machine whose root is a subvolume of its top level, where other roots lie beside it (initramfs/README.md). The top level is
 * mounted by a file descriptor only: nobody else sees it.
 */
struct roots {
	int top;       /* directory fd */
	char *running; /* name of the root that m->path is */
};

/* 1: opened; 0: *why (the caller frees it) says why this machine's root has no other beside it. Needs /proc. */
int roots_open(const struct machine *m, struct roots *out, char **why, struct err *e);
void roots_close(struct roots *r);

/*
 * Which of them boots is kept in the folder ROOTS_STATE of the top level, for the initrd:
 *
 *     good -> NAME          boots when no other is on trial
 *     try+LEFT-DONE -> NAME boots LEFT times more; the initrd counts before it boots it (names as in systemd's boot assessment)
 *
 * Each change is one rename.
 */
#define ROOTS_STATE ".swupd"
#define ROOTS_NEXT  ".swupd-next" /* a root that is being prepared */

/* The initrd says here, below /, which root it has chosen; ROOTS_TRIAL: and that it is on trial. */
#define ROOTS_CHOSEN "run/limpid/root"
#define ROOTS_TRIAL  "run/limpid/trial"

/* By this link it wishes for the end of the trial. */
#define ROOTS_ACCEPT_LINK "run/systemd/system/multi-user.target.wants/swupd-accept.service"

/* The directories that are the machine's own: subvolumes beside the root, those that there are. */
struct roots_own {
	const char *name, *place; /* in the top level; below the root */
};
#define ROOTS_OWN_N 5
extern const struct roots_own roots_own[ROOTS_OWN_N];

struct roots_choice {
	char *good;          /* NULL: nothing was ever chosen */
	char *tried;         /* NULL: none is on trial */
	unsigned left, done; /* tries of it */
};
int roots_choice(const struct roots *r, struct roots_choice *out, struct err *e);
void roots_choice_free(struct roots_choice *c);

/* Boot name the next times, tries of them; 0: from now on, as the good one, and none is on trial. Durable on return. */
int roots_choose(const struct roots *r, const char *name, unsigned tries, struct err *e);

/* None is on trial any more. */
int roots_forget_trial(const struct roots *r, struct err *e);

/* The root on trial has so many tries left, and had so many. Durable on return. */
int roots_set_tries(const struct roots *r, unsigned left, unsigned done, struct err *e);

/* Names of subvolumes that are roots, by their release (0: it cannot be told) and name. */
struct root_info {
	char *name;
	uint32_t release;
};
int roots_list(const struct roots *r, struct root_info **out, size_t *n, struct err *e);
void roots_list_free(struct root_info *list, size_t n);
uint32_t roots_release(const struct roots *r, const char *name);

/* A writable snapshot of the running root as name; what swupd has staged there comes along. */
int roots_snapshot(const struct machine *m, const struct roots *r, const char *name, struct err *e);

/* Remove a root, and wait until its room is free where the kernel can tell. Missing is success; the running one is refused. */
int roots_remove(const struct roots *r, const char *name, struct err *e);
