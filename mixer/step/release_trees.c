/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/*
 * update/releases/<V>/: full.tree, <bundle>.tree and "bundles":
 *
 *     time\t<seconds>
 *     bundle\t<name>\t<experimental: 0 or 1>
 *     include\t<name>        of the bundle before
 *     also-add\t<name>
 *     un-export\t<path>
 */
#define TREE_MAX (2UL << 30)

void release_trees_free(struct release_trees *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++) {
		free((char *)r->bundles[i].name);
		strv_free(&r->bundles[i].includes);
		strv_free(&r->bundles[i].also_add);
		strv_free(&r->bundles[i].unexports);
		tree_free(r->bundles[i].tree);
	}
	free(r->bundles);
	tree_free(r->full);
	tree_free(r->notices);
	tree_free(r->debug);
	free(r);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct bundle_tree *)a)->name, ((const struct bundle_tree *)b)->name);
}

const struct bundle_tree *release_trees_find(const struct release_trees *r, const char *bundle)
{
	const struct bundle_tree key = {.name = bundle};

	return bsearch(&key, r->bundles, r->n, sizeof(key), by_name);
}

void release_trees_reach(const struct release_trees *r, size_t at, bool *reached)
{
	for (size_t i = 0; i < r->bundles[at].includes.n; i++) {
		const struct bundle_tree *b = release_trees_find(r, r->bundles[at].includes.items[i]);
		if (!b || reached[b - r->bundles])
			continue;
		reached[b - r->bundles] = true;
		release_trees_reach(r, (size_t)(b - r->bundles), reached);
	}
}

static int save_tree(int dir, const char *name, const struct tree *t, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s.tree", name);
	_cleanup_(buf_free) struct buf text = {0};

	buf_puts(&text, "");
	tree_format(t, &text);
	return fs_save(dir, file, text.data, text.len, 0644, e);
}

static int save_all(const struct release_trees *r, int dir, struct err *e)
{
	_cleanup_(buf_free) struct buf index = {0};

	buf_printf(&index, "time\t%lld\n", (long long)r->time);
	int result = save_tree(dir, "full", r->full, e);
	for (size_t i = 0; result >= 0 && i < r->n; i++) {
		const struct bundle_tree *b = &r->bundles[i];
		buf_printf(&index, "bundle\t%s\t%d\n", b->name, b->experimental);
		for (size_t k = 0; k < b->includes.n; k++)
			buf_printf(&index, "include\t%s\n", b->includes.items[k]);
		for (size_t k = 0; k < b->also_add.n; k++)
			buf_printf(&index, "also-add\t%s\n", b->also_add.items[k]);
		for (size_t k = 0; k < b->unexports.n; k++)
			buf_printf(&index, "un-export\t%s\n", b->unexports.items[k]);
		result = save_tree(dir, b->name, b->tree, e);
	}
	return result < 0 ? result : fs_save(dir, "bundles", index.data, index.len, 0644, e);
}

int release_trees_save(const struct mix *m, const struct release_trees *r, struct err *e)
{
	_cleanup_free_ char *next = xasprintf("update/releases/.new-%u", m->release);
	_cleanup_free_ char *name = xasprintf("update/releases/%u", m->release);
	const int root = m->config->dir;

	int result = fs_remove_tree(root, next, e);
	_cleanup_close_ int dir = result < 0 ? -1 : fs_make_dir(root, next, 0755, e);
	if (dir < 0)
		return result < 0 ? result : dir;
	result = save_all(r, dir, e);
	/* what is remembered for good must not name objects that a loss of power takes away: the store itself syncs nothing */
	if (result >= 0 && m->cache >= 0 && syncfs(m->cache) < 0)
		result = err_errno(e, "cannot sync the cache");
	/* what a release was populated with before is of no use to anybody: it was not published, or nothing has changed */
	if (result >= 0)
		result = fs_remove_tree(root, name, e);
	if (result >= 0 && renameat(root, next, root, name) < 0)
		result = err_errno(e, "%s", name);
	return result < 0 ? err_in(e, result, "cannot save the trees of release %u", m->release) : 0;
}

static int parse_index_line(struct release_trees *r, char *line, struct err *e)
{
	char *value = line;
	const char *key = strsep(&value, "\t");
	struct bundle_tree *last = r->n ? &r->bundles[r->n - 1] : NULL;
	uint64_t time;

	if (!value)
		return err_set(e, -ERR_FORMAT, "no value");
	if (strcmp(key, "time") == 0) {
		if (text_u64(value, 0, INT64_MAX, &time) < 0)
			return err_set(e, -ERR_FORMAT, "'%s' is no time", value);
		r->time = (int64_t)time;
	} else if (strcmp(key, "bundle") == 0) {
		const char *name = strsep(&value, "\t");
		r->bundles = xreallocarray(r->bundles, r->n + 1, sizeof(*r->bundles));
		r->bundles[r->n++] = (struct bundle_tree){
			.name = xstrdup(name),
			.experimental = value && strcmp(value, "1") == 0,
		};
	} else if (last && strcmp(key, "include") == 0) {
		strv_add(&last->includes, value);
	} else if (last && strcmp(key, "also-add") == 0) {
		strv_add(&last->also_add, value);
	} else if (last && strcmp(key, "un-export") == 0) {
		strv_add(&last->unexports, value);
	} else {
		return err_set(e, -ERR_FORMAT, "unknown key '%s'", key);
	}
	return 0;
}

static int load_tree(int dir, const char *name, struct tree **out, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s.tree", name);
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(dir, file, TREE_MAX, &text, e);
	if (r >= 0)
		r = tree_parse(text.data, text.len, out, e);
	return r < 0 ? err_in(e, r, "%s", file) : 0;
}

static int load_all(int dir, struct release_trees *r, struct err *e)
{
	_cleanup_(buf_free) struct buf index = {0};
	const char *pos, *line;
	size_t len;

	int result = fs_load(dir, "bundles", TREE_MAX, &index, e);
	pos = index.data;
	for (unsigned n = 1; result >= 0 && text_line(&pos, index.data + index.len, &line, &len, NULL); n++) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		result = parse_index_line(r, copy, e);
		if (result < 0)
			result = err_in(e, result, "bundles:%u", n);
	}
	if (result >= 0)
		result = load_tree(dir, "full", &r->full, e);
	for (size_t i = 0; result >= 0 && i < r->n; i++)
		result = load_tree(dir, r->bundles[i].name, &r->bundles[i].tree, e);
	return result;
}

int release_trees_load(const struct mix *m, uint32_t release, struct release_trees **out, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("update/releases/%u", release);
	_cleanup_close_ int dir = fs_open_dir(m->config->dir, name, e);
	struct release_trees *r = xcalloc(1, sizeof(*r));

	int result = dir < 0 ? dir : load_all(dir, r, e);
	if (result < 0) {
		release_trees_free(r);
		return err_hint(e, err_in(e, result, "cannot load what release %u is made of", release),
				"'mixer build bundles' makes it");
	}
	*out = r;
	return 0;
}
