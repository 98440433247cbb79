/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "swupd/base/opt.h"
#include "swupd/base/text.h"

struct err;
struct machine;

/* Options of diagnose, repair and the old verify. */
struct diagnose_opts {
	const char *version, *picky_tree, *picky_whitelist, *file;
	bool force, quick, picky, extra_files_only;
	struct strv bundles;
	bool fix, install; /* verify only */
};

extern const struct opt verify_options[];

/* fix: repair what is found. */
int diagnose(struct machine *m, const struct diagnose_opts *o, bool fix, struct err *e);
