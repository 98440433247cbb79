/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/certificate.h"

#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <time.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"

void crypto_must(bool ok)
{
	if (!ok)
		abort();
}

char *crypto_reason(void)
{
	const char *data = NULL;
	int flags = 0;
	unsigned long code = ERR_peek_last_error_data(&data, &flags);
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	char *out = data && *data && (flags & ERR_TXT_STRING)
			    ? xasprintf("%s: %s", reason ? reason : "unknown reason", data)
			    : xstrdup(reason ? reason : "unknown reason");

	ERR_clear_error();
	return out;
}

int crypto_reader(const void *data, size_t len, BIO **out, struct err *e)
{
	if (len > INT_MAX)
		return err_set(e, -ERR_LIMIT, "larger than 2 GiB");
	/* NULL is not taken even for nothing */
	BIO *b = BIO_new_mem_buf(data ? data : "", (int)len);
	crypto_must(b);
	*out = b;
	return 0;
}

void certificates_free(x509_stack *certs)
{
	sk_X509_pop_free(certs, X509_free);
}

int certificates_parse(const char *pem, size_t len, x509_stack **out, struct err *e)
{
	_cleanup_(BIO_free_allp) BIO *in = NULL;
	_cleanup_(certificates_freep) x509_stack *certs = sk_X509_new_null();

	crypto_must(certs);
	int r = crypto_reader(pem, len, &in, e);
	if (r < 0)
		return r;
	ERR_clear_error();
	for (;;) {
		X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
		if (!cert)
			break;
		crypto_must(sk_X509_push(certs, cert) > 0);
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		_cleanup_free_ char *why = crypto_reason();
		return err_set(e, -ERR_FORMAT, "certificate %d is damaged (%s)", sk_X509_num(certs) + 1, why);
	}
	ERR_clear_error();
	if (sk_X509_num(certs) == 0)
		return err_set(e, -ERR_FORMAT, "there is no certificate in PEM");
	*out = take(certs);
	return 0;
}

int certificates_load(const char *name, x509_stack **out, struct err *e)
{
	_cleanup_(buf_free) struct buf pem = {0};
	int r = fs_load(AT_FDCWD, name, SIGNATURE_MAX, &pem, e);

	if (r < 0)
		return err_in(e, r, "cannot read the certificate");
	r = certificates_parse(pem.data, pem.len, out, e);
	return r < 0 ? err_in(e, r, "%s", name) : 0;
}

int certificate_parse(const void *der, size_t len, X509 **out, struct err *e)
{
	const unsigned char *p = der;

	ERR_clear_error();
	_cleanup_(X509_freep) X509 *cert = len <= LONG_MAX ? d2i_X509(NULL, &p, (long)len) : NULL;
	if (!cert) {
		_cleanup_free_ char *why = crypto_reason();
		return err_set(e, -ERR_FORMAT, "the certificate is damaged (%s)", why);
	}
	if (p != (const unsigned char *)der + len)
		return err_set(e, -ERR_FORMAT, "something follows the certificate");
	*out = take(cert);
	return 0;
}

void certificate_digest(const X509 *cert, struct digest *out)
{
	crypto_must(X509_digest(cert, EVP_sha256(), out->bytes, NULL) == 1);
}

void certificate_der(const X509 *cert, struct buf *out)
{
	int len = i2d_X509(cert, NULL);

	crypto_must(len > 0);
	unsigned char *p = (unsigned char *)buf_reserve(out, (size_t)len);
	crypto_must(i2d_X509(cert, &p) == len);
	out->len += (size_t)len;
	out->data[out->len] = '\0';
}

char *certificate_subject(const X509 *cert)
{
	_cleanup_(BIO_free_allp) BIO *out = BIO_new(BIO_s_mem());
	char *text;

	crypto_must(out);
	/* as in RFC 2253, but UTF-8 stays readable; control characters are escaped */
	X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	long len = BIO_get_mem_data(out, &text);
	return len > 0 ? xstrndup(text, (size_t)len) : xstrdup("(no name)");
}

static bool time_of(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = timegm(&tm);
	return true;
}

bool certificate_valid_at(const X509 *cert, int64_t now)
{
	int64_t from, to;

	return time_of(X509_get0_notBefore(cert), &from) && time_of(X509_get0_notAfter(cert), &to) && from <= now &&
	       now <= to;
}

char *certificate_validity(const X509 *cert)
{
	int64_t from, to;

	if (!time_of(X509_get0_notBefore(cert), &from) || !time_of(X509_get0_notAfter(cert), &to))
		return xstrdup("no valid dates");
	_cleanup_free_ char *a = text_time(from);
	_cleanup_free_ char *b = text_time(to);
	return xasprintf("%s to %s", a, b);
}

char *certificate_describe(const X509 *cert)
{
	const EVP_PKEY *key = X509_get0_pubkey(cert);
	const char *type = key ? EVP_PKEY_get0_type_name(key) : NULL;
	char hex[DIGEST_HEX];
	struct digest d;

	certificate_digest(cert, &d);
	digest_format(&d, hex);
	_cleanup_free_ char *subject = certificate_subject(cert);
	_cleanup_free_ char *validity = certificate_validity(cert);
	return xasprintf("%s; %s %d; %s; sha256 %s", subject, type ? type : "unknown key",
			 key ? EVP_PKEY_get_bits(key) : 0, validity, hex);
}
