/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct err;

/*
 * The label of PC disks ("msdos"): one sector, numbers little endian.
 *
 *     0    440  boot code: none, nothing of ours is started by a BIOS
 *     440    4  identifier of the disk: a partition's PARTUUID is <these 8 hex digits>-<number, 2 digits>
 *     446 4×16  partitions: flag (80: active), first sector as cylinder/head/sector (3 bytes), type, last one likewise, first sector, sectors (4 bytes each)
 *     510    2  55 aa
 */
#define MBR_BYTES      512
#define MBR_SECTOR     512U
#define MBR_PARTITIONS 4
#define MBR_LINUX      0x83

struct mbr {
	uint32_t id;
	struct mbr_partition {
		uint8_t type;         /* 0: there is none */
		uint64_t start, size; /* bytes from the sector of the label, multiples of MBR_SECTOR */
	} partitions[MBR_PARTITIONS];
};

/* -ERR_LIMIT: a partition ends beyond 2 TiB. */
int mbr_format(const struct mbr *m, uint8_t out[MBR_BYTES], struct err *e);

/* -ERR_FORMAT: it is no label, or partitions overlap each other or the label. */
int mbr_parse(const uint8_t in[MBR_BYTES], struct mbr *out, struct err *e);
