/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/delta.h"

/* Larger ones are allowed, but only slow */
#define OLD_MAX (1UL << 20)
#define NEW_MAX (4UL << 20)

/* The input is a delta. Any old file will do, as long as it has the length that the header says. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_free) struct buf out = {0};
	struct delta_header h = {0};
	struct attrs attrs = {0};

	int parsed = delta_parse_header(data, size, &h, NULL);
	if (parsed == 0 && h.new_len > NEW_MAX)
		return 0;
	size_t old_len = parsed == 0 && h.old_len <= OLD_MAX ? h.old_len : 1;
	_cleanup_free_ uint8_t *old = xmalloc(old_len);
	for (size_t i = 0; i < old_len; i++)
		old[i] = (uint8_t)(i * i >> 3);
	int r = delta_apply(old, old_len, data, size, &attrs, &out, NULL);
	if (r == 0) {
		FUZZ_CHECK(parsed == 0 && out.len == h.new_len && attrs.size == h.new_len);
	} else {
		FUZZ_CHECK(r < 0 && out.len == 0 && attrs.size == 0);
	}
	return 0;
}
