/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "mixer/input/tree.h"

struct err;
struct strv;

/*
 * A release is one namespace: a path is the same in every bundle that has it. Whatever brings paths offers them here with a rank; the highest rank has a
 * path, and two of one rank must agree. Nobody is surprised: what a bundle's content() replaces must be of a package in the bundle itself or in one that
 * includes it.
 */
enum rank {
	RANK_PARENT,    /* a directory that must be there because something lies in it */
	RANK_PACKAGE,   /* a Debian package */
	RANK_CONTENT,   /* a bundle's content() */
	RANK_GENERATED, /* mixer itself: os-release and the like */
};

/* What one bundle is offered. */
struct bundle_offers {
	const char *bundle;
	const struct strv *includes; /* all, also indirect; lent; NULL: none */
	struct offer {
		const struct node *node; /* lent */
		enum rank rank;
	} * items;
	size_t n, cap;
};
void offers_add(struct bundle_offers *o, const struct tree *t, enum rank rank);
void offers_add_node(struct bundle_offers *o, const struct node *n, enum rank rank);
void offers_free(struct bundle_offers *o);

/*
 * Decide for all bundles at once: *full is the release's tree, trees[i] that of bundles[i], all sorted, with the parents of everything.
 * -ERR_CONFLICT names the path and who brings it. Directories agree when one of them is a plain 0755 of root's; the other is taken, whatever its rank.
 */
int gather(const struct bundle_offers *bundles, size_t n, struct tree **full, struct tree **trees, struct err *e);
