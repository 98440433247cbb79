/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct err;

/*
 * A published tree in one tar file, as on a stick: where in the file each of its files lies. The tar is not compressed; its members have the names that they have below the
 * tree, or these behind "./". Nothing of it is trusted, as of no server.
 */
struct tar_source;

int tar_source_open(const char *path, struct tar_source **out, struct err *e); /* -ERR_FORMAT with a hint */
void tar_source_free(struct tar_source *t);
DEFINE_CLEANUP(struct tar_source *, tar_source_free);

/* -ENOENT: it has no such file. */
int tar_source_find(const struct tar_source *t, const char *name, uint64_t *at, uint64_t *bytes);
