/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/back.h"
#include "swupd/client/clone.h"
#include "swupd/client/commit.h"
#include "swupd/client/history.h"
#include "swupd/client/install.h"
#include "swupd/client/journal.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/plan.h"
#include "swupd/content/format.h"

/* What a clone by links takes: a block for each directory, and where directories are not of blocks (btrfs) metadata for each name. */
#define DIR_BYTES  4096
#define NAME_BYTES 512

#define TRIES 3 /* of making a clone while others write below usr */

DEFINE_CLEANUP(struct journal *, journal_free);

void exchange_look_free(struct exchange_look *l)
{
	freep(&l->why);
}

/* Does the name of a file system say that it cannot exchange directories, or not so that all see it at once? */
static const char *unfit(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return "its file system cannot be told";
	switch (fs.f_type) {
	case OVERLAYFS_SUPER_MAGIC:
		return "overlayfs cannot exchange directories of a lower layer";
	case NFS_SUPER_MAGIC:
		return "NFS cannot exchange directories";
	case MSDOS_SUPER_MAGIC:
		return "FAT has no links";
	default:
		return NULL;
	}
}

static int look_at_mounts(const struct machine *m, char **why, struct err *e)
{
	_cleanup_(strv_free) struct strv mounts = {0};

	int r = mounts_below(m->path, &mounts, e);
	for (size_t i = 0; r >= 0 && i < mounts.n; i++) {
		if (strcmp(mounts.items[i], "/usr") == 0)
			*why = xstrdup("/usr is a mount point");
		else if (text_starts(mounts.items[i], "/usr/"))
			*why = xasprintf("%s is a mount point", mounts.items[i]);
		else
			continue;
		return 0;
	}
	return r < 0 ? r : 1;
}

/* Room for a clone by links. measure: also where all inodes of the file system, were they directories, would have room as well. */
static int look_at_room(const struct machine *m, bool measure, uint64_t *need, char **why, struct err *e)
{
	struct clone_size size;
	struct statvfs fs;

	if (fstatvfs(m->root, &fs) < 0)
		return err_errno(e, "%s", m->path);
	const uint64_t have = (uint64_t)fs.f_bavail * fs.f_frsize, inodes = fs.f_files - fs.f_ffree;
	if (!measure && inodes && inodes * DIR_BYTES <= have && inodes <= fs.f_favail)
		return 1;
	int r = clone_measure(m->root, "usr", &size, why, e);
	if (r <= 0)
		return r;
	*need = size.dirs * DIR_BYTES + size.others * NAME_BYTES;
	if (*need > have || (fs.f_files && fs.f_favail < size.dirs)) {
		_cleanup_free_ char *n = text_size(*need), *h = text_size(have);
		*why = xasprintf("a second tree takes %s and %llu inodes, %s and %llu are left", n,
				 (unsigned long long)size.dirs, h, (unsigned long long)fs.f_favail);
		return 0;
	}
	return 1;
}

static int look_at_usr(const struct machine *m, struct exchange_look *l, struct err *e)
{
	struct stat root, usr;
	struct statx sx;

	if (fstat(m->root, &root) < 0 || statx(m->root, "", AT_EMPTY_PATH, STATX_TYPE, &sx) < 0)
		return err_errno(e, "%s", m->path);
	if (fstatat(m->root, "usr", &usr, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(usr.st_mode)) {
		l->why = xstrdup("/usr is not a directory");
		return 0;
	}
	const char *bad = unfit(m->root);
	l->snapshot = clone_is_subvolume(m->root, "usr");
	const int nested = l->snapshot ? clone_has_subvolumes(m->root, "usr", e) : 0;
	if (nested < 0)
		return nested;
	if (bad)
		l->why = xstrdup(bad);
	else if (sx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))
		l->why = xstrdup("/ is immutable");
	else if (nested)
		l->why = xstrdup("there are subvolumes below /usr");
	else if (!l->snapshot && usr.st_dev != root.st_dev)
		l->why = xstrdup("/usr is on another file system than /");
	else if (fs_exists(m->root, TREE_GONE) || fs_exists(m->root, TREE_NEXT))
		l->why = xstrdup("/" TREE_NEXT " or /" TREE_GONE " is left from an earlier run");
	return l->why ? 0 : 1;
}

int exchange_look(const struct machine *m, bool measure, struct exchange_look *out, struct err *e)
{
	struct exchange_look l = {0};

	int r = look_at_usr(m, &l, e);
	if (r > 0)
		r = look_at_mounts(m, &l.why, e);
	if (r > 0 && !l.snapshot)
		r = look_at_room(m, measure, &l.bytes, &l.why, e);
	if (r < 0) {
		exchange_look_free(&l);
		return err_in(e, r, "cannot tell whether /usr can be exchanged");
	}
	l.possible = r > 0;
	*out = l;
	return 0;
}

/* What a run that failed or was killed left beside targets on the root's file system. */
static void sweep_beside(const struct machine *m)
{
	_cleanup_(strv_free) struct strv names = {0};

	if (fs_list(m->root, ".", &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.n; i++)
		if (text_starts(names.items[i], ".swupd-") &&
		    strspn(names.items[i] + strlen(".swupd-"), "0123456789") ==
			    strlen(names.items[i] + strlen(".swupd-")))
			(void)fs_remove_tree(m->root, names.items[i], NULL);
}

void exchange_sweep(const struct machine *m)
{
	static const char *const trees[] = {TREE_NEXT, TREE_GONE};

	if (fs_exists(m->root, JOURNAL_PATH))
		return;
	for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
		struct err why = ERR_INIT;
		if (fs_exists(m->root, trees[i]) && clone_remove(m->root, trees[i], &why) < 0)
			ui_warn(m->ui, "cannot remove /%s: %s", trees[i], why.text);
		err_clear(&why);
	}
	sweep_beside(m);
}

int exchange_forget(const struct machine *m, struct err *e)
{
	if (renameat(m->root, TREE_OLD, m->root, TREE_GONE) < 0 && errno != ENOENT)
		return err_hint(e, err_errno(e, "cannot put /" TREE_OLD " away"), "remove /" TREE_GONE);
	return fsync(m->root) < 0 ? err_errno(e, "%s: fsync", m->path) : 0;
}

int exchange_keep(const struct machine *m, struct err *e)
{
	if (!fs_exists(m->root, TREE_NEXT))
		return 0;
	int r = fs_remove_tree(m->root, TREE_NEXT "/" WORK_IN_TREE "/staged", e);
	if (r >= 0 && fs_exists(m->root, TREE_OLD))
		r = exchange_forget(m, e);
	if (r < 0)
		return r;
	if (renameat(m->root, TREE_NEXT, m->root, TREE_OLD) < 0)
		return err_errno(e, "cannot keep the old /usr as /" TREE_OLD);
	return fsync(m->root) < 0 ? err_errno(e, "%s: fsync", m->path) : 0;
}

/* Names that the plan gives other content or takes away: no tree of links needs them. */
static struct table *names_changed(const struct plan *p)
{
	struct table *names = table_new();

	for (size_t i = 0; i < p->n_changes; i++)
		if (!p->changes[i].want || p->changes[i].want->kind != KIND_DIR)
			(void)table_add_str(names, p->changes[i].name, (void *)p);
	return names;
}

/* The next tree with its journals. 1: prepared; 0: others write below usr, or something stands against it (*why). */
static int prepare_next(const struct machine *m, const struct plan *p, struct journal *outside, char **why,
			struct err *e)
{
	_cleanup_(journal_freep) struct journal *inside = journal_new(p->from, p->to);
	_cleanup_(table_freep) struct table *changed = names_changed(p);
	_cleanup_(strv_free) struct strv dirs = {0};
	const struct timespec since = clone_now();
	const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

	progress_stage(m->progress, "clone", 0, false);
	int r = clone_make(m->root, "usr", TREE_NEXT, changed, &dirs, why, e);
	if (r <= 0)
		return r;
	r = commit_prepare(m, p, TREE_NEXT, inside, outside, e);
	if (r >= 0)
		r = commit_steps(m, inside, e);
	if (r >= 0)
		r = fs_remove_tree(m->root, TREE_NEXT "/" WORK_IN_TREE "/staged", e);
	if (r >= 0)
		r = back_save(m, outside, e);
	/* systemd's ConditionNeedsUpdate= compares the time of /usr with that of /etc/.updated (systemd.unit(5)) */
	if (r >= 0 && utimensat(m->root, TREE_NEXT, now, 0) < 0)
		r = err_errno(e, "/" TREE_NEXT);
	journal_add(outside, &(struct journal_step){.kind = STEP_KEEP, .target = TREE_NEXT});
	progress_stage(m->progress, "sync", 0, false);
	if (r >= 0)
		r = commit_sync(m, outside, e);
	if (r >= 0)
		r = commit_write(m, TREE_NEXT, JOURNAL_NAME, outside, e);
	if (r < 0)
		return r;
	r = clone_is_stale(m->root, "usr", &dirs, &since, e);
	return r < 0 ? r : !r;
}

/* Nothing installed has changed; staged objects stay for the next try. */
static void give_up(const struct machine *m, const char *tree)
{
	_cleanup_free_ char *journal = xasprintf("%s/" WORK_IN_TREE "/" JOURNAL_NAME, tree);

	(void)unlinkat(m->root, journal, 0);
	(void)fs_remove_tree(m->root, "usr" PREPARED_IN_TREE, NULL);
	(void)unlinkat(m->root, STAGE_PARENT "/" BACK_NAME, 0);
	(void)unlinkat(m->root, STAGE_PARENT, AT_REMOVEDIR); /* fails where something is staged */
	exchange_sweep(m);
}

/* The commit itself. 1: done; 0: the file system cannot do it. */
static int swap(const struct machine *m, const char *tree, char **why, struct err *e)
{
	if (renameat2(m->root, tree, m->root, "usr", RENAME_EXCHANGE) == 0)
		return 1;
	if (errno != EINVAL && errno != ENOSYS && errno != EXDEV && errno != EOPNOTSUPP)
		return err_errno(e, "cannot exchange /usr with /%s", tree);
	*why = xasprintf("the file system refuses to exchange /usr: %s", strerrordesc_np(errno));
	return 0;
}

/* Is anything outside of usr still to be changed? */
static bool changes_outside(const struct journal *j)
{
	for (size_t i = 0; i < j->n; i++)
		if (j->steps[i].kind == STEP_PUT || j->steps[i].kind == STEP_DIR || j->steps[i].kind == STEP_DEL)
			return true;
	return false;
}

/* The new tree is usr: from here the system only goes forward. */
static int complete(struct machine *m, const struct journal *j, struct err *e)
{
	const bool outside = changes_outside(j);

	/* where all is below usr the system has changed: what follows makes that durable, and clears up */
	if (!outside)
		progress_stage(m->progress, "finish", 0, false);
	if (fsync(m->root) < 0)
		return err_hint(e, err_errno(e, "%s: fsync", m->path), "the journal is kept: the next run goes on");
	int r = commit_written(m, j, e);
	if (outside)
		progress_stage(m->progress, "finish", 0, false);
	if (r >= 0)
		r = commit_finish(m, j, e);
	if (r >= 0)
		exchange_sweep(m);
	return r;
}

static int exchange_now(struct machine *m, const struct plan *p, char **why, struct err *e)
{
	int r = 0;

	for (int i = 0; i < TRIES && r == 0 && !*why; i++) {
		_cleanup_(journal_freep) struct journal *outside = journal_new(p->from, p->to);
		r = prepare_next(m, p, outside, why, e);
		progress_stage(m->progress, "commit", 0, false);
		if (r > 0)
			r = swap(m, TREE_NEXT, why, e);
		if (r > 0)
			return complete(m, outside, e);
		give_up(m, TREE_NEXT);
	}
	if (r == 0 && !*why)
		*why = xstrdup("files below /usr are being changed by others");
	return r;
}

int exchange(struct machine *m, const struct plan *p, char **why, struct err *e)
{
	_cleanup_(exchange_look_free) struct exchange_look look = {0};

	int r = next_boot_cancel(m, e);
	if (r >= 0)
		r = exchange_look(m, false, &look, e);
	if (r >= 0 && look.possible) {
		r = exchange_now(m, p, why, e);
		progress_end(m->progress);
		if (r == 0 && !*why)
			history_add(m, m->command, "exchange", p->from, p->to, 0, NULL);
	} else if (r >= 0) {
		*why = take(look.why);
	}
	if (r < 0)
		history_add(m, m->command, "exchange", p->from, p->to, r, e);
	return r < 0 || !*why ? r : install(m, p, e);
}

uint32_t exchange_old_release(const struct machine *m)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_close_ int fd = fs_open_beneath(m->root, TREE_OLD "/lib/os-release", O_RDONLY | O_NONBLOCK, 0, NULL);

	if (fd < 0 || fs_load_fd(fd, "os-release", SMALL_TEXT_MAX, &text, NULL) < 0)
		return 0;
	return os_release_version(text.data);
}

static int back_now(struct machine *m, struct journal **out, struct err *e)
{
	_cleanup_(journal_freep) struct journal *j = NULL;
	_cleanup_free_ char *why = NULL;

	int r = look_at_mounts(m, &why, e);
	if (r == 0)
		return err_hint(e, err_set(e, -EBUSY, "/usr cannot be exchanged: %s", why), "unmount it first");
	if (r >= 0)
		r = back_load(m, TREE_OLD, &j, e);
	_cleanup_close_ int work = r < 0 ? r : fs_make_dir(m->root, STAGE_PARENT, 0700, e);
	if (work < 0)
		return work;
	r = back_save(m, j, e);
	if (r >= 0)
		r = commit_sync(m, j, e);
	if (r >= 0)
		r = commit_write(m, TREE_OLD, JOURNAL_NAME, j, e);
	if (r >= 0)
		r = swap(m, TREE_OLD, &why, e);
	if (r == 0)
		r = err_set(e, -EINVAL, "%s", why);
	if (r > 0)
		*out = take(j);
	else
		give_up(m, TREE_OLD);
	return r;
}

int exchange_back(struct machine *m, struct err *e)
{
	_cleanup_(journal_freep) struct journal *j = NULL;
	const uint32_t from = m->release, to = exchange_old_release(m);

	int r = next_boot_cancel(m, e);
	if (r >= 0)
		r = back_now(m, &j, e);
	if (r >= 0 && j)
		r = complete(m, j, e);
	history_add(m, m->command, "exchange", from, to, r, e);
	return r < 0 ? r : 0;
}
