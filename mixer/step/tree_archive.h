/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct store;
struct tree;

/* A tree as an archive, streamed from the store to the end of fd. t is sorted. */

/* tar (pax where needed): sorted, times OBJECT_MTIME, names relative ("./" is not in front), the root directory itself first as "./". */
int tree_write_tar(const struct store *s, const struct tree *t, int fd, struct err *e);

/* cpio (newc), with console, null, tty, ttyS0 and zero if t has /dev. */
int tree_write_cpio(const struct store *s, const struct tree *t, int fd, struct err *e);
