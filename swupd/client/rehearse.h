/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "swupd/client/apply.h"

/*
 * Answer with what apply() would do: how it would be committed, which paths change by kind, and bytes to fetch, to stage and for the root, with what is free there, as
 * far as the signed manifests tell. Changes nothing. -ERR_SPACE, as apply() would, when it does not fit.
 */
int rehearse(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new,
	     enum commit how, struct err *e);
