/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct buf;

/* Files that are the same for the same seed, which moves on. */
uint32_t edits_random(uint32_t *seed); /* 24 bits */
void edits_noise(struct buf *b, size_t n, unsigned letters, uint32_t *seed);
void edits_edit(struct buf *b, unsigned letters, uint32_t *seed); /* one of the things that happen to files */
