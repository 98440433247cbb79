/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct buf;
struct err;

enum codec { CODEC_NONE, CODEC_GZIP, CODEC_BZIP2, CODEC_XZ, CODEC_ZSTD };

/* "none", "gzip", "bzip2", "xz", "zstd" ↔ codec; -EINVAL for another name. */
const char *codec_name(enum codec c);
int codec_parse(const char *name, enum codec *out);

/* By the first bytes; CODEC_NONE when none of the others. */
enum codec codec_detect(const void *data, size_t len);

/*
 * Compress into one stream (added to out), the same bytes for the same input on any machine: no names, no times.
 * level: of the codec; 0 its usual best (gzip 9, bzip2 9, xz 9 | extreme with CRC32, zstd 19).
 */
int compress_mem(enum codec c, int level, const void *in, size_t len, struct buf *out, struct err *e);

/* Bytes of memory that it takes at most, besides in and out. */
uint64_t compress_memory(enum codec c, int level, uint64_t len);

/*
 * xz (as level 9: of differences, extreme is a quarter of the work more and no byte less) for data that comes in units of 1, 2, 4 or 8 bytes; text, code and the like are 4.
 * dictionary: at most so many bytes, which each reader needs in memory.
 */
int compress_xz(unsigned unit, size_t dictionary, const void *in, size_t len, struct buf *out, struct err *e);

/* zstd, level as above, that looks back at most dictionary bytes, a power of two: what each reader needs in memory. */
int compress_zstd(int level, size_t dictionary, const void *in, size_t len, struct buf *out, struct err *e);

/*
 * The same for what comes piece by piece, however it is cut, and goes as it is made: 82 MiB of memory, or what the dictionary takes. The bytes are not those of compress_zstd.
 */
typedef int compress_write_fn(void *arg, const void *data, size_t len, struct err *e);
struct compressor;
int compressor_open(size_t dictionary, compress_write_fn *write, void *arg, struct compressor **out, struct err *e);
int compressor_write(struct compressor *c, const void *data, size_t len, struct err *e);
int compressor_end(struct compressor *c, struct err *e); /* nothing comes any more */
void compressor_free(struct compressor *c);
DEFINE_CLEANUP(struct compressor *, compressor_free);

/*
 * Decompress all streams of in, one after the other (added to out). -ERR_LIMIT: more than max bytes come out (max
 * bounds memory). -ERR_FORMAT: damaged, or something follows the last stream. What needs over 80 MiB to decode (xz), or
 * looks back over 64 MiB (zstd), is -ERR_LIMIT.
 */
int decompress_mem(enum codec c, const void *in, size_t len, size_t max, struct buf *out, struct err *e);

/*
 * The same piece by piece, from len stored bytes at offset at of a file (lent until close), in little memory: 40 KiB, and of xz and zstd window, a power of two, and 512 KiB. What
 * looks back further is -ERR_LIMIT. decompress_read gives exactly len bytes, or -ERR_FORMAT (damaged, or less is there), -ERR_LIMIT, or what reading the file says.
 */
struct decompressor;
int decompress_open(enum codec c, size_t window, int fd, uint64_t at, uint64_t len, struct decompressor **out,
		    struct err *e);
int decompress_read(struct decompressor *d, void *data, size_t len, struct err *e);
void decompress_close(struct decompressor *d);
DEFINE_CLEANUP(struct decompressor *, decompress_close);
