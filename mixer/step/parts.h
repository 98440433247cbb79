/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swupd/content/digest.h"

struct err;
struct mix;
struct node;

/*
 * A pack is a sequence of independently compressed parts (pack.h). What a part holds is decided by its members alone, so a part of an older release with the same members
 * is found in <cache>/parts and copied: one changed file costs one part, not the whole pack.
 */
struct member {
	const struct node *node; /* an object; NULL: a delta */
	struct digest from, to;  /* of a delta */
	char *file;              /* of a delta: in the cache; owned */
	uint64_t size;           /* bytes of its content */
};

/*
 * Write pack name into dirfd from members[0..n), in this order; whole or not at all. Parts are made on all cores; memory: threads × (PART_LARGE, or the largest file) × 3.
 */
int parts_write_pack(const struct mix *m, int dirfd, const char *name, const struct member *members, size_t n,
		     struct err *e);

#define PART_TARGET                                                                                                    \
	(1UL << 20) /* mean bytes of content in a part: large enough to compress well, small enough to make again */
#define PART_LARGE (256UL << 10) /* a file from this size on is a part of its own */
