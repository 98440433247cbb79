/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "mixer/step/validating.h"
#include "mixer/step/ways.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/update_file.h"

/* The files on the way, as far as their indexes say what they have; that from nothing first. */
struct way {
	struct update_index *files;
	size_t n, room; /* of the memory that clients have for the indices of a way */
};

static void way_clear(struct way *w)
{
	for (size_t i = 0; i < w->n; i++)
		update_index_clear(&w->files[i]);
	free(w->files);
}

/* It comes from one of the first n files, with all that it is made from. */
static bool can_be_had(const struct way *w, size_t n, const struct digest *hash, unsigned bytes)
{
	for (size_t i = n; i-- > 0;) {
		const size_t found = update_find(&w->files[i], hash, bytes);
		if (found == SIZE_MAX)
			continue;
		const struct update_record r = update_record_at(&w->files[i], found);
		if (!update_has_base(&r) || can_be_had(w, i, &r.from, w->files[i].prefix))
			return true;
	}
	return false;
}

/* False, and a finding: it cannot be read. */
static bool load(struct validating *v, const struct way_step *step, struct way *w)
{
	struct update_index *out = &w->files[w->n];

	_cleanup_free_ char *path = layout_update(step->to, step->from), *below = xasprintf("update/www/%s", path);
	_cleanup_close_ int fd = openat(v->m->config->dir, below, O_RDONLY | O_CLOEXEC);
	struct err why = ERR_INIT;

	int r = fd < 0 ? err_errno(&why, "cannot be opened") : update_load(fd, w->room, out, &why);
	w->n++;
	w->room -= out->memory;
	if (r < 0)
		finding(v, "%s: %s", path, why.text);
	else
		update_sort(out);
	err_clear(&why);
	return r >= 0;
}

int validate_ways(struct validating *v, struct err *e)
{
	_cleanup_(ways_clear) struct ways steps = {0};
	_cleanup_(way_clear) struct way w = {.room = UPDATE_MEMORY};

	int r = ways_from_nothing(v->m, v->release->mom->release, &steps, e);
	w.files = xcalloc(steps.n + 1, sizeof(*w.files));
	for (size_t i = 0; r >= 0 && i < steps.n; i++)
		if (!load(v, &steps.items[i], &w))
			return 0;
	for (size_t b = 0; w.n && b < v->release->n; b++)
		for (size_t i = 0; i < v->release->bundles[b]->n_entries; i++) {
			const struct entry *x = &v->release->bundles[b]->entries[i];
			if (x->kind != KIND_NONE && can_be_had(&w, w.n, &x->hash, sizeof(x->hash)))
				(void)table_add(v->on_the_way, &x->hash, sizeof(x->hash), (void *)x);
		}
	return r;
}
