/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct buf;

/* LEB128: seven bits a byte, the lowest first; the highest bit of a byte says that another follows. */
void varint_add(struct buf *out, uint64_t v);

/* Reads from *at on, which it moves behind the number; end: of the data. -ERR_FORMAT: cut short, or over 64 bits. */
int varint_read(const uint8_t **at, const uint8_t *end, uint64_t *out);
