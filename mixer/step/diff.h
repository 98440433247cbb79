/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct between;
struct entry;
struct err;
struct mix;
struct table;

/* Of two published releases, for clients of the older one; what is there already stays. */
int diff_update(struct between *b, struct err *e);
int diff_packs(struct between *b, struct err *e);
int diff_manifests(const struct between *b, struct err *e);

/* All manifests of a release in one file (update(5)), unless it is there. */
int diff_all_manifests(const struct mix *m, uint32_t release, struct err *e);

/*
 * Does a bundle's pack bring what x, of its new manifest, stands for? from: the release of the old manifest, old: its index. spec/swupd-format.md section 5.
 */
bool diff_brings(const struct entry *x, uint32_t from, const struct table *old);
