/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/tree.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

DEFINE_CLEANUP(struct store *, store_close);

static void add_file(struct tree *t, struct store *s, const char *path, const char *text, uint32_t mode)
{
	struct node n = {
		.path = path, .origin = "test", .attrs = {.kind = KIND_FILE, .mode = mode, .size = strlen(text)}};
	struct err e = ERR_INIT;

	assert_ok(store_put(s, &n.attrs, text, &n.hash, &e), &e);
	tree_add(t, &n);
}

static void add_link(struct tree *t, const char *path, const char *target)
{
	struct node n = {
		.path = path, .origin = "test", .link = target, .attrs = {.kind = KIND_LINK, .size = strlen(target)}};

	file_hash_mem(&n.attrs, target, strlen(target), &n.hash);
	tree_add(t, &n);
}

TEST(tree_reads_what_it_wrote)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *t = tree_new(), *back = NULL;
	_cleanup_(buf_free) struct buf text = {0}, again = {0};
	struct err e = ERR_INIT;

	assert_ok(store_open(dir, &s, &e), &e);
	add_file(t, s, "/usr/bin/x", "hello", 04755);
	add_link(t, "/usr/bin/y", "x\ty");
	tree_format(t, &text);
	assert_ok(tree_parse(text.data, text.len, &back, &e), &e);
	assert_int_equal(back->n, 2);
	assert_int_equal(back->nodes[0].attrs.mode, 04755);
	assert_string_equal(back->nodes[1].link, "x\ty");
	tree_format(back, &again);
	assert_string_equal(text.data, again.data);
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

TEST(tree_refuses_lines_that_are_none)
{
	static const char *const bad[] = {
		"F\t644\t0\t0\t5\n",
		"X\t644\t0\t0\t5\t" ZEROS "\to\t/a\t\n",
		"F\t648\t0\t0\t5\t" ZEROS "\to\t/a\t\n",
		"F\t644\t0\t0\t5\t" ZEROS "\to\t/a/../b\t\n",
		"F\t644\t0\t0\t5\t00\to\t/a\t\n",
		"F\t644\t0\t0\t5\t" ZEROS "\to\t/a\t",
	};
	struct tree *t = NULL;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_free_ char *text = xasprintf("limpid-tree 1 1\n%s", bad[i]);
		assert_fails(tree_parse(text, strlen(text), &t, &e), ERR_FORMAT, &e, "tree:2:");
	}
	assert_fails(tree_parse(bad[1], strlen(bad[1]), &t, &e), ERR_FORMAT, &e, "tree:1:");
}

TEST(tree_that_lost_lines_is_refused)
{
	static const char one_of_two[] = "limpid-tree 1 2\nF\t644\t0\t0\t5\t" ZEROS "\to\t/a\t\n";
	static const char *const cut[] = {"", "limpid-tree 1 0", "limpid-tree 1 2", "limpid-tree 1 2\n", one_of_two};
	struct tree *t = NULL;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cut); i++)
		assert_fails(tree_parse(cut[i], strlen(cut[i]), &t, &e), ERR_FORMAT, &e, "cut off");
	assert_ok(tree_parse("limpid-tree 1 0\n", 16, &t, &e), &e);
	assert_int_equal(t->n, 0);
	tree_free(t);
}

TEST(store_keeps_content_once_and_knows_a_truncated_object)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *t = tree_new();
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	char hex[DIGEST_HEX];

	assert_ok(store_open(dir, &s, &e), &e);
	add_file(t, s, "/a", "content", 0644);
	add_file(t, s, "/b", "content", 0644);
	assert_true(digest_equal(&t->nodes[0].hash, &t->nodes[1].hash));
	assert_true(store_has(s, &t->nodes[0]));
	assert_ok(store_load(s, &t->nodes[0].hash, 100, &text, &e), &e);
	assert_string_equal(text.data, "content");
	digest_format(&t->nodes[0].hash, hex);
	_cleanup_free_ char *path = xasprintf("objects/%.2s/%s", hex, hex);
	_cleanup_close_ int fd = openat(dir, path, O_WRONLY);
	assert_int_equal(ftruncate(fd, 3), 0);
	assert_false(store_has(s, &t->nodes[0]));
	add_file(t, s, "/c", "content", 0644);
	assert_true(store_has(s, &t->nodes[0]));
}

TEST(store_refuses_content_of_another_size)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	const struct attrs a = {.kind = KIND_FILE, .mode = 0644, .size = 4};
	struct store_writer *w;
	struct digest d;
	struct err e = ERR_INIT;

	assert_ok(store_open(dir, &s, &e), &e);
	assert_ok(store_begin(s, &a, &w, &e), &e);
	assert_ok(store_write(w, "ab", 2, &e), &e);
	assert_fails(store_end(w, &d, &e), ERR_FORMAT, &e, "less content than its size of 4");
	assert_ok(store_begin(s, &a, &w, &e), &e);
	assert_fails(store_write(w, "abcde", 5, &e), ERR_FORMAT, &e, "more content");
	store_abort(w);
}

TEST(tree_checkout_makes_files_with_their_modes)
{
	_cleanup_close_ int dir = test_dir(NULL, 0), out = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *t = tree_new();
	struct err e = ERR_INIT;
	struct stat st;

	assert_ok(store_open(dir, &s, &e), &e);
	add_file(t, s, "/usr/bin/x", "hello", 04755);
	add_link(t, "/usr/bin/y", "x");
	struct node private = {.path = "/var/lib/private", .origin = "test", .attrs = {.kind = KIND_DIR, .mode = 0700}};
	tree_add(t, &private);
	assert_ok(tree_checkout(t, s, out, &e), &e);
	assert_int_equal(fstatat(out, "var/lib/private", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(fstatat(out, "usr/bin/y", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 04755);
	assert_int_equal(st.st_size, 5);
}
