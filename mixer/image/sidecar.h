/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "swupd/content/digest.h"

struct buf;
struct err;
struct strv;

/*
 * <name>.json beside an image, image(5): one JSON object of texts, numbers and true or false, a member a line, so that scripts can read it with what they have.
 *
 *     {
 *       "name": "guest",
 *       "bytes": 41943040
 *     }
 */
void sidecar_format(const struct strv *members, struct buf *out); /* each is "\"key\": value" */

/* One member of <name>.json in dirfd, without its quotes; NULL: there is none. Texts with characters that JSON escapes come as they stand there. The caller frees it. */
char *sidecar_load(int dirfd, const char *name, const char *key);

struct sidecar_image {
	uint64_t bytes;       /* of a directory: of all files in it */
	char hex[DIGEST_HEX]; /* sha256; of an OCI layout: of its index.json, which names all else by hash */
};
int sidecar_measure(int dirfd, const char *file, struct sidecar_image *out, struct err *e);
