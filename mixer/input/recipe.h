/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct config;
struct err;

/* How a source package of Debian is rebuilt: recipe(5). The definition lies in recipes/ of a folder of bundles; one in local-recipes/ of the workspace hides it. */
enum compiler { COMPILER_GCC, COMPILER_CLANG };

struct recipe {
	char *name, *title; /* title: the first line of its comment, "" when there is none */
	char *folder;       /* where it was read, and what lies beside it; NULL: there is none */
	char *source;       /* the source package */
	enum compiler compiler;
	char *flags;          /* for the compiler, behind ours; "" */
	struct strv patches;  /* names in folder/patches, applied in this order */
	struct strv profiles; /* build profiles, besides nodoc and nocheck */
	bool check;           /* run the package's own tests: no profile nocheck */
	bool docs;            /* build documentation: no profile nodoc. Some packages cannot be built without */
	char *workload;       /* name of the script folder/NAME.workload that trains it; NULL: there is none */
	struct strv bundles;  /* that the workload needs */
	char *reason;         /* why it is rebuilt, for people; "" */
};

/*
 * text[0..len) is the recipe called name in folder, whose files must be there (NULL: they are not looked for). -ERR_CONFIG: with file and line.
 */
int recipe_parse(const char *text, size_t len, const char *name, const char *folder, struct recipe **out,
		 struct err *e);
int recipe_load(const struct config *c, const char *name, struct recipe **out, struct err *e);
void recipe_free(struct recipe *r);
DEFINE_CLEANUP(struct recipe *, recipe_free);

/* A name that no recipe has is that of a source package, which is built plainly: its recipe has no folder. */
int recipe_get(const struct config *c, const char *name, struct recipe **out, struct err *e);

/*
 * The name of the recipe that a source package is built by: one that has a lock, else that of the source's name, else one that builds the source as Debian
 * does: without patches, build profiles or flags. Plainly, under the source's name, when there is none. The caller frees it.
 */
char *recipe_of_source(const struct config *c, const char *source);

/* The names of all recipes, sorted; sources that were locked without one are among them. */
int recipe_names(const struct config *c, struct strv *out, struct err *e);

/* The path of the file NAME (as "build", "zstd.profile") in the first folder of recipes that has it; NULL: none. The caller frees it. */
char *recipe_file(const struct config *c, const char *name);

/* Profiles that hold for its build; the caller frees the list. */
void recipe_build_profiles(const struct recipe *r, struct strv *out);
