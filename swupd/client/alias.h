/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct err;
struct machine;
struct strv;

/*
 * Bundle aliases: files in etc/swupd/alias.d and usr/share/defaults/swupd/alias.d below the root, a line "alias\tbundle[\tbundle…]" each, '#' comments. A user's
 * file hides the system's of the same name; a user's definition of an alias wins over the system's, an earlier file's over a later one's, within a file the last.
 *
 * Add what name stands for to out: the bundles of its alias, or itself.
 */
int alias_expand(const struct machine *m, const char *name, struct strv *out, struct err *e);

/* One file's definition of name; 1: added to out, 0: it has none. */
int alias_parse(const char *text, size_t len, const char *name, struct strv *out);
