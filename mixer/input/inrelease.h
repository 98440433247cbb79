/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct buf;
struct err;

/* The signed table of contents of a suite of a Debian archive: dists/SUITE/InRelease. */
struct inrelease {
	char *suite, *codename;    /* "" when missing */
	int64_t date, valid_until; /* seconds since 1970; 0: no Valid-Until */
	bool by_hash;              /* indexes can be had under the name of their digest */
	bool all_inside; /* indexes of architectures have the packages for "all", though that is listed as one */
	bool all_apart;  /* packages for "all" are in an index of their own */
	struct inrelease_file *files; /* sorted by path */
	size_t n, cap;
	struct arena *arena;
};

struct inrelease_file {
	const char *path; /* below dists/SUITE */
	uint64_t size;
	struct digest sha256;
};

/*
 * Check the signatures of a clear-signed file by gpgv(1) with the keys of keyring and give the text that is signed. -ERR_SIGNATURE: not signed, changed, or by nobody
 * in keyring.
 */
int inrelease_verify(const char *data, size_t len, const char *keyring, struct buf *text, struct err *e);

/* text[0..len): what was signed. -ERR_FORMAT: without Date or SHA256 list. */
int inrelease_parse(const char *text, size_t len, struct inrelease **out, struct err *e);
void inrelease_free(struct inrelease *r);
DEFINE_CLEANUP(struct inrelease *, inrelease_free);

/* It must be for suite (its Suite or Codename), and be valid at now: -ERR_SIGNATURE for another suite's, -ERR_EXPIRED. */
int inrelease_check(const struct inrelease *r, const char *suite, int64_t now, struct err *e);

const struct inrelease_file *inrelease_find(const struct inrelease *r, const char *path); /* NULL: not listed */

/* "2026-09-12T07:55:41Z"; caller frees. */
char *time_format(int64_t t);
