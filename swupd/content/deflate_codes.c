/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/deflate_codes.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/deflate_symbols.h"

/*
 * Which of several best codes it is depends on how Huffman's tree is built, so it is built as zlib does: in a binary heap
 * of nodes; where two are as frequent, the less deep one comes first.
 */

#define SYMBOLS (DEFLATE_LITERALS - 2) /* that a header can say a length of */
#define NODES   (2 * SYMBOLS)

struct tree {
	unsigned frequency[NODES];
	uint8_t depth[NODES];
	uint16_t parent[NODES];
	uint16_t heap[NODES +
		      1]; /* 1 and up: what is still to be joined; from `done` on: the nodes by falling frequency */
	unsigned waiting, done;
};

static bool is_before(const struct tree *t, unsigned a, unsigned b)
{
	if (t->frequency[a] != t->frequency[b])
		return t->frequency[a] < t->frequency[b];
	return t->depth[a] <= t->depth[b];
}

static void sink(struct tree *t, unsigned at)
{
	const uint16_t node = t->heap[at];

	for (unsigned next; (next = 2 * at) <= t->waiting; at = next) {
		if (next < t->waiting && is_before(t, t->heap[next + 1], t->heap[next]))
			next++;
		if (is_before(t, node, t->heap[next]))
			break;
		t->heap[at] = t->heap[next];
	}
	t->heap[at] = node;
}

static unsigned take_first(struct tree *t)
{
	const uint16_t node = t->heap[1];

	t->heap[1] = t->heap[t->waiting--];
	sink(t, 1);
	t->heap[--t->done] = node;
	return node;
}

/* Two at least have codes. Returns behind the last symbol that has one. */
static unsigned fill_heap(struct tree *t, unsigned n)
{
	unsigned used = 0;

	for (unsigned i = 0; i < n; i++) {
		if (t->frequency[i] == 0)
			continue;
		t->heap[++t->waiting] = (uint16_t)i;
		used = i + 1;
	}
	while (t->waiting < 2) {
		const unsigned more = used < 3 ? used++ : 0;
		t->frequency[more] = 1;
		t->heap[++t->waiting] = (uint16_t)more;
	}
	for (unsigned i = t->waiting / 2; i > 0; i--)
		sink(t, i);
	return used;
}

static void build(struct tree *t, unsigned n)
{
	unsigned node = n;

	t->done = NODES + 1;
	do {
		const unsigned a = take_first(t), b = t->heap[1];
		t->heap[--t->done] = (uint16_t)b;
		t->frequency[node] = t->frequency[a] + t->frequency[b];
		t->depth[node] = (uint8_t)(MAX(t->depth[a], t->depth[b]) + 1);
		t->parent[a] = t->parent[b] = (uint16_t)node;
		t->heap[1] = (uint16_t)node++;
		sink(t, 1);
	} while (t->waiting > 1);
	t->heap[--t->done] = t->heap[1];
}

/* Symbols of each length so that none is longer than `most`: what was cut is made good by the next shorter ones. */
static void shorten(unsigned *count, unsigned most, int cut)
{
	for (; cut > 0; cut -= 2) {
		unsigned length = most - 1;
		while (count[length] == 0)
			length--;
		count[length]--;
		count[length + 1] += 2;
		count[most]--;
	}
}

/* How long the codes of n symbols are, whose frequencies are given. Returns behind the last that has one. */
static unsigned choose_lengths(const unsigned *frequency, unsigned n, unsigned most, uint8_t *lengths)
{
	unsigned count[DEFLATE_CODE_BITS + 1] = {0};
	uint8_t length[NODES] = {0}; /* of inner nodes, too */
	struct tree t = {0};
	int cut = 0;

	memcpy(t.frequency, frequency, n * sizeof(*frequency));
	const unsigned used = fill_heap(&t, n);
	build(&t, n);
	for (unsigned i = t.done + 1; i <= NODES; i++) {
		const unsigned node = t.heap[i], bits = length[t.parent[node]] + 1U;
		cut += bits > most;
		length[node] = (uint8_t)MIN(bits, most);
		count[length[node]] += node < n;
	}
	if (cut > 0) {
		shorten(count, most, cut);
		unsigned i = NODES + 1;
		for (unsigned bits = most; bits > 0; bits--) {
			for (unsigned left = count[bits]; left > 0;) {
				const unsigned node = t.heap[--i];
				if (node >= n)
					continue;
				length[node] = (uint8_t)bits;
				left--;
			}
		}
	}
	memcpy(lengths, length, n);
	return used;
}

/* ---- the lengths, as a header says them ---- */

struct runs {
	struct {
		uint8_t symbol, more; /* 16: as before, so many times more than at least; 17, 18: 0 */
	} items[SYMBOLS + DEFLATE_DISTANCES];
	unsigned n;
	unsigned frequency[DEFLATE_REPEATS];
};

static void add_run(struct runs *r, unsigned symbol, unsigned more)
{
	r->items[r->n].symbol = (uint8_t)symbol;
	r->items[r->n++].more = (uint8_t)more;
	r->frequency[symbol]++;
}

static void add_lengths(struct runs *r, const uint8_t *lengths, unsigned n)
{
	int before = -1;

	for (unsigned i = 0; i < n;) {
		const uint8_t length = lengths[i];
		const bool repeats = length > 0 && length != before;
		const unsigned most = length == 0 ? 138 : repeats ? 7 : 6;
		unsigned times = 1;
		while (times < most && i + times < n && lengths[i + times] == length)
			times++;
		i += times;
		before = length;
		if (times < 3U + repeats) {
			for (; times > 0; times--)
				add_run(r, length, 0);
			continue;
		}
		if (repeats)
			add_run(r, length, 0);
		const unsigned symbol = length > 0 ? 16 : times <= 10 ? 17 : 18;
		add_run(r, symbol, times - repeats - deflate_repeat_base(symbol));
	}
}

/* Codes of so many bits, the first bit of each lowest, as they are written */
static void set_codes(const uint8_t *lengths, unsigned n, uint16_t *codes)
{
	unsigned next = 0;

	for (unsigned length = 1; length <= DEFLATE_CODE_BITS; length++, next <<= 1) {
		for (unsigned i = 0; i < n; i++)
			if (lengths[i] == length)
				codes[i] = deflate_turn(next++, length);
	}
}

/* ---- a block ---- */

struct frequencies {
	unsigned symbols[DEFLATE_LITERALS], distances[DEFLATE_DISTANCES];
	uint64_t more; /* bits behind symbols */
};

static void count_symbols(struct frequencies *f, const uint32_t *tokens, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned length = tokens[i] >> 16, distance = tokens[i] & 0xffff;
		if (length == 0) {
			f->symbols[distance]++;
			continue;
		}
		const unsigned l = deflate_length_symbol(length), d = deflate_distance_symbol(distance);
		f->symbols[DEFLATE_END + 1 + l]++;
		f->distances[d]++;
		f->more += deflate_length_bits[l] + deflate_distance_bits(d);
	}
	f->symbols[DEFLATE_END]++;
}

static uint64_t fixed_bits(const struct frequencies *f)
{
	uint64_t bits = f->more;

	for (unsigned i = 0; i < SYMBOLS; i++)
		bits += (uint64_t)f->symbols[i] * deflate_fixed_length(i);
	for (unsigned i = 0; i < DEFLATE_DISTANCES; i++)
		bits += (uint64_t)f->distances[i] * DEFLATE_FIXED_DISTANCE;
	return bits;
}

void deflate_codes_choose(const uint32_t *tokens, size_t n, bool last, struct deflate_header *out)
{
	enum { FIXED = 1, OWN = 2, FIRST_BITS = 3, COUNT_BITS = 14 };
	uint8_t lengths[SYMBOLS], distances[DEFLATE_DISTANCES], repeats[DEFLATE_REPEATS];
	uint16_t codes[DEFLATE_REPEATS];
	struct frequencies f = {0};
	struct runs runs = {0};
	uint64_t bits;

	count_symbols(&f, tokens, n);
	const unsigned n_lengths = choose_lengths(f.symbols, SYMBOLS, DEFLATE_CODE_BITS, lengths);
	const unsigned n_distances = choose_lengths(f.distances, DEFLATE_DISTANCES, DEFLATE_CODE_BITS, distances);
	add_lengths(&runs, lengths, n_lengths);
	add_lengths(&runs, distances, n_distances);
	(void)choose_lengths(runs.frequency, DEFLATE_REPEATS, 7, repeats);
	unsigned n_repeats = DEFLATE_REPEATS;
	while (n_repeats > 4 && repeats[deflate_header_order[n_repeats - 1]] == 0)
		n_repeats--;

	bits = f.more + COUNT_BITS + 3UL * n_repeats;
	for (unsigned i = 0; i < SYMBOLS; i++)
		bits += (uint64_t)f.symbols[i] * lengths[i];
	for (unsigned i = 0; i < DEFLATE_DISTANCES; i++)
		bits += (uint64_t)f.distances[i] * distances[i];
	for (unsigned i = 0; i < DEFLATE_REPEATS; i++)
		bits += (uint64_t)runs.frequency[i] * (repeats[i] + deflate_repeat_bits(i));
	const uint64_t own = (bits + FIRST_BITS + 7) / 8, fixed = (fixed_bits(&f) + FIRST_BITS + 7) / 8;

	_cleanup_(buf_free) struct buf written = {0};
	struct deflate_writer w = {.out = &written};
	out->size = MIN(own, fixed);
	deflate_put_bits(&w, last, 1);
	deflate_put_bits(&w, fixed <= own ? FIXED : OWN, 2);
	if (fixed > own) {
		set_codes(repeats, DEFLATE_REPEATS, codes);
		deflate_put_bits(&w, n_lengths - 257, 5);
		deflate_put_bits(&w, n_distances - 1, 5);
		deflate_put_bits(&w, n_repeats - 4, 4);
		for (unsigned i = 0; i < n_repeats; i++)
			deflate_put_bits(&w, repeats[deflate_header_order[i]], 3);
		for (unsigned i = 0; i < runs.n; i++) {
			const unsigned symbol = runs.items[i].symbol;
			deflate_put_bits(&w, codes[symbol], repeats[symbol]);
			deflate_put_bits(&w, runs.items[i].more, deflate_repeat_bits(symbol));
		}
	}
	out->bits = (unsigned)(8 * written.len) + w.n;
	deflate_align(&w);
	memcpy(out->data, written.data, written.len);
}
