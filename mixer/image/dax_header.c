/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/dax_header.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"

struct raw {
	char signature[16];
	uint8_t uuid[16], parent_uuid[16];
	uint32_t flags;
	uint16_t version_major, version_minor;
	uint64_t data_offset, npfns;
	uint32_t mode, start_pad, end_trunc, align;
	uint8_t zeros[4000];
	uint64_t checksum;
};
static_assert(sizeof(struct raw) == DAX_HEADER_BYTES && offsetof(struct raw, align) == 84 &&
		      offsetof(struct raw, checksum) == 4088,
	      "nd_pfn_sb has no gaps");

uint64_t fletcher64(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t low = 0;
	uint64_t high = 0;

	for (size_t i = 0; i + 4 <= len; i += 4) {
		low += le32_at(p + i);
		high += low;
	}
	return high << 32 | low;
}

static void fill(const struct dax_header *h, struct raw *out)
{
	*out = (struct raw){
		.signature = "NVDIMM_PFN_INFO",
		.version_minor = htole16(2),
		.data_offset = htole64(h->data_offset),
		.mode = htole32(h->mode),
		.align = htole32(h->align),
	};
	out->checksum = htole64(fletcher64(out, sizeof(*out)));
}

void dax_header_format(const struct dax_header *h, uint8_t out[DAX_HEADER_BYTES])
{
	struct raw raw;

	fill(h, &raw);
	memcpy(out, &raw, sizeof(raw));
}

int dax_header_parse(const uint8_t in[DAX_HEADER_BYTES], struct dax_header *out, struct err *e)
{
	struct raw raw, want;

	memcpy(&raw, in, sizeof(raw));
	const struct dax_header h = {
		.data_offset = le64toh(raw.data_offset), .mode = le32toh(raw.mode), .align = le32toh(raw.align)};
	fill(&h, &want);
	if (memcmp(raw.signature, want.signature, sizeof(raw.signature)) != 0)
		return err_set(e, -ERR_FORMAT, "it has no DAX header");
	if (memcmp(&raw, &want, offsetof(struct raw, checksum)) != 0)
		return err_set(e, -ERR_FORMAT, "its DAX header is not of this version");
	if (raw.checksum != want.checksum)
		return err_set(e, -ERR_DIGEST, "the checksum of its DAX header is wrong");
	*out = h;
	return 0;
}
