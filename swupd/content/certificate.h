/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct buf;
struct err;

/*
 * X.509 certificates, and what else signature.c, signer.c and root.c share of libcrypto. Nobody else includes this: the
 * rest of the house knows anchors and signers.
 */
DEFINE_CLEANUP(X509 *, X509_free);
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free);
DEFINE_CLEANUP(BIO *, BIO_free_all);

typedef STACK_OF(X509) x509_stack;
void certificates_free(x509_stack *certs);
DEFINE_CLEANUP(x509_stack *, certificates_free);

#define STRENGTH_BITS_MIN 112 /* RSA-2048, SHA-256 and better: OpenSSL's security level 2, Debian's default */

/* libcrypto fails here only for want of memory: the end of the program, as in mem.h. */
void crypto_must(bool ok);

/* Why libcrypto failed, in its own words; caller frees. Forgets the error. */
char *crypto_reason(void);

/* A read-only BIO over data[0..len), which must outlive it. -ERR_LIMIT: 2 GiB or more. */
int crypto_reader(const void *data, size_t len, BIO **out, struct err *e);

/* All certificates in a PEM text; what stands between them is skipped. -ERR_FORMAT: none, or a damaged one. */
int certificates_parse(const char *pem, size_t len, x509_stack **out, struct err *e);

/* The same from a file; name is relative to the working directory. */
int certificates_load(const char *name, x509_stack **out, struct err *e);

/* One certificate in DER, with nothing behind it. -ERR_FORMAT. */
int certificate_parse(const void *der, size_t len, X509 **out, struct err *e);

void certificate_digest(const X509 *cert, struct digest *out); /* SHA-256 of its DER */
void certificate_der(const X509 *cert, struct buf *out);       /* added to out */
char *certificate_subject(const X509 *cert);                   /* "CN=…,O=…", no control characters; caller frees */
bool certificate_valid_at(const X509 *cert, int64_t now);
char *certificate_validity(const X509 *cert); /* "2020-01-01 00:00:00 UTC to …"; caller frees */
char *certificate_describe(const X509 *cert); /* a line without '\n': subject; key; validity; digest; caller frees */
