/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/signature.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>

#include "swupd/base/err.h"
#include "swupd/base/text.h"
#include "swupd/content/certificate.h"
#include "swupd/content/format.h"

#define SIGNERS_MAX  16 /* in one signature: a change of keys needs two; each costs the checking of a chain */
#define CHAIN_MAX    8  /* certificates between a signer and its anchor */
#define STRENGTH_SET 2  /* the security level that is STRENGTH_BITS_MIN, SSL_CTX_set_security_level(3) */

DEFINE_CLEANUP(CMS_ContentInfo *, CMS_ContentInfo_free);
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free);

typedef STACK_OF(CMS_SignerInfo) signer_stack;

static void lent_certificates_free(x509_stack *certs)
{
	sk_X509_free(certs);
}
DEFINE_CLEANUP(x509_stack *, lent_certificates_free);

struct anchors {
	x509_stack *certs;
};

int anchors_load(const char *pem, size_t len, int64_t now, struct anchors **out, struct err *e)
{
	_cleanup_(certificates_freep) x509_stack *certs = NULL;
	int r = certificates_parse(pem, len, &certs, e);

	if (r < 0)
		return r;
	for (int i = 0; i < sk_X509_num(certs); i++) {
		if (certificate_valid_at(sk_X509_value(certs, i), now)) {
			*out = xcalloc(1, sizeof(**out));
			(*out)->certs = take(certs);
			return 0;
		}
	}
	_cleanup_free_ char *subject = certificate_subject(sk_X509_value(certs, 0));
	_cleanup_free_ char *validity = certificate_validity(sk_X509_value(certs, 0));
	_cleanup_free_ char *today = text_time(now);
	return err_set(e, -ERR_EXPIRED, "certificate '%s' is valid from %s, and it is %s", subject, validity, today);
}

void anchors_free(struct anchors *a)
{
	if (!a)
		return;
	certificates_free(a->certs);
	free(a);
}

char *anchors_describe(const struct anchors *a)
{
	struct buf b = {0};

	for (int i = 0; i < sk_X509_num(a->certs); i++) {
		_cleanup_free_ char *line = certificate_describe(sk_X509_value(a->certs, i));
		buf_printf(&b, "%s\n", line);
	}
	return b.data;
}

bool anchors_have(const struct anchors *a, const X509 *cert)
{
	for (int i = 0; i < sk_X509_num(a->certs); i++)
		if (X509_cmp(sk_X509_value(a->certs, i), cert) == 0)
			return true;
	return false;
}

static int bad(struct err *e, const char *why)
{
	return err_set(e, -ERR_SIGNATURE, "signature is %s", why);
}

static bool digest_is_strong(int nid)
{
	return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

/* The digest that is computed is digestAlgorithm's; the one in a name like ecdsa-with-SHA1 must be no weaker. */
static bool algorithms_are_strong(CMS_SignerInfo *si)
{
	X509_ALGOR *digest, *signature;
	int combined = NID_undef;

	CMS_SignerInfo_get0_algs(si, NULL, NULL, &digest, &signature);
	if (OBJ_find_sigid_algs(OBJ_obj2nid(signature->algorithm), &combined, NULL) != 1)
		combined = NID_undef;
	return digest_is_strong(OBJ_obj2nid(digest->algorithm)) &&
	       (combined == NID_undef || digest_is_strong(combined));
}

static int signature_parse(const void *sig, size_t len, CMS_ContentInfo **out, struct err *e)
{
	const unsigned char *p = sig;

	if (len > SIGNATURE_MAX)
		return err_set(e, -ERR_LIMIT, "signature is larger than %lu bytes", SIGNATURE_MAX);
	_cleanup_(CMS_ContentInfo_freep) CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);
	if (!cms)
		return bad(e, "damaged (not CMS in DER)");
	if (p != (const unsigned char *)sig + len)
		return bad(e, "followed by other bytes");
	const signer_stack *signers = CMS_get0_SignerInfos(cms);
	if (!signers || OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data)
		return bad(e, "of another kind (CMS, but not signed data)");
	if (CMS_is_detached(cms) != 1)
		return bad(e, "not detached");
	if (sk_CMS_SignerInfo_num(signers) == 0)
		return bad(e, "by nobody (no signer in it)");
	if (sk_CMS_SignerInfo_num(signers) > SIGNERS_MAX)
		return bad(e, "by too many signers");
	for (int i = 0; i < sk_CMS_SignerInfo_num(signers); i++)
		if (!algorithms_are_strong(sk_CMS_SignerInfo_value(signers, i)))
			return bad(e, "made with a weak digest (SHA-256, SHA-384 and SHA-512 are accepted)");
	*out = take(cms);
	return 0;
}

/* Does cert lead to an anchor? now NULL: at any time. An X509_V_* code; *culprit (owned): the one that it is about. */
static int chain_check(const struct anchors *a, X509 *cert, x509_stack *others, const int64_t *now, X509 **culprit)
{
	_cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *c = X509_STORE_CTX_new();

	crypto_must(c && X509_STORE_CTX_init(c, NULL, cert, others) == 1);
	X509_STORE_CTX_set0_trusted_stack(c, a->certs);
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(c);
	X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY);
	X509_VERIFY_PARAM_set_auth_level(param, STRENGTH_SET);
	X509_VERIFY_PARAM_set_depth(param, CHAIN_MAX);
	/* an anchor need not be self-signed, nor an authority */
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	if (now)
		X509_VERIFY_PARAM_set_time(param, (time_t)*now);
	else
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_NO_CHECK_TIME);
	if (X509_verify_cert(c) == 1)
		return X509_V_OK;
	int why = X509_STORE_CTX_get_error(c);
	X509 *current = X509_STORE_CTX_get_current_cert(c);
	if (current && X509_up_ref(current) == 1)
		*culprit = current;
	return why != X509_V_OK ? why : X509_V_ERR_UNSPECIFIED;
}

static int signer_verify(const struct anchors *a, X509 *signer, x509_stack *others, int64_t now, struct err *e)
{
	_cleanup_(X509_freep) X509 *culprit = NULL;
	_cleanup_(X509_freep) X509 *other = NULL;
	int why = chain_check(a, signer, others, &now, &culprit);

	if (why == X509_V_OK)
		return 0;
	bool dates = why == X509_V_ERR_CERT_HAS_EXPIRED || why == X509_V_ERR_CERT_NOT_YET_VALID;
	if (dates)
		why = chain_check(a, signer, others, NULL, &other);
	if (why == X509_V_OK) {
		_cleanup_free_ char *subject = certificate_subject(culprit ? culprit : signer);
		_cleanup_free_ char *validity = certificate_validity(culprit ? culprit : signer);
		_cleanup_free_ char *today = text_time(now);
		return err_set(e, -ERR_EXPIRED, "signature rests on '%s', which is valid from %s, and it is %s",
			       subject, validity, today);
	}
	_cleanup_free_ char *subject = certificate_subject(signer);
	return err_set(e, -ERR_SIGNATURE, "signature is by '%s', which is not a key we trust (%s)", subject,
		       X509_verify_cert_error_string(why));
}

static int signers_verify(const struct anchors *a, CMS_ContentInfo *cms, int64_t now, struct err *e)
{
	/* returns how many are known; a signer that is not in the signature is looked for among the anchors */
	int known = CMS_set1_signers_certs(cms, a->certs, 0);

	if (known < sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)))
		return bad(e, "not by a key we trust (the signer's certificate is missing)");
	_cleanup_(certificates_freep) x509_stack *others = CMS_get1_certs(cms);
	_cleanup_(lent_certificates_freep) x509_stack *signers = CMS_get0_signers(cms);
	crypto_must(signers);
	for (int i = 0; i < sk_X509_num(signers); i++) {
		int r = signer_verify(a, sk_X509_value(signers, i), others, now, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The mathematics, once the certificates of all signers are set and trusted */
static int content_verify(CMS_ContentInfo *cms, const void *data, size_t len, struct err *e)
{
	_cleanup_(BIO_free_allp) BIO *memory = NULL;
	int r = crypto_reader(data, len, &memory, e);

	if (r < 0)
		return r;
	/* of a BIO in memory CMS_verify makes another one, which it loses when there is a digest that it does not know (OpenSSL 3.0.19) */
	BIO *filter = BIO_new(BIO_f_null());
	crypto_must(filter);
	_cleanup_(BIO_free_allp) BIO *in = BIO_push(filter, take(memory));
	if (CMS_verify(cms, NULL, NULL, in, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) == 1)
		return 0;
	return bad(e, "not of this content");
}

static int verify(const struct anchors *a, const void *data, size_t len, const void *sig, size_t sig_len, int64_t now,
		  struct err *e)
{
	_cleanup_(CMS_ContentInfo_freep) CMS_ContentInfo *cms = NULL;
	int r = signature_parse(sig, sig_len, &cms, e);

	if (r == 0)
		r = signers_verify(a, cms, now, e);
	if (r == 0)
		r = content_verify(cms, data, len, e);
	return r;
}

int signature_verify(const struct anchors *a, const void *data, size_t len, const void *sig, size_t sig_len,
		     int64_t now, struct err *e)
{
	ERR_clear_error();
	int r = verify(a, data, len, sig, sig_len, now, e);
	ERR_clear_error();
	return r;
}

static int verify_by(X509 *cert, const void *data, size_t len, const void *sig, size_t sig_len, struct err *e)
{
	_cleanup_(CMS_ContentInfo_freep) CMS_ContentInfo *cms = NULL;
	const EVP_PKEY *key = X509_get0_pubkey(cert);
	int r = signature_parse(sig, sig_len, &cms, e);

	if (r < 0)
		return r;
	if (!key || EVP_PKEY_get_security_bits(key) < STRENGTH_BITS_MIN)
		return bad(e, "by a weak key");
	const signer_stack *signers = CMS_get0_SignerInfos(cms);
	if (sk_CMS_SignerInfo_num(signers) != 1)
		return bad(e, "by several signers");
	if (CMS_SignerInfo_cert_cmp(sk_CMS_SignerInfo_value(signers, 0), cert) != 0)
		return bad(e, "by another key");
	CMS_SignerInfo_set1_signer_cert(sk_CMS_SignerInfo_value(signers, 0), cert);
	return content_verify(cms, data, len, e);
}

int signature_verify_by(X509 *cert, const void *data, size_t len, const void *sig, size_t sig_len, struct err *e)
{
	ERR_clear_error();
	int r = verify_by(cert, data, len, sig, sig_len, e);
	ERR_clear_error();
	return r;
}
