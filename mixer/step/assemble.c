/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/step/objects.h"
#include "mixer/step/parts.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/manifest.h"

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct entry *const *)a)->name, (*(const struct entry *const *)b)->name);
}

/* Everything a bundle has, each object once, in order of names: neighbours in the tree are alike and compress well together. */
static int bundle_members(const struct manifest *bundle, const struct objects *objects, struct member **out, size_t *n,
			  struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	const struct entry **entries = xcalloc(bundle->n_entries, sizeof(*entries));
	size_t count = 0;
	int r = 0;

	*out = xcalloc(bundle->n_entries, sizeof(**out));
	*n = 0;
	for (size_t i = 0; i < bundle->n_entries; i++)
		if (bundle->entries[i].kind != KIND_NONE)
			entries[count++] = &bundle->entries[i];
	if (count)
		qsort(entries, count, sizeof(*entries), by_name);
	for (size_t i = 0; i < count && r >= 0; i++) {
		const struct node *node = objects_find(objects, &entries[i]->hash);
		if (!node)
			r = err_set(e, -ERR_FORMAT, "%s is in a manifest, but not in the release's trees",
				    entries[i]->name);
		else if (!table_add(seen, &node->hash, sizeof(node->hash), (void *)node))
			(*out)[(*n)++] = (struct member){.node = node, .size = node->attrs.size};
	}
	free(entries);
	return r;
}

static int assemble_all(const struct mix *m, const struct release *release, const struct objects *objects, int dir,
			struct err *e)
{
	struct pack_content *packs = xcalloc(release->n, sizeof(*packs));
	uint64_t bytes = 0;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < release->n; i++) {
		const struct entry *line = &release->mom->entries[i];
		struct pack_content *p = &packs[n];
		if (line->release != m->release)
			continue;
		p->name = xasprintf("pack-%s-from-0.tar", line->name);
		n++;
		r = bundle_members(release->bundles[i], objects, &p->members, &p->n, e);
		bytes += release->bundles[i]->contentsize;
		/* a bundle that only deletes has no objects, and so no pack */
		if (r >= 0 && p->n == 0) {
			free(take(p->name));
			free(take(p->members));
			n--;
		}
	}
	progress_stage(m->progress, "assemble", bytes, true);
	if (r >= 0)
		r = parts_write_packs(m, dir, packs, n, e);
	pack_contents_free(packs, n);
	return r;
}

int assemble(const struct mix *m, struct err *e)
{
	_cleanup_(release_freep) struct release *release = NULL;
	_cleanup_free_ char *new = release_new_path(m->release);
	struct release_trees *trees = NULL;
	struct objects *objects = objects_new();
	_cleanup_close_ int dir = fs_open_dir(m->config->dir, new, e);

	int r = dir < 0 ? dir : release_load_new(m, &release, e);
	if (r >= 0)
		r = release_trees_load(m, m->release, &trees, e);
	if (r >= 0) {
		objects_add(objects, trees->full);
		r = assemble_all(m, release, objects, dir, e);
	}
	objects_free(objects);
	release_trees_free(trees);
	return r < 0 ? err_in(e, r, "cannot assemble packs") : 0;
}
