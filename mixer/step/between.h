/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "mixer/step/objects.h"
#include "mixer/step/owners.h"
#include "mixer/step/peers.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"

struct err;

/* Two published releases, of which the changes from one to the other are made. Release 0, as the older one, is nothing at all. */
struct between {
	const struct mix *m;
	struct release *from, *to;
	/* once the trees are loaded */
	struct release_trees *from_trees, *to_trees;
	struct objects *objects; /* of to */
	struct peers *peers;
	struct owners *owners; /* of from */
};

int between_open(const struct mix *m, uint32_t from, uint32_t to, struct between *out, struct err *e);
int between_load_trees(struct between *b, struct err *e); /* -ERR_MISSING: update/releases has them no more */
void between_clear(struct between *b);
