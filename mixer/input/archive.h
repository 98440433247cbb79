/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "mixer/input/lock.h"

struct buf;
struct config;
struct downloader;
struct err;
struct package_list;
struct progress;
struct repository;
struct source_list;

/*
 * The URI that a Debian repository is at: what mixer.conf says, or for "apt" that of Debian's archive (for a suite that ends in "-security", its security archive)
 * in this machine's apt. targets: what apt said; empty at first, then given to the next call, since apt takes its time. Caller frees.
 * -ERR_CONFIG: apt has none.
 */
int archive_uri(const struct repository *r, struct buf *targets, char **out, struct err *e);

/*
 * Add the packages of a Debian archive to l, and to sources (NULL: they are not wanted) its source packages. Its InRelease is asked for each time and verified; indexes are cached in <cache>/indexes under their
 * digest. When a mirror gives an older InRelease than it did before, the newer one still counts. now: seconds since 1970, for Valid-Until.
 * *locked: what mixer.lock says of it, in the arena of the lock. *date: of the InRelease.
 */
int archive_load(const struct config *c, int cache, const struct repository *r, struct buf *targets,
		 struct downloader *d, int64_t now, struct progress *progress, struct package_list *l,
		 struct source_list *sources, struct lock *lock, int64_t *date, struct err *e);

/* Add the packages of a directory of .deb files to l, in order of their names; one that is missing has none. A damaged .deb is -ERR_FORMAT with its name. */
int directory_load(const struct config *c, const struct repository *r, struct package_list *l, struct err *e);
