/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/verity.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "tests/unit/test.h"

#define HASH_START (UINT64_C(80) << 20)

/* n blocks, each of one byte, salt 00 01 … 1f */
static int make_data(uint64_t n, struct verity *v)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	int fd = openat(dir, "data", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	uint8_t block[VERITY_BLOCK];

	assert_true(fd >= 0);
	for (uint64_t i = 0; i < n; i++) {
		memset(block, (int)((i * 7 + i / 256) & 255), sizeof(block));
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	}
	*v = (struct verity){.data_blocks = n};
	for (size_t i = 0; i < sizeof(v->salt.bytes); i++)
		v->salt.bytes[i] = (uint8_t)i;
	return fd;
}

TEST(verity_makes_the_tree_of_veritysetup)
{
	/* 'veritysetup format --no-superblock --salt=0001…' (2.7.5): root hash, bytes and sha256 of the hash device */
	static const struct {
		uint64_t blocks, bytes;
		const char *root, *tree;
	} cases[] = {
		{1, 0, "4ce3ecf32c133bf6321901b6092219474b6ac91a19d0304621d629e6bb9987dc",
		 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{2, 4096, "a914699ef17815705f9a9a89ec399107056f938569cb57390a96061bfebd7cd5",
		 "c0ed729891848f36e86f771be9dbf2ec9c8270aa03bacd5d9dc78cae1fcda494"},
		{128, 4096, "6ccaeaad027f70208049e14408149fe917ae52c129095816c685bcae0281fc86",
		 "bdbf7dc0d62489f8b79be7d538a1450df71f09e197e9eb5be1d968ce6709f353"},
		{129, 12288, "7858e821042c3e4237ce5a09d378fc36d76978657df2d743bb426968bc084f3c",
		 "37a688b5cbe48787e7173b3900d4393c93276a22f118e740edeefc7f4255144a"},
		{300, 16384, "9fe14a8f978077784886cf4dac4ce9d4790bbaf3c784dd6520303b0408acb101",
		 "1e4c69f6f724c48a2571d46cbb2149df99ab7bda6334c6070cc6f16eafae0970"},
		/* three levels */
		{16385, 540672, "79e4bbcebe5f6392fb2e87dc607dbd373aa08a0456407ae4e7f52b0773804ce5",
		 "edbb4b8d4fed2834c1c0c661f52ff877f29a50d893caf98ad6c20dbea514b474"},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verity v;
		struct digest d;
		char root[DIGEST_HEX], tree[DIGEST_HEX];
		_cleanup_close_ int fd = make_data(cases[i].blocks, &v);
		assert_int_equal(verity_tree_bytes(v.data_blocks), cases[i].bytes);
		assert_ok(verity_write(fd, 0, HASH_START, &v, &e), &e);
		digest_format(&v.root, root);
		assert_string_equal(root, cases[i].root);
		_cleanup_free_ uint8_t *bytes = xcalloc(1, cases[i].bytes + 1);
		assert_int_equal(pread(fd, bytes, cases[i].bytes, HASH_START), cases[i].bytes);
		sha256_mem(bytes, cases[i].bytes, &d);
		digest_format(&d, tree);
		assert_string_equal(tree, cases[i].tree);
		assert_ok(verity_check(fd, 0, HASH_START, &v, &e), &e);
	}
}

TEST(verity_finds_a_flipped_byte)
{
	struct err e = ERR_INIT;
	struct verity v;
	_cleanup_close_ int fd = make_data(300, &v);

	assert_ok(verity_write(fd, 0, HASH_START, &v, &e), &e);
	assert_int_equal(pwrite(fd, "?", 1, 299 * VERITY_BLOCK + 17), 1);
	assert_fails(verity_check(fd, 0, HASH_START, &v, &e), ERR_DIGEST, &e, "root hash");
	/* in the tree, whose data are as they were */
	_cleanup_close_ int other = make_data(300, &v);
	assert_ok(verity_write(other, 0, HASH_START, &v, &e), &e);
	assert_int_equal(pwrite(other, "?", 1, (off_t)HASH_START + 9000), 1);
	assert_fails(verity_check(other, 0, HASH_START, &v, &e), ERR_DIGEST, &e, "hash tree");
}

TEST(verity_refuses_data_that_end_early)
{
	struct err e = ERR_INIT;
	struct verity v;
	_cleanup_close_ int fd = make_data(3, &v);

	v.data_blocks = 4;
	assert_fails(verity_write(fd, 0, HASH_START, &v, &e), ERR_FORMAT, &e, "ends before its block 3");
}

TEST(verity_is_told_to_kata_and_to_the_kernel)
{
	_cleanup_(buf_free) struct buf text = {0}, words = {0};
	struct err e = ERR_INIT;
	struct verity v;
	_cleanup_close_ int fd = make_data(129, &v);
	static const char root[] = "7858e821042c3e4237ce5a09d378fc36d76978657df2d743bb426968bc084f3c";
	static const char salt[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

	assert_ok(verity_write(fd, 0, HASH_START, &v, &e), &e);
	verity_format(&v, &text);
	_cleanup_free_ char *want = xasprintf(
		"root_hash=%s,salt=%s,data_blocks=129,data_block_size=4096,hash_block_size=4096\n", root, salt);
	assert_string_equal(text.data, want);
	verity_format_cmdline(&v, "/dev/pmem0p1", "/dev/pmem0p2", &words);
	_cleanup_free_ char *line =
		xasprintf("dm-mod.create=\"dm-verity,,,ro,0 1032 verity 1 /dev/pmem0p1 /dev/pmem0p2 4096 4096 129 0 "
			  "sha256 %s %s\"",
			  root, salt);
	assert_string_equal(words.data, line);
}
