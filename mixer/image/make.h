/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct buf;
struct err;
struct image_definition;
struct mix;

/*
 * Makes images of one release into update/images/<V>/: for each the image itself, its kernel (vmlinux-<profile>, bzImage-<profile>), and <name>.json, which says all about
 * it: image(5). Each is whole or as it was before.
 */
struct image_maker;

/* *out: the caller closes it; m must live as long. -ERR_RELEASE: the release was not published. */
int image_maker_open(const struct mix *m, uint32_t release, struct image_maker **out, struct err *e);
void image_maker_close(struct image_maker *k);
DEFINE_CLEANUP(struct image_maker *, image_maker_close);

struct image_made {
	char *path;     /* of the image, below the workspace; owned */
	uint64_t bytes; /* of it; of a directory, of all files in it */
};
void image_made_clear(struct image_made *x);

/*
 * 1: it was made before of the same inputs, and is as it was (not looked for with force). -ERR_BUNDLE, -ERR_CONFIG: the release has not what d names; -ERR_LIMIT: larger than
 * its budget, the text says by how much and whose files they are; -ERR_SPACE: no room. Nothing is written then.
 */
int image_make(struct image_maker *k, const struct image_definition *d, bool force, struct image_made *out,
	       struct err *e);

/* What was made under this name, from its sidecar. False: nothing. */
bool image_find_made(const struct mix *m, uint32_t release, const char *name, struct image_made *out);
