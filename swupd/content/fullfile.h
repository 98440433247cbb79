/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "swupd/base/compress.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"
#include "swupd/content/tar.h" /* tar_read_texts, tar_write_texts for manifests */

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
 * Of a file from this size on, the tar's header, the content with the zeros behind it and the tar's end are compressed apart, one stream after the other: the
 * stream of the content is what a pack has, too.
 *
 * fullfile_content adds that stream to out. fullfile_find_content finds it in a fullfile that fullfile_write made, with the same arguments: where it begins, or NULL: the
 * fullfile is another one, or has it uncompressed. The caller does not own it.
 */
#define FULLFILE_LARGE (256UL << 10)
int fullfile_content(const void *content, uint64_t size, enum codec codec, int level, struct buf *out, struct err *e);
const char *fullfile_find_content(const struct buf *fullfile, const struct digest *name, const struct attrs *a,
				  enum codec codec, int level, size_t *len);

/*
 * Read one from fd and make it an object in dirfd. -ERR_FORMAT: not a tar with exactly this member; -ERR_DIGEST: other content. Memory: constant. The disk
 * takes at most the size that the tar claims, as fast as its bytes come; nothing remains of what fails.
 */
int fullfile_unpack(int fd, const struct digest *want, int dirfd, struct err *e);

/* Only look: the same errors. */
int fullfile_check(int fd, const struct digest *want, struct err *e);
int fullfile_unpack_mem(const void *data, size_t len, const struct digest *want, int dirfd, struct err *e);
