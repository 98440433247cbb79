/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/diff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/between.h"
#include "mixer/step/deltas.h"
#include "mixer/step/objects.h"
#include "mixer/step/parts.h"
#include "mixer/step/restore.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"

#define WWW "update/www/"

/* A path that the new manifest of a bundle has, and the old one has not, or not so. */
struct want {
	const struct entry *entry;
	const struct node *node;
	struct delta_pair *pair; /* NULL: no file to compare with */
};

struct pack_plan {
	const struct entry *line; /* of the new MoM */
	uint32_t from;            /* the bundle's release in the old one */
	const struct manifest *old, *new;
	char *name;
	struct want *wants;
	size_t n, cap;
};

struct diffing {
	const struct mix *m;
	struct between *b;
	struct pack_plan *packs;
	size_t n_packs, packs_cap;
	struct delta_pair **pairs;
	size_t n_pairs, pairs_cap;
	struct table *pair_index; /* by both digests */
	struct arena *arena;      /* holds the pairs and their keys */
};

static void diffing_clear(struct diffing *d)
{
	for (size_t i = 0; i < d->n_packs; i++) {
		free(d->packs[i].name);
		free(d->packs[i].wants);
	}
	for (size_t i = 0; i < d->n_pairs; i++)
		free(d->pairs[i]->file);
	free(d->packs);
	free(d->pairs);
	table_free(d->pair_index);
	arena_free(d->arena);
}

/* The bundles that a client of the old release updates with a pack of its own; a new bundle has its zero pack. */
static void plan_packs(struct diffing *d)
{
	for (size_t i = 0; i < d->b->to->n; i++) {
		const struct entry *line = &d->b->to->mom->entries[i],
				   *was = manifest_find(d->b->from->mom, line->name);
		if (!was || was->release >= line->release)
			continue;
		_cleanup_free_ char *path = layout_pack(line->release, line->name, was->release);
		_cleanup_free_ char *published = xasprintf(WWW "%s", path);
		if (fs_exists(d->m->config->dir, published))
			continue;
		VEC_GROW(d->packs, d->n_packs, d->packs_cap);
		d->packs[d->n_packs++] = (struct pack_plan){
			.line = line,
			.from = was->release,
			.old = release_find(d->b->from, line->name),
			.new = d->b->to->bundles[i],
			.name = xstrdup(strrchr(path, '/') + 1),
		};
	}
}

static struct delta_pair *get_pair(struct diffing *d, const struct node *from, const struct node *to)
{
	const struct digest both[2] = {from->hash, to->hash};
	struct delta_pair *p = table_find(d->pair_index, both, sizeof(both));

	if (p)
		return p;
	void *key = memcpy(arena_alloc(d->arena, sizeof(both)), both, sizeof(both));
	p = arena_alloc(d->arena, sizeof(*p));
	*p = (struct delta_pair){.from = from, .to = to};
	(void)table_add(d->pair_index, key, sizeof(both), p);
	VEC_GROW(d->pairs, d->n_pairs, d->pairs_cap);
	d->pairs[d->n_pairs++] = p;
	return p;
}

bool diff_brings(const struct entry *x, uint32_t from, const struct table *old)
{
	const struct entry *was = table_find_str(old, x->name);

	if (x->kind == KIND_NONE || x->release <= from)
		return false;
	return !was || was->kind != x->kind || was->status != x->status || was->variant != x->variant ||
	       !digest_equal(&was->hash, &x->hash);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct want *)a)->entry->name, ((const struct want *)b)->entry->name);
}

static int plan_wants(struct diffing *d, struct pack_plan *p, struct err *e)
{
	_cleanup_(table_freep) struct table *old = manifest_index(p->old);

	owners_choose(d->b->owners, p->line->name);
	for (size_t i = 0; i < p->new->n_entries; i++) {
		const struct entry *x = &p->new->entries[i];
		if (!diff_brings(x, p->from, old))
			continue;
		struct want w = {.entry = x, .node = objects_find(d->b->objects, &x->hash)};
		if (!w.node)
			return err_set(e, -ERR_FORMAT, "%s is in a manifest, but not in the release's trees", x->name);
		const struct node *peer = peers_find(d->b->peers, x->name);
		if (peer && owners_have(d->b->owners, &peer->hash))
			w.pair = get_pair(d, peer, w.node);
		VEC_GROW(p->wants, p->n, p->cap);
		p->wants[p->n++] = w;
	}
	if (p->n)
		qsort(p->wants, p->n, sizeof(*p->wants), by_name);
	return 0;
}

static int restore(const struct diffing *d, struct err *e)
{
	const struct release *releases[] = {d->b->from, d->b->to};
	const struct node **nodes = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = 0; i < d->n_pairs; i++) {
		VEC_GROW(nodes, n, cap);
		nodes[n++] = d->pairs[i]->from;
	}
	for (size_t i = 0; i < d->n_packs; i++)
		for (size_t k = 0; k < d->packs[i].n; k++) {
			VEC_GROW(nodes, n, cap);
			nodes[n++] = d->packs[i].wants[k].node;
		}
	int r = restore_content(d->m, nodes, n, releases, ARRAY_LEN(releases), e);
	free(nodes);
	return r < 0 ? err_hint(e, r, "without it there are no deltas; 'mixer build --previous-versions=0' makes none")
		     : 0;
}

/* Is it smaller than what the client would fetch without it? */
static bool is_worth_it(const struct diffing *d, const struct want *w)
{
	_cleanup_free_ char *name = layout_fullfile(w->entry->release, &w->entry->hash);
	_cleanup_free_ char *path = xasprintf(WWW "%s", name);
	struct stat st;

	if (!w->pair || !w->pair->file)
		return false;
	return fstatat(d->m->config->dir, path, &st, 0) < 0 || w->pair->size < (uint64_t)st.st_size;
}

/* Beside the fullfile: for the predecessor's tools, no client asks for it. */
static int publish_delta(const struct diffing *d, const struct want *w, struct err *e)
{
	_cleanup_free_ char *name = layout_delta(w->entry->release, &w->pair->from->hash, &w->pair->to->hash);
	_cleanup_free_ char *path = xasprintf(WWW "%s", name), *dir = xasprintf(WWW "%u/delta", w->entry->release);

	if (!d->m->config->classic || fs_exists(d->m->config->dir, path))
		return 0;
	int r = fs_mkdirs(d->m->config->dir, dir, 0755, e);
	return r < 0 ? r : fs_link_or_copy(d->m->cache, w->pair->file, d->m->config->dir, path, e);
}

/* Deltas first, then whole objects; each hash once. */
static int members_of(const struct diffing *d, const struct pack_plan *p, struct member *out, size_t *n, struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	int r = 0;

	*n = 0;
	for (size_t i = 0; r >= 0 && i < p->n; i++) {
		const struct want *w = &p->wants[i];
		if (!is_worth_it(d, w) || table_add(seen, &w->node->hash, sizeof(struct digest), (void *)w))
			continue;
		out[(*n)++] = (struct member){.from = w->pair->from->hash,
					      .to = w->pair->to->hash,
					      .file = w->pair->file,
					      .size = w->pair->size};
		r = publish_delta(d, w, e);
	}
	for (size_t i = 0; r >= 0 && i < p->n; i++) {
		const struct node *node = p->wants[i].node;
		if (!table_add(seen, &node->hash, sizeof(struct digest), (void *)node))
			out[(*n)++] = (struct member){.node = node, .size = node->attrs.size};
	}
	return r;
}

static int write_packs(const struct diffing *d, int dir, struct err *e)
{
	struct pack_content *packs = xcalloc(d->n_packs, sizeof(*packs));
	uint64_t bytes = 0;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < d->n_packs; i++) {
		const struct pack_plan *plan = &d->packs[i];
		/* a bundle that only deletes needs no pack */
		if (plan->n == 0)
			continue;
		struct pack_content *p = &packs[n++];
		p->name = xstrdup(plan->name);
		p->members = xcalloc(plan->n, sizeof(*p->members));
		r = members_of(d, plan, p->members, &p->n, e);
		for (size_t k = 0; k < p->n; k++)
			bytes += p->members[k].size;
	}
	progress_stage(d->m->progress, "packs", bytes, true);
	if (r >= 0)
		r = parts_write_packs(d->m, dir, packs, n, e);
	pack_contents_free(packs, n);
	return r;
}

/* A pack that is there counts as whole for ever, so its bytes must be on the disk before its name is. */
static int publish_packs(const struct diffing *d, int dir, struct err *e)
{
	if (syncfs(dir) < 0)
		return err_errno(e, "cannot write out the packs");
	for (size_t i = 0; i < d->n_packs; i++) {
		const struct pack_plan *p = &d->packs[i];
		_cleanup_free_ char *path = xasprintf(WWW "%u/%s", p->line->release, p->name);
		if (fs_exists(dir, p->name) && renameat(dir, p->name, d->m->config->dir, path) < 0)
			return err_errno(e, "%s", path);
	}
	return 0;
}

static int write_and_publish(const struct diffing *d, struct err *e)
{
	_cleanup_free_ char *new = xasprintf(WWW ".new-packs-%u-%u", d->b->from->mom->release, d->b->to->mom->release);
	const int root = d->m->config->dir;

	int r = fs_remove_tree(root, new, e);
	_cleanup_close_ int dir = r < 0 ? r : fs_make_dir(root, new, 0755, e);
	if (dir < 0)
		return dir;
	r = write_packs(d, dir, e);
	if (r >= 0)
		r = publish_packs(d, dir, e);
	int removed = fs_remove_tree(root, new, r < 0 ? NULL : e);
	return r < 0 ? r : removed;
}

static int make_packs(struct diffing *d, struct err *e)
{
	plan_packs(d);
	if (d->n_packs == 0)
		return 0;
	int r = between_load_trees(d->b, e);
	for (size_t i = 0; r >= 0 && i < d->n_packs; i++)
		r = plan_wants(d, &d->packs[i], e);
	if (r >= 0)
		r = restore(d, e);
	if (r >= 0)
		r = deltas_make(d->m, &job_delta, d->pairs, d->n_pairs, e);
	return r < 0 ? r : write_and_publish(d, e);
}

int diff_packs(struct between *b, struct err *e)
{
	_cleanup_(diffing_clear) struct diffing d = {
		.m = b->m, .b = b, .pair_index = table_new(), .arena = arena_new()};

	int r = make_packs(&d, e);
	return r < 0 ? err_in(e, r, "cannot make packs from release %u to %u", b->from->mom->release,
			      b->to->mom->release)
		     : 0;
}
