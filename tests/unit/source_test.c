/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "mixer/input/package.h"
#include "mixer/input/source.h"
#include "swupd/base/text.h"

#define D1 "1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "2222222222222222222222222222222222222222222222222222222222222222"

#define FILES " " D1 " 10 a_1.dsc\n " D2 " 20 a_1.tar.xz\n"

static const char index_text[] =
	"Package: other\nVersion: 3\nDirectory: pool/o\nChecksums-Sha256:\n" FILES "\n"
	"Package: a\nVersion: 1\nBuild-Depends: debhelper-compat (= 13),\n libx-dev <!nocheck>\n"
	"Build-Conflicts: y\nChecksums-Sha256:\n" FILES "Directory: pool/main/a/a\n\n"
	"Package: a\nVersion: 0.9\nDirectory: pool/a\nExtra-Source-Only: yes\nChecksums-Sha256:\n" FILES;

static int parse(const char *text, struct source_list *l, struct err *e)
{
	return sources_parse(text, strlen(text), "debian", 500, l, e);
}

TEST(source_index_gives_what_is_wanted)
{
	_cleanup_(strv_free) struct strv names = {0};
	strv_add(&names, "a");
	_cleanup_(source_list_freep) struct source_list *l = source_list_new(&names);
	struct err e = ERR_INIT;

	assert_ok(parse(index_text, l, &e), &e);
	assert_int_equal(l->n, 1);
	const struct source_package *s = &l->items[0];
	assert_string_equal(s->name, "a");
	assert_string_equal(s->version, "1");
	assert_string_equal(s->directory, "pool/main/a/a");
	assert_string_equal(s->depends, "debhelper-compat (= 13),\n libx-dev <!nocheck>");
	assert_string_equal(s->depends_arch, "");
	assert_string_equal(s->conflicts, "y");
	assert_string_equal(s->repository, "debian");
	assert_int_equal(s->n_files, 2);
	assert_string_equal(s->files[1].name, "a_1.tar.xz");
	assert_int_equal(s->files[1].size, 20);
}

TEST(source_index_says_what_is_wrong)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"Package: a\nDirectory: pool\nChecksums-Sha256:\n" FILES, "source 'a' has no version"},
		{"Package: a\nVersion: 1\nDirectory: /etc\nChecksums-Sha256:\n" FILES, "no proper Directory"},
		{"Package: a\nVersion: 1\nDirectory: pool\n", "it has no Checksums-Sha256"},
		{"Package: a\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n " D1 " 10\n",
		 "is no file of a source package"},
		{"Package: a\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n " D1 " 10 ../a.dsc\n",
		 "is no file of a source package"},
		{"Package: a\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n 11 10 a.dsc\n",
		 "'11 10 a.dsc' is no file of a source package"},
		{"Package a\n", "line 1 is no 'Field: value'"},
	};
	_cleanup_(strv_free) struct strv names = {0};
	strv_add(&names, "a");

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(source_list_freep) struct source_list *l = source_list_new(&names);
		struct err e = ERR_INIT;
		assert_fails(parse(cases[i].text, l, &e), ERR_FORMAT, &e, cases[i].error);
		assert_int_equal(l->n, 0);
	}
}

TEST(source_depends_leaves_out_what_does_not_concern_us)
{
	static const struct {
		const char *field, *plain;
	} cases[] = {
		{"", ""},
		{"a", "a"},
		{"a, b (>= 1), c:native", "a, b (>= 1), c:native"},
		{"a (<< 2) [amd64]", "a (<< 2)"},
		{"a [i386 arm64], b", "b"},
		{"a [!i386 !arm64], b [!amd64]", "a"},
		{"a [linux-any], b [any-amd64], c [hurd-any], d [any]", "a, b, d"},
		{"a [any-i386 gnu-linux-amd64], b [musl-linux-any]", "a"},
		{"a <!nocheck>, b <nocheck>, c <stage1>", "b"},
		{"a <!nocheck !nodoc> <stage2>, b <!stage1 nodoc>", "b"},
		{"a <!nocheck> <nodoc>", "a"},
		{"a [amd64] <!nocheck>, b [amd64] <nodoc>", "b"},
		{"x [i386] | y | z <!nodoc>, w", "y, w"},
		{"x | y (= 3) [amd64] | z", "x | y (= 3) | z"},
		{"a,\n b  ,\n", "a, b"},
	};
	_cleanup_(strv_free) struct strv profiles = {0};
	strv_add(&profiles, "nocheck");
	strv_add(&profiles, "nodoc");

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf b = {0};
		struct err e = ERR_INIT;
		buf_puts(&b, "");
		assert_ok(source_depends(cases[i].field, "amd64", &profiles, &b, &e), &e);
		assert_string_equal(b.data, cases[i].plain);
		/* the solver must be able to read it */
		const char *pos = b.data;
		struct dependency d;
		int r;
		while ((r = dependency_next(&pos, &d, &e)) > 0)
			;
		assert_ok(r, &e);
	}
}

TEST(source_depends_goes_on_behind_what_is_there)
{
	_cleanup_(strv_free) struct strv none = {0};
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	buf_puts(&b, "build-essential");
	assert_ok(source_depends("a <nodoc>", "amd64", &none, &b, &e), &e);
	assert_ok(source_depends("b | c", "amd64", &none, &b, &e), &e);
	assert_string_equal(b.data, "build-essential, b | c");
}

TEST(source_depends_says_what_it_cannot_read)
{
	static const char *const cases[] = {"a [amd64", "a <!nocheck", "a [amd64] x"};
	_cleanup_(strv_free) struct strv none = {0};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(buf_free) struct buf b = {0};
		struct err e = ERR_INIT;
		assert_fails(source_depends(cases[i], "amd64", &none, &b, &e), ERR_FORMAT, &e,
			     "cannot read the dependency");
	}
}

TEST(source_dsc_names_the_files_of_the_index)
{
	static const char tar[] = "Checksums-Sha256:\n " D2 " 20 a_1.tar.xz\n";
	static const struct {
		const char *dsc;
		int code;
		const char *error;
	} cases[] = {
		{"Source: a\nChecksums-Sha256:\n " D2 " 20 a_1.tar.xz\n", 0, NULL},
		{"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSource: a\nChecksums-Sha256:\n " D2
		 " 20 a_1.tar.xz\n\n-----BEGIN PGP SIGNATURE-----\nx\n",
		 0, NULL},
		/* as some sign: with no empty line before the signature, but one in it */
		{"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSource: a\nChecksums-Sha256:\n " D2
		 " 20 a_1.tar.xz\n-----BEGIN PGP SIGNATURE-----\n\nx\n",
		 0, NULL},
		{"Checksums-Sha256:\n " D1 " 20 a_1.tar.xz\n", ERR_DIGEST, "names 'a_1.tar.xz' otherwise"},
		{"Checksums-Sha256:\n " D2 " 21 a_1.tar.xz\n", ERR_DIGEST, "names 'a_1.tar.xz' otherwise"},
		{"Checksums-Sha256:\n " D2 " 20 b_1.tar.xz\n", ERR_DIGEST, "names 'b_1.tar.xz' otherwise"},
		{"Checksums-Sha256:\n " D1 " 10 a_1.dsc\n " D2 " 20 a_1.tar.xz\n", ERR_DIGEST, "it names 2 files"},
		{"Source: a\n", ERR_FORMAT, "no Checksums-Sha256"},
		{"", ERR_FORMAT, "it is empty"},
		{"-----BEGIN PGP SIGNED MESSAGE-----\n", ERR_FORMAT, "it is empty"},
	};
	_cleanup_(strv_free) struct strv names = {0};
	strv_add(&names, "a");
	_cleanup_(source_list_freep) struct source_list *l = source_list_new(&names);
	struct err e = ERR_INIT;

	assert_ok(parse(index_text, l, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int r = source_check_dsc(cases[i].dsc, strlen(cases[i].dsc), l->items[0].files, 2, &e);
		if (cases[i].code == 0)
			assert_ok(r, &e);
		else
			assert_fails(r, cases[i].code, &e, cases[i].error);
	}
	/* an index that has more than the .dsc */
	assert_fails(source_check_dsc(tar, strlen(tar), l->items[0].files, 1, &e), ERR_DIGEST, &e,
		     "names 'a_1.tar.xz' otherwise");
}
