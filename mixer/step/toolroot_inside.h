/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "mixer/step/toolroot.h"
#include "swupd/content/digest.h"

/* What toolroot.c and toolroot_run.c share. */
struct toolroot {
	char *set, *path;
	char key[DIGEST_HEX];
	struct lock *lock;
};

/*
 * What a process does, in order, to get from our root to the one that a job sees. It is told as data, since between fork and exec a process of
 * several threads may not allocate.
 */
enum step_kind {
	STEP_PRIVATE,  /* nothing that is mounted at target from now on is seen elsewhere */
	STEP_BIND,     /* source is at target, too */
	STEP_READONLY, /* target and all below */
	STEP_TMPFS,    /* an empty one; source: its options */
	STEP_PROC,
	STEP_DIR,
	STEP_FILE, /* an empty one, to bind something to */
	STEP_LINK, /* target is a symbolic link to source */
	STEP_ROOT, /* target is / */
	STEP_CHDIR,
};

struct inside_step {
	enum step_kind kind;
	char *source, *target;
};

struct inside_plan {
	struct inside_step *steps;
	size_t n, cap;
};

/* The steps to the root directory at root, with binds. -ERR_PATH: a bind that cannot be. */
int inside_plan_make(const char *root, const struct toolroot_job *job, struct inside_plan *out, struct err *e);
void inside_plan_free(struct inside_plan *p);
