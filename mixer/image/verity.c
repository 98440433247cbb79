/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/verity.h"

#include <string.h>
#include <unistd.h>

#include "mixer/image/image.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define HASHES_IN_BLOCK  (VERITY_BLOCK / sizeof(struct digest))
#define SECTORS_OF_BLOCK (VERITY_BLOCK / 512)

static uint64_t blocks_for(uint64_t hashes)
{
	return (hashes + HASHES_IN_BLOCK - 1) / HASHES_IN_BLOCK;
}

uint64_t verity_tree_bytes(uint64_t data_blocks)
{
	uint64_t all = 0;

	for (uint64_t n = data_blocks; n > 1;) {
		n = blocks_for(n);
		all += n;
	}
	return all * VERITY_BLOCK;
}

struct hasher {
	/* as they are hashed: one behind the other */
	struct {
		struct digest salt;
		uint8_t block[VERITY_BLOCK];
	} in;
};

static int hash_data(int fd, uint64_t start, uint64_t blocks, struct hasher *h, struct digest *out, struct err *e)
{
	for (uint64_t i = 0; i < blocks; i++) {
		ssize_t n = pread(fd, h->in.block, VERITY_BLOCK, (off_t)(start + i * VERITY_BLOCK));
		if (n < 0)
			return err_errno(e, "read");
		if (n != VERITY_BLOCK)
			return err_set(e, -ERR_FORMAT, "it ends before its block %llu", (unsigned long long)i);
		sha256_mem(&h->in, sizeof(h->in), &out[i]);
	}
	return 0;
}

/* All levels as they lie on the device, in tree[0..verity_tree_bytes). */
static int make_tree(int fd, uint64_t data_start, struct verity *v, uint8_t *tree, struct err *e)
{
	struct hasher h = {.in.salt = v->salt};
	_cleanup_free_ struct digest *data = xcalloc(v->data_blocks + 1, sizeof(*data));
	uint64_t at = verity_tree_bytes(v->data_blocks);

	int r = hash_data(fd, data_start, v->data_blocks, &h, data, e);
	if (r < 0)
		return r;
	const void *below = data;
	uint64_t n = v->data_blocks;
	while (n > 1) {
		const uint64_t blocks = blocks_for(n);
		at -= blocks * VERITY_BLOCK;
		memcpy(tree + at, below, n * sizeof(struct digest));
		/* the hashes of this level are those that the next one has */
		for (uint64_t i = 0; i < blocks; i++) {
			memcpy(h.in.block, tree + at + i * VERITY_BLOCK, VERITY_BLOCK);
			sha256_mem(&h.in, sizeof(h.in), &data[i]);
		}
		n = blocks;
	}
	v->root = data[0];
	return 0;
}

int verity_write(int fd, uint64_t data_start, uint64_t hash_start, struct verity *v, struct err *e)
{
	const uint64_t bytes = verity_tree_bytes(v->data_blocks);
	_cleanup_free_ uint8_t *tree = xcalloc(1, bytes + 1);

	int r = make_tree(fd, data_start, v, tree, e);
	return r < 0 ? r : fs_write_at(fd, hash_start, tree, bytes, e);
}

int verity_check(int fd, uint64_t data_start, uint64_t hash_start, const struct verity *v, struct err *e)
{
	const uint64_t bytes = verity_tree_bytes(v->data_blocks);
	_cleanup_free_ uint8_t *tree = xcalloc(1, bytes + 1), *has = xcalloc(1, bytes + 1);
	struct verity real = *v;

	int r = make_tree(fd, data_start, &real, tree, e);
	if (r < 0)
		return r;
	if (!digest_equal(&real.root, &v->root))
		return err_set(e, -ERR_DIGEST, "its data do not have this root hash");
	for (uint64_t at = 0; at < bytes;) {
		ssize_t n = pread(fd, has + at, bytes - at, (off_t)(hash_start + at));
		if (n < 0)
			return err_errno(e, "read");
		if (n == 0)
			return err_set(e, -ERR_FORMAT, "it ends before its hash tree does");
		at += (uint64_t)n;
	}
	return memcmp(tree, has, bytes) == 0 ? 0 : err_set(e, -ERR_DIGEST, "its hash tree is not that of its data");
}

void verity_format(const struct verity *v, struct buf *out)
{
	char root[DIGEST_HEX], salt[DIGEST_HEX];

	digest_format(&v->root, root);
	digest_format(&v->salt, salt);
	buf_printf(out, "root_hash=%s,salt=%s,data_blocks=%llu,data_block_size=%lu,hash_block_size=%lu\n", root, salt,
		   (unsigned long long)v->data_blocks, VERITY_BLOCK, VERITY_BLOCK);
}

void verity_format_cmdline(const struct verity *v, const char *data, const char *hash, struct buf *out)
{
	char root[DIGEST_HEX], salt[DIGEST_HEX];

	digest_format(&v->root, root);
	digest_format(&v->salt, salt);
	buf_printf(out, "dm-mod.create=\"dm-verity,,,ro,0 %llu verity 1 %s %s %lu %lu %llu 0 sha256 %s %s\"",
		   (unsigned long long)v->data_blocks * SECTORS_OF_BLOCK, data, hash, VERITY_BLOCK, VERITY_BLOCK,
		   (unsigned long long)v->data_blocks, root, salt);
}
