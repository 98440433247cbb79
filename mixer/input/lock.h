/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mixer/input/source.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/digest.h"

struct arena;
struct buf;
struct config;
struct err;

/*
 * mixer.lock(5): which packages exactly a mix is made of. Building twice from one lock gives the same bytes; 'mixer lock' moves it forward.
 * Text, sorted, so that a version control's diff of it reads as what changed:
 *
 *     limpid-lock 1
 *     time 1763700000                                       newest date of the indexes used: the time of the release
 *     input <sha256>                                        of the wishes: bundles, their packages, drop list; tells a stale lock
 *     archive NAME SUITE <sha256 of InRelease> DATE         one per Debian repository; DATE as in 2026-11-14T09:41:00Z
 *     package NAME VERSION ARCH <sha256> SIZE REPOSITORY SOURCE SOURCE-VERSION FILE   FILE: below the archive's URI, or in the directory
 *     bundle NAME PACKAGE…                                  the closure of its own wishes (not of its includes'), names only
 *     id user|group NAME NUMBER                             numbers given to users that packages declare without one; never reused
 *
 * The lock of a recipe has also what it builds:
 *
 *     source NAME VERSION REPOSITORY DIRECTORY              DIRECTORY: below the archive's URI
 *     file <sha256> SIZE NAME                               in DIRECTORY
 */
struct locked_package {
	const char *name, *version, *arch;
	struct digest sha256;
	uint64_t size; /* bytes of the .deb */
	const char *repository;
	const char *source, *source_version;
	const char *file;
};

struct locked_bundle {
	const char *name;
	const char **packages; /* sorted names */
	size_t n_packages;
};

struct locked_id {
	const char *kind; /* "user" or "group" */
	const char *name;
	uint32_t id;
};

struct locked_archive {
	const char *name, *suite, *date;
	struct digest inrelease;
};

struct locked_source {
	const char *name, *version, *repository, *directory; /* NULL: there is none */
	struct source_file *files;                           /* sorted by name */
	size_t n_files, cap_files;
};

struct lock {
	int64_t time;
	struct digest input;
	struct locked_archive *archives;
	size_t n_archives, cap_archives;
	struct locked_package *packages; /* sorted by name */
	size_t n_packages, cap_packages;
	struct locked_bundle *bundles; /* sorted by name */
	size_t n_bundles, cap_bundles;
	struct locked_id *ids; /* sorted by kind, name */
	size_t n_ids, cap_ids;
	struct locked_source source;
	struct arena *arena;
};

struct lock *lock_new(void);
void lock_free(struct lock *l);
DEFINE_CLEANUP(struct lock *, lock_free);

/* -ERR_FORMAT with "line N: ". */
int lock_parse(const char *text, size_t len, struct lock **out, struct err *e);
void lock_format(const struct lock *l, struct buf *out);                 /* sorts */
int lock_load(const struct config *c, struct lock **out, struct err *e); /* -ENOENT: none yet */
int lock_save(const struct config *c, struct lock *l, struct err *e);

/* tools.lock: the same for what releases are made with (toolroot.h). */
int lock_load_tools(const struct config *c, struct lock **out, struct err *e);
int lock_save_tools(const struct config *c, const struct lock *l, struct err *e);

/* recipes.lock/NAME: what a recipe builds, and in which root. */
#define LOCK_RECIPES "recipes.lock"
int lock_load_recipe(const struct config *c, const char *name, struct lock **out, struct err *e);
bool lock_has_recipe(const struct config *c, const char *name);
int lock_save_recipe(const struct config *c, const char *name, const struct lock *l, struct err *e);

/* NULL: not in it. l is sorted, as lock_parse, lock_format and resolve leave it. */
const struct locked_package *lock_find(const struct lock *l, const char *name);
const struct locked_bundle *lock_find_bundle(const struct lock *l, const char *name);

/* Is the package in a bundle? If not, it is a debug package that is only published (step/debuginfo.h). */
bool lock_is_shipped(const struct lock *l, const char *name);

/*
 * The number of a user or group. When there is none, one is given and remembered in l: that of the group or user of the same name, else the
 * highest below 1000 that neither has. -ERR_LIMIT: none is left down to 100 (below are Debian's fixed ones).
 */
int lock_id(struct lock *l, const char *kind, const char *name, uint32_t *out, struct err *e);
