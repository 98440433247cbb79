/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct machine;

/*
 * Where the machine's loader finds its entries (bootfiles.h says where that may be). 1: *fd, its root directory, and *path, its name for messages, are the caller's; 0: there
 * is none that has an entry with a name of this id. -ERR_CONFIG: the place that the configuration names is not there.
 */
int boot_partition_open(const struct machine *m, const char *id, int *fd, char **path, struct err *e);

/*
 * A text that the loader has left in an EFI variable of its own (https://systemd.io/BOOT_LOADER_INTERFACE); NULL: there is none. The caller frees it. What is not ASCII is '?'.
 */
char *boot_loader_variable(const char *name);
