/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct arena;
struct buf;
struct err;
struct strv;

/* A source package as an archive's Sources index describes it. Strings live as long as the list. */
struct source_file {
	const char *name; /* in directory */
	uint64_t size;
	struct digest sha256;
};

struct source_package {
	const char *name, *version;
	const char *directory;              /* below the archive's URI */
	const char *depends, *depends_arch; /* Build-Depends, Build-Depends-Arch as written, "" when missing */
	const char *conflicts, *conflicts_arch;
	struct source_file *files; /* the .dsc and all that it names */
	size_t n_files;
	const char *repository;
	uint32_t priority; /* of the repository */
};

struct source_list {
	struct source_package *items;
	size_t n, cap;
	const struct strv *names; /* only these are wanted; lent */
	struct arena *arena;
};

struct source_list *source_list_new(const struct strv *names);
void source_list_free(struct source_list *l);
DEFINE_CLEANUP(struct source_list *, source_list_free);

/* Add those of a Sources index that are wanted. repository, priority: given to each. -ERR_FORMAT: with its line. */
int sources_parse(const char *text, size_t len, const char *repository, uint32_t priority, struct source_list *l,
		  struct err *e);

/*
 * A field like Build-Depends without what does not concern us: alternatives that are restricted to other architectures ("[i386]") or by build profiles
 * ("<!nocheck>"). out gets a field like Depends, which begins with ", " when out has text already. -ERR_FORMAT: the field cannot be read.
 */
int source_depends(const char *field, const char *architecture, const struct strv *profiles, struct buf *out,
		   struct err *e);

/* Does a .dsc name exactly these files beside itself? -ERR_DIGEST: others; -ERR_FORMAT: it is none. */
int source_check_dsc(const char *text, size_t len, const struct source_file *files, size_t n, struct err *e);
