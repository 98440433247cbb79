/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct buf;
struct err;
struct table;

/* A binary package as an index or its own control file describes it. Strings live as long as the list. */
struct package {
	const char *name, *version, *arch;
	const char *source, *source_version;
	const char *depends, *pre_depends, *provides, *conflicts, *breaks; /* fields as written, "" when missing */
	bool multiarch_allowed; /* Multi-Arch: allowed, so that NAME:any is satisfied by it */
	bool essential;         /* on every Debian system; only build roots (step/package_lock.h) ask */
	const char *file;       /* below the archive's URI, or in the directory */
	uint64_t size;          /* bytes of the .deb */
	struct digest sha256;
	const char *repository;
	uint32_t priority; /* of the repository */
	int64_t time;      /* when it was built, as the .deb says; 0: from an index, which does not say */
};

struct package_list {
	struct package *items;
	size_t n, cap;
	struct arena *arena;
};

struct package_list *package_list_new(void);
void package_list_free(struct package_list *l);
DEFINE_CLEANUP(struct package_list *, package_list_free);

/*
 * Add the packages of a Packages index. text[0..len) is copied. Those for another architecture than arch or "all" are left out. repository, priority:
 * given to each. -ERR_FORMAT: a stanza without the fields that make a package, with its line.
 */
int packages_parse(const char *text, size_t len, const char *arch, const char *repository, uint32_t priority,
		   struct package_list *l, struct err *e);

/*
 * Add the package of a .deb (deb(5)): what its control file says, size, digest and time. name: its file in dirfd. -ERR_FORMAT: no .deb, or damaged. Returns 1
 * when it was added, 0 when it is for another architecture.
 */
int package_load(int dirfd, const char *name, const char *arch, const char *repository, uint32_t priority,
		 struct package_list *l, struct err *e);

/* Add the text of the control file of a .deb. -ERR_FORMAT: no .deb, or damaged. */
int package_control(int dirfd, const char *name, struct buf *out, struct err *e);

enum relation { ANY_VERSION, EARLIER, EARLIER_EQUAL, EQUAL, LATER_EQUAL, LATER };

/* One alternative of a dependency: "libc6:any (>= 2.36)". Pieces of the text, not terminated. */
struct dependency {
	const char *name, *qualifier, *version; /* qualifier: "any", "amd64"; lengths 0 when missing */
	size_t name_len, qualifier_len, version_len;
	enum relation relation;
	bool more; /* a '|' follows: the next one is an alternative to this one */
};

/* Iterate over a field like Depends: 1 item, 0 end, -ERR_FORMAT. *pos begins at the field's text. */
int dependency_next(const char **pos, struct dependency *out, struct err *e);

/*
 * packages.drop: dependencies not to follow. A line is NAME (whoever wants it) or NAME from PACKAGE… (only these); '#' begins a comment.
 */
struct drop_list;
int drop_list_parse(const char *text, size_t len, const char *file, struct drop_list **out, struct err *e);
void drop_list_free(struct drop_list *d);
DEFINE_CLEANUP(struct drop_list *, drop_list_free);
bool drop_list_has(const struct drop_list *d, const char *name, size_t name_len, const char *wanted_by);

/* The list in one fixed form, for the digest of a mix's wishes. */
void drop_list_format(const struct drop_list *d, struct buf *out);
