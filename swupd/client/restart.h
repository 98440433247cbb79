/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;
struct machine;

/*
 * What is to be done after a commit that processes and the kernel do not notice by themselves.
 *
 * Services are not restarted which are marked so, by a file (or link) with the unit's name, or that of its template ("getty@.service"), in one of
 *
 *     <root>/etc/swupd/no-restart.d             the administrator
 *     <root>/usr/share/defaults/swupd/no-restart.d   the release
 *     <root>/etc/clr-service-restart            the predecessor's: a link to /dev/null
 *
 * nor those that refuse it (RefuseManualStop=, RefuseManualStart=, Type=oneshot in their unit), those in a list of ours (restart.c, with reasons), and the
 * one that we run in. Scopes (sessions) are nobody's to restart.
 */

/*
 * Answer with a line for each service, and each process outside of units, that uses replaced files (inuse.h). restart: restart those services that can be, in
 * one call; the others are listed. PID 1 is executed anew. -ERR_CHILD: some were not restarted, the text names them. Elsewhere than on the running
 * system nothing is restarted.
 */
int restart_services(struct machine *m, bool restart, struct err *e);

/* Why this service must not be restarted, by marks and our list; NULL: nothing speaks against it. The caller frees it. */
char *restart_objection(const struct machine *m, const char *unit);

/* Restart all of userspace, but not the kernel, as systemctl(1) soft-reboot does: this process, too, ends soon after. */
int restart_userspace(struct machine *m, struct err *e);

/* Options that commands with a commit have, and what they do after it. */
struct restart_options {
	bool services;  /* --restart */
	bool userspace; /* --soft-reboot */
};

/* -ERR_USAGE for what makes no sense here: before anything changes. */
int restart_check(const struct machine *m, const struct restart_options *o, struct err *e);

/*
 * List or restart, if the release is another than before. result is how the run ended so far, negative with e: it is returned unless that was asked for which does
 * not work then. That processes cannot be listed is a warning.
 */
int restart_follow(struct machine *m, const struct restart_options *o, uint32_t before, int result, struct err *e);
