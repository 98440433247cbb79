/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct err;
struct manifest;
struct mix;

/* Releases are multiples of it unless the user says otherwise: the numbers between are for respins (spec/swupd-format.md section 1.3). */
#define RELEASE_STEP 10

/* A release as it is published (or about to be): its MoM and the manifest of each bundle that the MoM lists, in its order. */
struct release {
	struct manifest *mom;
	struct manifest **bundles;
	size_t n;
};

int release_load(const struct mix *m, uint32_t number, struct release **out,
		 struct err *e); /* below update/www/<number> */

/* Is it published, with all that it needs? gc may have left only its lists. RELEASE_MARK: the file in its folder that says so. */
#define RELEASE_MARK "format"
bool release_is_whole(const struct mix *m, uint32_t number);

/* The numbers of all that have a folder in update/www, whole or not, from low to high. The caller frees it, also after a failure. */
struct release_numbers {
	uint32_t *items;
	size_t n;
};
int release_list(const struct mix *m, struct release_numbers *out, struct err *e);
void release_numbers_clear(struct release_numbers *x);

/* Only its MoM. -ENOENT: it is not published (any more). */
int release_load_mom(const struct mix *m, uint32_t number, struct manifest **out, struct err *e);

/* The manifest of a bundle as a MoM's line has it: the very text. -ERR_DIGEST. */
struct entry;
int release_load_bundle(const struct mix *m, const struct entry *line, struct manifest **out, struct err *e);

/* The same for one that is being made: what it has of its own lies in release_new_path. */
int release_load_new(const struct mix *m, struct release **out, struct err *e);

struct release *release_none(void); /* number 0, that has nothing */
void release_free(struct release *r);
DEFINE_CLEANUP(struct release *, release_free);

struct manifest *release_find(const struct release *r, const char *bundle); /* may be NULL */

/* update/www/.new-<number>, where a release is made; publish() renames it. The caller frees it. */
char *release_new_path(uint32_t number);
