/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/content/deflate_tokens.h"

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

/* The first byte says what the others are: a stream, or blocks for some tokens. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t items[600];
	struct deflate_tokens t = {.items = items, .n = ARRAY_LEN(items)};
	_cleanup_(buf_free) struct buf blocks = {0}, out = {0};

	if (size < 1)
		return 0;
	if (data[0] % 2) {
		there_and_back(data + 1, size - 1);
		return 0;
	}
	for (uint32_t i = 0; i < t.n; i++)
		items[i] = i < 256 ? i : (3 + i % 256) << 16 | (1 + i * i % 32768);
	buf_add(&blocks, data + 1, size - 1);
	(void)deflate_tokens_write(&t, &blocks, &out, NULL);
	return 0;
}
