/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "swupd/base/compress.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct buf;
struct err;

/*
 * A fullfile: a tar of exactly one member, named by the file hash, in any compression (spec/swupd-format.md section 4).
 *
 * Write one into out. content: size bytes of the file or link target (NULL for a directory). The smallest of uncompressed and codec is taken.
 */
int fullfile_write(const struct digest *name, const struct attrs *a, const void *content, enum codec codec, int level,
		   struct buf *out, struct err *e);

/*
 * Read one from fd and make it an object in dirfd. -ERR_FORMAT: not a tar with exactly this member; -ERR_DIGEST: other content. Memory: constant.
 */
int fullfile_unpack(int fd, const struct digest *want, int dirfd, struct err *e);

/* Read a tar that has only members of these names (n of them), each at most max bytes, all plain files, into texts (one struct buf each). A
 * missing one stays empty; any other member is -ERR_FORMAT. For Manifest.<B>.tar and Manifest.MoM.tar. */
int tar_read_texts(const void *tar, size_t len, const char *const *names, size_t n, size_t max, struct buf *texts,
		   struct err *e);

/* Write such a tar: plain files 0644 root:root. */
int tar_write_texts(const char *const *names, const struct buf *texts, size_t n, enum codec codec, int level,
		    struct buf *out, struct err *e);
