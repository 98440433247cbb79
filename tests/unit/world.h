/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/machine.h"
#include "swupd/content/manifest.h"
#include "tests/unit/keys.h"

/* A machine with an empty root, data and cache directory of its own, format 30, as machine_open would make it. */
struct world {
	struct client_options opts;
	struct ui ui;
	struct machine m;
	char root[4096], data[4096], cache[4096];
};
void world_begin(struct world *w, const char *url); /* lent; trusts the predecessor's vectors */
void world_end(struct world *w);
void world_forget_cache(struct world *w);
void world_go_to(struct world *w, const char *url); /* another server */

/* A web tree that a test makes, with releases of one bundle, os-core. */
struct tree {
	char path[4096];
	char url[4200]; /* file:// */
	int dir;
	struct digest mom; /* of the release that was added last */
};
void tree_begin(struct tree *t);
void tree_end(struct tree *t);
void tree_write(struct tree *t, const char *path, const void *data, size_t len); /* makes the directories */

/* Add a release whose os-core has these entries, signed by key. */
void tree_add_release(struct tree *t, const struct test_key *key, uint32_t release, const struct entry *entries,
		      size_t n);
void tree_write_latest(struct tree *t, const struct test_key *key, uint32_t release);
void tree_write_freshness(struct tree *t, const struct test_key *key, uint32_t release, int64_t when, uint32_t root);

/* A member of a tar as a hostile mirror would write it; libarchive can write more than we would. */
struct hostile {
	const char *name;
	unsigned type; /* AE_IF… */
	unsigned perm;
	const char *content, *hard_link;
	bool xattr; /* with a file capability */
};
struct buf hostile_tar(const struct hostile *members, size_t n); /* caller frees */
