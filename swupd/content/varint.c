/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/varint.h"

#include "swupd/base/err.h"
#include "swupd/base/text.h"

void varint_add(struct buf *out, uint64_t v)
{
	while (v >= 0x80) {
		buf_putc(out, (char)(v | 0x80));
		v >>= 7;
	}
	buf_putc(out, (char)v);
}

int varint_read(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
		const uint64_t bits = **at & 0x7f;
		const bool last = *(*at)++ < 0x80;
		if (bits << shift >> shift != bits)
			return -ERR_FORMAT;
		v |= bits << shift;
		if (last) {
			*out = v;
			return 0;
		}
	}
	return -ERR_FORMAT;
}
