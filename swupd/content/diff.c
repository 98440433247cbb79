/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/diff.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"

#define CHUNK (64UL << 10)

void diff_streams_clear(struct diff_streams *s)
{
	for (size_t i = 0; i < DIFF_STREAMS; i++)
		buf_free(&s->s[i]);
	*s = (struct diff_streams){0};
}

int diff_cursor_read(void *cursor, enum diff_stream s, void *data, size_t len, struct err *e)
{
	struct diff_cursor *c = cursor;
	const struct buf *b = &c->streams->s[s];

	if (len > b->len - c->at[s])
		return err_set(e, -ERR_FORMAT, "a stream of the difference ends too early");
	if (len > 0)
		memcpy(data, b->data + c->at[s], len);
	c->at[s] += len;
	return 0;
}

struct piece {
	uint64_t copy, insert;
	uint64_t old; /* where copy begins */
};

struct diff {
	const uint8_t *old;
	size_t old_len;
	uint64_t new_len;
	const struct diff_source *in;
	diff_write_fn *write;
	void *write_arg;
	struct err *e;
	struct piece *pieces;
	size_t n_pieces, cap_pieces;
	uint64_t gap;    /* copied bytes before the next changed one */
	bool no_changes; /* there is no next one */
	uint8_t *chunk;  /* what is not written yet */
	size_t filled;
};

static void diff_clear(struct diff *d)
{
	free(d->pieces);
	free(d->chunk);
}

static int read_stream(struct diff *d, enum diff_stream s, void *data, size_t len)
{
	return d->in->read(d->in->arg, s, data, len, d->e);
}

static int read_varint(struct diff *d, enum diff_stream s, uint64_t *out)
{
	uint64_t v = 0;
	uint8_t byte;

	for (unsigned shift = 0;; shift += 7) {
		int r = read_stream(d, s, &byte, 1);
		if (r < 0)
			return r;
		if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0))
			return err_set(d->e, -ERR_FORMAT, "a number in the difference is not well formed");
		v |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			break;
	}
	*out = v;
	return 0;
}

static int read_signed(struct diff *d, enum diff_stream s, int64_t *out)
{
	uint64_t v = 0;
	int r = read_varint(d, s, &v);

	if (r == 0)
		*out = (int64_t)(v >> 1 ^ -(v & 1));
	return r;
}

/* One piece that begins at new; *align is that of the last one that copied */
static int read_piece(struct diff *d, uint64_t new, int64_t *align, struct piece *p)
{
	int64_t turn = 0, old;
	int r = read_varint(d, DIFF_COPY, &p->copy);

	if (r == 0)
		r = read_varint(d, DIFF_INSERT, &p->insert);
	if (r < 0)
		return r;
	if (p->copy > d->new_len - new || p->insert > d->new_len - new - p->copy)
		return err_set(d->e, -ERR_FORMAT, "a piece leads behind the end of the new file");
	if (p->copy == 0)
		return p->insert > 0 ? 0 : err_set(d->e, -ERR_FORMAT, "a piece of the difference is empty");
	r = read_signed(d, DIFF_ALIGN, &turn);
	if (r < 0)
		return r;
	if (__builtin_add_overflow(*align, turn, align) || __builtin_add_overflow(*align, (int64_t) new, &old) ||
	    old < 0 || (uint64_t)old > d->old_len || p->copy > d->old_len - (uint64_t)old)
		return err_set(d->e, -ERR_FORMAT, "a piece leads out of the old file");
	p->old = (uint64_t)old;
	return 0;
}

static int read_pieces(struct diff *d)
{
	int64_t align = 0;

	for (uint64_t new = 0; new < d->new_len;) {
		struct piece p = {0};
		int r = read_piece(d, new, &align, &p);
		if (r < 0)
			return r;
		if (d->n_pieces == DIFF_PIECES_MAX)
			return err_set(d->e, -ERR_LIMIT, "the difference has more than %lu pieces", DIFF_PIECES_MAX);
		VEC_GROW(d->pieces, d->n_pieces, d->cap_pieces);
		d->pieces[d->n_pieces++] = p;
		new += p.copy + p.insert;
	}
	return 0;
}

static int flush(struct diff *d)
{
	int r = d->filled > 0 ? d->write(d->write_arg, d->chunk, d->filled, d->e) : 0;

	d->filled = 0;
	return r;
}

/* Room for some of len more bytes, or an error */
static int room(struct diff *d, uint64_t len, size_t *out)
{
	int r = d->filled == CHUNK ? flush(d) : 0;

	*out = (size_t)MIN(len, CHUNK - d->filled);
	return r;
}

static int next_gap(struct diff *d)
{
	int r = read_varint(d, DIFF_GAP, &d->gap);

	if (r < 0)
		return r;
	d->no_changes = d->gap == 0;
	d->gap--;
	return 0;
}

/* Change what has just been copied */
static int change(struct diff *d, uint8_t *p, size_t len)
{
	while (!d->no_changes) {
		uint8_t value;
		if (d->gap >= len) {
			d->gap -= len;
			break;
		}
		p += d->gap;
		len -= d->gap + 1;
		int r = read_stream(d, DIFF_VALUE, &value, 1);
		if (r < 0)
			return r;
		*p = (uint8_t)(*p + value);
		p++;
		r = next_gap(d);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy(struct diff *d, const uint8_t *from, uint64_t len)
{
	size_t n;

	for (; len > 0; from += n, len -= n) {
		int r = room(d, len, &n);
		if (r < 0)
			return r;
		memcpy(d->chunk + d->filled, from, n);
		r = change(d, d->chunk + d->filled, n);
		if (r < 0)
			return r;
		d->filled += n;
	}
	return 0;
}

static int insert(struct diff *d, uint64_t len)
{
	size_t n;

	for (; len > 0; len -= n) {
		int r = room(d, len, &n);
		if (r == 0)
			r = read_stream(d, DIFF_LITERAL, d->chunk + d->filled, n);
		if (r < 0)
			return r;
		d->filled += n;
	}
	return 0;
}

static int make_new(struct diff *d)
{
	int r = next_gap(d);

	for (size_t i = 0; r == 0 && i < d->n_pieces; i++) {
		const struct piece *p = &d->pieces[i];
		r = copy(d, d->old + p->old, p->copy);
		if (r == 0)
			r = insert(d, p->insert);
	}
	if (r == 0 && !d->no_changes)
		return err_set(d->e, -ERR_FORMAT, "the difference changes bytes behind the last copied one");
	return r < 0 ? r : flush(d);
}

int diff_apply(const void *old, size_t old_len, uint64_t new_len, const struct diff_source *in, diff_write_fn *write,
	       void *arg, struct err *e)
{
	_cleanup_(diff_clear) struct diff d = {
		.old = old,
		.old_len = old_len,
		.new_len = new_len,
		.in = in,
		.write = write,
		.write_arg = arg,
		.e = e,
		.chunk = xmalloc(CHUNK),
	};
	uint64_t kind = 0;
	int r = read_varint(&d, DIFF_CONTROL, &kind);

	if (r == 0 && kind != 0)
		r = err_set(e, -ERR_FORMAT, "the difference is of an unknown kind, %" PRIu64, kind);
	if (r == 0)
		r = read_pieces(&d);
	return r < 0 ? r : make_new(&d);
}
