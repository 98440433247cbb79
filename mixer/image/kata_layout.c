/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/image/dax_header.h"
#include "mixer/image/image.h"
#include "mixer/image/kata.h"
#include "mixer/image/mbr.h"
#include "mixer/image/verity.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"

#define MIB       (1UL << 20)
#define HUGE_PAGE (2 * MIB)
#define IN_DEVICE MIB /* where the root begins, in what a label describes */

static uint64_t up(uint64_t n, uint64_t multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

void kata_layout_make(uint64_t filesystem, bool dax_header, bool verity, uint32_t disk_id, struct kata_layout *out)
{
	struct kata_layout l = {.device_start = dax_header ? HUGE_PAGE : 0, .disk_id = disk_id};

	l.root_start = l.device_start + IN_DEVICE;
	l.root_size = up(filesystem, MIB);
	if (verity) {
		l.hash_start = l.root_start + l.root_size;
		l.size = up(l.hash_start + verity_tree_bytes(l.root_size / VERITY_BLOCK), HUGE_PAGE);
		l.hash_size = l.size - l.hash_start;
	} else {
		/* Kata's last partition ends with the disk */
		l.size = up(l.root_start + l.root_size, HUGE_PAGE);
		l.root_size = l.size - l.root_start;
	}
	*out = l;
}

/* --- write ---------------------------------------------------------------------------------------------------------------- */

static int write_label(const struct kata_layout *l, uint64_t at, int fd, struct err *e)
{
	struct mbr m = {.id = l->disk_id};
	uint8_t bytes[MBR_BYTES];

	m.partitions[0] = (struct mbr_partition){MBR_LINUX, l->root_start - at, l->root_size};
	if (l->hash_size)
		m.partitions[1] = (struct mbr_partition){MBR_LINUX, l->hash_start - at, l->hash_size};
	int r = mbr_format(&m, bytes, e);
	return r < 0 ? r : fs_write_at(fd, at, bytes, sizeof(bytes), e);
}

int kata_layout_write(const struct kata_layout *l, int fd, struct err *e)
{
	const struct dax_header h = {.data_offset = l->device_start, .mode = DAX_MODE_RAM, .align = HUGE_PAGE};
	uint8_t bytes[DAX_HEADER_BYTES];

	if (ftruncate(fd, (off_t)l->size) < 0)
		return err_errno(e, "set the size");
	int r = write_label(l, 0, fd, e);
	if (r < 0 || !l->device_start)
		return r;
	dax_header_format(&h, bytes);
	r = fs_write_at(fd, DAX_HEADER_AT, bytes, sizeof(bytes), e);
	return r < 0 ? r : write_label(l, l->device_start, fd, e);
}

/* --- read ----------------------------------------------------------------------------------------------------------------- */

static int read_at(int fd, uint64_t at, void *out, size_t len, struct err *e)
{
	ssize_t n = pread(fd, out, len, (off_t)at);

	if (n < 0)
		return err_errno(e, "read");
	return (size_t)n == len ? 0 : err_set(e, -ERR_FORMAT, "it is too short");
}

/* Only the places of the partitions, their sizes and the identifier */
static int read_label(int fd, uint64_t at, struct kata_layout *out, struct err *e)
{
	uint8_t bytes[MBR_BYTES];
	struct mbr m;

	int r = read_at(fd, at, bytes, sizeof(bytes), e);
	if (r >= 0)
		r = mbr_parse(bytes, &m, e);
	if (r < 0)
		return r;
	const struct mbr_partition *root = &m.partitions[0], *hash = &m.partitions[1];
	if (root->type != MBR_LINUX || (hash->type && hash->type != MBR_LINUX) || m.partitions[2].type ||
	    m.partitions[3].type)
		return err_set(e, -ERR_FORMAT, "it has other partitions than a root and its hash tree");
	out->disk_id = m.id;
	out->root_start = at + root->start;
	out->root_size = root->size;
	out->hash_start = hash->type ? at + hash->start : 0;
	out->hash_size = hash->size;
	return 0;
}

static bool same_places(const struct kata_layout *a, const struct kata_layout *b)
{
	return a->disk_id == b->disk_id && a->root_start == b->root_start && a->root_size == b->root_size &&
	       a->hash_start == b->hash_start && a->hash_size == b->hash_size;
}

/* With a DAX header, device_start and the second label */
static int read_dax(int fd, struct kata_layout *l, struct err *e)
{
	uint8_t bytes[DAX_HEADER_BYTES];
	struct kata_layout device = {0};
	struct dax_header h;

	int r = read_at(fd, DAX_HEADER_AT, bytes, sizeof(bytes), e);
	if (r >= 0)
		r = dax_header_parse(bytes, &h, e);
	if (r < 0)
		return r;
	if (h.mode != DAX_MODE_RAM || h.align != HUGE_PAGE || h.data_offset != HUGE_PAGE)
		return err_set(e, -ERR_FORMAT, "its DAX header says other things than Kata's");
	l->device_start = h.data_offset;
	r = read_label(fd, l->device_start, &device, e);
	if (r < 0)
		return err_in(e, r, "the second label");
	return same_places(l, &device) ? 0 : err_set(e, -ERR_FORMAT, "its two labels disagree");
}

int kata_layout_read(int fd, struct kata_layout *out, struct err *e)
{
	struct kata_layout l = {0};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, "stat");
	l.size = (uint64_t)st.st_size;
	int r = read_label(fd, 0, &l, e);
	if (r >= 0 && l.root_start != IN_DEVICE)
		r = read_dax(fd, &l, e);
	if (r < 0)
		return r;
	const uint64_t end = l.hash_size ? l.hash_start + l.hash_size : l.root_start + l.root_size;
	if (l.size % HUGE_PAGE != 0 || end != l.size || l.root_start != l.device_start + IN_DEVICE)
		return err_set(e, -ERR_FORMAT, "its partitions do not lie where Kata has them");
	*out = l;
	return 0;
}
