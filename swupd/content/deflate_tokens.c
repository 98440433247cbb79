/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/deflate_tokens.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"
#include "swupd/base/mem.h"
#include "swupd/content/deflate_symbols.h"
#include "swupd/content/varint.h"

#define FAST_BITS 10 /* shorter codes are looked up */

void deflate_tokens_clear(struct deflate_tokens *t)
{
	free(t->items);
	free(t->blocks);
	*t = (struct deflate_tokens){0};
}

static int damaged(struct err *e)
{
	return err_set(e, -ERR_FORMAT, "the deflated stream is damaged, or of another kind");
}

/* ---- bits ---- */

struct bits {
	const uint8_t *p;
	uint64_t at, end;
	bool bad; /* there were fewer */
};

/* 57 bits from here on, or what is left of them; behind the end there is anything */
static uint64_t look_ahead(const struct bits *b)
{
	const uint64_t from = b->at / 8, to = (b->end + 7) / 8;
	uint64_t v = 0;

	if (to - from >= sizeof(v))
		v = le64_at(b->p + from);
	else
		for (uint64_t i = from; i < to; i++)
			v |= (uint64_t)b->p[i] << 8 * (i - from);
	return v >> b->at % 8;
}

static void go_on(struct bits *b, unsigned n)
{
	if (n > b->end - b->at)
		b->bad = true;
	else
		b->at += n;
}

static unsigned get_bits(struct bits *b, unsigned n)
{
	const uint64_t v = look_ahead(b) & ((1U << n) - 1);

	go_on(b, n);
	return b->bad ? 0 : (unsigned)v;
}

static void put_held(struct deflate_writer *w)
{
	const unsigned whole = w->n / 8 * 8;
	uint8_t bytes[sizeof(w->held)];

	le64_put(bytes, w->held);
	buf_add(w->out, bytes, whole / 8);
	w->held >>= whole;
	w->n -= whole;
}

void deflate_put_bits(struct deflate_writer *w, uint64_t v, unsigned n)
{
	w->held |= v << w->n;
	w->n += n;
	if (w->n >= 40)
		put_held(w);
}

void deflate_align(struct deflate_writer *w)
{
	deflate_put_bits(w, 0, -w->n % 8);
	put_held(w);
}

/* ---- codes ---- */

struct code {
	uint16_t count[DEFLATE_CODE_BITS + 1]; /* symbols of each length */
	uint16_t symbols[DEFLATE_LITERALS];    /* by length, then by number */
	uint16_t bits[DEFLATE_LITERALS];       /* of each symbol, the first to be written lowest */
	uint16_t fast[1 << FAST_BITS]; /* what such bits begin with, symbol << 4 | length; 0: a longer code, or none */
	uint8_t lengths[DEFLATE_LITERALS];
};

/* false: more symbols than such lengths have room for */
static bool make_code(struct code *c, const uint8_t *lengths, unsigned n)
{
	uint16_t first[DEFLATE_CODE_BITS + 2] = {0}, next[DEFLATE_CODE_BITS + 2] = {0};
	int left = 1;

	*c = (struct code){0};
	for (unsigned i = 0; i < n; i++)
		c->count[lengths[i]]++;
	c->count[0] = 0;
	for (unsigned length = 1; length <= DEFLATE_CODE_BITS; length++) {
		left = 2 * left - c->count[length];
		if (left < 0)
			return false;
		first[length + 1] = (uint16_t)(first[length] + c->count[length]);
		next[length + 1] = (uint16_t)((next[length] + c->count[length]) << 1);
	}
	for (unsigned i = 0; i < n; i++) {
		const unsigned length = lengths[i];
		if (length == 0)
			continue;
		c->lengths[i] = (uint8_t)length;
		c->symbols[first[length]++] = (uint16_t)i;
		c->bits[i] = deflate_turn(next[length]++, length);
		for (unsigned k = c->bits[i]; length <= FAST_BITS && k < ARRAY_LEN(c->fast); k += 1U << length)
			c->fast[k] = (uint16_t)(i << 4 | length);
	}
	return true;
}

/* What code->fast has of a code of any length */
static unsigned find_symbol(const struct code *c, uint64_t ahead)
{
	int value = 0, first = 0;
	unsigned index = 0;

	for (unsigned length = 1; length <= DEFLATE_CODE_BITS; length++, ahead >>= 1) {
		value |= (int)(ahead & 1);
		if (value - first < c->count[length])
			return (unsigned)c->symbols[index + (unsigned)(value - first)] << 4 | length;
		index += c->count[length];
		first = (first + c->count[length]) << 1;
		value <<= 1;
	}
	return 0;
}

static unsigned get_symbol(struct bits *b, const struct code *c)
{
	const uint64_t ahead = look_ahead(b);
	unsigned found = c->fast[ahead % ARRAY_LEN(c->fast)];

	if (!found)
		found = find_symbol(c, ahead);
	if (found)
		go_on(b, found & 15);
	else
		b->bad = true;
	return found >> 4;
}

/* ---- a block's header ---- */

struct header {
	bool last;
	struct code literals, distances;
};

static bool read_lengths(struct bits *b, const struct code *code, uint8_t *lengths, unsigned n)
{
	for (unsigned i = 0; i < n && !b->bad;) {
		const unsigned symbol = get_symbol(b, code);
		if (symbol < 16) {
			lengths[i++] = (uint8_t)symbol;
			continue;
		}
		unsigned times = deflate_repeat_base(symbol) + get_bits(b, deflate_repeat_bits(symbol));
		if (times > n - i || (symbol == 16 && i == 0))
			return false;
		for (; times > 0; times--, i++)
			lengths[i] = symbol == 16 ? lengths[i - 1] : 0;
	}
	return !b->bad;
}

static bool read_dynamic(struct bits *b, struct header *h)
{
	uint8_t lengths[DEFLATE_LITERALS + 32] = {0}, of_lengths[DEFLATE_REPEATS] = {0};
	const unsigned literals = 257 + get_bits(b, 5), distances = 1 + get_bits(b, 5), n = 4 + get_bits(b, 4);
	struct code code;

	if (b->bad || literals > DEFLATE_LITERALS - 2 || distances > DEFLATE_DISTANCES)
		return false;
	for (unsigned i = 0; i < n; i++)
		of_lengths[deflate_header_order[i]] = (uint8_t)get_bits(b, 3);
	return make_code(&code, of_lengths, ARRAY_LEN(of_lengths)) &&
	       read_lengths(b, &code, lengths, literals + distances) && make_code(&h->literals, lengths, literals) &&
	       make_code(&h->distances, lengths + literals, distances);
}

static bool read_header(struct bits *b, struct header *h)
{
	uint8_t lengths[DEFLATE_LITERALS];

	h->last = get_bits(b, 1);
	switch (get_bits(b, 2)) {
	case 1:
		for (unsigned i = 0; i < DEFLATE_LITERALS; i++)
			lengths[i] = (uint8_t)deflate_fixed_length(i);
		(void)make_code(&h->literals, lengths, DEFLATE_LITERALS);
		memset(lengths, DEFLATE_FIXED_DISTANCE, DEFLATE_DISTANCES);
		(void)make_code(&h->distances, lengths, DEFLATE_DISTANCES);
		return !b->bad;
	case 2:
		return read_dynamic(b, h) && !b->bad;
	default:
		return false;
	}
}

/* ---- streams ---- */

static bool read_block(struct bits *b, const struct header *h, struct deflate_tokens *out)
{
	for (unsigned symbol; (symbol = get_symbol(b, &h->literals)) != DEFLATE_END;) {
		uint32_t token = symbol;
		if (b->bad)
			return false;
		if (symbol > DEFLATE_END) {
			const unsigned i = symbol - DEFLATE_END - 1;
			if (i >= DEFLATE_LENGTHS)
				return false;
			const unsigned length = deflate_length_base[i] + get_bits(b, deflate_length_bits[i]);
			const unsigned k = get_symbol(b, &h->distances);
			const unsigned distance = deflate_distance_base[k] + get_bits(b, deflate_distance_bits(k));
			token = length << 16 | distance;
		}
		if (out->n == DEFLATE_TOKENS_MAX)
			return false;
		VEC_GROW(out->items, out->n, out->cap);
		out->items[out->n++] = token;
	}
	return !b->bad;
}

int deflate_tokens_read(const uint8_t *p, size_t len, struct deflate_tokens *out, struct err *e)
{
	struct bits b = {.p = p, .end = 8 * (uint64_t)len};
	struct header h = {0};

	while (!h.last) {
		const size_t before = out->n;
		const uint64_t at = b.at;
		if (!read_header(&b, &h))
			return damaged(e);
		const unsigned bits = (unsigned)(b.at - at);
		if (!read_block(&b, &h, out))
			return damaged(e);
		VEC_GROW(out->blocks, out->n_blocks, out->cap_blocks);
		out->blocks[out->n_blocks++] = (struct deflate_block){out->n - before, at, bits};
	}
	/* what fills the last byte is zeros */
	return get_bits(&b, (unsigned)(-b.at % 8)) == 0 && b.at == b.end ? 0 : damaged(e);
}

void deflate_blocks_save(const struct deflate_tokens *t, const uint8_t *stream, struct buf *out)
{
	varint_add(out, t->n_blocks);
	for (size_t i = 0; i < t->n_blocks; i++) {
		const struct deflate_block *x = &t->blocks[i];
		struct bits b = {.p = stream, .at = x->at, .end = x->at + x->bits};
		varint_add(out, x->tokens);
		varint_add(out, x->bits);
		while (b.at < b.end)
			buf_putc(out, (char)get_bits(&b, (unsigned)MIN(8, b.end - b.at)));
	}
}

/* false: the code has no symbol for it */
static bool put_symbol(struct deflate_writer *w, const struct code *c, unsigned symbol)
{
	deflate_put_bits(w, c->bits[symbol], c->lengths[symbol]);
	return c->lengths[symbol] > 0;
}

static bool put_token(struct deflate_writer *w, const struct header *h, uint32_t token)
{
	const unsigned length = token >> 16, distance = token & 0xffff;

	if (length == 0)
		return put_symbol(w, &h->literals, distance);
	const unsigned i = deflate_length_symbol(length), k = deflate_distance_symbol(distance);
	if (!put_symbol(w, &h->literals, DEFLATE_END + 1 + i))
		return false;
	deflate_put_bits(w, length - deflate_length_base[i], deflate_length_bits[i]);
	if (!put_symbol(w, &h->distances, k))
		return false;
	deflate_put_bits(w, distance - deflate_distance_base[k], deflate_distance_bits(k));
	return true;
}

bool deflate_put_block(struct deflate_writer *w, const uint8_t *header, unsigned bits, const uint32_t *tokens, size_t n,
		       bool *last)
{
	struct bits b = {.p = header, .end = bits};
	struct header h;

	if (bits > DEFLATE_HEADER_BITS || !read_header(&b, &h) || b.at != bits)
		return false;
	*last = h.last;
	for (b.at = 0; b.at < bits;) {
		const unsigned some = (unsigned)MIN(16, bits - b.at);
		deflate_put_bits(w, get_bits(&b, some), some);
	}
	for (size_t i = 0; i < n; i++)
		if (!put_token(w, &h, tokens[i]))
			return false;
	return put_symbol(w, &h.literals, DEFLATE_END);
}

int deflate_tokens_write(const struct deflate_tokens *t, const struct buf *blocks, struct buf *out, struct err *e)
{
	const uint8_t *at = (const uint8_t *)blocks->data, *end = at + blocks->len;
	struct deflate_writer w = {.out = out};
	uint64_t n = 0, tokens, bits;
	size_t next = 0;
	bool last;

	if (varint_read(&at, end, &n) < 0)
		return damaged(e);
	for (; n > 0; n--) {
		if (varint_read(&at, end, &tokens) < 0 || varint_read(&at, end, &bits) < 0 || tokens > t->n - next ||
		    bits > DEFLATE_HEADER_BITS || (bits + 7) / 8 > (size_t)(end - at) ||
		    !deflate_put_block(&w, at, (unsigned)bits, t->items + next, tokens, &last) || last != (n == 1))
			return damaged(e);
		next += tokens;
		at += (bits + 7) / 8;
	}
	deflate_align(&w);
	return next == t->n && at == end ? 0 : damaged(e);
}
