/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/between.h"
#include "mixer/step/deltas.h"
#include "mixer/step/diff.h"
#include "mixer/step/objects.h"
#include "mixer/step/restore.h"
#include "mixer/step/section.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/diff.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/update_file.h"

/*
 * The update file between two releases (update_file.h). Objects that the same bundles have are a section: a client needs all of it or nothing. Sections of bundles that many
 * others include come first, so that what most clients fetch is one range.
 */

#define WWW          "update/www/"
#define META_BUNDLES 64 /* manifests of so many bundles are a section */
/* Bytes of objects in a section, about: several are made, and later unpacked, beside one another; the dictionary reaches no further than an eighth of it anyway */
#define SECTION_TARGET (64UL << 20)
/* Of all objects of a release also those fetch some who need but few. */
#define SECTION_TARGET_WHOLE (8UL << 20)

/* An object that the new release has and the old one has not, at some bundle's path. */
struct item {
	const struct entry *entry;
	const struct node *node, *base; /* base: NULL, made of nothing */
	struct delta_pair *pair;        /* with a base */
	struct strv bundles;            /* that have it */
	size_t section;
};

struct group {
	char *bundles; /* of all its items, joined */
	size_t rank;   /* of the first bundle in the order of sections */
	size_t part;   /* of the objects that these bundles have */
	uint64_t bytes;
	struct item **items;
	size_t n, cap;
	char *file; /* of the cache */
};

struct updating {
	const struct mix *m;
	struct between *b;
	bool all_manifests;  /* and nothing else: who asks for them has the signature */
	struct item **items; /* by path */
	size_t n, cap;
	struct table *by_hash;
	struct delta_pair **pairs;
	size_t n_pairs, cap_pairs;
	struct group **groups; /* in the order of sections */
	size_t n_groups, cap_groups;
	size_t n_meta;
	struct buf *meta; /* stored sections */
	struct update_index index;
};

static void updating_clear(struct updating *u)
{
	for (size_t i = 0; i < u->n; i++) {
		if (u->items[i]->pair)
			free(u->items[i]->pair->file);
		free(u->items[i]->pair);
		strv_free(&u->items[i]->bundles);
		free(u->items[i]);
	}
	free(u->items);
	for (size_t i = 0; i < u->n_groups; i++) {
		free(u->groups[i]->bundles);
		free(u->groups[i]->items);
		free(u->groups[i]->file);
		free(u->groups[i]);
	}
	free(u->groups);
	for (size_t i = 0; i < u->n_meta; i++)
		buf_free(&u->meta[i]);
	free(u->meta);
	free(u->pairs);
	table_free(u->by_hash);
	update_index_clear(&u->index);
}

/* -- what changes -- */

static int add_item(struct updating *u, const struct entry *x, const char *bundle, struct err *e)
{
	struct item *it = table_find(u->by_hash, &x->hash, sizeof(x->hash));
	const struct node *peer = peers_find(u->b->peers, x->name);

	if (peer && !owners_have(u->b->owners, &peer->hash))
		peer = NULL;
	if (it) {
		/* of a base that only some of them have no client of the others could make it */
		if (it->base && !owners_have(u->b->owners, &it->base->hash))
			it->base = NULL;
		if (!strv_has(&it->bundles, bundle))
			strv_add(&it->bundles, bundle);
		return 0;
	}
	const struct node *node = objects_find(u->b->objects, &x->hash);
	if (!node)
		return err_set(e, -ERR_FORMAT, "%s is in a manifest, but not in the release's trees", x->name);
	it = xcalloc(1, sizeof(*it));
	*it = (struct item){.entry = x, .node = node, .base = node->attrs.kind == KIND_FILE ? peer : NULL};
	strv_add(&it->bundles, bundle);
	(void)table_add(u->by_hash, &x->hash, sizeof(x->hash), it);
	VEC_GROW(u->items, u->n, u->cap);
	u->items[u->n++] = it;
	return 0;
}

/* A client of the old release has this bundle, or gets it by what one that it has includes; without classic files it can get it from nowhere else. */
static bool is_reached(const struct updating *u, const char *name)
{
	if (!u->m->config->classic || release_find(u->b->from, name))
		return true;
	for (size_t i = 0; i < u->b->to->n; i++) {
		const struct manifest *by = u->b->to->bundles[i];
		for (size_t k = 0; k < by->n_includes; k++)
			if (strcmp(by->includes[k], name) == 0 &&
			    release_find(u->b->from, u->b->to->mom->entries[i].name))
				return true;
	}
	return false;
}

static int add_bundle(struct updating *u, const struct entry *line, const struct manifest *new, struct err *e)
{
	const struct manifest *old = release_find(u->b->from, line->name);
	_cleanup_(table_freep) struct table *before = old ? manifest_index(old) : table_new();
	int r = 0;

	owners_choose(u->b->owners, line->name);
	for (size_t i = 0; r >= 0 && i < new->n_entries; i++)
		if (diff_brings(&new->entries[i], old ? old->release : 0, before))
			r = add_item(u, &new->entries[i], line->name, e);
	return r;
}

static int by_path(const void *a, const void *b)
{
	const struct item *const *x = a, *const *y = b;

	return strcmp((*x)->entry->name, (*y)->entry->name);
}

static int find_items(struct updating *u, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < u->b->to->n; i++) {
		const struct entry *line = &u->b->to->mom->entries[i],
				   *was = manifest_find(u->b->from->mom, line->name);
		if ((!was || was->release < line->release) && is_reached(u, line->name))
			r = add_bundle(u, line, u->b->to->bundles[i], e);
	}
	if (u->n)
		qsort(u->items, u->n, sizeof(*u->items), by_path);
	return r;
}

/* -- sections -- */

/* How many bundles of the new release bring this one. */
static size_t count_users(const struct release *r, const char *bundle, struct strv *visited)
{
	if (strv_has(visited, bundle))
		return 0;
	strv_add(visited, bundle);
	size_t n = 1;
	for (size_t i = 0; i < r->n; i++)
		for (size_t k = 0; k < r->bundles[i]->n_includes; k++)
			if (strcmp(r->bundles[i]->includes[k], bundle) == 0)
				n += count_users(r, r->mom->entries[i].name, visited);
	return n;
}

static int by_rank(const void *a, const void *b)
{
	const struct group *x = *(const struct group *const *)a, *y = *(const struct group *const *)b;

	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	int r = strcmp(x->bundles, y->bundles);
	return r ? r : (x->part > y->part) - (x->part < y->part);
}

static void make_groups(struct updating *u)
{
	_cleanup_(table_freep) struct table *known = table_new();
	const uint64_t target = u->b->from->mom->release ? SECTION_TARGET : SECTION_TARGET_WHOLE;

	for (size_t i = 0; i < u->n; i++) {
		struct item *it = u->items[i];
		strv_sort_unique(&it->bundles);
		_cleanup_free_ char *name = strv_join(&it->bundles, " ");
		struct group *g = table_find_str(known, name);
		if (!g || g->bytes >= target) {
			const size_t part = g ? g->part + 1 : 0;
			VEC_GROW(u->groups, u->n_groups, u->cap_groups);
			u->groups[u->n_groups++] = g = xcalloc(1, sizeof(*g));
			g->part = part;
			g->bundles = take(name);
			for (size_t k = 0; k < it->bundles.n; k++) {
				_cleanup_(strv_free) struct strv visited = {0};
				g->rank = MAX(g->rank, count_users(u->b->to, it->bundles.items[k], &visited));
			}
			(void)table_set_str(known, g->bundles, g);
		}
		VEC_GROW(g->items, g->n, g->cap);
		g->items[g->n++] = it;
		g->bytes += it->node->attrs.size;
	}
	if (u->n_groups)
		qsort(u->groups, u->n_groups, sizeof(*u->groups), by_rank);
}

/* -- sections -- */

static int make_pairs(struct updating *u, struct err *e)
{
	for (size_t i = 0; i < u->n; i++) {
		struct item *it = u->items[i];
		if (!it->base)
			continue;
		it->pair = xcalloc(1, sizeof(*it->pair));
		*it->pair = (struct delta_pair){.from = it->base, .to = it->node};
		VEC_GROW(u->pairs, u->n_pairs, u->cap_pairs);
		u->pairs[u->n_pairs++] = it->pair;
	}
	return deltas_make(u->m, &job_diff, u->pairs, u->n_pairs, e);
}

static size_t shape_of(struct update_index *x, const struct attrs *a)
{
	for (size_t i = 0; i < x->n_shapes; i++) {
		const struct attrs *s = &x->shapes[i];
		if (s->kind == a->kind && s->mode == a->mode && s->uid == a->uid && s->gid == a->gid)
			return i;
	}
	x->shapes = xreallocarray(x->shapes, x->n_shapes + 1, sizeof(*x->shapes));
	x->shapes[x->n_shapes] = *a;
	return x->n_shapes++;
}

static void set_records(struct updating *u)
{
	for (size_t i = 0; i < u->n_groups; i++) {
		const struct group *g = u->groups[i];
		for (size_t k = 0; k < g->n; k++) {
			const struct item *it = g->items[k];
			struct update_record *x = &u->index.records[u->index.sections[u->n_meta + i].first + k];
			x->hash = it->node->hash;
			if (it->pair && it->pair->file)
				x->from = it->base->hash;
			x->size = it->node->attrs.size;
		}
	}
}

/* What each section is made of: one behind the other in members, as the records are. */
static int make_sections(struct updating *u, struct err *e)
{
	_cleanup_free_ struct member *members = xcalloc(u->n, sizeof(*members));
	struct job *jobs = xcalloc(u->n_groups, sizeof(*jobs));
	uint64_t bytes = 0;
	size_t at = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < u->n_groups; i++) {
		struct group *g = u->groups[i];
		jobs[i] = (struct job){.kind = &job_section, .members = &members[at], .n = g->n};
		for (size_t k = 0; k < g->n; k++) {
			const struct item *it = g->items[k];
			struct member *x = &members[at++];
			*x = (struct member){.node = it->node, .size = it->node->attrs.size};
			if (it->pair && it->pair->file)
				*x = (struct member){.from = it->base->hash,
						     .to = it->node->hash,
						     .file = it->pair->file,
						     .size = it->node->attrs.size};
		}
		r = job_name(u->m, &jobs[i], e);
		g->file = jobs[i].file ? xstrdup(jobs[i].file) : NULL;
		bytes += jobs[i].size;
	}
	progress_stage(u->m->progress, "update file", bytes, true);
	if (r >= 0)
		r = jobs_run(u->m, jobs, u->n_groups, e);
	jobs_free(jobs, u->n_groups);
	set_records(u);
	for (size_t i = 0; r >= 0 && i < u->n_groups; i++) {
		struct update_section *s = &u->index.sections[u->n_meta + i];
		r = section_load(u->m, u->groups[i]->file, s, &u->index.records[s->first], e);
	}
	return r;
}

/* -- manifests -- */

static int load_manifest(const struct updating *u, const struct entry *line, struct buf *out, struct err *e)
{
	_cleanup_free_ char *name = layout_manifest_plain(line->release, line->name), *path = xasprintf(WWW "%s", name);

	return fs_load(u->m->config->dir, path, MANIFEST_MAX, out, e);
}

static int add_text(const struct buf *old, const struct buf *new, struct diff_streams *s, struct update_record *r,
		    struct err *e)
{
	_cleanup_(diff_streams_clear) struct diff_streams own = {0};

	int result = diff_checked(old, new, &own, e);
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		r->bytes[k] = own.s[k].len;
		buf_add(&s->s[k], own.s[k].data, own.s[k].len);
	}
	manifest_hash(new->data, new->len, &r->hash);
	r->size = new->len;
	if (old->len)
		manifest_hash(old->data, old->len, &r->from);
	return result;
}

static int add_manifest(const struct updating *u, const struct entry *line, const struct entry *was,
			struct diff_streams *s, struct update_record *r, struct err *e)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};

	int result = load_manifest(u, line, &new, e);
	if (result >= 0 && was)
		result = load_manifest(u, was, &old, e);
	return result < 0 ? result : add_text(&old, &new, s, r, e);
}

static int add_mom(struct updating *u, struct diff_streams *s, struct update_record *r, struct err *e)
{
	const struct entry line = {.name = "MoM", .release = u->b->to->mom->release},
			   was = {.name = "MoM", .release = u->b->from->mom->release};
	_cleanup_free_ char *name = layout_mom_signature(line.release), *path = xasprintf(WWW "%s", name);

	if (!u->all_manifests && fs_exists(u->m->config->dir, path)) {
		int result = fs_load(u->m->config->dir, path, SIGNATURE_MAX, &u->index.signature, e);
		if (result < 0)
			return result;
	}
	return add_manifest(u, &line, was.release ? &was : NULL, s, r, e);
}

/* The MoM and then the manifests that have changed. */
static int make_meta(struct updating *u, const struct entry **lines, size_t n, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < u->n_meta; i++) {
		struct update_section *s = &u->index.sections[i];
		_cleanup_(diff_streams_clear) struct diff_streams streams = {0};
		for (size_t k = 0; r >= 0 && k < s->n; k++) {
			struct update_record *x = &u->index.records[s->first + k];
			const size_t at = i * META_BUNDLES + k;
			if (at == 0)
				r = add_mom(u, &streams, x, e);
			else if (at <= n)
				r = add_manifest(u, lines[at - 1], manifest_find(u->b->from->mom, lines[at - 1]->name),
						 &streams, x, e);
		}
		if (r >= 0)
			r = update_pack(&streams, s, &u->meta[i], e);
	}
	return r;
}

/* -- the file -- */

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

/* Bytes that tell each hash of both releases from the others. */
static unsigned prefix_of(const struct updating *u)
{
	const struct release *const releases[] = {u->b->from, u->b->to};
	struct digest *all = NULL;
	size_t n = 0, cap = 0;
	unsigned prefix = 4;

	for (size_t i = 0; i < ARRAY_LEN(releases); i++)
		for (size_t k = 0; k <= releases[i]->n; k++) {
			const struct manifest *m = k < releases[i]->n ? releases[i]->bundles[k] : releases[i]->mom;
			for (size_t x = 0; x < m->n_entries; x++) {
				VEC_GROW(all, n, cap);
				all[n++] = m->entries[x].hash;
			}
		}
	if (n)
		qsort(all, n, sizeof(*all), by_digest);
	for (size_t i = 1; i < n; i++)
		while (!digest_equal(&all[i - 1], &all[i]) && memcmp(&all[i - 1], &all[i], prefix) == 0)
			prefix++;
	free(all);
	return prefix;
}

/* Sections and records, still empty. */
static size_t lay_out(struct updating *u, const struct entry **lines)
{
	struct update_index *x = &u->index;
	const struct attrs manifest = {.kind = KIND_FILE, .mode = 0644};
	size_t n = 0, at = 0;

	for (size_t i = 0; i < u->b->to->n; i++) {
		const struct entry *line = &u->b->to->mom->entries[i],
				   *was = manifest_find(u->b->from->mom, line->name);
		if (was ? !digest_equal(&was->hash, &line->hash) : u->all_manifests || is_reached(u, line->name))
			lines[n++] = line;
	}
	x->from = u->b->from->mom->release;
	x->to = u->b->to->mom->release;
	x->prefix = prefix_of(u);
	u->n_meta = n / META_BUNDLES + 1;
	u->meta = xcalloc(u->n_meta, sizeof(*u->meta));
	x->n_sections = u->n_meta + u->n_groups;
	x->sections = xcalloc(x->n_sections, sizeof(*x->sections));
	x->n_records = 1 + n + u->n;
	x->records = xcalloc(x->n_records, sizeof(*x->records));
	for (size_t i = 0; i < x->n_sections; i++) {
		struct update_section *s = &x->sections[i];
		s->meta = i < u->n_meta;
		s->first = at;
		s->n = s->meta ? MIN((size_t)META_BUNDLES, n + 1 - at) : u->groups[i - u->n_meta]->n;
		at += s->n;
	}
	/* all shapes first: they move while more are added */
	_cleanup_free_ size_t *shapes = xcalloc(x->n_records, sizeof(*shapes));
	for (size_t i = 0; i <= n; i++)
		shapes[i] = shape_of(x, &manifest);
	at = n + 1;
	for (size_t i = 0; i < u->n_groups; i++)
		for (size_t k = 0; k < u->groups[i]->n; k++)
			shapes[at++] = shape_of(x, &u->groups[i]->items[k]->node->attrs);
	for (size_t i = 0; i < x->n_records; i++)
		x->records[i].shape = &x->shapes[shapes[i]];
	return n;
}

static int write_file(struct updating *u, const char *path, struct err *e)
{
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	_cleanup_(buf_free) struct buf head = {0};
	_cleanup_free_ char *name = xasprintf(WWW "%u", u->index.to);
	_cleanup_close_ int dir = fs_open_dir(u->m->config->dir, name, e);

	int r = dir < 0 ? dir : update_format(&u->index, &head, e);
	if (r >= 0)
		r = fs_tmp_open(dir, 0644, &t, e);
	if (r >= 0)
		r = fs_write_all(t.fd, head.data, head.len, e);
	for (size_t i = 0; r >= 0 && i < u->n_meta; i++)
		r = fs_write_all(t.fd, u->meta[i].data, u->meta[i].len, e);
	for (size_t i = 0; r >= 0 && i < u->n_groups; i++)
		r = section_copy(u->m, u->groups[i]->file, &u->index.sections[u->n_meta + i], t.fd, e);
	/* what is there counts as whole for ever */
	if (r >= 0 && fsync(t.fd) < 0)
		r = err_errno(e, "cannot write it out");
	return r < 0 ? r : fs_tmp_commit(&t, strrchr(path, '/') + 1, e);
}

static int restore(const struct updating *u, struct err *e)
{
	const struct release *releases[] = {u->b->from, u->b->to};
	_cleanup_free_ const struct node **nodes = xcalloc(2 * u->n + 1, sizeof(struct node *));
	size_t n = 0;

	for (size_t i = 0; i < u->n; i++) {
		nodes[n++] = u->items[i]->node;
		if (u->items[i]->base)
			nodes[n++] = u->items[i]->base;
	}
	return restore_content(u->m, nodes, n, releases, ARRAY_LEN(releases), e);
}

static int make(struct updating *u, const char *path, struct err *e)
{
	int r = between_load_trees(u->b, e);
	if (r >= 0)
		r = find_items(u, e);
	if (r >= 0)
		r = restore(u, e);
	if (r >= 0)
		r = make_pairs(u, e);
	if (r < 0)
		return r;
	make_groups(u);
	_cleanup_free_ const struct entry **lines = xcalloc(u->b->to->n + 1, sizeof(struct entry *));
	const size_t n = lay_out(u, lines);
	r = make_meta(u, lines, n, e);
	if (r >= 0)
		r = make_sections(u, e);
	return r < 0 ? r : write_file(u, path, e);
}

static int make_all_manifests(struct updating *u, const char *path, struct err *e)
{
	_cleanup_free_ const struct entry **lines = xcalloc(u->b->to->n + 1, sizeof(struct entry *));
	const size_t n = lay_out(u, lines);

	u->index.from = u->index.to;
	int r = make_meta(u, lines, n, e);
	return r < 0 ? r : write_file(u, path, e);
}

int diff_all_manifests(const struct mix *m, uint32_t release, struct err *e)
{
	_cleanup_(between_clear) struct between b = {0};
	_cleanup_(updating_clear) struct updating u = {.m = m, .b = &b, .all_manifests = true, .by_hash = table_new()};
	_cleanup_free_ char *name = layout_manifests(release), *path = xasprintf(WWW "%s", name);

	if (fs_exists(m->config->dir, path))
		return 0;
	int r = between_open(m, 0, release, &b, e);
	if (r >= 0)
		r = make_all_manifests(&u, path, e);
	return r < 0 ? err_in(e, r, "cannot put the manifests of release %u into one file", release) : 0;
}

int diff_update(struct between *b, struct err *e)
{
	const uint32_t from = b->from->mom->release, to = b->to->mom->release;
	_cleanup_(updating_clear) struct updating u = {.m = b->m, .b = b, .by_hash = table_new()};
	_cleanup_free_ char *name = layout_update(to, from), *path = xasprintf(WWW "%s", name);

	if (fs_exists(b->m->config->dir, path))
		return 0;
	int r = make(&u, path, e);
	return r < 0 ? err_in(e, r, "cannot make the update file from release %u to %u", from, to) : 0;
}
