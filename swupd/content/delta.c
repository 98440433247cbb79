/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/delta.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"

static uint64_t get(const uint8_t *p, size_t bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

/* The first of the five bits from lowest on that is set and allowed tells the coding; -1: none is. */
static int coding_of(unsigned flags, unsigned lowest, int last)
{
	for (int c = DELTA_RAW; c <= last; c++)
		if (flags >> (lowest + (unsigned)c) & 1)
			return c;
	return -1;
}

static int set_codings(unsigned flags, struct delta_header *h, struct err *e)
{
	int control = coding_of(flags, 0, DELTA_XZ), diff = coding_of(flags, 5, DELTA_ZEROS),
	    extra = coding_of(flags, 10, DELTA_ZEROS);

	if (control < 0 || diff < 0 || extra < 0)
		return err_set(e, -ERR_FORMAT, "the delta does not say how its blocks are coded (flags 0x%04x)", flags);
	h->control = (enum delta_coding)control;
	h->diff = (enum delta_coding)diff;
	h->extra = (enum delta_coding)extra;
	return 0;
}

static int set_attrs(uint32_t mode, const uint8_t *owner, struct delta_header *h, struct err *e)
{
	if (!S_ISREG(mode) || mode & ~(uint32_t)(S_IFMT | 07777))
		return err_set(e, -ERR_FORMAT, "the delta makes something else than a file (mode 0%o)", mode);
	h->attrs = (struct attrs){.kind = KIND_FILE,
				  .mode = mode & 07777,
				  .uid = (uint32_t)get(owner, 4),
				  .gid = (uint32_t)get(owner + 4, 4),
				  .size = h->new_len};
	return 0;
}

/* Each length is compared by itself with what is left, so that no sum overflows. */
static int check_lengths(const struct delta_header *h, size_t header, size_t len, struct err *e)
{
	uint64_t left = len;
	bool fits = h->first_block >= header && h->first_block <= left;

	left -= fits ? h->first_block : 0;
	fits = fits && h->control_len <= left;
	left -= fits ? h->control_len : 0;
	fits = fits && h->diff_len <= left;
	left -= fits ? h->diff_len : 0;
	if (!fits || h->extra_len != left)
		return err_set(e, -ERR_FORMAT, "the lengths in the delta's header do not add up to its %zu bytes", len);
	if (h->old_len == 0)
		return err_set(e, -ERR_FORMAT, "the delta is from an empty file");
	if (h->new_len > DELTA_RESULT_MAX)
		return err_set(e, -ERR_LIMIT, "the delta's result would have %" PRIu64 " bytes", h->new_len);
	return 0;
}

int delta_parse_header(const void *delta, size_t len, struct delta_header *out, struct err *e)
{
	const uint8_t *p = delta;
	struct delta_header h = {0};
	bool large, small;
	int r;

	if (len >= 8 && memcmp(p, "FULLV20U", 8) == 0)
		return err_set(e, -ERR_MISSING, "there is no delta, only the mark to fetch the whole file");
	large = len >= DELTA_LARGE_HEADER && memcmp(p, "BSDIFF4U", 8) == 0;
	small = len >= DELTA_SMALL_HEADER && memcmp(p, "BSDIFF4V", 8) == 0;
	if (!large && !small)
		return err_set(e, -ERR_FORMAT, "not a delta");
	h.first_block = p[8];
	if (large) {
		h.control_len = get(p + 9, 4);
		h.diff_len = get(p + 13, 8);
		h.extra_len = get(p + 21, 8);
		h.old_len = get(p + 29, 8);
		h.new_len = get(p + 37, 8);
	} else {
		h.control_len = p[9];
		h.diff_len = get(p + 10, 2);
		h.extra_len = get(p + 12, 2);
		h.old_len = get(p + 14, 2);
		h.new_len = get(p + 16, 2);
	}
	r = check_lengths(&h, large ? DELTA_LARGE_HEADER : DELTA_SMALL_HEADER, len, e);
	if (r == 0)
		r = set_attrs((uint32_t)get(p + (large ? 53 : 18), 4), p + (large ? 57 : 22), &h, e);
	if (r == 0)
		r = set_codings((unsigned)get(p + (large ? 65 : 30), 2), &h, e);
	if (r == 0)
		*out = h;
	return r;
}

/* A block of the delta, decoded. */
struct block {
	const uint8_t *data; /* NULL: zeros */
	uint64_t len;
	struct buf own; /* what data points to, unless that is the delta itself */
};

static void block_clear(struct block *b)
{
	buf_free(&b->own);
}

/* max: -ERR_LIMIT beyond. */
static int block_decode(struct block *b, enum delta_coding coding, const uint8_t *stored, size_t len, size_t max,
			struct err *e)
{
	static const enum codec codecs[] = {
		[DELTA_BZIP2] = CODEC_BZIP2,
		[DELTA_GZIP] = CODEC_GZIP,
		[DELTA_XZ] = CODEC_XZ,
	};
	int r;

	switch (coding) {
	case DELTA_RAW:
		b->data = stored;
		b->len = len;
		return 0;
	case DELTA_ZEROS:
		if (len != 8)
			return err_set(e, -ERR_FORMAT, "a count of zeros has %zu bytes, not 8", len);
		b->len = get(stored, 8);
		return 0;
	default:
		r = decompress_mem(codecs[coding], stored, len, max, &b->own, e);
		b->data = (const uint8_t *)b->own.data;
		b->len = b->own.len;
		return r;
	}
}

/* A block whose decoded length the control block has told. */
static int block_decode_exactly(struct block *b, enum delta_coding coding, const uint8_t *stored, size_t len,
				size_t want, struct err *e)
{
	if (coding != DELTA_RAW && coding != DELTA_ZEROS)
		(void)buf_reserve(&b->own, want + 1); /* so that it does not grow, by doubling, while it is filled */
	int r = block_decode(b, coding, stored, len, want, e);
	if (r < 0)
		return r;
	if (b->len != want)
		return err_set(e, -ERR_FORMAT, "it has %" PRIu64 " bytes, but the control block asks for %zu", b->len,
			       want);
	return 0;
}

/*
 * What to do for one piece of the new file: add bytes come from old and diff, insert bytes from extra; then old moves
 * by seek.
 */
struct step {
	uint64_t add, insert;
	int64_t seek;
};

static struct step step_at(const struct block *control, size_t i)
{
	const uint8_t *p = control->data + i * DELTA_STEP;

	return (struct step){.add = get(p, 8), .insert = get(p + 8, 8), .seek = (int64_t)get(p + 16, 8)};
}

/* Everything that apply_steps relies on. *add: bytes that come from old and diff; the others come from extra. */
static int check_steps(const struct block *control, const struct delta_header *h, size_t *add, struct err *e)
{
	uint64_t from_old = 0, made = 0;
	int64_t at = 0;

	if (control->len % DELTA_STEP != 0)
		return err_set(e, -ERR_FORMAT, "it ends within a step");
	for (size_t i = 0; i < control->len / DELTA_STEP; i++) {
		struct step s = step_at(control, i);
		if (made == h->new_len)
			return err_set(e, -ERR_FORMAT, "it goes on behind the end of the new file");
		/* negative numbers are large ones here */
		if (s.add > h->new_len - made || s.insert > h->new_len - made - s.add)
			return err_set(e, -ERR_FORMAT, "step %zu leads behind the end of the new file", i);
		made += s.add + s.insert;
		from_old += s.add;
		if (__builtin_add_overflow(at + (int64_t)s.add, s.seek, &at) || at < 0 || at > (int64_t)h->old_len)
			return err_set(e, -ERR_FORMAT, "step %zu leads out of the old file", i);
	}
	if (made != h->new_len)
		return err_set(e, -ERR_FORMAT, "it ends before the new file does");
	*add = (size_t)from_old;
	return 0;
}

static void add_bytes(uint8_t *to, const uint8_t *diff, const uint8_t *old, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(diff[i] + old[i]);
}

/* One piece from old and diff, or from diff (old: NULL), or zeros from both. */
static void copy_bytes(uint8_t *to, const uint8_t *diff, const uint8_t *old, size_t n)
{
	if (n == 0)
		return;
	if (diff && old)
		add_bytes(to, diff, old, n);
	else if (diff || old)
		memcpy(to, diff ? diff : old, n);
	else
		memset(to, 0, n);
}

static void apply_steps(const struct block *control, const struct block *diff, const struct block *extra,
			const uint8_t *old, size_t old_len, uint8_t *to)
{
	const uint8_t *d = diff->data, *x = extra->data;
	size_t at = 0;

	for (size_t i = 0; i < control->len / DELTA_STEP; i++) {
		struct step s = step_at(control, i);
		/* behind the old file there is nothing to add to */
		size_t within = MIN(s.add, old_len - MIN(at, old_len)), behind = s.add - within;
		copy_bytes(to, d, old + MIN(at, old_len), within);
		copy_bytes(to + within, d ? d + within : NULL, NULL, behind);
		copy_bytes(to + s.add, x, NULL, s.insert);
		to += s.add + s.insert;
		d += d ? s.add : 0;
		x += x ? s.insert : 0;
		at = (size_t)((int64_t)at + (int64_t)s.add + s.seek);
	}
}

int delta_apply(const void *old, size_t old_len, const void *delta, size_t len, struct attrs *attrs, struct buf *out,
		struct err *e)
{
	_cleanup_(block_clear) struct block control = {0}, diff = {0}, extra = {0};
	struct delta_header h = {0};
	size_t add = 0;

	int r = delta_parse_header(delta, len, &h, e);
	if (r < 0)
		return r;
	if (h.old_len != old_len)
		return err_set(e, -ERR_FORMAT, "the delta is from a file of %" PRIu64 " bytes, not %zu", h.old_len,
			       old_len);
	const uint8_t *p = (const uint8_t *)delta + h.first_block;
	r = block_decode(&control, h.control, p, h.control_len, h.new_len + DELTA_CONTROL_SLACK, e);
	if (r == 0)
		r = check_steps(&control, &h, &add, e);
	if (r < 0)
		return err_in(e, r, "the delta's control block");
	p += h.control_len;
	r = block_decode_exactly(&diff, h.diff, p, h.diff_len, add, e);
	if (r < 0)
		return err_in(e, r, "the delta's difference block");
	p += h.diff_len;
	r = block_decode_exactly(&extra, h.extra, p, h.extra_len, h.new_len - add, e);
	if (r < 0)
		return err_in(e, r, "the delta's extra block");
	apply_steps(&control, &diff, &extra, old, old_len, (uint8_t *)buf_reserve(out, h.new_len));
	out->len += h.new_len;
	out->data[out->len] = '\0';
	*attrs = h.attrs;
	return 0;
}

int delta_name_parse(const char *name, struct digest *from, struct digest *to)
{
	struct digest a, b;

	/* two fields that once were releases; nobody reads them */
	for (int skip = strlen(name) > 129 ? 2 : 0; skip > 0; skip--) {
		const char *minus = strchr(name, '-');
		if (!minus)
			return -EINVAL;
		name = minus + 1;
	}
	if (strlen(name) != 129 || name[64] != '-' || digest_parse(name, &a) < 0 || digest_parse(name + 65, &b) < 0)
		return -EINVAL;
	*from = a;
	*to = b;
	return 0;
}
