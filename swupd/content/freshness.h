/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/content/digest.h"
#include "swupd/content/signature.h"

struct buf;
struct err;
struct strv;

/*
 * freshness(5): one small signed file per format that says which release is the newest, when that was said and until when it may be believed. It
 * replaces latest + latest.sig for our client (one request, and a mirror cannot freeze or roll back unnoticed).
 *
 *     FRESHNESS\t1\n
 *     format:\t30\n
 *     release:\t20\n
 *     time:\t1763700000\n        seconds since 1970, when it was signed
 *     expires:\t1766292000\n
 *     root:\t1\n                 the newest root file; 0: the tree has none
 *     mom:\t<64 hex>\n           file hash of that release's MoM (as a 0644 root:root file)
 *     \n
 *     -----BEGIN CMS-----\n … base64 of a detached DER signature over all bytes before … -----END CMS-----\n
 */
struct freshness {
	uint32_t format, release, root;
	int64_t time, expires;
	struct digest mom;
};

/* Parse without verifying: root tells which keys to learn first. signed_len: how many bytes of text the signature covers. */
int freshness_parse(const char *text, size_t len, struct freshness *out, size_t *signed_len, struct buf *sig,
		    struct err *e);

/* Parse and verify against the anchors. -ERR_SIGNATURE, -ERR_EXPIRED (expires < now), -ERR_CLOCK (time is over a day ahead of now). */
int freshness_read(const char *text, size_t len, const struct anchors *a, int64_t now, struct freshness *out,
		   struct err *e);
int freshness_write(const struct freshness *f, const struct signer *s, struct buf *out, struct err *e);

/*
 * root(5): which keys may sign. Root N+1 must be signed by at least threshold(N) of the root keys of N and threshold(N+1) of those of N+1, in the
 * manner of TUF. Release keys sign MoM, latest and freshness.
 *
 *     ROOT\t1\n
 *     number:\t2\n
 *     threshold:\t1\n
 *     root-key:\t<sha256 of the certificate's DER>\n      one or more
 *     release-key:\t<sha256 of the certificate's DER>\n   one or more
 *     \n
 *     the certificates named above, in PEM
 *     -----BEGIN CMS-----\n … one block per signature, over all bytes before the first block …
 */
struct root_keys;
int root_parse(const char *text, size_t len, struct root_keys **out, struct err *e);
void root_free(struct root_keys *r);
uint32_t root_number(const struct root_keys *r);

/* Is next (its text) a valid successor of cur (NULL: next must be signed by its own threshold only, for a first root that is trusted otherwise)? */
int root_verify(const struct root_keys *cur, const struct root_keys *next, struct err *e);

/* The release keys as anchors. */
int root_anchors(const struct root_keys *r, int64_t now, struct anchors **out, struct err *e);

/* Does one of the root keys equal one of the anchors? So a first root is tied to the certificate that is installed. */
bool root_has_anchor(const struct root_keys *r, const struct anchors *a);

/* Write root number with these certificates (PEM files), signed by each signer. */
int root_write(uint32_t number, uint32_t threshold, const struct strv *root_certs, const struct strv *release_certs,
	       const struct signer *signers, size_t n_signers, struct buf *out, struct err *e);
