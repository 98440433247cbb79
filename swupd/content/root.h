/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/signature.h"

struct buf;
struct err;
struct strv;

/*
 * root(5): which keys may sign. Root N+1 must be signed by at least threshold(N) of the root keys of N and
 * threshold(N+1) of those of N+1, in the manner of TUF. Release keys sign MoM, latest and freshness.
 *
 *     ROOT\t1\n
 *     number:\t2\n
 *     threshold:\t1\n
 *     root-key:\t<sha256 of the certificate's DER>\n      one or more
 *     release-key:\t<sha256 of the certificate's DER>\n   one or more
 *     \n
 *     the certificates named above, in PEM, each once, in the order in which they are first named
 *     -----BEGIN CMS-----\n … one block per signature, each by one key, over all bytes before the first block …
 *
 * How a client gets from what it trusts to the newest keys: see freshness.h.
 */
#define ROOT_KEYS_MAX   32 /* of each role; SMALL_TEXT_MAX allows no more of the usual size */
#define ROOT_BLOCKS_MAX 64 /* signatures in one file: the keys of two roots */

struct root_keys;

/*
 * Parse without verifying. text[0..len) is copied. -ERR_FORMAT: not of exactly that form, or two root keys are one; the
 * message names the line. -ERR_LIMIT: larger than SMALL_TEXT_MAX, or more keys or signatures than above.
 */
int root_parse(const char *text, size_t len, struct root_keys **out, struct err *e);
void root_free(struct root_keys *r);
DEFINE_CLEANUP(struct root_keys *, root_free);

uint32_t root_number(const struct root_keys *r);
uint32_t root_threshold(const struct root_keys *r);

/*
 * Is next a valid successor of cur? cur NULL: is next signed by its own threshold? That alone is no reason to trust
 * it (anybody can make such a file): root_verify_first. Validity dates do not matter here: a machine that was
 * switched off for years walks along keys that expired meanwhile. -ERR_SIGNATURE: too few of the keys signed;
 * -ERR_STALE: not newer than cur; -ERR_FORMAT: a number was skipped.
 */
int root_verify(const struct root_keys *cur, const struct root_keys *next, struct err *e);

/*
 * May first be believed by who has only the installed certificates? It must be number 1 (else -ERR_FORMAT), be signed
 * by its own threshold, and by one of its root keys that is an anchor (else -ERR_SIGNATURE).
 */
int root_verify_first(const struct root_keys *first, const struct anchors *a, struct err *e);

/* The release keys as anchors. -ERR_EXPIRED: none is valid at now. */
int root_anchors(const struct root_keys *r, int64_t now, struct anchors **out, struct err *e);

/* Number, threshold and keys for people, a line each; caller frees. */
char *root_describe(const struct root_keys *r);

/* The certificates of one role, each as PEM, in the order of the file; added to pem. */
enum root_role { ROOT_KEYS, RELEASE_KEYS };
void root_certificates(const struct root_keys *r, enum root_role role, struct strv *pem);

/* The one certificate of a PEM file, in the same form; caller frees. -ERR_FORMAT: none or several. */
int root_certificate_load(const char *file, char **pem, struct err *e);

/*
 * Is this the signature of one of the release keys, whatever their dates? For who signs anew what an old key signed;
 * to believe something, use root_anchors.
 */
bool root_signed_release(const struct root_keys *r, const void *data, size_t len, const void *sig, size_t sig_len);

/*
 * Write root number with these certificates (PEM files, one certificate each), signed by each signer; the text is
 * added to out. A file may be signed at several places: with n_signers 0 the text has no signature yet, and root_sign
 * adds one. Whether enough have signed is for root_verify to say.
 */
int root_write(uint32_t number, uint32_t threshold, const struct strv *root_certs, const struct strv *release_certs,
	       const struct signer *signers, size_t n_signers, struct buf *out, struct err *e);

/* Add one more signature to the text of a root file. */
int root_sign(const struct signer *s, struct buf *text, struct err *e);
