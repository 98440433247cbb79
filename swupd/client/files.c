/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/plan.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/client/catalog.h"

struct candidate {
	const struct entry *entry;
	const char *bundle;
};

/*
 * The same path in several bundles: present beats deleted; of two deleted ones the newer; of two equal ones the older (its fullfile was published first). Two
 * different present ones are a builder's mistake: the newer is taken, and the bundle's name decides between two of one release, so that every
 * machine does the same.
 */
static int by_merit(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	const bool gone_x = x->entry->kind == KIND_NONE, gone_y = y->entry->kind == KIND_NONE;

	int r = strcmp(x->entry->name, y->entry->name);
	if (r != 0)
		return r;
	if (gone_x != gone_y)
		return gone_x ? 1 : -1;
	if (x->entry->release != y->entry->release) {
		bool older_first = !gone_x && digest_equal(&x->entry->hash, &y->entry->hash);
		return (x->entry->release < y->entry->release) == older_first ? -1 : 1;
	}
	return strcmp(x->bundle, y->bundle);
}

void files_of(const struct catalog *c, struct files *out)
{
	size_t total = 0, n = 0;

	for (size_t i = 0; i < c->n; i++)
		total += c->manifests[i]->n_entries;
	_cleanup_free_ struct candidate *all = xcalloc(total, sizeof(*all));
	for (size_t i = 0; i < c->n; i++)
		for (size_t k = 0; k < c->manifests[i]->n_entries; k++)
			all[n++] = (struct candidate){&c->manifests[i]->entries[k], c->names[i]};
	if (n)
		qsort(all, n, sizeof(*all), by_merit);
	*out = (struct files){
		.items = xcalloc(n, sizeof(*out->items)),
		.bundles = xcalloc(n, sizeof(*out->bundles)),
	};
	for (size_t i = 0; i < n; i++) {
		if (out->n && strcmp(out->items[out->n - 1]->name, all[i].entry->name) == 0)
			continue;
		out->items[out->n] = all[i].entry;
		out->bundles[out->n++] = all[i].bundle;
	}
}

void files_free(struct files *f)
{
	free(f->items);
	free(f->bundles);
	*f = (struct files){0};
}

size_t files_at(const struct files *f, const char *name)
{
	size_t low = 0, high = f->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int r = strcmp(f->items[mid]->name, name);
		if (r == 0)
			return mid;
		if (r < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return SIZE_MAX;
}

const struct entry *files_find(const struct files *f, const char *name)
{
	size_t at = files_at(f, name);

	return at == SIZE_MAX ? NULL : f->items[at];
}
