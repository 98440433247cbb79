/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct err;
struct manifest;
struct mix;
struct node;
struct strv;
struct tree;

/*
 * A published release as the source of images. Everything comes from update/www/<V>: what a path's entry stands for is told by the fullfiles, unless update/releases/<V>
 * and the store, which are caches here, know it already.
 */
struct image_release;

/* *out: the caller frees it, after the contents made from it; m must live as long. -ERR_RELEASE: it was not published. */
int image_release_open(const struct mix *m, uint32_t number, struct image_release **out, struct err *e);
void image_release_close(struct image_release *r);
DEFINE_CLEANUP(struct image_release *, image_release_close);

const struct digest *
image_release_identity(const struct image_release *r);     /* sha256 of its MoM, which tells all of it */
int64_t image_release_time(const struct image_release *r); /* of its MoM */

/* All files of the release below a directory, whatever bundle they belong to, added to out (sorted); their content is in the store then. */
int image_release_folder(struct image_release *r, const char *dir, struct tree *out, struct err *e);

/* The bundle that has a path, or NULL. */
const char *image_release_owner(const struct image_release *r, const char *path);

/* What a machine with some bundles has. */
struct image_content {
	struct image_bundle {
		const char *name; /* lent by the release */
		struct tree *own; /* sorted; what none of its includes has */
		uint64_t bytes;   /* of its files */
	} * bundles; /* these and all that they include; what is included stands before who includes it, else by name */
	size_t n;
	struct tree *tree; /* the union, sorted */
};

/* *out: the caller frees it. The content of all files is in the store then. -ERR_BUNDLE: the release does not have one of them. */
int image_content_load(struct image_release *r, const struct strv *bundles, struct image_content **out, struct err *e);
void image_content_free(struct image_content *c);
DEFINE_CLEANUP(struct image_content *, image_content_free);
