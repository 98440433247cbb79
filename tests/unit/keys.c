/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/keys.h"

#include <fcntl.h>
#include <stdio.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "tests/unit/test.h"

void test_key_make(struct test_key *k, const char *name)
{
	struct err e = ERR_INIT;

	*k = (struct test_key){0};
	_cleanup_close_ int dir = test_dir(k->dir, sizeof(k->dir));
	assert_ok(signature_create_key(dir, "key.pem", "cert.pem", KEY_ECDSA_P256, name, 100, 1600000000, &e), &e);
	snprintf(k->key, sizeof(k->key), "%s/key.pem", k->dir);
	snprintf(k->cert, sizeof(k->cert), "%s/cert.pem", k->dir);
	k->signer = (struct signer){.cert = k->cert, .key = k->key};
}

struct anchors *test_anchors(const struct test_key *const *keys, size_t n)
{
	_cleanup_(buf_free) struct buf all = {0};
	struct err e = ERR_INIT;
	struct anchors *a = NULL;

	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_free) struct buf pem = {0};
		assert_ok(fs_load(AT_FDCWD, keys[i]->cert, 1 << 20, &pem, &e), &e);
		buf_add(&all, pem.data, pem.len);
	}
	assert_ok(anchors_load(all.data, all.len, TEST_NOW, &a, &e), &e);
	return a;
}
