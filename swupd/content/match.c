/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/match.h"

#include <divsufsort.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"
#include "swupd/base/mem.h"

/*
 * The new file is made of pieces of the old one that are nearly the same, and of what is between them (Colin
 * Percival, "Naive differences of executable code", 2003). At each moment the new file is aligned with some place of
 * the old one. The scan looks for the next place where another alignment is better: it must match exactly over a
 * stretch where this one misses BETTER_BY bytes. In order:
 *
 *   window    from the scan's position to the byte where this alignment misses for the BETTER_BY'th time: what
 *             another must match as a whole
 *   grams     a filter of all 8-byte strings in the old file. When one in the window is missing, no match begins
 *             before it: most windows end here
 *   sorted    the suffix array of the old file; made when the first window passes the filter
 *   piece     this alignment is extended forward and the new one backward, both over misses, and where they overlap
 *             the best cut is taken
 */

/*
 * What a step must win: it costs 5 bytes or so, and often another one to come back. 7 to 24 were measured on pairs of
 * executables
 */
#define BETTER_BY 12

#define GRAM         8UL
#define GRAMS_SEEN   32   /* of one window by the filter; longer ones are for the suffix array */
#define NEIGHBOURS   8    /* on both sides, that are looked at for the best place */
#define LOOK_AHEAD   4096 /* bytes, for the same */
#define GIVE_UP      32   /* so many more misses than hits end the look ahead */
#define SAME_END_MIN 64   /* fewer bytes are nothing special */

/* Bits of the filter: twice to four times the old length, but at most 64 MiB of them */
#define FILTER_BITS_MAX 29

void match_steps_clear(struct match_steps *s)
{
	free(s->items);
	*s = (struct match_steps){0};
}

struct span {
	const uint8_t *p;
	size_t len;
};

struct index {
	struct span old;
	uint64_t *filter; /* NULL: not made yet */
	unsigned filter_bits;
	int32_t *sorted;  /* NULL: not made yet */
	uint32_t *starts; /* [first byte << 8 | second]: where in sorted these suffixes begin; one more for the end */
};

static void index_clear(struct index *ix)
{
	free(ix->filter);
	free(ix->sorted);
	free(ix->starts);
}

static uint64_t gram_bit(const struct index *ix, const uint8_t *p)
{
	return le64_at(p) * 0x9e3779b97f4a7c15U >> (64 - ix->filter_bits); /* Fibonacci hashing */
}

static void index_filter(struct index *ix)
{
	ix->filter_bits = 16;
	while (ix->filter_bits < FILTER_BITS_MAX && (1UL << ix->filter_bits) < 2 * ix->old.len)
		ix->filter_bits++;
	ix->filter = xcalloc((1UL << ix->filter_bits) / 64, sizeof(*ix->filter));
	for (size_t i = 0; i + GRAM <= ix->old.len; i++) {
		uint64_t bit = gram_bit(ix, ix->old.p + i);
		ix->filter[bit / 64] |= 1UL << bit % 64;
	}
}

static bool index_may_have(const struct index *ix, const uint8_t *gram)
{
	uint64_t bit = gram_bit(ix, gram);

	return ix->filter[bit / 64] >> bit % 64 & 1;
}

static int index_sort(struct index *ix, struct err *e)
{
	const uint8_t *old = ix->old.p;
	uint32_t at = 0;

	ix->sorted = xreallocarray(NULL, ix->old.len, sizeof(*ix->sorted));
	if (divsufsort(old, ix->sorted, (int32_t)ix->old.len) != 0)
		return err_set(e, -ENOMEM, "cannot sort the old file");
	ix->starts = xcalloc(65536 + 1, sizeof(*ix->starts));
	for (size_t i = 0; i + 1 < ix->old.len; i++)
		ix->starts[old[i] << 8 | old[i + 1]]++;
	for (size_t i = 0; i < 65536; i++) {
		uint32_t n = ix->starts[i];
		/* the last byte alone is a suffix, too, and the first of those that start with it */
		at += i == (size_t)old[ix->old.len - 1] << 8;
		ix->starts[i] = at;
		at += n;
	}
	ix->starts[65536] = at;
	return 0;
}

/*
 * The longest match of s[0..len) in the old file, len >= 2; *at says where, as an index of sorted. Of the length of
 * the common front with both ends of the search the shorter one need not be compared again, so that this takes len +
 * log(old.len) and not their product.
 */
static size_t index_find(const struct index *ix, const uint8_t *s, size_t len, size_t *at)
{
	const uint32_t *start = &ix->starts[s[0] << 8 | s[1]];
	size_t low = start[0], high = start[1], low_equal = 0, high_equal = 0, best = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2, skip = MIN(low_equal, high_equal);
		const uint8_t *suffix = ix->old.p + ix->sorted[middle];
		size_t max = MIN(len, ix->old.len - (size_t)ix->sorted[middle]);
		size_t n = skip + mem_common(suffix + skip, s + skip, max - skip);
		if (n > best) {
			best = n;
			*at = middle;
		}
		if (n == len)
			break;
		if (n == max || suffix[n] < s[n]) {
			low = middle + 1;
			low_equal = n;
		} else {
			high = middle;
			high_equal = n;
		}
	}
	return best;
}

static bool index_has(const struct index *ix, const uint8_t *s, size_t len)
{
	size_t at;

	return index_find(ix, s, len, &at) == len;
}

/* What the scan knows. Positions are in the new file; adding shift makes one of the old file from them. */
struct scan {
	struct index ix;
	struct span new;
	size_t same_end;          /* bytes that both files have in common at their ends; 0 when they are few */
	size_t piece;             /* where the current piece begins */
	int64_t shift;            /* its alignment */
	size_t from, to;          /* the window */
	size_t misses[BETTER_BY]; /* those in the window, ascending; to is behind the last */
	unsigned n_misses;
	size_t max_steps;
	struct match_steps *steps;
};

static void scan_clear(struct scan *s)
{
	index_clear(&s->ix);
}

/* Bytes of the old file that lie at a position, or behind it, in this alignment */
static size_t old_left(const struct scan *s, size_t at, int64_t shift)
{
	int64_t old = (int64_t)at + shift;

	return old < 0 || (size_t)old >= s->ix.old.len ? 0 : s->ix.old.len - (size_t)old;
}

static const uint8_t *old_at(const struct scan *s, size_t at, int64_t shift)
{
	return s->ix.old.p + ((int64_t)at + shift);
}

/* Let the window end with the last of BETTER_BY misses. false: there are no more so many */
static bool window_fill(struct scan *s)
{
	while (s->n_misses < BETTER_BY) {
		size_t n = MIN(s->new.len - s->to, old_left(s, s->to, s->shift));
		if (n > 0)
			s->to += mem_common(s->new.p + s->to, old_at(s, s->to, s->shift), n);
		if (s->to == s->new.len)
			return false;
		s->misses[s->n_misses++] = s->to++;
	}
	return true;
}

static void window_cut(struct scan *s, size_t from)
{
	unsigned gone = 0;

	s->from = from;
	while (gone < s->n_misses && s->misses[gone] < from)
		gone++;
	s->n_misses -= gone;
	memmove(s->misses, s->misses + gone, s->n_misses * sizeof(*s->misses));
}

/* How much of the window's end can be in the old file, as far as the filter knows. GRAM - 1 or more. */
static size_t window_filter(const struct scan *s)
{
	size_t len = s->to - s->from;

	for (size_t i = 1; i <= GRAMS_SEEN; i++) {
		size_t tail = MIN(i * GRAM, len);
		if (!index_may_have(&s->ix, s->new.p + s->to - tail))
			return tail - 1;
		if (tail == len)
			break;
	}
	return len;
}

/* How much of its end is in the old file, when not all of it is. That is 1 at least, or better moved over. */
static size_t window_tail(const struct scan *s)
{
	const uint8_t *end = s->new.p + s->to;
	size_t yes = 1, no = s->to - s->from;

	for (size_t n = 2 * GRAM; n < no && index_has(&s->ix, end - n, n); n *= 2)
		yes = n;
	no = MIN(no, yes == 1 ? 2 * GRAM : 2 * yes);
	while (no - yes > 1) {
		size_t n = yes + (no - yes) / 2;
		if (index_has(&s->ix, end - n, n))
			yes = n;
		else
			no = n;
	}
	return yes;
}

/* The length, at most max, at which most more bytes are hits than misses */
static size_t extend_forward(const uint8_t *a, const uint8_t *b, size_t max)
{
	int64_t score = 0, best = 0;
	size_t len = 0;

	for (size_t i = 0; i < max;) {
		score += a[i] == b[i] ? 1 : -1;
		i++;
		if (score > best) {
			best = score;
			len = i;
		}
	}
	return len;
}

/* The same to the left of both */
static size_t extend_back(const uint8_t *a, const uint8_t *b, size_t max)
{
	int64_t score = 0, best = 0;
	size_t len = 0;

	for (size_t i = 1; i <= max; i++) {
		score += *(a - i) == *(b - i) ? 1 : -1;
		if (score > best) {
			best = score;
			len = i;
		}
	}
	return len;
}

/* Of these n bytes the first so many are better taken from left, the others from right */
static size_t cut(const uint8_t *new, const uint8_t *left, const uint8_t *right, size_t n)
{
	int64_t score = 0, best = 0;
	size_t len = 0;

	for (size_t i = 0; i < n;) {
		score += (new[i] == left[i]) - (new[i] == right[i]);
		i++;
		if (score > best) {
			best = score;
			len = i;
		}
	}
	return len;
}

/* End the current piece somewhere before at, where len bytes match exactly in the alignment shift; go on behind them */
static void scan_turn(struct scan *s, size_t at, int64_t shift, size_t len)
{
	const uint8_t *new = s->new.p;
	size_t gap = at - s->piece, back = 0;
	size_t add = extend_forward(new + s->piece, old_at(s, s->piece, s->shift),
				    MIN(gap, old_left(s, s->piece, s->shift)));

	if (len > 0)
		back = extend_back(new + at, old_at(s, at, shift), MIN(gap, (size_t)((int64_t)at + shift)));
	if (add + back > gap) {
		size_t both = add + back - gap, start = at - back;
		size_t left = cut(new + start, old_at(s, start, s->shift), old_at(s, start, shift), both);
		add -= both - left;
		back -= left;
	}
	size_t insert = gap - add - back;
	VEC_GROW(s->steps->items, s->steps->n, s->steps->cap);
	s->steps->items[s->steps->n++] = (struct match_step){
		.copy = add,
		.insert = insert,
		.seek = len > 0 ? (int64_t)insert + shift - s->shift : 0,
	};
	s->piece = at - back;
	s->shift = shift;
	s->from = s->to = at + len;
	s->n_misses = 0;
}

/*
 * The filter has nothing against this window. Without the suffix array: the end of the file may be all that there is
 * to find
 */
static bool scan_turn_to_end(struct scan *s)
{
	size_t end = s->new.len - s->same_end;

	if (s->to <= end)
		return false;
	if (s->from < end)
		window_cut(s, end);
	else
		scan_turn(s, s->from, (int64_t)s->ix.old.len - (int64_t)s->new.len, s->new.len - s->from);
	return true;
}

/* How many more bytes are hits than misses where it is best; ends when it can hardly become better */
static int64_t promise(const uint8_t *a, const uint8_t *b, size_t max)
{
	int64_t score = 0, best = 0;

	for (size_t i = 0; i < max && score > best - GIVE_UP; i++) {
		score += a[i] == b[i] ? 1 : -1;
		best = MAX(best, score);
	}
	return best;
}

static bool window_matches(const struct scan *s, size_t at)
{
	size_t old = (size_t)s->ix.sorted[at], len = s->to - s->from;

	return s->ix.old.len - old >= len && mem_common(s->new.p + s->from, s->ix.old.p + old, len) == len;
}

/*
 * Of the places that match over the whole window the one that goes on best behind the first miss, and not the one
 * whose first miss is farthest away: 1 or 2 % of a delta of executables. at: one of them, as an index of sorted; so
 * is the result.
 */
static size_t window_choose(const struct scan *s, size_t at)
{
	size_t first = at, end = at + 1;
	int64_t best = -1;

	while (first > 0 && at - first < NEIGHBOURS && window_matches(s, first - 1))
		first--;
	while (end < s->ix.old.len && end - at <= NEIGHBOURS && window_matches(s, end))
		end++;
	for (size_t i = first; end - first > 1 && i < end; i++) {
		size_t old = (size_t)s->ix.sorted[i];
		size_t max = MIN(MIN(s->new.len - s->from, s->ix.old.len - old), (size_t)LOOK_AHEAD);
		int64_t score = promise(s->new.p + s->from, s->ix.old.p + old, max);
		if (score > best) {
			best = score;
			at = i;
		}
	}
	return at;
}

static void scan_window(struct scan *s)
{
	const uint8_t *new = s->new.p + s->from;
	size_t at = 0, max = s->new.len - s->from;

	if (index_find(&s->ix, new, max, &at) < s->to - s->from) {
		window_cut(s, s->to - window_tail(s));
		return;
	}
	size_t old = (size_t)s->ix.sorted[window_choose(s, at)];
	scan_turn(s, s->from, (int64_t)old - (int64_t)s->from,
		  mem_common(new, s->ix.old.p + old, MIN(max, s->ix.old.len - old)));
}

/* 1: more steps than asked for */
static int scan_run(struct scan *s, struct err *e)
{
	while (window_fill(s)) {
		if (!s->ix.filter)
			index_filter(&s->ix);
		size_t tail = window_filter(s);
		if (tail < s->to - s->from) {
			window_cut(s, s->to - tail);
			continue;
		}
		if (!s->ix.sorted) {
			if (scan_turn_to_end(s))
				continue;
			int r = index_sort(&s->ix, e);
			if (r < 0)
				return r;
		}
		scan_window(s);
		if (s->steps->n + 1 > s->max_steps)
			return 1;
	}
	scan_turn(s, s->new.len, s->shift, 0);
	return 0;
}

int match_find(const void *old, size_t old_len, const void *new, size_t new_len, size_t max, struct match_steps *out,
	       struct err *e)
{
	_cleanup_(scan_clear) struct scan s = {
		.ix = {.old = {old, old_len}}, .new = {new, new_len}, .max_steps = max, .steps = out};
	size_t shorter = MIN(old_len, new_len);

	while (s.same_end < shorter && s.ix.old.p[old_len - s.same_end - 1] == s.new.p[new_len - s.same_end - 1])
		s.same_end++;
	if (s.same_end < SAME_END_MIN)
		s.same_end = 0;
	return scan_run(&s, e);
}
