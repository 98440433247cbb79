/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/json.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "swupd/base/text.h"

/* Length of the UTF-8 sequence at s, 0 if it is none (overlong forms and surrogates included). */
static size_t utf8_length(const uint8_t *s)
{
	if (s[0] < 0x80)
		return 1;
	size_t n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void json_string(struct buf *b, const char *s)
{
	const uint8_t *p = (const uint8_t *)s;

	buf_putc(b, '"');
	while (*p) {
		size_t n = utf8_length(p);
		if (n == 0) {
			buf_puts(b, "\\ufffd");
			p++;
		} else if (*p == '"' || *p == '\\') {
			buf_printf(b, "\\%c", *p++);
		} else if (*p < 0x20) {
			buf_printf(b, "\\u%04x", *p++);
		} else {
			buf_add(b, p, n);
			p += n;
		}
	}
	buf_putc(b, '"');
}
