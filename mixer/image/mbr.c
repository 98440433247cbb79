/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/mbr.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"

#define ID_AT         440
#define PARTITIONS_AT 446
#define SIGNATURE_AT  510
#define SECTORS_MAX   (UINT32_MAX + UINT64_C(1)) /* sector numbers have 32 bits */
/* the geometry that everybody pretends disks to have */
#define HEADS   UINT64_C(255)
#define SECTORS UINT64_C(63)

struct raw {
	uint8_t flag, first_chs[3], type, last_chs[3];
	uint32_t start, sectors;
} __attribute__((packed));

static void put_chs(uint64_t sector, uint8_t out[3])
{
	uint64_t cylinder = sector / (HEADS * SECTORS);
	uint32_t head = (uint32_t)(sector / SECTORS % HEADS), in_track = (uint32_t)(sector % SECTORS) + 1;

	/* what lies beyond what can be said is said to be at its end */
	if (cylinder > 1023) {
		cylinder = 1023;
		head = HEADS - 1;
		in_track = SECTORS;
	}
	out[0] = (uint8_t)head;
	out[1] = (uint8_t)(in_track | (uint32_t)(cylinder >> 8) << 6);
	out[2] = (uint8_t)cylinder;
}

int mbr_format(const struct mbr *m, uint8_t out[MBR_BYTES], struct err *e)
{
	memset(out, 0, MBR_BYTES);
	le32_put(out + ID_AT, m->id);
	for (unsigned i = 0; i < MBR_PARTITIONS; i++) {
		const struct mbr_partition *p = &m->partitions[i];
		const uint64_t start = p->start / MBR_SECTOR, sectors = p->size / MBR_SECTOR;
		if (p->type == 0)
			continue;
		if (start + sectors > SECTORS_MAX || sectors > UINT32_MAX)
			return err_set(e, -ERR_LIMIT, "partition %u ends beyond 2 TiB", i + 1);
		struct raw raw = {
			.type = p->type, .start = htole32((uint32_t)start), .sectors = htole32((uint32_t)sectors)};
		put_chs(start, raw.first_chs);
		put_chs(start + sectors - 1, raw.last_chs);
		memcpy(out + PARTITIONS_AT + i * sizeof(raw), &raw, sizeof(raw));
	}
	out[SIGNATURE_AT] = 0x55;
	out[SIGNATURE_AT + 1] = 0xaa;
	return 0;
}

static bool overlap(const struct mbr_partition *a, const struct mbr_partition *b)
{
	return a->type && b->type && a->start < b->start + b->size && b->start < a->start + a->size;
}

int mbr_parse(const uint8_t in[MBR_BYTES], struct mbr *out, struct err *e)
{
	struct mbr m = {0};

	if (in[SIGNATURE_AT] != 0x55 || in[SIGNATURE_AT + 1] != 0xaa)
		return err_set(e, -ERR_FORMAT, "it has no disk label");
	m.id = le32_at(in + ID_AT);
	for (unsigned i = 0; i < MBR_PARTITIONS; i++) {
		struct raw raw;
		memcpy(&raw, in + PARTITIONS_AT + i * sizeof(raw), sizeof(raw));
		if (raw.type == 0)
			continue;
		m.partitions[i] = (struct mbr_partition){.type = raw.type,
							 .start = (uint64_t)le32toh(raw.start) * MBR_SECTOR,
							 .size = (uint64_t)le32toh(raw.sectors) * MBR_SECTOR};
		if (m.partitions[i].start == 0 || m.partitions[i].size == 0)
			return err_set(e, -ERR_FORMAT, "partition %u makes no sense", i + 1);
		for (unsigned k = 0; k < i; k++)
			if (overlap(&m.partitions[i], &m.partitions[k]))
				return err_set(e, -ERR_FORMAT, "partitions %u and %u overlap", k + 1, i + 1);
	}
	*out = m;
	return 0;
}
