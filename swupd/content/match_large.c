/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"
#include "swupd/base/mem.h"
#include "swupd/content/match.h"

#define SAMPLE_BYTES 32UL /* that are compared, by a hash */
#define SAMPLES_BITS 20   /* places for samples of the old file: 16 MiB */
#define SAMPLE_ONE   10   /* of 2^10 positions one is a sample, of fewer when the file is so large */

struct sample {
	uint64_t hash, at; /* hash 0: none */
};

struct samples {
	struct sample *items;
	unsigned one_bits;
};

/* A window of the old file has so many cells, and begins with one */
#define CELLS 8

/* The hash at the next place from *at on that is a sample by what it has, in any file; 0: there is none */
static uint64_t next_sample(const struct samples *s, const uint8_t *p, size_t len, size_t *at)
{
	for (size_t i = *at; i + SAMPLE_BYTES <= len; i++) {
		uint64_t hash = le64_at(p + i) * 0x9e3779b97f4a7c15U;
		if (hash >> (64 - s->one_bits) != 1)
			continue;
		for (size_t k = 8; k < SAMPLE_BYTES; k += 8)
			hash = (hash ^ le64_at(p + i + k)) * 0x9e3779b97f4a7c15U;
		*at = i;
		return hash | 1;
	}
	return 0;
}

static struct sample *slot(const struct samples *s, uint64_t hash)
{
	return &s->items[hash >> (64 - SAMPLES_BITS)];
}

static void take_samples(struct samples *s, const uint8_t *old, size_t len)
{
	uint64_t hash;

	s->one_bits = SAMPLE_ONE;
	while (len >> s->one_bits > 1UL << (SAMPLES_BITS - 1))
		s->one_bits++;
	s->items = xcalloc(1UL << SAMPLES_BITS, sizeof(*s->items));
	for (size_t at = 0; (hash = next_sample(s, old, len, &at)) != 0; at++)
		if (slot(s, hash)->hash == 0)
			*slot(s, hash) = (struct sample){hash, at};
}

/* Where the window of the old file begins that has most samples of this part of the new one; near is as good as any */
static size_t choose_window(const struct samples *s, size_t old_len, const uint8_t *new, size_t len, size_t near,
			    size_t window)
{
	size_t cell = window / CELLS, n = (old_len - window + cell - 1) / cell + 1, best = MIN(near / cell, n - 1);
	_cleanup_free_ size_t *votes = xcalloc(n + CELLS, sizeof(*votes));
	uint64_t hash, last = 0;
	size_t sum = 0, most = 0;

	for (size_t at = 0; (hash = next_sample(s, new, len, &at)) != 0; at++) {
		/* what repeats itself says little */
		if (hash != last && slot(s, hash)->hash == hash)
			votes[slot(s, hash)->at / cell]++;
		last = hash;
	}
	for (size_t i = 0; i < CELLS; i++)
		most += votes[best + i];
	for (size_t i = 0; i < n + CELLS; i++) {
		sum += votes[i];
		if (i >= CELLS)
			sum -= votes[i - CELLS];
		if (i + 1 >= CELLS && i + 1 - CELLS < n && sum > most) {
			most = sum;
			best = i + 1 - CELLS;
		}
	}
	return MIN(best * cell, old_len - window);
}

/* Let the steps go on at this place of the old file, and not where they are */
static void steps_go(struct match_steps *steps, uint64_t from, uint64_t to)
{
	if (steps->n == 0) {
		VEC_GROW(steps->items, steps->n, steps->cap);
		steps->items[steps->n++] = (struct match_step){0};
	}
	steps->items[steps->n - 1].seek += (int64_t)(to - from);
}

static void samples_clear(struct samples *s)
{
	free(s->items);
}

int match_find_large(const void *old, size_t old_len, const void *new, size_t new_len, size_t window, size_t max,
		     struct match_steps *out, struct err *e)
{
	_cleanup_(samples_clear) struct samples s = {0};
	uint64_t at = 0;
	int r = 0;

	if (old_len <= window)
		return match_find(old, old_len, new, new_len, max, out, e);
	take_samples(&s, old, old_len);
	for (size_t done = 0, len; r == 0 && done < new_len; done += len) {
		const uint8_t *part = (const uint8_t *)new + done;
		len = MIN(new_len - done, window / 2);
		/* the same distance from the begin, to start with from the middle of the window */
		size_t near = done + len / 2 > window / 2 ? done + len / 2 - window / 2 : 0;
		size_t begin = choose_window(&s, old_len, part, len, near, window);
		steps_go(out, at, begin);
		at = begin;
		size_t first = out->n;
		r = match_find((const uint8_t *)old + begin, window, part, len, max, out, e);
		for (size_t i = first; i < out->n; i++)
			at += out->items[i].copy + (uint64_t)out->items[i].seek;
	}
	return r;
}
