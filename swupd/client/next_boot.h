/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct err;
struct machine;
struct plan;

/*
 * The commit by next boot: the running system is not touched. Everything the plan needs is staged. In order:
 *
 *  1. <data>/preparing: the name that the next root will have; a writable snapshot of the root, .swupd-next in the top level of its btrfs (roots.h);
 *     the plan's changes in it
 *  2. in it, usr/.swupd/arrive: a journal of what is to be done outside of it once it is good (marks of bundles); in the running root
 *     usr/.swupd/return, the same for the way back
 *  3. syncfs; it gets its name, <base>-<release>; all is durable
 *  4. <data>/next-boot: what is on trial
 *  5. the loader's entry or the initrd's link (trial.h): by one rename the machine boots it; <data>/preparing goes
 *
 * A run that dies before 5 changed nothing, and the next one removes what it had made. The system that boots from it is on trial until next_boot_accept; if that does not
 * come while there are tries, the machine is back in the root before, and next_boot_settle remembers the release as bad.
 */
#define ARRIVE_NAME "arrive"
#define RETURN_NAME "return"

int next_boot(struct machine *m, const struct plan *p, struct err *e);

/* The running release is good. 1: it was on trial, 0: nothing was. */
int next_boot_accept(struct machine *m, struct err *e);

/* The running release, which is on trial, is not good: remember why, for when the machine is back. 0: it is not on trial. */
int next_boot_refuse(struct machine *m, const char *reason, struct err *e);

/* After a boot, by whoever comes first with the lock: what became of a trial. Removes what a run that was killed had made. */
int next_boot_settle(struct machine *m, struct err *e);

/* Before another change: what is prepared and has not run is dropped, for it would bring the machine back to before the change. */
int next_boot_cancel(struct machine *m, struct err *e);

/* *found: the release of the root that one could go back to; 0: none. wanted: of this release, 0: whichever was before. */
int next_boot_previous(struct machine *m, uint32_t wanted, uint32_t *found, struct err *e);

/* soft not NULL: that root, whose name is in *soft (the caller frees it), is to be entered by soft_reboot; refused where that cannot be. */
int next_boot_back(struct machine *m, uint32_t to, char **soft, struct err *e);

/* What <data>/next-boot says. 1: there is something; 0: no. */
struct next_boot_pending {
	uint32_t from, to;
	char *root;
};
int next_boot_pending(const struct machine *m, struct next_boot_pending *out);
void next_boot_pending_clear(struct next_boot_pending *p);
