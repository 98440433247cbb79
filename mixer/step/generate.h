/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct err;
struct mix;
struct rules;
struct tree;

/* What makes a tree an OS. Each function adds nodes to out, their content to the store. */

/* A plain file 0644 root:root. */
int generate_file(const struct mix *m, struct tree *out, const char *path, const void *text, size_t len, struct err *e);

/* os-release, version, version stamp (time: seconds since 1970), the root's directories and links. */
int generate_base(const struct mix *m, int64_t time, struct tree *out, struct err *e);

/* For the update bundle: URLs, format, certificate and the newest root file. */
int generate_update(const struct mix *m, struct tree *out, struct err *e);

/* For files of t in the factory that no package brought: lines of tmpfiles.d that bring them to /etc. */
int generate_factory_lines(const struct mix *m, const struct rules *rules, const char *bundle, const struct tree *t,
			   struct tree *out, struct err *e);
