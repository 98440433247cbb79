/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/root.h"

#include <inttypes.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/text.h"
#include "swupd/content/certificate.h"
#include "swupd/content/format.h"
#include "swupd/content/statement.h"

#define MAGIC "ROOT\t1"

struct key {
	struct digest id; /* of its certificate */
	X509 *cert;
	bool root, release; /* its roles */
};

struct root_keys {
	uint32_t number, threshold;
	struct key keys[2 * ROOT_KEYS_MAX]; /* in the order in which they are first named */
	size_t n_keys;
	struct buf text; /* the signed part */
	struct buf blocks[ROOT_BLOCKS_MAX];
	size_t n_blocks;
};

void root_free(struct root_keys *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_keys; i++)
		X509_free(r->keys[i].cert);
	for (size_t i = 0; i < r->n_blocks; i++)
		buf_free(&r->blocks[i]);
	buf_free(&r->text);
	free(r);
}

uint32_t root_number(const struct root_keys *r)
{
	return r->number;
}

uint32_t root_threshold(const struct root_keys *r)
{
	return r->threshold;
}

static struct key *key_find(struct root_keys *r, const struct digest *id)
{
	for (size_t i = 0; i < r->n_keys; i++)
		if (digest_equal(&r->keys[i].id, id))
			return &r->keys[i];
	return NULL;
}

/* The key of this name, made when it is new. */
static struct key *key_get(struct root_keys *r, const struct digest *id)
{
	struct key *k = key_find(r, id);

	if (!k) {
		k = &r->keys[r->n_keys++];
		k->id = *id;
	}
	return k;
}

/* The lines of one role. Returns how many there are. */
static int role_parse(struct statement *s, struct root_keys *r, const char *name, bool root, struct err *e)
{
	int n = 0;

	do {
		struct digest id;
		int res = statement_digest(s, name, &id, e);
		if (res < 0)
			return res;
		if (++n > ROOT_KEYS_MAX)
			return err_set(e, -ERR_LIMIT, "more than %d lines '%s:'", ROOT_KEYS_MAX, name);
		struct key *k = key_get(r, &id);
		if (root ? k->root : k->release)
			return err_set(e, -ERR_FORMAT, "line %u: this key is there already", s->line - 1);
		*(root ? &k->root : &k->release) = true;
	} while (statement_at(s, name));
	return n;
}

/* One person with two certificates for one key must not count as two. */
static int keys_are_distinct(const struct root_keys *r, struct err *e)
{
	for (size_t i = 0; i < r->n_keys; i++) {
		const EVP_PKEY *a = X509_get0_pubkey(r->keys[i].cert);
		if (!a || EVP_PKEY_get_security_bits(a) < STRENGTH_BITS_MIN)
			return err_set(e, -ERR_FORMAT, "key %zu is too weak or of an unknown kind", i + 1);
		for (size_t j = 0; r->keys[i].root && j < i; j++)
			if (r->keys[j].root && EVP_PKEY_eq(a, X509_get0_pubkey(r->keys[j].cert)) == 1)
				return err_set(e, -ERR_FORMAT, "root keys %zu and %zu are the same key", j + 1, i + 1);
	}
	return 0;
}

static int certificates_read(struct statement *s, struct root_keys *r, struct err *e)
{
	for (size_t i = 0; i < r->n_keys; i++) {
		_cleanup_(buf_free) struct buf der = {0};
		struct digest id;
		unsigned line = s->line;
		int res = statement_block(s, "CERTIFICATE", &der, e);
		if (res < 0)
			return res;
		sha256_mem(der.data, der.len, &id);
		if (!digest_equal(&id, &r->keys[i].id))
			return err_set(e, -ERR_FORMAT, "line %u: not the certificate of key %zu", line, i + 1);
		res = certificate_parse(der.data, der.len, &r->keys[i].cert, e);
		if (res < 0)
			return err_in(e, res, "line %u", line);
	}
	return keys_are_distinct(r, e);
}

static int blocks_read(struct statement *s, struct root_keys *r, struct err *e)
{
	while (statement_at_block(s, "CMS")) {
		if (r->n_blocks == ROOT_BLOCKS_MAX)
			return err_set(e, -ERR_LIMIT, "more than %d signatures", ROOT_BLOCKS_MAX);
		int res = statement_block(s, "CMS", &r->blocks[r->n_blocks], e);
		if (res < 0)
			return res;
		r->n_blocks++;
	}
	return statement_end(s, e);
}

static int parse(struct root_keys *r, const char *text, size_t len, struct err *e)
{
	struct statement s;

	int res = statement_open(&s, text, len, MAGIC, e);
	if (res == 0)
		res = statement_u32(&s, "number", 1, &r->number, e);
	if (res == 0)
		res = statement_u32(&s, "threshold", 1, &r->threshold, e);
	int root_keys = res == 0 ? role_parse(&s, r, "root-key", true, e) : res;
	if (root_keys < 0)
		return root_keys;
	if (r->threshold > (uint32_t)root_keys)
		return err_set(e, -ERR_FORMAT, "threshold %" PRIu32 " is more than the %d root keys", r->threshold,
			       root_keys);
	res = role_parse(&s, r, "release-key", false, e);
	if (res >= 0)
		res = statement_blank(&s, e);
	if (res == 0)
		res = certificates_read(&s, r, e);
	if (res < 0)
		return res;
	buf_add(&r->text, text, (size_t)(s.pos - text));
	return blocks_read(&s, r, e);
}

int root_parse(const char *text, size_t len, struct root_keys **out, struct err *e)
{
	_cleanup_(root_freep) struct root_keys *r = xcalloc(1, sizeof(*r));

	int res = parse(r, text, len, e);
	if (res < 0) {
		err_in(e, res, "root");
		return res;
	}
	*out = take(r);
	return 0;
}

static bool signed_by(const struct root_keys *r, X509 *cert)
{
	for (size_t i = 0; i < r->n_blocks; i++)
		if (signature_verify_by(cert, r->text.data, r->text.len, r->blocks[i].data, r->blocks[i].len, NULL) ==
		    0)
			return true;
	return false;
}

/* Did enough of the root keys of by sign r? Counted by key, so it does not matter how often one signed. */
static int threshold_check(const struct root_keys *by, const struct root_keys *r, struct err *e)
{
	uint32_t n = 0;

	for (size_t i = 0; i < by->n_keys; i++)
		if (by->keys[i].root && signed_by(r, by->keys[i].cert))
			n++;
	if (n >= by->threshold)
		return 0;
	return err_set(e, -ERR_SIGNATURE,
		       "root %" PRIu32 " needs %" PRIu32 " signatures by keys of root %" PRIu32 ", and has %" PRIu32,
		       r->number, by->threshold, by->number, n);
}

int root_verify(const struct root_keys *cur, const struct root_keys *next, struct err *e)
{
	if (cur && next->number <= cur->number)
		return err_set(e, -ERR_STALE, "root %" PRIu32 " cannot come after root %" PRIu32, next->number,
			       cur->number);
	if (cur && next->number - cur->number != 1)
		return err_set(e, -ERR_FORMAT, "root %" PRIu32 " does not come next after root %" PRIu32, next->number,
			       cur->number);
	int r = cur ? threshold_check(cur, next, e) : 0;
	return r < 0 ? r : threshold_check(next, next, e);
}

int root_verify_first(const struct root_keys *first, const struct anchors *a, struct err *e)
{
	if (first->number != 1)
		return err_set(e, -ERR_FORMAT, "root %" PRIu32 " is not the first", first->number);
	int r = root_verify(NULL, first, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < first->n_keys; i++)
		if (first->keys[i].root && anchors_have(a, first->keys[i].cert) &&
		    signed_by(first, first->keys[i].cert))
			return 0;
	return err_set(e, -ERR_SIGNATURE, "root %" PRIu32 " is not signed by an installed certificate", first->number);
}

int root_anchors(const struct root_keys *r, int64_t now, struct anchors **out, struct err *e)
{
	_cleanup_(buf_free) struct buf pem = {0}, der = {0};

	for (size_t i = 0; i < r->n_keys; i++) {
		if (!r->keys[i].release)
			continue;
		der.len = 0;
		certificate_der(r->keys[i].cert, &der);
		statement_add_block(&pem, "CERTIFICATE", der.data, der.len);
	}
	int res = anchors_load(pem.data, pem.len, now, out, e);
	return res < 0 ? err_in(e, res, "release keys of root %" PRIu32, r->number) : 0;
}

static char *to_pem(const X509 *cert)
{
	_cleanup_(buf_free) struct buf der = {0};
	struct buf pem = {0};

	certificate_der(cert, &der);
	statement_add_block(&pem, "CERTIFICATE", der.data, der.len);
	return pem.data;
}

void root_certificates(const struct root_keys *r, enum root_role role, struct strv *pem)
{
	for (size_t i = 0; i < r->n_keys; i++)
		if (role == ROOT_KEYS ? r->keys[i].root : r->keys[i].release)
			strv_take(pem, to_pem(r->keys[i].cert));
}

static int load_one(const char *file, x509_stack **out, struct err *e)
{
	_cleanup_(certificates_freep) x509_stack *certs = NULL;

	int r = certificates_load(file, &certs, e);
	if (r < 0)
		return r;
	if (sk_X509_num(certs) != 1)
		return err_set(e, -ERR_FORMAT, "%s: has more than one certificate", file);
	*out = take(certs);
	return 0;
}

int root_certificate_load(const char *file, char **pem, struct err *e)
{
	_cleanup_(certificates_freep) x509_stack *certs = NULL;

	int r = load_one(file, &certs, e);
	if (r < 0)
		return r;
	*pem = to_pem(sk_X509_value(certs, 0));
	return 0;
}

bool root_signed_release(const struct root_keys *r, const void *data, size_t len, const void *sig, size_t sig_len)
{
	for (size_t i = 0; i < r->n_keys; i++)
		if (r->keys[i].release && signature_verify_by(r->keys[i].cert, data, len, sig, sig_len, NULL) == 0)
			return true;
	return false;
}

char *root_describe(const struct root_keys *r)
{
	struct buf b = {0};

	buf_printf(&b, "root %" PRIu32 ", threshold %" PRIu32 "\n", r->number, r->threshold);
	for (size_t i = 0; i < r->n_keys; i++) {
		const struct key *k = &r->keys[i];
		_cleanup_free_ char *line = certificate_describe(k->cert);
		buf_printf(&b, "%s: %s\n",
			   k->root && k->release ? "root and release"
			   : k->root             ? "root"
						 : "release",
			   line);
	}
	return b.data;
}

/* Add the lines of one role to text, and each certificate that is not there yet to pem. */
static int role_write(const char *name, const struct strv *files, struct buf *text, struct strv *seen, struct buf *pem,
		      struct err *e)
{
	for (size_t i = 0; i < files->n; i++) {
		_cleanup_(certificates_freep) x509_stack *certs = NULL;
		_cleanup_(buf_free) struct buf der = {0};
		char hex[DIGEST_HEX];
		struct digest id;

		int r = load_one(files->items[i], &certs, e);
		if (r < 0)
			return r;
		certificate_digest(sk_X509_value(certs, 0), &id);
		digest_format(&id, hex);
		buf_printf(text, "%s:\t%s\n", name, hex);
		if (strv_has(seen, hex))
			continue;
		strv_add(seen, hex);
		certificate_der(sk_X509_value(certs, 0), &der);
		statement_add_block(pem, "CERTIFICATE", der.data, der.len);
	}
	return 0;
}

int root_sign(const struct signer *s, struct buf *text, struct err *e)
{
	_cleanup_(root_freep) struct root_keys *r = NULL;
	_cleanup_(buf_free) struct buf sig = {0};

	/* also tells what is to be signed: all before the first block */
	int res = root_parse(text->data ? text->data : "", text->len, &r, e);
	if (res < 0)
		return res;
	res = signature_make(s, r->text.data, r->text.len, &sig, e);
	if (res < 0)
		return res;
	statement_add_block(text, "CMS", sig.data, sig.len);
	return 0;
}

int root_write(uint32_t number, uint32_t threshold, const struct strv *root_certs, const struct strv *release_certs,
	       const struct signer *signers, size_t n_signers, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0}, pem = {0};
	_cleanup_(root_freep) struct root_keys *again = NULL;
	_cleanup_(strv_free) struct strv seen = {0};

	buf_printf(&text, MAGIC "\nnumber:\t%" PRIu32 "\nthreshold:\t%" PRIu32 "\n", number, threshold);
	int r = role_write("root-key", root_certs, &text, &seen, &pem, e);
	if (r == 0)
		r = role_write("release-key", release_certs, &text, &seen, &pem, e);
	if (r < 0)
		return err_in(e, r, "root %" PRIu32, number);
	buf_putc(&text, '\n');
	buf_add(&text, pem.data, pem.len);
	for (size_t i = 0; i < n_signers; i++) {
		r = root_sign(&signers[i], &text, e);
		if (r < 0)
			return err_in(e, r, "cannot sign root %" PRIu32, number);
	}
	/* what we would not read must not be published: a threshold too high, a key twice, too large */
	r = root_parse(text.data, text.len, &again, e);
	if (r < 0)
		return r;
	buf_add(out, text.data, text.len);
	return 0;
}
