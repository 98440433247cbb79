/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct strv;

/*
 * Add the names of source files that the line tables of ELF files below the directory root, or of their debug information, have below the directory prefix
 * ("/usr/src/debug/x-1"): relative to it, without "." and "..", sorted, each once. A file that is no ELF or has no line tables has none. -ERR_FORMAT: they are damaged.
 */
int debug_sources_below(int root, const char *prefix, struct strv *out, struct err *e);
