/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/deflate_again.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"
#include "swupd/content/deflate_codes.h"

#define WINDOW        32768U
#define LENGTH_MAX    258U
#define AHEAD         (LENGTH_MAX + 4) /* zlib's MIN_LOOKAHEAD: so much it wants to see before it goes on */
#define DISTANCE_MAX  (WINDOW - AHEAD)
#define FAR           4096U                /* no copies of three bytes from behind it */
#define HISTORY       (2 * WINDOW + AHEAD) /* that zlib may still have, and store */
#define TRIES         16                   /* of what may be in vain: more cost more than they bring */
#define TEXT          (6 * WINDOW)
#define POSITIONS_MAX (1UL << 31)

/* zlib's configuration_table, from level 4 on */
struct effort {
	uint16_t good, lazy, nice, chain;
};
static const struct effort efforts[] = {
	{4, 4, 16, 16},    {8, 16, 32, 32},      {8, 16, 128, 128},
	{8, 32, 128, 256}, {32, 128, 258, 1024}, {32, 258, 258, 4096},
};

/*
 * A place is what is known of a position of the last WINDOW ones. zlib has chains of the positions whose three bytes have
 * the same hash, their bucket. With how many there were before, two places of a bucket tell how far they are from one
 * another in its chain. What we follow are chains of the positions that begin with the same four bytes.
 */
struct place {
	uint32_t count;           /* positions of this bucket up to here */
	uint32_t before, before4; /* the one before in the chains of three and of four bytes */
	uint32_t bucket;
};

struct bucket {
	uint32_t count, newest;
};

struct deflater {
	struct effort effort;
	unsigned bucket_bits, shift;
	size_t block_tokens; /* so many make a block; 0: there are none */

	/* Positions go on from stream to stream, so that nothing of one before is taken for one of this. */
	uint32_t begin, at, end; /* of the stream, of what comes next, of what is here */
	uint32_t window;         /* where zlib's would begin, to know what it can still store */
	uint32_t block;          /* where the block begins */
	uint32_t text_begin;
	unsigned length; /* of the copy that was found at the position before; 2: none */
	uint32_t from;
	bool literal; /* what is before is not yet written */

	struct deflate_tokens own, *tokens;
	struct deflate_writer writer;

	struct place places[WINDOW];
	struct bucket buckets[1 << 16];
	uint32_t newest4[1 << 16];
	uint8_t text[TEXT + 8];
};

struct deflater *deflater_new(void)
{
	return xcalloc(1, sizeof(struct deflater));
}

void deflater_free(struct deflater *d)
{
	if (!d)
		return;
	deflate_tokens_clear(&d->own);
	free(d);
}

void deflater_begin(struct deflater *d, unsigned level, unsigned memory, struct buf *out, struct deflate_tokens *tokens)
{
	if (d->end == 0 || d->end >= POSITIONS_MAX) {
		memset(d->buckets, 0, sizeof(d->buckets));
		memset(d->newest4, 0, sizeof(d->newest4));
		d->end = WINDOW;
	}
	d->begin = d->at = d->block = d->window = d->text_begin = d->end;
	d->effort = efforts[level - DEFLATE_AGAIN_LEVEL];
	d->bucket_bits = memory + 7;
	d->shift = (d->bucket_bits + 2) / 3;
	d->block_tokens = out ? (1UL << (memory + 6)) - 1 : 0;
	d->length = 2;
	d->literal = false;
	d->own.n = 0;
	d->tokens = out ? &d->own : tokens;
	d->writer = (struct deflate_writer){.out = out};
}

static const uint8_t *text_at(const struct deflater *d, uint32_t at)
{
	return d->text + (at - d->text_begin);
}

/* ---- finding copies ---- */

static uint32_t *newest4(struct deflater *d, const uint8_t *p)
{
	return &d->newest4[le32_at(p) * 2654435761U >> 16];
}

static void insert(struct deflater *d, uint32_t at)
{
	const uint8_t *p = text_at(d, at);
	struct place *place = &d->places[at % WINDOW];

	place->bucket =
		((uint32_t)p[0] << 2 * d->shift ^ (uint32_t)p[1] << d->shift ^ p[2]) & ((1U << d->bucket_bits) - 1);
	struct bucket *bucket = &d->buckets[place->bucket];
	uint32_t *newest = newest4(d, p);
	place->count = ++bucket->count;
	place->before = bucket->newest;
	bucket->newest = at;
	place->before4 = *newest;
	*newest = at;
}

struct search {
	const uint8_t *p;
	const struct place *place;
	uint32_t at, oldest;
	unsigned chain, nice, most;
	unsigned best; /* bytes of the longest so far */
	uint32_t from; /* and where it is; 0: there is none */
};

/* A candidate that has the four bytes that end behind the best one's. Returns whether zlib looks at no other. */
static bool is_final(struct search *s, const struct deflater *d, uint32_t from)
{
	/* the farthest zlib takes only when it is the first of its chain */
	if (s->at - from == DISTANCE_MAX && s->place->before != from)
		return true;
	const unsigned n = (unsigned)mem_common(text_at(d, from), s->p, s->most);
	if (n > s->best) {
		s->best = n;
		s->from = from;
	}
	return n >= s->nice || s->best == s->most;
}

/*
 * What is longer than the best one has the last of these four bytes, too, where the best one differs; mostly there are
 * fewer places with such an end than with the first four bytes, and it is looked for by its end, which is so far behind its
 * begin. Not when it begins less than that before this position, since its end is not inserted yet; and not when there are
 * too many such ends after all. To try one twice does no harm, as only longer ones are taken.
 */
static unsigned end_offset(const struct search *s)
{
	return s->best < 5 ? s->at - s->oldest + 1 : s->best - 3;
}

static bool has_tail(const struct search *s, const struct deflater *d, uint32_t from)
{
	return le32_at(text_at(d, from) + s->best - 3) == le32_at(s->p + s->best - 3);
}

/* Whether zlib has tried enough before it comes to a place of its chain */
static bool is_too_far(const struct search *s, const struct place *p)
{
	return s->place->count - p->count > s->chain;
}

/* As zlib does it: where too many others have the hash of these four bytes */
static void search_chain(struct search *s, const struct deflater *d)
{
	uint32_t from = s->place->before;

	for (unsigned n = 0; n < s->chain && from >= s->oldest; n++) {
		if (has_tail(s, d, from) && is_final(s, d, from))
			return;
		from = d->places[from % WINDOW].before;
	}
}

/* Those before `newest` that begin with the same four bytes; near: as far as their ends are not inserted. Returns whether the search is over. */
static bool search_by_begin(struct search *s, const struct deflater *d, uint32_t newest, bool near)
{
	uint32_t from = s->place->before4;
	unsigned others = 0;

	for (; from >= (near ? MAX(s->oldest, s->at - end_offset(s) + 1) : s->oldest);
	     from = d->places[from % WINDOW].before4) {
		const struct place *place = &d->places[from % WINDOW];
		if (place->bucket != s->place->bucket) {
			if (others++ < TRIES)
				continue;
			search_chain(s, d);
			return true;
		}
		if (is_too_far(s, place) || (from < newest && has_tail(s, d, from) && is_final(s, d, from)))
			return true;
	}
	return from < s->oldest;
}

/* Returns whether the search is over; or those before `*newest` are left. */
static bool search_by_end(struct search *s, struct deflater *d, uint32_t *newest)
{
	unsigned off = end_offset(s);
	uint32_t end = *newest4(d, s->p + off);

	for (unsigned n = 0; end >= s->oldest + off; n++) {
		const struct place *place = &d->places[(end - off) % WINDOW];
		const unsigned best = s->best;
		if (n == TRIES) {
			*newest = end - off + 1;
			return false;
		}
		if (place->bucket == s->place->bucket && has_tail(s, d, end - off) &&
		    (is_too_far(s, place) || is_final(s, d, end - off)))
			return true;
		end = d->places[end % WINDOW].before4;
		if (s->best > best) {
			off = end_offset(s);
			end = *newest4(d, s->p + off);
		}
	}
	return true;
}

/* The nearest three bytes that are the same, where there is nothing longer */
static void search_three(struct search *s, const struct deflater *d)
{
	uint32_t from = s->place->before;

	for (unsigned n = 0; n < s->chain && from >= s->oldest && s->at - from <= FAR; n++) {
		if (memcmp(text_at(d, from), s->p, 3) == 0) {
			s->best = 3;
			s->from = from;
			return;
		}
		from = d->places[from % WINDOW].before;
	}
}

/* Bytes of the longest copy for what is at d->at, if longer than that of the position before; from: where it is */
static unsigned find_copy(struct deflater *d, unsigned before, uint32_t *from)
{
	const unsigned left = d->end - d->at;
	uint32_t newest;
	struct search s = {
		.p = text_at(d, d->at),
		.place = &d->places[d->at % WINDOW],
		.at = d->at,
		.oldest = MAX(d->begin + 1, d->at - DISTANCE_MAX), /* the first position zlib takes for none */
		.chain = before >= d->effort.good ? d->effort.chain >> 2 : d->effort.chain,
		.nice = MIN(d->effort.nice, left),
		.most = MIN(LENGTH_MAX, left),
		.best = MAX(before, 3U),
	};

	if (s.best < s.most && !search_by_begin(&s, d, d->at, true) && !search_by_end(&s, d, &newest))
		(void)search_by_begin(&s, d, newest, false);
	if (s.from == 0)
		s.best = before;
	if (s.best < 3)
		search_three(&s, d);
	if (s.from > 0)
		*from = s.from;
	return s.best;
}

/* ---- the stream ---- */

/* The block ends here. */
static int put_block(struct deflater *d, uint32_t end, bool last, struct err *e)
{
	struct deflate_tokens *t = &d->own;
	struct deflate_header header;
	const uint32_t bytes = end - d->block;
	bool is_last, good = true;

	deflate_codes_choose(t->items, t->n, last, &header);
	if (bytes + 4UL <= header.size && d->block >= d->window) {
		deflate_put_bits(&d->writer, last, 3);
		deflate_align(&d->writer);
		deflate_put_bits(&d->writer, bytes & 0xffff, 16);
		deflate_put_bits(&d->writer, ~bytes & 0xffff, 16);
		deflate_align(&d->writer);
		buf_add(d->writer.out, text_at(d, d->block), bytes);
	} else {
		good = deflate_put_block(&d->writer, header.data, header.bits, t->items, t->n, &is_last);
	}
	d->block = end;
	t->n = 0;
	return good ? 0 : err_set(e, -ERR_FORMAT, "what was to be deflated cannot be");
}

static int add_token(struct deflater *d, uint32_t token, struct err *e)
{
	struct deflate_tokens *t = d->tokens;

	if (t->n == DEFLATE_TOKENS_MAX)
		return err_set(e, -ERR_FORMAT, "what is to be deflated is too long");
	VEC_GROW(t->items, t->n, t->cap);
	t->items[t->n++] = token;
	return 0;
}

/* One position further: a copy is taken when the next position has no longer one, a literal when it has. */
static int step(struct deflater *d, struct err *e)
{
	const unsigned before = d->length;
	const uint32_t at = d->at, from = d->from;
	const uint32_t insertable = d->end - 3; /* no three bytes behind it */
	uint32_t end = at;                      /* of the block, if it does now */
	int r = 0;

	if (at <= insertable)
		insert(d, at);
	d->length = at <= insertable && before < d->effort.lazy ? find_copy(d, before, &d->from) : 2;
	d->at++;
	if (before >= 3 && d->length <= before) {
		for (end = at - 1 + before; d->at < end; d->at++)
			if (d->at <= insertable)
				insert(d, d->at);
		d->length = 2;
		d->literal = false;
		r = add_token(d, before << 16 | (at - 1 - from), e);
	} else if (d->literal) {
		r = add_token(d, *text_at(d, at - 1), e);
	} else {
		d->literal = true;
	}
	return r == 0 && d->block_tokens > 0 && d->own.n == d->block_tokens ? put_block(d, end, false, e) : r;
}

/* zlib moves its window when it looks for more to read. */
static void move_window(struct deflater *d)
{
	const uint32_t inside = d->at - d->window;

	if (inside > WINDOW + DISTANCE_MAX || (inside == WINDOW + DISTANCE_MAX && d->end - d->at < AHEAD))
		d->window += WINDOW;
}

static size_t add_text(struct deflater *d, const uint8_t *p, size_t len)
{
	if (d->end - d->text_begin == TEXT) {
		const uint32_t left_out = d->at - d->text_begin - HISTORY;
		memmove(d->text, d->text + left_out, TEXT - left_out);
		d->text_begin += left_out;
	}
	const size_t n = MIN(len, TEXT - (d->end - d->text_begin));
	memcpy(d->text + (d->end - d->text_begin), p, n);
	d->end += (uint32_t)n;
	return n;
}

int deflater_write(struct deflater *d, const uint8_t *p, size_t len, bool last, struct err *e)
{
	int r = 0;

	do {
		const size_t n = add_text(d, p, len);
		p += n;
		len -= n;
		const bool all = last && len == 0;
		while (r == 0 && d->at < d->end && (all || d->end - d->at >= AHEAD)) {
			move_window(d);
			r = step(d, e);
		}
	} while (r == 0 && len > 0);
	if (r < 0 || !last)
		return r;
	if (d->literal)
		r = add_token(d, *text_at(d, d->end - 1), e);
	if (r == 0 && d->block_tokens > 0) {
		move_window(d);
		r = put_block(d, d->end, true, e);
		deflate_align(&d->writer);
	}
	return r;
}
