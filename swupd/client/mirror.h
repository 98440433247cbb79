/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct err;
struct machine;
struct needs;
struct strv;

/* What a copy has besides what clients ask for. */
struct mirror_more {
	const char *what; /* for people: "debug information" */
	const char
		*list; /* the name of what lists it in the folder of a release; without that there it is not copied */
	size_t list_max;
	int (*add)(void *arg, uint32_t release, const char *text, size_t len, struct needs *n, struct err *e);
	int (*finish)(void *arg, int target, struct err *e); /* all of it is there */
	void *arg;
};

/*
 * Copy what a set of releases needs (needs.h) from the machine's server into a directory, which is then a tree by itself: a client can install these releases from it, and
 * update from each to each that is newer.
 *
 * releases: numbers; the newest of each format that one of them has, and of the machine's, is always one of them, for that is what the signed files of version/ speak of.
 *
 * The newest and each MoM are verified as an update does it; manifests, fullfiles and what else has a hash against what lists it; of packs and update files, which nobody signs, the
 * form. Each file gets its name when it is whole and verified; who speaks of a release comes when all of it is on the disk. An interrupted run is gone on with. From a file:// URL
 * on the same file system nothing is copied: both trees have the same file.
 *
 * more: NULL: nothing.
 *
 * -ERR_MISSING, -ERR_DIGEST and the like: the server lacks something that is needed, or has it wrong.
 */
int mirror(struct machine *m, const struct strv *releases, const struct mirror_more *more, int target, struct err *e);
