/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct err;
struct mix;
struct tree;

/* Trees in the mix's cache, each under a key that says what it was made of: a path, as "made/<hex>". Their content is in the store. */

/* NULL: it is not there, has more than max bytes as text, or the store has not all of its content any more. */
struct tree *cached_tree_load(const struct mix *m, const char *key, size_t max);
int cached_tree_save(const struct mix *m, const char *key, const struct tree *t, struct err *e);
