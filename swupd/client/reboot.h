/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct machine;
struct plan;
struct strv;

/*
 * What only a reboot brings into use. The reasons since the last one are in REBOOT_PATH, a line each; that is the running system's, for another root nothing is
 * written.
 */
#define REBOOT_PATH "/run/swupd/reboot-required"

/* Note a reason, once, and answer with it. Where it cannot be noted there is a warning. */
void reboot_say(struct machine *m, const char *reason);

/* It is a reason no more. */
void reboot_settle(struct machine *m, const char *reason);

/* The noted ones; none: no reboot is needed. */
void reboot_reasons(const struct machine *m, struct strv *out);

/* "the kernel, the boot loader changed": what of the plan's changes it is. NULL: nothing. The caller frees it. */
char *reboot_reason(const struct plan *p);

/* Is one of them the kernel, or its initrd or modules? Nothing but a reboot brings that, not even a soft one. */
bool reboot_brings_kernel(const struct plan *p);

/* Are they others in this root (directory fd), a snapshot that was changed, than in the running one? */
bool reboot_other_kernel(const struct machine *m, int root);

/* Is one of the noted reasons the kernel? */
bool reboot_kernel_noted(const struct machine *m);

/* The same of what differs between usr and the tree that an exchange has kept. */
char *reboot_reason_exchanged(const struct machine *m);
