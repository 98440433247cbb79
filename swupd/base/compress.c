/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/compress.h"

#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* the predecessor's reader has this limit (spec/swupd-format.md section 6.2), so nobody may publish more */
#define XZ_MEMORY_MAX (80ULL << 20)
#define ZLIB_GZIP     16 /* window bits + 16: gzip wrapper (zlib.h, deflateInit2) */
#define STEP          (256UL * 1024)

static const char *const names[] = {"none", "gzip", "bzip2", "xz", "zstd"};

const char *codec_name(enum codec c)
{
	return names[c];
}

int codec_parse(const char *name, enum codec *out)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0) {
			*out = (enum codec)i;
			return 0;
		}
	return -EINVAL;
}

enum codec codec_detect(const void *data, size_t len)
{
	static const struct {
		enum codec codec;
		size_t len;
		const char *magic;
	} magics[] = {
		{CODEC_GZIP, 3, "\x1f\x8b\x08"},
		{CODEC_BZIP2, 3, "BZh"},
		{CODEC_XZ, 6,
		 "\xfd"
		 "7zXZ\0"},
		{CODEC_ZSTD, 4, "\x28\xb5\x2f\xfd"},
	};

	for (size_t i = 0; i < ARRAY_LEN(magics); i++)
		if (len >= magics[i].len && memcmp(data, magics[i].magic, magics[i].len) == 0)
			return magics[i].codec;
	return CODEC_NONE;
}

static int gzip_mem(int level, const void *in, size_t len, struct buf *out, struct err *e)
{
	z_stream z = {0};

	if (len > UINT32_MAX / 2)
		return err_set(e, -ERR_LIMIT, "gzip: more than 2 GiB");
	if (deflateInit2(&z, level ? level : 9, Z_DEFLATED, MAX_WBITS + ZLIB_GZIP, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return err_set(e, -ENOMEM, "gzip: cannot start");
	uLong bound = deflateBound(&z, len);
	z.next_in = (Bytef *)in;
	z.avail_in = (uInt)len;
	z.next_out = (Bytef *)buf_reserve(out, bound);
	z.avail_out = (uInt)bound;
	int r = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	if (r != Z_STREAM_END)
		return err_set(e, -EIO, "gzip: cannot compress (%d)", r);
	out->len += bound - z.avail_out;
	return 0;
}

static int bzip2_mem(int level, const void *in, size_t len, struct buf *out, struct err *e)
{
	if (len > UINT32_MAX / 2)
		return err_set(e, -ERR_LIMIT, "bzip2: more than 2 GiB");
	unsigned bound = (unsigned)(len + len / 100 + 601); /* as bzlib.h asks for */
	char *from = len ? (char *)in : (char[1]){0};       /* it takes no NULL */
	int r = BZ2_bzBuffToBuffCompress(buf_reserve(out, bound), &bound, from, (unsigned)len, level ? level : 9, 0, 0);
	if (r != BZ_OK)
		return err_set(e, -EIO, "bzip2: cannot compress (%d)", r);
	out->len += bound;
	return 0;
}

static int xz_mem(int level, unsigned unit, const void *in, size_t len, struct buf *out, struct err *e)
{
	/* level 9's decoder wants 65 MiB, so it is within XZ_MEMORY_MAX */
	uint32_t preset = level ? (uint32_t)level : 9 | LZMA_PRESET_EXTREME;
	size_t bound = lzma_stream_buffer_bound(len), pos = 0;
	lzma_options_lzma options;
	lzma_filter filters[] = {{.id = LZMA_FILTER_LZMA2, .options = &options}, {.id = LZMA_VLI_UNKNOWN}};

	if (lzma_lzma_preset(&options, preset))
		return err_set(e, -EINVAL, "xz: no level %d", level);
	if (unit != 4) {
		/*
		 * pb and lp: how many bits of the position matter; 4 bytes are the preset's pb 2 and lp 0. lc + lp is
		 * at most 4
		 */
		options.pb = (uint32_t)__builtin_ctz(unit);
		options.lp = options.pb;
		options.lc = LZMA_LC_DEFAULT - options.lp;
	}
	/* a dictionary larger than the input only costs memory: ten times its size here, its size in each reader */
	options.dict_size = (uint32_t)MAX(MIN(len, options.dict_size), LZMA_DICT_SIZE_MIN);
	lzma_ret r = lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, in, len,
					       (uint8_t *)buf_reserve(out, bound), &pos, bound);
	if (r != LZMA_OK)
		return err_set(e, -EIO, "xz: cannot compress (%d)", (int)r);
	out->len += pos;
	return 0;
}

static int zstd_mem(int level, const void *in, size_t len, struct buf *out, struct err *e)
{
	size_t bound = ZSTD_compressBound(len);
	size_t n = ZSTD_compress(buf_reserve(out, bound), bound, in, len, level ? level : 19);

	if (ZSTD_isError(n))
		return err_set(e, -EIO, "zstd: %s", ZSTD_getErrorName(n));
	out->len += n;
	return 0;
}

int compress_mem(enum codec c, int level, const void *in, size_t len, struct buf *out, struct err *e)
{
	int r = 0;

	switch (c) {
	case CODEC_NONE:
		buf_add(out, in, len);
		break;
	case CODEC_GZIP:
		r = gzip_mem(level, in, len, out, e);
		break;
	case CODEC_BZIP2:
		r = bzip2_mem(level, in, len, out, e);
		break;
	case CODEC_XZ:
		r = xz_mem(level, 4, in, len, out, e);
		break;
	case CODEC_ZSTD:
		r = zstd_mem(level, in, len, out, e);
		break;
	}
	if (r == 0 && out->data)
		out->data[out->len] = '\0';
	return r;
}

int compress_xz_units(unsigned unit, const void *in, size_t len, struct buf *out, struct err *e)
{
	int r = xz_mem(0, unit, in, len, out, e);

	if (r == 0)
		out->data[out->len] = '\0';
	return r;
}

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
	return lzma_stream_decoder(&d->xz, XZ_MEMORY_MAX, 0) == LZMA_OK ? 0 : -1;
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
	/* levels up to 22 use at most 27 (128 MiB); our writer stays below (level 19: 8 MiB) */
	ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, 27);
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

static int decode_streams(enum codec c, const uint8_t *in, size_t len, size_t max, struct buf *b, struct err *e)
{
	do {
		struct decoder d = decoders[c];
		int r = d.begin(&d);
		if (r < 0)
			return err_set(e, -ENOMEM, "%s: cannot start", names[c]);
		r = decode_stream(&d, &in, &len, max, b);
		d.end(&d);
		if (r == -2)
			return err_set(e, -ERR_LIMIT,
				       "%s: expands to more than the expected size or needs too much memory", names[c]);
		if (r < 0)
			return err_set(e, -ERR_FORMAT, "%s: the data is damaged or truncated", names[c]);
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
