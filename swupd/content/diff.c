/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/diff.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/diff_deflated.h"
#include "swupd/content/diff_elf.h"

#define CHUNK  (64UL << 10)
#define BEYOND 8UL /* a reference may reach so far behind a chunk */

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

int diff_collect(void *buf, const void *data, size_t len, struct err *e __attribute__((unused)))
{
	buf_add(buf, data, len);
	return 0;
}

struct diff {
	struct view *old;
	uint64_t new_len;
	const struct diff_source *in;
	diff_write_fn *write;
	void *write_arg;
	struct err *e;
	struct diff_piece *pieces;
	size_t n_pieces, cap_pieces;
	uint64_t made;   /* bytes of the new file */
	uint64_t gap;    /* copied bytes before the next changed one */
	bool no_changes; /* there is no next one */
	bool program;
	struct predictor predictor;
	bool predicts;  /* the head of the new file is known */
	uint64_t right; /* references before the next one that is predicted wrong */
	bool no_wrong;  /* there is no next one */
	uint8_t *chunk; /* what is not written yet */
	size_t filled;
};

static void diff_clear(struct diff *d)
{
	free(d->pieces);
	free(d->chunk);
	predictor_clear(&d->predictor);
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
static int read_piece(struct diff *d, uint64_t new, int64_t *align, struct diff_piece *p)
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
	    old < 0 || (uint64_t)old > d->old->len || p->copy > d->old->len - (uint64_t)old)
		return err_set(d->e, -ERR_FORMAT, "a piece leads out of the old file");
	p->old = (uint64_t)old;
	return 0;
}

static int read_pieces(struct diff *d)
{
	int64_t align = 0;

	for (uint64_t new = 0; new < d->new_len;) {
		struct diff_piece p = {0};
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

/* Whole chunks: the kernel writes bytes that begin within a page in another way, for half as much time again */
static int flush(struct diff *d)
{
	const size_t n = MIN(d->filled, CHUNK);
	int r = n > 0 ? d->write(d->write_arg, d->chunk, n, d->e) : 0;

	d->filled -= n;
	memcpy(d->chunk, d->chunk + n, d->filled);
	return r;
}

/* Room for some of len more bytes, BEYOND if there are as many; or an error */
static int room(struct diff *d, uint64_t len, size_t *out)
{
	int r = d->filled >= CHUNK ? flush(d) : 0;

	*out = (size_t)MIN(len, CHUNK + BEYOND - d->filled);
	return r;
}

/* So many bytes have been put into the chunk */
static void fill(struct diff *d, size_t len)
{
	d->filled += len;
	d->made += len;
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

static int next_wrong(struct diff *d)
{
	int r = read_varint(d, DIFF_REFERENCE, &d->right);

	if (r < 0)
		return r;
	d->no_wrong = d->right == 0;
	d->right--;
	return 0;
}

/* A reference that has just been copied to p */
static int refer(struct diff *d, struct reference *ref, uint8_t *p, uint64_t at)
{
	int64_t correction = 0;

	reference_resolve(&d->predictor.old, ref, p);
	uint64_t field = predictor_predict(&d->predictor, ref, at);

	if (d->no_wrong || d->right > 0) {
		d->right--;
		reference_put(p, field, reference_size(ref->kind));
		return 0;
	}
	int r = read_signed(d, DIFF_CORRECTION, &correction);
	if (r < 0)
		return r;
	if (correction != 0) {
		field += (uint64_t)correction;
		reference_put(p, field, reference_size(ref->kind));
		predictor_learn(&d->predictor, ref, at, reference_field(p, reference_size(ref->kind)));
	}
	return next_wrong(d);
}

/*
 * The references in bytes that were copied from old to p; *len is made less when one goes on behind them. end: of the
 * piece in the old file. Ones that are not all in a piece are bytes like others.
 */
static int refer_all(struct diff *d, uint64_t old, uint64_t end, uint8_t *p, size_t *len)
{
	const struct elf *f = &d->predictor.old;
	struct reference_walk walk = references_from(f, old);
	struct reference ref;
	int r = 0;

	while (r == 0 && references_next(f, &walk, &ref)) {
		const unsigned size = reference_size(ref.kind);
		if (ref.at >= old + *len || ref.at + size > end)
			break;
		if (ref.at + size > old + *len) {
			*len = ref.at - old;
			break;
		}
		r = refer(d, &ref, p + (ref.at - old), d->made + (ref.at - old));
	}
	return r;
}

/* When the new file's head is complete */
static void begin_to_predict(struct diff *d)
{
	if (!d->program || d->predicts || d->made < ELF_HEAD)
		return;
	struct view head = VIEW_OF(d->chunk, ELF_HEAD);
	elf_read_head(&d->predictor.new, &head);
	d->predictor.new.view = NULL;
	d->predicts = true;
}

static int copy(struct diff *d, uint64_t old, uint64_t len)
{
	uint64_t end = old + len;
	size_t n;

	for (; old < end; old += n) {
		int r = room(d, end - old, &n);
		if (d->program && !d->predicts)
			n = MIN(n, ELF_HEAD - d->made);
		uint8_t *p = d->chunk + d->filled;
		if (r == 0)
			view_copy(d->old, old, p, n);
		if (r == 0 && d->predicts)
			r = refer_all(d, old, end, p, &n);
		if (r == 0)
			r = change(d, p, n);
		if (r < 0)
			return r;
		fill(d, n);
		begin_to_predict(d);
	}
	return 0;
}

static int insert(struct diff *d, uint64_t len)
{
	size_t n;

	for (; len > 0; len -= n) {
		int r = room(d, len, &n);
		if (d->program && !d->predicts)
			n = MIN(n, ELF_HEAD - d->made);
		if (r == 0)
			r = read_stream(d, DIFF_LITERAL, d->chunk + d->filled, n);
		if (r < 0)
			return r;
		fill(d, n);
		begin_to_predict(d);
	}
	return 0;
}

/* An operand whose target is told */
static int insert_target(struct diff *d, enum reference_kind kind)
{
	uint8_t target[4];
	size_t n;

	int r = read_stream(d, DIFF_TARGET, target, sizeof(target));
	if (r == 0)
		r = room(d, sizeof(target), &n);
	if (r < 0)
		return r;
	reference_put(d->chunk + d->filled, elf_field_of_target(&d->predictor.new, target, kind, d->made),
		      sizeof(target));
	fill(d, sizeof(target));
	return 0;
}

static int insert_bytes(struct diff *d, const uint8_t *p, uint64_t len)
{
	size_t n;

	for (; len > 0; len -= n, p += n) {
		int r = room(d, len, &n);
		if (r < 0)
			return r;
		memcpy(d->chunk + d->filled, p, n);
		fill(d, n);
	}
	return 0;
}

/* Literals that are code: operands are left out, where what is before them shows that they are there */
static int insert_code(struct diff *d, uint64_t len)
{
	const struct machine *machine = d->predictor.new.machine;
	enum reference_kind kind = REF_PC;
	uint8_t bytes[MACHINE_BACK + 4096];
	size_t before = 0; /* what has been made of bytes already: the last ones since an operand */
	int r = 0;

	while (r == 0 && len > 0) {
		/* no more than there must be, when each is followed by an operand of 4 bytes */
		const size_t more = MIN(MAX(len / 5, 1UL), sizeof(bytes) - MACHINE_BACK), end = before + more;
		size_t from = 0, at = before;
		r = read_stream(d, DIFF_LITERAL, bytes + before, more);
		while (r == 0 && at < end) {
			const size_t operand = machine->next(bytes, from, at + 1, end + 1, &kind);
			const size_t n = MIN(operand, end) - at;
			r = insert_bytes(d, bytes + at, n);
			at += n;
			len -= n;
			if (r < 0 || operand > end || len < 4)
				continue;
			r = insert_target(d, kind);
			len -= 4;
			from = at;
		}
		before = MIN(at - from, (size_t)MACHINE_BACK);
		memmove(bytes, bytes + at - before, before);
	}
	return r;
}

static int make_new(struct diff *d)
{
	int r = next_gap(d);

	if (r == 0 && d->program)
		r = next_wrong(d);
	for (size_t i = 0; r == 0 && i < d->n_pieces; i++) {
		const struct diff_piece *p = &d->pieces[i];
		r = copy(d, p->old, p->copy);
		if (r == 0 && d->predicts && d->predictor.new.machine &&elf_code(&d->predictor.new, d->made, p->insert))
			r = insert_code(d, p->insert);
		else if (r == 0)
			r = insert(d, p->insert);
	}
	if (r == 0 && !d->no_changes)
		return err_set(d->e, -ERR_FORMAT, "the difference changes bytes behind the last copied one");
	if (r == 0 && d->program && !d->no_wrong)
		return err_set(d->e, -ERR_FORMAT, "the difference changes references behind the last one");
	if (r == 0)
		r = view_check(d->old, d->e);
	while (r == 0 && d->filled > 0)
		r = flush(d);
	return r;
}

static int read_kind(const struct diff_source *in, uint64_t last, uint64_t *out, struct err *e)
{
	struct diff d = {.in = in, .e = e};
	int r = read_varint(&d, DIFF_CONTROL, out);

	if (r == 0 && *out > last)
		return err_set(e, -ERR_FORMAT, "the difference is of an unknown kind, %" PRIu64, *out);
	return r;
}

/* What the kind says comes next. */
static int apply(struct view *old, uint64_t new_len, const struct diff_source *in, uint64_t kind, diff_write_fn *write,
		 void *arg, struct err *e)
{
	_cleanup_(diff_clear) struct diff d = {
		.old = old,
		.new_len = new_len,
		.in = in,
		.write = write,
		.write_arg = arg,
		.e = e,
		.chunk = xmalloc(CHUNK + BEYOND),
	};
	int r = read_pieces(&d);

	if (r < 0)
		return r;
	d.program = kind == DIFF_PROGRAM;
	if (d.program) {
		elf_read_head(&d.predictor.old, old);
		elf_find_references(&d.predictor.old);
		predictor_map(&d.predictor, d.pieces, d.n_pieces);
	}
	return make_new(&d);
}

/* A stream of a file of len bytes, which begins at end or behind it */
static int read_deflated(struct diff *d, bool of_new, uint64_t len, uint64_t end, struct deflated *out)
{
	uint64_t gap = 0, level = 1, memory = 1, blocks = 0;
	int r = read_varint(d, DIFF_CONTROL, &gap);

	if (r == 0)
		r = read_varint(d, DIFF_CONTROL, &out->packed);
	if (r == 0)
		r = read_varint(d, DIFF_CONTROL, &out->expanded);
	if (r == 0 && of_new)
		r = read_varint(d, DIFF_CONTROL, &level);
	if (r == 0 && of_new)
		r = read_varint(d, DIFF_CONTROL, &memory);
	if (r == 0 && of_new)
		r = read_varint(d, DIFF_CONTROL, &blocks);
	if (r < 0)
		return r;
	if (gap > len - end || out->packed > len - end - gap || out->packed == 0 || out->expanded == 0 ||
	    out->expanded > deflated_form_max(len) || level < 1 || level > 9 || memory < 1 || memory > 9 ||
	    blocks > out->packed || (blocks && out->packed > DEFLATED_ANEW_MAX))
		return err_set(d->e, -ERR_FORMAT, "the difference tells of a deflated stream that cannot be");
	out->at = end + gap;
	out->level = (uint8_t)level;
	out->memory = (uint8_t)memory;
	r = read_stream(d, DIFF_CONTROL, buf_reserve(&out->blocks, blocks), blocks);
	out->blocks.len = r == 0 ? blocks : 0;
	return r;
}

static int read_list(const struct diff_source *in, bool of_new, uint64_t len, struct deflated_list *out, struct err *e)
{
	struct diff d = {.in = in, .e = e};
	uint64_t n = 0, end = 0;
	int r = read_varint(&d, DIFF_CONTROL, &n);

	if (r == 0 && n > DEFLATED_MAX)
		r = err_set(e, -ERR_LIMIT, "the difference tells of more than %lu deflated streams", DEFLATED_MAX);
	for (; r == 0 && n > 0; n--) {
		struct deflated x = {0};
		r = read_deflated(&d, of_new, len, end, &x);
		end = x.at + x.packed;
		deflated_add(out, &x);
		if (r < 0)
			break;
		if (deflated_form_size(out, len) > deflated_form_max(len) || out->blocks > DEFLATED_ANEW_MAX)
			r = err_set(e, -ERR_LIMIT, "the difference tells of deflated streams that are too large");
	}
	return r;
}

static int write_bytes(void *arg, const void *data, size_t len, struct err *e)
{
	const struct fs_tmp *t = arg;

	return fs_write_all(t->fd, data, len, e);
}

/* The old file's expanded form: in memory, or, where it is large, in a file */
static int expand_old(struct view *old, const struct deflated_list *l, struct fs_tmp *t, struct view *out,
		      struct err *e)
{
	const uint64_t size = deflated_form_size(l, old->len);
	const bool in_memory = size <= VIEW_WHOLE || t->dirfd == -1;
	int r = in_memory ? 0 : fs_tmp_open(t->dirfd, 0600, t, e);

	if (r == 0 && in_memory)
		(void)buf_reserve(&out->whole, size);
	if (r == 0)
		r = deflated_form(old, l, in_memory ? diff_collect : write_bytes, in_memory ? (void *)&out->whole : t,
				  e);
	if (r == 0)
		r = view_check(old, e);
	if (r < 0 || !in_memory)
		return r < 0 ? r : view_open(out, t->fd, "what the old file expands to", SIZE_MAX, e);
	out->data = (const uint8_t *)out->whole.data;
	out->len = out->whole.len;
	return 0;
}

static int apply_deflated(struct view *old, uint64_t new_len, const struct diff_source *in, int scratch,
			  diff_write_fn *write, void *arg, struct err *e)
{
	_cleanup_(deflated_list_clear) struct deflated_list was = {0}, now = {0};
	_cleanup_(fs_tmp_abort) struct fs_tmp t = {.fd = -1, .dirfd = scratch};
	_cleanup_(view_close) struct view form = {0};
	uint64_t kind = 0;
	int r = read_list(in, false, old->len, &was, e);

	if (r == 0)
		r = read_list(in, true, new_len, &now, e);
	if (r == 0)
		r = read_kind(in, DIFF_PROGRAM, &kind, e);
	if (r == 0)
		r = expand_old(old, &was, &t, &form, e);
	if (r < 0)
		return r;
	_cleanup_(repacker_freep) struct repacker *repacker = repacker_new(&now, write, arg);
	return apply(&form, deflated_form_size(&now, new_len), in, kind, repacker_write, repacker, e);
}

int diff_apply(struct view *old, uint64_t new_len, const struct diff_source *in, int scratch, diff_write_fn *write,
	       void *arg, struct err *e)
{
	uint64_t kind = 0;
	int r = read_kind(in, DIFF_DEFLATED, &kind, e);

	if (r < 0)
		return r;
	if (kind == DIFF_DEFLATED)
		return apply_deflated(old, new_len, in, scratch, write, arg, e);
	return apply(old, new_len, in, kind, write, arg, e);
}
