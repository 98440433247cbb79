/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>

#include "swupd/base/mem.h"

/* A hash table from byte strings to pointers. Neither keys nor values are copied: they must live as long as the table. */
struct table;

struct table *table_new(void);
void table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free);

/* The value under key, or NULL. */
void *table_find(const struct table *t, const void *key, size_t key_len);
void *table_find_str(const struct table *t, const char *key);

/* Put value (not NULL) under key. Returns the value that was there before (it stays), or NULL when it was added. */
void *table_add(struct table *t, const void *key, size_t key_len, void *value);
void *table_add_str(struct table *t, const char *key, void *value);

/* The same, but replaces; returns what was there, or NULL. */
void *table_set_str(struct table *t, const char *key, void *value);

size_t table_count(const struct table *t);
