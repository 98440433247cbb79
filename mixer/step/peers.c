/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/peers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/tree.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"

#define SMALL 200 /* bytes: below, a delta is no smaller than the file (spec/swupd-format.md section 6.3) */

struct lone {
	const struct node *node;
	char *stripped;
	bool paired;
};

struct lones {
	struct lone *items;
	size_t n, cap;
};

struct pairs {
	struct peer *items;
	size_t n, cap;
};

static void add_pair(struct pairs *p, const struct node *old, const struct node *new)
{
	VEC_GROW(p->items, p->n, p->cap);
	p->items[p->n++] = (struct peer){old, new};
}

static void add_lone(struct lones *l, const struct node *n)
{
	if (n->attrs.kind != KIND_FILE)
		return;
	VEC_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = (struct lone){.node = n};
}

static void lones_free(struct lones *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].stripped);
	free(l->items);
}

/* Names that stay pair at once, the others are collected. */
static void pair_by_name(const struct tree *old, const struct tree *new, struct pairs *p, struct lones *gone,
			 struct lones *come)
{
	size_t i = 0, k = 0;

	while (i < old->n || k < new->n) {
		int order = i == old->n ? 1 : k == new->n ? -1 : strcmp(old->nodes[i].path, new->nodes[k].path);
		const struct node *was = order <= 0 ? &old->nodes[i++] : NULL,
				  *is = order >= 0 ? &new->nodes[k++] : NULL;
		if (!is) {
			add_lone(gone, was);
		} else if (!was || was->attrs.kind != KIND_FILE) {
			add_lone(come, is);
		} else if (is->attrs.kind == KIND_FILE && is->attrs.size >= SMALL &&
			   !digest_equal(&was->hash, &is->hash)) {
			add_pair(p, was, is);
		}
	}
}

static void pair_by_content(struct pairs *p, const struct lones *gone, struct lones *come)
{
	_cleanup_(table_freep) struct table *known = table_new();

	for (size_t i = 0; i < gone->n; i++)
		(void)table_add(known, &gone->items[i].node->hash, sizeof(struct digest), (void *)gone->items[i].node);
	for (size_t i = 0; i < come->n; i++) {
		const struct node *was = table_find(known, &come->items[i].node->hash, sizeof(struct digest));
		if (!was)
			continue;
		come->items[i].paired = true;
		if (come->items[i].node->attrs.size >= SMALL)
			add_pair(p, was, come->items[i].node);
	}
}

static void strip(struct lones *l, const char *without)
{
	for (size_t i = 0; i < l->n; i++) {
		char *to;
		free(l->items[i].stripped);
		l->items[i].stripped = to = xstrdup(l->items[i].node->path);
		for (const char *c = l->items[i].node->path; *c; c++)
			if (!strchr(without, *c))
				*to++ = *c;
		*to = '\0';
	}
}

static int by_stripped(const void *a, const void *b)
{
	const struct lone *x = a, *y = b;
	int r = strcmp(x->stripped, y->stripped);

	return r ? r : strcmp(x->node->path, y->node->path);
}

static bool is_candidate(const struct lone *l)
{
	return !l->paired && l->node->attrs.size > SMALL;
}

static void pair_by_stripped(struct pairs *p, struct lones *gone, struct lones *come, const char *without)
{
	size_t i = 0, k = 0;

	strip(gone, without);
	strip(come, without);
	if (gone->n == 0 || come->n == 0)
		return;
	qsort(gone->items, gone->n, sizeof(*gone->items), by_stripped);
	qsort(come->items, come->n, sizeof(*come->items), by_stripped);
	while (i < gone->n && k < come->n) {
		int order = strcmp(gone->items[i].stripped, come->items[k].stripped);
		if (order < 0 || !is_candidate(&gone->items[i])) {
			i++;
		} else if (order > 0 || !is_candidate(&come->items[k])) {
			k++;
		} else {
			gone->items[i].paired = come->items[k].paired = true;
			add_pair(p, gone->items[i++].node, come->items[k++].node);
		}
	}
}

void peers_find(const struct tree *old, const struct tree *new, struct peer **out, size_t *n)
{
	_cleanup_(lones_free) struct lones gone = {0}, come = {0};
	struct pairs p = {0};

	pair_by_name(old, new, &p, &gone, &come);
	pair_by_content(&p, &gone, &come);
	pair_by_stripped(&p, &gone, &come, "0123456789.");
	pair_by_stripped(&p, &gone, &come, "0123456789.abcdef");
	*out = p.items;
	*n = p.n;
}
