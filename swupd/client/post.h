/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;
struct machine;
struct plan;

/*
 * After a commit (spec/swupd-client-behaviour.md section 6.5): boot manager when boot files changed, ldconfig, systemd daemon-reload or daemon-reexec and
 * update-triggers.target; for another root only what is safe there. --no-scripts and --no-boot-update are obeyed. What is not installed is not run. A failed
 * action is -ERR_CHILD: the release is installed, but the exit status tells.
 */
int post_update(struct machine *m, const struct plan *p, struct err *e);

/* Run a program in an environment of its own; any status but 0 is -ERR_CHILD. Its output is added to out; NULL: dropped. */
int post_run(const char *const *argv, struct buf *out, struct err *e);

/* PID 1 executes itself anew, from the files that are there now. Where that does not work a reboot is needed, and said to be. */
int post_reexec(struct machine *m, struct err *e);

/* The predecessor's clr-boot-manager is installed: boot files are its business. */
bool post_has_boot_manager(const struct machine *m);

#define DOWNLOADED "downloaded" /* in the cache: the release of the last update --download, as long as that is there */

/* Empty the cache of what the installed release does not need; all: of everything. dry_run: only count. *bytes: freed. */
int clean_cache(struct machine *m, bool all, bool dry_run, uint64_t *files, uint64_t *bytes, struct err *e);

/* Of a run that was killed there may be files that no other asks for. That there are none takes one system call. */
int clean_downloads(const struct machine *m, struct err *e);
