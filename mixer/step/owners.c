/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/owners.h"

#include <stdint.h>
#include <stdlib.h>

#include "mixer/step/release.h"
#include "swupd/base/table.h"
#include "swupd/content/manifest.h"

/* A bundle that has a file, and the next one that has it. */
struct owner {
	size_t bundle;
	struct owner *next;
};

struct owners {
	const struct release *release;
	struct table *bundles; /* by name: where its manifest is in release->bundles */
	struct table *files;   /* by hash: the first owner */
	struct arena *arena;
	uint32_t *chosen; /* of each bundle: the last choice that it was part of */
	uint32_t choice;
};

static void add_file(struct owners *o, const struct digest *hash, size_t bundle)
{
	struct owner *own = arena_alloc(o->arena, sizeof(*own));

	*own = (struct owner){.bundle = bundle};
	struct owner *first = table_add(o->files, hash, sizeof(*hash), own);
	if (first) {
		own->next = first->next;
		first->next = own;
	}
}

struct owners *owners_new(const struct release *r)
{
	struct owners *o = xcalloc(1, sizeof(*o));

	*o = (struct owners){.release = r, .bundles = table_new(), .files = table_new(), .arena = arena_new()};
	o->chosen = xcalloc(r->n, sizeof(*o->chosen));
	for (size_t i = 0; i < r->n; i++) {
		const struct manifest *m = r->bundles[i];
		(void)table_add_str(o->bundles, r->mom->entries[i].name, &r->bundles[i]);
		for (size_t k = 0; k < m->n_entries; k++)
			if (m->entries[k].kind == KIND_FILE)
				add_file(o, &m->entries[k].hash, i);
	}
	return o;
}

void owners_free(struct owners *o)
{
	if (!o)
		return;
	table_free(o->bundles);
	table_free(o->files);
	arena_free(o->arena);
	free(o->chosen);
	free(o);
}

static void choose(struct owners *o, const char *bundle)
{
	struct manifest **at = table_find_str(o->bundles, bundle);
	const size_t i = at ? (size_t)(at - o->release->bundles) : 0;

	if (!at || o->chosen[i] == o->choice)
		return;
	o->chosen[i] = o->choice;
	for (size_t k = 0; k < (*at)->n_includes; k++)
		choose(o, (*at)->includes[k]);
}

void owners_choose(struct owners *o, const char *bundle)
{
	o->choice++;
	choose(o, bundle);
}

bool owners_have(const struct owners *o, const struct digest *hash)
{
	for (const struct owner *x = table_find(o->files, hash, sizeof(*hash)); x; x = x->next)
		if (o->chosen[x->bundle] == o->choice)
			return true;
	return false;
}
