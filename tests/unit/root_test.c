/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/root.h"

#include <fcntl.h>
#include <string.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/freshness.h"
#include "swupd/content/statement.h"
#include "tests/unit/keys.h"
#include "tests/unit/test.h"

/* Keys are named by letters in these tests; "AB" is a list of two. */
struct ring {
	struct test_key keys[6];
};

static struct ring *ring_new(void)
{
	struct ring *ring = xcalloc(1, sizeof(*ring));

	for (unsigned i = 0; i < ARRAY_LEN(ring->keys); i++) {
		char name[2] = {(char)('A' + i), '\0'};
		test_key_make(&ring->keys[i], name);
	}
	return ring;
}

static struct test_key *key(struct ring *ring, char letter)
{
	return &ring->keys[letter - 'A'];
}

static void certs(struct ring *ring, const char *letters, struct strv *out)
{
	for (; *letters; letters++)
		strv_add(out, key(ring, *letters)->cert);
}

static int write_root(struct ring *ring, uint32_t number, uint32_t threshold, const char *root, const char *release,
		      const char *signers, struct buf *out, struct err *e)
{
	_cleanup_(strv_free) struct strv root_certs = {0}, release_certs = {0};
	struct signer list[16];
	size_t n = 0;

	certs(ring, root, &root_certs);
	certs(ring, release, &release_certs);
	for (; *signers; signers++)
		list[n++] = key(ring, *signers)->signer;
	return root_write(number, threshold, &root_certs, &release_certs, list, n, out, e);
}

static struct root_keys *make(struct ring *ring, uint32_t number, uint32_t threshold, const char *root,
			      const char *release, const char *signers)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct root_keys *r = NULL;
	struct err e = ERR_INIT;

	assert_ok(write_root(ring, number, threshold, root, release, signers, &text, &e), &e);
	assert_ok(root_parse(text.data, text.len, &r, &e), &e);
	return r;
}

static struct anchors *anchors_of(struct ring *ring, const char *letters)
{
	const struct test_key *list[16];
	size_t n = 0;

	for (; *letters; letters++)
		list[n++] = key(ring, *letters);
	return test_anchors(list, n);
}

TEST(root_keys_change_from_one_file_to_the_next)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(root_freep) struct root_keys *one = make(ring, 1, 1, "A", "B", "A");
	_cleanup_(root_freep) struct root_keys *two = make(ring, 2, 2, "CDE", "F", "ACD");
	_cleanup_(root_freep) struct root_keys *three = make(ring, 3, 1, "E", "BF", "ECD");
	_cleanup_(anchors_freep) struct anchors *installed = anchors_of(ring, "AB");
	_cleanup_(anchors_freep) struct anchors *release = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	struct freshness f = {.format = 30, .release = 20, .root = 3, .time = TEST_NOW, .expires = TEST_NOW};
	struct err e = ERR_INIT;

	assert_int_equal(root_number(two), 2);
	assert_int_equal(root_threshold(two), 2);
	assert_ok(root_verify_first(one, installed, &e), &e);
	assert_ok(root_verify(one, two, &e), &e);
	assert_ok(root_verify(two, three, &e), &e);
	assert_fails(root_verify(one, three, &e), ERR_FORMAT, &e, "root 3 does not come next after root 1");
	assert_fails(root_verify(two, one, &e), ERR_STALE, &e, "root 1 cannot come after root 2");
	assert_fails(root_verify(two, two, &e), ERR_STALE, &e, "root 2 cannot come after root 2");

	/* only the release keys of the last sign releases */
	assert_ok(root_anchors(three, TEST_NOW, &release, &e), &e);
	assert_ok(freshness_write(&f, &key(ring, 'F')->signer, &text, &e), &e);
	assert_ok(freshness_read(text.data, text.len, 30, release, TEST_NOW, &f, &e), &e);
	buf_free(&text);
	assert_ok(freshness_write(&f, &key(ring, 'E')->signer, &text, &e), &e);
	assert_fails(freshness_read(text.data, text.len, 30, release, TEST_NOW, &f, &e), ERR_SIGNATURE, &e, "CN=E");
}

TEST(root_is_signed_by_enough_keys_of_both_sides)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(root_freep) struct root_keys *cur = make(ring, 4, 2, "ABC", "F", "");
	static const struct {
		const char *signers;
		const char *part; /* NULL: accepted */
	} cases[] = {
		{"BCD", NULL},
		{"ABCDE", NULL},
		{"DCFB", NULL}, /* a key that neither side knows does no harm */
		{"ABE", NULL},
		{"", "root 5 needs 2 signatures by keys of root 4, and has 0"},
		{"BD", "root 5 needs 2 signatures by keys of root 4, and has 1"},
		{"BBBD", "root 5 needs 2 signatures by keys of root 4, and has 1"},
		{"BFD", "root 5 needs 2 signatures by keys of root 4, and has 1"}, /* F is a release key only */
		{"DE", "root 5 needs 2 signatures by keys of root 4, and has 0"},
		{"ABC", "root 5 needs 1 signatures by keys of root 5, and has 0"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(root_freep) struct root_keys *next = make(ring, 5, 1, "DE", "F", cases[i].signers);
		struct err e = ERR_INIT;
		int r = root_verify(cur, next, &e);

		if (cases[i].part)
			assert_fails(r, ERR_SIGNATURE, &e, cases[i].part);
		else
			assert_ok(r, &e);
	}
	/* a key on both sides counts on both */
	_cleanup_(root_freep) struct root_keys *same = make(ring, 5, 2, "ABC", "D", "CA");
	struct err e = ERR_INIT;
	assert_ok(root_verify(cur, same, &e), &e);
}

TEST(root_that_is_the_first_is_signed_by_what_is_installed)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(anchors_freep) struct anchors *installed = anchors_of(ring, "AB");
	static const struct {
		uint32_t number, threshold;
		const char *root, *release, *signers;
		int code;
		const char *part;
	} cases[] = {
		{1, 1, "A", "A", "A", 0, NULL},
		{1, 1, "CB", "D", "B", 0, NULL},
		{1, 2, "CBD", "D", "DB", 0, NULL},
		/* who names the installed key without having it */
		{1, 1, "CA", "D", "C", ERR_SIGNATURE, "root 1 is not signed by an installed certificate"},
		{1, 1, "CA", "AB", "C", ERR_SIGNATURE, "root 1 is not signed by an installed certificate"},
		/* who has the installed key, but may not use it here */
		{1, 1, "C", "A", "AC", ERR_SIGNATURE, "root 1 is not signed by an installed certificate"},
		{1, 2, "AC", "A", "A", ERR_SIGNATURE, "root 1 needs 2 signatures by keys of root 1, and has 1"},
		{1, 1, "A", "A", "", ERR_SIGNATURE, "root 1 needs 1 signatures by keys of root 1, and has 0"},
		{2, 1, "A", "A", "A", ERR_FORMAT, "root 2 is not the first"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(root_freep) struct root_keys *r = make(ring, cases[i].number, cases[i].threshold,
								 cases[i].root, cases[i].release, cases[i].signers);
		struct err e = ERR_INIT;
		int res = root_verify_first(r, installed, &e);

		if (cases[i].code)
			assert_fails(res, cases[i].code, &e, cases[i].part);
		else
			assert_ok(res, &e);
	}
}

TEST(root_with_a_changed_byte_is_refused)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	assert_ok(write_root(ring, 1, 1, "A", "A", "A", &text, &e), &e);
	size_t signed_len = (size_t)(strstr(text.data, "-----BEGIN CMS-----") - text.data);
	for (size_t i = 0; i < text.len; i++) {
		_cleanup_(root_freep) struct root_keys *r = NULL;
		text.data[i] ^= 1;
		int res = root_parse(text.data, text.len, &r, NULL);
		if (res == 0 && root_verify(NULL, r, NULL) == 0 && i < signed_len)
			fail_msg("byte %zu may be changed", i);
		text.data[i] ^= 1;
	}
	for (size_t n = 0; n < text.len; n++) {
		_cleanup_(root_freep) struct root_keys *r = NULL;
		int res = root_parse(text.data, n, &r, NULL);
		/* the only whole file in it is the one that nobody signed */
		assert_int_equal(res, n == signed_len ? 0 : -ERR_FORMAT);
		if (res == 0)
			assert_int_equal(root_verify(NULL, r, NULL), -ERR_SIGNATURE);
	}
}

TEST(root_can_be_signed_at_several_places)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(root_freep) struct root_keys *cur = make(ring, 1, 1, "A", "A", "A");
	_cleanup_(root_freep) struct root_keys *next = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	assert_ok(write_root(ring, 2, 2, "BC", "A", "", &text, &e), &e);
	assert_ok(root_sign(&key(ring, 'A')->signer, &text, &e), &e);
	assert_ok(root_sign(&key(ring, 'B')->signer, &text, &e), &e);
	assert_ok(root_parse(text.data, text.len, &next, &e), &e);
	assert_fails(root_verify(cur, next, &e), ERR_SIGNATURE, &e, "root 2 needs 2 signatures by keys of root 2");
	root_free(take(next));
	assert_ok(root_sign(&key(ring, 'C')->signer, &text, &e), &e);
	assert_ok(root_parse(text.data, text.len, &next, &e), &e);
	assert_ok(root_verify(cur, next, &e), &e);
	_cleanup_free_ char *said = root_describe(next);
	assert_non_null(strstr(said, "root 2, threshold 2\nroot: CN=B; EC 256; "));
	assert_non_null(strstr(said, "\nrelease: CN=A; "));
	text.len = 3;
	assert_fails(root_sign(&key(ring, 'C')->signer, &text, &e), ERR_FORMAT, &e, "line 1");
}

TEST(root_tells_its_certificates_and_whose_signature_a_release_has)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(root_freep) struct root_keys *r = make(ring, 3, 1, "AB", "BC", "");
	_cleanup_(strv_free) struct strv roots = {0}, releases = {0};
	_cleanup_(buf_free) struct buf by_a = {0}, by_c = {0}, two = {0};
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL, *none = NULL;
	struct err e = ERR_INIT;

	assert_ok(root_certificate_load(key(ring, 'A')->cert, &a, &e), &e);
	assert_ok(root_certificate_load(key(ring, 'B')->cert, &b, &e), &e);
	assert_ok(root_certificate_load(key(ring, 'C')->cert, &c, &e), &e);
	root_certificates(r, ROOT_KEYS, &roots);
	root_certificates(r, RELEASE_KEYS, &releases);
	assert_int_equal(roots.n, 2);
	assert_string_equal(roots.items[0], a);
	assert_string_equal(roots.items[1], b);
	assert_int_equal(releases.n, 2);
	assert_string_equal(releases.items[0], b);
	assert_string_equal(releases.items[1], c);

	assert_ok(signature_make(&key(ring, 'A')->signer, "x", 1, &by_a, &e), &e);
	assert_ok(signature_make(&key(ring, 'C')->signer, "x", 1, &by_c, &e), &e);
	assert_false(root_signed_release(r, "x", 1, by_a.data, by_a.len));
	assert_true(root_signed_release(r, "x", 1, by_c.data, by_c.len));
	assert_false(root_signed_release(r, "y", 1, by_c.data, by_c.len));

	/* a chain is no certificate of a root file */
	buf_puts(&two, a);
	buf_puts(&two, b);
	_cleanup_free_ char *path = xasprintf("%s/two", key(ring, 'A')->dir);
	assert_ok(fs_save(AT_FDCWD, path, two.data, two.len, 0644, &e), &e);
	assert_fails(root_certificate_load(path, &none, &e), ERR_FORMAT, &e, "more than one certificate");
}

/* A key that expired may still hand over to its successor, but it signs no releases. */
TEST(root_walk_does_not_end_at_expired_keys)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(anchors_freep) struct anchors *a = NULL;
	_cleanup_(strv_free) struct strv old = {0}, new = {0};
	_cleanup_(root_freep) struct root_keys *one = NULL, *two = NULL;
	_cleanup_(buf_free) struct buf first = {0}, second = {0};
	char dir[4000];
	_cleanup_close_ int fd = test_dir(dir, sizeof(dir));
	struct err e = ERR_INIT;

	assert_ok(signature_create_key(fd, "key", "cert", KEY_ECDSA_P256, "old", 1, 1500000000, &e), &e);
	_cleanup_free_ char *cert = xasprintf("%s/cert", dir);
	_cleanup_free_ char *secret = xasprintf("%s/key", dir);
	const struct signer both[] = {{.cert = cert, .key = secret}, key(ring, 'A')->signer};
	strv_add(&old, cert);
	certs(ring, "A", &new);
	assert_ok(root_write(1, 1, &old, &old, both, 1, &first, &e), &e);
	assert_ok(root_write(2, 1, &new, &new, both, 2, &second, &e), &e);
	assert_ok(root_parse(first.data, first.len, &one, &e), &e);
	assert_ok(root_parse(second.data, second.len, &two, &e), &e);
	assert_ok(root_verify(one, two, &e), &e);
	assert_fails(root_anchors(one, TEST_NOW, &a, &e), ERR_EXPIRED, &e,
		     "release keys of root 1: certificate 'CN=old'");
	assert_ok(root_anchors(two, TEST_NOW, &a, &e), &e);
}

TEST(root_write_refuses_what_nobody_could_read)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	static const struct {
		uint32_t number, threshold;
		const char *root, *release;
		const char *part;
	} cases[] = {
		{0, 1, "A", "A", "'number:'"},
		{1, 0, "A", "A", "'threshold:'"},
		{1, 2, "A", "A", "threshold 2 is more than the 1 root keys"},
		{1, 1, "", "A", "line 4 is not 'root-key:'"},
		{1, 1, "A", "", "line 5 is not 'release-key:'"},
		{1, 1, "AA", "A", "line 5: this key is there already"},
		{1, 1, "A", "BAB", "line 7: this key is there already"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_fails(write_root(ring, cases[i].number, cases[i].threshold, cases[i].root, cases[i].release, "",
					&text, &e),
			     ERR_FORMAT, &e, cases[i].part);
	assert_int_equal(text.len, 0);
}

/* Two certificates for one key must not let one person sign twice. */
TEST(root_counts_keys_not_certificates)
{
	_cleanup_free_ struct ring *ring = ring_new();
	const struct test_key *a = key(ring, 'A');
	_cleanup_free_ char *twin = xasprintf("%s/twin.pem", a->dir);
	_cleanup_free_ char *small = xasprintf("%s/small.pem", a->dir);
	_cleanup_free_ char *small_key = xasprintf("%s/small.key", a->dir);
	_cleanup_(strv_free) struct strv two = {0}, one = {0}, weak = {0};
	_cleanup_(buf_free) struct buf text = {0}, said = {0};
	struct err e = ERR_INIT;
	const char *again[] = {"openssl", "req", "-x509", "-key", a->key, "-subj", "/CN=other", "-out", twin, NULL};
	const char *rsa[] = {"openssl", "req",   "-x509",     "-newkey", "rsa:1024", "-nodes", "-keyout",
			     small_key, "-subj", "/CN=small", "-out",    small,      NULL};

	assert_ok(proc_check(&(struct proc){.argv = again, .dirfd = AT_FDCWD, .out = &said}, &e), &e);
	assert_ok(proc_check(&(struct proc){.argv = rsa, .dirfd = AT_FDCWD, .out = &said}, &e), &e);
	strv_add(&two, a->cert);
	strv_add(&two, twin);
	strv_add(&one, a->cert);
	strv_add(&weak, small);
	assert_fails(root_write(1, 2, &two, &one, NULL, 0, &text, &e), ERR_FORMAT, &e,
		     "root keys 1 and 2 are the same key");
	/* as release keys they may be two: a new certificate for the same key */
	assert_ok(root_write(1, 1, &one, &two, NULL, 0, &text, &e), &e);
	buf_free(&text);
	assert_fails(root_write(1, 1, &weak, &one, NULL, 0, &text, &e), ERR_FORMAT, &e, "key 1 is too weak");
	assert_fails(root_write(1, 1, &one, &weak, NULL, 0, &text, &e), ERR_FORMAT, &e, "key 2 is too weak");
}

static void refuse(const char *text, size_t len, int code, const char *part)
{
	struct root_keys *r = NULL;
	struct err e = ERR_INIT;

	assert_fails(root_parse(text, len, &r, &e), code, &e, part);
	assert_null(r);
}

TEST(root_has_one_form)
{
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(buf_free) struct buf whole = {0};
	struct err e = ERR_INIT;
	/* what: in a good file; becomes: instead of it, once */
	static const struct {
		const char *what, *becomes;
		const char *part;
	} cases[] = {
		{"ROOT\t1\n", "ROOT\t2\n", "line 1 is not 'ROOT 1'"},
		{"ROOT\t1\n", "ROOT\t1\n\n", "line 2 is not 'number:'"},
		{"number:\t1\n", "number:\t01\n", "line 2: 'number:'"},
		{"number:\t1\n", "number:\t4294967296\n", "line 2: 'number:'"},
		{"number:\t1\n", "", "line 2 is not 'number:'"},
		{"threshold:\t1\n", "threshold:\t1\nthreshold:\t1\n", "line 4 is not 'root-key:'"},
		{"threshold:\t1\n", "threshold:\t3\n", "threshold 3 is more than the 2 root keys"},
		{"root-key:\t", "root-key: ", "line 4 is not 'root-key:'"},
		{"root-key:\t", "root-key:\t0", "line 4: 'root-key:' is not 64 hex digits"},
		{"release-key:\t", "release-keys:\t", "line 6 is not 'release-key:'"},
		{"\n\n", "\n", "line 7 is not empty"},
		{"\n\n", "\n\n\n", "line 8 is not -----BEGIN CERTIFICATE-----"},
		{"-----BEGIN CERTIFICATE-----\n", "text\n-----BEGIN CERTIFICATE-----\n", "line 8 is not"},
		{"-----BEGIN CERTIFICATE-----\n", "-----BEGIN X509 CERTIFICATE-----\n", "line 8 is not"},
		{"-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n", "is not"},
		{"-----BEGIN CMS-----\n", "-----BEGIN CERTIFICATE-----\n", "is not the end of the file"},
		{"-----END CMS-----\n", "-----END CMS-----\n\n", "is not the end of the file"},
		{"-----END CMS-----\n", "-----END CMS-----\n-----BEGIN CMS-----\n", "is not -----END CMS-----"},
	};

	assert_ok(write_root(ring, 1, 1, "AB", "C", "A", &whole, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf text = {0};
		const char *at = strstr(whole.data, cases[i].what);

		assert_non_null(at);
		buf_add(&text, whole.data, (size_t)(at - whole.data));
		buf_puts(&text, cases[i].becomes);
		buf_puts(&text, at + strlen(cases[i].what));
		refuse(text.data, text.len, ERR_FORMAT, cases[i].part);
	}
}

TEST(root_certificates_are_those_that_are_named_in_their_order)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----\n";
	_cleanup_free_ struct ring *ring = ring_new();
	_cleanup_(buf_free) struct buf text = {0}, swapped = {0}, more = {0};
	struct err e = ERR_INIT;

	assert_ok(write_root(ring, 1, 1, "A", "B", "", &text, &e), &e);
	const char *first = strstr(text.data, begin), *second = strstr(first + 1, begin);
	buf_add(&swapped, text.data, (size_t)(first - text.data));
	buf_puts(&swapped, second);
	buf_add(&swapped, first, (size_t)(second - first));
	refuse(swapped.data, swapped.len, ERR_FORMAT, "line 7: not the certificate of key 1");
	buf_add(&more, text.data, text.len);
	buf_puts(&more, second);
	refuse(more.data, more.len, ERR_FORMAT, "is not the end of the file");
	refuse(text.data, (size_t)(second - text.data), ERR_FORMAT, "is not -----BEGIN CERTIFICATE-----");
	/* bytes of the right digest that are no certificate */
	_cleanup_(buf_free) struct buf forged = {0};
	struct digest d;
	char hex[DIGEST_HEX];
	sha256_mem("hello", 5, &d);
	digest_format(&d, hex);
	buf_printf(&forged, "ROOT\t1\nnumber:\t1\nthreshold:\t1\nroot-key:\t%s\nrelease-key:\t%s\n\n", hex, hex);
	statement_add_block(&forged, "CERTIFICATE", "hello", 5);
	refuse(forged.data, forged.len, ERR_FORMAT, "line 7: the certificate is damaged");
}

TEST(root_has_limits)
{
	_cleanup_(buf_free) struct buf text = {0}, blocks = {0};
	_cleanup_free_ struct ring *ring = ring_new();
	struct err e = ERR_INIT;

	buf_puts(&text, "ROOT\t1\nnumber:\t1\nthreshold:\t1\n");
	for (unsigned i = 0; i <= ROOT_KEYS_MAX; i++)
		buf_printf(&text, "root-key:\t%064x\n", i);
	refuse(text.data, text.len, ERR_LIMIT, "more than 32 lines 'root-key:'");
	assert_ok(write_root(ring, 1, 1, "A", "A", "", &blocks, &e), &e);
	for (unsigned i = 0; i <= ROOT_BLOCKS_MAX; i++)
		statement_add_block(&blocks, "CMS", "x", 1);
	refuse(blocks.data, blocks.len, ERR_LIMIT, "more than 64 signatures");
	while (text.len <= SMALL_TEXT_MAX)
		buf_putc(&text, '\n');
	refuse(text.data, text.len, ERR_LIMIT, "larger than 65536 bytes");
}
