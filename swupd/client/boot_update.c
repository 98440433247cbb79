/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/boot_update.h"

#include <errno.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/client/bootfiles.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/post.h"

/* 1: *out; 0: there is none that is ours to write */
static int open_partition(struct machine *m, struct boot **out, struct err *e)
{
	if (m->opts->no_boot_update || m->opts->no_scripts || m->data < 0 || post_has_boot_manager(m))
		return 0;
	return boot_open(m, out, e);
}

int boot_prepare(struct machine *m, const struct plan *p, struct err *e)
{
	_cleanup_(boot_closep) struct boot *b = NULL;

	if (p && p->from == p->to && !p->boot)
		return 0;
	int r = open_partition(m, &b, e);
	if (r > 0 && p)
		r = boot_check(b, m->root, p, p->to, NULL, e);
	if (r >= 0 && b)
		r = fs_save(m->data, BOOT_PENDING, "", 0, 0644, e);
	return r < 0 ? r : 0;
}

int boot_complete(struct machine *m, struct err *e)
{
	_cleanup_(boot_closep) struct boot *b = NULL;

	if (m->data < 0 || m->release == 0 || !fs_exists(m->data, BOOT_PENDING))
		return 0;
	int r = open_partition(m, &b, e);
	if (r <= 0)
		return r;
	r = boot_add(b, m->root, m->release, NULL, 0, e);
	if (r < 0)
		return e && e->hint ? r : err_hint(e, r, "the next swupd tries it again");
	if (unlinkat(m->data, BOOT_PENDING, 0) < 0 && errno != ENOENT)
		return err_errno(e, BOOT_PENDING);
	return fs_sync_dir(m->data, ".", e);
}

int boot_foresee(struct machine *m, const struct plan *p, struct boot_room *room, struct err *e)
{
	_cleanup_(boot_closep) struct boot *b = NULL;
	int r = open_partition(m, &b, e);

	return r <= 0 ? r : boot_estimate(b, p, room, e);
}
