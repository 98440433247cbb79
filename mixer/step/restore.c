/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/release.h"
#include "mixer/step/release_index.h"
#include "mixer/step/step.h"
#include "mixer/step/ways.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/tar.h"
#include "swupd/content/update_file.h"

struct restoring {
	const struct mix *m;
	const struct node **nodes;
	size_t n;
	struct table *published; /* digest → entry */
};

static void restoring_clear(struct restoring *s)
{
	free(s->nodes);
	table_free(s->published);
}

static int unpack(const struct node *n, int fd, struct store *store, struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member member;
	struct digest real;

	int r = tar_open(fd, &t, e);
	if (r >= 0)
		r = tar_next(t, &member, e);
	if (r == 0)
		r = err_set(e, -ERR_FORMAT, "an empty tar");
	if (r >= 0)
		r = store_take(store, &n->attrs, tar_read_source, t, &real, e);
	if (r >= 0 && !digest_equal(&real, &n->hash))
		r = err_set(e, -ERR_DIGEST, "it holds another file");
	return r;
}

static int restore_one(void *arg, size_t i, struct err *e)
{
	struct restoring *s = arg;
	const struct node *n = s->nodes[i];
	const struct entry *x = table_find(s->published, &n->hash, sizeof(n->hash));

	progress_add(s->m->progress, 1);
	if (!x)
		return err_set(e, -ERR_MISSING, "%s: its content is not in the cache", n->path);
	_cleanup_free_ char *name = layout_fullfile(x->release, &n->hash), *path = xasprintf("update/www/%s", name);
	_cleanup_close_ int fd = openat(s->m->config->dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, -ERR_MISSING, "%s: its content is neither in the cache nor in '%s'", n->path, path);
	if (fd < 0)
		return err_errno(e, "%s", path);
	int r = unpack(n, fd, s->m->store, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

static bool has_fullfile(const struct restoring *s, const struct node *n)
{
	const struct entry *x = table_find(s->published, &n->hash, sizeof(n->hash));
	_cleanup_free_ char *name = x ? layout_fullfile(x->release, &x->hash) : NULL,
			    *path = xasprintf("update/www/%s", name ? name : "");

	return x && fs_exists(s->m->config->dir, path);
}

/* An update file, where its objects are made and put into the store. */
struct making {
	const struct mix *m;
	struct update_index index;
	struct release_index from, to;
	const struct indexed *now;
	struct store_writer *writer;
	struct buf base;
};

static void making_clear(struct making *k)
{
	update_index_clear(&k->index);
	release_index_clear(&k->from);
	release_index_clear(&k->to);
	buf_free(&k->base);
}

static int begin(void *arg, const struct update_record *r, struct view *base, struct err *e)
{
	struct making *k = arg;
	const struct indexed *from = release_index_find(&k->from, &r->from, k->index.prefix);
	struct attrs attrs = *r->shape;

	attrs.size = r->size;
	k->base.len = 0;
	k->now = release_index_find(&k->to, &r->hash, k->index.prefix);
	if (!k->now || attrs.kind != KIND_FILE ||
	    store_has(k->m->store, &(struct node){.hash = k->now->hash, .attrs = attrs}) ||
	    (update_has_base(r) && (!from || store_load(k->m->store, &from->hash, SIZE_MAX / 2, &k->base, NULL) < 0)))
		return 0;
	int result = store_begin(k->m->store, &attrs, &k->writer, e);
	*base = VIEW_OF((const uint8_t *)k->base.data, k->base.len);
	return result < 0 ? result : 1;
}

static int add_bytes(void *arg, const void *data, size_t len, struct err *e)
{
	struct making *k = arg;

	return store_write(k->writer, data, len, e);
}

static int end(void *arg, const struct update_record *r __attribute__((unused)), int result, struct err *e)
{
	struct making *k = arg;
	struct digest real;

	/* of another hash it is of no use to anybody, but does no harm */
	if (result >= 0)
		return store_end(take(k->writer), &real, e);
	store_abort(take(k->writer));
	ui_note(k->m->ui, "%s is not taken from an update file: %s", k->now->name, e->text);
	return 0;
}

static int index_release(const struct mix *m, uint32_t number, struct release **r, struct release_index *x,
			 struct err *e)
{
	int result = release_load(m, number, r, e);

	return result < 0 ? result : release_index_fill(m, *r, x, e);
}

static int restore_step(const struct mix *m, const struct way_step *step, struct err *e)
{
	_cleanup_(release_freep) struct release *from = NULL, *to = NULL;
	_cleanup_(making_clear) struct making k = {.m = m};
	const struct update_target target = {.begin = begin, .write = add_bytes, .end = end, .arg = &k, .scratch = -1};
	_cleanup_free_ char *name = layout_update(step->to, step->from), *path = xasprintf("update/www/%s", name);

	_cleanup_close_ int fd = openat(m->config->dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "%s", path);
	int r = update_load(fd, UPDATE_MEMORY, &k.index, e);
	if (r >= 0 && step->from)
		r = index_release(m, step->from, &from, &k.from, e);
	if (r >= 0)
		r = index_release(m, step->to, &to, &k.to, e);
	for (size_t i = 0; r >= 0 && i < k.index.n_sections; i++)
		if (!k.index.sections[i].meta)
			r = update_read(&k.index, i, fd, k.index.sections[i].at, &target, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

/* All that update files bring from nothing to this release. */
static int restore_way(const struct mix *m, uint32_t release, struct err *e)
{
	_cleanup_(ways_clear) struct ways way = {0};

	int r = ways_from_nothing(m, release, &way, e);
	for (size_t i = 0; r >= 0 && i < way.n; i++)
		r = restore_step(m, &way.items[i], e);
	return r;
}

int restore_content(const struct mix *m, const struct node *const *nodes, size_t n,
		    const struct release *const *releases, size_t n_releases, struct err *e)
{
	_cleanup_(restoring_clear) struct restoring s = {.m = m};
	_cleanup_(table_freep) struct table *seen = table_new();

	s.nodes = xcalloc(n, sizeof(*s.nodes));
	for (size_t i = 0; i < n; i++)
		if (!store_has(m->store, nodes[i]) &&
		    !table_add(seen, &nodes[i]->hash, sizeof(nodes[i]->hash), (void *)nodes[i]))
			s.nodes[s.n++] = nodes[i];
	if (s.n == 0)
		return 0;
	s.published = table_new();
	for (size_t i = 0; i < n_releases; i++)
		for (size_t b = 0; b < releases[i]->n; b++)
			for (size_t k = 0; k < releases[i]->bundles[b]->n_entries; k++) {
				const struct entry *x = &releases[i]->bundles[b]->entries[k];
				if (x->kind == KIND_FILE)
					(void)table_add(s.published, &x->hash, sizeof(x->hash), (void *)x);
			}
	progress_stage(m->progress, "restore", s.n, false);
	size_t lacking = 0, rest = 0;
	int r = 0;
	for (size_t i = 0; i < s.n; i++)
		lacking += !has_fullfile(&s, s.nodes[i]);
	for (size_t i = 0; r >= 0 && lacking && i < n_releases; i++)
		r = restore_way(m, releases[i]->mom->release, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s.n; i++)
		if (!store_has(m->store, s.nodes[i]))
			s.nodes[rest++] = s.nodes[i];
	s.n = rest;
	return work_each(m->config->threads, s.n, restore_one, &s, e);
}
