/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct store;
struct tree;

/*
 * A content() directory of a bundle as a tree: everything belongs to root; files are 0755 when their owner may execute them, else 0644; setuid, setgid
 * and sticky bits are kept. Files named .gitkeep only keep a directory in git and are left out. -ERR_PATH: something outside of /usr (links in the root
 * are allowed), or a name that cannot be content; -ERR_FORMAT: a device or the like. bundle: for origins and messages.
 */
int content_tree_load(const char *dir, const char *bundle, struct store *s, struct tree *out, struct err *e);
