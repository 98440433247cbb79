/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/content/digest.h"

struct buf;
struct err;

/*
 * Detached CMS signatures in DER (spec/swupd-format.md section 7). One profile is accepted: detached, binary, at least one signer whose certificate chains
 * to an anchor and is valid at the given time.
 */
struct anchors;

/* pem[0..len): one or more certificates. -ERR_FORMAT: none. -ERR_EXPIRED: none of them is valid at now. */
int anchors_load(const char *pem, size_t len, int64_t now, struct anchors **out, struct err *e);
void anchors_free(struct anchors *a);
char *anchors_describe(
	const struct anchors *a); /* subject, key, validity, SHA-256 of each certificate, a line each; caller frees */

/* -ERR_SIGNATURE with the reason; -ERR_EXPIRED when only the validity dates are wrong. now: seconds since 1970. */
int signature_verify(const struct anchors *a, const void *data, size_t len, const void *sig, size_t sig_len,
		     int64_t now, struct err *e);

/*
 * What signs: a PEM key file, a key that an OpenSSL provider or engine names (a URI, "pkcs11:…"), or a command that gets the data on stdin and writes the
 * DER signature to stdout (a key on another machine).
 */
struct signer {
	const char *cert;    /* PEM file; also used to check each result before it is published */
	const char *key;     /* PEM file or URI; NULL with command */
	const char *command; /* argv split at blanks, no shell; NULL with key */
};
int signature_make(const struct signer *s, const void *data, size_t len, struct buf *sig, struct err *e);

enum key_type { KEY_ECDSA_P256, KEY_RSA_4096 };

/*
 * Make a key and a self-signed certificate for it as files in dirfd (key 0600). -EEXIST: one of the files is there; it is never overwritten.
 * serial and validity start at now; years: its length.
 */
int signature_create_key(int dirfd, const char *key, const char *cert, enum key_type type, const char *common_name,
			 unsigned years, int64_t now, struct err *e);
