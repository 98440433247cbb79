/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "swupd/base/compress.h"

struct err;
struct image_job;
struct tree;

/*
 * Initrds that are not a list of bundles but what dracut picks of them: initramfs/README.md. dracut is the release's own, runs in a root of the release's
 * content and finds nothing else there, so what it picks is what the release has. Works for everybody who may make namespaces.
 *
 *     configuration   /usr/lib/dracut/dracut.conf.d/<config>/ of the release, and the bundle that has it
 *     modules         /usr/lib/modules/<V>/ of the bundle that has the definition's kernel; none: a kernel without modules
 */

/*
 * *out: the files of the initrd, sorted, content in the store, all of root; the caller frees it. Kept in <cache>/made under everything that it was made from.
 * -ERR_CONFIG: the release has no such configuration or no such kernel; -ERR_CHILD: dracut failed.
 */
int initramfs_tree(const struct image_job *job, const char *config, struct tree **out, struct err *e);

/* The same as a packed archive, in job->work/name. */
int initramfs_build(const struct image_job *job, const char *config, enum codec codec, const char *name, struct err *e);
