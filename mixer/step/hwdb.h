/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>

#include "swupd/base/mem.h"

struct buf;

/*
 * hwdb.bin, the compiled form of udev's hardware database (hwdb(7)). systemd-hwdb writes the place where it ran into it, so that no two builds would
 * give the same bytes. All numbers are little-endian, offsets are from the start of the file:
 *
 *     header     "KSLPHHRH" | tool version u64 | file size u64 | sizes of header, node, child, value u64 each | offset of the root node u64 |
 *                bytes of nodes u64 | bytes of strings u64
 *     nodes      a radix tree of the match patterns, children before their parents: offset of its prefix u64 | number of children u8, 7 bytes of 0 |
 *                number of values u64, then its children by letter: letter u8, 7 bytes of 0 | offset u64, then its values by key: offset of
 *                " KEY" u64 | of the value u64 | of the source's name u64 | line u32 | number of the source u16 | 0 u16
 *     strings    each with a NUL; the first is empty
 *
 * Of several values of a key the reader takes the one of the later source, then of the later line.
 */
struct hwdb;
struct hwdb *hwdb_new(void);
void hwdb_free(struct hwdb *h);
DEFINE_CLEANUP(struct hwdb *, hwdb_free);

/* Add a source; call in order of names. name: "/usr/lib/udev/hwdb.d/60-keyboard.hwdb". What hwdb(7) does not allow is left out, as systemd-hwdb does. */
void hwdb_add(struct hwdb *h, const char *name, const char *text, size_t len);

void hwdb_format(const struct hwdb *h, struct buf *out);
