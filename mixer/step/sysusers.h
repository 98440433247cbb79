/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct buf;
struct err;
struct lock;
struct store;
struct tree;

/*
 * Give every user and group that a file in /usr/lib/sysusers.d of t declares without a number ("-") its number from the lock, so that it is the same on
 * every machine and in every release. The nodes of t change; the rest of their texts does not.
 */
int sysusers_pin(struct tree *t, struct lock *l, struct store *s, struct err *e);

/* One text; for tests. The caller frees *out. 1: something was given a number. */
int sysusers_pin_text(const char *text, size_t len, struct lock *l, struct buf *out, struct err *e);
