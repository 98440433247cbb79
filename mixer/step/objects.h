/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "mixer/input/tree.h"

struct buf;
struct err;
struct fs_map;
struct mix;

/* What a manifest's entry stands for: its attributes and content, found by the trees of releases. */
struct objects;
struct objects *objects_new(void);
void objects_free(struct objects *o);
void objects_add(struct objects *o, const struct tree *t); /* lent: t must live as long as o */
const struct node *objects_find(const struct objects *o, const struct digest *hash); /* may be NULL */

/* The content of a node: a file's bytes, a link's target, nothing for a directory. Added to out. */
int object_content(const struct mix *m, const struct node *n, struct buf *out, struct err *e);

/* The same of a file, which is not loaded: an fd; or it is mapped, and the caller unmaps it. */
int object_open(const struct mix *m, const struct node *n, struct err *e);
int object_map(const struct mix *m, const struct node *n, struct fs_map *out, struct err *e);

/* <cache>/<kind>/<codec>-<level>/xx/<hex>, and its directory made. The caller frees it. */
char *cache_path(const struct mix *m, const char *kind, const struct digest *d, struct err *e);

/* Is it there? Then it counts as used (cache.h). The cache is not synced: an empty file is what a loss of power left of one whose name came to the disk before its content. */
bool cache_has(const struct mix *m, const char *path);
