/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct arena;
struct buf;
struct bundle_set;
struct drop_list;
struct err;
struct lock;
struct locked_package;
struct mix;
struct package_list;
struct release_trees;
struct strv;

/*
 * Debug information of a release: of each ELF file, by build-id, as static files in the layout of debuginfod(8).
 *
 *     update/releases/<V>/debuginfo         which ELF files release V has, and what explains them (below)
 *     update/www/<V>/debuginfo.list         the same for who copies the tree
 *     update/www/<V>/debuginfo.json         and for others: coverage
 *     update/www/debuginfo/buildid/<id>/debuginfo, executable, source/usr/src/debug/<folder>
 *     update/www/debuginfo/source/<digest>/ the texts of one such folder, to which the links in source/ lead
 *
 * A build-id names one content, so what is there is not written again, whatever release it came with.
 */

/* NAME-dbgsym, NAME-dbg or SOURCE-dbgsrc: a package that explains others. */
bool debuginfo_is_package(const char *name);

#define DEBUGINFO_FILES   "/usr/lib/debug/"
#define DEBUGINFO_SOURCES "/usr/src/debug/"

/*
 * Add to l, which is sorted, the packages among all that explain what it has: NAME-dbgsym and NAME-dbg in the version of NAME, SOURCE-dbgsrc in that of the source; but for those that drops (may be NULL) names. They are in no bundle
 * but in those of set that are called <bundle>-debuginfo. Formatting l sorts it again.
 */
void debuginfo_lock(const struct mix *m, const struct package_list *all, const struct drop_list *drops,
		    const struct bundle_set *set, struct lock *l);

/*
 * update/releases/<V>/debuginfo: lines of words between tabs, as the fields stand here (attrs: mode, uid, gid, size), behind "file", "debug" or "text"; before them "input" with a
 * digest. "-" for an empty word.
 */
struct debuginfo_file { /* an ELF file of the release that runs; of equal ones the first */
	const char *id;
	struct attrs attrs;     /* of a file, here and below: the hash is of them, too */
	struct digest hash;     /* of the store */
	const char *by;         /* the package that explains it; "": none */
	const char *package;    /* that it comes from */
	const char *path, *why; /* why: it is not explained; "": it is */
};

struct debuginfo_debug { /* what is published under a build-id */
	const char *id;
	struct attrs attrs;
	struct digest hash;
	const char *folder; /* of its sources; "": none */
};

struct debuginfo_text { /* a file of a folder of sources */
	const char *folder;
	struct attrs attrs;
	struct digest hash;
	const char *path; /* below the folder */
};

struct debuginfo {
	struct debuginfo_file *files;
	size_t n_files, cap_files;
	struct debuginfo_debug *debugs;
	size_t n_debugs, cap_debugs;
	struct debuginfo_text *texts; /* those of a folder one after the other */
	size_t n_texts, cap_texts;
	struct digest input; /* of the locked debug packages, and whether they are wanted */
	struct arena *arena;
};

struct debuginfo *debuginfo_new(void);
void debuginfo_free(struct debuginfo *d);
DEFINE_CLEANUP(struct debuginfo *, debuginfo_free);
int debuginfo_parse(const char *text, size_t len, struct debuginfo **out,
		    struct err *e); /* -ERR_FORMAT with "line N" */
void debuginfo_format(const struct debuginfo *d, struct buf *out);
int debuginfo_load(const struct mix *m, uint32_t release, struct debuginfo **out,
		   struct err *e); /* -ENOENT, also of one that mixers before 2 wrote */

/*
 * Look at what populate has made, and remember it for the release. Each program, library, plug-in and kernel module must have a build-id, but for what no-build-id() of a bundle names:
 * -ERR_INCOMPLETE.
 */
int debuginfo_collect(const struct mix *m, const struct bundle_set *set, const struct lock *l,
		      const struct release_trees *trees, struct err *e);

/* Was that done with the debug packages that are locked now? They may come later than the release that they explain. */
bool debuginfo_is_current(const struct mix *m, uint32_t release, const struct lock *l);

/* Publish what was collected for the release. */
int debuginfo_publish(const struct mix *m, struct err *e);

/* How much is covered, for people or as JSON; -ERR_RELEASE: it was not looked at. */
int debuginfo_status(const struct mix *m, uint32_t release, bool json, struct err *e);

/*
 * Of each source package of an archive from which bundles (none: all), and those that they include, have something in a release without debug information: one
 * of its packages in l, the worst source first. The caller frees items, also after a failure. -ERR_BUNDLE: the release has no such bundle.
 */
struct missing {
	const struct locked_package **items;
	size_t n;
};
int debuginfo_missing(const struct mix *m, uint32_t release, const struct strv *bundles, const struct lock *l,
		      struct missing *out, struct err *e);

/*
 * Rebuild these sources, as package_build.h does, one after the other; what cannot be is told and passed over. The last line says how many are.
 * -ERR_INCOMPLETE: some could not be; -ERR_NO: there are none; -ERR_CONFIG: the mix wants no debug information; -ERR_USAGE: archives or except name something else.
 */
struct debuginfo_wish {
	const struct strv *bundles;  /* none: all */
	const struct strv *archives; /* sources from these repositories alone; none: from all */
	const struct strv *except;   /* not these sources */
	bool older;                  /* also where the archives have only an older source than that of the release */
};
int debuginfo_rebuild(const struct mix *m, uint32_t release, const struct debuginfo_wish *w, struct err *e);

/* Add what a release needs of update/www/debuginfo: names below it. 0: it was not looked at, and may need anything; 1 */
int debuginfo_needs(const struct mix *m, uint32_t release, struct strv *out, struct err *e);

/* Each file that is published below update/www/debuginfo, under its name there; a folder's texts are one after the other. */
typedef int debuginfo_each_fn(void *arg, const char *path, const struct attrs *attrs, const struct digest *hash,
			      struct err *e);
int debuginfo_each(const struct debuginfo *d, debuginfo_each_fn *each, void *arg, struct err *e);

/* Once they are in root, a directory fd of such a tree: the links to the folders of sources. */
int debuginfo_link(const struct debuginfo *d, int root, struct err *e);

/* What a tree says of it, in www/<V>: debuginfo.list and debuginfo.json. */
#define DEBUGINFO_LIST     "debuginfo.list"
#define DEBUGINFO_LIST_MAX (1UL << 30) /* bytes: a million files and texts of 200, five times */
int debuginfo_save_index(const struct debuginfo *d, int www, uint32_t release, struct err *e);

/* The name of a folder of texts below update/www/debuginfo, "source/<digest>": n of them, from texts. The caller frees it. */
char *debuginfo_folder(const struct debuginfo_text *texts, size_t n);
size_t debuginfo_folder_end(const struct debuginfo *d,
			    size_t i); /* behind the texts of the folder that texts[i] begins */
