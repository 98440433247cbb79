/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/content.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/tree.h"
#include "mixer/step/objects.h"
#include "mixer/step/release.h"
#include "mixer/step/restore.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/tar.h"

struct image_release {
	const struct mix *m;
	uint32_t number;
	struct digest identity;
	struct release *release;
	struct release_trees *trees; /* NULL: this workspace does not have them (any more) */
	struct objects *objects;     /* of the trees, and of what fullfiles told */
	struct tree **told;
	size_t n_told, cap_told;
};

/* --- the release ---------------------------------------------------------------------------------------------------------- */

void image_release_close(struct image_release *r)
{
	if (!r)
		return;
	objects_free(r->objects);
	for (size_t i = 0; i < r->n_told; i++)
		tree_free(r->told[i]);
	free(r->told);
	release_trees_free(r->trees);
	release_free(r->release);
	free(r);
}

static int load_identity(struct image_release *r, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("update/www/%u/Manifest.MoM", r->number);
	_cleanup_(buf_free) struct buf text = {0};

	int result = fs_load(r->m->config->dir, path, MANIFEST_MAX, &text, e);
	if (result == -ENOENT) {
		err_clear(e);
		result = err_set(e, -ERR_RELEASE, "release %u is not published", r->number);
		return err_hint(e, result, "'%s/update/www' has those that are", r->m->config->path);
	}
	if (result >= 0)
		sha256_mem(text.data, text.len, &r->identity);
	return result;
}

int image_release_open(const struct mix *m, uint32_t number, struct image_release **out, struct err *e)
{
	_cleanup_(image_release_closep) struct image_release *r = xcalloc(1, sizeof(*r));
	_cleanup_free_ char *trees = xasprintf("update/releases/%u/bundles", number);

	r->m = m;
	r->number = number;
	r->objects = objects_new();
	int result = load_identity(r, e);
	if (result >= 0)
		result = release_load(m, number, &r->release, e);
	if (result < 0)
		return result;
	/* an image runs on any processor */
	for (size_t i = 0; i < r->release->n; i++)
		manifest_select(r->release->bundles[i], 0);
	/* found by hash, which covers all attributes: trees of another release under this number do no harm */
	if (fs_exists(m->config->dir, trees) && release_trees_load(m, number, &r->trees, NULL) >= 0)
		objects_add(r->objects, r->trees->full);
	*out = take(r);
	return 0;
}

const struct digest *image_release_identity(const struct image_release *r)
{
	return &r->identity;
}

int64_t image_release_time(const struct image_release *r)
{
	return r->release->mom->timestamp;
}

/* --- what entries stand for ----------------------------------------------------------------------------------------------- */

struct telling {
	const struct image_release *r;
	const struct entry **entries;
	struct node *nodes; /* of each entry; links are owned */
	size_t n, cap;
};

static void telling_clear(struct telling *t)
{
	for (size_t i = 0; t->nodes && i < t->n; i++)
		free((char *)t->nodes[i].link);
	free(t->nodes);
	free(t->entries);
}

static int read_fullfile(int fd, struct node *n, struct store *store, struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member member;
	struct digest real;

	int r = tar_open(fd, &t, e);
	if (r >= 0)
		r = tar_next(t, &member, e);
	if (r == 0 || (r > 0 && member.attrs.kind == KIND_NONE))
		r = err_set(e, -ERR_FORMAT, "it is no fullfile");
	if (r < 0)
		return r;
	n->attrs = member.attrs;
	if (n->attrs.kind == KIND_LINK)
		n->link = xstrdup(member.link);
	if (n->attrs.kind == KIND_FILE)
		r = store_take(store, &n->attrs, tar_read_source, t, &real, e);
	else
		file_hash_mem(&n->attrs, n->link, n->attrs.size, &real);
	if (r >= 0 && !digest_equal(&real, &n->hash))
		r = err_set(e, -ERR_DIGEST, "it holds another file");
	return r;
}

static int tell_one(void *arg, size_t i, struct err *e)
{
	struct telling *t = arg;
	const struct entry *x = t->entries[i];
	_cleanup_free_ char *name = layout_fullfile(x->release, &x->hash), *path = xasprintf("update/www/%s", name);
	_cleanup_close_ int fd = openat(t->r->m->config->dir, path, O_RDONLY | O_CLOEXEC);

	progress_add(t->r->m->progress, 1);
	t->nodes[i] = (struct node){.path = x->name, .hash = x->hash};
	if (fd < 0 && errno == ENOENT)
		return err_set(e, -ERR_MISSING, "%s: there is no '%s'", x->name, path);
	if (fd < 0)
		return err_errno(e, "%s", path);
	int r = read_fullfile(fd, &t->nodes[i], t->r->m->store, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

/* Learn what these entries stand for, as far as it is not known. */
static int tell(struct image_release *r, const struct entry *const *entries, size_t n, struct err *e)
{
	_cleanup_(telling_clear) struct telling t = {.r = r};
	_cleanup_(table_freep) struct table *seen = table_new();

	for (size_t i = 0; i < n; i++) {
		if (objects_find(r->objects, &entries[i]->hash) ||
		    table_add(seen, &entries[i]->hash, sizeof(struct digest), (void *)entries[i]))
			continue;
		VEC_GROW(t.entries, t.n, t.cap);
		t.entries[t.n++] = entries[i];
	}
	if (t.n == 0)
		return 0;
	t.nodes = xcalloc(t.n, sizeof(*t.nodes));
	progress_stage(r->m->progress, "read", t.n, false);
	int result = work_each(r->m->config->threads, t.n, tell_one, &t, e);
	if (result < 0)
		return result;
	struct tree *told = tree_new();
	for (size_t i = 0; i < t.n; i++)
		tree_add(told, &t.nodes[i]);
	VEC_GROW(r->told, r->n_told, r->cap_told);
	r->told[r->n_told++] = told;
	objects_add(r->objects, told); /* told does not grow any more */
	return 0;
}

static bool is_there(const struct entry *x)
{
	return x->status == STATUS_PRESENT && (x->kind == KIND_FILE || x->kind == KIND_DIR || x->kind == KIND_LINK);
}

/* Add the nodes of entries to out, with the content of files in the store. */
static int add_nodes(struct image_release *r, const struct entry *const *entries, size_t n, const char *origin,
		     struct tree *out, struct err *e)
{
	_cleanup_free_ const struct node **nodes = xcalloc(n + 1, sizeof(*nodes));
	const struct release *const releases[] = {r->release};

	int result = tell(r, entries, n, e);
	for (size_t i = 0; result >= 0 && i < n; i++) {
		struct node node = *objects_find(r->objects, &entries[i]->hash);
		if (node.attrs.kind != entries[i]->kind)
			return err_set(e, -ERR_FORMAT, "%s: the manifest says that it is something else",
				       entries[i]->name);
		node.path = entries[i]->name;
		node.origin = origin;
		(void)tree_add(out, &node);
	}
	tree_sort(out);
	for (size_t i = 0; result >= 0 && i < out->n; i++)
		nodes[i] = &out->nodes[i];
	return result < 0 ? result : restore_content(r->m, nodes, n, releases, 1, e);
}

/* --- folders -------------------------------------------------------------------------------------------------------------- */

int image_release_folder(struct image_release *r, const char *dir, struct tree *out, struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	_cleanup_free_ const struct entry **entries = NULL;
	const size_t len = strlen(dir);
	size_t n = 0, cap = 0;

	for (size_t b = 0; b < r->release->n; b++)
		for (size_t i = 0; i < r->release->bundles[b]->n_entries; i++) {
			const struct entry *x = &r->release->bundles[b]->entries[i];
			if (!is_there(x) || strncmp(x->name, dir, len) != 0 || x->name[len] != '/' ||
			    table_add_str(seen, x->name, (void *)x))
				continue;
			VEC_GROW(entries, n, cap);
			entries[n++] = x;
		}
	return add_nodes(r, entries, n, "release", out, e);
}

const char *image_release_owner(const struct image_release *r, const char *path)
{
	for (size_t b = 0; b < r->release->n; b++) {
		const struct entry *x = manifest_find(r->release->bundles[b], path);
		if (x && is_there(x))
			return r->release->mom->entries[b].name;
	}
	return NULL;
}

/* --- content -------------------------------------------------------------------------------------------------------------- */

void image_content_free(struct image_content *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		tree_free(c->bundles[i].own);
	free(c->bundles);
	tree_free(c->tree);
	free(c);
}

static int unknown_bundle(const struct image_release *r, const char *name, struct err *e)
{
	int result = err_set(e, -ERR_BUNDLE, "release %u has no bundle '%s'", r->number, name);

	return err_hint(e, result, "'mixer bundle add %s', then 'mixer build' make a release that has it", name);
}

/* What name includes, and then itself; seen: what was added or is being added. */
static int add_closure(const struct image_release *r, const char *name, struct strv *seen, struct strv *order,
		       struct err *e)
{
	const struct manifest *m = release_find(r->release, name);
	_cleanup_(strv_free) struct strv includes = {0};

	if (strv_has(seen, name))
		return 0;
	if (!m)
		return unknown_bundle(r, name, e);
	strv_add(seen, name);
	for (size_t i = 0; i < m->n_includes; i++)
		strv_add(&includes, m->includes[i]);
	strv_sort_unique(&includes);
	for (size_t i = 0; i < includes.n; i++) {
		int result = add_closure(r, includes.items[i], seen, order, e);
		if (result < 0)
			return result;
	}
	strv_add(order, name);
	return 0;
}

static int load_bundle(struct image_release *r, const char *name, struct image_bundle *b, struct err *e)
{
	const struct manifest *m = release_find(r->release, name);
	_cleanup_free_ const struct entry **entries = xcalloc(m->n_entries + 1, sizeof(*entries));
	size_t n = 0;

	for (size_t i = 0; i < r->release->n; i++)
		if (r->release->bundles[i] == m)
			b->name = r->release->mom->entries[i].name;
	for (size_t i = 0; i < m->n_entries; i++)
		if (is_there(&m->entries[i]))
			entries[n++] = &m->entries[i];
	b->own = tree_new();
	int result = add_nodes(r, entries, n, b->name, b->own, e);
	for (size_t i = 0; i < b->own->n; i++)
		b->bytes += b->own->nodes[i].attrs.kind == KIND_FILE ? b->own->nodes[i].attrs.size : 0;
	return result < 0 ? err_in(e, result, "bundle '%s'", name) : 0;
}

int image_content_load(struct image_release *r, const struct strv *bundles, struct image_content **out, struct err *e)
{
	_cleanup_(image_content_freep) struct image_content *c = xcalloc(1, sizeof(*c));
	_cleanup_(strv_free) struct strv sorted = {0}, seen = {0}, order = {0};
	_cleanup_(table_freep) struct table *paths = table_new();

	for (size_t i = 0; i < bundles->n; i++)
		strv_add(&sorted, bundles->items[i]);
	strv_sort_unique(&sorted);
	int result = 0;
	for (size_t i = 0; result >= 0 && i < sorted.n; i++)
		result = add_closure(r, sorted.items[i], &seen, &order, e);
	if (result < 0)
		return result;
	c->bundles = xcalloc(order.n, sizeof(*c->bundles));
	c->tree = tree_new();
	for (size_t i = 0; result >= 0 && i < order.n; i++) {
		result = load_bundle(r, order.items[i], &c->bundles[c->n++], e);
		const struct tree *own = c->bundles[i].own;
		/* a release is one namespace: who else has a path has the same */
		for (size_t k = 0; result >= 0 && k < own->n; k++)
			if (!table_add_str(paths, own->nodes[k].path, &own->nodes[k]))
				(void)tree_add(c->tree, &own->nodes[k]);
	}
	if (result < 0)
		return result;
	tree_sort(c->tree);
	*out = take(c);
	return 0;
}
