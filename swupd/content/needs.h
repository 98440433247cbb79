/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct attached;
struct entry;
struct err;
struct manifest;

/*
 * What a set of releases needs of a published tree (layout(5)): where each file lies, and what it must be. Much of a release lies in the directories of older ones.
 */
enum need_kind {
	NEED_MOM,      /* the manifest of manifests, its tar and signature */
	NEED_TEXT,     /* format: unsigned, and nobody can tell what is right */
	NEED_MANIFEST, /* plain; hash: as the MoM has it */
	NEED_MANIFEST_TAR,
	NEED_ATTACHED, /* hash: its SHA-256 */
	NEED_FULLFILE, /* hash: of the object in it */
	NEED_PACK,     /* these three may be missing */
	NEED_MANIFEST_DELTA,
	NEED_UPDATE,
	NEED_OTHER, /* what no client asks for; hash: of the file, with attrs */
};

struct need {
	const char *path; /* below the tree */
	enum need_kind kind;
	uint32_t release;   /* that is the first of the set to need it */
	struct digest hash; /* where the kind says so */
	uint32_t from;      /* NEED_UPDATE: leads from it; to the one in whose folder it lies */
	const char *name;   /* of the bundle; of a fullfile one of its paths */
	struct attrs attrs; /* NEED_OTHER */
};

struct needs;
struct needs *needs_new(void);
void needs_free(struct needs *n);
DEFINE_CLEANUP(struct needs *, needs_free);

/* Only what tells what a release had: who has it can go to another. */
void needs_add_lists(struct needs *n, const struct manifest *mom);

/* A release: all that stands in its own name, the manifests of its bundles and their packs of everything. Nothing is lent to it, here and below. */
void needs_add_mom(struct needs *n, const struct manifest *mom);

/* What the manifest lists of a bundle that a release has. Once for each that needs_has_bundle does not know. */
void needs_add_bundle(struct needs *n, uint32_t release, const struct entry *line, const struct manifest *m);
bool needs_has_bundle(const struct needs *n, const struct entry *line);

/* What classic clients fetch when they go from one release to another. */
void needs_add_classic(struct needs *n, const struct manifest *from, const struct manifest *to);

/* An update file. */
void needs_add_update(struct needs *n, uint32_t from, uint32_t to);

/* What lies in the tree besides, and has this file hash. */
void needs_add_other(struct needs *n, uint32_t release, const char *path, const struct attrs *attrs,
		     const struct digest *hash);

/* NULL: nobody needs it. */
const struct need *needs_find(const struct needs *n, const char *path);

/* Is an object of this hash in any of the releases? */
bool needs_has_object(const struct needs *n, const struct digest *hash);

/* All, in the order in which they were added. */
const struct need *needs_get(const struct needs *n, size_t i);
size_t needs_count(const struct needs *n);

/* May a tree that has the releases lack it? Then clients get the same from elsewhere. */
bool need_is_optional(const struct need *x);

/*
 * Is what fd has what is needed? Whole, of the right form, and where a hash is known, of that hash; but for NEED_MOM, whose signature is to be looked at with keys. -ERR_FORMAT,
 * -ERR_DIGEST, -ERR_LIMIT.
 */
int need_check(const struct need *x, int fd, struct err *e);

const char *need_kind_name(enum need_kind kind); /* of several, for people: "fullfiles" */
