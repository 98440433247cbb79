/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/objects.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "mixer/input/cache.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

#define OBJECT_MAX (4UL << 30) /* bytes of one file of a release */

struct objects {
	struct table *nodes; /* digest → node */
};

struct objects *objects_new(void)
{
	struct objects *o = xcalloc(1, sizeof(*o));

	o->nodes = table_new();
	return o;
}

void objects_free(struct objects *o)
{
	if (!o)
		return;
	table_free(o->nodes);
	free(o);
}

void objects_add(struct objects *o, const struct tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		(void)table_add(o->nodes, &t->nodes[i].hash, sizeof(struct digest), &t->nodes[i]);
}

const struct node *objects_find(const struct objects *o, const struct digest *hash)
{
	return table_find(o->nodes, hash, sizeof(*hash));
}

static int damaged(const struct node *n, struct err *e)
{
	return err_hint(e, err_set(e, -ERR_DIGEST, "%s: its content in the cache is damaged", n->path),
			"remove <cache>/objects, then 'mixer build' makes it anew");
}

int object_content(const struct mix *m, const struct node *n, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (n->attrs.kind == KIND_LINK)
		buf_puts(out, n->link);
	if (n->attrs.kind != KIND_FILE)
		return 0;
	int r = store_load(m->store, &n->hash, OBJECT_MAX, &text, e);
	if (r < 0)
		return err_in(e, r, "%s", n->path);
	if (text.len != n->attrs.size)
		return damaged(n, e);
	buf_move(out, &text);
	return 0;
}

int object_open(const struct mix *m, const struct node *n, struct err *e)
{
	_cleanup_close_ int fd = store_get_fd(m->store, &n->hash, e);
	struct stat st;

	if (fd < 0)
		return err_in(e, fd, "%s", n->path);
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != n->attrs.size)
		return damaged(n, e);
	return take_fd(&fd);
}

int object_map(const struct mix *m, const struct node *n, struct fs_map *out, struct err *e)
{
	_cleanup_close_ int fd = object_open(m, n, e);

	return fd < 0 ? fd : fs_map_fd(fd, n->path, out, e);
}

char *cache_path(const struct mix *m, const char *kind, const struct digest *d, struct err *e)
{
	char hex[DIGEST_HEX];

	digest_format(d, hex);
	char *path = xasprintf("%s/%s-%d/%.2s/%s", kind, codec_name(m->config->codec), m->config->level, hex, hex);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	int r = fs_mkdirs(m->cache, path, 0755, e);
	*slash = '/';
	if (r < 0) {
		free(path);
		return NULL;
	}
	return path;
}

bool cache_has(const struct mix *m, const char *path)
{
	struct stat st;

	if (fstatat(m->cache, path, &st, 0) < 0 || st.st_size == 0)
		return false;
	cache_used(m->cache, path, &st);
	return true;
}
