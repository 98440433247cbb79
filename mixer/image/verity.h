/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "swupd/content/digest.h"

struct buf;
struct err;

/*
 * The hash tree of dm-verity, format 1 without a superblock, as 'veritysetup format --no-superblock' makes it: SHA-256 of the salt and a block of 4096 bytes;
 * these hashes fill blocks (the last one with zeros), which are hashed again, until one hash is left: the root hash, which is what somebody must know from
 * elsewhere. On the hash device the levels follow each other from the top one downwards.
 */
#define VERITY_BLOCK 4096UL

struct verity {
	uint64_t data_blocks;
	struct digest salt, root;
};

/* Bytes of the tree. */
uint64_t verity_tree_bytes(uint64_t data_blocks);

/*
 * Read v->data_blocks blocks of fd from data_start on, write the tree to hash_start of it; v->salt is given, v->root is set. The places do not overlap. What ends
 * before its last block is -ERR_FORMAT.
 */
int verity_write(int fd, uint64_t data_start, uint64_t hash_start, struct verity *v, struct err *e);

/* Does what lies there have this root hash, and the tree that verity_write would make? -ERR_DIGEST: no; the text says where. */
int verity_check(int fd, uint64_t data_start, uint64_t hash_start, const struct verity *v, struct err *e);

/* "root_hash=…,salt=…,data_blocks=…,data_block_size=4096,hash_block_size=4096\n": Kata's root_hash_<variant>.txt, the value of kernel_verity_params. */
void verity_format(const struct verity *v, struct buf *out);

/* "dm-mod.create=\"…\"", the word of a kernel's command line that makes /dev/dm-0 of the devices data and hash. */
void verity_format_cmdline(const struct verity *v, const char *data, const char *hash, struct buf *out);
