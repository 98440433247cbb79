/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

/* Out of memory ends the program with status 34 and a line on stderr: it is the same as losing power. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
void *xmemdup(const void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/*
 * Scope releases: _cleanup_(manifest_freep) struct manifest *m = NULL; and hand over by take(m).
 * DEFINE_CLEANUP(struct manifest *, manifest_free) makes manifest_freep. errno is kept.
 */
#define _cleanup_(f) __attribute__((cleanup(f)))
#define DEFINE_CLEANUP(type, fn)                                                                                       \
	static inline void fn##p(type *p)                                                                              \
	{                                                                                                              \
		int saved = errno;                                                                                     \
		if (*p)                                                                                                \
			fn(*p);                                                                                        \
		errno = saved;                                                                                         \
	}                                                                                                              \
	struct allow_semicolon_
#define take(p)                                                                                                        \
	({                                                                                                             \
		__auto_type taken_ = (p);                                                                              \
		(p) = NULL;                                                                                            \
		taken_;                                                                                                \
	})

void freep(void *p);  /* p is the address of any pointer */
void closep(int *fd); /* closes if >= 0 */
#define _cleanup_free_  _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
int take_fd(int *fd); /* returns *fd and sets it to -1 */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* Make room for one more element behind n: VEC_GROW(v->items, v->n, v->cap); v->items[v->n++] = x; */
#define VEC_GROW(items, n, cap)                                                                                        \
	do {                                                                                                           \
		if ((n) == (cap)) {                                                                                    \
			(cap) = (cap) ? 2 * (cap) : 8;                                                                 \
			(items) = xreallocarray((items), (cap), sizeof(*(items)));                                     \
		}                                                                                                      \
	} while (0)

/* What dies together lives in one arena: allocations are aligned for any type and never freed one by one. */
struct arena;
struct arena *arena_new(void);
void arena_free(struct arena *a);
void *arena_alloc(struct arena *a, size_t size);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_strdup(struct arena *a, const char *s);
