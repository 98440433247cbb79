/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/mixed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "tests/unit/test.h"

void mixed_begin(struct mixed *x)
{
	struct err e = ERR_INIT;

	*x = (struct mixed){0};
	test_key_make(&x->key, "mixed");
	ui_init(&x->ui, "unit");
	x->ui.level = UI_QUIET;
	x->config = (struct config){
		.dir = test_dir(x->path, sizeof(x->path)),
		.path = x->path,
		.name = (char *)"Mixed",
		.format = 30,
		.codec = CODEC_ZSTD,
		.level = 3,
		.threads = 2,
		.classic = true,
		.signer = x->key.signer,
	};
	x->m = (struct mix){
		.config = &x->config, .ui = &x->ui, .cache = test_dir(x->cache, sizeof(x->cache)), .format = 30};
	assert_ok(store_open(x->m.cache, &x->m.store, &e), &e);
	assert_ok(fs_save_cache(x->config.dir, "mixer.lock", "lock\n", 5, 0644, &e), &e);
	assert_ok(fs_mkdirs(x->config.dir, "update/www", 0755, &e), &e);
	x->trees.full = tree_new();
}

static void clear_trees(struct mixed *x)
{
	for (size_t i = 0; i < x->trees.n; i++) {
		free((char *)x->trees.bundles[i].name);
		strv_free(&x->trees.bundles[i].includes);
		strv_free(&x->trees.bundles[i].also_add);
		strv_free(&x->trees.bundles[i].unexports);
		tree_free(x->trees.bundles[i].tree);
	}
	free(x->trees.bundles);
	tree_free(x->trees.full);
	x->trees = (struct release_trees){.time = TEST_NOW};
}

void mixed_end(struct mixed *x)
{
	clear_trees(x);
	store_close(x->m.store);
	closep(&x->config.dir);
	closep(&x->m.cache);
}

void mixed_bundle(struct mixed *x, const char *name, const char *includes)
{
	struct release_trees *t = &x->trees;

	t->bundles = xreallocarray(t->bundles, t->n + 1, sizeof(*t->bundles));
	t->bundles[t->n] = (struct bundle_tree){.name = xstrdup(name), .tree = tree_new()};
	strv_split(&t->bundles[t->n++].includes, includes, " ");
}

static void add(struct mixed *x, const struct node *n)
{
	struct tree *t = x->trees.bundles[x->trees.n - 1].tree;

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->nodes[i].path, n->path) == 0)
			return;
	(void)tree_add(t, n);
}

static void add_with_parents(struct mixed *x, const struct node *n)
{
	for (const char *slash = strchr(n->path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *parent = xstrndup(n->path, (size_t)(slash - n->path));
		struct node dir = {.path = parent, .attrs = {.kind = KIND_DIR, .mode = 0755}, .origin = "test"};
		file_hash_mem(&dir.attrs, "", 0, &dir.hash);
		add(x, &dir);
	}
	add(x, n);
}

void mixed_file(struct mixed *x, const char *path, uint32_t mode, const void *content, size_t len)
{
	struct node n = {.path = path, .attrs = {.kind = KIND_FILE, .mode = mode, .size = len}, .origin = "test"};
	struct err e = ERR_INIT;

	assert_ok(store_put(x->m.store, &n.attrs, content, &n.hash, &e), &e);
	add_with_parents(x, &n);
}

void mixed_text(struct mixed *x, const char *path, const char *content)
{
	mixed_file(x, path, 0644, content, strlen(content));
}

void mixed_link(struct mixed *x, const char *path, const char *target)
{
	struct node n = {
		.path = path,
		.attrs = {.kind = KIND_LINK, .size = strlen(target)},
		.link = target,
		.origin = "test",
	};

	file_hash_mem(&n.attrs, target, strlen(target), &n.hash);
	add_with_parents(x, &n);
}

static void make_full(struct release_trees *t)
{
	_cleanup_(table_freep) struct table *seen = table_new();

	tree_free(t->full);
	t->full = tree_new();
	for (size_t b = 0; b < t->n; b++) {
		const struct tree *own = t->bundles[b].tree;
		for (size_t i = 0; i < own->n; i++)
			if (!table_add_str(seen, own->nodes[i].path, &own->nodes[i]))
				(void)tree_add(t->full, &own->nodes[i]);
		tree_sort(t->bundles[b].tree);
	}
	tree_sort(t->full);
}

void mixed_release(struct mixed *x, uint32_t release, uint32_t previous)
{
	_cleanup_free_ char *sbom = xasprintf("update/releases/%u/sbom.spdx.json", release);
	struct err e = ERR_INIT;

	x->m.release = release;
	x->m.previous = previous;
	make_full(&x->trees);
	assert_ok(release_trees_save(&x->m, &x->trees, &e), &e);
	assert_ok(fs_save_cache(x->config.dir, sbom, "{}\n", 3, 0644, &e), &e);
	assert_ok(describe(&x->m, &x->trees, 0, &e), &e);
	assert_ok(compress(&x->m, &e), &e);
	assert_ok(assemble(&x->m, &e), &e);
	assert_ok(publish(&x->m, true, &e), &e);
	clear_trees(x);
}

void mixed_describe(struct mixed *x, uint32_t release, uint32_t previous, uint32_t minversion)
{
	struct err e = ERR_INIT;

	x->m.release = release;
	x->m.previous = previous;
	assert_ok(describe(&x->m, &x->trees, minversion, &e), &e);
	assert_ok(publish(&x->m, false, &e), &e);
	clear_trees(x);
}

char *mixed_noise(size_t len, unsigned seed)
{
	char *p = xmalloc(len);
	uint32_t state = seed * 2654435761U + 1;

	for (size_t i = 0; i < len; i++) {
		state = state * 1664525U + 1013904223U;
		p[i] = (char)(state >> 24);
	}
	return p;
}
