/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct store;
struct tree;

/*
 * Read the files of a .deb (deb(5)) in one pass: their content goes into the store, everything else into *out, as the package has it but with absolute
 * names. origin: the package's name, for nodes and messages. Hard links become equal files; extended attributes and times are not taken.
 * No script of it is looked at. -ERR_FORMAT: damaged, truncated, with devices or FIFOs, or with owners other than Debian's fixed ones; -ERR_PATH: a name that cannot be content.
 */
int deb_unpack(int fd, const char *origin, struct store *s, struct tree **out, struct err *e);
