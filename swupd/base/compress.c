/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/compress.h"

#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define ZLIB_GZIP 16 /* window bits + 16: gzip wrapper (zlib.h, deflateInit2) */

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

static int xz_mem(int level, unsigned unit, size_t dictionary, const void *in, size_t len, struct buf *out,
		  struct err *e)
{
	/* level 9's decoder wants 65 MiB, which every reader takes */
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
	options.dict_size = (uint32_t)MAX(MIN(MIN(len, dictionary), options.dict_size), LZMA_DICT_SIZE_MIN);
	lzma_ret r = lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, in, len,
					       (uint8_t *)buf_reserve(out, bound), &pos, bound);
	if (r != LZMA_OK)
		return err_set(e, -EIO, "xz: cannot compress (%d)", (int)r);
	out->len += pos;
	return 0;
}

#define ZSTD_LEVEL     19
#define ZSTD_LEVEL_MAX 22 /* alone it would look back over more than the 64 MiB that readers take (decompress.c) */

/* dictionary: 0, the level's own */
static int zstd_mem(int level, size_t dictionary, const void *in, size_t len, struct buf *out, struct err *e)
{
	const size_t bound = ZSTD_compressBound(len);
	char *to = buf_reserve(out, bound);
	ZSTD_CCtx *c = ZSTD_createCCtx();

	if (!c)
		return err_set(e, -ENOMEM, "zstd");
	size_t n = ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level ? level : ZSTD_LEVEL);
	if (level == ZSTD_LEVEL_MAX && !dictionary)
		dictionary = 64UL << 20;
	if (!ZSTD_isError(n) && dictionary)
		n = ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, __builtin_ctzl(dictionary));
	if (!ZSTD_isError(n))
		n = ZSTD_compress2(c, to, bound, in, len);
	ZSTD_freeCCtx(c);
	if (ZSTD_isError(n))
		return err_set(e, -EIO, "zstd: %s", ZSTD_getErrorName(n));
	out->len += n;
	return 0;
}

int compress_zstd(int level, size_t dictionary, const void *in, size_t len, struct buf *out, struct err *e)
{
	int r = zstd_mem(level, dictionary, in, len, out, e);

	if (r == 0)
		out->data[out->len] = '\0';
	return r;
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
		r = xz_mem(level, 4, SIZE_MAX, in, len, out, e);
		break;
	case CODEC_ZSTD:
		r = zstd_mem(level, 0, in, len, out, e);
		break;
	}
	if (r == 0 && out->data)
		out->data[out->len] = '\0';
	return r;
}

/* As the libraries' own estimates say (ZSTD_estimateCCtxSize, lzma_raw_encoder_memusage): up to the window so many bytes for one of input */
uint64_t compress_memory(enum codec c, int level, uint64_t len)
{
	switch (c) {
	case CODEC_NONE:
		return 0;
	case CODEC_GZIP:
	case CODEC_BZIP2:
		return 8UL << 20;
	case CODEC_XZ:
		return MIN((2UL << 20) + 12 * len, 680UL << 20);
	case CODEC_ZSTD:
		break;
	}
	return MIN((1UL << 20) + 18 * len, (level > 19 ? 650UL : 82UL) << 20);
}

int compress_xz(unsigned unit, size_t dictionary, const void *in, size_t len, struct buf *out, struct err *e)
{
	int r = xz_mem(9, unit, dictionary, in, len, out, e);

	if (r == 0)
		out->data[out->len] = '\0';
	return r;
}

#define CHUNK (128UL << 10)

struct compressor {
	ZSTD_CCtx *zstd;
	compress_write_fn *write;
	void *arg;
	char chunk[CHUNK];
};

int compressor_open(size_t dictionary, compress_write_fn *write, void *arg, struct compressor **out, struct err *e)
{
	struct compressor *c = xcalloc(1, sizeof(*c));
	size_t n = 0;

	c->write = write;
	c->arg = arg;
	c->zstd = ZSTD_createCCtx();
	if (c->zstd)
		n = ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	if (c->zstd && !ZSTD_isError(n))
		n = ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_windowLog, __builtin_ctzl(dictionary));
	if (!c->zstd || ZSTD_isError(n)) {
		compressor_free(c);
		return err_set(e, -ENOMEM, "zstd: cannot start");
	}
	*out = c;
	return 0;
}

static int feed(struct compressor *c, const void *data, size_t len, ZSTD_EndDirective end, struct err *e)
{
	ZSTD_inBuffer in = {data, len, 0};
	size_t left;
	int r = 0;

	do {
		ZSTD_outBuffer out = {c->chunk, CHUNK, 0};
		left = ZSTD_compressStream2(c->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return err_set(e, -EIO, "zstd: %s", ZSTD_getErrorName(left));
		if (out.pos > 0)
			r = c->write(c->arg, c->chunk, out.pos, e);
	} while (r >= 0 && (end == ZSTD_e_end ? left > 0 : in.pos < in.size));
	return r;
}

int compressor_write(struct compressor *c, const void *data, size_t len, struct err *e)
{
	return feed(c, data, len, ZSTD_e_continue, e);
}

int compressor_end(struct compressor *c, struct err *e)
{
	return feed(c, NULL, 0, ZSTD_e_end, e);
}

void compressor_free(struct compressor *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->zstd);
	free(c);
}
