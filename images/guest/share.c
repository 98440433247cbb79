/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "images/guest/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* Linux 6.9 and later tell the tags of virtiofs; a share's folder there has a number. */
#define VIRTIOFS "/sys/fs/virtiofs"
#define P9       "/sys/bus/virtio/drivers/9pnet_virtio"

/* The tags of all devices below a folder: each has one in a file of this name. A folder that is not there has none. */
static void tags_add(const char *folder, const char *file, struct strv *out)
{
	_cleanup_(strv_free) struct strv devices = {0};

	if (fs_list(AT_FDCWD, folder, &devices, NULL) < 0)
		return;
	for (size_t i = 0; i < devices.n; i++) {
		_cleanup_(buf_free) struct buf tag = {0};
		_cleanup_free_ char *path = xasprintf("%s/%s/%s", folder, devices.items[i], file);

		/* 9p ends it with a NUL, virtiofs with a newline */
		if (fs_load(AT_FDCWD, path, 4096, &tag, NULL) >= 0)
			strv_add(out, text_trim(tag.data));
	}
}

static int share_missing(const char *tag, const struct strv *virtiofs, const struct strv *p9, struct err *e)
{
	_cleanup_free_ char *names = strv_join(virtiofs, "', '");
	_cleanup_free_ char *more = strv_join(p9, "', '");

	if (virtiofs->n + p9->n == 0)
		return err_set(e, -ENOENT, "the host shares nothing: no device for virtiofs or 9p");
	return err_set(e, -ENOENT, "the host does not share '%s', but '%s%s%s'", tag, names,
		       virtiofs->n && p9->n ? "', '" : "", more);
}

int share_mount(const char *tag, const char *where, struct err *e)
{
	/* cache=mmap: programs can be run from there; nothing else is kept, so both sides see what the other writes */
	static const char p9_options[] = "trans=virtio,version=9p2000.L,msize=131072,cache=mmap";
	_cleanup_(strv_free) struct strv virtiofs = {0}, p9 = {0};
	const char *type = "virtiofs";
	int r;

	tags_add(VIRTIOFS, "tag", &virtiofs);
	tags_add(P9, "mount_tag", &p9);
	if (!strv_has(&virtiofs, tag)) {
		if (!strv_has(&p9, tag))
			return share_missing(tag, &virtiofs, &p9, e);
		type = "9p";
	}
	r = fs_mkdirs(AT_FDCWD, where, 0755, e);
	if (r < 0)
		return r;
	if (mount(tag, where, type, MS_NODEV, *type == '9' ? p9_options : NULL) < 0)
		return err_errno(e, "cannot mount the share '%s' (%s)", tag, type);
	return 0;
}
