/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <zlib.h>

#include "swupd/base/mem.h"
#include "swupd/content/deflate_again.h"
#include "swupd/content/deflate_tokens.h"
#include "swupd/content/diff_deflated.h"

/* What can be taken apart is put together again to a stream of the same tokens; not always of the same bytes, as a length of 258 can be written in two ways. */
static void there_and_back(const uint8_t *data, size_t size)
{
	_cleanup_(deflate_tokens_clear) struct deflate_tokens t = {0}, again = {0};
	_cleanup_(buf_free) struct buf blocks = {0}, out = {0};

	if (deflate_tokens_read(data, size, &t, NULL) < 0)
		return;
	deflate_blocks_save(&t, data, &blocks);
	if (deflate_tokens_write(&t, &blocks, &out, NULL) < 0)
		return;
	FUZZ_CHECK(deflate_tokens_read((const uint8_t *)out.data, out.len, &again, NULL) == 0);
	FUZZ_CHECK(again.n == t.n && (t.n == 0 || memcmp(again.items, t.items, t.n * sizeof(*t.items)) == 0));
}

#define FILE_MAX (16UL << 10) /* a header may be anywhere in it, and be followed by as much as all of it can be */

/* Streams that are found in a file follow one another in it and expand again; one that zlib is said to make, it makes. */
static void find(const uint8_t *data, size_t size)
{
	_cleanup_(deflated_list_clear) struct deflated_list l = {0};
	_cleanup_(buf_free) struct buf form = {0}, again = {0};
	struct view file = VIEW_OF(data, size);
	uint64_t end = 0, at = 0;
	bool made = true;

	deflated_find(data, size, &l);
	for (size_t i = 0; i < l.n; i++) {
		FUZZ_CHECK(l.items[i].at >= end && l.items[i].packed <= size - l.items[i].at);
		end = l.items[i].at + l.items[i].packed;
	}
	FUZZ_CHECK(deflated_form(&file, &l, diff_collect, &form, NULL) == 0);
	FUZZ_CHECK(form.len == deflated_form_size(&l, size) && form.len <= deflated_form_max(size));
	for (size_t i = 0; i < l.n; i++) {
		struct deflated *d = &l.items[i];
		at += d->at - (i > 0 ? l.items[i - 1].at + l.items[i - 1].packed : 0);
		made &= deflated_find_way(d, data + d->at, (const uint8_t *)form.data + at);
		at += d->expanded;
	}
	if (!made)
		return;
	_cleanup_(repacker_freep) struct repacker *repacker = repacker_new(&l, diff_collect, &again);
	FUZZ_CHECK(repacker_write(repacker, form.data, form.len, NULL) == 0);
	FUZZ_CHECK(again.len == size && (size == 0 || memcmp(again.data, data, size) == 0));
}

/* What is made of the bytes, repeated by many rules, is what zlib makes. */
static void as_zlib(const uint8_t *data, size_t size)
{
	_cleanup_(deflater_freep) struct deflater *d = deflater_new();
	_cleanup_(buf_free) struct buf text = {0}, want = {0}, out = {0};
	z_stream z = {0};

	if (size < 8)
		return;
	const unsigned level = DEFLATE_AGAIN_LEVEL + data[0] % 6U, memory = 1 + data[1] % 9U, pieces = 1 + data[2];
	const size_t most = (1UL + data[3]) << 9;
	for (size_t i = 4; text.len < most; i = i + 1 < size ? i + 1 : 4) {
		const size_t back = 1 + (size_t)data[i] * data[4 + i % (size - 4)];
		if (data[i] % 4 == 0 && back <= text.len)
			for (unsigned n = data[i - 1]; n > 0; n--)
				buf_putc(&text, text.data[text.len - back]);
		else
			buf_putc(&text, (char)(data[i] + i));
	}
	FUZZ_CHECK(deflateInit2(&z, (int)level, Z_DEFLATED, -MAX_WBITS, (int)memory, Z_DEFAULT_STRATEGY) == Z_OK);
	z.next_in = (Bytef *)text.data;
	z.avail_in = (uInt)text.len;
	z.avail_out = (uInt)deflateBound(&z, text.len);
	z.next_out = (Bytef *)buf_reserve(&want, z.avail_out);
	FUZZ_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	want.len = z.total_out;
	deflateEnd(&z);
	deflater_begin(d, level, memory, &out, NULL);
	const uint8_t *p = (const uint8_t *)text.data;
	for (size_t at = 0, n; at < text.len; at += n) {
		n = MIN(text.len - at, text.len / pieces + 1);
		FUZZ_CHECK(deflater_write(d, p + at, n, at + n == text.len, NULL) == 0);
	}
	FUZZ_CHECK(out.len == want.len && memcmp(out.data, want.data, out.len) == 0);
}

/* The first byte says what the others are: blocks for some tokens, a stream, a file, or what is to be deflated. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t items[600];
	struct deflate_tokens t = {.items = items, .n = ARRAY_LEN(items)};
	_cleanup_(buf_free) struct buf blocks = {0}, out = {0};

	if (size < 1)
		return 0;
	if (data[0] % 4 == 1)
		there_and_back(data + 1, size - 1);
	if (data[0] % 4 == 2)
		find(data + 1, MIN(size - 1, FILE_MAX));
	if (data[0] % 4 == 3)
		as_zlib(data + 1, size - 1);
	if (data[0] % 4 != 0)
		return 0;
	for (uint32_t i = 0; i < t.n; i++)
		items[i] = i < 256 ? i : (3 + i % 256) << 16 | (1 + i * i % 32768);
	buf_add(&blocks, data + 1, size - 1);
	(void)deflate_tokens_write(&t, &blocks, &out, NULL);
	return 0;
}
