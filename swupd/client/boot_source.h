/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct err;
struct plan;
struct strv;

/* A release's files, where they are installed or where a plan's staged objects will make them so. Paths are absolute. */
struct boot_source {
	int tree;                /* root, lent */
	const struct plan *plan; /* NULL: all is in tree */
	int staged;              /* directory of staged objects; -1 without a plan */
};

/* Returns an fd; -ENOENT, without a text: the release has no such file. */
int boot_source_open(const struct boot_source *s, const char *path, struct err *e);

/* A small file's text; NULL: there is none, or it cannot be read. The caller frees it. */
char *boot_source_text(const struct boot_source *s, const char *path);

/* The names below /usr/lib/kernel that hold a kernel (bzImage), sorted. */
int boot_source_kernels(const struct boot_source *s, struct strv *out, struct err *e);
bool boot_source_has_modules(const struct boot_source *s, const char *kernel);
