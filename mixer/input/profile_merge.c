/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "mixer/input/profile.h"

static uint64_t scaled(uint64_t count, uint32_t permille)
{
	if (permille == 1000 || count == 0)
		return count;
	/* what ran once and again is not what never ran */
	return MAX((uint64_t)((unsigned __int128)count * permille / 1000), (uint64_t)1);
}

static void function_copy(struct profile *p, struct profile_function *into, const struct profile_function *from,
			  uint32_t permille)
{
	into->head = scaled(from->head, permille);
	for (size_t i = 0; i < from->n_lines; i++) {
		const struct profile_line *l = &from->lines[i];
		struct profile_line *copy = profile_line_add(into, l->place, scaled(l->count, permille));
		for (size_t k = 0; k < l->n_targets; k++)
			profile_target_add(copy, arena_strdup(p->arena, l->targets[k].name),
					   scaled(l->targets[k].count, permille));
	}
	for (size_t i = 0; i < from->n_calls; i++) {
		const struct profile_function *c = &from->calls[i];
		function_copy(p, profile_call_add(into, c->place, arena_strdup(p->arena, c->name)), c, permille);
	}
}

void profile_add_origin(struct profile *p, const struct profile_origin *o)
{
	struct profile_origin copy = *o;

	copy.build_id = xstrdup(o->build_id);
	copy.source = xstrdup(o->source);
	copy.workload = xstrdup(o->workload);
	copy.by = xstrdup(o->by);
	VEC_GROW(p->origins, p->n_origins, p->cap_origins);
	p->origins[p->n_origins++] = copy;
}

void profile_add_scaled(struct profile *into, const struct profile *from, uint32_t permille, uint32_t older)
{
	for (size_t i = 0; i < from->n_origins; i++) {
		struct profile_origin o = from->origins[i];
		o.weight = (uint32_t)((uint64_t)o.weight * permille / 1000);
		o.generation += older;
		profile_add_origin(into, &o);
	}
	for (size_t i = 0; i < from->n_functions; i++) {
		const struct profile_function *f = &from->functions[i];
		function_copy(into, profile_add(into, arena_strdup(into->arena, f->name)), f, permille);
	}
}

static int by_total(const void *a, const void *b)
{
	const struct profile_function *f = *(struct profile_function *const *)a;
	const struct profile_function *g = *(struct profile_function *const *)b;

	return f->total != g->total ? (f->total < g->total ? -1 : 1) : strcmp(f->name, g->name);
}

size_t profile_trim(struct profile *p, uint32_t permille)
{
	struct profile_function **sorted = xcalloc(p->n_functions + 1, sizeof(*sorted));
	uint64_t most = (uint64_t)((unsigned __int128)profile_total(p) * permille / 1000), cold = 0;
	size_t removed = 0, n = 0;

	for (size_t i = 0; i < p->n_functions; i++)
		sorted[i] = &p->functions[i];
	qsort(sorted, p->n_functions, sizeof(*sorted), by_total);
	while (removed < p->n_functions && sorted[removed]->total <= most - cold) {
		cold += sorted[removed]->total;
		profile_function_clear(sorted[removed]);
		sorted[removed++]->name = NULL;
	}
	for (size_t i = 0; i < p->n_functions; i++)
		if (p->functions[i].name)
			p->functions[n++] = p->functions[i];
	p->n_functions = n;
	free(sorted);
	return removed;
}
