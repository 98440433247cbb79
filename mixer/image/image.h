/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mixer/image/definition.h"
#include "mixer/input/tree.h"
#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct buf;
struct err;
struct image_content;
struct image_release;
struct mix;
struct toolroot;
struct toolroot_bind;

/*
 * An image is a function of a published release and a definition: the same bytes whenever, wherever and by whomever it is made.
 *
 *     definition   images/NAME                    → struct image_definition
 *     content      www/<V>, bundles               → struct image_content: what a machine with these bundles has
 *     kind         content, tools                 → files in a directory of the job's own
 *     make         these files, a sidecar         → update/images/<V>/
 */
struct image_job {
	const struct mix *m;
	const struct image_definition *definition;
	uint32_t release;
	int64_t time; /* of the release's MoM: for what must have one (file systems); files have OBJECT_MTIME */
	struct digest identity;       /* of the MoM: image_id derives from it */
	struct image_release *source; /* what else the release has */
	const struct image_content *content;
	struct tree *
		tree; /* of the root, sorted: all files of the bundles and what else a root needs (mount points, links, init, etc) */

	/*
	 * A directory of this job's own, on the file system of the output; it vanishes with the job. What a kind makes gets its final name in it, and image_output
	 * says that it is to stay.
	 */
	int work;
	char *work_path;        /* of it, absolute */
	struct toolroot *tools; /* the set "image"; NULL for kinds that need none */
	struct strv outputs;    /* image_output: the image first */
	struct strv say;        /* image_say_*: members of the sidecar */
	char *cmdline;          /* image_root, image_cmdline */
};

/* One function a kind. Whatever it leaves in job->work without image_output is dropped. */
int image_kata(struct image_job *job, struct err *e);
int image_disk(struct image_job *job, struct err *e);
int image_dax_erofs(struct image_job *job, struct err *e);
int image_dax_ext4(struct image_job *job, struct err *e);
int image_initrd(struct image_job *job, struct err *e);
int image_oci(struct image_job *job, struct err *e);
int image_tar(struct image_job *job, struct err *e);

/* --- what a job says about its image -------------------------------------------------------------------------------------- */

/* job->work has this file (or directory) now, and it is a result. The first is the image itself. */
void image_output(struct image_job *job, const char *name);

/* A member of the sidecar: names are lower case with '-', numbers are bytes unless their name says otherwise. */
void image_say_text(struct image_job *job, const char *key, const char *value);
void image_say_number(struct image_job *job, const char *key, uint64_t value);
void image_say_bool(struct image_job *job, const char *key, bool value);

/*
 * Where the kernel finds the root: "/dev/pmem0", "erofs", "dax=always" (NULL: no flags) become root=, rootfstype=, rootflags= and ro of the command line.
 * image_cmdline: more words for it; a root that is written to says all of it here.
 */
void image_root(struct image_job *job, const char *device, const char *type, const char *flags);
void image_cmdline(struct image_job *job, const char *words);

/* All of it: what the kind says, then what the definition adds. For kinds that write it into the image. The caller frees it. */
char *image_all_cmdline(const struct image_job *job);

/* --- identifiers ---------------------------------------------------------------------------------------------------------- */

/* 32 bytes that are this image's own and the same each time: sha256 of the MoM's digest, the image's name and label. For salts, serial numbers. */
void image_id(const struct image_job *job, const char *label, struct digest *out);

/* The same as a UUID (version 8, RFC 9562), lower case with dashes. */
#define UUID_TEXT 37
void image_uuid(const struct image_job *job, const char *label, char out[UUID_TEXT]);

/* --- the root as a tree --------------------------------------------------------------------------------------------------- */

/* A copy to add to; the caller frees it. */
struct tree *image_tree_copy(const struct tree *t);

/* Put something there; what had the path before is replaced. Missing parents are made (0755 root). Call image_tree_end when all is there: it sorts. */
int image_tree_file(const struct image_job *job, struct tree *t, const char *path, uint32_t mode, const void *data,
		    size_t len, struct err *e);
void image_tree_link(struct tree *t, const char *path, const char *target);
void image_tree_dir(struct tree *t, const char *path, uint32_t mode);
void image_tree_end(struct tree *t);

/* What t has below /usr/share/factory/etc comes to /etc, too. t is sorted, and stays so. */
void image_tree_factory(struct tree *t);

/* The bytes of a file of a tree, added to out. -ENOENT: t has no such file (links are not followed). */
int image_tree_load(const struct image_job *job, const struct tree *t, const char *path, struct buf *out,
		    struct err *e);

/* --- formats -------------------------------------------------------------------------------------------------------------- */

struct image_filesystem_options {
	enum image_filesystem kind;
	const char *label;    /* at most 15 bytes */
	const char *id_label; /* of image_uuid: its UUID and hash seed */
	uint64_t size;        /* bytes to fill; 0: as few as it needs. -ERR_SPACE: t needs more */
	uint64_t multiple;    /* the size is a multiple of it; at least 4096 */
	bool journal;         /* ext4 that is written to */
};

/*
 * Make a file system with t in job->work/name, uncompressed, blocks of 4096, every file's data at a multiple of that and not beside the inode (for DAX).
 * Works for everybody: owners come from a tar. *size (may be NULL): bytes of the file.
 */
int image_write_filesystem(const struct image_job *job, const struct tree *t, const struct image_filesystem_options *o,
			   const char *name, uint64_t *size, struct err *e);

/* Compress job->work/from to job->work/to with the tools root's programs (gzip -9n, zstd -19). CODEC_NONE: renamed. */
int image_compress(const struct image_job *job, enum codec codec, const char *from, const char *to, struct err *e);

/* --- files ---------------------------------------------------------------------------------------------------------------- */

/* Make job->work/name, empty, for reading and writing. Returns an fd. */
int image_create(const struct image_job *job, const char *name, struct err *e);

/* Copy all of job->work/from into fd at offset, leaving holes where it has only zeros. fd's size grows when needed. */
int image_paste(const struct image_job *job, const char *from, int fd, uint64_t offset, struct err *e);

/*
 * Run a program of the tools root; its working directory is job->work, which it sees as /mnt/work. binds (may be NULL): n more. out (may be NULL): its
 * stdout is added. SOURCE_DATE_EPOCH is job->time. -ERR_CHILD: it failed; -ERR_SPACE: it ran out of it.
 */
int image_run(const struct image_job *job, const char *const *argv, const char *const *env,
	      const struct toolroot_bind *binds, size_t n, struct buf *out, struct err *e);
