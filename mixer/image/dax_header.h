/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct err;

/*
 * What makes the kernel map a persistent memory device with struct pages, so that file systems on it can be mounted with DAX: struct nd_pfn_sb of Linux'
 * drivers/nvdimm/pfn.h, at 4096 of the device. What the device is to have begins at data_offset. Numbers are little endian.
 *
 *     0     16  "NVDIMM_PFN_INFO\0"
 *     16    16  uuid, zeros          32    16  parent_uuid: of the namespace; without labels it has none: zeros
 *     48     4  flags, 0             52     4  version 0.2: two numbers
 *     56     8  data_offset          64     8  npfns, 0: the kernel counts itself
 *     72     4  mode                 76     4  start_pad, 0
 *     80     4  end_trunc, 0         84     4  align
 *     88  4000  zeros                4088   8  checksum: fletcher64 of all 4096 with zeros here
 */
#define DAX_HEADER_AT    4096
#define DAX_HEADER_BYTES 4096

/* struct pages in the guest's memory: what lies before data_offset is too small for them. */
#define DAX_MODE_RAM 1

struct dax_header {
	uint64_t data_offset; /* bytes, a multiple of align */
	uint32_t mode, align;
};

void dax_header_format(const struct dax_header *h, uint8_t out[DAX_HEADER_BYTES]);

/* -ERR_FORMAT: it is none, or not one of ours: what is always the same has another value. -ERR_DIGEST: its checksum is wrong. */
int dax_header_parse(const uint8_t in[DAX_HEADER_BYTES], struct dax_header *out, struct err *e);

/* len is a multiple of 4. */
uint64_t fletcher64(const void *data, size_t len);
