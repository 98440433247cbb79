/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "mixer/input/config.h"
#include "mixer/step/step.h"
#include "swupd/base/ui.h"
#include "swupd/content/manifest.h"
#include "tests/unit/keys.h"

/* A workspace in a directory of its own, and the release that a test makes in it, from the trees on. */
struct mixed {
	struct mix m;
	struct config config;
	struct ui ui;
	struct test_key key;
	char path[4096], cache[4096];
	struct release_trees trees; /* of the next release */
};
void mixed_begin(struct mixed *x);
void mixed_end(struct mixed *x);

/* A bundle of the next release; they are sorted by name. includes: separated by blanks. */
void mixed_bundle(struct mixed *x, const char *name, const char *includes);

/* What the bundle that was added last has; parent directories are added, too. */
void mixed_file(struct mixed *x, const char *path, uint32_t mode, const void *content, size_t len);
void mixed_text(struct mixed *x, const char *path, const char *content); /* 0644 */
void mixed_link(struct mixed *x, const char *path, const char *target);

/* Describe, compress, assemble and publish it as this number. The trees are empty then. */
void mixed_release(struct mixed *x, uint32_t release, uint32_t previous);

/* Only describe and publish it, unsigned: without fullfiles and packs, so content need not be there. */
void mixed_describe(struct mixed *x, uint32_t release, uint32_t previous, uint32_t minversion);

/* len bytes that do not compress well; the same for the same seed. The caller frees it. */
char *mixed_noise(size_t len, unsigned seed);
