/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/difference.h"

#include <fcntl.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/varint.h"
#include "tests/unit/edits.h"
#include "tests/unit/test.h"

#define PART_MAX (64UL << 10)

int difference_collect(void *buf, const void *data, size_t len, struct err *e)
{
	assert_in_range(len, 1, PART_MAX);
	return diff_collect(buf, data, len, e);
}

int difference_apply(const struct buf *old, size_t new_len, const struct diff_streams *s, struct buf *out,
		     struct diff_cursor *c, struct err *e)
{
	*c = (struct diff_cursor){.streams = s};
	const struct diff_source in = {.read = diff_cursor_read, .arg = c};

	/* of its exact size, so that a sanitizer notices the byte behind */
	_cleanup_free_ void *exact = xmemdup(old->data ? old->data : "", old->len);
	struct view base = VIEW_OF(exact, old->len);
	return diff_apply(&base, new_len, &in, -1, difference_collect, out, e);
}

size_t difference_damage(const struct buf *old, size_t new_len, struct diff_streams *s, int rounds, bool control,
			 uint32_t *seed)
{
	size_t refused = 0;

	for (int round = 0; round < rounds; round++) {
		_cleanup_(buf_free) struct buf out = {0};
		struct diff_cursor c;
		struct buf *b = &s->s[control && round % 2 ? DIFF_CONTROL : edits_random(seed) % DIFF_STREAMS];
		if (b->len == 0)
			continue;
		const size_t at = edits_random(seed) % b->len;
		const char was = b->data[at];
		b->data[at] = (char)edits_random(seed);
		const int r = difference_apply(old, new_len, s, &out, &c, NULL);
		if (r < 0)
			refused++;
		else
			assert_int_equal(out.len, new_len);
		assert_true(out.len <= new_len);
		b->data[at] = was;
	}
	return refused;
}

void difference_load(const char *path, struct diff_streams *out)
{
	_cleanup_(buf_free) struct buf golden = {0};
	struct err e = ERR_INIT;
	uint64_t lengths[DIFF_STREAMS];

	assert_ok(fs_load(AT_FDCWD, path, 1UL << 20, &golden, &e), &e);
	const uint8_t *at = (const uint8_t *)golden.data, *end = at + golden.len;
	for (size_t i = 0; i < DIFF_STREAMS; i++)
		assert_int_equal(varint_read(&at, end, &lengths[i]), 0);
	for (size_t i = 0; i < DIFF_STREAMS; at += lengths[i++])
		buf_add(&out->s[i], at, lengths[i]);
	assert_ptr_equal(at, end);
}
