/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/between.h"

#include "mixer/step/similar.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/manifest.h"

int between_open(const struct mix *m, uint32_t from, uint32_t to, struct between *out, struct err *e)
{
	*out = (struct between){.m = m};
	if (from == 0)
		out->from = release_none();
	int r = from ? release_load(m, from, &out->from, e) : 0;
	return r < 0 ? r : release_load(m, to, &out->to, e);
}

int between_load_trees(struct between *b, struct err *e)
{
	const uint32_t from = b->from->mom->release;
	_cleanup_free_ char *index = xasprintf("update/releases/%u/bundles", from);

	if (b->to_trees)
		return 0;
	if (from && !fs_exists(b->m->config->dir, index))
		return err_hint(e, err_set(e, -ERR_MISSING, "update/releases/%u is not there any more", from),
				"packs can only be made from releases whose update/releases is kept");
	int r = from ? release_trees_load(b->m, from, &b->from_trees, e) : 0;
	if (r >= 0)
		r = release_trees_load(b->m, b->to->mom->release, &b->to_trees, e);
	if (r < 0)
		return r;
	b->objects = objects_new();
	objects_add(b->objects, b->to_trees->full);
	const struct tree *full = from ? b->from_trees->full : &(struct tree){0};
	b->owners = owners_new(b->from);
	b->peers = peers_new(full, b->to_trees->full);
	return similar_add(b->m, full, b->to_trees->full, b->peers, e);
}

void between_clear(struct between *b)
{
	peers_free(b->peers);
	owners_free(b->owners);
	objects_free(b->objects);
	release_trees_free(b->from_trees);
	release_trees_free(b->to_trees);
	release_free(b->from);
	release_free(b->to);
}
