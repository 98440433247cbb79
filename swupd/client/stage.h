/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;
struct err;
struct machine;
struct plan;

/*
 * Bring every object that the plan needs into <root>/usr/.swupd/staged, verified (object.h). In this order, each falling through to the next for what it did not bring:
 * what an interrupted run left there (hashed again); directories and empty files of well-known attributes (made, not fetched); files that the old
 * release has under the same hash (copied); packs of changed bundles with their deltas; fullfiles. Space is checked first (-ERR_SPACE).
 * Downloads, decompression and verification overlap; no process is started.
 *
 * old: the catalog of what is installed (gives the releases packs start from), NULL for an installation. new: of the target.
 */
int stage(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new, struct err *e);

/* What that takes, in bytes, as far as the signed manifests tell. */
struct stage_needs {
	uint64_t staging;  /* on the file system of usr: every object that is not there yet, in whole blocks */
	uint64_t transit;  /* in the cache, at a time */
	uint64_t download; /* at most: content of what the server is asked for */
	bool unsized;      /* some manifests tell no sizes: of their files only those of new bundles are counted */
	size_t packs, fullfiles;
	uint64_t root_free, cache_free;
	bool one_fs; /* both are one file system */
};

/* Look, and change nothing; no server is asked. */
int stage_measure(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new,
		  struct stage_needs *out, struct err *e);

/* -ERR_SPACE when that does not fit: what stage() checks before it fetches. */
int stage_fits(const struct machine *m, const struct stage_needs *n, struct err *e);

/* The directory, opened and made when missing (0700). */
int stage_open(const struct machine *m, struct err *e);
#define STAGE_PARENT                                                                                                   \
	"usr/.swupd" /* on the file system of /usr, so that placing is renaming; never content, never reported by diagnose */
#define STAGE_DIR STAGE_PARENT "/staged"
