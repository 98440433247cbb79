/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/similar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/tree.h"
#include "mixer/step/peers.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "tests/unit/mixed.h"
#include "tests/unit/test.h"

#define PART 6000

/* A file of these parts, each of noise of its own */
static void add(struct mixed *x, struct tree *t, const char *path, const char *parts)
{
	struct node n = {.path = path, .attrs = {.kind = KIND_FILE, .mode = 0644}, .origin = "test"};
	_cleanup_(buf_free) struct buf content = {0};
	struct err e = ERR_INIT;

	for (; *parts; parts++) {
		_cleanup_free_ char *noise = mixed_noise(PART, (unsigned char)*parts);
		buf_add(&content, noise, PART);
	}
	n.attrs.size = content.len;
	assert_ok(store_put(x->m.store, &n.attrs, content.data, &n.hash, &e), &e);
	tree_add(t, &n);
}

static void expect(const struct peers *p, const char *path, const char *want)
{
	const struct node *got = peers_find(p, path);

	if (strcmp(got ? got->path : "(none)", want) != 0)
		fail_msg("%s has %s, not %s", path, got ? got->path : "(none)", want);
}

TEST(similar_files_are_found_by_what_they_have_in_common)
{
	struct tree *old = tree_new(), *new = tree_new();
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	add(&x, old, "/alpha", "abcd");
	add(&x, old, "/beta", "efgh");
	add(&x, old, "/gamma", "ijkl");
	add(&x, old, "/stays", "mnop");
	add(&x, new, "/half", "ab");       /* split */
	add(&x, new, "/joined", "efghij"); /* merged: most of it is beta's */
	add(&x, new, "/moved", "kzl");
	add(&x, new, "/part", "mn"); /* of one that is still there */
	add(&x, new, "/stays", "mnop");
	add(&x, new, "/stranger", "qrst");
	struct peers *p = peers_new(old, new);
	expect(p, "/half", "(none)");
	assert_ok(similar_add(&x.m, old, new, p, &e), &e);
	expect(p, "/half", "/alpha");
	expect(p, "/joined", "/beta");
	expect(p, "/moved", "/gamma");
	expect(p, "/part", "/stays");
	expect(p, "/stays", "(none)"); /* it has not changed */
	expect(p, "/stranger", "(none)");
	peers_free(p);
	tree_free(old);
	tree_free(new);
	mixed_end(&x);
}

/* What /moved of new is compared with, where old has it under another name. */
static void expect_moved(const struct mixed *x, const struct tree *old, const struct tree *new, const char *want)
{
	struct peers *p = peers_new(old, new);
	struct err e = ERR_INIT;

	assert_ok(similar_add(&x->m, old, new, p, &e), &e);
	expect(p, "/moved", want);
	peers_free(p);
}

TEST(similar_files_that_are_large_are_read_once)
{
	struct tree *old = tree_new(), *new = tree_new();
	struct digest hash, other;
	char hex[DIGEST_HEX];
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	add(&x, old, "/large", "abcdefghijklm");
	add(&x, old, "/other", "nopqrstuvwxyz");
	add(&x, new, "/moved", "abcdefghijkl1");
	hash = old->nodes[0].hash;
	other = old->nodes[1].hash;
	expect_moved(&x, old, new, "/large");
	digest_format(&hash, hex);
	_cleanup_free_ char *samples = xasprintf("samples/%.2s/%s", hex, hex);
	digest_format(&other, hex);
	_cleanup_free_ char *others = xasprintf("samples/%.2s/%s", hex, hex);
	/* no content is looked at any more */
	assert_int_equal(renameat(x.m.cache, samples, x.m.cache, "kept"), 0);
	assert_int_equal(renameat(x.m.cache, others, x.m.cache, samples), 0);
	assert_int_equal(renameat(x.m.cache, "kept", x.m.cache, others), 0);
	expect_moved(&x, old, new, "/other");
	/* zeros, as a loss of power can leave them, are no samples */
	static const char zeros[4096];
	assert_ok(fs_save_cache(x.m.cache, samples, zeros, sizeof(zeros), 0644, &e), &e);
	assert_ok(fs_save_cache(x.m.cache, others, "", 0, 0644, &e), &e);
	expect_moved(&x, old, new, "/large");
	tree_free(old);
	tree_free(new);
	mixed_end(&x);
}
