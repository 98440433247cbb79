/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct attrs;
struct err;

struct digest {
	uint8_t bytes[32];
};

#define DIGEST_HEX 65 /* 64 digits and a NUL */

/*
 * Of n digests in ascending order, that at(arg, i) gives, the first that is not below key in their first bytes; n: all are.
 */
typedef const struct digest *digest_at_fn(const void *arg, size_t i);
size_t digest_search(digest_at_fn *at, const void *arg, size_t n, const struct digest *key, unsigned bytes);

extern const struct digest digest_zero; /* of what is deleted */
bool digest_equal(const struct digest *a, const struct digest *b);
void digest_format(const struct digest *d, char out[DIGEST_HEX]);
int digest_parse(const char *hex, struct digest *out); /* reads 64 lower-case digits; -EINVAL */

/* Plain SHA-256, for packages, indexes and attached files. */
void sha256_mem(const void *data, size_t len, struct digest *out);
int sha256_fd(int fd, struct digest *out, struct err *e); /* from the current position to the end */

/*
 * The file hash (spec/swupd-format.md section 3): an HMAC-SHA256 of the content, keyed by the attributes. A directory's content is
 * nothing here, a link's its target. attrs must be complete before the first byte: the size is part of the key.
 */
struct file_hash;
struct file_hash *file_hash_new(const struct attrs *a);
void file_hash_free(struct file_hash *h);
DEFINE_CLEANUP(struct file_hash *, file_hash_free);
void file_hash_add(struct file_hash *h, const void *data, size_t len);
void file_hash_end(struct file_hash *h, struct digest *out);

void file_hash_mem(const struct attrs *a, const void *data, size_t len, struct digest *out);

/* Of what read gives (at most len bytes each time, 0 at the end); of a link, of its target. */
typedef int file_read_fn(void *from, void *data, size_t len, struct err *e);
int file_hash_source(const struct attrs *a, const char *link, file_read_fn *read, void *from, struct digest *out,
		     struct err *e);

/*
 * Hash what lies at name in dirfd (the last component is not followed; a FIFO or device is -ERR_FORMAT, never waited for). attrs may be
 * NULL. -ENOENT when missing.
 */
int file_hash_at(int dirfd, const char *name, struct attrs *attrs, struct digest *out, struct err *e);
