/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mixer/step/job.h"
#include "swupd/content/fullfile.h"

struct err;
struct mix;

/*
 * A pack is a sequence of independently compressed parts (pack.h). What a part holds is decided by its members alone, so a part of an older release with the same members
 * is found in <cache>/parts and copied: one changed file costs one part, not the whole pack.
 */
struct pack_content {
	char *name;             /* of the file; owned */
	struct member *members; /* each object and delta once, in the order of the pack; owned */
	size_t n;
};

/*
 * Write these packs into dirfd; each is whole or not there. The parts of all of them are jobs
 * (job.h), each different one once.
 */
int parts_write_packs(const struct mix *m, int dirfd, const struct pack_content *packs, size_t n, struct err *e);
void pack_contents_free(struct pack_content *packs, size_t n);

#define PART_TARGET                                                                                                    \
	(1UL << 20) /* mean bytes of content in a part: large enough to compress well, small enough to make again */
#define PART_LARGE                                                                                                     \
	FULLFILE_LARGE /* a file from this size on is a part of its own, and has its content from the fullfile */
