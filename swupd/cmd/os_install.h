/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "swupd/base/text.h"

struct err;
struct machine;

struct os_install_opts {
	const char *version, *statedir_cache;
	bool force, download, skip_optional;
	struct strv bundles;
};

/* What 'os-install' and the old 'verify --install' do. */
int os_install(struct machine *m, const struct os_install_opts *o, struct err *e);
