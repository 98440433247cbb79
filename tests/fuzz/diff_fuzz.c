/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/content/diff.h"

static uint32_t number(const uint8_t **p, const uint8_t *end, size_t bytes)
{
	uint32_t v = 0;

	for (; bytes > 0 && *p < end; bytes--)
		v = v << 8 | *(*p)++;
	return v;
}

static int count(void *arg, const void *data __attribute__((unused)), size_t len, struct err *e __attribute__((unused)))
{
	*(size_t *)arg += len;
	return 0;
}

/* The input is the new length (3 bytes), and for each stream its length (2 bytes) and bytes; what remains is the old file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(diff_streams_clear) struct diff_streams s = {0};
	struct diff_cursor c = {.streams = &s};
	const struct diff_source in = {.read = diff_cursor_read, .arg = &c};
	const uint8_t *end = data + size;
	size_t made = 0;

	uint32_t new_len = number(&data, end, 3);
	for (size_t i = 0; i < DIFF_STREAMS; i++) {
		size_t len = number(&data, end, 2);
		len = MIN(len, (size_t)(end - data));
		buf_add(&s.s[i], data, len);
		data += len;
	}
	/* of its exact size, so that a sanitizer notices the byte behind */
	_cleanup_free_ uint8_t *old = xmemdup(data, (size_t)(end - data));
	struct view base = VIEW_OF(old, (size_t)(end - data));
	int r = diff_apply(&base, new_len, &in, -1, count, &made, NULL);
	FUZZ_CHECK(made <= new_len && (r < 0 || made == new_len));
	return 0;
}
