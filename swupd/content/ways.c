/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/ways.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/*
 * What a step costs beside its bytes: a request for its head and a range of the rest, which waits for that; where sizes are not signed, also one for the rest of a head of more than
 * 64 KiB. A client would rather fetch 32 KiB for nothing than ask once more (GAP_MAX of client/stage_update.c); and two answers that take 50 ms each are 128
 * KiB of 10 Mbit/s.
 */
#define STEP_COST (128UL << 10)

/* No file is larger, and WAYS_STEPS_MAX of them are still far from what a sum can hold. */
#define BYTES_MOST (UINT64_C(1) << 48)

void ways_clear(struct ways *w)
{
	free(w->items);
	*w = (struct ways){0};
}

void ways_add_step(struct ways *w, const struct way_step *step)
{
	VEC_GROW(w->items, w->n, w->cap);
	w->items[w->n++] = *step;
}

void ways_add(struct ways *w, uint32_t from, uint32_t to, uint64_t bytes)
{
	ways_add_step(w, &(struct way_step){.from = from, .to = to, .bytes = bytes});
}

/* How many numbers, between tabs, a line has; 0: it is of another form. */
static size_t parse_numbers(const char *line, size_t len, uint64_t *out, size_t max)
{
	const char *const end = line + len;

	for (size_t n = 0; n < max; n++) {
		const char *tab = memchr(line, '\t', (size_t)(end - line));
		if (text_u64_n(line, (size_t)((tab ? tab : end) - line), 0, UINT64_MAX, &out[n]) < 0)
			return 0;
		if (!tab)
			return n + 1;
		line = tab + 1;
	}
	return 0;
}

void ways_parse(const char *text, size_t len, uint32_t to, struct ways *out)
{
	const char *line;
	size_t n;

	for (const char *pos = text, *end = text + len; text_line(&pos, end, &line, &n, NULL);) {
		uint64_t x[4] = {0};
		const size_t numbers = parse_numbers(line, n, x, ARRAY_LEN(x));
		if ((numbers != 2 && numbers != 4) || x[0] >= x[1] || x[1] > to || x[2] > x[3])
			continue;
		ways_add_step(out, &(struct way_step){
					   .from = (uint32_t)x[0], .to = (uint32_t)x[1], .head = x[2], .bytes = x[3]});
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
		ways_add_step(out, step);
}

/* What it takes to go on from a release. */
struct rest {
	uint64_t cost;
	unsigned steps;
};

/* done: from high to low, rests beside it. NULL: there is no way. */
static const struct rest *rest_of(const struct ways *done, const struct rest *rests, uint32_t release)
{
	size_t low = 0, high = done->n;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;
		if (done->items[mid].from == release)
			return &rests[mid];
		if (done->items[mid].from > release)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static bool is_cheaper(const struct rest *a, const struct rest *b)
{
	const bool many = a->steps > WAYS_STEPS_FEW || b->steps > WAYS_STEPS_FEW;

	if (a->steps != b->steps && (many || a->cost == b->cost))
		return a->steps < b->steps;
	return a->cost < b->cost;
}

static uint64_t step_cost(const struct way_step *step, uint64_t bytes_most)
{
	return STEP_COST + MIN(step->bytes, bytes_most);
}

/* sorted: from high to low. No file counts as more than bytes_most; 0: only steps count. */
static void choose(const struct way_step *sorted, size_t n, uint32_t to, uint64_t bytes_most, struct ways *out)
{
	_cleanup_free_ struct rest *rests = xcalloc(n + 1, sizeof(*rests));
	static const struct rest arrived;

	/* all steps lead up: when it is a release's turn, those above it are known */
	for (size_t i = 0; i < n;) {
		const struct way_step *best = NULL;
		const uint32_t from = sorted[i].from;
		struct rest least = {0};
		for (; i < n && sorted[i].from == from; i++) {
			const struct way_step *s = &sorted[i];
			const struct rest *rest = s->to == to ? &arrived : rest_of(out, rests, s->to);
			if (s->to > to || !rest || rest->steps == WAYS_STEPS_MAX || (best && from == 0))
				continue;
			const struct rest all = {rest->cost + step_cost(s, bytes_most), rest->steps + 1};
			if (!best || is_cheaper(&all, &least)) {
				least = all;
				best = s;
			}
		}
		if (best) {
			rests[out->n] = least;
			ways_add_step(out, best);
		}
	}
	if (out->n)
		qsort(out->items, out->n, sizeof(*out->items), by_from);
}

void ways_choose(const struct ways *all, uint32_t to, struct ways *out)
{
	_cleanup_free_ struct way_step *sorted = xcalloc(all->n + 1, sizeof(*sorted));
	_cleanup_(ways_clear) struct ways fewest = {0};

	for (size_t i = 0; i < all->n; i++)
		sorted[i] = all->items[i];
	qsort(sorted, all->n, sizeof(*sorted), from_high_to_low);
	choose(sorted, all->n, to, BYTES_MOST, out);
	/* cheap ways can be so long that older releases, whose ways lead into them, have none */
	choose(sorted, all->n, to, 0, &fewest);
	if (fewest.n > out->n) {
		const struct ways cheapest = *out;
		*out = fewest;
		fewest = cheapest;
	}
}

uint64_t ways_cost(const struct ways *way)
{
	uint64_t cost = 0;

	for (size_t i = 0; i < way->n; i++)
		cost += step_cost(&way->items[i], BYTES_MOST);
	return cost;
}

void ways_forget_sizes(struct ways *w)
{
	for (size_t i = 0; i < w->n; i++)
		w->items[i].bytes = w->items[i].head = 0;
}

void ways_format(const struct ways *chosen, struct buf *out)
{
	for (size_t i = 0; i < chosen->n; i++)
		buf_printf(out, "%" PRIu32 "\t%" PRIu32 "\t%" PRIu64 "\t%" PRIu64 "\n", chosen->items[i].from,
			   chosen->items[i].to, chosen->items[i].head, chosen->items[i].bytes);
}
