/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/peers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/tree.h"
#include "swupd/base/table.h"

#define VERSION "0123456789."
#define HASH    "abcdef"

#define RENAMED_MIN 200 /* bytes; of smaller files no delta is worth it, and their names say little */

struct peers {
	struct table *from; /* path of to → node of from */
};

/* Files that have no namesake in the other release. */
struct lonely {
	struct named {
		const struct node *node; /* NULL: it has found its peer */
		char *key;               /* the path without what changes; owned */
	} * items;
	size_t n, cap;
};

static void lonely_clear(struct lonely *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].key);
	free(l->items);
}

static void lonely_add(struct lonely *l, const struct node *n)
{
	VEC_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = (struct named){.node = n};
}

static char *without(const char *path, const char *letters)
{
	char *key = xmalloc(strlen(path) + 1), *end = key;

	for (; *path; path++)
		if (!strchr(letters, *path))
			*end++ = *path;
	*end = '\0';
	return key;
}

/* Nothing but a hash, as those of /usr/lib/debug/.build-id: without it, the names of all are the same. */
static bool is_hash(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	const size_t n = strspn(name, "0123456789" HASH);

	return n && (name[n] == '.' || name[n] == '\0');
}

static int by_key(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int r = strcmp(x->key, y->key);

	return r ? r : strcmp(x->node->path, y->node->path);
}

static void sort_by_key(struct lonely *l, const char *letters)
{
	const bool hashes = strchr(letters, *HASH);
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].key);
		if (l->items[i].node && !(hashes && is_hash(l->items[i].node->path)))
			l->items[n++] = (struct named){l->items[i].node, without(l->items[i].node->path, letters)};
	}
	l->n = n;
	if (n)
		qsort(l->items, n, sizeof(*l->items), by_key);
}

static void pair_by_key(struct peers *p, struct lonely *gone, struct lonely *added, const char *letters)
{
	size_t i = 0, k = 0;

	sort_by_key(gone, letters);
	sort_by_key(added, letters);
	while (i < gone->n && k < added->n) {
		struct named *old = &gone->items[i], *new = &added->items[k];
		int order = strcmp(old->key, new->key);
		i += order <= 0;
		k += order >= 0;
		if (order)
			continue;
		(void)table_add_str(p->from, new->node->path, (void *)old->node);
		old->node = new->node = NULL;
	}
}

static const struct node *find_file(const struct tree *t, const char *path)
{
	const struct node *n = tree_find(t, path);

	return n && n->attrs.kind == KIND_FILE ? n : NULL;
}

struct peers *peers_new(const struct tree *from, const struct tree *to)
{
	struct peers *p = xcalloc(1, sizeof(*p));
	_cleanup_(table_freep) struct table *by_hash = table_new(), *twins = table_new();
	_cleanup_(lonely_clear) struct lonely gone = {0}, added = {0};

	p->from = table_new();
	for (size_t i = 0; i < from->n; i++)
		if (from->nodes[i].attrs.kind == KIND_FILE)
			(void)table_add(by_hash, &from->nodes[i].hash, sizeof(struct digest), &from->nodes[i]);
	for (size_t i = 0; i < to->n; i++) {
		const struct node *n = &to->nodes[i], *was = find_file(from, n->path);
		if (n->attrs.kind != KIND_FILE || (was && digest_equal(&was->hash, &n->hash)))
			continue;
		if (!was) {
			was = table_find(by_hash, &n->hash, sizeof(n->hash));
			if (was)
				(void)table_add_str(twins, was->path, (void *)was);
		}
		if (was)
			(void)table_add_str(p->from, n->path, (void *)was);
		else if (n->attrs.size > RENAMED_MIN)
			lonely_add(&added, n);
	}
	for (size_t i = 0; i < from->n; i++) {
		const struct node *n = &from->nodes[i];
		if (n->attrs.kind == KIND_FILE && n->attrs.size > RENAMED_MIN && !find_file(to, n->path) &&
		    !table_find_str(twins, n->path))
			lonely_add(&gone, n);
	}
	pair_by_key(p, &gone, &added, VERSION);
	pair_by_key(p, &gone, &added, VERSION HASH);
	return p;
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	table_free(p->from);
	free(p);
}

void peers_add(struct peers *p, const char *path, const struct node *from)
{
	(void)table_add_str(p->from, path, (void *)from);
}

const struct node *peers_find(const struct peers *p, const char *path)
{
	return table_find_str(p->from, path);
}
