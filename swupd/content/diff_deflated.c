/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/diff_deflated.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"
#include "swupd/base/mem.h"
#include "swupd/content/deflate_again.h"
#include "swupd/content/deflate_tokens.h"

#define CHUNK      (64U << 10)
#define SMALL      64           /* what expands to less is not worth a line of the list */
#define FORM_RATIO 16           /* an expanded form is at most so many times as long */
#define RAW        (-MAX_WBITS) /* no header */

void deflated_list_clear(struct deflated_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		buf_free(&l->items[i].blocks);
	free(l->items);
	*l = (struct deflated_list){0};
}

void deflated_add(struct deflated_list *l, struct deflated *d)
{
	VEC_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = *d;
	l->packed += d->packed;
	l->expanded += d->expanded;
	l->blocks += d->blocks.len;
	d->blocks = (struct buf){0};
}

uint64_t deflated_form_size(const struct deflated_list *l, uint64_t len)
{
	return len - l->packed + l->expanded;
}

uint64_t deflated_form_max(uint64_t len)
{
	return FORM_RATIO * len + CHUNK;
}

static int damaged(struct err *e)
{
	return err_set(e, -ERR_FORMAT, "it is no deflated stream, or another than was said");
}

int deflated_expand(struct view *file, uint64_t at, uint64_t max, diff_write_fn *out, void *arg, uint64_t *packed,
		    uint64_t *expanded, struct err *e)
{
	_cleanup_free_ uint8_t *chunk = xmalloc(CHUNK);
	z_stream z = {0};
	size_t have;
	int r = 0, status = Z_OK;

	if (inflateInit2(&z, RAW) != Z_OK)
		return err_set(e, -ENOMEM, "zlib: cannot start");
	*packed = *expanded = 0;
	while (r == 0 && status == Z_OK && at + *packed < file->len) {
		z.next_in = (Bytef *)view_at(file, at + *packed, &have);
		z.avail_in = (uInt)MIN(have, CHUNK);
		const uInt given = z.avail_in;
		z.next_out = chunk;
		z.avail_out = CHUNK;
		status = inflate(&z, Z_NO_FLUSH);
		const size_t made = CHUNK - z.avail_out;
		*packed += given - z.avail_in;
		if (made > max - *expanded)
			status = Z_DATA_ERROR;
		else if (made > 0 && out)
			r = out(arg, chunk, made, e);
		*expanded += made;
	}
	inflateEnd(&z);
	return r < 0 || status == Z_STREAM_END ? r : damaged(e);
}

static int copy_raw(struct view *file, uint64_t at, uint64_t end, diff_write_fn *out, void *arg, struct err *e)
{
	int r = 0;

	for (size_t have; r == 0 && at < end; at += have) {
		const uint8_t *p = view_at(file, at, &have);
		have = MIN(MIN(have, end - at), CHUNK);
		r = out(arg, p, have, e);
	}
	return r;
}

int deflated_form(struct view *file, const struct deflated_list *l, diff_write_fn *out, void *arg, struct err *e)
{
	uint64_t at = 0, packed, expanded;
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++) {
		const struct deflated *d = &l->items[i];
		r = copy_raw(file, at, d->at, out, arg, e);
		if (r == 0)
			r = deflated_expand(file, d->at, d->expanded, out, arg, &packed, &expanded, e);
		if (r == 0 && (packed != d->packed || expanded != d->expanded))
			r = damaged(e);
		at = d->at + d->packed;
	}
	return r < 0 ? r : copy_raw(file, at, file->len, out, arg, e);
}

/* ---- writing it again ---- */

struct repacker {
	const struct deflated_list *list;
	size_t i;
	uint64_t at;   /* in the file that is written */
	uint64_t left; /* of what the stream expands to; 0: before one */
	uint64_t made; /* bytes of it */
	struct deflater *deflater;
	z_stream z;
	uint8_t level, memory;        /* that z is for */
	struct deflate_tokens tokens; /* of the stream, when it is divided anew */
	struct buf packed;            /* of it, what is not yet written */
	diff_write_fn *write;
	void *arg;
};

struct repacker *repacker_new(const struct deflated_list *l, diff_write_fn *write, void *arg)
{
	struct repacker *r = xcalloc(1, sizeof(*r));

	r->list = l;
	r->write = write;
	r->arg = arg;
	return r;
}

void repacker_free(struct repacker *r)
{
	if (!r)
		return;
	deflater_free(r->deflater);
	deflateEnd(&r->z);
	deflate_tokens_clear(&r->tokens);
	buf_free(&r->packed);
	free(r);
}

static bool begin_zlib(struct repacker *r, const struct deflated *d)
{
	if (r->level == d->level && r->memory == d->memory)
		return deflateReset(&r->z) == Z_OK;
	deflateEnd(&r->z);
	r->z = (z_stream){0};
	r->level = d->level;
	r->memory = d->memory;
	return deflateInit2(&r->z, d->level, Z_DEFLATED, RAW, d->memory, Z_DEFAULT_STRATEGY) == Z_OK;
}

/* Short ones are not worth the deflater's tables. */
static bool is_ours(const struct deflated *d)
{
	return d->level >= DEFLATE_AGAIN_LEVEL && d->expanded >= CHUNK && d->expanded <= DEFLATE_AGAIN_MAX;
}

static bool begin_deflate(struct repacker *r, const struct deflated *d)
{
	r->left = d->expanded;
	r->made = r->packed.len = 0;
	r->tokens.n = r->tokens.n_blocks = 0;
	if (!is_ours(d))
		return begin_zlib(r, d);
	if (!r->deflater)
		r->deflater = deflater_new();
	deflater_begin(r->deflater, d->level, d->memory, d->blocks.len > 0 ? NULL : &r->packed, &r->tokens);
	return true;
}

static int deflate_by_zlib(struct repacker *r, const uint8_t *p, size_t len, struct err *e)
{
	int status;

	r->z.next_in = (Bytef *)p;
	r->z.avail_in = (uInt)len;
	do {
		r->z.next_out = (Bytef *)buf_reserve(&r->packed, CHUNK);
		r->z.avail_out = CHUNK;
		status = deflate(&r->z, r->left ? Z_NO_FLUSH : Z_FINISH);
		r->packed.len += CHUNK - r->z.avail_out;
		if (status == Z_STREAM_ERROR || r->packed.len > 2 * DEFLATED_ANEW_MAX)
			return damaged(e);
	} while (r->z.avail_out == 0 && status != Z_STREAM_END);
	return 0;
}

/* What was deflated, in other blocks */
static int divide_anew(struct repacker *r, const struct deflated *d, struct err *e)
{
	int result = 0;

	if (!is_ours(d))
		result = deflate_tokens_read((const uint8_t *)r->packed.data, r->packed.len, &r->tokens, e);
	r->packed.len = 0;
	return result < 0 ? result : deflate_tokens_write(&r->tokens, &d->blocks, &r->packed, e);
}

static int write_packed(struct repacker *r, const struct deflated *d, struct err *e)
{
	const size_t len = r->packed.len;
	int result = 0;

	r->made += len;
	r->packed.len = 0;
	if (r->made > d->packed || (!r->left && r->made < d->packed))
		return damaged(e);
	for (size_t at = 0, n; result == 0 && at < len; at += n) {
		n = MIN(len - at, CHUNK);
		result = r->write(r->arg, r->packed.data + at, n, e);
	}
	return result;
}

/* A part of what the stream expands to */
static int pack_again(struct repacker *r, const uint8_t *p, size_t len, struct err *e)
{
	const struct deflated *d = &r->list->items[r->i];
	const bool anew = d->blocks.len > 0, last = len == r->left;
	int result;

	r->left -= len;
	result = is_ours(d) ? deflater_write(r->deflater, p, len, last, e) : deflate_by_zlib(r, p, len, e);
	if (result == 0 && anew && last)
		result = divide_anew(r, d, e);
	if (result == 0 && (last || !anew))
		result = write_packed(r, d, e);
	if (result < 0 || !last)
		return result;
	r->at += d->packed;
	r->i++;
	return 0;
}

int repacker_write(void *repacker, const void *data, size_t len, struct err *e)
{
	struct repacker *r = repacker;
	const uint8_t *p = data;
	int result = 0;

	for (size_t n; result == 0 && len > 0; p += n, len -= n) {
		const struct deflated *d = r->i < r->list->n ? &r->list->items[r->i] : NULL;
		if (!r->left && d && r->at == d->at && !begin_deflate(r, d))
			return damaged(e);
		if (r->left) {
			n = (size_t)MIN(r->left, len);
			result = pack_again(r, p, n, e);
			continue;
		}
		n = d ? (size_t)MIN(d->at - r->at, len) : len;
		result = r->write(r->arg, p, n, e);
		r->at += n;
	}
	return result;
}

/* ---- finding them ---- */

/* Where what was deflated begins behind gzip's header; 0: there is none */
static size_t gzip_header(const uint8_t *p, size_t len)
{
	enum { HAS_SUM = 2, HAS_EXTRA = 4, HAS_NAME = 8, HAS_COMMENT = 16 };
	size_t at = 10;

	if (len < at + 8 || p[0] != 0x1f || p[1] != 0x8b || p[2] != Z_DEFLATED)
		return 0;
	if (p[3] & HAS_EXTRA)
		at += 2U + le16_at(p + at);
	for (int flag = HAS_NAME; flag <= HAS_COMMENT; flag *= 2) {
		const uint8_t *end = p[3] & flag && at < len ? memchr(p + at, '\0', len - at) : NULL;
		if (end)
			at = (size_t)(end - p) + 1;
	}
	if (p[3] & HAS_SUM)
		at += 2;
	return at < len ? at : 0;
}

/* The same of a member of a zip file */
static size_t zip_header(const uint8_t *p, size_t len)
{
	static const uint8_t magic[] = {'P', 'K', 3, 4};

	if (len < 31 || memcmp(p, magic, sizeof(magic)) != 0 || le16_at(p + 8) != Z_DEFLATED)
		return 0;
	const size_t at = 30U + le16_at(p + 26) + le16_at(p + 28);
	return at < len ? at : 0;
}

/* The same of a section of an ELF file: how it is compressed, and zlib's header. wide: 64 bits */
static size_t section_header(const uint8_t *p, size_t len, bool wide)
{
	enum { METHOD = 15, HAS_DICTIONARY = 32 };
	const size_t at = wide ? sizeof(Elf64_Chdr) : sizeof(Elf32_Chdr);

	if (len <= at + 2 || le32_at(p) != ELFCOMPRESS_ZLIB || (p[at] & METHOD) != Z_DEFLATED ||
	    p[at + 1] & HAS_DICTIONARY || (p[at] << 8 | p[at + 1]) % 31 != 0)
		return 0;
	return at + 2;
}

/* The stream that begins here and ends by end; 0: none does, or it is not worth it. Returns where it ends. */
static size_t find_one(const struct view *file, size_t at, size_t end, struct deflated_list *out)
{
	struct deflated d = {.at = at};
	struct view part = VIEW_OF(file->data, end);
	const uint64_t max = deflated_form_max(file->len) - deflated_form_size(out, file->len);

	if (deflated_expand(&part, at, max, NULL, NULL, &d.packed, &d.expanded, NULL) < 0 || d.expanded < SMALL)
		return 0;
	deflated_add(out, &d);
	return at + d.packed;
}

/* A number of a header of an ELF file, which has another size and another place in those of 64 bits */
static uint64_t elf_number(const uint8_t *header, bool wide, size_t at32, size_t at64)
{
	return wide ? le64_at(header + at64) : le32_at(header + at32);
}
#define ELF_NUMBER(p, wide, header, field)                                                                             \
	elf_number(p, wide, offsetof(Elf32_##header, field), offsetof(Elf64_##header, field))

/* Compressed sections, as far as they come one behind the other */
static void find_in_sections(const struct view *file, struct deflated_list *out)
{
	const uint8_t *p = file->data;
	const size_t len = file->len;
	size_t done = 0;

	if (len < sizeof(Elf64_Ehdr) || memcmp(p, ELFMAG, SELFMAG) != 0 || p[EI_DATA] != ELFDATA2LSB)
		return;
	const bool wide = p[EI_CLASS] == ELFCLASS64;
	const size_t each = wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	const uint64_t at = ELF_NUMBER(p, wide, Ehdr, e_shoff);
	const size_t n = le16_at(p + (wide ? offsetof(Elf64_Ehdr, e_shnum) : offsetof(Elf32_Ehdr, e_shnum)));
	if (at > len || n * each > len - at)
		return;
	for (const uint8_t *h = p + at, *last = h + n * each; h < last; h += each) {
		const uint64_t offset = ELF_NUMBER(h, wide, Shdr, sh_offset), size = ELF_NUMBER(h, wide, Shdr, sh_size);
		if (!(ELF_NUMBER(h, wide, Shdr, sh_flags) & SHF_COMPRESSED) || offset < done || offset > len ||
		    size > len - offset)
			continue;
		const size_t header = section_header(p + offset, size, wide);
		if (header > 0)
			(void)find_one(file, offset + header, offset + size, out);
		done = offset + size;
	}
}

void deflated_find(const uint8_t *p, size_t len, struct deflated_list *out)
{
	const struct view file = VIEW_OF(p, len);
	size_t at = 0, header;

	find_in_sections(&file, out);
	out->sections = out->n > 0;
	if (out->sections)
		return;
	while (out->n < DEFLATED_MAX && (header = gzip_header(p + at, len - at)) > 0) {
		at = find_one(&file, at + header, len, out);
		if (at == 0 || len - at < 8)
			return;
		at += 8; /* sum and length */
	}
	while (at < len && out->n < DEFLATED_MAX) {
		const uint8_t *next = memchr(p + at, 'P', len - at);
		if (!next)
			return;
		at = (size_t)(next - p);
		header = zip_header(next, len - at);
		const size_t end = header ? find_one(&file, at + header, len, out) : 0;
		at = end ? end : at + 1;
	}
}

struct comparing {
	const uint8_t *p;
	uint64_t left;
};

static int compare(void *arg, const void *data, size_t len, struct err *e)
{
	struct comparing *c = arg;

	if (len > c->left || memcmp(c->p, data, len) != 0)
		return damaged(e);
	c->p += len;
	c->left -= len;
	return 0;
}

static bool is_way(struct deflated *d, uint8_t level, uint8_t memory, const uint8_t *packed, const uint8_t *expanded)
{
	const struct deflated_list list = {.items = d, .n = 1};
	struct comparing c = {packed, d->packed};
	_cleanup_(repacker_freep) struct repacker *r = repacker_new(&list, compare, &c);

	d->level = level;
	d->memory = memory;
	/* before it nothing is written */
	r->at = d->at;
	return repacker_write(r, expanded, d->expanded, NULL) == 0 && c.left == 0;
}

bool deflated_find_way(struct deflated *d, const uint8_t *packed, const uint8_t *expanded)
{
	/* Java, Python and zip; gzip -9, gzip */
	static const uint8_t ways[][2] = {{6, 8}, {9, 9}, {6, 9}, {9, 8}, {1, 8}}, gzip_ways[] = {9, 6};
	_cleanup_(deflate_tokens_clear) struct deflate_tokens tokens = {0};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		if (is_way(d, ways[i][0], ways[i][1], packed, expanded))
			return true;
	if (d->packed > DEFLATED_ANEW_MAX || deflate_tokens_read(packed, d->packed, &tokens, NULL) < 0)
		return false;
	/* gzip finds what zlib does that hashes as coarsely, but ends blocks elsewhere */
	deflate_blocks_save(&tokens, packed, &d->blocks);
	for (size_t i = 0; i < ARRAY_LEN(gzip_ways); i++)
		if (is_way(d, gzip_ways[i], 8, packed, expanded))
			return true;
	buf_free(&d->blocks);
	return false;
}
