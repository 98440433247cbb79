/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;

/*
 * The disk that Kata Containers and other VM runtimes give to a guest, either as a block device or as persistent memory:
 *
 *     0          label: partition 1 is the root, partition 2 its hash tree (only with verity)
 *     4096       DAX header: a persistent memory device begins at 2 MiB
 *     2 MiB      label of that device: the same partitions, counted from here
 *     3 MiB      the root's file system
 *     …          the hash tree
 *
 * Without the DAX header there is one label, and the root begins at 1 MiB: for block devices only. Both labels come from one struct, so they cannot disagree.
 */
struct kata_layout {
	uint64_t size;         /* of the whole, a multiple of 2 MiB: what a persistent memory device is mapped in */
	uint64_t device_start; /* where a persistent memory device begins; 0: there is no DAX header */
	uint64_t root_start, root_size;
	uint64_t hash_start, hash_size; /* 0: no verity */
	uint32_t disk_id;
};

/* filesystem: bytes of it. The root's partition is at least that long. */
void kata_layout_make(uint64_t filesystem, bool dax_header, bool verity, uint32_t disk_id, struct kata_layout *out);

/* Write labels and header into fd, which gets its size. */
int kata_layout_write(const struct kata_layout *l, int fd, struct err *e);

/* Read an image back. -ERR_FORMAT: it is none, or its labels disagree; -ERR_DIGEST: the header's checksum is wrong. */
int kata_layout_read(int fd, struct kata_layout *out, struct err *e);
