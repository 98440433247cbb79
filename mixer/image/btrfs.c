/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/btrfs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/image/image.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/le.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

/* Names and numbers are those of include/uapi/linux/btrfs_tree.h; all of the disk is little endian. */

#define SUPER_BYTES       4096UL
#define SUPER_AT          (64UL << 10)
#define SUPER_SECOND      (64UL << 20) /* a third one would lie at 256 GiB */
#define SUPER_MAGIC_AT    64
#define SUPER_MAGIC       "_BHRfS_M"
#define SUPER_GENERATION  72
#define SUPER_ROOT        80
#define SUPER_CHUNK_ROOT  88
#define SUPER_LOG_ROOT    96
#define SUPER_BYTENR      48
#define SUPER_TOTAL       112
#define SUPER_DEVICES     136
#define SUPER_NODESIZE    148
#define SUPER_ARRAY_SIZE  160
#define SUPER_CSUM_TYPE   196
#define SUPER_ARRAY       811
#define SUPER_ARRAY_MAX   2048
#define SUPER_BACKUPS     2859
#define BACKUPS           4
#define BACKUP_BYTES      168
#define BACKUP_GENERATION 8

#define NODE_BYTENR     48
#define NODE_CHUNK_TREE 64
#define NODE_ITEMS      96
#define NODE_LEVEL      100
#define NODE_HEADER     101
#define NODE_MIN        4096U
#define NODE_MAX        65536U
#define LEVEL_MAX       8
#define CSUM_BYTES      32 /* the place of a checksum; crc32c is the first 4 */

#define KEY_BYTES       17
#define ITEM_BYTES      25 /* key, offset, size */
#define POINTER_BYTES   33 /* key, block, generation */
#define ITEM_INODE      1
#define ITEM_ROOT       132
#define ITEM_DEV_EXTENT 204
#define ITEM_CHUNK      228
#define ITEM_UUID       251

#define INODE_BYTES  160
#define INODE_TIMES  112 /* access, change, modification, birth */
#define TIME_BYTES   12
#define ROOT_BYTENR  176
#define ROOT_UUID    247
#define ROOT_CTIME   327
#define ROOT_OTIME   339
#define ROOT_MIN     439
#define UUID_BYTES   16
#define EXTENT_UUID  32
#define EXTENT_BYTES 48

#define CHUNK_DATA    1
#define CHUNK_DUP     0x20
#define CHUNK_PROFILE 0x7f8 /* the bits that say how copies lie; none: single */
#define CHUNK_HEADER  48
#define STRIPE_BYTES  32
#define STRIPES_MAX   2

#define COPY_CHUNK (64UL << 10)

struct chunk {
	uint64_t logical, size, type;
	unsigned n_stripes;
	uint64_t stripes[STRIPES_MAX]; /* on the device */
};

struct uuid_pair {
	uint8_t old[UUID_BYTES], new[UUID_BYTES];
};

struct copy {
	int in, out;
	uint64_t offset;
	const struct digest *seed;
	int64_t time;
	uint64_t size; /* of the device */
	uint32_t nodesize;
	uint8_t chunk_tree[UUID_BYTES];
	struct chunk *chunks;
	size_t n_chunks, cap_chunks;
	struct uuid_pair *uuids; /* of subvolumes */
	size_t n_uuids, cap_uuids;
	uint64_t *trees; /* their root nodes */
	size_t n_trees, cap_trees;
	uint32_t crc[256];
};

static void copy_clear(struct copy *c)
{
	free(c->chunks);
	free(c->uuids);
	free(c->trees);
}

static void put_time(uint8_t *p, int64_t time)
{
	memset(p, 0, TIME_BYTES);
	le64_put(p, (uint64_t)time);
}

static int bad(struct err *e)
{
	return err_set(e, -ERR_FORMAT, "it is no btrfs as mkfs.btrfs makes it");
}

/* --- checksums, identifiers ----------------------------------------------------------------------------------------------- */

static void crc_init(uint32_t table[256])
{
	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (unsigned bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78 : 0);
	}
}

/* Of what follows its place at the beginning of a node or superblock */
static uint32_t checksum(const struct copy *c, const uint8_t *p, size_t len)
{
	uint32_t crc = ~0U;

	for (size_t i = CSUM_BYTES; i < len; i++)
		crc = crc >> 8 ^ c->crc[(crc ^ p[i]) & 0xff];
	return ~crc;
}

static void put_checksum(const struct copy *c, uint8_t *p, size_t len)
{
	const uint32_t crc = checksum(c, p, len);

	memset(p, 0, CSUM_BYTES);
	le32_put(p, crc);
}

static void make_uuid(const struct copy *c, const char *what, uint64_t number, uint8_t out[UUID_BYTES])
{
	_cleanup_(buf_free) struct buf b = {0};
	struct digest d;

	buf_add(&b, c->seed->bytes, sizeof(c->seed->bytes));
	buf_printf(&b, "%s %llu", what, (unsigned long long)number);
	sha256_mem(b.data, b.len, &d);
	d.bytes[6] = (uint8_t)(0x80 | (d.bytes[6] & 0x0f));
	d.bytes[8] = (uint8_t)(0x80 | (d.bytes[8] & 0x3f));
	memcpy(out, d.bytes, UUID_BYTES);
}

/* --- addresses ------------------------------------------------------------------------------------------------------------ */

/* Take a chunk's item (or one of the superblock's); max: bytes that are there. Returns its length. */
static int add_chunk(struct copy *c, uint64_t logical, const uint8_t *p, size_t max, struct err *e)
{
	struct chunk x = {.logical = logical};

	if (max < CHUNK_HEADER)
		return bad(e);
	x.size = le64_at(p);
	x.type = le64_at(p + 24);
	x.n_stripes = le16_at(p + 44);
	const size_t len = CHUNK_HEADER + (size_t)x.n_stripes * STRIPE_BYTES;
	const unsigned want = x.type & CHUNK_PROFILE ? 2 : 1;
	if ((x.type & CHUNK_PROFILE & ~(uint64_t)CHUNK_DUP) || x.n_stripes != want || len > max)
		return bad(e);
	for (size_t i = 0; i < x.n_stripes; i++) {
		x.stripes[i] = le64_at(p + CHUNK_HEADER + i * STRIPE_BYTES + 8);
		if (x.stripes[i] > c->size || x.size > c->size - x.stripes[i])
			return bad(e);
	}
	for (size_t i = 0; i < c->n_chunks; i++)
		if (c->chunks[i].logical == logical)
			return (int)len; /* the superblock had it already */
	VEC_GROW(c->chunks, c->n_chunks, c->cap_chunks);
	c->chunks[c->n_chunks++] = x;
	return (int)len;
}

static const struct chunk *find_chunk(const struct copy *c, uint64_t logical, uint64_t len)
{
	for (size_t i = 0; i < c->n_chunks; i++) {
		const struct chunk *x = &c->chunks[i];
		if (logical >= x->logical && logical - x->logical <= x->size && len <= x->size - (logical - x->logical))
			return x;
	}
	return NULL;
}

static int read_at(const struct copy *c, uint64_t at, void *out, size_t len, struct err *e)
{
	ssize_t n = pread(c->in, out, len, (off_t)at);

	if (n < 0)
		return err_errno(e, "read");
	return (size_t)n == len ? 0 : bad(e);
}

/* --- nodes ---------------------------------------------------------------------------------------------------------------- */

static int read_node(const struct copy *c, uint64_t logical, uint8_t *node, struct err *e)
{
	const struct chunk *x = find_chunk(c, logical, c->nodesize);

	if (!x)
		return bad(e);
	int r = read_at(c, x->stripes[0] + (logical - x->logical), node, c->nodesize, e);
	if (r < 0)
		return r;
	const uint32_t items = le32_at(node + NODE_ITEMS);
	const uint64_t each = node[NODE_LEVEL] ? POINTER_BYTES : ITEM_BYTES;
	if (le64_at(node + NODE_BYTENR) != logical || le32_at(node) != checksum(c, node, c->nodesize) ||
	    NODE_HEADER + items * each > c->nodesize)
		return bad(e);
	return 0;
}

/* What a node has had before is still there between its items and their data. */
static void clear_rest(const struct copy *c, uint8_t *node)
{
	const uint32_t n = le32_at(node + NODE_ITEMS);
	size_t from = NODE_HEADER + (size_t)n * (node[NODE_LEVEL] ? POINTER_BYTES : ITEM_BYTES), to = c->nodesize;

	for (uint32_t i = 0; !node[NODE_LEVEL] && i < n; i++)
		to = MIN(to, NODE_HEADER + (size_t)le32_at(node + NODE_HEADER + (size_t)i * ITEM_BYTES + KEY_BYTES));
	if (from < to)
		memset(node + from, 0, to - from);
}

static int write_node(const struct copy *c, uint64_t logical, uint8_t *node, struct err *e)
{
	const struct chunk *x = find_chunk(c, logical, c->nodesize);
	int r = 0;

	clear_rest(c, node);
	memcpy(node + NODE_CHUNK_TREE, c->chunk_tree, UUID_BYTES);
	put_checksum(c, node, c->nodesize);
	for (unsigned i = 0; r >= 0 && i < x->n_stripes; i++)
		r = fs_write_at(c->out, c->offset + x->stripes[i] + (logical - x->logical), node, c->nodesize, e);
	return r;
}

struct item {
	uint8_t *key, *data;
	uint64_t objectid, key_offset;
	uint8_t type;
	uint32_t size;
};

static int get_item(const struct copy *c, uint8_t *node, uint32_t i, struct item *out, struct err *e)
{
	uint8_t *p = node + NODE_HEADER + (size_t)i * ITEM_BYTES;
	const uint64_t at = NODE_HEADER + (uint64_t)le32_at(p + KEY_BYTES);

	*out = (struct item){.key = p,
			     .data = node + at,
			     .objectid = le64_at(p),
			     .type = p[8],
			     .key_offset = le64_at(p + 9),
			     .size = le32_at(p + KEY_BYTES + 4)};
	return at + out->size <= c->nodesize ? 0 : bad(e);
}

/* fn is called for each item of all leaves, and may change it; leaves are written when write says so. */
typedef int item_fn(struct copy *c, struct item *item, struct err *e);

static int compare_uuid_keys(const void *a, const void *b)
{
	const uint8_t *x = a, *y = b;
	const uint64_t p = le64_at(x), q = le64_at(y), s = le64_at(x + 9), t = le64_at(y + 9);

	return p != q ? (p > q) - (p < q) : (s > t) - (s < t);
}

/* The tree that finds subvolumes by their UUIDs: its keys are UUIDs, so it has another order now. Its values all have one size. */
static int sort_uuid_leaf(const struct copy *c, uint8_t *node, struct err *e)
{
	struct {
		uint8_t key[KEY_BYTES], value[8];
	} * all;
	const uint32_t n = le32_at(node + NODE_ITEMS);
	struct item item;
	int r = 0;

	all = xcalloc(n + 1, sizeof(*all));
	for (uint32_t i = 0; r >= 0 && i < n; i++) {
		r = get_item(c, node, i, &item, e);
		if (r >= 0 && item.size != sizeof(all->value))
			r = bad(e);
		if (r >= 0) {
			memcpy(all[i].key, item.key, KEY_BYTES);
			memcpy(all[i].value, item.data, sizeof(all->value));
		}
	}
	if (r >= 0)
		qsort(all, n, sizeof(*all), compare_uuid_keys);
	for (uint32_t i = 0; r >= 0 && i < n; i++) {
		r = get_item(c, node, i, &item, e);
		memcpy(item.key, all[i].key, KEY_BYTES);
		memcpy(item.data, all[i].value, sizeof(all->value));
	}
	free(all);
	return r;
}

static int walk(struct copy *c, uint64_t logical, unsigned depth, item_fn *fn, bool write, struct err *e)
{
	_cleanup_free_ uint8_t *node = xmalloc(c->nodesize);
	struct item item;
	bool uuids = false;

	int r = read_node(c, logical, node, e);
	const uint32_t n = r < 0 ? 0 : le32_at(node + NODE_ITEMS);
	if (r >= 0 && node[NODE_LEVEL] != 0 && depth >= LEVEL_MAX)
		return bad(e);
	for (uint32_t i = 0; r >= 0 && i < n; i++) {
		if (node[NODE_LEVEL]) {
			const uint8_t *pointer = node + NODE_HEADER + (size_t)i * POINTER_BYTES;
			r = walk(c, le64_at(pointer + KEY_BYTES), depth + 1, fn, write, e);
			continue;
		}
		r = get_item(c, node, i, &item, e);
		if (r >= 0)
			r = fn(c, &item, e);
		uuids = uuids || item.type == ITEM_UUID;
	}
	/* some subvolumes: if they did not fit into one leaf, their order could not be told here */
	if (r >= 0 && uuids && write)
		r = depth ? bad(e) : sort_uuid_leaf(c, node, e);
	return r < 0 || !write ? r : write_node(c, logical, node, e);
}

/* --- what is found, what is changed --------------------------------------------------------------------------------------- */

static int find_in_chunk_tree(struct copy *c, struct item *item, struct err *e)
{
	return item->type == ITEM_CHUNK ? add_chunk(c, item->key_offset, item->data, item->size, e) : 0;
}

static int find_in_root_tree(struct copy *c, struct item *item, struct err *e)
{
	static const uint8_t none[UUID_BYTES];

	if (item->type != ITEM_ROOT)
		return 0;
	if (item->size < ROOT_MIN)
		return bad(e);
	VEC_GROW(c->trees, c->n_trees, c->cap_trees);
	c->trees[c->n_trees++] = le64_at(item->data + ROOT_BYTENR);
	if (memcmp(item->data + ROOT_UUID, none, UUID_BYTES) != 0) {
		VEC_GROW(c->uuids, c->n_uuids, c->cap_uuids);
		struct uuid_pair *pair = &c->uuids[c->n_uuids++];
		memcpy(pair->old, item->data + ROOT_UUID, UUID_BYTES);
		make_uuid(c, "subvolume", item->objectid, pair->new);
	}
	return 0;
}

static const uint8_t *new_uuid(const struct copy *c, const uint8_t *old)
{
	for (size_t i = 0; i < c->n_uuids; i++)
		if (memcmp(c->uuids[i].old, old, UUID_BYTES) == 0)
			return c->uuids[i].new;
	return NULL;
}

static void change_times(const struct copy *c, uint8_t *inode)
{
	for (unsigned i = 0; i < 4; i++)
		put_time(inode + INODE_TIMES + (size_t)i * TIME_BYTES, c->time);
}

static void change_root(const struct copy *c, uint8_t *root)
{
	const uint8_t *uuid = new_uuid(c, root + ROOT_UUID);

	change_times(c, root); /* it begins with an inode */
	put_time(root + ROOT_CTIME, c->time);
	put_time(root + ROOT_OTIME, c->time);
	if (uuid)
		memcpy(root + ROOT_UUID, uuid, UUID_BYTES);
}

static int change(struct copy *c, struct item *item, struct err *e)
{
	uint8_t uuid[UUID_BYTES];
	const uint8_t *other;

	switch (item->type) {
	case ITEM_INODE:
		if (item->size < INODE_BYTES)
			return bad(e);
		change_times(c, item->data);
		return 0;
	case ITEM_ROOT:
		change_root(c, item->data); /* find_in_root_tree has seen its size */
		return 0;
	case ITEM_DEV_EXTENT:
		if (item->size != EXTENT_BYTES)
			return bad(e);
		memcpy(item->data + EXTENT_UUID, c->chunk_tree, UUID_BYTES);
		return 0;
	case ITEM_UUID:
		memcpy(uuid, item->key, 8);
		memcpy(uuid + 8, item->key + 9, 8);
		other = new_uuid(c, uuid);
		if (!other)
			return bad(e);
		memcpy(item->key, other, 8);
		memcpy(item->key + 9, other + 8, 8);
		return 0;
	default:
		return 0;
	}
}

/* --- the copy ------------------------------------------------------------------------------------------------------------- */

static int read_super(struct copy *c, uint8_t *super, struct err *e)
{
	int r = read_at(c, SUPER_AT, super, SUPER_BYTES, e);

	if (r < 0)
		return r;
	c->size = le64_at(super + SUPER_TOTAL);
	c->nodesize = le32_at(super + SUPER_NODESIZE);
	const uint32_t array = le32_at(super + SUPER_ARRAY_SIZE);
	if (memcmp(super + SUPER_MAGIC_AT, SUPER_MAGIC, strlen(SUPER_MAGIC)) != 0 ||
	    le16_at(super + SUPER_CSUM_TYPE) != 0 || le32_at(super) != checksum(c, super, SUPER_BYTES) ||
	    le64_at(super + SUPER_DEVICES) != 1 || le64_at(super + SUPER_LOG_ROOT) != 0 || array > SUPER_ARRAY_MAX ||
	    c->nodesize < NODE_MIN || c->nodesize > NODE_MAX)
		return bad(e);
	for (uint32_t at = 0; at < array;) {
		const uint8_t *p = super + SUPER_ARRAY + at;
		if (array - at < KEY_BYTES)
			return bad(e);
		r = add_chunk(c, le64_at(p + 9), p + KEY_BYTES, array - at - KEY_BYTES, e);
		if (r < 0)
			return r;
		at += KEY_BYTES + (uint32_t)r;
	}
	return 0;
}

static int write_supers(const struct copy *c, uint8_t *super, struct err *e)
{
	static const uint64_t places[] = {SUPER_AT, SUPER_SECOND};
	int r = 0;

	/* older trees are not copied */
	for (unsigned i = 0; i < BACKUPS; i++) {
		uint8_t *backup = super + SUPER_BACKUPS + (size_t)i * BACKUP_BYTES;
		if (le64_at(backup + BACKUP_GENERATION) != le64_at(super + SUPER_GENERATION))
			memset(backup, 0, BACKUP_BYTES);
	}
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(places) && places[i] + SUPER_BYTES <= c->size; i++) {
		le64_put(super + SUPER_BYTENR, places[i]);
		put_checksum(c, super, SUPER_BYTES);
		r = fs_write_at(c->out, c->offset + places[i], super, SUPER_BYTES, e);
	}
	return r;
}

static int copy_data(const struct copy *c, const struct chunk *x, struct err *e)
{
	static const uint8_t zeros[COPY_CHUNK];
	_cleanup_free_ uint8_t *bytes = xmalloc(COPY_CHUNK);
	int r = 0;

	for (uint64_t at = 0; r >= 0 && at < x->size; at += COPY_CHUNK) {
		const size_t len = (size_t)MIN(x->size - at, (uint64_t)COPY_CHUNK);
		r = read_at(c, x->stripes[0] + at, bytes, len, e);
		for (unsigned i = 0; r >= 0 && i < x->n_stripes && memcmp(bytes, zeros, len) != 0; i++)
			r = fs_write_at(c->out, c->offset + x->stripes[i] + at, bytes, len, e);
	}
	return r;
}

int btrfs_copy(int in, int out, uint64_t offset, const struct digest *seed, int64_t time, struct err *e)
{
	_cleanup_(copy_clear) struct copy c = {.in = in, .out = out, .offset = offset, .seed = seed, .time = time};
	uint8_t super[SUPER_BYTES];

	crc_init(c.crc);
	make_uuid(&c, "chunk tree", 0, c.chunk_tree);
	int r = read_super(&c, super, e);
	const uint64_t root = le64_at(super + SUPER_ROOT), chunk_root = le64_at(super + SUPER_CHUNK_ROOT);
	/* where everything is, then which trees there are, then all of them */
	if (r >= 0)
		r = walk(&c, chunk_root, 0, find_in_chunk_tree, false, e);
	if (r >= 0)
		r = walk(&c, root, 0, find_in_root_tree, false, e);
	if (r >= 0)
		r = walk(&c, chunk_root, 0, change, true, e);
	if (r >= 0)
		r = walk(&c, root, 0, change, true, e);
	for (size_t i = 0; r >= 0 && i < c.n_trees; i++)
		r = walk(&c, c.trees[i], 0, change, true, e);
	for (size_t i = 0; r >= 0 && i < c.n_chunks; i++)
		if (c.chunks[i].type & CHUNK_DATA)
			r = copy_data(&c, &c.chunks[i], e);
	return r < 0 ? r : write_supers(&c, super, e);
}
