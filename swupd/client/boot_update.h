/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct boot_room;
struct err;
struct machine;
struct plan;

/*
 * What a live change asks of the boot partition (bootfiles.h): looked at before the commit, done after it. In between a file in the data directory says that it is
 * still to be done, so that a run that is killed is completed by the next. Machines without such a partition, those with the predecessor's boot manager, --no-boot-update
 * and --no-scripts: nothing.
 */
#define BOOT_PENDING "boot-pending"

/* Before the commit of p, all that it needs is staged; NULL: of a release that was installed before. -ERR_SPACE, -EROFS and others of boot_check: nothing has changed. */
int boot_prepare(struct machine *m, const struct plan *p, struct err *e);

/* Bring the installed release there; durable when it returns. Does nothing unless boot_prepare said that it is to be done. */
int boot_complete(struct machine *m, struct err *e);

/* What p would take there, before anything is fetched. 1: room is set; 0: nothing. */
int boot_foresee(struct machine *m, const struct plan *p, struct boot_room *room, struct err *e);
