/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/deflate_tokens.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/content/varint.h"

#define CODE_BITS   15
#define LITERALS    288 /* symbols of literals and lengths */
#define DISTANCES   30
#define END         256
#define HEADER_BITS 4096 /* no header is longer */

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

static unsigned get_bits(struct bits *b, unsigned n)
{
	unsigned v = 0;

	if (n > b->end - b->at) {
		b->bad = true;
		return 0;
	}
	for (unsigned i = 0; i < n; i++, b->at++)
		v |= (unsigned)(b->p[b->at / 8] >> b->at % 8 & 1) << i;
	return v;
}

struct bit_writer {
	struct buf *out;
	uint64_t held;
	unsigned n;
};

static void put_bits(struct bit_writer *w, uint64_t v, unsigned n)
{
	w->held |= v << w->n;
	for (w->n += n; w->n >= 8; w->n -= 8, w->held >>= 8)
		buf_putc(w->out, (char)(w->held & 255));
}

/* ---- codes ---- */

struct code {
	uint16_t count[CODE_BITS + 1]; /* symbols of each length */
	uint16_t symbols[LITERALS];    /* by length, then by number */
	uint16_t bits[LITERALS];       /* of each symbol, the first to be written lowest */
	uint8_t lengths[LITERALS];
};

/* false: more symbols than such lengths have room for */
static bool make_code(struct code *c, const uint8_t *lengths, unsigned n)
{
	uint16_t first[CODE_BITS + 2] = {0}, next[CODE_BITS + 2] = {0};
	int left = 1;

	*c = (struct code){0};
	for (unsigned i = 0; i < n; i++)
		c->count[lengths[i]]++;
	c->count[0] = 0;
	for (unsigned length = 1; length <= CODE_BITS; length++) {
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
		const unsigned value = next[length]++;
		for (unsigned k = 0; k < length; k++)
			c->bits[i] = (uint16_t)(c->bits[i] | (value >> k & 1) << (length - 1 - k));
	}
	return true;
}

static unsigned get_symbol(struct bits *b, const struct code *c)
{
	int value = 0, first = 0;
	unsigned index = 0;

	for (unsigned length = 1; length <= CODE_BITS && !b->bad; length++) {
		value |= (int)get_bits(b, 1);
		if (value - first < c->count[length])
			return c->symbols[index + (unsigned)(value - first)];
		index += c->count[length];
		first = (first + c->count[length]) << 1;
		value <<= 1;
	}
	b->bad = true;
	return 0;
}

/* Lengths are 3 and up, distances 1 and up: what a symbol begins with, and how many bits more it has */
static const uint16_t length_base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
				       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_bits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
				      2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
					 33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
					 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

static unsigned distance_bits(unsigned symbol)
{
	return symbol < 4 ? 0 : symbol / 2 - 1;
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
		unsigned times = symbol == 16   ? 3 + get_bits(b, 2)
				 : symbol == 17 ? 3 + get_bits(b, 3)
						: 11 + get_bits(b, 7);
		if (times > n - i || (symbol == 16 && i == 0))
			return false;
		for (; times > 0; times--, i++)
			lengths[i] = symbol == 16 ? lengths[i - 1] : 0;
	}
	return !b->bad;
}

static bool read_dynamic(struct bits *b, struct header *h)
{
	static const uint8_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
	uint8_t lengths[LITERALS + 32] = {0}, of_lengths[ARRAY_LEN(order)] = {0};
	const unsigned literals = 257 + get_bits(b, 5), distances = 1 + get_bits(b, 5), n = 4 + get_bits(b, 4);
	struct code code;

	if (b->bad || literals > LITERALS - 2 || distances > DISTANCES)
		return false;
	for (unsigned i = 0; i < n; i++)
		of_lengths[order[i]] = (uint8_t)get_bits(b, 3);
	return make_code(&code, of_lengths, ARRAY_LEN(of_lengths)) &&
	       read_lengths(b, &code, lengths, literals + distances) && make_code(&h->literals, lengths, literals) &&
	       make_code(&h->distances, lengths + literals, distances);
}

static bool read_header(struct bits *b, struct header *h)
{
	uint8_t lengths[LITERALS];

	h->last = get_bits(b, 1);
	switch (get_bits(b, 2)) {
	case 1:
		for (unsigned i = 0; i < LITERALS; i++)
			lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
		(void)make_code(&h->literals, lengths, LITERALS);
		memset(lengths, 5, DISTANCES);
		(void)make_code(&h->distances, lengths, DISTANCES);
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
	for (unsigned symbol; (symbol = get_symbol(b, &h->literals)) != END;) {
		uint32_t token = symbol;
		if (b->bad)
			return false;
		if (symbol > END) {
			const unsigned i = symbol - END - 1;
			if (i >= ARRAY_LEN(length_base))
				return false;
			const unsigned length = length_base[i] + get_bits(b, length_bits[i]);
			const unsigned k = get_symbol(b, &h->distances);
			const unsigned distance = distance_base[k] + get_bits(b, distance_bits(k));
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

static unsigned symbol_of(const uint16_t *base, unsigned n, unsigned v)
{
	unsigned i = n - 1;

	while (base[i] > v)
		i--;
	return i;
}

/* false: the code has no symbol for it */
static bool put_symbol(struct bit_writer *w, const struct code *c, unsigned symbol)
{
	put_bits(w, c->bits[symbol], c->lengths[symbol]);
	return c->lengths[symbol] > 0;
}

static bool put_token(struct bit_writer *w, const struct header *h, uint32_t token)
{
	const unsigned length = token >> 16, distance = token & 0xffff;

	if (length == 0)
		return put_symbol(w, &h->literals, distance);
	const unsigned i = symbol_of(length_base, ARRAY_LEN(length_base), length);
	const unsigned k = symbol_of(distance_base, ARRAY_LEN(distance_base), distance);
	if (!put_symbol(w, &h->literals, END + 1 + i))
		return false;
	put_bits(w, length - length_base[i], length_bits[i]);
	if (!put_symbol(w, &h->distances, k))
		return false;
	put_bits(w, distance - distance_base[k], distance_bits(k));
	return true;
}

int deflate_tokens_write(const struct deflate_tokens *t, const struct buf *blocks, struct buf *out, struct err *e)
{
	const uint8_t *at = (const uint8_t *)blocks->data, *end = at + blocks->len;
	struct bit_writer w = {.out = out};
	uint64_t n = 0, tokens, bits;
	struct header h = {0};
	size_t next = 0;

	if (varint_read(&at, end, &n) < 0)
		return damaged(e);
	for (; n > 0; n--) {
		if (varint_read(&at, end, &tokens) < 0 || varint_read(&at, end, &bits) < 0 || tokens > t->n - next ||
		    bits > HEADER_BITS || (bits + 7) / 8 > (size_t)(end - at))
			return damaged(e);
		struct bits header = {.p = at, .end = bits};
		bool good = read_header(&header, &h) && header.at == bits && h.last == (n == 1);
		for (header.at = 0; good && header.at < bits;) {
			const unsigned some = (unsigned)MIN(8, bits - header.at);
			put_bits(&w, get_bits(&header, some), some);
		}
		for (; good && tokens > 0; tokens--)
			good = put_token(&w, &h, t->items[next++]);
		if (!good || !put_symbol(&w, &h.literals, END))
			return damaged(e);
		at += (bits + 7) / 8;
	}
	put_bits(&w, 0, -w.n % 8);
	return next == t->n && at == end ? 0 : damaged(e);
}
