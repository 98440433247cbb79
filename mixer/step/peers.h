/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>

#include "swupd/base/mem.h"

struct node;
struct tree;

/*
 * Which file of the release before each file is compared with. In this order:
 *
 *     the one of the same path
 *     one of the same content and attributes, wherever it is
 *     of those that are there no more, the one whose path is the same
 *         without digits and dots       libx.so.1.2 → libx.so.1.3, modules/6.1.0-38/… → modules/6.1.0-40/…
 *         and also without a to f       libx-4f1e.so → libx-90cb.so; not where the name is nothing but a hash
 *
 * The last two only for files above 200 bytes; each old file is taken once, by the order of paths. similar.h finds those that have content in common.
 */
struct peers;

/* Both sorted, and lent: they must live as long as the result. */
struct peers *peers_new(const struct tree *from, const struct tree *to);
void peers_free(struct peers *p);
DEFINE_CLEANUP(struct peers *, peers_free);

/* One more; the path and the node are lent. */
void peers_add(struct peers *p, const char *path, const struct node *from);

/* path: of to. NULL: there is none, or it has not changed, or is no file. */
const struct node *peers_find(const struct peers *p, const char *path);
