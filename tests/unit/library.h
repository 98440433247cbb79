/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;

/*
 * An x86-64 library, or a program with absolute addresses (fixed), as a linker lays it out: functions that call one
 * another and use data, tables of their addresses, relocations, symbols, unwind tables. What a function has depends
 * only on its number (below 1000); its place, and so all references to it, on the functions before it. 0 to 99 must be
 * among them: these are called.
 */
void library_make(const unsigned *functions, size_t n, bool fixed, struct buf *out);
