/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define STEP (256UL * 1024)

/* the predecessor's reader has this limit (spec/swupd-format.md section 6.2), so nobody may publish more */
#define XZ_MEMORY_MAX (80ULL << 20)

/* 64 MiB, the largest window that stays below as well; our writer has 8 MiB (level 19), level 22 alone has more (128 MiB) */
#define ZSTD_WINDOW_MAX (1UL << 26)

/* What the decoder of xz takes besides the window: 34 KiB were measured */
#define XZ_BESIDES (128UL << 10)

#define ZLIB_GZIP 16 /* window bits + 16: gzip wrapper (zlib.h, inflateInit2) */

/*
 * The decoders share one loop: step() takes what it can of in and writes what it can to room bytes at to. 1: a stream
 * ended, 0: go on, -1: damaged, -2: wants too much memory.
 */
struct decoder {
	union {
		z_stream gz;
		bz_stream bz;
		lzma_stream xz;
		ZSTD_DStream *zstd;
	};
	size_t window; /* what may be looked back; 0: as much as any writer needs */
	int (*begin)(struct decoder *d);
	int (*step)(struct decoder *d, const uint8_t **in, size_t *len, uint8_t **to, size_t *room);
	void (*end)(struct decoder *d);
};

static int gz_begin(struct decoder *d)
{
	d->gz = (z_stream){0};
	return inflateInit2(&d->gz, MAX_WBITS + ZLIB_GZIP) == Z_OK ? 0 : -1;
}

static int gz_step(struct decoder *d, const uint8_t **in, size_t *len, uint8_t **to, size_t *room)
{
	uInt have = (uInt)MIN(*len, (size_t)1 << 30), space = (uInt)MIN(*room, (size_t)1 << 30);

	d->gz.next_in = (Bytef *)*in;
	d->gz.avail_in = have;
	d->gz.next_out = *to;
	d->gz.avail_out = space;
	int r = inflate(&d->gz, Z_NO_FLUSH);
	*in += have - d->gz.avail_in;
	*len -= have - d->gz.avail_in;
	*to += space - d->gz.avail_out;
	*room -= space - d->gz.avail_out;
	if (r == Z_STREAM_END)
		return 1;
	return r == Z_OK || r == Z_BUF_ERROR ? 0 : -1;
}

static void gz_end(struct decoder *d)
{
	inflateEnd(&d->gz);
}

static int bz_begin(struct decoder *d)
{
	d->bz = (bz_stream){0};
	return BZ2_bzDecompressInit(&d->bz, 0, 0) == BZ_OK ? 0 : -1;
}

static int bz_step(struct decoder *d, const uint8_t **in, size_t *len, uint8_t **to, size_t *room)
{
	unsigned have = (unsigned)MIN(*len, (size_t)1 << 30), space = (unsigned)MIN(*room, (size_t)1 << 30);

	d->bz.next_in = (char *)*in;
	d->bz.avail_in = have;
	d->bz.next_out = (char *)*to;
	d->bz.avail_out = space;
	int r = BZ2_bzDecompress(&d->bz);
	*in += have - d->bz.avail_in;
	*len -= have - d->bz.avail_in;
	*to += space - d->bz.avail_out;
	*room -= space - d->bz.avail_out;
	if (r == BZ_STREAM_END)
		return 1;
	return r == BZ_OK ? 0 : -1;
}

static void bz_end(struct decoder *d)
{
	BZ2_bzDecompressEnd(&d->bz);
}

static int xz_begin(struct decoder *d)
{
	d->xz = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_stream_decoder(&d->xz, d->window ? d->window + XZ_BESIDES : XZ_MEMORY_MAX, 0) == LZMA_OK ? 0 : -1;
}

static int xz_step(struct decoder *d, const uint8_t **in, size_t *len, uint8_t **to, size_t *room)
{
	d->xz.next_in = *in;
	d->xz.avail_in = *len;
	d->xz.next_out = *to;
	d->xz.avail_out = *room;
	lzma_ret r = lzma_code(&d->xz, LZMA_RUN);
	*in = d->xz.next_in;
	*len = d->xz.avail_in;
	*to = d->xz.next_out;
	*room = d->xz.avail_out;
	if (r == LZMA_STREAM_END)
		return 1;
	if (r == LZMA_MEMLIMIT_ERROR)
		return -2;
	return r == LZMA_OK || r == LZMA_BUF_ERROR ? 0 : -1;
}

static void xz_end(struct decoder *d)
{
	lzma_end(&d->xz);
}

static int zstd_begin(struct decoder *d)
{
	d->zstd = ZSTD_createDStream();
	if (!d->zstd)
		return -1;
	ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, __builtin_ctzl(d->window ? d->window : ZSTD_WINDOW_MAX));
	return 0;
}

static int zstd_step(struct decoder *d, const uint8_t **in, size_t *len, uint8_t **to, size_t *room)
{
	ZSTD_inBuffer i = {*in, *len, 0};
	ZSTD_outBuffer o = {*to, *room, 0};

	size_t r = ZSTD_decompressStream(d->zstd, &o, &i);
	if (ZSTD_isError(r))
		return ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge ? -2 : -1;
	*in += i.pos;
	*len -= i.pos;
	*to += o.pos;
	*room -= o.pos;
	return r == 0;
}

static void zstd_end(struct decoder *d)
{
	ZSTD_freeDStream(d->zstd);
}

static const struct decoder decoders[] = {
	[CODEC_GZIP] = {.begin = gz_begin, .step = gz_step, .end = gz_end},
	[CODEC_BZIP2] = {.begin = bz_begin, .step = bz_step, .end = bz_end},
	[CODEC_XZ] = {.begin = xz_begin, .step = xz_step, .end = xz_end},
	[CODEC_ZSTD] = {.begin = zstd_begin, .step = zstd_step, .end = zstd_end},
};

/*
 * Decode one stream to the end of b, which may reach max bytes. 0; -1: damaged, -2: more than max, or wants too much
 * memory
 */
static int decode_stream(struct decoder *d, const uint8_t **in, size_t *len, size_t max, struct buf *b)
{
	for (;;) {
		/* one byte of room beyond max tells "exactly max" from "more" */
		size_t room = MIN(max - b->len, STEP - 1) + 1, left = room, before = *len;
		uint8_t *to = (uint8_t *)buf_reserve(b, room);
		int r = d->step(d, in, len, &to, &left);
		if (room - left > max - b->len)
			return -2;
		b->len += room - left;
		if (r != 0)
			return r < 0 ? r : 0;
		if (left == room && *len == before)
			return -1; /* no progress: the input ends inside the stream */
	}
}

static int decode_error(enum codec c, int r, struct err *e)
{
	if (r == -2)
		return err_set(e, -ERR_LIMIT, "%s: expands to more than the expected size or needs too much memory",
			       codec_name(c));
	return err_set(e, -ERR_FORMAT, "%s: the data is damaged or truncated", codec_name(c));
}

static int decode_streams(enum codec c, const uint8_t *in, size_t len, size_t max, struct buf *b, struct err *e)
{
	do {
		struct decoder d = decoders[c];
		int r = d.begin(&d);
		if (r < 0)
			return err_set(e, -ENOMEM, "%s: cannot start", codec_name(c));
		r = decode_stream(&d, &in, &len, max, b);
		d.end(&d);
		if (r < 0)
			return decode_error(c, r, e);
	} while (len > 0);
	return 0;
}

int decompress_mem(enum codec c, const void *in, size_t len, size_t max, struct buf *out, struct err *e)
{
	size_t before = out->len;
	int r = 0;

	if (c == CODEC_NONE) {
		if (len > max)
			return err_set(e, -ERR_LIMIT, "larger than %zu bytes", max);
		buf_add(out, in, len);
		return 0;
	}
	r = decode_streams(c, in, len, MIN(max, SIZE_MAX - before) + before, out, e);
	if (r < 0)
		out->len = before;
	if (out->data)
		out->data[out->len] = '\0';
	return r;
}

#define CHUNK 32768
#define AHEAD 4096 /* decoded at least: to ask a decoder for a few bytes costs more than they do */

struct decompressor {
	enum codec codec;
	struct decoder decoder;
	bool begun, ended;
	int fd;
	uint64_t at, left; /* of what is stored */
	const uint8_t *in; /* in chunk */
	size_t len;
	const uint8_t *next; /* in ahead */
	size_t ready;
	uint8_t chunk[CHUNK], ahead[AHEAD];
};

int decompress_open(enum codec c, size_t window, int fd, uint64_t at, uint64_t len, struct decompressor **out,
		    struct err *e)
{
	struct decompressor *d = xcalloc(1, sizeof(*d));

	d->codec = c;
	d->fd = fd;
	d->at = at;
	d->left = len;
	if (c != CODEC_NONE) {
		d->decoder = decoders[c];
		d->decoder.window = window;
		d->begun = d->decoder.begin(&d->decoder) >= 0;
		if (!d->begun) {
			decompress_close(d);
			return err_set(e, -ENOMEM, "%s: cannot start", codec_name(c));
		}
	}
	*out = d;
	return 0;
}

void decompress_close(struct decompressor *d)
{
	if (d && d->begun)
		d->decoder.end(&d->decoder);
	free(d);
}

static int refill(struct decompressor *d, struct err *e)
{
	int r = fs_read_at(d->fd, d->at, d->chunk, (size_t)MIN(d->left, (uint64_t)CHUNK), e);

	d->in = d->chunk;
	d->len = (size_t)MIN(d->left, (uint64_t)CHUNK);
	d->at += d->len;
	d->left -= d->len;
	return r;
}

static int step(struct decompressor *d, uint8_t **to, size_t *room)
{
	if (d->codec != CODEC_NONE)
		return d->decoder.step(&d->decoder, &d->in, &d->len, to, room);
	const size_t n = MIN(*room, d->len);
	memcpy(*to, d->in, n);
	d->in += n;
	d->len -= n;
	*to += n;
	*room -= n;
	return 0;
}

/* Some of room bytes at to, at least one after some calls. */
static int decode_some(struct decompressor *d, uint8_t **to, size_t *room, struct err *e)
{
	if (d->len == 0 && d->left > 0) {
		int r = refill(d, e);
		if (r < 0)
			return r;
	}
	const size_t before = *room, had = d->len;
	int r = d->ended ? -1 : step(d, to, room);
	if (r < 0)
		return decode_error(d->codec, r, e);
	d->ended = r == 1;
	if (*room == before && d->len == had && d->left == 0)
		return decode_error(d->codec, -1, e); /* the input ends inside the stream */
	return 0;
}

int decompress_read(struct decompressor *d, void *data, size_t len, struct err *e)
{
	uint8_t *to = data;
	int r = 0;

	while (r == 0 && len > 0) {
		if (d->ready > 0) {
			const size_t n = MIN(len, d->ready);
			memcpy(to, d->next, n);
			to += n;
			len -= n;
			d->next += n;
			d->ready -= n;
		} else if (len >= AHEAD) {
			r = decode_some(d, &to, &len, e);
		} else {
			uint8_t *end = d->ahead;
			size_t room = AHEAD;
			r = decode_some(d, &end, &room, e);
			d->next = d->ahead;
			d->ready = AHEAD - room;
		}
	}
	return r;
}
