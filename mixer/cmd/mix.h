/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdint.h>

#include "mixer/step/step.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"

struct config;
struct err;

/* The context that main gives to every command: what the global options say. */
struct session {
	struct ui ui;
	struct progress *progress; /* made by main */
	const char *workspace;     /* --workspace; "." by default */
	const char *cache;         /* --cache; NULL: as configured */
	uint32_t threads;          /* --threads; 0: as configured */
	const char *executor;      /* --executor; NULL: as configured */
};

enum {
	MIX_WRITE = 1 << 0, /* takes the workspace's lock: for all that write there */
	MIX_CACHE = 1 << 1, /* opens the cache: for all that download */
	MIX_STORE = 1 << 2, /* opens cache and store: for all that build */
	MIX_SWEEP = 1 << 3, /* opens the cache for who removes something there: nobody else may use it */
};

/*
 * Read mixer.conf and mixer.state of the session's workspace (global options win over the file) and open what flags ask for.
 * *out: the caller closes it. -ERR_LOCKED: another mixer writes to the workspace. -ERR_CONFIG, also when it is no workspace.
 */
int mix_open(struct session *s, unsigned flags, struct mix **out, struct err *e);
void mix_close(struct mix *m);
DEFINE_CLEANUP(struct mix *, mix_close);

/*
 * Say what differs between two locks (lock.c). Is it worth a new one? A younger index that says the same of our packages is not: it would only give a
 * release with other dates.
 */
struct lock;
bool lock_report(struct ui *ui, const struct lock *old, const struct lock *new);
