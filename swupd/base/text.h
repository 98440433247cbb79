/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A buffer that grows. data[len] is always NUL once something was added; {0} is an empty one. */
struct buf {
	char *data;
	size_t len, cap;
};

void buf_free(struct buf *b); /* for _cleanup_(buf_free) */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_move(struct buf *to,
	      struct buf *from); /* adds what from has, which is empty then; copies nothing to an empty one */
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
char *buf_reserve(struct buf *b, size_t more); /* room for more bytes behind len; does not change len */

/* A list of owned strings; {0} is empty. */
struct strv {
	char **items;
	size_t n, cap;
};

void strv_free(struct strv *v);
void strv_add(struct strv *v, const char *s); /* copies */
void strv_take(struct strv *v, char *s);      /* takes */
bool strv_has(const struct strv *v, const char *s);
void strv_sort_unique(struct strv *v);                                  /* bytewise */
void strv_split(struct strv *v, const char *s, const char *separators); /* adds the non-empty parts */
char *strv_join(const struct strv *v, const char *between);             /* caller frees */

/*
 * Take the next line of [*pos, end): *line and *len are set without the '\n', *pos moves behind it. False at the end.
 * *complete (may be NULL) tells whether the line ended in '\n'.
 */
bool text_line(const char **pos, const char *end, const char **line, size_t *len, bool *complete);

bool text_starts(const char *s, const char *prefix);
bool text_ends(const char *s, const char *suffix);
char *text_trim(char *s); /* in place; returns the first non-blank */

/* Whole-string decimal numbers; -EINVAL, -ERANGE (also outside min..max). No sign, blank or rest is accepted. */
int text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);
int text_u32(const char *s, uint32_t min, uint32_t max, uint32_t *out);
int text_u64_n(const char *s, size_t len, uint64_t min, uint64_t max, uint64_t *out);
int text_mode(const char *s, uint32_t *out); /* octal digits, at most 07777 */

/* Lower-case hex. out has room for 2 * n + 1. text_unhex accepts exactly 2 * n lower-case digits: 0 or -EINVAL. */
void text_hex(const void *data, size_t n, char *out);
int text_unhex(const char *hex, void *out, size_t n);

/* "12.3 MiB"; caller frees. */
char *text_size(uint64_t bytes);

/* Seconds since 1970 as "2026-11-21 05:18:05 UTC"; caller frees. */
char *text_time(int64_t seconds);

/* qsort and bsearch on char *. */
int text_compare(const void *a, const void *b);
