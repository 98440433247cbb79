/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>

#include "swupd/base/compress.h"
#include "swupd/base/mem.h"
#include "swupd/content/file.h"

struct buf;
struct err;

/*
 * The tars that content travels in: fullfiles, packs, manifests. Of what a tar can say we take a name, a type, mode, owner and bytes; no
 * extended attributes, times or names of users, and no hard links, devices or sparse files.
 *
 * Reading: any of the codecs, found by content; also several compressed streams one after the other. Memory: constant.
 */
struct tar;

struct tar_member {
	const char *name;   /* as it stands there, may be any bytes; lent until the next call */
	struct attrs attrs; /* KIND_NONE: of a type that cannot be content */
	const char *link;   /* target of a link; lent until the next call */
};

int tar_open(int fd, struct tar **out, struct err *e); /* fd is lent until tar_close */
int tar_open_mem(const void *data, size_t len, struct tar **out, struct err *e);
void tar_close(struct tar *t);
DEFINE_CLEANUP(struct tar *, tar_close);
int tar_next(struct tar *t, struct tar_member *m, struct err *e);   /* 1 item, 0 end, negative failure: -ERR_FORMAT */
int tar_read(struct tar *t, void *data, size_t len, struct err *e); /* bytes of the member read, 0 at its end */
int tar_read_source(void *tar, void *data, size_t len, struct err *e); /* the same, for who reads from any source */

/*
 * Writing: add one member to out, the same bytes for the same arguments: POSIX ustar, with a pax header where a field is too small.
 * content: attrs.size bytes of a file or link target. A directory's name gets its '/'. attrs.kind is one of file, directory, link.
 */
void tar_add(struct buf *out, const char *name, const struct attrs *a, const void *content);

/* The same without the content of a file, which the caller lets follow, and then zeros up to a multiple of TAR_BLOCK. link: target of a link. */
void tar_add_header(struct buf *out, const char *name, const struct attrs *a, const char *link);
#define TAR_BLOCK 512
void tar_end(struct buf *out); /* the end of the archive */

/*
 * Read a tar that has only members of these names (n of them), each at most max bytes, all plain files, into texts (one struct buf each). A
 * missing one stays empty; any other member is -ERR_FORMAT. For Manifest.<B>.tar and Manifest.MoM.tar.
 */
int tar_read_texts(const void *tar, size_t len, const char *const *names, size_t n, size_t max, struct buf *texts,
		   struct err *e);

/* Write such a tar: plain files 0644 root:root. */
int tar_write_texts(const char *const *names, const struct buf *texts, size_t n, enum codec codec, int level,
		    struct buf *out, struct err *e);
