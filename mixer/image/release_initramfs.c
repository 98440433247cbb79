/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/release_initramfs.h"

#include <errno.h>

#include "mixer/image/content.h"
#include "mixer/image/image.h"
#include "mixer/step/initramfs.h"
#include "mixer/step/step.h"
#include "mixer/step/tree_archive.h"
#include "swupd/base/err.h"
#include "swupd/base/text.h"

#define KERNELS "/usr/lib/kernel"
#define ARCHIVE ".initramfs"

/* The bundle that has the first file of a folder of the release; NULL: the folder is not there */
static int owner_of(const struct image_job *job, const char *dir, const char **out, struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = tree_new();

	int r = image_release_folder(job->source, dir, t, e);
	if (r >= 0)
		*out = t->n ? image_release_owner(job->source, t->nodes[0].path) : NULL;
	return r;
}

static int add_config(const struct image_job *job, const char *config, struct strv *bundles, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf(INITRAMFS_CONFIGS "/%s", config);
	const char *owner = NULL;

	int r = owner_of(job, dir, &owner, e);
	if (r >= 0 && !owner) {
		r = err_set(e, -ERR_CONFIG, "release %u has no initramfs '%s' (%s/)", job->release, config, dir);
		return err_hint(e, r,
				"'mixer bundle add initramfs', then 'mixer build' make a release that has 'host'");
	}
	if (r >= 0)
		strv_add(bundles, owner);
	return r;
}

static int add_kernel(const struct image_job *job, struct strv *bundles, struct err *e)
{
	const char *kernel = job->definition->kernel, *owner = NULL;
	_cleanup_free_ char *dir = xasprintf(KERNELS "/%s", kernel ? kernel : "");

	int r = kernel ? owner_of(job, dir, &owner, e) : 0;
	if (r >= 0 && kernel && !owner)
		return err_set(e, -ERR_CONFIG, "release %u has no kernel '%s' (%s/)", job->release, kernel, dir);
	if (r >= 0 && owner)
		strv_add(bundles, owner);
	return r;
}

int release_initramfs_tree(const struct image_job *job, const char *config, struct tree **out, struct err *e)
{
	_cleanup_(image_content_freep) struct image_content *content = NULL;
	_cleanup_(strv_free) struct strv bundles = {0};

	int r = add_config(job, config, &bundles, e);
	if (r >= 0)
		r = add_kernel(job, &bundles, e);
	/* an initrd's own bundles are there to be picked from, too */
	for (size_t i = 0; r >= 0 && job->definition->kind == IMAGE_INITRD && i < job->definition->bundles.n; i++)
		strv_add(&bundles, job->definition->bundles.items[i]);
	if (r >= 0)
		r = image_content_load(job->source, &bundles, &content, e);
	if (r < 0)
		return err_in(e, r, "initramfs '%s'", config);
	const struct initramfs_job pick = {
		.m = job->m,
		.config = config,
		.content = content->tree,
		.time = job->time,
		.work = job->work,
		.work_path = job->work_path,
	};
	return initramfs_tree(&pick, out, e);
}

int release_initramfs_build(const struct image_job *job, const char *config, enum codec codec, const char *name,
			    struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = NULL;

	int r = release_initramfs_tree(job, config, &t, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = image_create(job, ARCHIVE, e);
	r = fd < 0 ? fd : tree_write_cpio(job->m->store, t, fd, e);
	return r < 0 ? r : image_compress(job, codec, ARCHIVE, name, e);
}
