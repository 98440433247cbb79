/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct bundle_set;
struct err;
struct lock;
struct mix;

#include "swupd/content/digest.h"

/*
 * All that a release is made of, as one digest: the lock, the definitions, what lies in their content() trees (names, sizes, modes and times of change; not
 * read), the rules, and the configuration that shows in the result. Equal stamps give equal releases but for their number, so a build can end before it begins.
 */
int stamp_inputs(const struct mix *m, const struct bundle_set *set, const struct lock *l, struct digest *out,
		 struct err *e);

/* update/releases/<release>/stamp: what it was built from. stamp_is: false also when there is none. */
int stamp_save(const struct mix *m, const struct digest *stamp, struct err *e);
int stamp_is(const struct mix *m, uint32_t release, const struct digest *stamp);
