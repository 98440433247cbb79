/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct machine;
struct manifest;
struct strv;

/*
 * What the server says, verified: key → freshness or latest → MoM → bundle manifests. Containers are read into memory, expected members only.
 * Cached in <cache>: mom/<16 hex of sha256(content URL)>-<release>{,.sig} and manifest/<hash>; every use verifies again, so nothing in the cache is ever evidence.
 * The MoM of the installed release is taken from any content URL's when the given one has it not.
 */

/* Load the anchors (installed certificate, -C, adopted root keys in <data>/trust) and check the clock against the version stamp. Never sets the clock. */
int trust_load(struct machine *m, struct err *e);

/*
 * The newest release of our format. freshness(5) when the tree has it, else latest + latest.sig. Learns new root keys on the way. Refuses to go back
 * (-ERR_STALE) behind the highest release and time this machine has seen for this format (<data>/seen), and a tree that had a freshness file and has none now.
 * With m->opts->nosigcheck: unverified.
 */
int catalog_newest(struct machine *m, uint32_t *release, struct err *e);

/* version/latest_version, or what freshness says of our format if that is newer: over all formats; for check-update. Errors as above. */
int catalog_newest_any(struct machine *m, uint32_t *release, struct err *e);

/* -ERR_MOM with the reason. */
int catalog_mom(struct machine *m, uint32_t release, struct manifest **out, struct err *e);

/*
 * Its text in the cache, as whoever uses it verifies it again. catalog_load_mom_text: -ENOENT when it is not there; catalog_save_mom_text: signature may be empty.
 */
int catalog_load_mom_text(const struct machine *m, uint32_t release, struct buf *text);
int catalog_save_mom_text(const struct machine *m, uint32_t release, const struct buf *text,
			  const struct buf *signature, struct err *e);

/* The manifest of one bundle as mom lists it (its release may be older than the MoM's). -ERR_BUNDLE: mom has no such bundle; -ERR_MANIFEST. */
int catalog_bundle(struct machine *m, const struct manifest *mom, const char *name, struct manifest **out,
		   struct err *e);

/* A set of bundles with their manifests, in the order of names. */
struct catalog {
	struct manifest *mom;
	const char **names; /* lent from mom's entries */
	struct manifest **manifests;
	size_t n;
};
void catalog_free(struct catalog *c);

/*
 * The manifests of these bundles and, transitively, of all they include (also_add: and optionally add), fetched in parallel as few
 * rounds as the depth of includes. Takes mom. Names that mom does not list: -ERR_BUNDLE, or skipped and added to missing when that is not NULL. CPU variants
 * are already selected. Progress: one thing for each bundle, in the stage that the caller began. base: manifests of an older release of the same bundles (may be NULL), which manifest deltas are tried against.
 */
int catalog_load(struct machine *m, struct manifest *mom, const struct strv *names, bool also_add,
		 const struct catalog *base, struct strv *missing, struct catalog **out, struct err *e);

/*
 * Is mom of the machine's format? -ERR_MANIFEST. For what compares or installs a release that the format's own statements did not name (diagnose, repair,
 * os-install without --force); an update crosses formats by way of its releases.
 */
int catalog_check_format(const struct machine *m, const struct manifest *mom, struct err *e);

struct manifest *catalog_find(const struct catalog *c, const char *name); /* may be NULL */
