/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mixer/input/bundle.h"
#include "mixer/input/config.h"
#include "mixer/input/lock.h"
#include "mixer/input/tree.h"

struct buf;
struct err;
struct progress;
struct ui;

/*
 * The steps of a build, in order; each is a function of files, so each runs alone or all in one process.
 *
 *     collect    mixbundles, definitions      → bundle set
 *     resolve    bundle set, archives, drop   → mixer.lock
 *     populate   lock, store, rules           → update/releases/<V>/: a tree per bundle, "full", SBOM
 *     describe   trees, previous manifests    → update/www/.new-<V>/Manifest.*
 *     compress   full manifest, store         → …/files/<hash>.tar
 *     assemble   manifests, store             → …/pack-*-from-0.tar
 *     publish    all of it, signer            → update/www/<V>/, then version/…/latest
 *     diff       two published releases       → www/<V>/update-from-<V0>, www/<V>/updates, www/<V>/delta/, Manifest-*-delta-from-*, pack-*-from-<V0>.tar
 *
 * Caches in <cache>: debs/<sha256>.deb, indexes/, packages/<key> (a tree per converted package), made/<key> (tool.h), objects/ (tree.h), frames/<codec-level>/…
 * (compressed content), deltas/<from>-<to>, diffs/<from>-<to>, sections/… (section.h), samples/<hash> (similar.h), jobs/ (slurm.h).
 */
struct mix {
	const struct config *config;
	struct ui *ui;
	struct progress *progress; /* may be NULL */
	int cache;                 /* directory fd of config->cache */
	struct store *store;
	uint32_t release, previous, format;
};

/* What 'build bundles' leaves for a release. */
struct bundle_tree {
	const char *name;
	struct strv includes, also_add; /* direct, present in the set, os-core first */
	bool experimental;
	struct strv unexports;
	struct tree *
		tree; /* everything its packages, content() trees and generators bring; not yet subtracted along includes */
};

struct release_trees {
	int64_t time;                /* of the lock */
	struct bundle_tree *bundles; /* sorted by name */
	size_t n;
	struct tree *full;    /* the union */
	struct tree *notices; /* copyright files of the packages, not shipped: for the SBOM; NULL when loaded */
	struct tree *debug;   /* what debug packages have, shipped or not: for debuginfo.h; NULL when loaded */
};

int release_trees_save(const struct mix *m, const struct release_trees *r, struct err *e);
int release_trees_load(const struct mix *m, uint32_t release, struct release_trees **out, struct err *e);
void release_trees_free(struct release_trees *r);
const struct bundle_tree *release_trees_find(const struct release_trees *r, const char *bundle); /* NULL: none */

/* Set reached[i] for each bundle i that bundles[at] includes, also through others; in a cycle of includes that is at itself, too. */
void release_trees_reach(const struct release_trees *r, size_t at, bool *reached);

int collect(const struct mix *m, struct bundle_set *out, struct err *e);

/* only: names of the repositories to use, NULL for all. keep: stay with the locked version of each package where it is still to be had. old: the lock before, or NULL. */
int resolve(const struct mix *m, const struct bundle_set *set, const struct strv *only, bool keep,
	    const struct lock *old, struct lock **out, struct err *e);

/*
 * What resolve begins with: the packages of all repositories (or only of those) and, unless sources is NULL, source packages of archives; debug: the packages of
 * repositories that have nothing else. l gets the archives; *date: of the newest of the others, 0 when there is none.
 */
struct package_list;
struct source_list;
int resolve_load(const struct mix *m, const struct strv *only, struct package_list *list, struct package_list *debug,
		 struct source_list *sources, struct lock *l, int64_t *date, struct err *e);

/* Where packages may come from, in one text: part of what a lock is made for. Directories, and what has debug information only, are part of it for who uses them. */
void resolve_repositories(const struct config *c, bool directories, struct buf *out);

/* Is the lock made for these wishes? */
bool resolve_is_current(const struct mix *m, const struct bundle_set *set, const struct lock *l);

/* Bring every locked package into <cache>/debs, checked by sha256; parallel, resumed. */
int fetch_packages(const struct mix *m, const struct lock *l, struct err *e);

/* The same of the files of the locked source, into <cache>/sources/<sha256>; what lies there is hashed, and fetched anew when it is damaged. */
int fetch_source(const struct mix *m, const struct lock *l, struct err *e);

/* l may get new ids: the caller saves it. The trees are not saved yet: release_trees_save. */
int populate(const struct mix *m, const struct bundle_set *set, struct lock *l, struct release_trees **out,
	     struct err *e);

/* The rest works on what lies in update/. */
/* 1: nothing differs from the previous release, nothing was written. */
int describe(const struct mix *m, const struct release_trees *r, uint32_t minversion, struct err *e);
int compress(const struct mix *m, struct err *e);
int assemble(const struct mix *m, struct err *e);

/*
 * .new-<V> becomes www/<V>, signed; 1: it was published before and is the same. -ERR_CONFLICT: another content was published under this number. Nobody sees it until
 * publish_latest says that it is the newest: time to make deltas.
 */
int publish(const struct mix *m, bool sign, struct err *e);

/* freshness and latest say that release is the newest of its format, as of now (SOURCE_DATE_EPOCH if set). Unsigned, there is no freshness. */
int publish_freshness(const struct mix *m, uint32_t release, bool sign, struct err *e);

/* The ways to a release may have changed: if they have, and freshness speaks of that release, it is signed again. */
int publish_renewed(const struct mix *m, uint32_t release, struct err *e);

/* The same as publish_freshness, and latest_version says that it is the newest of all. */
int publish_latest(const struct mix *m, uint32_t release, bool sign, struct err *e);
