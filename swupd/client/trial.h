/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/client/bootfiles.h"
#include "swupd/client/roots.h"

struct err;
struct machine;

/*
 * A release on trial: a root that the machine boots a counted number of times, and that has to be accepted before they are used up; else the machine is back in the
 * last good one. Who counts is the loader, by the names of its entries (bootfiles.h), or our initrd, by links (roots.h), where the kernel comes from a hypervisor.
 */
struct trial {
	struct roots roots;
	struct boot *boot;   /* NULL: the initrd counts */
	char *tried;         /* root on trial; NULL: none */
	unsigned left, done; /* its tries */
};

/* 1: opened; 0: *why (the caller frees it) says why this machine has no other root to boot. */
int trial_open(struct machine *m, struct trial *out, char **why, struct err *e);
void trial_close(struct trial *t);

/* The root runs, and is on trial. */
bool trial_runs(const struct trial *t);

/* Boot that root the next times: the commit. Its files are durable; no other is on trial. */
int trial_begin(struct trial *t, const char *name, uint32_t release, unsigned tries, struct err *e);

/* The root on trial has so many tries left, and had so many. Durable on return. */
int trial_set_tries(struct trial *t, unsigned left, unsigned done, struct err *e);

/*
 * What a system that was started from this root finds in its /run: *text in the file *path below / (ROOTS_CHOSEN or BOOT_SELECTED). The caller frees *text.
 * -ERR_RELEASE: the loader has no entry for it.
 */
int trial_trace(struct trial *t, const char *name, const char **path, char **text, struct err *e);

/* Were the tries of that root used up, without it being accepted? *done: how many it had. */
bool trial_failed(const struct trial *t, const char *name, unsigned *done);

/* The running root is good, and boots from now on. */
int trial_accept(struct trial *t, struct err *e);

/* The root on trial, which does not run, will not boot. */
int trial_cancel(struct trial *t, struct err *e);

/* That root, which was good before, boots from now on; newer ones do not. */
int trial_go_back(struct trial *t, const char *name, uint32_t release, struct err *e);

/* Remove a root, with its entries, unless it runs, boots or is on trial. 1: it does, and stays. Missing is success. */
int trial_drop(struct trial *t, const char *name, struct err *e);

/* A free name for the root of a release: that of the running one with the number behind it. What nobody needs under that name is removed. The caller frees it. */
int trial_name(struct trial *t, uint32_t release, char **out, struct err *e);

/*
 * Remove roots of such names, with their entries, until at most keep of those are left that neither run, nor boot, nor are on trial, and percent of the file system is free;
 * the oldest first.
 */
int trial_prune(struct trial *t, unsigned keep, unsigned percent, struct err *e);

/* The root that the machine would go back to: the newest that is older than the running one, or of that release if not 0. The caller frees *name; NULL: none. */
int trial_previous(const struct trial *t, uint32_t release, char **name, uint32_t *found, struct err *e);
