/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "mixer/image/image.h"
#include "mixer/image/release_initramfs.h"
#include "mixer/step/step.h"
#include "mixer/step/tree_archive.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"

/* The kinds that are one file system or one archive. */

#define HUGE_PAGE (2UL << 20) /* what a pmem device is mapped in: the file must be a multiple */
#define LABEL_MAX 15          /* bytes of erofs' label; ext4 has one more */

static const char *suffix(enum codec c)
{
	return c == CODEC_GZIP ? ".gz" : c == CODEC_ZSTD ? ".zst" : "";
}

static int write_dax(struct image_job *job, enum image_filesystem kind, const char *type, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s.%s", job->definition->name, type);
	_cleanup_free_ char *label = xstrndup(job->definition->name, LABEL_MAX);
	char uuid[UUID_TEXT];

	const struct image_filesystem_options o = {
		.kind = kind, .label = label, .id_label = "root", .multiple = HUGE_PAGE};
	int r = image_write_filesystem(job, job->tree, &o, name, NULL, e);
	if (r < 0)
		return r;
	image_uuid(job, o.id_label, uuid);
	image_say_text(job, "root-uuid", uuid);
	image_say_number(job, "root-offset", 0);
	image_root(job, "/dev/pmem0", type, "dax=always");
	image_output(job, name);
	return 0;
}

int image_dax_erofs(struct image_job *job, struct err *e)
{
	return write_dax(job, FILESYSTEM_EROFS, "erofs", e);
}

int image_dax_ext4(struct image_job *job, struct err *e)
{
	return write_dax(job, FILESYSTEM_EXT4, "ext4", e);
}

typedef int write_fn(const struct store *s, const struct tree *t, int fd, struct err *e);

static int write_archive(struct image_job *job, const struct tree *t, write_fn *fn, const char *type, struct err *e)
{
	const enum codec codec = job->definition->codec;
	_cleanup_free_ char *name = xasprintf("%s.%s%s", job->definition->name, type, suffix(codec));
	_cleanup_close_ int fd = image_create(job, ".archive", e);

	int r = fd < 0 ? fd : fn(job->m->store, t, fd, e);
	if (r >= 0)
		r = image_compress(job, codec, ".archive", name, e);
	if (r < 0)
		return err_in(e, r, "%s", name);
	image_output(job, name);
	return 0;
}

int image_tar(struct image_job *job, struct err *e)
{
	return write_archive(job, job->tree, tree_write_tar, "tar", e);
}

static int write_picked(struct image_job *job, struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = NULL;

	int r = release_initramfs_tree(job, job->definition->initramfs, &t, e);
	return r < 0 ? r : write_archive(job, t, tree_write_cpio, "initrd", e);
}

int image_initrd(struct image_job *job, struct err *e)
{
	if (job->definition->initramfs)
		return write_picked(job, e);

	_cleanup_(tree_freep) struct tree *t = image_tree_copy(job->tree);
	const char *init = job->definition->init ? job->definition->init : "/usr/sbin/init";

	/* what a kernel runs of an initrd; without it, it looks for a root elsewhere */
	if (!tree_find(job->tree, "/init")) {
		if (!tree_find(job->tree, init))
			return err_hint(e, err_set(e, -ERR_CONFIG, "nothing of its bundles is '%s'", init),
					"'init =' says what an initrd is to run");
		image_tree_link(t, "/init", init + 1);
		image_tree_end(t);
	}
	return write_archive(job, t, tree_write_cpio, "initrd", e);
}
