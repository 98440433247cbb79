/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/sbom.h"
#include "mixer/step/step.h"
#include "swupd/base/fs.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"

/* A workspace with packages in its cache, a lock of them, and bundles. */
struct world {
	char path[256];
	int dir;
	struct config *config;
	struct mix mix;
	struct buf lock_text;
	struct lock *lock;
	struct bundle_set set;
	struct release_trees *trees;
	struct err e;
};

static void run(int dir, const char *script)
{
	const char *const argv[] = {"sh", "-ec", script, NULL};
	struct err e = ERR_INIT;

	assert_ok(proc_check(&(struct proc){.argv = argv, .dirfd = dir}, &e), &e);
}

static void world_new(struct world *w, const char *rules)
{
	static const char conf[] = "[mix]\nname = Test \"OS\"\nid = test\nrules-file = rules\n"
				   "[publish]\ncontent-url = http://127.0.0.1/c\nversion-url = http://127.0.0.1/v\n";

	*w = (struct world){.e = ERR_INIT};
	w->dir = test_dir(w->path, sizeof(w->path));
	assert_ok(fs_save_cache(w->dir, "rules", rules, strlen(rules), 0644, &w->e), &w->e);
	assert_ok(fs_save_cache(w->dir, "Swupd_Root.pem", "CERT\n", 5, 0644, &w->e), &w->e);
	assert_ok(config_parse(conf, strlen(conf), "mixer.conf", dup(w->dir), w->path, &w->config, &w->e), &w->e);
	w->config->threads = 2;
	w->mix = (struct mix){.config = w->config, .release = 10, .format = 30};
	w->mix.cache = fs_make_dir(w->dir, "cache", 0755, &w->e);
	assert_ok(fs_mkdirs(w->mix.cache, "debs", 0755, &w->e), &w->e);
	assert_ok(store_open(w->mix.cache, &w->mix.store, &w->e), &w->e);
	buf_puts(&w->lock_text, "limpid-lock 1\ntime 1763700000\ninput "
				"1111111111111111111111111111111111111111111111111111111111111111\n");
}

static void world_free(struct world *w)
{
	release_trees_free(w->trees);
	bundle_set_free(&w->set);
	lock_free(w->lock);
	buf_free(&w->lock_text);
	store_close(w->mix.store);
	close(w->mix.cache);
	config_free(w->config);
	err_clear(&w->e);
	close(w->dir);
}

/* Build a package: script fills the current directory with its files. */
static void package(struct world *w, const char *name, const char *script)
{
	_cleanup_free_ char *all =
		xasprintf("umask 022; rm -rf p; mkdir -p p/DEBIAN; "
			  "printf 'Package: %s\\nVersion: 1\\nArchitecture: all\\nMaintainer: t\\nDescription: t\\n' > "
			  "p/DEBIAN/control; (cd p; %s); dpkg-deb --root-owner-group -Zgzip -b p p.deb >/dev/null",
			  name, script);
	struct digest d;
	struct stat st;
	char hex[DIGEST_HEX];

	run(w->dir, all);
	_cleanup_close_ int fd = openat(w->dir, "p.deb", O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_ok(sha256_fd(fd, &d, &w->e), &w->e);
	digest_format(&d, hex);
	_cleanup_free_ char *deb = xasprintf("%s/cache/debs/%s.deb", w->path, hex);
	_cleanup_free_ char *from = xasprintf("%s/p.deb", w->path);
	assert_int_equal(rename(from, deb), 0);
	buf_printf(&w->lock_text, "package %s 1 all %s %lld local %s 1 %s.deb\n", name, hex, (long long)st.st_size,
		   name, name);
}

/* packages: of the lock's closure, with a blank before each. text: of the definition */
static void bundle(struct world *w, const char *name, const char *text, const char *packages)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", w->path, name);
	struct bundle *b = NULL;

	assert_ok(bundle_parse(text, strlen(text), name, file, false, &b, &w->e), &w->e);
	VEC_GROW(w->set.items, w->set.n, w->set.cap);
	w->set.items[w->set.n++] = b;
	buf_printf(&w->lock_text, "bundle %s%s\n", name, packages);
}

static int populate_world(struct world *w)
{
	release_trees_free(w->trees);
	w->trees = NULL;
	if (!w->lock)
		assert_ok(lock_parse(w->lock_text.data, w->lock_text.len, &w->lock, &w->e), &w->e);
	return populate(&w->mix, &w->set, w->lock, &w->trees, &w->e);
}

static void populated(struct world *w)
{
	assert_ok(populate_world(w), &w->e);
	if (!w->trees)
		abort();
}

static const struct bundle_tree *tree_of(const struct world *w, const char *bundle)
{
	for (size_t i = 0; i < w->trees->n; i++)
		if (strcmp(w->trees->bundles[i].name, bundle) == 0)
			return &w->trees->bundles[i];
	fail_msg("there is no bundle '%s'", bundle);
	return NULL;
}

static char *text_at(const struct world *w, const char *path)
{
	const struct node *n = tree_find(w->trees->full, path);
	struct buf text = {0};
	struct err e = ERR_INIT;

	if (!n)
		fail_msg("there is no %s", path);
	assert_ok(store_load(w->mix.store, &n->hash, 1 << 20, &text, &e), &e);
	return text.data ? text.data : xstrdup("");
}

static bool has(const struct world *w, const char *bundle, const char *path)
{
	return tree_find(tree_of(w, bundle)->tree, path) != NULL;
}

static void two_bundles(struct world *w)
{
	world_new(w, "drop /usr/share/doc/\n");
	package(w, "base",
		"mkdir -p usr/bin usr/lib usr/share/doc/base etc/base var/lib/base; echo sh > usr/bin/sh; "
		"chmod 755 usr/bin/sh; echo NAME=Debian > usr/lib/os-release; echo x > etc/base/conf; "
		"echo 'License: Expat' > usr/share/doc/base/copyright");
	package(w, "tool",
		"mkdir -p usr/bin usr/lib/sysusers.d; echo t > usr/bin/tool; ln -s tool usr/bin/t; "
		"echo 'u tool -' > usr/lib/sysusers.d/tool.conf; mkdir -p usr/share/doc; ln -s base "
		"usr/share/doc/tool");
	run(w->dir, "mkdir -p overlay/usr/bin overlay/usr/share/factory/etc; echo mine > overlay/usr/bin/tool; "
		    "chmod 700 overlay/usr/bin/tool; echo h > overlay/usr/share/factory/etc/hosts");
	bundle(w, "os-core", "base\n", " base");
	bundle(w, "os-core-update", "include(os-core)\n", "");
	bundle(w, "tools", "tool\ncontent(overlay)\n", " base tool");
}

TEST(populate_makes_an_os_of_packages)
{
	_cleanup_(world_free) struct world w;

	two_bundles(&w);
	populated(&w);
	assert_int_equal(w.trees->time, 1763700000);
	_cleanup_free_ char *os = text_at(&w, "/usr/lib/os-release");
	assert_non_null(strstr(os, "NAME=\"Test \\\"OS\\\"\"\nID=test\n"));
	assert_non_null(strstr(os, "PRETTY_NAME=\"Test \\\"OS\\\" 10\"\n"));
	assert_non_null(strstr(os, "VERSION_ID=10\n"));
	_cleanup_free_ char *version = text_at(&w, "/usr/share/clear/version");
	_cleanup_free_ char *stamp = text_at(&w, "/usr/share/clear/versionstamp");
	_cleanup_free_ char *url = text_at(&w, "/usr/share/defaults/swupd/contenturl");
	_cleanup_free_ char *cert = text_at(&w, "/usr/share/clear/update-ca/Swupd_Root.pem");
	assert_string_equal(version, "10");
	assert_string_equal(stamp, "1763700000");
	assert_string_equal(url, "http://127.0.0.1/c");
	assert_string_equal(cert, "CERT\n");
	assert_string_equal(tree_find(w.trees->full, "/bin")->link, "usr/bin");
	assert_int_equal(tree_find(w.trees->full, "/tmp")->attrs.mode, 01777);
	/* who says nothing builds on os-core; only that begins the OS */
	assert_string_equal(tree_of(&w, "tools")->includes.items[0], "os-core");
	assert_true(has(&w, "os-core", "/usr/lib/os-release"));
	assert_true(has(&w, "os-core", "/etc"));
	assert_false(has(&w, "tools", "/etc"));
	assert_true(has(&w, "tools", "/usr/share/clear/bundles/tools"));
	assert_false(has(&w, "tools", "/usr/share/clear/bundles/os-core"));
	for (size_t i = 0; i < w.trees->full->n; i++) {
		const char *path = w.trees->full->nodes[i].path;
		if (strchr(path + 1, '/') && !text_starts(path, "/usr/"))
			fail_msg("%s lies outside of /usr", path);
	}
}

TEST(populate_takes_content_before_packages)
{
	_cleanup_(world_free) struct world w;

	two_bundles(&w);
	populated(&w);
	_cleanup_free_ char *tool = text_at(&w, "/usr/bin/tool");
	assert_string_equal(tool, "mine\n");
	assert_int_equal(tree_find(w.trees->full, "/usr/bin/tool")->attrs.mode, 0755);
	assert_string_equal(tree_find(w.trees->full, "/usr/bin/tool")->origin, "bundle tools");
	_cleanup_free_ char *lines = text_at(&w, "/usr/lib/tmpfiles.d/zz-bundle-tools.conf");
	assert_non_null(strstr(lines, "L /etc/hosts - - - - ../usr/share/factory/etc/hosts\n"));
}

TEST(populate_drops_what_a_bundle_does_without)
{
	struct world w;

	world_new(&w, "");
	package(&w, "base",
		"mkdir -p usr/lib/units; for f in a.service b.service b.target; do echo x > usr/lib/units/$f; done");
	package(&w, "more", "mkdir -p usr/lib/units; echo x > usr/lib/units/more.service");
	bundle(&w, "big", "base\n", " base");
	bundle(&w, "onsmall", "include(small)\nbase\nmore\n", " base more");
	bundle(&w, "small", "base-files\nbase\ndrop(/usr/lib/units/)\nkeep(/usr/lib/units/*.target)\n", " base");
	populated(&w);
	assert_true(has(&w, "small", "/usr/lib/units/b.target"));
	assert_true(has(&w, "small", "/usr/lib/units"));
	assert_false(has(&w, "small", "/usr/lib/units/a.service"));
	assert_false(has(&w, "onsmall", "/usr/lib/units/a.service"));
	assert_true(has(&w, "onsmall", "/usr/lib/units/more.service"));
	assert_true(has(&w, "big", "/usr/lib/units/a.service"));
	world_free(&w);
}

TEST(populate_keeps_the_numbers_of_users_in_the_lock)
{
	_cleanup_(world_free) struct world w;

	two_bundles(&w);
	populated(&w);
	_cleanup_free_ char *text = text_at(&w, "/usr/lib/sysusers.d/tool.conf");
	assert_string_equal(text, "u tool 999\n");
	assert_int_equal(w.lock->n_ids, 1);
	assert_string_equal(w.lock->ids[0].name, "tool");
}

static void formatted(const struct world *w, struct buf *out)
{
	struct err e = ERR_INIT;

	tree_format(w->trees->full, out);
	for (size_t i = 0; i < w->trees->n; i++)
		tree_format(w->trees->bundles[i].tree, out);
	assert_ok(sbom_format(w->lock, "Test OS", 10, w->trees->notices, w->mix.store, out, &e), &e);
}

TEST(populate_gives_the_same_again_with_a_cache_and_without)
{
	_cleanup_(world_free) struct world w;
	_cleanup_(buf_free) struct buf first = {0}, cached = {0}, anew = {0};

	two_bundles(&w);
	populated(&w);
	formatted(&w, &first);
	/* with a cache nothing is unpacked */
	run(w.dir, "mv cache/debs cache/gone");
	populated(&w);
	formatted(&w, &cached);
	assert_string_equal(first.data, cached.data);
	/* a crash of the machine cut an object and a list */
	run(w.dir, "mv cache/gone cache/debs; f=$(grep -rl '^echo\\|^t$' cache/objects | head -1); : > \"$f\"; "
		   "for p in cache/packages/*/*; do head -c 30 \"$p\" > x; mv x \"$p\"; break; done");
	populated(&w);
	formatted(&w, &anew);
	assert_string_equal(first.data, anew.data);
	for (size_t i = 0; i < w.trees->full->n; i++)
		assert_true(store_has(w.mix.store, &w.trees->full->nodes[i]));
}

TEST(populate_names_the_package_that_is_damaged)
{
	_cleanup_(world_free) struct world w;

	two_bundles(&w);
	run(w.dir, "for f in cache/debs/*; do head -c 300 \"$f\" > x; mv x \"$f\"; done");
	assert_fails(populate_world(&w), ERR_FORMAT, &w.e, "package base 1: ");
}

TEST(populate_refuses_packages_that_differ_about_a_path)
{
	_cleanup_(world_free) struct world w;

	world_new(&w, "");
	package(&w, "a", "mkdir -p usr/bin; echo a > usr/bin/x");
	package(&w, "b", "mkdir -p usr/bin; echo b > usr/bin/x");
	bundle(&w, "one", "a\n", " a");
	bundle(&w, "two", "b\n", " b");
	assert_int_equal(populate_world(&w), -ERR_CONFLICT);
	assert_string_equal(w.e.text, "/usr/bin/x is not the same in 'a' (bundle 'one') and in 'b' (bundle 'two')");
	assert_non_null(w.e.hint);
}

TEST(sbom_has_the_notices_of_packages_that_ship_none)
{
	_cleanup_(world_free) struct world w;
	_cleanup_(buf_free) struct buf text = {0};

	two_bundles(&w);
	populated(&w);
	assert_null(tree_find(w.trees->full, "/usr/share/doc/base/copyright"));
	assert_ok(sbom_format(w.lock, "Test OS", 10, w.trees->notices, w.mix.store, &text, &w.e), &w.e);
	const char *found = strstr(text.data, "\"extractedText\": \"License: Expat");
	assert_non_null(found);
	/* once, though both packages have it: tool's folder is a link to base's */
	assert_null(strstr(found + strlen("\"extractedText\""), "extractedText"));
	const char *first = strstr(text.data, "\"licenseDeclared\": \"LicenseRef-");
	assert_non_null(first);
	const char *second = strstr(first + 1, "\"licenseDeclared\": \"LicenseRef-");
	assert_non_null(second);
	assert_memory_equal(first, second, strlen("\"licenseDeclared\": \"LicenseRef-") + 32);
}

TEST(release_trees_come_back_as_they_were_saved)
{
	_cleanup_(world_free) struct world w;
	_cleanup_(buf_free) struct buf before = {0}, after = {0};
	struct release_trees *back = NULL;

	two_bundles(&w);
	populated(&w);
	/* a second time over the first */
	assert_ok(release_trees_save(&w.mix, w.trees, &w.e), &w.e);
	assert_ok(release_trees_save(&w.mix, w.trees, &w.e), &w.e);
	assert_ok(release_trees_load(&w.mix, 10, &back, &w.e), &w.e);
	assert_int_equal(back->time, w.trees->time);
	assert_int_equal(back->n, w.trees->n);
	tree_format(w.trees->full, &before);
	tree_format(back->full, &after);
	for (size_t i = 0; i < back->n; i++) {
		assert_string_equal(back->bundles[i].name, w.trees->bundles[i].name);
		assert_int_equal(back->bundles[i].includes.n, w.trees->bundles[i].includes.n);
		tree_format(w.trees->bundles[i].tree, &before);
		tree_format(back->bundles[i].tree, &after);
	}
	assert_string_equal(before.data, after.data);
	release_trees_free(back);
	assert_fails(release_trees_load(&w.mix, 20, &back, &w.e), ENOENT, &w.e, "release 20");
}
