/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/mbr.h"

#include <string.h>

#include "tests/unit/test.h"

#define MIB (UINT64_C(1) << 20)

static const struct mbr two = {.id = 0x12345678,
			       .partitions = {{MBR_LINUX, 3 * MIB, 197 * MIB}, {MBR_LINUX, 200 * MIB, 2 * MIB}}};

TEST(mbr_has_the_bytes_that_partition_programs_write)
{
	/* as sfdisk writes them */
	static const uint8_t id[] = {0x78, 0x56, 0x34, 0x12, 0, 0};
	/* sector 6144: cylinder 0, head 97, sector 34; sector 409599: 25/126/37 */
	static const uint8_t first[] = {0, 97, 34, 0, 0x83, 126, 37, 25, 0x00, 0x18, 0, 0, 0x00, 0x28, 0x06, 0};
	/* sector 409600: 25/126/38; sector 413695: 25/191/38 */
	static const uint8_t second[] = {0, 126, 38, 25, 0x83, 191, 38, 25, 0x00, 0x40, 0x06, 0, 0x00, 0x10, 0, 0};
	static const uint8_t zeros[440];
	struct err e = ERR_INIT;
	uint8_t out[MBR_BYTES];

	assert_ok(mbr_format(&two, out, &e), &e);
	assert_memory_equal(out, zeros, 440);
	assert_memory_equal(out + 440, id, sizeof(id));
	assert_memory_equal(out + 446, first, sizeof(first));
	assert_memory_equal(out + 462, second, sizeof(second));
	assert_memory_equal(out + 478, zeros, 32);
	assert_int_equal(out[510], 0x55);
	assert_int_equal(out[511], 0xaa);
}

TEST(mbr_is_read_as_it_was_written)
{
	struct err e = ERR_INIT;
	struct mbr m = {0};
	uint8_t out[MBR_BYTES];

	assert_ok(mbr_format(&two, out, &e), &e);
	assert_ok(mbr_parse(out, &m, &e), &e);
	assert_int_equal(m.id, two.id);
	for (unsigned i = 0; i < MBR_PARTITIONS; i++) {
		assert_int_equal(m.partitions[i].type, two.partitions[i].type);
		assert_int_equal(m.partitions[i].start, two.partitions[i].start);
		assert_int_equal(m.partitions[i].size, two.partitions[i].size);
	}
}

TEST(mbr_says_the_last_cylinder_of_what_lies_beyond)
{
	static const uint8_t beyond[] = {254, 255, 255};
	const struct mbr m = {.partitions = {{MBR_LINUX, MIB, 16384 * MIB}}};
	struct err e = ERR_INIT;
	uint8_t out[MBR_BYTES];

	assert_ok(mbr_format(&m, out, &e), &e);
	assert_memory_equal(out + 446 + 5, beyond, sizeof(beyond));
}

TEST(mbr_refuses_what_32_bits_cannot_say)
{
	struct mbr m = {.partitions = {{MBR_LINUX, MIB, (UINT64_C(2) << 40) - MIB}}};
	struct err e = ERR_INIT;
	uint8_t out[MBR_BYTES];

	assert_ok(mbr_format(&m, out, &e), &e);
	m.partitions[0].size += MBR_SECTOR;
	assert_fails(mbr_format(&m, out, &e), ERR_LIMIT, &e, "partition 1 ends beyond 2 TiB");
}

TEST(mbr_refuses_what_is_no_label)
{
	struct err e = ERR_INIT;
	struct mbr m;
	uint8_t out[MBR_BYTES];

	assert_ok(mbr_format(&two, out, &e), &e);
	out[511] = 0;
	assert_fails(mbr_parse(out, &m, &e), ERR_FORMAT, &e, "no disk label");
	out[511] = 0xaa;
	out[462 + 9] = 0x30; /* the second begins in the first */
	assert_fails(mbr_parse(out, &m, &e), ERR_FORMAT, &e, "partitions 1 and 2 overlap");
	memset(out + 446 + 8, 0, 4);
	assert_fails(mbr_parse(out, &m, &e), ERR_FORMAT, &e, "partition 1 makes no sense");
}
