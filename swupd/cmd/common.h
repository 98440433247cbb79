/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct catalog;
struct err;
struct machine;
struct manifest;
struct strv;

/* What several commands do with their arguments. */

/* The argument of --version: NULL and "latest" are 0. -ERR_USAGE. */
int parse_release(const char *text, uint32_t *out, struct err *e);

/* Names of bundles from arguments; aliases (alias.d) are replaced by what they stand for; each once, in order. */
int expand_bundles(struct machine *m, const struct strv *args, struct strv *out, struct err *e);

/* The bundles of c that include name, directly or not; sorted. */
void bundles_needing(const struct catalog *c, const char *name, struct strv *out);

/* Add to gone the bundles of c that are neither tracked nor included by one that stays. */
void bundles_orphaned(const struct catalog *c, const struct strv *tracked, struct strv *gone);
