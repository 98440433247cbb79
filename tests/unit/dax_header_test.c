/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/dax_header.h"

#include <endian.h>
#include <string.h>

#include "swupd/content/digest.h"
#include "tests/unit/test.h"

static const struct dax_header kata = {.data_offset = 2097152, .mode = DAX_MODE_RAM, .align = 2097152};

static uint64_t number(const uint8_t *p, size_t len)
{
	uint64_t n = 0;

	memcpy(&n, p, len);
	return le64toh(n);
}

TEST(dax_header_has_every_field_where_the_kernel_reads_it)
{
	static const uint8_t zeros[4000];
	uint8_t out[DAX_HEADER_BYTES];

	dax_header_format(&kata, out);
	assert_memory_equal(out, "NVDIMM_PFN_INFO", 16);
	assert_memory_equal(out + 16, zeros, 16);       /* uuid */
	assert_memory_equal(out + 32, zeros, 16);       /* parent_uuid */
	assert_int_equal(number(out + 48, 4), 0);       /* flags */
	assert_int_equal(number(out + 52, 2), 0);       /* version_major */
	assert_int_equal(number(out + 54, 2), 2);       /* version_minor */
	assert_int_equal(number(out + 56, 8), 2097152); /* dataoff */
	assert_int_equal(number(out + 64, 8), 0);       /* npfns */
	assert_int_equal(number(out + 72, 4), 1);       /* mode */
	assert_int_equal(number(out + 76, 4), 0);       /* start_pad */
	assert_int_equal(number(out + 80, 4), 0);       /* end_trunc */
	assert_int_equal(number(out + 84, 4), 2097152); /* align */
	assert_memory_equal(out + 88, zeros, 4000);
	assert_int_equal(number(out + 4088, 8), UINT64_C(0x685b032be3943830)); /* as another program has reckoned it */
}

TEST(dax_header_is_these_bytes)
{
	uint8_t out[DAX_HEADER_BYTES];
	char hex[DIGEST_HEX];
	struct digest d;

	dax_header_format(&kata, out);
	sha256_mem(out, sizeof(out), &d);
	digest_format(&d, hex);
	assert_string_equal(hex, "b502df4b37a7b6ba1f3c93416b77768a9f6df41ce2ec7fe46804180ca2191553");
}

TEST(fletcher64_sums_words_and_their_sums)
{
	static const uint8_t words[] = {1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};

	assert_int_equal(fletcher64(words, 0), 0);
	assert_int_equal(fletcher64(words, 4), UINT64_C(1) << 32 | 1);
	assert_int_equal(fletcher64(words, 8), UINT64_C(4) << 32 | 3);
	/* the low half wraps */
	assert_int_equal(fletcher64(words, 12), UINT64_C(6) << 32 | 2);
}

TEST(dax_header_is_read_as_it_was_written)
{
	struct err e = ERR_INIT;
	struct dax_header h = {0};
	uint8_t out[DAX_HEADER_BYTES];

	dax_header_format(&kata, out);
	assert_ok(dax_header_parse(out, &h, &e), &e);
	assert_int_equal(h.data_offset, kata.data_offset);
	assert_int_equal(h.mode, kata.mode);
	assert_int_equal(h.align, kata.align);
}

TEST(dax_header_refuses_what_is_none)
{
	struct err e = ERR_INIT;
	struct dax_header h;
	uint8_t out[DAX_HEADER_BYTES] = {0};

	assert_fails(dax_header_parse(out, &h, &e), ERR_FORMAT, &e, "no DAX header");
	dax_header_format(&kata, out);
	out[54] = 4;
	assert_fails(dax_header_parse(out, &h, &e), ERR_FORMAT, &e, "not of this version");
	out[54] = 2;
	out[4090] ^= 1;
	assert_fails(dax_header_parse(out, &h, &e), ERR_DIGEST, &e, "checksum");
}
