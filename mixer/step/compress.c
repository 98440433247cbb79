/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/objects.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/manifest.h"

/* Files above this are compressed one at a time: a worker holds the content, its tar and its compressed form, about three times the size. */
#define LARGE (64UL << 20)

struct job {
	const struct node *node;
};

struct compressing {
	const struct mix *m;
	int files; /* directory fd of .new-<V>/files */
	struct job *jobs;
	size_t n, cap;
};

static int compress_one(void *arg, size_t i, struct err *e)
{
	struct compressing *c = arg;
	const struct node *n = c->jobs[i].node;
	_cleanup_free_ char *cached = cache_path(c->m, "fullfiles", &n->hash, e);
	_cleanup_(buf_free) struct buf content = {0}, tar = {0};
	char hex[DIGEST_HEX];

	progress_add(c->m->progress, n->attrs.size);
	if (!cached)
		return -EIO;
	digest_format(&n->hash, hex);
	_cleanup_free_ char *name = xasprintf("%s.tar", hex);
	if (!cache_has(c->m, cached)) {
		int r = object_content(c->m, n, &content, e);
		if (r >= 0)
			r = fullfile_write(&n->hash, &n->attrs, content.data, c->m->config->codec, c->m->config->level,
					   &tar, e);
		if (r >= 0)
			r = fs_save_cache(c->m->cache, cached, tar.data, tar.len, 0644, e);
		if (r < 0)
			return err_in(e, r, "fullfile of %s", n->path);
	}
	return fs_link_or_copy(c->m->cache, cached, c->files, name, e);
}

static int by_size(const void *a, const void *b)
{
	const struct node *x = ((const struct job *)a)->node, *y = ((const struct job *)b)->node;

	if (x->attrs.size != y->attrs.size)
		return x->attrs.size < y->attrs.size ? 1 : -1;
	return memcmp(&x->hash, &y->hash, sizeof(x->hash));
}

/* Each object that this release brings, once. */
static int collect_jobs(struct compressing *c, const struct release *r, const struct objects *objects, struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();

	for (size_t b = 0; b < r->n; b++) {
		for (size_t i = 0; i < r->bundles[b]->n_entries; i++) {
			const struct entry *x = &r->bundles[b]->entries[i];
			if (x->kind == KIND_NONE || x->release != c->m->release)
				continue;
			const struct node *n = objects_find(objects, &x->hash);
			if (!n)
				return err_hint(e,
						err_set(e, -ERR_FORMAT,
							"%s is in a manifest, but not in the release's trees", x->name),
						"run 'mixer build bundles' again");
			if (table_add(seen, &n->hash, sizeof(n->hash), (void *)n))
				continue;
			VEC_GROW(c->jobs, c->n, c->cap);
			c->jobs[c->n++] = (struct job){n};
		}
	}
	if (c->n)
		qsort(c->jobs, c->n, sizeof(*c->jobs), by_size);
	return 0;
}

static void compressing_free(struct compressing *c)
{
	free(c->jobs);
	closep(&c->files);
}

static int compress_all(struct compressing *c, struct err *e)
{
	struct compressing rest = *c;
	uint64_t bytes = 0;
	size_t large = 0;

	for (size_t i = 0; i < c->n; i++)
		bytes += c->jobs[i].node->attrs.size;
	while (large < c->n && c->jobs[large].node->attrs.size > LARGE)
		large++;
	progress_stage(c->m->progress, "compress", bytes, true);
	rest.jobs += large;
	int r = work_each(1, large, compress_one, c, e);
	return r < 0 ? r : work_each(c->m->config->threads, c->n - large, compress_one, &rest, e);
}

int compress(const struct mix *m, struct err *e)
{
	_cleanup_(compressing_free) struct compressing c = {.m = m, .files = -1};
	_cleanup_(release_freep) struct release *release = NULL;
	_cleanup_free_ char *new = release_new_path(m->release), *files = xasprintf("%s/files", new);
	struct release_trees *trees = NULL;
	struct objects *objects = objects_new();

	int r = release_load_new(m, &release, e);
	if (r >= 0)
		r = release_trees_load(m, m->release, &trees, e);
	if (r >= 0)
		r = c.files = fs_make_dir(m->config->dir, files, 0755, e);
	if (r >= 0) {
		objects_add(objects, trees->full);
		r = collect_jobs(&c, release, objects, e);
	}
	if (r >= 0)
		r = compress_all(&c, e);
	objects_free(objects);
	release_trees_free(trees);
	return r < 0 ? err_in(e, r, "cannot make fullfiles") : 0;
}
