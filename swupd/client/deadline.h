/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct machine;

/*
 * In how many seconds a release on trial has to be accepted, whatever hangs: kept by the machine's watchdog, or softdog, at /dev/watchdog. Who boots our initrd gets it
 * from there (initramfs/README.md), who makes a soft reboot from here. Nothing but a warning where there is no watchdog: systemd keeps the time of swupd-accept.service.
 */
void deadline_start(const struct machine *m, uint32_t seconds);

/* It was accepted. Elsewhere than on the running system nothing is done. */
void deadline_end(const struct machine *m);
