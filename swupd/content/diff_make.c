/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/diff.h"

#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/content/match.h"

static void put_varint(struct buf *b, uint64_t v)
{
	for (; v >= 128; v >>= 7)
		buf_putc(b, (char)(v | 128));
	buf_putc(b, (char)v);
}

static void put_signed(struct buf *b, int64_t v)
{
	put_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

/*
 * The steps of the matcher as pieces: a piece that makes nothing becomes a part of others; the last of too many is all
 * literal.
 */
struct piece {
	size_t copy, insert;
	int64_t align; /* of copy: the position in the old file minus that in the new one */
};

struct pieces {
	struct piece *items;
	size_t n, cap;
};

static void pieces_clear(struct pieces *p)
{
	free(p->items);
}

static void pieces_add(struct pieces *p, struct piece piece)
{
	if (p->n > 0 && piece.copy == 0) {
		p->items[p->n - 1].insert += piece.insert;
	} else if (piece.copy + piece.insert > 0) {
		VEC_GROW(p->items, p->n, p->cap);
		p->items[p->n++] = piece;
	}
}

static int pieces_find(struct pieces *p, const void *old, size_t old_len, const void *new, size_t new_len,
		       struct err *e)
{
	_cleanup_(match_steps_clear) struct match_steps steps = {0};
	size_t made = 0;
	int64_t align = 0;

	if (old_len > 0) {
		int r = match_find(old, MIN(old_len, (size_t)INT32_MAX), new, new_len, DIFF_PIECES_MAX - 1, &steps, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < steps.n; i++) {
		const struct match_step *s = &steps.items[i];
		pieces_add(p, (struct piece){.copy = s->copy, .insert = s->insert, .align = align});
		made += s->copy + s->insert;
		align += s->seek - (int64_t)s->insert;
	}
	pieces_add(p, (struct piece){.insert = new_len - made});
	return 0;
}

static void put_changes(const uint8_t *old, const uint8_t *new, size_t len, uint64_t *gap, struct buf *s)
{
	for (size_t i = 0; i < len; i++) {
		++*gap;
		if (new[i] != old[i]) {
			put_varint(&s[DIFF_GAP], *gap);
			buf_putc(&s[DIFF_VALUE], (char)(new[i] - old[i]));
			*gap = 0;
		}
	}
}

int diff_make(const void *old, size_t old_len, const void *new, size_t new_len, struct diff_streams *out, struct err *e)
{
	_cleanup_(pieces_clear) struct pieces pieces = {0};
	const uint8_t *from = old, *to = new;
	struct buf *s = out->s;
	size_t at = 0;
	int64_t align = 0;
	uint64_t gap = 0;

	int r = pieces_find(&pieces, old, old_len, new, new_len, e);
	if (r < 0)
		return err_in(e, r, "cannot make a difference");
	put_varint(&s[DIFF_CONTROL], 0);
	for (size_t i = 0; i < pieces.n; i++) {
		const struct piece *p = &pieces.items[i];
		put_varint(&s[DIFF_COPY], p->copy);
		put_varint(&s[DIFF_INSERT], p->insert);
		if (p->copy > 0) {
			put_signed(&s[DIFF_ALIGN], p->align - align);
			align = p->align;
			put_changes(from + (int64_t)at + align, to + at, p->copy, &gap, s);
		}
		buf_add(&s[DIFF_LITERAL], to + at + p->copy, p->insert);
		at += p->copy + p->insert;
	}
	put_varint(&s[DIFF_GAP], 0);
	return 0;
}
