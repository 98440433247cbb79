/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/statement.h"

#include <openssl/evp.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"

#define BLOCK_LINE  64 /* characters of base64, as PEM has them */
#define BLOCK_BYTES 48 /* that they hold */

static int bad(const struct statement *s, struct err *e, const char *expected)
{
	return err_set(e, -ERR_FORMAT, "line %u is not %s", s->line, expected);
}

static bool at(const struct statement *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return (size_t)(s->end - s->pos) >= n && memcmp(s->pos, prefix, n) == 0;
}

static void skip(struct statement *s, size_t n)
{
	for (; n > 0; n--)
		s->line += *s->pos++ == '\n';
}

/* Is the next line this one? Then step behind it. */
static bool take_line(struct statement *s, const char *line)
{
	size_t n = strlen(line);

	if (!at(s, line) || s->pos + n == s->end || s->pos[n] != '\n')
		return false;
	skip(s, n + 1);
	return true;
}

int statement_open(struct statement *s, const char *text, size_t len, const char *magic, struct err *e)
{
	*s = (struct statement){.pos = text, .end = text + len, .line = 1};
	if (len > SMALL_TEXT_MAX)
		return err_set(e, -ERR_LIMIT, "larger than %lu bytes", SMALL_TEXT_MAX);
	if (take_line(s, magic))
		return 0;
	_cleanup_free_ char *shown = xasprintf("'%s'", magic);
	for (char *p = shown; *p; p++)
		if (*p == '\t')
			*p = ' ';
	return bad(s, e, shown);
}

bool statement_at(const struct statement *s, const char *key)
{
	size_t n = strlen(key);

	return at(s, key) && (size_t)(s->end - s->pos) > n + 1 && s->pos[n] == ':' && s->pos[n + 1] == '\t';
}

/* The value of the next line, which must have this key. The cursor stays before the line: an error shall name it. */
static int value_of(const struct statement *s, const char *key, const char **value, size_t *len, struct err *e)
{
	const char *nl = memchr(s->pos, '\n', (size_t)(s->end - s->pos));

	if (!nl || !statement_at(s, key)) {
		(void)err_set(e, -ERR_FORMAT, "line %u is not '%s:'", s->line, key);
		return -ERR_FORMAT;
	}
	*value = s->pos + strlen(key) + 2;
	*len = (size_t)(nl - *value);
	return 0;
}

static int parse_number(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *out)
{
	return len > 1 && *text == '0' ? -EINVAL : text_u64_n(text, len, min, max, out);
}

int statement_number(struct statement *s, const char *key, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
{
	const char *value = NULL;
	uint64_t n = 0;
	size_t len = 0;

	int r = value_of(s, key, &value, &len, e);
	if (r < 0)
		return r;
	if (parse_number(value, len, min, max, &n) < 0)
		return err_set(e, -ERR_FORMAT, "line %u: '%s:' is not a number from %llu to %llu", s->line, key,
			       (unsigned long long)min, (unsigned long long)max);
	skip(s, (size_t)(value - s->pos) + len + 1);
	*out = n;
	return 0;
}

int statement_numbers(struct statement *s, const char *key, uint64_t *out, size_t n, struct err *e)
{
	const char *value = NULL;
	size_t len = 0;

	int r = value_of(s, key, &value, &len, e);
	if (r < 0)
		return r;
	const char *pos = value, *const end = value + len;
	for (size_t i = 0; i < n; i++) {
		const char *blank = i + 1 < n ? memchr(pos, ' ', (size_t)(end - pos)) : end;
		if (!blank || parse_number(pos, (size_t)(blank - pos), 0, UINT64_MAX, &out[i]) < 0)
			return err_set(e, -ERR_FORMAT, "line %u: '%s:' is not %zu numbers", s->line, key, n);
		pos = blank + 1;
	}
	skip(s, (size_t)(value - s->pos) + len + 1);
	return 0;
}

int statement_u32(struct statement *s, const char *key, uint32_t min, uint32_t *out, struct err *e)
{
	uint64_t n = 0;
	int r = statement_number(s, key, min, UINT32_MAX, &n, e);

	if (r == 0)
		*out = (uint32_t)n;
	return r;
}

int statement_digest(struct statement *s, const char *key, struct digest *out, struct err *e)
{
	const char *value = NULL;
	size_t len = 0;

	int r = value_of(s, key, &value, &len, e);
	if (r < 0)
		return r;
	if (len != DIGEST_HEX - 1 || digest_parse(value, out) < 0)
		return err_set(e, -ERR_FORMAT, "line %u: '%s:' is not 64 hex digits", s->line, key);
	skip(s, (size_t)(value - s->pos) + len + 1);
	return 0;
}

int statement_blank(struct statement *s, struct err *e)
{
	return take_line(s, "") ? 0 : bad(s, e, "empty");
}

int statement_end(struct statement *s, struct err *e)
{
	return s->pos == s->end ? 0 : bad(s, e, "the end of the file");
}

void statement_add_block(struct buf *out, const char *label, const void *der, size_t len)
{
	const unsigned char *p = der;

	buf_printf(out, "-----BEGIN %s-----\n", label);
	while (len > 0) {
		size_t n = MIN(len, (size_t)BLOCK_BYTES);
		int chars = EVP_EncodeBlock((unsigned char *)buf_reserve(out, BLOCK_LINE + 1), p, (int)n);
		out->len += (size_t)chars;
		buf_putc(out, '\n');
		p += n;
		len -= n;
	}
	buf_printf(out, "-----END %s-----\n", label);
}

bool statement_at_block(const struct statement *s, const char *label)
{
	_cleanup_free_ char *begin = xasprintf("-----BEGIN %s-----\n", label);

	return at(s, begin);
}

/* Add one line of base64 to der. 1: a full one, 0: a shorter one, so the last. */
static int decode_line(const char *line, size_t len, struct buf *der)
{
	if (len == 0 || len > BLOCK_LINE || len % 4 != 0)
		return -EINVAL;
	int n = EVP_DecodeBlock((unsigned char *)buf_reserve(der, BLOCK_BYTES), (const unsigned char *)line, (int)len);
	if (n < 0)
		return -EINVAL;
	/* it counts padding as bytes */
	for (const char *p = line + len; p > line + len - 2 && p[-1] == '='; p--)
		n--;
	der->len += (size_t)n;
	der->data[der->len] = '\0';
	return n == BLOCK_BYTES;
}

int statement_block(struct statement *s, const char *label, struct buf *der, struct err *e)
{
	_cleanup_free_ char *begin = xasprintf("-----BEGIN %s-----", label);
	_cleanup_free_ char *end = xasprintf("-----END %s-----", label);
	_cleanup_(buf_free) struct buf decoded = {0}, again = {0};
	const char *start = s->pos;
	int more = 1;

	if (!take_line(s, begin))
		return bad(s, e, begin);
	while (!take_line(s, end)) {
		const char *nl = memchr(s->pos, '\n', (size_t)(s->end - s->pos));
		if (!nl || more != 1)
			return bad(s, e, end);
		more = decode_line(s->pos, (size_t)(nl - s->pos), &decoded);
		if (more < 0)
			return bad(s, e, "base64 of a block");
		skip(s, (size_t)(nl - s->pos) + 1);
	}
	/* the decoder forgives some (blanks, bits behind the end): one text for one meaning, so write it and compare */
	statement_add_block(&again, label, decoded.data, decoded.len);
	if (again.len != (size_t)(s->pos - start) || memcmp(again.data, start, again.len) != 0)
		return err_set(e, -ERR_FORMAT, "the block before line %u is not base64 in its usual form", s->line);
	if (decoded.len == 0)
		return err_set(e, -ERR_FORMAT, "the block before line %u is empty", s->line);
	buf_add(der, decoded.data, decoded.len);
	return 0;
}
