/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "swupd/client/plan.h"

struct catalog;
struct err;
struct machine;
struct strv;

/* What commands that change a system have in common. */

/* The manifests of exactly the installed bundles, at the installed release. -ERR_RELEASE: nothing is installed; -ERR_MOM, -ERR_MANIFEST. */
int catalog_installed(struct machine *m, struct catalog **out, struct err *e);

/* Only the bundles of these names remain. */
void catalog_keep(struct catalog *c, const struct strv *names);

/* A catalog with its files; the cleanup frees both. */
struct content {
	struct catalog *catalog;
	struct files files;
};
void content_free(struct content *c);

/* COMMIT_DOWNLOAD: none. COMMIT_BY_EXCHANGE: where that is possible, else in place. COMMIT_NEXT_BOOT: the running system is not changed. */
enum commit { COMMIT_DOWNLOAD, COMMIT_IN_PLACE, COMMIT_BY_EXCHANGE, COMMIT_NEXT_BOOT };

/* Fetch, commit, follow up. An empty plan is committed, too: tracking marks may have changed. */
int apply(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new,
	  enum commit how, struct err *e);
