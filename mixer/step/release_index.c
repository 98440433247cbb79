/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/release_index.h"

#include <stdlib.h>
#include <string.h>

#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"

void release_index_clear(struct release_index *x)
{
	for (size_t i = 0; i < x->n; i++)
		free(x->items[i].manifest);
	free(x->items);
	*x = (struct release_index){0};
}

static void add(struct release_index *x, const struct digest *hash, const char *name, char *manifest)
{
	VEC_GROW(x->items, x->n, x->cap);
	x->items[x->n++] = (struct indexed){*hash, name, manifest};
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(&((const struct indexed *)a)->hash, &((const struct indexed *)b)->hash, sizeof(struct digest));
}

int release_index_fill(const struct mix *m, const struct release *r, struct release_index *out, struct err *e)
{
	_cleanup_free_ char *mom = layout_manifest_plain(r->mom->release, "MoM"),
			    *path = xasprintf("update/www/%s", mom);
	_cleanup_(buf_free) struct buf text = {0};
	struct digest hash;

	*out = (struct release_index){0};
	int result = fs_load(m->config->dir, path, MANIFEST_MAX, &text, e);
	if (result < 0)
		return result;
	manifest_hash(text.data, text.len, &hash);
	add(out, &hash, "MoM", take(mom));
	for (size_t i = 0; i < r->n; i++) {
		const struct entry *line = &r->mom->entries[i];
		add(out, &line->hash, line->name, layout_manifest_plain(line->release, line->name));
		for (size_t k = 0; k < r->bundles[i]->n_entries; k++)
			if (r->bundles[i]->entries[k].kind != KIND_NONE)
				add(out, &r->bundles[i]->entries[k].hash, r->bundles[i]->entries[k].name, NULL);
	}
	qsort(out->items, out->n, sizeof(*out->items), by_hash);
	return 0;
}

static const struct digest *hash_at(const void *arg, size_t i)
{
	const struct release_index *x = arg;

	return &x->items[i].hash;
}

const struct indexed *release_index_find(const struct release_index *x, const struct digest *prefix, unsigned bytes)
{
	const size_t i = digest_search(hash_at, x, x->n, prefix, bytes);

	return i < x->n && memcmp(hash_at(x, i), prefix, bytes) == 0 ? &x->items[i] : NULL;
}
