/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct config;
struct err;

/* A bundle's definition: bundle(5), the grammar of spec/mixer-behaviour.md section 3. */
struct bundle {
	char *name;
	char *title, *description, *status, *capabilities, *maintainer; /* "" when the header is missing */
	struct strv includes;                                           /* direct, in order of the text */
	struct strv also_add;
	struct strv packages;  /* direct */
	struct strv contents;  /* absolute paths of directories: relative ones are taken from the definition's folder */
	struct strv unexports; /* absolute names of files that get no 'x' */
	struct strv drops,
		keeps; /* patterns as in rules.h: files of its packages that are not shipped, and exceptions */
	struct strv
		initrds; /* configurations of initramfs/: initrds for the kernels of this bundle and of those that it includes */
	struct strv no_build_ids; /* patterns of ELF files that come without a build-id */
	char *explains; /* it has the debug packages of that bundle, and no definition of its own; NULL: it has one */
	bool alone;     /* builds on nothing, not on os-core either */
	char *file;     /* where it was read, for messages */
};

/* text is read as the definition of name. -ERR_FORMAT with "FILE:LINE: ". strict: all five headers must be there, TITLE equal to name. */
int bundle_parse(const char *text, size_t len, const char *name, const char *file, bool strict, struct bundle **out,
		 struct err *e);
int bundle_load(const struct config *c, const char *name, struct bundle **out,
		struct err *e); /* -ERR_BUNDLE: in no folder */
void bundle_free(struct bundle *b);
DEFINE_CLEANUP(struct bundle *, bundle_free);

/* Letters, digits and - _ + . but not what manifests need for themselves (MoM, full) nor what else lies in a folder of definitions. */
bool bundle_name_valid(const char *name);

/* The names of the definitions in one folder, sorted; a missing folder has none. */
int bundle_names(const char *folder, struct strv *out, struct err *e);

/* The folder that name's definition is taken from, lent from c; NULL: it is in none. */
const char *bundle_folder(const struct config *c, const char *name);

/* The bundles of a mix, closed over includes and also-adds, sorted by name. */
struct bundle_set {
	struct bundle **items;
	size_t n, cap;
};
void bundle_set_free(struct bundle_set *s);
struct bundle *bundle_set_find(const struct bundle_set *s, const char *name); /* may be NULL */

/* names and all that they include or also-add, transitively. -ERR_BUNDLE names who wants a missing one. Cycles of includes are tolerated. */
int bundle_set_load(const struct config *c, const struct strv *names, bool strict, struct bundle_set *out,
		    struct err *e);

/* All that b includes, transitively, without b itself; names, in a fixed order: nearest first. */
void bundle_set_includes(const struct bundle_set *s, const struct bundle *b, struct strv *out);

/* mixbundles: a name per line, '#' begins a comment. Loaded sorted; -ERR_CONFIG with line, also when the file is missing. */
int mixbundles_load(const struct config *c, struct strv *out, struct err *e);
int mixbundles_save(const struct config *c, const struct strv *names, struct err *e); /* sorted */
