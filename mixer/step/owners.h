/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>

#include "swupd/base/mem.h"

struct digest;
struct release;

/* Which files machines have, by their bundles. */
struct owners;

/* r is lent: it must live as long as the result. */
struct owners *owners_new(const struct release *r);
void owners_free(struct owners *o);
DEFINE_CLEANUP(struct owners *, owners_free);

/* From here on it is about machines with this bundle, and so with all that it includes; with nothing, if the release has no such bundle. */
void owners_choose(struct owners *o, const char *bundle);

/* Does each of them have a file with this hash? */
bool owners_have(const struct owners *o, const struct digest *hash);
