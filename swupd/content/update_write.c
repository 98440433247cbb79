/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/update_file.h"
#include "swupd/content/varint.h"

/* Up to here either may be the smaller one, and nothing takes time. */
#define SMALL (16UL << 10)

/* zstd's levels, of contents and of manifests: most of those is hashes, of which the higher levels take three times the work and make up to 3 % more. */
enum { LEVEL_CONTENT = 19, LEVEL_MANIFEST = 16 };

/*
 * The smaller of what the codecs make of a stream. aligned: numbers of 4 bytes, of which xz makes a fifth less than zstd. Of other streams it makes 5 % less, and
 * takes seven times as long to expand, a third of all that a client does for Debian 12 to 13: only a link below 5 Mbit/s would gain by it.
 */
static int pack_stream(const struct buf *in, int level, size_t dictionary, bool aligned, enum codec *codec,
		       struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf xz = {0}, zstd = {0};
	const struct buf *best = in;
	const bool small = in->len <= SMALL;
	int r = 0;

	*codec = CODEC_NONE;
	if (in->len && (small || aligned))
		r = compress_xz(4, dictionary, in->data, in->len, &xz, e);
	if (r >= 0 && in->len && (small || !aligned))
		r = compress_zstd(level, dictionary, in->data, in->len, &zstd, e);
	if (r < 0)
		return r;
	if (xz.len && xz.len < best->len) {
		*codec = CODEC_XZ;
		best = &xz;
	}
	if (zstd.len && zstd.len < best->len) {
		*codec = CODEC_ZSTD;
		best = &zstd;
	}
	buf_add(out, best->data, best->len);
	return 0;
}

int update_pack(const struct diff_streams *streams, struct update_section *s, struct buf *out, struct err *e)
{
	const size_t before = out->len;
	int r = 0;

	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++) {
		const struct buf *in = &streams->s[k];
		const size_t start = out->len;
		r = pack_stream(in, LEVEL_MANIFEST, update_window(k), k == DIFF_TARGET, &s->streams[k].codec, out, e);
		s->streams[k].expanded = in->len;
		s->streams[k].stored = out->len - start;
	}
	s->stored = out->len - before;
	return r;
}

struct packed {
	struct compressor *compressor; /* NULL: it is not large */
	int fd;                        /* with what that made */
	uint64_t expanded, size;       /* bytes that it took and made */
	struct buf stored;             /* of one that is not large, in the end */
};

struct update_packer {
	struct diff_streams streams; /* what is not compressed yet */
	int scratch;
	struct packed packed[DIFF_STREAMS];
};

struct update_packer *update_packer_new(int scratch)
{
	struct update_packer *p = xcalloc(1, sizeof(*p));

	p->scratch = scratch;
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		p->packed[k].fd = -1;
	return p;
}

void update_packer_free(struct update_packer *p)
{
	if (!p)
		return;
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		compressor_free(p->packed[k].compressor);
		closep(&p->packed[k].fd);
		buf_free(&p->packed[k].stored);
	}
	diff_streams_clear(&p->streams);
	free(p);
}

struct diff_streams *update_packer_streams(struct update_packer *p)
{
	return &p->streams;
}

uint64_t update_packer_len(const struct update_packer *p, enum diff_stream s)
{
	return p->packed[s].expanded + p->streams.s[s].len;
}

static int store(void *arg, const void *data, size_t len, struct err *e)
{
	struct packed *x = arg;

	x->size += len;
	return fs_write_all(x->fd, data, len, e);
}

int update_packer_settle(struct update_packer *p, struct err *e)
{
	int r = 0;

	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++) {
		struct packed *x = &p->packed[k];
		struct buf *in = &p->streams.s[k];
		/* targets are of programs, which are not so large, and xz's */
		if (k == DIFF_TARGET || (!x->compressor && in->len <= UPDATE_LARGE))
			continue;
		if (!x->compressor)
			r = x->fd = fs_scratch_open(p->scratch, e);
		if (!x->compressor && r >= 0)
			r = compressor_open(update_window(k), store, x, &x->compressor, e);
		if (r >= 0)
			r = compressor_write(x->compressor, in->data, in->len, e);
		x->expanded += in->len;
		buf_free(in);
	}
	return r < 0 ? r : 0;
}

int update_packer_end(struct update_packer *p, struct update_section *s, struct err *e)
{
	int r = update_packer_settle(p, e);

	s->stored = 0;
	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++) {
		struct packed *x = &p->packed[k];
		s->streams[k].codec = CODEC_ZSTD;
		s->streams[k].expanded = update_packer_len(p, k);
		if (x->compressor)
			r = compressor_end(x->compressor, e);
		else
			r = pack_stream(&p->streams.s[k], LEVEL_CONTENT, update_window(k), k == DIFF_TARGET,
					&s->streams[k].codec, &x->stored, e);
		buf_free(&p->streams.s[k]);
		s->streams[k].stored = x->compressor ? x->size : x->stored.len;
		s->stored += s->streams[k].stored;
	}
	return r;
}

int update_packer_write(const struct update_packer *p, int fd, struct err *e)
{
	int r = 0;

	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++) {
		const struct packed *x = &p->packed[k];
		if (!x->compressor)
			r = fs_write_all(fd, x->stored.data, x->stored.len, e);
		else if (lseek(x->fd, 0, SEEK_SET) < 0)
			r = err_errno(e, "a stream of a section");
		else
			r = fs_copy_fd(x->fd, fd, x->size, e);
	}
	return r;
}

static void add_hashes(const struct update_index *x, bool from, struct buf *text)
{
	for (size_t i = 0; i < x->n_records; i++)
		buf_add(text, from ? &x->records[i].from : &x->records[i].hash, x->prefix);
}

static uint64_t kind_number(enum file_kind k)
{
	return k == KIND_FILE ? 1 : k == KIND_DIR ? 2 : 3;
}

static void add_section(const struct update_section *s, struct buf *text)
{
	varint_add(text, s->meta ? UPDATE_META : 0);
	varint_add(text, s->n);
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		varint_add(text, s->streams[k].codec);
		varint_add(text, s->streams[k].expanded);
		varint_add(text, s->streams[k].stored);
	}
}

static void add_index(const struct update_index *x, struct buf *text)
{
	varint_add(text, x->from);
	varint_add(text, x->to);
	varint_add(text, x->prefix);
	varint_add(text, x->signature.len);
	buf_add(text, x->signature.data, x->signature.len);
	varint_add(text, x->n_shapes);
	for (size_t i = 0; i < x->n_shapes; i++) {
		varint_add(text, kind_number(x->shapes[i].kind));
		varint_add(text, x->shapes[i].mode);
		varint_add(text, x->shapes[i].uid);
		varint_add(text, x->shapes[i].gid);
	}
	varint_add(text, x->n_sections);
	for (size_t i = 0; i < x->n_sections; i++)
		add_section(&x->sections[i], text);
	add_hashes(x, false, text);
	add_hashes(x, true, text);
	for (size_t i = 0; i < x->n_records; i++)
		varint_add(text, (uint64_t)(x->records[i].shape - x->shapes));
	for (size_t i = 0; i < x->n_records; i++)
		varint_add(text, x->records[i].size);
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		for (size_t i = 0; i < x->n_records; i++)
			varint_add(text, x->records[i].bytes[k]);
}

int update_format(struct update_index *x, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0}, stored = {0};
	enum codec codec;

	add_index(x, &text);
	int r = pack_stream(&text, LEVEL_CONTENT, UPDATE_NEAR, false, &codec, &stored, e);
	if (r < 0)
		return r;
	uint64_t at = UPDATE_FIXED + stored.len, head = at, meta = 0;
	for (size_t i = 0; i < x->n_sections; i++) {
		x->sections[i].at = at;
		at += x->sections[i].stored;
		if (x->sections[i].meta)
			head = at;
		for (size_t k = 0; x->sections[i].meta && k < DIFF_STREAMS; k++)
			meta += x->sections[i].streams[k].expanded;
	}
	/* what no reader takes */
	if (head > UPDATE_HEAD_MAX || text.len > UPDATE_INDEX_MAX || meta > UPDATE_META_MAX ||
	    x->n_records > UPDATE_RECORDS || x->n_sections > UPDATE_SECTIONS ||
	    text.len + x->n_shapes * sizeof(*x->shapes) + x->n_sections * UPDATE_SECTION_MEMORY +
			    x->n_records * UPDATE_RECORD_MEMORY >
		    UPDATE_MEMORY)
		return err_set(e, -ERR_LIMIT, "too much changes for an update file");
	const uint32_t fixed[] = {htole32(UPDATE_VERSION), htole32((uint32_t)head), htole32((uint32_t)stored.len),
				  htole32((uint32_t)text.len)};
	buf_add(out, UPDATE_MAGIC, 8);
	buf_add(out, fixed, sizeof(fixed));
	buf_add(out, stored.data, stored.len);
	return 0;
}
