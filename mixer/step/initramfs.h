/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct bundle_set;
struct err;
struct mix;
struct strv;
struct tree;

/*
 * Initrds that are not a list of bundles but what dracut picks of them: initramfs/README.md. dracut is the release's own, runs in a root of the release's
 * content and finds nothing else there, so what it picks is what the release has. Works for everybody who may make namespaces.
 *
 *     configuration   /usr/lib/dracut/dracut.conf.d/<config>/ of the release, and the bundle that has it
 *     modules         /usr/lib/modules/<V>/ of the content; none: a kernel without modules
 */
#define INITRAMFS_CONFIGS "/usr/lib/dracut/dracut.conf.d"

struct initramfs_job {
	const struct mix *m;
	const char *config;
	const struct tree *content; /* what there is to pick from: all files of the bundles that take part */
	int64_t time;               /* seconds since 1970, for programs that ask */
	int work;                   /* a directory of the caller's */
	const char *work_path;      /* absolute */
};

/*
 * *out: the files of the initrd, sorted, content in the store, all of root; the caller frees it. Kept in <cache>/made under everything that it was made from.
 * -ERR_CONFIG: there are modules of two kernels; -ERR_CHILD: dracut failed.
 */
int initramfs_tree(const struct initramfs_job *job, struct tree **out, struct err *e);

/*
 * initrd(CONFIG) in definitions, bundle(5): made[i] gets what bundles[i] of the set has of them, /usr/lib/kernel/<kernel>/initrd for each kernel of the bundle and of those that
 * it includes. includes[i]: all that it builds on; trees[i]: all that packages, content() and mixer bring to it, sorted. -ERR_CONFIG: no bundle has the configuration, or there is no kernel.
 */
int initramfs_of_bundles(const struct mix *m, const struct bundle_set *set, int64_t time,
			 const struct strv *const *includes, struct tree *const *trees, struct tree *const *made,
			 struct err *e);
