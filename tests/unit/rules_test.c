/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "mixer/input/lock.h"
#include "mixer/input/rules.h"
#include "mixer/input/tree.h"
#include "mixer/step/convert.h"
#include "mixer/step/gather.h"
#include "mixer/step/sbom.h"
#include "mixer/step/sysusers.h"
#include "swupd/base/compress.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"

DEFINE_CLEANUP(struct store *, store_close);

static const char rules_text[] = "# a comment\n"
				 "drop /usr/share/doc/\n"
				 "drop /usr/lib/x*.so   # why\n"
				 "comment-only /etc/systemd/\n"
				 "expand /usr/lib/modules/\n"
				 "move /etc/systemd/ /usr/lib/systemd/\n"
				 "move /usr/share/a/b /etc/b.conf\n"
				 "link /usr/lib/ssl/cert.pem ../../x\n"
				 "copy /etc/passwd\n";

static struct rules *rules(void)
{
	struct rules *r = NULL;
	struct err e = ERR_INIT;

	assert_ok(rules_parse(rules_text, strlen(rules_text), "rules", &r, &e), &e);
	return r;
}

TEST(rules_decide_by_the_first_that_matches)
{
	static const struct {
		const char *path;
		enum rule_action action;
		const char *to;
	} cases[] = {
		{"/usr/share/doc", RULE_DROP, NULL},
		{"/usr/share/doc/a/b", RULE_DROP, NULL},
		{"/usr/share/docs", RULE_KEEP, NULL},
		{"/usr/lib/x1.so", RULE_DROP, NULL},
		{"/usr/lib/x.so", RULE_DROP, NULL},
		{"/usr/lib/x/y.so", RULE_KEEP, NULL},
		{"/usr/lib/x1.so.2", RULE_KEEP, NULL},
		{"/etc/systemd/a.conf", RULE_COMMENT_ONLY, NULL},
		{"/usr/share/a/b", RULE_MOVE, "/etc/b.conf"},
		{"/usr/lib/ssl/cert.pem", RULE_LINK, "../../x"},
		{"/", RULE_KEEP, NULL},
	};
	_cleanup_(rules_freep) struct rules *r = rules();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *to = NULL;
		size_t at = 0;
		assert_int_equal(rules_find(r, cases[i].path, &at, &to), cases[i].action);
		if (cases[i].to)
			assert_string_equal(to, cases[i].to);
		else
			assert_null(to);
	}
	_cleanup_free_ char *to = NULL;
	size_t at = 0;
	assert_int_equal(rules_find(r, "/etc/systemd/a.conf", &at, &to), RULE_COMMENT_ONLY);
	assert_int_equal(rules_find(r, "/etc/systemd/a.conf", &at, &to), RULE_MOVE);
	assert_string_equal(to, "/usr/lib/systemd/a.conf");
	assert_true(rules_copy(r, "/etc/passwd"));
	assert_false(rules_copy(r, "/etc/group"));
}

TEST(rules_name_the_line_of_a_mistake)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"\ndrip /x\n", "f:2: 'drip' is not a rule"},
		{"drop\n", "f:1: 'drop' takes 1 words, not 0"},
		{"move /a\n", "f:1: 'move' takes 2 words, not 1"},
		{"drop usr/x\n", "f:1: the name 'usr/x' is not absolute"},
		{"move /a/ /usr/../b/\n", "f:1: the name '/usr/../b' has a '.' or '..' component"},
		{"drop /a//b\n", "f:1: the name '/a//b' has an empty component"},
		{"move /a/ /b\n", "f:1: 'move' is from"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rules *r = NULL;
		struct err e = ERR_INIT;
		assert_fails(rules_parse(cases[i].text, strlen(cases[i].text), "f", &r, &e), ERR_FORMAT, &e,
			     cases[i].want);
	}
}

struct world {
	int dir;
	struct store *store;
	struct tree *raw, *made;
};

static void world_free(struct world *w)
{
	store_close(w->store);
	tree_free(w->raw);
	tree_free(w->made);
	closep(&w->dir);
}

static void world_new(struct world *w)
{
	struct err e = ERR_INIT;

	*w = (struct world){.dir = test_dir(NULL, 0), .raw = tree_new()};
	assert_ok(store_open(w->dir, &w->store, &e), &e);
}

static void put(struct world *w, enum file_kind kind, const char *path, const char *text, uint32_t mode, uint32_t uid)
{
	struct node n = {.path = path, .origin = "pkg", .attrs = {.kind = kind, .mode = mode, .uid = uid}};
	struct err e = ERR_INIT;

	n.attrs.size = text ? strlen(text) : 0;
	n.link = kind == KIND_LINK ? text : NULL;
	if (kind == KIND_FILE)
		assert_ok(store_put(w->store, &n.attrs, text, &n.hash, &e), &e);
	else
		file_hash_mem(&n.attrs, text, (size_t)n.attrs.size, &n.hash);
	tree_add(w->raw, &n);
}

static void convert(struct world *w)
{
	_cleanup_(rules_freep) struct rules *r = rules();
	struct err e = ERR_INIT;

	assert_ok(convert_package(r, w->store, "pkg", w->raw, &w->made, &e), &e);
}

static char *text_of(struct world *w, const char *path)
{
	const struct node *n = tree_find(w->made, path);
	struct buf b = {0};
	struct err e = ERR_INIT;

	if (!n)
		return NULL;
	assert_ok(store_load(w->store, &n->hash, 100000, &b, &e), &e);
	return b.data;
}

TEST(convert_leaves_nothing_outside_of_usr)
{
	_cleanup_(world_free) struct world w;

	world_new(&w);
	put(&w, KIND_DIR, "/etc", NULL, 0755, 0);
	put(&w, KIND_DIR, "/etc/app", NULL, 0750, 7);
	put(&w, KIND_FILE, "/etc/app/app.conf", "a=1\n", 0640, 7);
	put(&w, KIND_FILE, "/etc/passwd", "root\n", 0644, 0);
	put(&w, KIND_LINK, "/etc/link", "../run/x", 0, 0);
	put(&w, KIND_FILE, "/etc/systemd/only.conf", "[Manager]\n#a=1\n\n", 0644, 0);
	put(&w, KIND_FILE, "/etc/systemd/some.conf", "[Manager]\na=1\n", 0644, 0);
	put(&w, KIND_DIR, "/var/lib/app", NULL, 02770, 7);
	put(&w, KIND_FILE, "/var/lib/app/seed", "s", 0600, 7);
	put(&w, KIND_FILE, "/bin/tool", "t", 0755, 0);
	put(&w, KIND_DIR, "/lib", NULL, 0755, 0);
	put(&w, KIND_LINK, "/lib64", "usr/lib64", 0, 0);
	put(&w, KIND_FILE, "/usr/share/doc/app/copyright", "c", 0644, 0);
	put(&w, KIND_FILE, "/usr/lib/ssl/cert.pem", "c", 0644, 0);
	put(&w, KIND_DIR, "/run/app", NULL, 0755, 0);
	convert(&w);
	for (size_t i = 0; i < w.made->n; i++)
		assert_true(text_starts(w.made->nodes[i].path, "/usr/") ||
			    strcmp(w.made->nodes[i].path, "/lib64") == 0);
	assert_non_null(tree_find(w.made, "/usr/bin/tool"));
	assert_non_null(tree_find(w.made, "/usr/lib"));
	assert_null(tree_find(w.made, "/usr/share/doc/app/copyright"));
	assert_null(tree_find(w.made, "/usr/lib/systemd/only.conf"));
	assert_non_null(tree_find(w.made, "/usr/lib/systemd/some.conf"));
	assert_int_equal(tree_find(w.made, "/usr/lib/ssl/cert.pem")->attrs.kind, KIND_LINK);
	assert_int_equal(tree_find(w.made, "/usr/share/factory/etc/app/app.conf")->attrs.mode, 0640);
	_cleanup_free_ char *lines = text_of(&w, "/usr/lib/tmpfiles.d/zz-pkg.conf");
	assert_string_equal(lines, "# what pkg has outside of /usr\n"
				   "C /etc/passwd 0644 0 0 - /usr/share/factory/etc/passwd\n"
				   "C /var/lib/app/seed 0600 7 0 - /usr/share/factory/var/lib/app/seed\n"
				   "L /etc/app/app.conf - - - - ../../usr/share/factory/etc/app/app.conf\n"
				   "L /etc/link - - - - ../run/x\n"
				   "d /etc/app 0750 7 0 - -\n"
				   "d /run/app 0755 0 0 - -\n"
				   "d /var/lib/app 2770 7 0 - -\n");
}

static void put_compressed(struct world *w, const char *path, enum codec codec, const char *text)
{
	struct node n = {.path = path, .origin = "pkg", .attrs = {.kind = KIND_FILE, .mode = 0644}};
	_cleanup_(buf_free) struct buf stored = {0};
	struct err e = ERR_INIT;

	assert_ok(compress_mem(codec, 0, text, strlen(text), &stored, &e), &e);
	n.attrs.size = stored.len;
	assert_ok(store_put(w->store, &n.attrs, stored.data, &n.hash, &e), &e);
	tree_add(w->raw, &n);
}

TEST(convert_expands_what_a_rule_says)
{
	_cleanup_(world_free) struct world w;
	_cleanup_(rules_freep) struct rules *r = rules();
	struct err e = ERR_INIT;

	world_new(&w);
	put_compressed(&w, "/lib/modules/6.1/a.ko.xz", CODEC_XZ, "module a");
	put_compressed(&w, "/lib/modules/6.1/b.ko.zst", CODEC_ZSTD, "module b");
	put(&w, KIND_FILE, "/lib/modules/6.1/modules.order", "a.ko", 0644, 0);
	put_compressed(&w, "/usr/share/x.gz", CODEC_GZIP, "elsewhere");
	convert(&w);
	_cleanup_free_ char *a = text_of(&w, "/usr/lib/modules/6.1/a.ko"),
			    *b = text_of(&w, "/usr/lib/modules/6.1/b.ko");
	assert_string_equal(a, "module a");
	assert_string_equal(b, "module b");
	assert_int_equal(tree_find(w.made, "/usr/lib/modules/6.1/a.ko")->attrs.size, 8);
	assert_null(tree_find(w.made, "/usr/lib/modules/6.1/a.ko.xz"));
	assert_non_null(tree_find(w.made, "/usr/lib/modules/6.1/modules.order"));
	assert_non_null(tree_find(w.made, "/usr/share/x.gz"));
	put(&w, KIND_FILE, "/lib/modules/6.1/no.ko.xz", "not compressed", 0644, 0);
	put(&w, KIND_FILE, "/lib/modules/6.1/bad.ko.zst", "\x28\xb5\x2f\xfd cut", 0644, 0);
	tree_free(take(w.made));
	assert_int_equal(convert_package(r, w.store, "pkg", w.raw, &w.made, &e), -ERR_FORMAT);
	assert_non_null(strstr(e.text, "/lib/modules/6.1/bad.ko.zst"));
	err_clear(&e);
	w.raw->n--;
	convert(&w);
	assert_non_null(tree_find(w.made, "/usr/lib/modules/6.1/no.ko.xz"));
}

TEST(convert_refuses_two_files_of_one_name)
{
	_cleanup_(world_free) struct world w;
	_cleanup_(rules_freep) struct rules *r = rules();
	struct err e = ERR_INIT;

	world_new(&w);
	put(&w, KIND_FILE, "/bin/tool", "one", 0755, 0);
	put(&w, KIND_FILE, "/usr/bin/tool", "two", 0755, 0);
	assert_fails(convert_package(r, w.store, "pkg", w.raw, &w.made, &e), ERR_CONFLICT, &e,
		     "package pkg: it has two different files for /usr/bin/tool");
}

TEST(convert_takes_the_directory_that_is_not_the_default)
{
	_cleanup_(world_free) struct world w = {0};
	_cleanup_(rules_freep) struct rules *r = rules();
	struct err e = ERR_INIT;

	world_new(&w);
	put(&w, KIND_DIR, "/usr/lib/x", "", 0700, 0);
	put(&w, KIND_DIR, "/lib/x", "", 0755, 0);
	assert_ok(convert_package(r, w.store, "pkg", w.raw, &w.made, &e), &e);
	assert_int_equal(tree_find(w.made, "/usr/lib/x")->attrs.mode, 0700);
	assert_int_equal(w.made->n, 1);
}

TEST(convert_refuses_a_file_where_a_directory_is)
{
	_cleanup_(world_free) struct world w = {0};
	_cleanup_(rules_freep) struct rules *r = rules();
	struct err e = ERR_INIT;

	world_new(&w);
	put(&w, KIND_DIR, "/usr/lib/x", "", 0755, 0);
	put(&w, KIND_FILE, "/lib/x", "file", 0644, 0);
	assert_fails(convert_package(r, w.store, "pkg", w.raw, &w.made, &e), ERR_CONFLICT, &e, "/usr/lib/x");
}

TEST(convert_refuses_what_no_machine_could_be_given)
{
	static const char *const paths[] = {"/opt/vendor/bin/x", "/dev/x", "/x"};
	_cleanup_(rules_freep) struct rules *r = rules();

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		_cleanup_(world_free) struct world w = {0};
		struct err e = ERR_INIT;
		world_new(&w);
		put(&w, KIND_FILE, paths[i], "one", 0755, 0);
		assert_fails(convert_package(r, w.store, "pkg", w.raw, &w.made, &e), ERR_PATH, &e, paths[i]);
	}
}

TEST(sysusers_get_numbers_and_keep_the_rest)
{
	_cleanup_(lock_freep) struct lock *l = lock_new();
	_cleanup_(buf_free) struct buf out = {0}, again = {0};
	static const char text[] =
		"# c\nu! app - \"App - user\" /var/lib/app\ng audio 29\ng extra -\nu fixed 42 -\nu two -:audio\n"
		"m app audio";
	struct err e = ERR_INIT;

	assert_int_equal(sysusers_pin_text(text, strlen(text), l, &out, &e), 1);
	assert_string_equal(out.data,
			    "# c\nu! app 999 \"App - user\" /var/lib/app\ng audio 29\ng extra 998\nu fixed 42 -\n"
			    "u two 997:audio\nm app audio");
	assert_int_equal(sysusers_pin_text(text, strlen(text), l, &again, &e), 1);
	assert_string_equal(out.data, again.data);
}

static void add(struct tree *t, enum file_kind kind, const char *path, const char *text, uint32_t mode)
{
	struct node n = {.path = path, .origin = text ? text : "dir", .attrs = {.kind = kind, .mode = mode}};

	n.attrs.size = text ? strlen(text) : 0;
	file_hash_mem(&n.attrs, text, (size_t)n.attrs.size, &n.hash);
	tree_add(t, &n);
}

TEST(gather_lets_content_replace_packages_of_those_who_include_it)
{
	_cleanup_(tree_freep) struct tree *a = tree_new(), *b = tree_new(), *full = NULL;
	struct bundle_offers o[2] = {{.bundle = "one"}, {.bundle = "two"}};
	_cleanup_(strv_free) struct strv includes = {0};
	struct tree *trees[2] = {0};
	struct err e = ERR_INIT;

	add(a, KIND_FILE, "/usr/x", "package", 0644);
	add(b, KIND_FILE, "/usr/x", "content", 0644);
	add(b, KIND_FILE, "/usr/d/y", "content", 0644);
	offers_add(&o[0], a, RANK_PACKAGE);
	offers_add(&o[1], a, RANK_PACKAGE);
	offers_add(&o[1], b, RANK_CONTENT);
	assert_fails(gather(o, 2, &full, trees, &e), ERR_CONFLICT, &e,
		     "/usr/x is not the same in 'content' (bundle 'two') and in 'package' (bundle 'one')");
	strv_add(&includes, "two");
	o[0].includes = &includes;
	assert_ok(gather(o, 2, &full, trees, &e), &e);
	assert_string_equal(tree_find(trees[0], "/usr/x")->origin, "content");
	assert_string_equal(tree_find(full, "/usr/x")->origin, "content");
	assert_int_equal(tree_find(trees[1], "/usr/d")->attrs.kind, KIND_DIR);
	assert_null(tree_find(trees[0], "/usr/d"));
	for (size_t i = 0; i < 2; i++) {
		tree_free(trees[i]);
		offers_free(&o[i]);
	}
}

TEST(gather_refuses_files_below_a_link)
{
	_cleanup_(tree_freep) struct tree *a = tree_new(), *b = tree_new(), *full = NULL;
	struct bundle_offers o[2] = {{.bundle = "one"}, {.bundle = "two"}};
	struct tree *trees[2] = {0};
	struct err e = ERR_INIT;

	add(a, KIND_LINK, "/usr/d", "e", 0);
	add(b, KIND_FILE, "/usr/d/y", "foo", 0644);
	offers_add(&o[0], a, RANK_PACKAGE);
	offers_add(&o[1], b, RANK_PACKAGE);
	assert_fails(gather(o, 2, &full, trees, &e), ERR_CONFLICT, &e, "/usr/d is not the same in 'e'");
	offers_free(&o[0]);
	offers_free(&o[1]);
}

TEST(gather_names_both_sides_of_a_conflict)
{
	_cleanup_(tree_freep) struct tree *a = tree_new(), *b = tree_new(), *full = NULL;
	struct bundle_offers o[2] = {{.bundle = "one"}, {.bundle = "two"}};
	struct tree *trees[2] = {0};
	struct err e = ERR_INIT;

	add(a, KIND_FILE, "/usr/x", "foo", 0644);
	add(b, KIND_FILE, "/usr/x", "bar", 0644);
	offers_add(&o[0], a, RANK_PACKAGE);
	offers_add(&o[1], b, RANK_PACKAGE);
	assert_fails(gather(o, 2, &full, trees, &e), ERR_CONFLICT, &e,
		     "/usr/x is not the same in 'foo' (bundle 'one') and in 'bar' (bundle 'two')");
	offers_free(&o[0]);
	offers_free(&o[1]);
}

TEST(gather_takes_the_directory_that_is_not_the_default)
{
	_cleanup_(tree_freep) struct tree *a = tree_new(), *b = tree_new(), *full = NULL;
	struct bundle_offers o[2] = {{.bundle = "one"}, {.bundle = "two"}};
	struct tree *trees[2] = {0};
	struct err e = ERR_INIT;

	add(a, KIND_DIR, "/usr/d", NULL, 0755);
	add(b, KIND_DIR, "/usr/d", NULL, 0700);
	/* git knows no such modes, so content() cannot mean it */
	offers_add(&o[0], a, RANK_CONTENT);
	offers_add(&o[1], b, RANK_PACKAGE);
	assert_ok(gather(o, 2, &full, trees, &e), &e);
	assert_int_equal(tree_find(trees[0], "/usr/d")->attrs.mode, 0700);
	assert_int_equal(tree_find(trees[1], "/usr/d")->attrs.mode, 0700);
	for (size_t i = 0; i < 2; i++) {
		tree_free(trees[i]);
		offers_free(&o[i]);
	}
}
