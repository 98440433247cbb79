/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "swupd/base/mem.h"

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

char *buf_reserve(struct buf *b, size_t more)
{
	if (b->cap - b->len < more + 1) {
		size_t cap = MAX(2 * b->cap, b->len + more + 1);
		b->data = xreallocarray(b->data, MAX(cap, (size_t)64), 1);
		b->cap = MAX(cap, (size_t)64);
	}
	return b->data + b->len;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	char *p = buf_reserve(b, len);

	if (len)
		memcpy(p, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_move(struct buf *to, struct buf *from)
{
	if (to->len > 0) {
		buf_add(to, from->data, from->len);
	} else {
		buf_free(to);
		*to = *from;
		*from = (struct buf){0};
	}
	buf_free(from);
}

void buf_puts(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int need = vsnprintf(NULL, 0, fmt, ap); /* NOLINT(clang-analyzer-valist.Uninitialized): our callers begin it */
	if (need > 0) {
		vsnprintf(buf_reserve(b, (size_t)need), (size_t)need + 1, fmt, again);
		b->len += (size_t)need;
	}
	va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void strv_free(struct strv *v)
{
	for (size_t i = 0; i < v->n; i++)
		free(v->items[i]);
	free(v->items);
	*v = (struct strv){0};
}

void strv_take(struct strv *v, char *s)
{
	VEC_GROW(v->items, v->n, v->cap);
	v->items[v->n++] = s;
}

void strv_add(struct strv *v, const char *s)
{
	strv_take(v, xstrdup(s));
}

bool strv_has(const struct strv *v, const char *s)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->items[i], s) == 0)
			return true;
	return false;
}

int text_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort_unique(struct strv *v)
{
	size_t kept = 0;

	if (v->n == 0)
		return;
	qsort(v->items, v->n, sizeof(*v->items), text_compare);
	for (size_t i = 1; i < v->n; i++) {
		if (strcmp(v->items[kept], v->items[i]) == 0)
			free(v->items[i]);
		else
			v->items[++kept] = v->items[i];
	}
	v->n = kept + 1;
}

void strv_split(struct strv *v, const char *s, const char *separators)
{
	for (s += strspn(s, separators); *s; s += strspn(s, separators)) {
		size_t len = strcspn(s, separators);
		strv_take(v, xstrndup(s, len));
		s += len;
	}
}

char *strv_join(const struct strv *v, const char *between)
{
	struct buf b = {0};

	buf_puts(&b, "");
	for (size_t i = 0; i < v->n; i++) {
		if (i)
			buf_puts(&b, between);
		buf_puts(&b, v->items[i]);
	}
	return b.data;
}

bool text_line(const char **pos, const char *end, const char **line, size_t *len, bool *complete)
{
	if (*pos >= end)
		return false;
	const char *nl = memchr(*pos, '\n', (size_t)(end - *pos));
	*line = *pos;
	*len = (size_t)((nl ? nl : end) - *pos);
	*pos = nl ? nl + 1 : end;
	if (complete)
		*complete = nl != NULL;
	return true;
}

bool text_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *s, const char *suffix)
{
	size_t a = strlen(s), b = strlen(suffix);

	return a >= b && strcmp(s + a - b, suffix) == 0;
}

char *text_trim(char *s)
{
	s += strspn(s, " \t\r\n");
	size_t len = strlen(s);
	while (len && strchr(" \t\r\n", s[len - 1]))
		s[--len] = '\0';
	return s;
}

int text_u64_n(const char *s, size_t len, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (len == 0)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(n, 10U, &n) || __builtin_add_overflow(n, (uint64_t)(s[i] - '0'), &n))
			return -ERANGE;
	}
	if (n < min || n > max)
		return -ERANGE;
	*out = n;
	return 0;
}

int text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	return text_u64_n(s, strlen(s), min, max, out);
}

int text_u32(const char *s, uint32_t min, uint32_t max, uint32_t *out)
{
	uint64_t n;
	int r = text_u64(s, min, max, &n);

	if (r == 0)
		*out = (uint32_t)n;
	return r;
}

int text_mode(const char *s, uint32_t *out)
{
	uint32_t mode = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '7' || mode > 0777)
			return -EINVAL;
		mode = mode * 8 + (uint32_t)(*s - '0');
	}
	*out = mode;
	return 0;
}

void text_hex(const void *data, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}

static int hex_value(char c)
{
	/* 1 more than the value: hashes are most of a manifest, and no CPU foresees whether a digit is a letter */
	static const uint8_t values[256] = {
		['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
		['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	};

	return values[(uint8_t)c] - 1;
}

int text_unhex(const char *hex, void *out, size_t n)
{
	uint8_t *p = out;

	for (size_t i = 0; i < n; i++) {
		int hi = hex_value(hex[2 * i]);
		int lo = hi < 0 ? -1 : hex_value(hex[2 * i + 1]);
		if (lo < 0)
			return -EINVAL;
		p[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

char *text_size(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double x = (double)bytes;
	size_t u = 0;

	while (x >= 1024 && u + 1 < ARRAY_LEN(units)) {
		x /= 1024;
		u++;
	}
	return u == 0 ? xasprintf("%llu B", (unsigned long long)bytes) : xasprintf("%.1f %s", x, units[u]);
}

char *text_time(int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	char out[64];

	/* fails only for years that do not fit into an int */
	if (!gmtime_r(&t, &tm) || strftime(out, sizeof(out), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		return xasprintf("second %lld", (long long)seconds);
	return xstrdup(out);
}
