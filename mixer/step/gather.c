/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/gather.h"

#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

/* A bundle that offers what a path becomes. */
struct claim {
	const char *bundle;
	struct claim *next;
};

/* Who has a path. */
struct holder {
	struct node node;
	enum rank rank;
	struct claim *claims; /* not empty */
};

struct gathering {
	struct table *holders; /* path → struct holder */
	struct arena *arena;
	struct node plain; /* a 0755 directory of root's */
};

void offers_add_node(struct bundle_offers *o, const struct node *n, enum rank rank)
{
	VEC_GROW(o->items, o->n, o->cap);
	o->items[o->n++] = (struct offer){.node = n, .rank = rank};
}

void offers_add(struct bundle_offers *o, const struct tree *t, enum rank rank)
{
	for (size_t i = 0; i < t->n; i++)
		offers_add_node(o, &t->nodes[i], rank);
}

void offers_free(struct bundle_offers *o)
{
	free(o->items);
	*o = (struct bundle_offers){0};
}

static bool is_plain_dir(const struct gathering *g, const struct node *n)
{
	return n->attrs.kind == KIND_DIR && digest_equal(&n->hash, &g->plain.hash);
}

static int conflict(const struct holder *h, const struct node *n, const char *bundle, struct err *e)
{
	return err_hint(e,
			err_set(e, -ERR_CONFLICT, "%s is not the same in '%s' (bundle '%s') and in '%s' (bundle '%s')",
				n->path, h->node.origin, h->claims->bundle, n->origin, bundle),
			"leave one out by a rule in convert.rules, or give the right one in a content() of a bundle "
			"that both include");
}

static bool same(const struct node *a, const struct node *b)
{
	return a->attrs.kind == b->attrs.kind && digest_equal(&a->hash, &b->hash);
}

static void claim(struct gathering *g, struct holder *h, const char *bundle)
{
	struct claim *c = arena_alloc(g->arena, sizeof(*c));

	*c = (struct claim){.bundle = bundle, .next = h->claims};
	h->claims = c;
}

/* Directories are merged: one that somebody gave an owner or a mode is taken before a plain one. */
static int offer_dir(struct gathering *g, struct holder *h, const struct node *n, enum rank rank, const char *bundle,
		     struct err *e)
{
	const bool plain = rank == RANK_PARENT || is_plain_dir(g, n);
	const bool was_plain = h->rank == RANK_PARENT || is_plain_dir(g, &h->node);

	if (!plain && !was_plain && rank == h->rank && !same(n, &h->node))
		return conflict(h, n, bundle, e);
	if ((was_plain && !plain) || (was_plain == plain && rank > h->rank)) {
		const char *path = h->node.path; /* the table's key */
		h->node = *n;
		h->node.path = path;
		h->rank = rank;
		h->claims = NULL;
		claim(g, h, bundle);
	}
	return 0;
}

static int offer(struct gathering *g, const struct node *n, enum rank rank, const char *bundle, struct err *e)
{
	struct holder *h = table_find_str(g->holders, n->path);

	if (!h) {
		h = arena_alloc(g->arena, sizeof(*h));
		*h = (struct holder){.node = *n, .rank = rank};
		claim(g, h, bundle);
		(void)table_add_str(g->holders, h->node.path, h);
		return 0;
	}
	if (n->attrs.kind == KIND_DIR && h->node.attrs.kind == KIND_DIR)
		return offer_dir(g, h, n, rank, bundle, e);
	/* something lies below it, so nothing but a directory will do */
	if (rank == RANK_PARENT || h->rank == RANK_PARENT)
		return conflict(h, n, bundle, e);
	if (rank == h->rank && !same(n, &h->node))
		return conflict(h, n, bundle, e);
	if (rank > h->rank) {
		const char *path = h->node.path; /* the table's key */
		*h = (struct holder){.node = *n, .rank = rank};
		h->node.path = path;
	}
	/* packages are in many bundles, and who has them does not matter */
	if (rank == h->rank && (!h->claims || rank > RANK_PACKAGE))
		claim(g, h, bundle);
	return 0;
}

/* What b was offered is replaced by h: is that b's own doing, or that of a bundle it builds on? */
static bool may_replace(const struct holder *h, const struct bundle_offers *b)
{
	for (const struct claim *c = h->claims; c; c = c->next)
		if (strcmp(c->bundle, b->bundle) == 0 || (b->includes && strv_has(b->includes, c->bundle)))
			return true;
	return false;
}

static int check_replaced(const struct gathering *g, const struct bundle_offers *b, struct err *e)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct node *n = b->items[i].node;
		const struct holder *h = table_find_str(g->holders, n->path);
		if (b->items[i].rank == h->rank || n->attrs.kind == KIND_DIR || same(n, &h->node))
			continue;
		if (!may_replace(h, b))
			return conflict(h, n, b->bundle, e);
	}
	return 0;
}

/* The names of all directories above path, copied. */
static int offer_parents(struct gathering *g, const char *path, const char *bundle, struct err *e)
{
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		struct node dir = g->plain;
		_cleanup_free_ char *name = xstrndup(path, (size_t)(slash - path));
		const struct holder *h = table_find_str(g->holders, name);
		if (h && h->node.attrs.kind == KIND_DIR)
			continue;
		dir.path = arena_strdup(g->arena, name);
		dir.origin = "generated";
		int r = offer(g, &dir, RANK_PARENT, bundle, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A bundle's tree: what it was offered, as the release has it, and all that lies above. */
static struct tree *bundle_tree_of(struct gathering *g, const struct bundle_offers *b)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	struct tree *t = tree_new();

	for (size_t i = 0; i < b->n; i++) {
		const char *path = b->items[i].node->path;
		for (const char *end = strchr(path + 1, '/');; end = strchr(end + 1, '/')) {
			_cleanup_free_ char *name = end ? xstrndup(path, (size_t)(end - path)) : xstrdup(path);
			struct holder *h = table_find_str(g->holders, name);
			if (!table_add_str(seen, h->node.path, h))
				tree_add(t, &h->node);
			if (!end)
				break;
		}
	}
	tree_sort(t);
	return t;
}

static void gathering_free(struct gathering *g)
{
	table_free(g->holders);
	arena_free(g->arena);
}

int gather(const struct bundle_offers *bundles, size_t n, struct tree **full, struct tree **trees, struct err *e)
{
	_cleanup_(gathering_free) struct gathering g = {.holders = table_new(), .arena = arena_new()};
	int r = 0;

	g.plain.attrs = (struct attrs){.kind = KIND_DIR, .mode = 0755};
	file_hash_mem(&g.plain.attrs, NULL, 0, &g.plain.hash);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; r >= 0 && k < bundles[i].n; k++)
			r = offer(&g, bundles[i].items[k].node, bundles[i].items[k].rank, bundles[i].bundle, e);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; r >= 0 && k < bundles[i].n; k++)
			r = offer_parents(&g, bundles[i].items[k].node->path, bundles[i].bundle, e);
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = check_replaced(&g, &bundles[i], e);
	if (r < 0)
		return r;
	struct bundle_offers all = {0};
	for (size_t i = 0; i < n; i++) {
		trees[i] = bundle_tree_of(&g, &bundles[i]);
		for (size_t k = 0; k < bundles[i].n; k++) {
			VEC_GROW(all.items, all.n, all.cap);
			all.items[all.n++] = bundles[i].items[k];
		}
	}
	*full = bundle_tree_of(&g, &all);
	offers_free(&all);
	return 0;
}
