/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/needs.h"

#include "swupd/base/table.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"

struct needs {
	struct need **items;
	size_t n, cap;
	struct table *by_path, *bundles, *objects;
	struct arena *arena; /* holds all of it */
};

struct needs *needs_new(void)
{
	struct needs *n = xcalloc(1, sizeof(*n));

	n->by_path = table_new();
	n->bundles = table_new();
	n->objects = table_new();
	n->arena = arena_new();
	return n;
}

void needs_free(struct needs *n)
{
	if (!n)
		return;
	free(n->items);
	table_free(n->by_path);
	table_free(n->bundles);
	table_free(n->objects);
	arena_free(n->arena);
	free(n);
}

/* Takes path. */
static struct need *add(struct needs *n, enum need_kind kind, uint32_t release, char *path)
{
	_cleanup_free_ char *own = path;
	struct need *x = table_find_str(n->by_path, own);

	if (x)
		return x;
	x = arena_alloc(n->arena, sizeof(*x));
	*x = (struct need){.path = arena_strdup(n->arena, own), .kind = kind, .release = release};
	(void)table_add_str(n->by_path, x->path, x);
	VEC_GROW(n->items, n->n, n->cap);
	return n->items[n->n++] = x;
}

static void add_hashed(struct needs *n, enum need_kind kind, uint32_t release, char *path, const struct digest *hash,
		       const char *name)
{
	struct need *x = add(n, kind, release, path);

	if (x->name)
		return;
	x->hash = *hash;
	x->name = arena_strdup(n->arena, name);
}

void needs_add_lists(struct needs *n, const struct manifest *mom)
{
	const uint32_t v = mom->release;

	add(n, NEED_MOM, v, layout_manifest_plain(v, "MoM"));
	add(n, NEED_MOM, v, layout_mom(v));
	add(n, NEED_MOM, v, layout_mom_signature(v));
	add(n, NEED_UPDATE, v, layout_manifests(v))->from = v;
	for (size_t i = 0; i < mom->n_entries; i++) {
		const struct entry *x = &mom->entries[i];
		add_hashed(n, NEED_MANIFEST, v, layout_manifest_plain(x->release, x->name), &x->hash, x->name);
		add_hashed(n, NEED_MANIFEST_TAR, v, layout_manifest(x->release, x->name), &x->hash, x->name);
	}
}

void needs_add_mom(struct needs *n, const struct manifest *mom)
{
	const uint32_t v = mom->release;

	needs_add_lists(n, mom);
	add(n, NEED_TEXT, v, layout_release_file(v, "format"));
	for (size_t i = 0; i < mom->n_attached; i++)
		add_hashed(n, NEED_ATTACHED, v, layout_release_file(v, mom->attached[i].name), &mom->attached[i].sha256,
			   mom->attached[i].name);
	for (size_t i = 0; i < mom->n_entries; i++)
		add(n, NEED_PACK, v, layout_pack(mom->entries[i].release, mom->entries[i].name, 0));
}

bool needs_has_bundle(const struct needs *n, const struct entry *line)
{
	return table_find(n->bundles, &line->hash, sizeof(line->hash)) != NULL;
}

void needs_add_bundle(struct needs *n, uint32_t release, const struct entry *line, const struct manifest *m)
{
	const struct digest *key =
		&add(n, NEED_MANIFEST, release, layout_manifest_plain(line->release, line->name))->hash;

	(void)table_add(n->bundles, key, sizeof(*key), (void *)key);
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct entry *x = &m->entries[i];
		if (x->kind == KIND_NONE)
			continue;
		char *path = layout_fullfile(x->release, &x->hash);
		const struct need *known = table_find_str(n->by_path, path);
		if (known) {
			free(path);
			continue;
		}
		add_hashed(n, NEED_FULLFILE, release, path, &x->hash, x->name);
		known = n->items[n->n - 1];
		(void)table_add(n->objects, &known->hash, sizeof(known->hash), (void *)known);
	}
}

void needs_add_classic(struct needs *n, const struct manifest *from, const struct manifest *to)
{
	_cleanup_(table_freep) struct table *old = manifest_index(from);

	add(n, NEED_MANIFEST_DELTA, to->release, layout_manifest_delta(to->release, "MoM", from->release));
	for (size_t i = 0; i < to->n_entries; i++) {
		const struct entry *x = &to->entries[i], *was = table_find_str(old, x->name);
		if (!was || was->release >= x->release)
			continue;
		add(n, NEED_PACK, to->release, layout_pack(x->release, x->name, was->release));
		add(n, NEED_MANIFEST_DELTA, to->release, layout_manifest_delta(x->release, x->name, was->release));
	}
}

void needs_add_update(struct needs *n, uint32_t from, uint32_t to)
{
	add(n, NEED_UPDATE, to, layout_update(to, from))->from = from;
}

void needs_add_other(struct needs *n, uint32_t release, const char *path, const struct attrs *attrs,
		     const struct digest *hash)
{
	struct need *x = add(n, NEED_OTHER, release, xstrdup(path));

	x->attrs = *attrs;
	x->hash = *hash;
}

const struct need *needs_find(const struct needs *n, const char *path)
{
	return table_find_str(n->by_path, path);
}

bool needs_has_object(const struct needs *n, const struct digest *hash)
{
	return table_find(n->objects, hash, sizeof(*hash)) != NULL;
}

const struct need *needs_get(const struct needs *n, size_t i)
{
	return n->items[i];
}

size_t needs_count(const struct needs *n)
{
	return n->n;
}

const char *need_kind_name(enum need_kind kind)
{
	switch (kind) {
	case NEED_MOM:
	case NEED_TEXT:
	case NEED_MANIFEST:
	case NEED_MANIFEST_TAR:
		return "manifests";
	case NEED_ATTACHED:
		return "attached files";
	case NEED_FULLFILE:
		return "fullfiles";
	case NEED_PACK:
		return "packs";
	case NEED_MANIFEST_DELTA:
		return "deltas of manifests";
	case NEED_UPDATE:
		return "update files";
	case NEED_OTHER:
		return "other files";
	}
	return "";
}
