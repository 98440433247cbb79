/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct buf;
struct lock;

/*
 * The software bill of materials of a release, SPDX 2.3 in JSON: every locked package with version, source, digest and purl, and which bundles have it. The same
 * for the same lock: its time is the lock's, its namespace a digest of it.
 */
void sbom_format(const struct lock *l, const char *name, uint32_t release, struct buf *out);
