/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/edits.h"

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

uint32_t edits_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

void edits_noise(struct buf *b, size_t n, unsigned letters, uint32_t *seed)
{
	while (n-- > 0)
		buf_putc(b, (char)(edits_random(seed) % letters));
}

void edits_edit(struct buf *b, unsigned letters, uint32_t *seed)
{
	_cleanup_(buf_free) struct buf was = *b;
	size_t at = edits_random(seed) % (was.len + 1), n = edits_random(seed) % (MIN(was.len - at, (size_t)400) + 1);
	size_t from = edits_random(seed) % (was.len - n + 1);

	*b = (struct buf){0};
	buf_add(b, was.data, at);
	switch (edits_random(seed) % 6) {
	case 0: /* insert */
		edits_noise(b, n, letters, seed);
		buf_add(b, was.data + at, was.len - at);
		break;
	case 1: /* delete */
		buf_add(b, was.data + at + n, was.len - at - n);
		break;
	case 2: /* copy from elsewhere */
		buf_add(b, was.data + from, n);
		buf_add(b, was.data + at, was.len - at);
		break;
	case 3: /* replace */
		edits_noise(b, n, letters, seed);
		buf_add(b, was.data + at + n, was.len - at - n);
		break;
	case 4: /* addresses that moved */
		buf_add(b, was.data + at, was.len - at);
		for (size_t i = at; i + 1 < at + n; i += 1 + edits_random(seed) % 16)
			b->data[i] = (char)(b->data[i] + 1);
		break;
	default: /* turn around */
		buf_add(b, was.data + at + n, was.len - at - n);
		buf_add(b, was.data + at, n);
		break;
	}
}
