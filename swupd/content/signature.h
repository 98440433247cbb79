/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct buf;
struct err;
struct x509_st; /* OpenSSL's X509 */

/*
 * Detached CMS signatures in DER (spec/swupd-format.md section 7). One profile is accepted:
 *
 *     signed data without content of its own, and nothing behind it; binary, with or without signed attributes
 *     1..16 signers; each one's certificate is in the signature or among the anchors, and leads to an anchor
 *     SHA-256, SHA-384 or SHA-512; keys and certificates of at least 112 bits of security (RSA-2048, no SHA-1)
 *
 * An anchor is trusted as it is, whether it is an authority's or a signer's own certificate. The purpose that a
 * certificate states is not looked at: the predecessor did not, so its signers' certificates state anything.
 */
struct anchors;

/*
 * pem[0..len): one or more certificates; other text around them is skipped. -ERR_FORMAT: none, or a damaged one.
 * -ERR_EXPIRED: none of them is valid at now.
 */
int anchors_load(const char *pem, size_t len, int64_t now, struct anchors **out, struct err *e);
void anchors_free(struct anchors *a);
DEFINE_CLEANUP(struct anchors *, anchors_free);

/* Subject, key, validity, SHA-256 of each certificate's DER, a line each; caller frees. */
char *anchors_describe(const struct anchors *a);

/* Is this very certificate one of them? */
bool anchors_have(const struct anchors *a, const struct x509_st *cert);

/*
 * -ERR_SIGNATURE with the reason; -ERR_EXPIRED when only validity dates are wrong (also: not valid yet); -ERR_LIMIT:
 * larger than SIGNATURE_MAX. now: seconds since 1970.
 */
int signature_verify(const struct anchors *a, const void *data, size_t len, const void *sig, size_t sig_len,
		     int64_t now, struct err *e);

/*
 * Was it made by this certificate's key, and by no other? Neither the issuer nor the validity of cert matters: for a
 * key that is trusted by name. Errors as above, -ERR_EXPIRED excepted.
 */
int signature_verify_by(struct x509_st *cert, const void *data, size_t len, const void *sig, size_t sig_len,
			struct err *e);

/*
 * What signs: a PEM key file, a key that an OpenSSL provider names (a URI, "pkcs11:…"), or a command that gets the
 * data on stdin and writes the DER signature to stdout (a key on another machine). Nothing asks for a passphrase: an
 * encrypted key file is refused.
 */
struct signer {
	const char *cert;    /* PEM file, the signer's first; those behind it (intermediates) go into the signature */
	const char *key;     /* PEM file or URI; NULL with command */
	const char *command; /* argv split at blanks, no shell; NULL with key */
};

/*
 * The signature is added to sig: one signer, SHA-256, no signed attributes, hence no time in it (with an RSA key the
 * same bytes each time; ECDSA is random by nature). It is verified with s->cert before it is handed out, but for the
 * dates: an expired key may still sign its successor. -ERR_CONFIG: the key does not belong to the certificate, or
 * neither or both of key and command are given; -ERR_CHILD: the command failed.
 */
int signature_make(const struct signer *s, const void *data, size_t len, struct buf *sig, struct err *e);

enum key_type { KEY_ECDSA_P256, KEY_RSA_4096 };

/*
 * Make a key (PKCS #8 in PEM, mode 0600) and a self-signed certificate for it (PEM, mode 0644) as files in dirfd.
 * -EEXIST: one of the files is there; it is never overwritten. On failure neither is left behind. The serial number
 * is random, the validity starts at now; years: its length, 1..1000.
 */
int signature_create_key(int dirfd, const char *key, const char *cert, enum key_type type, const char *common_name,
			 unsigned years, int64_t now, struct err *e);
