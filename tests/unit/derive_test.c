/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>
#include <unistd.h>

#include "mixer/step/derive.h"
#include "mixer/step/step.h"
#include "mixer/step/tool.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

DEFINE_CLEANUP(struct store *, store_close);

static void add(struct tree *t, struct store *s, const char *path, const char *text)
{
	struct node n = {
		.path = path, .origin = "pkg", .attrs = {.kind = KIND_FILE, .mode = 0644, .size = strlen(text)}};
	struct err e = ERR_INIT;

	assert_ok(store_put(s, &n.attrs, text, &n.hash, &e), &e);
	tree_add(t, &n);
	tree_sort(t);
}

static char *text_of(struct store *s, const struct node *n)
{
	struct buf text = {0};
	struct err e = ERR_INIT;

	assert_non_null(n);
	assert_ok(store_load(s, &n->hash, 1 << 20, &text, &e), &e);
	return text.data;
}

TEST(derive_joins_certificates_for_the_bundles_that_have_some)
{
	_cleanup_close_ int cache = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *one = tree_new(), *two = tree_new(), *full = tree_new();
	_cleanup_(tree_freep) struct tree *late_one = tree_new(), *late_two = tree_new();
	struct err e = ERR_INIT;

	assert_ok(store_open(cache, &s, &e), &e);
	const struct mix m = {.cache = cache, .store = s};
	add(one, s, "/usr/share/ca-certificates/b/z.crt", "Z");
	add(full, s, "/usr/share/ca-certificates/b/z.crt", "Z");
	add(full, s, "/usr/share/ca-certificates/a.crt", "A\n");
	add(full, s, "/usr/share/ca-certificates/README", "no");
	add(two, s, "/usr/bin/x", "x");
	struct tree *const bundles[] = {one, two}, *const late[] = {late_one, late_two};
	assert_ok(derive(&m, NULL, full, bundles, 2, late, &e), &e);
	tree_sort(late_one);
	_cleanup_free_ char *all =
		text_of(s, tree_find(late_one, "/usr/share/factory/etc/ssl/certs/ca-certificates.crt"));
	assert_string_equal(all, "A\nZ\n");
	_cleanup_free_ char *lines = text_of(s, tree_find(late_one, "/usr/lib/tmpfiles.d/zz-bundle-full.conf"));
	assert_non_null(strstr(lines, "L /etc/ssl/certs/ca-certificates.crt - - - - "
				      "../../../usr/share/factory/etc/ssl/certs/ca-certificates.crt\n"));
	assert_int_equal(late_two->n, 0);
}

TEST(derive_makes_accounts_of_the_whole_release_with_secrets_for_few)
{
	_cleanup_close_ int cache = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *one = tree_new(), *full = tree_new(), *late_one = tree_new();
	struct err e = ERR_INIT;

	assert_ok(store_open(cache, &s, &e), &e);
	const struct mix m = {.cache = cache, .store = s};
	add(one, s, "/usr/lib/sysusers.d/a.conf", "u a 10\n");
	add(full, s, "/usr/lib/sysusers.d/a.conf", "u a 10\n");
	add(full, s, "/usr/lib/sysusers.d/b.conf", "u b 11\n");
	struct tree *const bundles[] = {one}, *const late[] = {late_one};
	assert_ok(derive(&m, NULL, full, bundles, 1, late, &e), &e);
	tree_sort(late_one);
	assert_int_equal(late_one->n, 4);
	const struct node *shadow = tree_find(late_one, "/usr/share/factory/etc/shadow");
	_cleanup_free_ char *passwd = text_of(s, tree_find(late_one, "/usr/share/factory/etc/passwd"));
	_cleanup_free_ char *secrets = text_of(s, shadow);
	assert_string_equal(passwd, "a:x:10:10::/:/usr/sbin/nologin\nb:x:11:11::/:/usr/sbin/nologin\n");
	assert_string_equal(secrets, "a:!*:::::::\nb:!*:::::::\n");
	assert_int_equal(shadow->attrs.mode, 0640);
	assert_int_equal(shadow->attrs.gid, 42);
	assert_ok(tree_find(late_one, "/usr/share/factory/etc/gshadow") ? 0 : -1, &e);
}

TEST(derive_gives_the_hardware_database_to_all_that_have_a_part)
{
	_cleanup_close_ int cache = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *one = tree_new(), *two = tree_new(), *full = tree_new();
	_cleanup_(tree_freep) struct tree *late_one = tree_new(), *late_two = tree_new();
	struct err e = ERR_INIT;

	assert_ok(store_open(cache, &s, &e), &e);
	const struct mix m = {.cache = cache, .store = s};
	add(one, s, "/usr/lib/udev/hwdb.d/1.hwdb", "a\n A=1\n");
	add(two, s, "/usr/lib/udev/hwdb.d/2.hwdb", "b\n B=1\n");
	add(full, s, one->nodes[0].path, "a\n A=1\n");
	add(full, s, two->nodes[0].path, "b\n B=1\n");
	struct tree *const bundles[] = {one, two}, *const late[] = {late_one, late_two};
	assert_ok(derive(&m, NULL, full, bundles, 2, late, &e), &e);
	assert_int_equal(late_one->n, 1);
	assert_string_equal(late_one->nodes[0].path, "/usr/lib/udev/hwdb.bin");
	assert_true(digest_equal(&late_one->nodes[0].hash, &late_two->nodes[0].hash));
}

/* The machine's own sh stands for a tool that the release does not have. */
static int run_sh(const struct mix *m, const char *script, const struct tree *input, struct tree *out, struct err *e)
{
	const char *const args[] = {"-c", script, NULL};
	const struct tool t = {
		.program = "/usr/bin/none", .name = "sh", .args = args, .dir = "/usr/lib/made", .prefix = "made."};

	return tool_run(m, &t, input, input, out, e);
}

TEST(tool_output_is_kept_under_what_went_into_it)
{
	_cleanup_close_ int cache = test_dir(NULL, 0), outside = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *input = tree_new(), *first = tree_new(), *second = tree_new(),
					  *third = tree_new();
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;

	assert_ok(store_open(cache, &s, &e), &e);
	const struct mix m = {.cache = cache, .store = s};
	/* each run leaves a trace */
	_cleanup_free_ char *script =
		xasprintf("cat usr/lib/made/in* > usr/lib/made/made.x; echo > usr/lib/made/other; "
			  "echo >> /proc/%d/fd/%d/runs",
			  (int)getpid(), outside);
	add(input, s, "/usr/lib/made/in", "1");
	assert_ok(run_sh(&m, script, input, first, &e), &e);
	assert_int_equal(first->n, 1);
	assert_string_equal(first->nodes[0].path, "/usr/lib/made/made.x");
	_cleanup_free_ char *text = text_of(s, &first->nodes[0]);
	assert_string_equal(text, "1");
	assert_ok(run_sh(&m, script, input, second, &e), &e);
	assert_true(digest_equal(&first->nodes[0].hash, &second->nodes[0].hash));
	add(input, s, "/usr/lib/made/in2", "2");
	assert_ok(run_sh(&m, script, input, third, &e), &e);
	_cleanup_free_ char *joined = text_of(s, &third->nodes[0]);
	assert_string_equal(joined, "12");
	_cleanup_(buf_free) struct buf runs = {0};
	assert_ok(fs_load(outside, "runs", 100, &runs, &e), &e);
	assert_int_equal(runs.len, 2);
	/* nothing is left of the work */
	assert_ok(fs_list(cache, ".", &names, &e), &e);
	assert_int_equal(names.n, 2);
}

TEST(tool_that_fails_says_why)
{
	_cleanup_close_ int cache = test_dir(NULL, 0);
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_(tree_freep) struct tree *input = tree_new(), *out = tree_new();
	struct err e = ERR_INIT;

	assert_ok(store_open(cache, &s, &e), &e);
	const struct mix m = {.cache = cache, .store = s};
	assert_fails(run_sh(&m, "echo broken >&2; exit 3", input, out, &e), ERR_CHILD, &e,
		     "sh: sh ended with status 3: broken");
}
