/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct err;
struct mix;
struct rules;
struct tree;

/*
 * What maintainer scripts make of the files of all packages together:
 *
 *     /usr/share/ca-certificates/…crt    one file of all certificates, in the factory (update-ca-certificates)
 *     /usr/lib/udev/hwdb.d/….hwdb        hwdb.bin (systemd-hwdb)
 *     /usr/lib/sysusers.d/….conf         passwd, group, shadow and gshadow, in the factory (systemd-sysusers)
 *     /usr/lib/modules/<V>/….ko…         modules.dep and the other indexes (depmod)
 *
 * Each is made once for the release, and goes to every bundle that has files of its kind: late[i], new nodes for bundles[i]. full and bundles are sorted.
 */
int derive(const struct mix *m, const struct rules *rules, const struct tree *full, struct tree *const *bundles,
	   size_t n, struct tree *const *late, struct err *e);
