/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct err;
struct mix;
struct release;

/* What a published release has: objects, its manifests and its MoM, to be found by the first bytes of their hashes, which is how update files name them. */
struct release_index {
	struct indexed {
		struct digest hash;
		const char *name; /* the release's: a path, a bundle */
		char *manifest;   /* of one that is a manifest: below update/www */
	} * items;                /* by hash */
	size_t n, cap;
};

/* The release must live as long. */
int release_index_fill(const struct mix *m, const struct release *r, struct release_index *out, struct err *e);
void release_index_clear(struct release_index *x);

const struct indexed *release_index_find(const struct release_index *x, const struct digest *prefix,
					 unsigned bytes); /* NULL: there is none */
