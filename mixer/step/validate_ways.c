/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

/* A file on the way, as far as its index says what it has. */
struct level {
	struct update_index index;
	const struct update_record **by_hash;
};

struct way {
	struct level *levels; /* that from nothing first */
	size_t n;
};

static void way_clear(struct way *w)
{
	for (size_t i = 0; i < w->n; i++) {
		update_index_clear(&w->levels[i].index);
		free(w->levels[i].by_hash);
	}
	free(w->levels);
}

static int by_hash(const void *a, const void *b)
{
	const struct update_record *const *x = a, *const *y = b;

	return memcmp(&(*x)->hash, &(*y)->hash, sizeof(struct digest));
}

static const struct digest *hash_at(const void *arg, size_t i)
{
	const struct level *l = arg;

	return &l->by_hash[i]->hash;
}

static const struct update_record *find(const struct level *l, const struct digest *hash, unsigned bytes)
{
	const unsigned prefix = MIN(bytes, l->index.prefix);
	const size_t i = digest_search(hash_at, l, l->index.n_records, hash, prefix);

	return i < l->index.n_records && memcmp(hash_at(l, i), hash, prefix) == 0 ? l->by_hash[i] : NULL;
}

/* It comes from one of the first n files, with all that it is made from. */
static bool can_be_had(const struct way *w, size_t n, const struct digest *hash, unsigned bytes)
{
	for (size_t i = n; i-- > 0;) {
		const struct update_record *r = find(&w->levels[i], hash, bytes);
		if (r && (!update_has_base(r) || can_be_had(w, i, &r->from, w->levels[i].index.prefix)))
			return true;
	}
	return false;
}

/* False, and a finding: it cannot be read. */
static bool load(struct validating *v, const struct way_step *step, struct level *out)
{
	_cleanup_free_ char *path = layout_update(step->to, step->from), *below = xasprintf("update/www/%s", path);
	_cleanup_close_ int fd = openat(v->m->config->dir, below, O_RDONLY | O_CLOEXEC);
	struct err why = ERR_INIT;

	int r = fd < 0 ? err_errno(&why, "cannot be opened") : update_load(fd, &out->index, &why);
	if (r < 0)
		finding(v, "%s: %s", path, why.text);
	err_clear(&why);
	if (r < 0)
		return false;
	out->by_hash = xcalloc(out->index.n_records, sizeof(*out->by_hash));
	for (size_t i = 0; i < out->index.n_records; i++)
		out->by_hash[i] = &out->index.records[i];
	if (out->index.n_records)
		qsort(out->by_hash, out->index.n_records, sizeof(*out->by_hash), by_hash);
	return true;
}

int validate_ways(struct validating *v, struct err *e)
{
	_cleanup_free_ struct way_step *steps = NULL;
	_cleanup_(way_clear) struct way w = {0};
	size_t n;

	int r = ways_from_nothing(v->m, v->release->mom->release, &steps, &n, e);
	w.levels = xcalloc(n + 1, sizeof(*w.levels));
	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (!load(v, &steps[i], &w.levels[i]))
			return 0;
		w.n++;
	}
	for (size_t b = 0; w.n && b < v->release->n; b++)
		for (size_t i = 0; i < v->release->bundles[b]->n_entries; i++) {
			const struct entry *x = &v->release->bundles[b]->entries[i];
			if (x->kind != KIND_NONE && can_be_had(&w, w.n, &x->hash, sizeof(x->hash)))
				(void)table_add(v->on_the_way, &x->hash, sizeof(x->hash), (void *)x);
		}
	return r;
}
