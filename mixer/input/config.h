/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/compress.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/signature.h"

struct err;

/*
 * The workspace of a mix is a directory:
 *
 *     mixer.conf        this configuration; 'mixer init' writes it with comments
 *     mixbundles        the bundles of the mix, a name per line
 *     mixer.lock        which packages exactly (lock.h)
 *     mixer.state       release=, previous=: numbers that 'build' moves on
 *     local-bundles/    own definitions; they hide those of [mix] bundles
 *     local-images/     the same for [mix] images
 *     local-debs/       own packages
 *     local-recipes/    how packages are rebuilt (recipe.h), recipes.lock/ from what exactly
 *     Swupd_Root.pem private.pem
 *     update/www/       the published tree
 *     update/releases/<V>/   what 'build bundles' found out about release V (tree.h), input of 'build update' and of later deltas
 */

/* Who does the jobs of a build (step/job.h): threads of this process; or Slurm, and they what it does not */
enum executor { EXECUTOR_THREADS, EXECUTOR_SLURM };
int executor_parse(const char *name, enum executor *out); /* -EINVAL */

enum repository_kind { REPOSITORY_DEBIAN, REPOSITORY_DIRECTORY };

struct repository {
	char *name;                /* [repository NAME] */
	enum repository_kind kind; /* told by its keys: 'suite' or 'path' */
	char *uri; /* debian: of the archive; "apt": the one that this machine's apt uses for the suite */
	char *suite;
	struct strv components;
	char *keyring;     /* debian: for gpgv */
	char *path;        /* directory: of .deb files, absolute */
	uint32_t priority; /* the higher wins, whatever the version; default 500 */
	bool debug;        /* only for debug packages of what others have */
};

struct config {
	int dir;         /* the workspace */
	char *path;      /* of the workspace, absolute, for messages */
	char *name, *id; /* of the OS, for os-release */
	uint32_t format;
	char *content_url, *version_url;
	char *architecture;      /* Debian's name: "amd64" */
	struct strv bundle_dirs; /* absolute, in order of search: local-bundles first */
	char *drop_file;         /* packages.drop: dependencies not to follow; NULL: none */
	char *rules_file;        /* convert.rules: the stateless conversion; NULL: none */
	char *kernel_config;     /* the folder of kernel profiles; NULL: none */
	char *images_dir;        /* of image definitions, absolute; those of <workspace>/local-images hide them */
	char *update_bundle;     /* receives URLs, format and certificate: "os-core-update" */
	char *cache; /* absolute; default /var/cache/limpid, for other users than root limpid in their own cache */
	struct repository *repositories;
	size_t n_repositories;
	struct signer signer;
	enum codec codec; /* of fullfiles and packs */
	int level;
	uint32_t freshness_days;
	uint32_t cover, cover_days; /* which releases get update files from them: step/coverage.h */
	struct strv keep;           /* releases that gc never removes; numbers */
	uint32_t cache_days;        /* gc leaves in the cache what was used in so many days */
	unsigned threads;           /* 0: one per core */
	uint32_t memory;            /* MiB that jobs of threads take together at most; 0: job.c's choice */
	enum executor executor;
	bool debuginfo; /* lock and publish debug information (step/debuginfo.h) */
	bool classic;   /* publish the predecessor's per-file names (for old clients) */
};

/* Read <path>/mixer.conf. Unknown sections and keys are -ERR_CONFIG with file and line; relative paths are taken from the workspace. */
int config_load(const char *path, struct config **out, struct err *e);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free);

/* The same from text[0..len), which is named file in messages; dir and path are of the workspace. dir is taken in any case. */
int config_parse(const char *text, size_t len, const char *file, int dir, const char *path, struct config **out,
		 struct err *e);

/* The text that init writes: every key, commented, with its default. */
extern const char config_template[];

const struct repository *config_repository(const struct config *c, const char *name); /* may be NULL */

/* path seen from the directory base (NULL: the current one), absolute, not resolved; caller frees. */
char *path_absolute(const char *base, const char *path);

/*
 * mixer.state: the number of the release to build next, of the one published last (0: none), and the format of that. The two numbers are equal when a
 * release was published and nothing was said of the next.
 */
struct mix_state {
	uint32_t release, previous, format;
};
int mix_state_load(const struct config *c, struct mix_state *out, struct err *e);
int mix_state_save(const struct config *c, const struct mix_state *s, struct err *e);
