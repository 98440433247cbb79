/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct config;
struct err;
struct mix;

/*
 * Kernels of our own. kernel-config/ has them as text: fragments of configuration, profiles composed of these, patches, and the recipe (build, check). From
 * Debian's kernel source in the tools root "kernel" a profile becomes two packages in <workspace>/local-debs, for bundles to name:
 *
 *     limpid-kernel-PROFILE      /usr/lib/kernel/PROFILE/{vmlinux,bzImage,System.map,config,cmdline,release}, /usr/lib/modules/<release>/ if it has modules
 *     limpid-kernel-PROFILE-dbg  /usr/lib/debug/.build-id/xx/<rest>.debug
 */
struct kernel_profile {
	char *name, *title; /* title: the first line of its comment, "" when there is none */
	struct strv fragments;
	char *cmdline; /* that it is started with */
	bool modules;
	bool clang;    /* instead of gcc */
	char *trained; /* name of what it is trained with; NULL: nothing */
};

/* text[0..len) is the profile called name, named file in messages. -ERR_CONFIG: with file and line. */
int kernel_profile_parse(const char *text, size_t len, const char *name, const char *file, struct kernel_profile **out,
			 struct err *e);
int kernel_profile_load(const struct config *c, const char *name, struct kernel_profile **out, struct err *e);
void kernel_profile_free(struct kernel_profile *p);
DEFINE_CLEANUP(struct kernel_profile *, kernel_profile_free);

/*
 * How a kernel ran when it was trained (profile(5)): local-recipes/kernel-TRAINED.profile, else trained/TRAINED.profile in kernel-config. NULL: it was not; the caller
 * frees it.
 */
char *kernel_training(const struct config *c, const struct kernel_profile *p);

/* Their names, sorted. -ERR_CONFIG: there is no folder of profiles. */
int kernel_profile_names(const struct config *c, struct strv *out, struct err *e);

/* The version of limpid-kernel-NAME that lies in local-debs; NULL: none. The caller frees it. */
char *kernel_version_built(const struct config *c, const char *name);

struct kernel_state {
	char *version; /* that lies in local-debs; NULL: none. The caller frees it. */
	bool trained;  /* it is known how it runs */
	bool stale;    /* but what lies in local-debs was built without, because that was another kernel's */
};
int kernel_state(const struct config *c, const char *name, struct kernel_state *out, struct err *e);

/*
 * Build what is not in the cache, and put the packages of these profiles into local-debs in the place of older ones. The result is a function of the source
 * package, the tools, kernel-config/ and, if with_training, what is known of how they run, and is cached under them all in <cache>/kernels/<key>: what is there is
 * whole. One whose training was another kernel's is built without, and a warning says so. -ERR_CONFIG: no such profile;
 * -ERR_CHILD: a stage failed, the text has its last lines; <cache>/kernels/log/PROFILE.log has all.
 */
int kernel_build(const struct mix *m, const struct strv *names, bool with_training, struct err *e);
