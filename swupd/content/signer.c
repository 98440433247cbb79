/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/signature.h"

#include <fcntl.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/store.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/content/certificate.h"
#include "swupd/content/format.h"

#define YEARS_MAX   1000
#define LAST_SECOND 253402300799 /* of the year 9999: X.509 writes four digits */

DEFINE_CLEANUP(CMS_ContentInfo *, CMS_ContentInfo_free);
DEFINE_CLEANUP(OSSL_STORE_CTX *, OSSL_STORE_close);
DEFINE_CLEANUP(OSSL_STORE_INFO *, OSSL_STORE_INFO_free);
DEFINE_CLEANUP(X509_EXTENSION *, X509_EXTENSION_free);

static void secret_free(struct buf *b)
{
	if (b->data)
		OPENSSL_cleanse(b->data, b->cap);
	buf_free(b);
}

/* In place of OpenSSL's own, which asks on the terminal */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
	(void)buf, (void)size, (void)writing;
	*(bool *)asked = true;
	return -1;
}

static int key_from_file(const char *name, EVP_PKEY **out, struct err *e)
{
	_cleanup_(secret_free) struct buf pem = {0};
	_cleanup_(BIO_free_allp) BIO *in = NULL;
	bool asked = false;

	int r = fs_load(AT_FDCWD, name, SMALL_TEXT_MAX, &pem, e);
	if (r == 0)
		r = crypto_reader(pem.data, pem.len, &in, e);
	if (r < 0)
		return err_in(e, r, "cannot read the key");
	*out = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &asked);
	if (*out)
		return 0;
	if (asked) {
		err_set(e, -ERR_CONFIG, "key '%s' is encrypted", name);
		return err_hint(e, -ERR_CONFIG, "a signing command or a provider's URI can ask for its passphrase");
	}
	return err_set(e, -ERR_CONFIG, "key '%s' is not a private key in PEM", name);
}

static int key_from_store(const char *uri, EVP_PKEY **out, struct err *e)
{
	_cleanup_(OSSL_STORE_closep) OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);

	while (store && !*out && !OSSL_STORE_eof(store)) {
		_cleanup_(OSSL_STORE_INFO_freep) OSSL_STORE_INFO *info = OSSL_STORE_load(store);
		if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
			*out = OSSL_STORE_INFO_get1_PKEY(info);
		if (!info && OSSL_STORE_error(store))
			break;
	}
	if (*out)
		return 0;
	_cleanup_free_ char *why = crypto_reason();
	err_set(e, -ERR_CONFIG, "no private key at '%s' (%s)", uri, why);
	return err_hint(e, -ERR_CONFIG, "the provider for it must be named in OpenSSL's configuration");
}

/* A scheme as in RFC 3986 before the first ':'. A file of such a name is reached by "./". */
static bool is_uri(const char *key)
{
	size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

	return n > 1 && key[n] == ':';
}

static int sign_with_key(const struct signer *s, x509_stack *certs, const void *data, size_t len, struct buf *sig,
			 struct err *e)
{
	const unsigned flags = CMS_BINARY | CMS_DETACHED | CMS_NOATTR;
	_cleanup_(CMS_ContentInfo_freep) CMS_ContentInfo *cms = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(BIO_free_allp) BIO *in = NULL;
	X509 *cert = sk_X509_value(certs, 0);

	int r = is_uri(s->key) ? key_from_store(s->key, &key, e) : key_from_file(s->key, &key, e);
	if (r == 0)
		r = crypto_reader(data, len, &in, e);
	if (r < 0)
		return r;
	if (X509_check_private_key(cert, key) != 1)
		return err_set(e, -ERR_CONFIG, "key '%s' does not belong to certificate '%s'", s->key, s->cert);
	cms = CMS_sign(NULL, NULL, NULL, NULL, flags | CMS_PARTIAL);
	crypto_must(cms);
	bool ok = CMS_add1_signer(cms, cert, key, EVP_sha256(), flags) != NULL;
	for (int i = 1; ok && i < sk_X509_num(certs); i++)
		ok = CMS_add1_cert(cms, sk_X509_value(certs, i)) == 1;
	if (!ok || CMS_final(cms, in, NULL, flags) != 1) {
		_cleanup_free_ char *why = crypto_reason();
		return err_set(e, -ERR_CONFIG, "cannot sign with key '%s' (%s)", s->key, why);
	}
	int n = i2d_CMS_ContentInfo(cms, NULL);
	crypto_must(n > 0);
	unsigned char *p = (unsigned char *)buf_reserve(sig, (size_t)n);
	crypto_must(i2d_CMS_ContentInfo(cms, &p) == n);
	sig->len += (size_t)n;
	sig->data[sig->len] = '\0';
	return 0;
}

static int sign_with_command(const struct signer *s, const void *data, size_t len, struct buf *sig, struct err *e)
{
	_cleanup_(strv_free) struct strv argv = {0};

	strv_split(&argv, s->command, " \t");
	if (argv.n == 0)
		return err_set(e, -ERR_CONFIG, "the signing command is empty");
	strv_take(&argv, NULL);
	int r = proc_check(&(struct proc){.argv = (const char *const *)argv.items,
					  .dirfd = AT_FDCWD,
					  .input = data ? data : "",
					  .input_len = len,
					  .out = sig},
			   e);
	return r < 0 ? err_in(e, r, "signing command") : 0;
}

int signature_make(const struct signer *s, const void *data, size_t len, struct buf *sig, struct err *e)
{
	_cleanup_(certificates_freep) x509_stack *certs = NULL;
	_cleanup_(buf_free) struct buf made = {0};

	if (!s->cert || !s->key == !s->command)
		return err_set(e, -ERR_CONFIG, "a signer needs a certificate, and either a key or a command");
	ERR_clear_error();
	int r = certificates_load(s->cert, &certs, e);
	if (r == 0)
		r = s->command ? sign_with_command(s, data, len, &made, e)
			       : sign_with_key(s, certs, data, len, &made, e);
	ERR_clear_error();
	if (r < 0)
		return r;
	r = signature_verify_by(sk_X509_value(certs, 0), data, len, made.data, made.len, e);
	if (r < 0)
		return err_in(e, r, "%s '%s' did not sign as certificate '%s' would", s->command ? "command" : "key",
			      s->command ? s->command : s->key, s->cert);
	buf_add(sig, made.data, made.len);
	return 0;
}

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	_cleanup_(X509_EXTENSION_freep) X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	crypto_must(x && X509_add_ext(cert, x, -1) == 1);
}

/* 128 random bits, as nobody else's: a signature names its signer by issuer and serial number */
static void set_serial(X509 *cert)
{
	unsigned char bytes[16];

	crypto_must(RAND_bytes(bytes, sizeof(bytes)) == 1);
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and always of the same length */
	BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	crypto_must(n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)));
	BN_free(n);
}

static int set_validity(X509 *cert, unsigned years, int64_t now, struct err *e)
{
	time_t from = (time_t)now;
	struct tm tm;

	if (years == 0 || years > YEARS_MAX || !gmtime_r(&from, &tm))
		return err_set(e, -EINVAL, "a certificate is valid for 1 to %d years", YEARS_MAX);
	tm.tm_year += (int)years;
	time_t to = timegm(&tm);
	if (now < 0 || to > LAST_SECOND)
		return err_set(e, -EINVAL, "a certificate is valid between the years 1970 and 9999");
	crypto_must(ASN1_TIME_set(X509_getm_notBefore(cert), from) && ASN1_TIME_set(X509_getm_notAfter(cert), to));
	return 0;
}

static int certificate_make(EVP_PKEY *key, const char *common_name, unsigned years, int64_t now, X509 **out,
			    struct err *e)
{
	_cleanup_(X509_freep) X509 *cert = X509_new();

	crypto_must(cert && X509_set_version(cert, X509_VERSION_3) == 1 && X509_set_pubkey(cert, key) == 1);
	set_serial(cert);
	int r = set_validity(cert, years, now, e);
	if (r < 0)
		return r;
	X509_NAME *name = X509_get_subject_name(cert);
	if (!*common_name || X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
							(const unsigned char *)common_name, -1, -1, 0) != 1)
		return err_set(e, -EINVAL, "name '%s' is not 1 to 64 characters of UTF-8", common_name);
	crypto_must(X509_set_issuer_name(cert, name) == 1);
	/*
	 * As the predecessor's mixer does. keyCertSign is at odds with CA:FALSE, but without it OpenSSL before 3.0,
	 * so the predecessor's client, does not take the certificate as its own issuer (v3_purp.c, EXFLAG_SS).
	 */
	add_extension(cert, NID_basic_constraints, "critical,CA:FALSE");
	add_extension(cert, NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign");
	add_extension(cert, NID_ext_key_usage, "codeSigning");
	add_extension(cert, NID_subject_key_identifier, "hash");
	crypto_must(X509_sign(cert, key, EVP_sha256()) > 0);
	*out = take(cert);
	return 0;
}

static int write_new(int dirfd, const char *name, mode_t mode, BIO *pem, struct err *e)
{
	char *text;
	long len = BIO_get_mem_data(pem, &text);
	_cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	crypto_must(len > 0);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, -EEXIST, "'%s' exists already and is not overwritten", name);
	if (fd < 0)
		return err_errno(e, "%s", name);
	int r = fs_write_all(fd, text, (size_t)len, e);
	if (r == 0 && fsync(fd) < 0)
		r = err_errno(e, "fsync");
	if (r < 0) {
		(void)unlinkat(dirfd, name, 0);
		return err_in(e, r, "%s", name);
	}
	return 0;
}

int signature_create_key(int dirfd, const char *key, const char *cert, enum key_type type, const char *common_name,
			 unsigned years, int64_t now, struct err *e)
{
	_cleanup_(BIO_free_allp) BIO *key_pem = BIO_new(BIO_s_secmem());
	_cleanup_(BIO_free_allp) BIO *cert_pem = BIO_new(BIO_s_mem());
	_cleanup_(X509_freep) X509 *made = NULL;

	/* before the work of seconds that RSA is; write_new decides */
	for (int i = 0; i < 2; i++)
		if (fs_exists(dirfd, i ? cert : key))
			return err_set(e, -EEXIST, "'%s' exists already and is not overwritten", i ? cert : key);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *pkey = type == KEY_RSA_4096 ? EVP_RSA_gen(4096U) : EVP_EC_gen("P-256");
	crypto_must(key_pem && cert_pem && pkey);
	int r = certificate_make(pkey, common_name, years, now, &made, e);
	if (r < 0)
		return err_in(e, r, "cannot make a certificate");
	crypto_must(PEM_write_bio_PKCS8PrivateKey(key_pem, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
		    PEM_write_bio_X509(cert_pem, made) == 1);
	r = write_new(dirfd, key, 0600, key_pem, e);
	if (r < 0)
		return err_in(e, r, "cannot write the key");
	r = write_new(dirfd, cert, 0644, cert_pem, e);
	if (r < 0) {
		(void)unlinkat(dirfd, key, 0);
		return err_in(e, r, "cannot write the certificate");
	}
	r = fs_sync_dir(dirfd, ".", e);
	if (r < 0) {
		(void)unlinkat(dirfd, key, 0);
		(void)unlinkat(dirfd, cert, 0);
	}
	return r;
}
