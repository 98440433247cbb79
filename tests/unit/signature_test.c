/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/signature.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/content/certificate.h"
#include "swupd/content/format.h"
#include "tests/unit/keys.h"
#include "tests/unit/test.h"

/* Run in dir a command line of words between blanks. Returns its exit status. */
static int run(const char *dir, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int run(const char *dir, const char *fmt, ...)
{
	_cleanup_(strv_free) struct strv argv = {0};
	_cleanup_(buf_free) struct buf out = {0}, errors = {0};
	struct err e = ERR_INIT;
	va_list ap;

	va_start(ap, fmt);
	_cleanup_free_ char *line = xvasprintf(fmt, ap);
	va_end(ap);
	_cleanup_close_ int fd = fs_open_dir(AT_FDCWD, dir, &e);
	assert_ok(fd, &e);
	strv_split(&argv, line, " ");
	strv_take(&argv, NULL);
	struct proc p = {.argv = (const char *const *)argv.items, .dirfd = fd, .out = &out, .errors = &errors};
	int r = proc_run(&p, &e);
	assert_ok(r, &e);
	return r;
}

static void put(const char *dir, const char *name, const char *text)
{
	struct err e = ERR_INIT;
	_cleanup_close_ int fd = fs_open_dir(AT_FDCWD, dir, &e);

	assert_ok(fd, &e);
	assert_ok(fs_save_cache(fd, name, text, strlen(text), 0644, &e), &e);
}

static void get(const char *dir, const char *name, struct buf *out)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	struct err e = ERR_INIT;

	assert_ok(fs_load(AT_FDCWD, path, 64 << 20, out, &e), &e);
}

/* Is dir/sig a signature of dir/data by what dir/anchors holds? */
static int check_at(const char *dir, const char *anchors, const char *data, const char *sig, int64_t now, struct err *e)
{
	_cleanup_(buf_free) struct buf a = {0}, d = {0}, s = {0};
	_cleanup_(anchors_freep) struct anchors *trust = NULL;

	get(dir, anchors, &a);
	get(dir, data, &d);
	get(dir, sig, &s);
	int r = anchors_load(a.data, a.len, now, &trust, e);
	return r < 0 ? r : signature_verify(trust, d.data, d.len, s.data, s.len, now, e);
}

static int check(const char *dir, const char *anchors, const char *sig, struct err *e)
{
	return check_at(dir, anchors, "data", sig, TEST_NOW, e);
}

TEST(signature_verdicts_are_the_predecessors_but_for_attached_ones)
{
	_cleanup_free_ char *dir = xasprintf("%s/signature", test_vectors());
	_cleanup_(buf_free) struct buf index = {0};
	const char *pos, *line;
	unsigned n = 0;
	size_t len;

	get(dir, "index.tsv", &index);
	pos = index.data;
	while (text_line(&pos, index.data + index.len, &line, &len, NULL)) {
		char name[64], over[64] = "Manifest.MoM", verdict[32];
		struct err e = ERR_INIT;
		_cleanup_free_ char *copy = xstrndup(line, len);

		if (text_starts(copy, "signature\t"))
			continue;
		if (sscanf(copy, "%63s over %63s %31s", name, over, verdict) != 3)
			assert_int_equal(sscanf(copy, "%63s %31s", name, verdict), 2);
		int r = check_at(dir, "Swupd_Root.pem", over, name, TEST_NOW, &e);
		if (strcmp(name, "attached.sig") == 0)
			assert_fails(r, ERR_SIGNATURE, &e, "not detached");
		else if (strcmp(verdict, "accepted") == 0)
			assert_ok(r, &e);
		else
			assert_fails(r, strcmp(name, "expired-signer.sig") ? ERR_SIGNATURE : ERR_EXPIRED, &e,
				     "signature");
		n++;
	}
	assert_int_equal(n, 13);
}

TEST(signature_accepts_all_that_the_predecessors_signed)
{
	static const char *const files[] = {
		"www/10/Manifest.MoM",
		"www/20/Manifest.MoM",
		"www/30/Manifest.MoM",
		"www/version/latest_version",
		"www/version/format30/latest",
		"www-format-bump/10/Manifest.MoM",
		"www-format-bump/20/Manifest.MoM",
		"www-format-bump/30/Manifest.MoM",
		"www-format-bump/version/latest_version",
		"www-format-bump/version/format30/latest",
		"www-format-bump/version/format31/latest",
	};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *sig = xasprintf("%s.sig", files[i]);
		struct err e = ERR_INIT;

		assert_ok(check_at(test_vectors(), "cert/Swupd_Root.pem", files[i], sig, TEST_NOW, &e), &e);
		/* and for no other content */
		assert_fails(check_at(test_vectors(), "cert/Swupd_Root.pem", "README.md", sig, TEST_NOW, &e),
			     ERR_SIGNATURE, &e, "not of this content");
	}
}

TEST(signature_tells_wrong_dates_from_wrong_keys)
{
	_cleanup_free_ char *dir = xasprintf("%s/signature", test_vectors());
	struct err e = ERR_INIT;

	/* the signer of this one was valid in 2020 */
	assert_ok(check_at(dir, "Swupd_Root.pem", "Manifest.MoM", "expired-signer.sig", 1590000000, &e), &e);
	assert_fails(check_at(dir, "Swupd_Root.pem", "Manifest.MoM", "expired-signer.sig", TEST_NOW, &e), ERR_EXPIRED,
		     &e, "2020-01-01 00:00:00 UTC to 2021-01-01 00:00:00 UTC, and it is 2025-11-21");
	/* the anchor itself: 2020 to 2120 */
	assert_fails(check_at(dir, "Swupd_Root.pem", "Manifest.MoM", "ok.sig", 1500000000, &e), ERR_EXPIRED, &e,
		     "swupd test root");
	assert_fails(check_at(dir, "Swupd_Root.pem", "Manifest.MoM", "ok.sig", 4800000000, &e), ERR_EXPIRED, &e,
		     "swupd test root");
	assert_fails(check_at(dir, "Swupd_Root.pem", "Manifest.MoM", "other-root.sig", 1500000000, &e), ERR_EXPIRED, &e,
		     "swupd test root");
	/* when the dates and the key are wrong, the key is what counts */
	_cleanup_(buf_free) struct buf pem = {0}, mom = {0}, sig = {0};
	_cleanup_(anchors_freep) struct anchors *a = NULL;
	get(dir, "Swupd_Root.pem", &pem);
	get(dir, "Manifest.MoM", &mom);
	get(dir, "other-root.sig", &sig);
	assert_ok(anchors_load(pem.data, pem.len, TEST_NOW, &a, &e), &e);
	assert_fails(signature_verify(a, mom.data, mom.len, sig.data, sig.len, 1500000000, &e), ERR_SIGNATURE, &e,
		     "not a key we trust");
	/* an anchor that expired since it was loaded */
	buf_free(&sig);
	get(dir, "ok-nocerts.sig", &sig);
	assert_fails(signature_verify(a, mom.data, mom.len, sig.data, sig.len, 4800000000, &e), ERR_EXPIRED, &e,
		     "swupd test root");
}

TEST(signature_accepts_nothing_but_whole_der)
{
	_cleanup_free_ char *dir = xasprintf("%s/signature", test_vectors());
	_cleanup_(buf_free) struct buf pem = {0}, mom = {0}, sig = {0}, big = {0};
	_cleanup_(anchors_freep) struct anchors *a = NULL;
	struct err e = ERR_INIT;

	get(dir, "Swupd_Root.pem", &pem);
	get(dir, "Manifest.MoM", &mom);
	get(dir, "ok-noattr.sig", &sig);
	assert_ok(anchors_load(pem.data, pem.len, TEST_NOW, &a, &e), &e);
	assert_ok(signature_verify(a, mom.data, mom.len, sig.data, sig.len, TEST_NOW, &e), &e);
	for (size_t n = 0; n < sig.len; n++)
		assert_fails(signature_verify(a, mom.data, mom.len, sig.data, n, TEST_NOW, &e), ERR_SIGNATURE, &e,
			     "not CMS in DER");
	buf_putc(&sig, '\n');
	assert_fails(signature_verify(a, mom.data, mom.len, sig.data, sig.len, TEST_NOW, &e), ERR_SIGNATURE, &e,
		     "followed by other bytes");
	memset(buf_reserve(&big, SIGNATURE_MAX + 1), 0x30, SIGNATURE_MAX + 1);
	assert_fails(signature_verify(a, mom.data, mom.len, big.data, SIGNATURE_MAX + 1, TEST_NOW, &e), ERR_LIMIT, &e,
		     "larger than");
}

TEST(signature_with_a_changed_bit_is_not_accepted)
{
	_cleanup_free_ char *dir = xasprintf("%s/signature", test_vectors());
	_cleanup_(buf_free) struct buf pem = {0}, mom = {0}, sig = {0};
	_cleanup_(anchors_freep) struct anchors *a = NULL;
	struct err e = ERR_INIT;
	unsigned accepted = 0;

	get(dir, "Swupd_Root.pem", &pem);
	get(dir, "Manifest.MoM", &mom);
	get(dir, "ok-nocerts.sig", &sig);
	assert_ok(anchors_load(pem.data, pem.len, TEST_NOW, &a, &e), &e);
	for (size_t i = 0; i < 8 * sig.len; i++) {
		sig.data[i / 8] = (char)(sig.data[i / 8] ^ 1 << i % 8);
		accepted += signature_verify(a, mom.data, mom.len, sig.data, sig.len, TEST_NOW, NULL) == 0;
		sig.data[i / 8] = (char)(sig.data[i / 8] ^ 1 << i % 8);
	}
	/* two version numbers, the list of digests in front: what the signature does not rest on */
	assert_in_range(accepted, 0, 100);
	for (size_t i = 0; i < mom.len; i++) {
		mom.data[i] ^= 1;
		assert_int_equal(signature_verify(a, mom.data, mom.len, sig.data, sig.len, TEST_NOW, NULL),
				 -ERR_SIGNATURE);
		mom.data[i] ^= 1;
	}
	assert_ok(signature_verify(a, mom.data, mom.len, sig.data, sig.len, TEST_NOW, &e), &e);
}

TEST(anchors_must_be_certificates_and_one_must_be_valid)
{
	_cleanup_(anchors_freep) struct anchors *a = NULL;
	struct err e = ERR_INIT;
	struct test_key k, l;

	assert_fails(anchors_load("", 0, TEST_NOW, &a, &e), ERR_FORMAT, &e, "no certificate");
	assert_fails(anchors_load("hello\n", 6, TEST_NOW, &a, &e), ERR_FORMAT, &e, "no certificate");
	static const char broken[] = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
	assert_fails(anchors_load(broken, strlen(broken), TEST_NOW, &a, &e), ERR_FORMAT, &e, "certificate 1");
	test_key_make(&k, "one");
	test_key_make(&l, "two");
	_cleanup_(buf_free) struct buf pem = {0};
	get(k.dir, "cert.pem", &pem);
	assert_fails(anchors_load(pem.data, pem.len, 1500000000, &a, &e), ERR_EXPIRED, &e, "CN=one");
	assert_null(a);
	buf_puts(&pem, broken);
	assert_fails(anchors_load(pem.data, pem.len, TEST_NOW, &a, &e), ERR_FORMAT, &e, "certificate 2");

	_cleanup_(anchors_freep) struct anchors *both = test_anchors((const struct test_key *const[]){&k, &l}, 2);
	_cleanup_free_ char *text = anchors_describe(both);
	static const char one[] = "CN=one; EC 256; 2020-09-13 12:26:40 UTC to 2120-09-13 12:26:40 UTC; sha256 ";
	assert_memory_equal(text, one, strlen(one));
	assert_non_null(strstr(text, "\nCN=two; "));
	assert_int_equal(text[strlen(text) - 1], '\n');
}

/* An authority, an intermediate, a signer below it, and signatures of "data" in all the ways that matter, in dir */
static void make_chain(const char *dir)
{
	static const char *const commands[] = {
		"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 9999 "
		"-subj /CN=ca",
		"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout mid.key -out mid.csr -subj /CN=mid",
		"x509 -req -in mid.csr -CA ca.pem -CAkey ca.key -days 9999 -extfile ca.ext -set_serial 2 -out mid.pem",
		"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf",
		"x509 -req -in leaf.csr -CA mid.pem -CAkey mid.key -days 9999 -extfile leaf.ext -set_serial 3 -out "
		"leaf.pem",
		"x509 -req -sha1 -in leaf.csr -CA mid.pem -CAkey mid.key -days 9999 -extfile leaf.ext -set_serial 4 "
		"-out leaf-sha1.pem",
		"req -x509 -newkey rsa:1024 -nodes -keyout small.key -out small.pem -days 9999 -subj /CN=small",
		"cms -sign -binary -in data -signer leaf.pem -inkey leaf.key -certfile mid.pem -outform DER -out "
		"leaf.sig",
		"cms -sign -binary -in data -signer leaf.pem -inkey leaf.key -outform DER -out alone.sig",
		"cms -sign -binary -in data -signer leaf.pem -inkey leaf.key -nocerts -outform DER -out nocerts.sig",
		"cms -sign -binary -md sha1 -in data -signer leaf.pem -inkey leaf.key -certfile mid.pem -outform DER "
		"-out "
		"sha1.sig",
		"cms -sign -binary -md md5 -in data -signer small.pem -inkey small.key -outform DER -out md5.sig",
		"cms -sign -binary -in data -signer leaf-sha1.pem -inkey leaf.key -certfile mid.pem -outform DER -out "
		"sha1-cert.sig",
		"cms -sign -binary -in data -signer small.pem -inkey small.key -outform DER -out small.sig",
		"cms -sign -binary -in data -signer leaf.pem -inkey leaf.key -signer ca.pem -inkey ca.key -certfile "
		"mid.pem "
		"-outform DER -out two.sig",
		"cms -sign -binary -keyid -in data -signer leaf.pem -inkey leaf.key -certfile mid.pem -outform DER "
		"-out "
		"keyid.sig",
		"cms -encrypt -binary -in data -outform DER -out encrypted.sig leaf.pem",
		"cms -digest_create -binary -in data -outform DER -out digest.sig",
	};

	put(dir, "data", "what is signed\n");
	put(dir, "ca.ext", "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n");
	put(dir, "leaf.ext", "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (run(dir, "openssl %s", commands[i]) != 0)
			fail_msg("openssl %s", commands[i]);
}

TEST(signature_chains_lead_to_an_anchor_of_any_kind)
{
	char dir[4096];
	struct err e = ERR_INIT;
	static const struct {
		const char *anchors, *sig;
		int code; /* 0: accepted */
		const char *part;
	} cases[] = {
		{"ca.pem", "leaf.sig", 0, NULL},
		{"mid.pem", "leaf.sig", 0, NULL},
		{"leaf.pem", "leaf.sig", 0, NULL},
		{"mid.pem", "alone.sig", 0, NULL},
		{"leaf.pem", "alone.sig", 0, NULL},
		{"leaf.pem", "nocerts.sig", 0, NULL},
		{"ca.pem", "keyid.sig", 0, NULL},
		{"ca.pem", "two.sig", 0, NULL},
		{"ca.pem", "alone.sig", ERR_SIGNATURE, "'CN=leaf', which is not a key we trust"},
		{"ca.pem", "nocerts.sig", ERR_SIGNATURE, "not by a key we trust"},
		{"small.pem", "leaf.sig", ERR_SIGNATURE, "'CN=leaf', which is not a key we trust"},
		{"leaf.pem", "two.sig", ERR_SIGNATURE, "'CN=ca', which is not a key we trust"},
		{"ca.pem", "sha1.sig", ERR_SIGNATURE, "weak digest"},
		{"small.pem", "md5.sig", ERR_SIGNATURE, "weak digest"},
		{"ca.pem", "sha1-cert.sig", ERR_SIGNATURE, "CA signature digest algorithm too weak"},
		{"small.pem", "small.sig", ERR_SIGNATURE, "EE certificate key too weak"},
		{"ca.pem", "encrypted.sig", ERR_SIGNATURE, "not signed data"},
		{"ca.pem", "digest.sig", ERR_SIGNATURE, "not signed data"},
	};

	close(test_dir(dir, sizeof(dir)));
	make_chain(dir);
	/* openssl's commands make certificates that are valid from when they ran */
	const int64_t now = time(NULL);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int r = check_at(dir, cases[i].anchors, "data", cases[i].sig, now, &e);
		if (cases[i].code)
			assert_fails(r, cases[i].code, &e, cases[i].part);
		else
			assert_ok(r, &e);
	}
}

/* The certificate that signature_create_key makes states CA:FALSE; trusted as it is, it must not vouch for others. */
TEST(signature_anchor_of_a_signer_is_no_authority)
{
	struct err e = ERR_INIT;
	struct test_key k;

	test_key_make(&k, "signer");
	put(k.dir, "data", "what is signed\n");
	put(k.dir, "leaf.ext", "subjectKeyIdentifier=hash\n");
	assert_int_equal(run(k.dir,
			     "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out "
			     "leaf.csr -subj /CN=leaf"),
			 0);
	assert_int_equal(run(k.dir, "openssl x509 -req -in leaf.csr -CA cert.pem -CAkey key.pem -days 9999 -extfile "
				    "leaf.ext -set_serial 3 -out leaf.pem"),
			 0);
	assert_int_equal(run(k.dir,
			     "openssl cms -sign -binary -in data -signer leaf.pem -inkey leaf.key -outform DER -out "
			     "leaf.sig"),
			 0);
	assert_fails(check_at(k.dir, "cert.pem", "data", "leaf.sig", time(NULL), &e), ERR_SIGNATURE, &e,
		     "'CN=leaf', which is not a key we trust (invalid CA certificate)");
}

static void sign_file(const struct test_key *k, const struct signer *s)
{
	_cleanup_(buf_free) struct buf data = {0}, sig = {0};
	struct err e = ERR_INIT;

	get(k->dir, "data", &data);
	assert_ok(signature_make(s, data.data, data.len, &sig, &e), &e);
	_cleanup_free_ char *name = xasprintf("%s/made.sig", k->dir);
	assert_ok(fs_save_cache(AT_FDCWD, name, sig.data, sig.len, 0644, &e), &e);
}

/* What clients out there do: the predecessor's verification is that of "openssl smime" */
static void everybody_accepts(const struct test_key *k)
{
	struct err e = ERR_INIT;

	assert_ok(check(k->dir, "cert.pem", "made.sig", &e), &e);
	assert_int_equal(run(k->dir, "openssl cms -verify -binary -inform DER -in made.sig -content data -purpose any "
				     "-CAfile cert.pem"),
			 0);
	assert_int_equal(run(k->dir,
			     "openssl smime -verify -inform DER -in made.sig -content data -purpose any -CAfile "
			     "cert.pem"),
			 0);
	put(k->dir, "data", "what was not signed\n");
	assert_fails(check(k->dir, "cert.pem", "made.sig", &e), ERR_SIGNATURE, &e, "not of this content");
	assert_int_not_equal(run(k->dir, "openssl smime -verify -inform DER -in made.sig -content data -purpose any "
					 "-CAfile cert.pem"),
			     0);
	put(k->dir, "data", "line\r\nline\n\xff");
}

TEST(signature_of_ours_is_accepted_by_everybody)
{
	struct test_key k;

	test_key_make(&k, "Our Mix");
	put(k.dir, "data", "line\r\nline\n\xff");
	sign_file(&k, &k.signer);
	everybody_accepts(&k);

	_cleanup_free_ char *uri = xasprintf("file:%s", k.key);
	sign_file(&k, &(struct signer){.cert = k.cert, .key = uri});
	everybody_accepts(&k);

	_cleanup_free_ char *command =
		xasprintf(" openssl cms -sign  -binary -signer %s\t-inkey %s -outform DER ", k.cert, k.key);
	sign_file(&k, &(struct signer){.cert = k.cert, .command = command});
	everybody_accepts(&k);
}

TEST(signature_with_an_rsa_key_is_the_same_each_time)
{
	_cleanup_(buf_free) struct buf a = {0}, b = {0};
	struct err e = ERR_INIT;
	struct test_key k;

	test_key_make(&k, "unused");
	_cleanup_close_ int dir = fs_open_dir(AT_FDCWD, k.dir, &e);
	assert_int_equal(unlinkat(dir, "key.pem", 0) | unlinkat(dir, "cert.pem", 0), 0);
	assert_ok(signature_create_key(dir, "key.pem", "cert.pem", KEY_RSA_4096, "Our Mix", 100, 1600000000, &e), &e);
	put(k.dir, "data", "line\r\nline\n\xff");
	sign_file(&k, &k.signer);
	get(k.dir, "made.sig", &a);
	everybody_accepts(&k);
	sign_file(&k, &k.signer);
	get(k.dir, "made.sig", &b);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
}

TEST(signature_carries_the_intermediates_of_the_certificate_file)
{
	char dir[4096];
	_cleanup_close_ int fd = test_dir(dir, sizeof(dir));
	_cleanup_(buf_free) struct buf pem = {0}, mid = {0}, sig = {0};
	struct err e = ERR_INIT;

	make_chain(dir);
	get(dir, "leaf.pem", &pem);
	get(dir, "mid.pem", &mid);
	buf_add(&pem, mid.data, mid.len);
	put(dir, "chain.pem", pem.data);
	_cleanup_free_ char *cert = xasprintf("%s/chain.pem", dir);
	_cleanup_free_ char *key = xasprintf("%s/leaf.key", dir);
	assert_ok(signature_make(&(struct signer){.cert = cert, .key = key}, "what is signed\n", 15, &sig, &e), &e);
	assert_ok(fs_save_cache(fd, "made.sig", sig.data, sig.len, 0644, &e), &e);
	assert_ok(check_at(dir, "ca.pem", "data", "made.sig", time(NULL), &e), &e);
}

TEST(signature_make_says_what_is_wrong)
{
	_cleanup_(buf_free) struct buf sig = {0};
	struct err e = ERR_INIT;
	struct test_key k, other;

	test_key_make(&k, "one");
	test_key_make(&other, "two");
	assert_int_equal(run(k.dir, "openssl pkcs8 -topk8 -in key.pem -out encrypted.pem -passout pass:secret"), 0);
	_cleanup_free_ char *encrypted = xasprintf("%s/encrypted.pem", k.dir);
	_cleanup_free_ char *encrypted_uri = xasprintf("file:%s", encrypted);
	_cleanup_free_ char *foreign =
		xasprintf("openssl cms -sign -binary -signer %s -inkey %s -outform DER", other.cert, other.key);
	_cleanup_free_ char *attached =
		xasprintf("openssl cms -sign -nodetach -binary -signer %s -inkey %s -outform DER", k.cert, k.key);
	const struct {
		struct signer s;
		int code;
		const char *part;
	} cases[] = {
		{{.cert = k.cert}, ERR_CONFIG, "either a key or a command"},
		{{.key = k.key}, ERR_CONFIG, "needs a certificate"},
		{{.cert = k.cert, .key = k.key, .command = "x"}, ERR_CONFIG, "either a key or a command"},
		{{.cert = "/nonexistent", .key = k.key}, ENOENT, "/nonexistent"},
		{{.cert = k.key, .key = k.key}, ERR_FORMAT, "no certificate"},
		{{.cert = k.cert, .key = "/nonexistent"}, ENOENT, "cannot read the key: /nonexistent"},
		{{.cert = k.cert, .key = k.cert}, ERR_CONFIG, "not a private key in PEM"},
		{{.cert = k.cert, .key = other.key}, ERR_CONFIG, "does not belong to certificate"},
		{{.cert = k.cert, .key = encrypted}, ERR_CONFIG, "is encrypted"},
		{{.cert = k.cert, .key = encrypted_uri}, ERR_CONFIG, "no private key at 'file:"},
		{{.cert = k.cert, .key = "pkcs11:token=none"}, ERR_CONFIG, "no private key at 'pkcs11:token=none'"},
		{{.cert = k.cert, .command = " "}, ERR_CONFIG, "command is empty"},
		{{.cert = k.cert, .command = "false"}, ERR_CHILD, "false ended with status 1"},
		{{.cert = k.cert, .command = "/nonexistent x"}, ENOENT, "/nonexistent"},
		{{.cert = k.cert, .command = "true"}, ERR_SIGNATURE, "not CMS in DER"},
		{{.cert = k.cert, .command = "echo hello"}, ERR_SIGNATURE, "not CMS in DER"},
		{{.cert = k.cert, .command = foreign}, ERR_SIGNATURE, "by another key"},
		{{.cert = k.cert, .command = attached}, ERR_SIGNATURE, "not detached"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_fails(signature_make(&cases[i].s, "data", 4, &sig, &e), cases[i].code, &e, cases[i].part);
	assert_int_equal(sig.len, 0);
}

TEST(signature_create_key_never_overwrites)
{
	char dir[4096];
	_cleanup_close_ int fd = test_dir(dir, sizeof(dir));
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct stat st;

	put(dir, "cert.pem", "precious");
	assert_fails(signature_create_key(fd, "key.pem", "cert.pem", KEY_ECDSA_P256, "x", 10, TEST_NOW, &e), EEXIST, &e,
		     "'cert.pem' exists already and is not overwritten");
	assert_false(fs_exists(fd, "key.pem"));
	assert_fails(signature_create_key(fd, "cert.pem", "new.pem", KEY_ECDSA_P256, "x", 10, TEST_NOW, &e), EEXIST, &e,
		     "'cert.pem' exists already");
	assert_false(fs_exists(fd, "new.pem"));
	get(dir, "cert.pem", &text);
	assert_string_equal(text.data, "precious");
	/* the second cannot be written: nothing remains of the first */
	assert_int_equal(signature_create_key(fd, "key.pem", "missing/cert.pem", KEY_ECDSA_P256, "x", 10, TEST_NOW, &e),
			 -ENOENT);
	err_clear(&e);
	assert_false(fs_exists(fd, "key.pem"));
	assert_fails(signature_create_key(fd, "same.pem", "same.pem", KEY_ECDSA_P256, "x", 10, TEST_NOW, &e), EEXIST,
		     &e, "same.pem");
	assert_false(fs_exists(fd, "same.pem"));
	assert_fails(signature_create_key(fd, "k", "c", KEY_ECDSA_P256, "", 10, TEST_NOW, &e), EINVAL, &e, "1 to 64");
	assert_fails(signature_create_key(fd, "k", "c", KEY_ECDSA_P256, "x", 0, TEST_NOW, &e), EINVAL, &e, "years");
	assert_fails(signature_create_key(fd, "k", "c", KEY_ECDSA_P256, "x", 1000, 253402300799, &e), EINVAL, &e,
		     "9999");
	assert_false(fs_exists(fd, "k") || fs_exists(fd, "c"));

	assert_ok(signature_create_key(fd, "key.pem", "c.pem", KEY_ECDSA_P256, "x", 10, TEST_NOW, &e), &e);
	assert_int_equal(fstatat(fd, "key.pem", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(fstatat(fd, "c.pem", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
}

TEST(signature_keys_live_for_the_years_that_were_asked)
{
	char dir[4096];
	_cleanup_close_ int fd = test_dir(dir, sizeof(dir));
	_cleanup_(anchors_freep) struct anchors *a = NULL;
	_cleanup_(buf_free) struct buf pem = {0};
	struct err e = ERR_INIT;

	/* the 29th of February, and beyond 2049, where X.509 changes the form of its dates */
	assert_ok(signature_create_key(fd, "k", "c", KEY_ECDSA_P256, "Zo\xc3\xab\n", 27, 1709164800, &e), &e);
	get(dir, "c", &pem);
	assert_ok(anchors_load(pem.data, pem.len, TEST_NOW, &a, &e), &e);
	_cleanup_free_ char *text = anchors_describe(a);
	static const char want[] = "CN=Zo\xc3\xab\\0A; EC 256; 2024-02-29 00:00:00 UTC to 2051-03-01 00:00:00 UTC; ";
	assert_memory_equal(text, want, strlen(want));
}
