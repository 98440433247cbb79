/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/ways.h"

#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

void ways_clear(struct ways *w)
{
	free(w->items);
	*w = (struct ways){0};
}

void ways_add(struct ways *w, uint32_t from, uint32_t to, uint64_t bytes)
{
	VEC_GROW(w->items, w->n, w->cap);
	w->items[w->n++] = (struct way_step){from, to, bytes};
}

void ways_parse(const char *text, size_t len, uint32_t to, struct ways *out)
{
	const char *line;
	size_t n;

	for (const char *pos = text, *end = text + len; text_line(&pos, end, &line, &n, NULL);) {
		const char *tab = memchr(line, '\t', n);
		uint64_t a, b;
		if (tab && text_u64_n(line, (size_t)(tab - line), 0, to, &a) == 0 &&
		    text_u64_n(tab + 1, n - (size_t)(tab - line) - 1, a + 1, to, &b) == 0)
			ways_add(out, (uint32_t)a, (uint32_t)b, 0);
	}
}

static int from_high_to_low(const void *a, const void *b)
{
	const struct way_step *x = a, *y = b;

	return x->from != y->from ? (x->from < y->from ? 1 : -1) : (x->to < y->to) - (x->to > y->to);
}

static int by_from(const void *a, const void *b)
{
	const struct way_step *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

const struct way_step *ways_next(const struct ways *chosen, uint32_t from)
{
	const struct way_step key = {.from = from};

	return chosen->n ? bsearch(&key, chosen->items, chosen->n, sizeof(key), by_from) : NULL;
}

void ways_follow(const struct ways *chosen, uint32_t from, uint32_t to, struct ways *out)
{
	const struct way_step *step = NULL;

	for (uint32_t at = from; at != to && (step = ways_next(chosen, at)); at = step->to)
		ways_add(out, step->from, step->to, step->bytes);
}

/* How many steps it takes from where this one leads to; WAYS_STEPS_MAX: there is no such way. done: from high to low, counts beside it. */
static unsigned rest_of(const struct ways *done, const unsigned *counts, const struct way_step *s, uint32_t to)
{
	size_t low = 0, high = done->n;

	if (s->to == to)
		return 0;
	while (low < high) {
		const size_t mid = low + (high - low) / 2;
		if (done->items[mid].from == s->to)
			return counts[mid];
		if (done->items[mid].from > s->to)
			low = mid + 1;
		else
			high = mid;
	}
	return WAYS_STEPS_MAX;
}

void ways_choose(const struct ways *all, uint32_t to, struct ways *out)
{
	_cleanup_free_ struct way_step *sorted = xcalloc(all->n + 1, sizeof(*sorted));
	_cleanup_free_ unsigned *counts = xcalloc(all->n + 1, sizeof(*counts));

	for (size_t i = 0; i < all->n; i++)
		sorted[i] = all->items[i];
	qsort(sorted, all->n, sizeof(*sorted), from_high_to_low);
	/* all steps lead up: when it is a release's turn, those above it are known */
	for (size_t i = 0; i < all->n;) {
		const struct way_step *best = NULL;
		const uint32_t from = sorted[i].from;
		unsigned fewest = WAYS_STEPS_MAX;
		for (; i < all->n && sorted[i].from == from; i++) {
			const unsigned rest = sorted[i].to <= to ? rest_of(out, counts, &sorted[i], to) : fewest;
			if (rest < fewest) {
				fewest = rest;
				best = &sorted[i];
			}
		}
		if (best) {
			counts[out->n] = fewest + 1;
			ways_add(out, best->from, best->to, best->bytes);
		}
	}
	if (out->n)
		qsort(out->items, out->n, sizeof(*out->items), by_from);
}

void ways_format(const struct ways *chosen, struct buf *out)
{
	for (size_t i = 0; i < chosen->n; i++)
		buf_printf(out, "%u\t%u\n", chosen->items[i].from, chosen->items[i].to);
}
