/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/diff.h"

#include <stdbool.h>
#include <string.h>

#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/content/diff_deflated.h"
#include "swupd/content/diff_elf.h"
#include "swupd/content/match.h"
#include "swupd/content/varint.h"

static void put_signed(struct buf *b, int64_t v)
{
	varint_add(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

struct pieces {
	struct diff_piece *items;
	size_t n, cap;
};

static void pieces_clear(struct pieces *p)
{
	free(p->items);
	*p = (struct pieces){0};
}

/* One that copies nothing becomes a part of the one before */
static void pieces_add(struct pieces *p, struct diff_piece piece)
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
	size_t made = 0, at = 0;

	p->n = 0;
	if (old_len > 0) {
		int r = match_find_large(old, old_len, new, new_len, MATCH_WINDOW, DIFF_PIECES_MAX - 1, &steps, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < steps.n; i++) {
		const struct match_step *s = &steps.items[i];
		pieces_add(p, (struct diff_piece){.copy = s->copy, .insert = s->insert, .old = at});
		made += s->copy + s->insert;
		at += s->copy + (size_t)s->seek;
	}
	/* the rest, when there were too many */
	pieces_add(p, (struct diff_piece){.insert = new_len - made});
	return 0;
}

struct maker {
	const uint8_t *old, *new;
	size_t old_len, new_len;
	struct view old_view, new_view; /* of the same */
	struct pieces pieces;
	struct predictor predictor;
	bool program;
	uint64_t gap, right;
	struct buf *s; /* the streams */
};

static void maker_clear(struct maker *m)
{
	pieces_clear(&m->pieces);
	predictor_clear(&m->predictor);
}

static void put_changes(struct maker *m, uint64_t old, uint64_t new, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++) {
		uint8_t value = (uint8_t)(m->new[new + i] - m->old[old + i]);
		m->gap++;
		if (value != 0) {
			varint_add(&m->s[DIFF_GAP], m->gap);
			buf_putc(&m->s[DIFF_VALUE], (char)value);
			m->gap = 0;
		}
	}
}

static void put_reference(struct maker *m, struct reference *ref, uint64_t new)
{
	reference_resolve(&m->predictor.old, ref, m->old + ref->at);
	const unsigned size = reference_size(ref->kind);
	uint64_t field = reference_field(m->new + new, size), predicted = predictor_predict(&m->predictor, ref, new);

	m->right++;
	m->gap += size;
	if (field == predicted)
		return;
	varint_add(&m->s[DIFF_REFERENCE], m->right);
	m->right = 0;
	if (field == reference_field(m->old + ref->at, size)) {
		put_signed(&m->s[DIFF_CORRECTION], 0);
		return;
	}
	uint64_t correction = field - predicted;
	put_signed(&m->s[DIFF_CORRECTION], size == 4 ? (int32_t)correction : (int64_t)correction);
	predictor_learn(&m->predictor, ref, new, field);
}

static void put_copy(struct maker *m, uint64_t old, uint64_t new, uint64_t len)
{
	const struct elf *f = &m->predictor.old;
	const uint64_t end = old + len;
	struct reference_walk walk = references_from(f, old);
	struct reference ref;

	while (m->program && references_next(f, &walk, &ref)) {
		const uint64_t before = ref.at - old;
		const unsigned size = reference_size(ref.kind);
		if (ref.at + size > end)
			break;
		if (new + before < ELF_HEAD)
			continue;
		put_changes(m, old, new, before);
		put_reference(m, &ref, new + before);
		old += before + size;
		new += before + size;
	}
	put_changes(m, old, new, end - old);
}

static void put_literals(struct maker *m, size_t at, size_t len)
{
	const struct elf *f = &m->predictor.new;
	size_t end = at + len, from = at;

	if (m->program && f->machine && at >= ELF_HEAD && len >= 4 && elf_code(f, at, len)) {
		enum reference_kind kind = REF_PC;
		uint8_t target[4];
		size_t next;
		while ((next = f->machine->next(m->new, from, from, end - 3, &kind)) < end - 3) {
			buf_add(&m->s[DIFF_LITERAL], m->new + from, next - from);
			elf_target_of_field(f, m->new + next, kind, next, target);
			buf_add(&m->s[DIFF_TARGET], target, sizeof(target));
			from = next + 4;
		}
	}
	buf_add(&m->s[DIFF_LITERAL], m->new + from, end - from);
}

static void put_all(struct maker *m)
{
	int64_t align = 0;
	uint64_t at = 0;

	varint_add(&m->s[DIFF_CONTROL], m->program ? DIFF_PROGRAM : DIFF_PLAIN);
	for (size_t i = 0; i < m->pieces.n; i++) {
		const struct diff_piece *p = &m->pieces.items[i];
		varint_add(&m->s[DIFF_COPY], p->copy);
		varint_add(&m->s[DIFF_INSERT], p->insert);
		if (p->copy > 0) {
			put_signed(&m->s[DIFF_ALIGN], (int64_t)(p->old - at) - align);
			align = (int64_t)(p->old - at);
			put_copy(m, p->old, at, p->copy);
		}
		put_literals(m, at + p->copy, p->insert);
		at += p->copy + p->insert;
	}
	varint_add(&m->s[DIFF_GAP], 0);
	if (m->program)
		varint_add(&m->s[DIFF_REFERENCE], 0);
}

/* The next place in literals from at to end where code begins or ends; end: there is none */
static uint64_t next_border(const struct elf *f, uint64_t at, uint64_t end)
{
	for (unsigned i = 0; i < f->n_segments; i++) {
		const struct segment *s = &f->segments[i];
		const uint64_t borders[] = {MAX(s->offset, (uint64_t)ELF_HEAD), s->offset + s->size};
		for (size_t k = 0; s->code && k < ARRAY_LEN(borders); k++)
			if (borders[k] > at && borders[k] < end)
				end = borders[k];
	}
	return end;
}

/* Literals are code as a whole or not at all (put_literals()): so they end where it does. */
static void split_literals(struct maker *m)
{
	struct pieces found = m->pieces;
	uint64_t at = 0;

	m->pieces = (struct pieces){0};
	for (size_t i = 0; i < found.n; i++) {
		struct diff_piece p = found.items[i];
		const uint64_t end = at + p.copy + p.insert;
		for (at += p.copy; at < end || p.copy; p = (struct diff_piece){0}) {
			const bool many = m->pieces.n + (found.n - i) >= DIFF_PIECES_MAX;
			const uint64_t border = many ? end : next_border(&m->predictor.new, at, end);
			p.insert = border - at;
			at = border;
			VEC_GROW(m->pieces.items, m->pieces.n, m->pieces.cap);
			m->pieces.items[m->pieces.n++] = p;
		}
	}
	pieces_clear(&found);
}

static int make_plain(struct maker *m, struct err *e)
{
	int r = pieces_find(&m->pieces, m->old, m->old_len, m->new, m->new_len, e);

	m->program = false;
	m->gap = 0;
	if (r == 0)
		put_all(m);
	return r;
}

/* What is the same in both files becomes the same bytes: references as the targets that they have in the new file */
static void put_targets(const struct elf *f, struct predictor *p, bool old, uint8_t *out)
{
	struct reference_walk walk = {0};
	struct reference ref;

	while (references_next(f, &walk, &ref)) {
		uint64_t v = 0;
		if (p) {
			reference_resolve(f, &ref, f->view->data + ref.at);
			v = (old ? predictor_target(p, ref.target) : ref.target) * 0x9e3779b97f4a7c15U;
		}
		reference_put(out + ref.at, v >> 20, reference_size(ref.kind));
	}
}

#define PASSES 2

static int make_program(struct maker *m, struct err *e)
{
	struct predictor *p = &m->predictor;
	_cleanup_(elf_clear) struct elf new = {0};
	int r = 0;

	elf_read_head(&p->old, &m->old_view);
	elf_read_head(&new, &m->new_view);
	if (!new.machine || MAX(m->old_len, m->new_len) > ELF_MAX)
		return 1;
	p->new = new;
	m->program = true;
	elf_find_references(&p->old);
	elf_find_references(&new);
	_cleanup_free_ uint8_t *old_same = xmemdup(m->old, m->old_len), *new_same = xmemdup(m->new, m->new_len);
	for (int pass = 0; r == 0 && pass < PASSES; pass++) {
		put_targets(&p->old, pass > 0 ? p : NULL, true, old_same);
		put_targets(&new, pass > 0 ? p : NULL, false, new_same);
		r = pieces_find(&m->pieces, old_same, m->old_len, new_same, m->new_len, e);
		if (r == 0)
			predictor_map(p, m->pieces.items, m->pieces.n);
	}
	if (r == 0) {
		split_literals(m);
		put_all(m);
	}
	return r;
}

/* About what the streams will cost */
static int cost(const struct diff_streams *s, size_t *out, struct err *e)
{
	*out = 0;
	for (size_t i = 0; i < DIFF_STREAMS; i++) {
		_cleanup_(buf_free) struct buf packed = {0};
		int r = compress_mem(CODEC_ZSTD, 3, s->s[i].data, s->s[i].len, &packed, e);
		if (r < 0)
			return r;
		*out += packed.len;
	}
	return 0;
}

/* Is a smaller than b, by more than that? */
static int is_smaller(const struct diff_streams *a, const struct diff_streams *b, uint64_t by, struct err *e)
{
	size_t cost_a = 0, cost_b = 0;
	int r = cost(a, &cost_a, e);

	if (r == 0)
		r = cost(b, &cost_b, e);
	return r < 0 ? r : cost_a + by < cost_b;
}

static void move_streams(struct diff_streams *to, struct diff_streams *from)
{
	for (size_t i = 0; i < DIFF_STREAMS; i++)
		buf_move(&to->s[i], &from->s[i]);
}

/* As a program, if it may be one, or as a plain file, whichever is smaller */
static int make_either(const void *old, size_t old_len, const void *new, size_t new_len, bool program_too,
		       struct diff_streams *out, struct err *e)
{
	_cleanup_(diff_streams_clear) struct diff_streams plain = {0}, program = {0};
	_cleanup_(maker_clear) struct maker m = {
		.old = old,
		.new = new,
		.old_len = old_len,
		.new_len = new_len,
		.old_view = VIEW_OF(old, old_len),
		.new_view = VIEW_OF(new, new_len),
	};

	m.s = program.s;
	int r = program_too ? make_program(&m, e) : 1;
	m.s = r == 1 ? out->s : plain.s;
	if (r == 1)
		return make_plain(&m, e);
	if (r == 0)
		r = make_plain(&m, e);
	if (r == 0)
		r = is_smaller(&program, &plain, 0, e);
	if (r >= 0)
		move_streams(out, r ? &program : &plain);
	return r < 0 ? r : 0;
}

void diff_make_large(uint64_t new_len, struct diff_streams *out)
{
	varint_add(&out->s[DIFF_CONTROL], DIFF_PLAIN);
	varint_add(&out->s[DIFF_COPY], 0);
	varint_add(&out->s[DIFF_INSERT], new_len);
	varint_add(&out->s[DIFF_GAP], 0);
}

/* ---- what has deflated streams ---- */

struct forms {
	struct deflated_list old, new;
	struct buf old_form, new_form;
};

static void forms_clear(struct forms *f)
{
	deflated_list_clear(&f->old);
	deflated_list_clear(&f->new);
	buf_free(&f->old_form);
	buf_free(&f->new_form);
}

static int expand_file(const uint8_t *p, size_t len, const struct deflated_list *l, struct buf *out, struct err *e)
{
	struct view file = VIEW_OF(p, len);

	(void)buf_reserve(out, deflated_form_size(l, len));
	return deflated_form(&file, l, diff_collect, out, e);
}

/* The streams of a file that another one has not */
static void find_own(const uint8_t *file, struct deflated_list *l, const uint8_t *other,
		     const struct deflated_list *others, struct deflated_list *out)
{
	_cleanup_(table_freep) struct table *have = table_new();

	for (size_t i = 0; i < others->n; i++)
		(void)table_add(have, other + others->items[i].at, others->items[i].packed, &others->items[i]);
	for (size_t i = 0; i < l->n; i++)
		if (!table_find(have, file + l->items[i].at, l->items[i].packed))
			deflated_add(out, &l->items[i]);
}

/* Of the new file's streams those that zlib makes again */
static int leave_out_others(const uint8_t *new, size_t new_len, struct deflated_list *l, struct err *e)
{
	_cleanup_(deflated_list_clear) struct deflated_list all = *l;
	_cleanup_(buf_free) struct buf expanded = {0};
	struct view file = VIEW_OF(new, new_len);
	uint64_t packed, size;
	int r = 0;

	*l = (struct deflated_list){0};
	for (size_t i = 0; r == 0 && i < all.n; i++) {
		struct deflated *d = &all.items[i];
		expanded.len = 0;
		r = deflated_expand(&file, d->at, d->expanded, diff_collect, &expanded, &packed, &size, e);
		if (r == 0 && deflated_find_way(d, new + d->at, (const uint8_t *)expanded.data) &&
		    l->blocks + d->blocks.len <= DEFLATED_ANEW_MAX)
			deflated_add(l, d);
	}
	return r;
}

static void put_list(const struct deflated_list *l, bool of_new, struct buf *out)
{
	uint64_t end = 0;

	varint_add(out, l->n);
	for (size_t i = 0; i < l->n; i++) {
		const struct deflated *d = &l->items[i];
		varint_add(out, d->at - end);
		varint_add(out, d->packed);
		varint_add(out, d->expanded);
		if (of_new) {
			varint_add(out, d->level);
			varint_add(out, d->memory);
			varint_add(out, d->blocks.len);
			buf_add(out, d->blocks.data, d->blocks.len);
		}
		end = d->at + d->packed;
	}
}

/* 1: there is nothing to expand; packed: so many bytes are to be deflated */
static int make_deflated(const void *old, size_t old_len, const void *new, size_t new_len, struct diff_streams *out,
			 uint64_t *packed, struct err *e)
{
	_cleanup_(deflated_list_clear) struct deflated_list olds = {0}, news = {0};
	_cleanup_(diff_streams_clear) struct diff_streams rest = {0};
	_cleanup_(forms_clear) struct forms f = {0};

	deflated_find(old, old_len, &olds);
	deflated_find(new, new_len, &news);
	find_own(old, &olds, new, &news, &f.old);
	find_own(new, &news, old, &olds, &f.new);
	int r = leave_out_others(new, new_len, &f.new, e);
	if (r == 0 && (f.new.n == 0 || f.old.n == 0))
		return 1;
	if (r == 0)
		r = expand_file(old, old_len, &f.old, &f.old_form, e);
	if (r == 0)
		r = expand_file(new, new_len, &f.new, &f.new_form, e);
	if (r == 0)
		r = make_either(f.old_form.data, f.old_form.len, f.new_form.data, f.new_form.len, !olds.sections, &rest,
				e);
	if (r < 0)
		return r;
	varint_add(&out->s[DIFF_CONTROL], DIFF_DEFLATED);
	put_list(&f.old, false, &out->s[DIFF_CONTROL]);
	put_list(&f.new, true, &out->s[DIFF_CONTROL]);
	move_streams(out, &rest);
	*packed = f.new.packed;
	return 0;
}

/* A byte saved is worth so many that a client has to deflate. */
#define WORTH 32

int diff_make(const void *old, size_t old_len, const void *new, size_t new_len, struct diff_streams *out, struct err *e)
{
	_cleanup_(diff_streams_clear) struct diff_streams as_it_is = {0}, deflated = {0};
	uint64_t packed = 0;
	const bool alone = old_len == 0;
	int smaller = 0, r = make_either(old, old_len, new, new_len, true, alone ? out : &as_it_is, e);

	if (r == 0 && !alone)
		r = make_deflated(old, old_len, new, new_len, &deflated, &packed, e);
	if (r == 0 && packed > 0)
		r = smaller = is_smaller(&deflated, &as_it_is, packed / WORTH, e);
	if (r < 0)
		return err_in(e, r, "cannot make a difference");
	move_streams(out, smaller ? &deflated : &as_it_is);
	return 0;
}
