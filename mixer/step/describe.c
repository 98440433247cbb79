/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/format.h"
#include "swupd/content/manifest.h"

/* Numbers of bundles in release_trees. */
struct bundle_list {
	size_t *items, n, cap;
};

/* What describe() works with. */
struct describing {
	const struct mix *m;
	const struct release_trees *r;
	uint32_t minversion;
	struct release *previous;   /* NULL: this is the first one */
	struct bundle_list *givers; /* of each bundle: those whose files it does not list itself */
	struct entry *lines;        /* of each bundle: its line of the MoM */
	bool *changed;              /* of each bundle: its manifest was written */
	int dir;                    /* of the new release */
};

/*
 * A bundle leaves a file to those that it includes. Of bundles that include one another only one may keep it, and one must: the first by name. None leaves
 * anything to itself.
 */
static void find_givers(struct describing *d)
{
	const size_t n = d->r->n;
	bool *reached = xcalloc(n, n * sizeof(*reached));

	for (size_t i = 0; i < n; i++)
		release_trees_reach(d->r, i, reached + i * n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			struct bundle_list *l = &d->givers[i];
			const bool mutual = reached[k * n + i];
			if (!reached[i * n + k] || (mutual && k >= i))
				continue;
			VEC_GROW(l->items, l->n, l->cap);
			l->items[l->n++] = k;
		}
	free(reached);
}

/* The directories of t below which it has something else than directories. */
static struct table *busy_directories(const struct tree *t, struct arena *arena)
{
	struct table *busy = table_new();

	for (size_t i = 0; i < t->n; i++) {
		if (t->nodes[i].attrs.kind == KIND_DIR)
			continue;
		char *path = arena_strdup(arena, t->nodes[i].path);
		for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
			*slash = '\0';
			if (table_add_str(busy, arena_strdup(arena, path), path))
				break; /* what is above is known, too */
		}
	}
	return busy;
}

static bool is_exported(const struct bundle_tree *b, const char *path)
{
	static const char *const dirs[] = {"/bin/", "/usr/bin/", "/usr/local/bin/"};

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (text_starts(path, dirs[i]))
			return !strv_has(&b->unexports, path);
	return false;
}

/*
 * spec/mixer-behaviour.md section 5.4: what an included bundle has is not this bundle's; a directory stays with it when it puts something below, unless
 * os-core has it.
 */
static bool is_others(const struct describing *d, size_t bundle, const struct node *n, const struct table *busy)
{
	const struct bundle_list *givers = &d->givers[bundle];

	for (size_t i = 0; i < givers->n; i++) {
		const struct bundle_tree *included = &d->r->bundles[givers->items[i]];
		if (!tree_find(included->tree, n->path))
			continue;
		if (n->attrs.kind != KIND_DIR || strcmp(included->name, "os-core") == 0 ||
		    !table_find_str(busy, n->path))
			return true;
	}
	return false;
}

/* A manifest whose entries still grow: they are not in its arena. */
struct draft {
	struct manifest *m;
	size_t cap;
};

static void draft_free(struct draft *d)
{
	free(d->m->entries);
	d->m->entries = NULL;
	manifest_free(d->m);
}

static void add_entry(struct draft *d, const struct entry *x)
{
	struct manifest *m = d->m;

	VEC_GROW(m->entries, m->n_entries, d->cap);
	m->entries[m->n_entries++] = *x;
}

static void assign_files(const struct describing *d, size_t bundle, struct draft *draft)
{
	struct manifest *m = draft->m;
	const struct bundle_tree *b = &d->r->bundles[bundle];
	struct arena *arena = arena_new();
	_cleanup_(table_freep) struct table *busy = busy_directories(b->tree, arena);

	for (size_t i = 0; i < b->tree->n; i++) {
		const struct node *n = &b->tree->nodes[i];
		if (is_others(d, bundle, n, busy))
			continue;
		add_entry(draft, &(struct entry){
					 .name = arena_strdup(m->arena, n->path),
					 .hash = n->hash,
					 .release = d->m->release,
					 .kind = n->attrs.kind,
					 .exported = is_exported(b, n->path),
					 .size = n->attrs.size,
				 });
		if (n->attrs.kind != KIND_DIR)
			m->contentsize += n->attrs.size;
	}
	arena_free(arena);
}

/* What a running system boots from, and needs as long as it runs that kernel: the boot manager removes it (spec/mixer-behaviour.md section 5.7). */
static bool is_ghosted(const char *path)
{
	return text_starts(path, "/boot/") || text_starts(path, "/usr/lib/modules/") ||
	       text_starts(path, "/usr/lib/kernel/");
}

/* Give unchanged entries their old release; add the deleted ones. True: something changed. */
static bool compare(const struct describing *d, struct draft *draft, const struct manifest *old)
{
	struct manifest *m = draft->m;
	_cleanup_(table_freep) struct table *before = manifest_index(old), *now = manifest_index(m);
	bool changed = false;

	for (size_t i = 0; i < m->n_entries; i++) {
		struct entry *x = &m->entries[i];
		const struct entry *was = table_find_str(before, x->name);
		if (was && was->status == STATUS_PRESENT && was->kind == x->kind && was->variant == x->variant &&
		    digest_equal(&was->hash, &x->hash) && was->release >= d->minversion && was->exported == x->exported)
			x->release = was->release;
		else
			changed = true;
	}
	for (size_t i = 0; i < old->n_entries; i++) {
		const struct entry *was = &old->entries[i];
		struct entry gone = {
			.name = arena_strdup(m->arena, was->name), .release = was->release, .status = STATUS_DELETED};
		if (table_find_str(now, was->name) || was->status == STATUS_GHOSTED)
			continue;
		if (was->status == STATUS_DELETED) {
			/* carried along while clients of this format may come from before the deletion */
			if (old->format == m->format)
				add_entry(draft, &gone);
			continue;
		}
		gone.release = d->m->release;
		if (is_ghosted(was->name))
			gone.status = STATUS_GHOSTED;
		add_entry(draft, &gone);
		changed = true;
	}
	return changed;
}

static const char **copy_names(struct manifest *m, const struct strv *names, size_t *n)
{
	const char **out = arena_alloc(m->arena, (names->n + 1) * sizeof(*out));

	for (size_t i = 0; i < names->n; i++)
		out[i] = arena_strdup(m->arena, names->items[i]);
	*n = names->n;
	return out;
}

static bool same_names(const char **a, size_t n_a, const char **b, size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

/* previous: the release of the manifest that it is compared with; 0: none */
static struct manifest *new_manifest(const struct describing *d, uint32_t previous)
{
	struct manifest *m = manifest_new();

	m->format = d->m->format;
	m->release = d->m->release;
	m->previous = previous;
	m->timestamp = d->r->time;
	return m;
}

static int save_manifest(const struct describing *d, struct manifest *m, const char *name, struct digest *hash,
			 struct err *e)
{
	_cleanup_free_ char *file = xasprintf("Manifest.%s", name);
	_cleanup_(buf_free) struct buf text = {0};

	manifest_sort(m);
	manifest_format(m, &text);
	manifest_hash(text.data, text.len, hash);
	return fs_save_cache(d->dir, file, text.data, text.len, 0644, e);
}

static int describe_bundle(const struct describing *d, size_t i, struct err *e)
{
	struct entry *line = &d->lines[i];
	const struct bundle_tree *b = &d->r->bundles[i];
	const struct manifest *old = d->previous ? release_find(d->previous, b->name) : NULL;
	_cleanup_(draft_free) struct draft draft = {.m = new_manifest(d, old ? old->release : 0)};
	struct manifest *m = draft.m;
	bool changed = true;

	assign_files(d, i, &draft);
	m->includes = copy_names(m, &b->includes, &m->n_includes);
	m->also_add = copy_names(m, &b->also_add, &m->n_also_add);
	if (old) {
		changed = compare(d, &draft, old);
		changed |= !same_names(m->includes, m->n_includes, old->includes, old->n_includes);
		changed |= m->format >= FORMAT_ALSO_ADD &&
			   !same_names(m->also_add, m->n_also_add, old->also_add, old->n_also_add);
		changed |= old->format != m->format || d->minversion > old->release;
	}
	*line = (struct entry){
		.name = b->name,
		.kind = KIND_BUNDLE,
		.status = b->experimental && m->format >= FORMAT_EXPERIMENTAL ? STATUS_EXPERIMENTAL : STATUS_PRESENT,
		.release = m->release,
		.size = SIZE_UNKNOWN,
	};
	if (!changed) {
		const struct entry *was = manifest_find(d->previous->mom, b->name);
		line->release = was->release;
		line->hash = was->hash;
		/* this is told in the MoM alone */
		d->changed[i] = was->status != line->status;
		return 0;
	}
	if (m->n_entries == 0)
		return err_set(e, -ERR_FORMAT, "bundle '%s' has nothing: no package, no content", b->name);
	d->changed[i] = true;
	return save_manifest(d, m, b->name, &line->hash, e);
}

static int describe_one(void *arg, size_t i, struct err *e)
{
	const struct describing *d = arg;

	int r = describe_bundle(d, i, e);
	progress_add(d->m->progress, 1);
	return r < 0 ? err_in(e, r, "bundle '%s'", d->r->bundles[i].name) : 0;
}

/* from: in the workspace; what is not there is not attached. */
static int attach(const struct describing *d, struct manifest *mom, const char *from, const char *name, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (!fs_exists(d->m->config->dir, from))
		return 0;
	int r = fs_load(d->m->config->dir, from, MANIFEST_MAX, &text, e);
	if (r >= 0)
		r = fs_save_cache(d->dir, name, text.data, text.len, 0644, e);
	if (r < 0)
		return r;
	struct attached *all = arena_alloc(mom->arena, (mom->n_attached + 1) * sizeof(*all));
	if (mom->n_attached)
		memcpy(all, mom->attached, mom->n_attached * sizeof(*all));
	all[mom->n_attached] = (struct attached){.name = arena_strdup(mom->arena, name), .size = text.len};
	sha256_mem(text.data, text.len, &all[mom->n_attached].sha256);
	mom->attached = all;
	mom->n_attached++;
	return 0;
}

static int describe_mom(const struct describing *d, struct err *e)
{
	_cleanup_(draft_free) struct draft draft = {.m = new_manifest(d, d->m->previous)};
	struct manifest *mom = draft.m;
	_cleanup_free_ char *sbom = xasprintf("update/releases/%u/sbom.spdx.json", d->m->release);
	struct digest hash;

	mom->minversion = d->minversion ? d->minversion : d->previous ? d->previous->mom->minversion : 0;
	for (size_t i = 0; i < d->r->n; i++)
		add_entry(&draft, &d->lines[i]);
	int r = attach(d, mom, sbom, "sbom.spdx.json", e);
	if (r >= 0)
		r = attach(d, mom, "mixer.lock", "mixer.lock", e);
	return r < 0 ? r : save_manifest(d, mom, "MoM", &hash, e);
}

static bool is_as_before(const struct describing *d)
{
	if (!d->previous || d->r->n != d->previous->mom->n_entries)
		return false;
	for (size_t i = 0; i < d->r->n; i++)
		if (d->changed[i])
			return false;
	return true;
}

static void describing_free(struct describing *d)
{
	for (size_t i = 0; d->givers && i < d->r->n; i++)
		free(d->givers[i].items);
	free(d->givers);
	free(d->lines);
	free(d->changed);
	release_free(d->previous);
	closep(&d->dir);
}

static int describe_all(struct describing *d, struct err *e)
{
	d->givers = xcalloc(d->r->n, sizeof(*d->givers));
	d->lines = xcalloc(d->r->n, sizeof(*d->lines));
	d->changed = xcalloc(d->r->n, sizeof(*d->changed));
	find_givers(d);
	progress_stage(d->m->progress, "describe", d->r->n, false);
	int r = work_each(d->m->config->threads, d->r->n, describe_one, d, e);
	if (r < 0)
		return r;
	return is_as_before(d) ? 1 : describe_mom(d, e);
}

int describe(const struct mix *m, const struct release_trees *r, uint32_t minversion, struct err *e)
{
	_cleanup_(describing_free) struct describing d = {.m = m, .r = r, .minversion = minversion, .dir = -1};
	_cleanup_free_ char *path = release_new_path(m->release);

	int result = fs_remove_tree(m->config->dir, path, e);
	if (result >= 0 && m->previous)
		result = release_load(m, m->previous, &d.previous, e);
	if (result >= 0)
		result = d.dir = fs_make_dir(m->config->dir, path, 0755, e);
	if (result >= 0)
		result = describe_all(&d, e);
	if (result == 1) {
		int removed = fs_remove_tree(m->config->dir, path, e);
		result = removed < 0 ? removed : 1;
	}
	return result < 0 ? err_in(e, result, "cannot describe release %u", m->release) : result;
}
