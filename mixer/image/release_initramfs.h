/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "swupd/base/compress.h"

struct err;
struct image_job;
struct tree;

/* An initrd of a published release (mixer/step/initramfs.h): of the bundle that has the configuration, and the one that has the definition's kernel. */

/* *out: its files, sorted; the caller frees it. -ERR_CONFIG: the release has no such configuration or no such kernel. */
int release_initramfs_tree(const struct image_job *job, const char *config, struct tree **out, struct err *e);

/* The same as a packed archive, in job->work/name. */
int release_initramfs_build(const struct image_job *job, const char *config, enum codec codec, const char *name,
			    struct err *e);
