/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct buf;
struct err;
struct lock;
struct store;
struct tree;

/*
 * The software bill of materials of a release, SPDX 2.3 in JSON: every locked package with version, source, digest, purl and licence, and which bundles have it.
 * The same for the same lock: its time is the lock's, its namespace a digest of it. notices: what notices_select found, sorted; each distinct text is in the
 * document once, as an extracted licence "LicenseRef-<digest>". name: of the OS.
 */
int sbom_format(const struct lock *l, const char *name, uint32_t release, const struct tree *notices,
		const struct store *s, struct buf *out, struct err *e);
