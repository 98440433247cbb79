/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/manifest.h"

struct catalog;
struct err;
struct fs_parent;
struct machine;

/*
 * A plan is what is to be done to the root, before anything is fetched. Every command that changes a system makes one; stage.h brings what it
 * needs, install.h does it.
 */

/* All paths that a set of bundles has, each once (spec/swupd-client-behaviour.md section 6.1), sorted by name. */
struct files {
	const struct entry **items; /* lent from the catalog */
	const char **bundles;       /* items[i] comes from this bundle */
	size_t n;
};
void files_of(const struct catalog *c, struct files *out);
void files_free(struct files *f);
size_t files_at(const struct files *f, const char *name);                /* SIZE_MAX: not there */
const struct entry *files_find(const struct files *f, const char *name); /* may be NULL */

/* How the disk has it. */
enum { DISK_SAME, DISK_DIFFERENT, DISK_MISSING };
int entry_on_disk(struct fs_parent *parent, const struct entry *want); /* parent: of the root */

struct change {
	const char *name;         /* absolute */
	const struct entry *want; /* NULL: remove the path */
	const char *bundle;
};

struct plan {
	uint32_t from, to;      /* releases */
	struct change *changes; /* sorted by name, each name once */
	size_t n_changes, cap_changes;
	struct strv mark, unmark; /* bundles to track and to forget, made with the commit */
	const struct files *old;  /* what is installed, by its manifests: source of deltas and renames; may be NULL */
	uint64_t bytes;           /* of new content, where the manifests tell */
	struct strv names;        /* those that no manifest holds */
	bool unchecked_space;     /* the user knows better: stage() does not check the free space */
	bool boot, systemd;       /* boot files, PID 1's program change */
};

struct plan *plan_new(uint32_t from, uint32_t to);
void plan_free(struct plan *p);
DEFINE_CLEANUP(struct plan *, plan_free);
void plan_put(struct plan *p, const struct entry *want, const char *bundle);
void plan_remove(struct plan *p, const char *name);
void plan_remove_copy(struct plan *p, const char *name); /* the plan keeps its own copy of name */
/*
 * Sort, and add the directories that something is placed into but that are not there: -ERR_NOT_LISTED when a release does not
 * know one; -ERR_CONFLICT when it is a file or link of the same release. The functions below end with it.
 */
int plan_complete(const struct machine *m, const struct files *new, struct plan *p, struct err *e);
const struct change *plan_find(const struct plan *p, const char *name); /* p is sorted; may be NULL */

/*
 * From old to new. Unchanged entries are not in the plan; one that is the same but was stamped anew (minversion) is looked at on disk. State paths and mount points are
 * not touched; paths that vanish below boot prefixes and ghosted ones stay.
 */
int plan_update(const struct machine *m, const struct files *old, const struct files *new, struct plan *p,
		struct err *e);

/* Everything in new that is not in old (NULL: everything): os-install, bundle-add. state: state paths, too (os-install). What is already right on disk is left out. */
int plan_add(const struct machine *m, const struct files *old, const struct files *new, bool state, struct plan *p,
	     struct err *e);

/* Remove what is in old and not in new: bundle-remove. */
int plan_drop(const struct machine *m, const struct files *old, const struct files *new, struct plan *p, struct err *e);

/*
 * Compare the disk with the manifests. Each difference is reported through found and, if it returns 1, put into the plan. Kinds in this order, names in order
 * within each. Hashing runs on all cores. spec/swupd-client-behaviour.md section 7.
 */
enum difference { DIFFERENCE_MISSING, DIFFERENCE_CHANGED, DIFFERENCE_DELETED_PRESENT, DIFFERENCE_EXTRA };
typedef int difference_fn(void *arg, enum difference kind, const char *name);

struct check_options {
	bool quick;             /* missing files only */
	bool picky, extra_only; /* also, or only, what is in no manifest */
	const char *picky_tree; /* absolute; default "/usr" */
	const char *
		picky_whitelist; /* extended regular expression that whole paths match; default: modules, kernel, local, src */
	const char *file;        /* this path (and below) only; NULL: all */
};
int plan_check(const struct machine *m, const struct files *want, const struct check_options *o, difference_fn *found,
	       void *arg, struct plan *p, struct err *e);
