/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/deb.h"
#include "mixer/input/tree.h"
#include "swupd/base/fs.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"

DEFINE_CLEANUP(struct store *, store_close);

/* Run a shell script that makes a package from files below $1, in dir. */
static void run(int dir, const char *script)
{
	const char *const argv[] = {"sh", "-ec", script, NULL};
	struct err e = ERR_INIT;

	assert_ok(proc_check(&(struct proc){.argv = argv, .dirfd = dir}, &e), &e);
}

#define BEGIN                                                                                                          \
	"umask 022; rm -rf p; mkdir -p p/DEBIAN p/usr/bin; "                                                           \
	"printf 'Package: t\\nVersion: 1\\nArchitecture: all\\nMaintainer: t\\nDescription: t\\n' > "                  \
	"p/DEBIAN/control; "

static int unpack(int dir, const char *name, struct tree **out, struct err *e)
{
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY);

	assert_true(fd >= 0);
	assert_ok(store_open(dir, &s, e), e);
	int r = deb_unpack(fd, "t", s, out, e);
	if (r >= 0)
		tree_sort(*out);
	return r;
}

TEST(deb_gives_files_links_and_hard_links_in_every_compression)
{
	static const char *const codecs[] = {"xz", "zstd", "gzip", "none"};

	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		_cleanup_close_ int dir = test_dir(NULL, 0);
		_cleanup_(tree_freep) struct tree *t = NULL;
		struct err e = ERR_INIT;
		_cleanup_free_ char *script =
			xasprintf(BEGIN "echo hello > p/usr/bin/a; chmod 4755 p/usr/bin/a; ln p/usr/bin/a p/usr/bin/b; "
					"ln -s a p/usr/bin/l; mkdir -m 1777 'p/usr/sticky dir'; "
					"dpkg-deb --root-owner-group -Z%s -b p t.deb >/dev/null",
				  codecs[i]);
		run(dir, script);
		assert_ok(unpack(dir, "t.deb", &t, &e), &e);
		const struct node *a = tree_find(t, "/usr/bin/a"), *b = tree_find(t, "/usr/bin/b");
		assert_int_equal(a->attrs.mode, 04755);
		assert_int_equal(a->attrs.size, 6);
		assert_true(digest_equal(&a->hash, &b->hash));
		assert_string_equal(tree_find(t, "/usr/bin/l")->link, "a");
		assert_int_equal(tree_find(t, "/usr/sticky dir")->attrs.mode, 01777);
		assert_null(tree_find(t, "/"));
	}
}

TEST(deb_that_is_cut_is_an_error_wherever_it_is_cut)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;
	struct stat st;

	run(dir,
	    BEGIN "head -c 20000 /dev/urandom > p/usr/bin/a; dpkg-deb --root-owner-group -Zxz -b p t.deb >/dev/null");
	assert_int_equal(fstatat(dir, "t.deb", &st, 0), 0);
	for (off_t len = 0; len < st.st_size - 1; len += 997) {
		_cleanup_(tree_freep) struct tree *t = NULL;
		_cleanup_free_ char *cut = xasprintf("head -c %lld t.deb > cut.deb", (long long)len);
		run(dir, cut);
		assert_int_equal(unpack(dir, "cut.deb", &t, &e), -ERR_FORMAT);
		assert_non_null(e.text);
		err_clear(&e);
	}
}

TEST(deb_with_a_fifo_is_refused_by_name)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(tree_freep) struct tree *t = NULL;
	struct err e = ERR_INIT;

	run(dir, BEGIN "mkfifo p/usr/bin/pipe; dpkg-deb --root-owner-group -Zxz -b p t.deb >/dev/null");
	assert_fails(unpack(dir, "t.deb", &t, &e), ERR_FORMAT, &e, "/usr/bin/pipe: neither a file");
}

TEST(deb_with_a_name_that_cannot_be_content_is_refused)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(tree_freep) struct tree *t = NULL;
	struct err e = ERR_INIT;

	/* dpkg-deb would not make such a package */
	run(dir, BEGIN "touch \"$(printf 'p/usr/bin/a\\nb')\"; echo 2.0 > debian-binary; tar -C p/DEBIAN -cJf "
		       "control.tar.xz control; "
		       "tar -C p -cJf data.tar.xz ./usr; ar rc t.deb debian-binary control.tar.xz data.tar.xz");
	assert_int_equal(unpack(dir, "t.deb", &t, &e), -ERR_PATH);
	err_clear(&e);
}

TEST(deb_with_files_of_who_built_it_is_refused)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(tree_freep) struct tree *t = NULL;
	struct err e = ERR_INIT;

	run(dir, BEGIN "touch p/usr/bin/x; echo 2.0 > debian-binary; tar -C p/DEBIAN -cJf control.tar.xz control; "
		       "tar -C p --owner=1000 --group=0 -cJf data.tar.xz ./usr/bin/x; "
		       "ar rc t.deb debian-binary control.tar.xz data.tar.xz");
	assert_int_equal(unpack(dir, "t.deb", &t, &e), -ERR_FORMAT);
	assert_string_equal(e.text, "/usr/bin/x: it belongs to user 1000, group 0, who are not the same everywhere");
	assert_non_null(strstr(e.hint, "--root-owner-group"));
	err_clear(&e);
}

TEST(deb_with_names_in_utf8_is_read_in_any_locale)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(tree_freep) struct tree *t = NULL;
	struct err e = ERR_INIT;

	run(dir, BEGIN "touch \"$(printf 'p/usr/bin/\\303\\274')\"; echo 2.0 > debian-binary; "
		       "tar -C p/DEBIAN -cJf control.tar.xz control; "
		       "tar -C p --format=pax --owner=0 --group=0 -cJf data.tar.xz ./usr; "
		       "ar rc t.deb debian-binary control.tar.xz data.tar.xz");
	assert_ok(unpack(dir, "t.deb", &t, &e), &e);
	assert_non_null(tree_find(t, "/usr/bin/\303\274"));
}
