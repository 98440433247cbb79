/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "swupd/content/signature.h"

/* Keys for tests, made in the test: valid 2020-09-13 to 2120, so at TEST_NOW and today. */
#define TEST_NOW 1763700000 /* 2025-11-21 04:40:00 UTC */

struct test_key {
	char dir[4096]; /* holds key.pem and cert.pem */
	char key[4200], cert[4200];
	struct signer signer;
};

/* P-256, in a directory of its own; ends the test when it cannot. */
void test_key_make(struct test_key *k, const char *name);

/* The anchors of these keys at TEST_NOW; caller frees. */
struct anchors *test_anchors(const struct test_key *const *keys, size_t n);
