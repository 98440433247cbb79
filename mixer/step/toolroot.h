/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct buf;
struct bundle_set;
struct err;
struct lock;
struct locked_package;
struct mix;

/*
 * Tools that make things for a release without being part of it: compilers, mkfs, dracut. A set of them is a definition in tools/ of a folder of
 * bundles (bundle(5): names of packages), and which packages exactly stands in <workspace>/tools.lock (mixer.lock(5)), so that what they make does not depend
 * on the machine. All sets are resolved together.
 *
 * A set becomes a root directory in <cache>/tools/<key>: its packages unpacked, no script of them run, with a merged /usr, a minimal /etc and the links
 * that scripts would have made for awk, cc and the like. What is there under its key is whole.
 */
struct toolroot;

/*
 * Open the tools root of a set, made when missing: packages are resolved (no tools.lock yet: it is written), fetched and unpacked. m needs its cache, but not
 * the store. *out: the caller frees it. -ERR_BUNDLE: there is no such set; -ERR_CONFLICT: definitions changed since tools.lock was made.
 */
int toolroot_open(const struct mix *m, const char *set, struct toolroot **out, struct err *e);
void toolroot_free(struct toolroot *t);

/*
 * The same of a directory that is a root already, such as the content of a release: it has the directories that toolroot_run mounts something at (dev, mnt, proc, run,
 * tmp, var/tmp). name is for messages. It has no key and no packages.
 */
struct toolroot *toolroot_at(const char *path, const char *name);
DEFINE_CLEANUP(struct toolroot *, toolroot_free);

const char *
toolroot_key(const struct toolroot *t); /* hex digest of all packages in it: part of the key of what is made with it */
const char *toolroot_path(const struct toolroot *t); /* of the directory, to read from; nobody writes there */

/* The first package of the set whose name begins so; NULL: there is none. */
const struct locked_package *toolroot_find_package(const struct toolroot *t, const char *prefix);

/* The definitions of all sets, and a lock for them: as collect() and resolve() (step.h) for a mix. */
int toolroot_collect(const struct mix *m, struct bundle_set *out, struct err *e);
int toolroot_resolve(const struct mix *m, bool keep, const struct lock *old, struct lock **out, struct err *e);

struct toolroot_bind {
	const char *host;   /* file or directory, not below /proc; what is mounted there comes along */
	const char *inside; /* absolute; below /mnt, /run, /tmp or /var/tmp it is made, elsewhere it must be there */
	bool writable;
};

struct toolroot_job {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in /usr/sbin and /usr/bin */
	const char *const *env;  /* NULL-terminated "NAME=value", besides PATH, HOME, LC_ALL and TZ; may be NULL */
	const struct toolroot_bind *binds; /* made in this order */
	size_t n_binds;
	const char *dir;   /* working directory inside; NULL: / */
	const char *log;   /* stdout and stderr are appended to this file; NULL: kept only for the error */
	struct buf *out;   /* stdout is added here instead; may be NULL */
	const void *input; /* given on stdin; NULL: there is none */
	size_t input_len;
	bool attached; /* it has our stdin, stdout and stderr instead of all that */
	int64_t time;  /* seconds since 1970, for SOURCE_DATE_EPOCH; 0: not set */
};

/*
 * Run a program in the tools root and wait for it. It is root there, in namespaces of its own (of users, too, unless we are root), without network, with a
 * clean environment; it can write to /tmp, /var/tmp, /run and /mnt, which are gone afterwards, and to what is bound. Nothing that it started outlives it.
 * -ERR_CHILD: it ended with another status than 0, or by a signal; the text has the last lines that it wrote. -ENOENT: there is no such program in the root.
 */
int toolroot_run(const struct toolroot *t, const struct toolroot_job *job, struct err *e);
