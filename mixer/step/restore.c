/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/tar.h"

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
	return work_each(m->config->threads, s.n, restore_one, &s, e);
}
