/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct arena;
struct buf;
struct err;
struct table;

/*
 * A tree is a list of what a package, a bundle or a release has, without its content, which lies in the store under the node's hash.
 * Nothing needs to be unpacked or owned by root for a release to be built.
 */
struct node {
	const char *path; /* absolute, as in the release */
	struct attrs attrs;
	struct digest hash; /* the file hash */
	const char *link;   /* a link's target, else NULL */
	const char *origin; /* package name, "bundle NAME" or "generated": for messages and the SBOM */
};

struct tree {
	struct node *nodes;
	size_t n, cap;
	struct arena *arena; /* holds all strings */
};

struct tree *tree_new(void);
void tree_free(struct tree *t);
DEFINE_CLEANUP(struct tree *, tree_free);

/* Append a copy. */
struct node *tree_add(struct tree *t, const struct node *n);
void tree_sort(struct tree *t);                                 /* by path, bytewise */
struct node *tree_find(const struct tree *t, const char *path); /* t is sorted */

/*
 * "limpid-tree 1 COUNT", then one line per node: kind, mode, uid, gid, size, hash, origin, path, link; tabs between. Round trip. tree_parse: -ERR_FORMAT, also
 * when lines are missing.
 */
void tree_format(const struct tree *t, struct buf *out);
int tree_parse(const char *text, size_t len, struct tree **out, struct err *e);

/*
 * The store: content by file hash, in <cache>/objects/xx/<hash>: files hold the content (0644, whoever runs mixer owns them). Directories and links have none.
 * Several runs and threads may use it at once. What is there is whole.
 */
struct store;
int store_open(int cachefd, struct store **out, struct err *e);
void store_close(struct store *s);
/* Is the content of n there? Always, for what has none (directories, links). */
int store_has(const struct store *s, const struct node *n);

/* Put content (size bytes) under the hash of a and it; *out is that hash. */
int store_put(struct store *s, const struct attrs *a, const void *content, struct digest *out, struct err *e);

/* The same, streaming: begin with complete attributes, write, end. */
struct store_writer;
int store_begin(struct store *s, const struct attrs *a, struct store_writer **out, struct err *e);
int store_write(struct store_writer *w, const void *data, size_t len, struct err *e);
int store_end(struct store_writer *w, struct digest *out, struct err *e); /* takes w in any case */
void store_abort(struct store_writer *w);

/* All that a source has: read gives at most len bytes, 0 at the end. */
typedef int store_read(void *source, void *to, size_t len, struct err *e);
int store_take(struct store *s, const struct attrs *a, store_read *read, void *source, struct digest *out,
	       struct err *e);

int store_get_fd(const struct store *s, const struct digest *d, struct err *e); /* an fd to read; -ENOENT */

/* Give the content another name: a hard link, or a copy on another file system. */
int store_link(const struct store *s, const struct digest *d, int dirfd, const char *name, struct err *e); /* -ENOENT */
int store_load(const struct store *s, const struct digest *d, size_t max, struct buf *out, struct err *e);

/* Write the whole tree, with the parents of everything, as real files below dirfd, for tools that want one (depmod, hwdb). t is sorted. Ownership only when root. */
int tree_checkout(const struct tree *t, const struct store *s, int dirfd, struct err *e);
