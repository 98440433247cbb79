/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "swupd/content/digest.h"

struct err;

/*
 * Copy the file system that mkfs.btrfs has made in `in`, which begins at 0 there, to out at offset. Copied is what is in use: superblocks, nodes of trees and data;
 * what was written and replaced while it was made stays behind. What mkfs.btrfs takes from clock and chance becomes a function of seed: the UUID of the chunk
 * tree, those of subvolumes; and all times become time. The UUIDs of the file system and its device are options of mkfs.btrfs and stay.
 *
 * One device, profiles single and dup, checksums crc32c: what mkfs.btrfs makes by itself. -ERR_FORMAT: something else.
 */
int btrfs_copy(int in, int out, uint64_t offset, const struct digest *seed, int64_t time, struct err *e);
