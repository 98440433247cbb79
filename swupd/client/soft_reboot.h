/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct err;
struct machine;
struct plan;
struct roots;

/*
 * A soft reboot into another root (systemd-soft-reboot.service(8)): all of userspace ends and that of the other root begins, the kernel goes on. What our initrd does in a
 * boot (initramfs/README.md) is done here, in this order:
 *
 *  1. at SOFT_REBOOT_ROOT: the root, in it the subvolumes that are the machine's own
 *  2. of a root on trial: one of its tries is counted, by the same link or loader's entry. A soft reboot is a boot of it that has to be accepted; nobody else counts it,
 *     for neither initrd nor loader takes part. A full reboot that follows is counted by them.
 *  3. in /run, which the next userspace keeps: what tells it which root that is (trial_trace), and of a trial what asks for its end, a panic's reboot and the deadline
 *  4. systemctl soft-reboot
 *
 * A trial that fails ends in a full reboot, as any: systemd's reboot.target, the deadline or a panic bring it, none of which looks at SOFT_REBOOT_ROOT.
 *
 * A failure on the way takes all of it back: the root is booted by the next full reboot, with the tries that it had. A run that is killed leaves what a boot
 * that did not come up leaves, and mounts that the next one takes away.
 */
#define SOFT_REBOOT_ROOT "/run/nextroot"

/* Before anything changes. -ERR_USAGE: this process cannot mount where PID 1 sees it; another kernel than the installed one runs. */
int soft_reboot_check(const struct machine *m, struct err *e);

/* -ERR_USAGE: the kernel of the release, or of that root, is another one. */
int soft_reboot_check_plan(const struct plan *p, struct err *e);
int soft_reboot_check_root(const struct machine *m, const struct roots *r, const char *name, struct err *e);

/* Enter the root that is prepared for the next boot. Its release is in the text of an error. */
int soft_reboot_prepared(struct machine *m, struct err *e);

/* Enter that root, which boots from now on; it is on no trial. */
int soft_reboot_good(struct machine *m, const char *name, struct err *e);

/* Options of mount(8) for that root, and the deadline, from the kernel's command line, as the initrd reads them. The caller frees *options. */
void soft_reboot_words(const char *cmdline, const char *name, char **options, uint32_t *deadline);
