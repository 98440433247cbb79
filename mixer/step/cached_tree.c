/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/cached_tree.h"

#include <string.h>

#include "mixer/input/tree.h"
#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct tree *cached_tree_load(const struct mix *m, const char *key, size_t max)
{
	_cleanup_(tree_freep) struct tree *t = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	if (!cache_has(m, key) || fs_load(m->cache, key, max, &text, NULL) < 0 ||
	    tree_parse(text.data, text.len, &t, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		if (!store_has(m->store, &t->nodes[i]))
			return NULL;
	return take(t);
}

int cached_tree_save(const struct mix *m, const char *key, const struct tree *t, struct err *e)
{
	_cleanup_free_ char *dir = xstrndup(key, (size_t)(strrchr(key, '/') - key));
	_cleanup_(buf_free) struct buf text = {0};

	tree_format(t, &text);
	int r = fs_mkdirs(m->cache, dir, 0755, e);
	return r < 0 ? r : fs_save_cache(m->cache, key, text.data, text.len, 0644, e);
}
