/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/roots.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/clone.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"

#define GOOD      "good"
#define TRY       "try+"
#define TRIES_MAX 1000

const struct roots_own roots_own[ROOTS_OWN_N] = {
	{"etc", "etc"}, {"var", "var"}, {"home", "home"}, {"roothome", "root"}, {"srv", "srv"},
};

/* Since Linux 6.13; an older kernel says ENOTTY, and does not wait. */
struct wait_subvolume {
	uint64_t id;
	uint32_t mode; /* 0: for this one */
	uint32_t count;
};
#define IOC_WAIT_SUBVOLUME _IOW(BTRFS_IOCTL_MAGIC, 65, struct wait_subvolume)

/* The whole file system, mounted nowhere: it goes with the fd. */
static int mount_top(const char *device, struct err *e)
{
	_cleanup_close_ int context = fsopen("btrfs", FSOPEN_CLOEXEC);

	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "source", device, 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "subvolid", "5", 0) < 0 ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(e, "cannot mount the top level of %s", device);
	_cleanup_close_ int mount = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODEV);
	int top = mount < 0 ? -1 : openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top < 0 ? err_errno(e, "cannot mount the top level of %s", device) : top;
}

/* 1: *running is the root's name in the top level. */
static int find_running(const struct machine *m, char **running, char **why, struct err *e)
{
	struct btrfs_ioctl_get_subvol_info_args info = {0};
	struct statfs fs;

	if (fstatfs(m->root, &fs) < 0)
		return err_errno(e, "%s", m->path);
	if (fs.f_type != BTRFS_SUPER_MAGIC || !clone_is_subvolume(m->root, ".")) {
		*why = xstrdup("the root is not a subvolume of btrfs");
		return 0;
	}
	if (ioctl(m->root, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0)
		return err_errno(e, "cannot tell which subvolume %s is", m->path);
	const int nested = clone_has_subvolumes(m->root, ".", e);
	if (nested < 0)
		return nested;
	if (info.treeid == BTRFS_FS_TREE_OBJECTID)
		*why = xstrdup("the root is the top level of its btrfs, no subvolume of it");
	else if (info.parent_id != BTRFS_FS_TREE_OBJECTID || info.dirid != BTRFS_FIRST_FREE_OBJECTID)
		*why = xasprintf("the root's subvolume '%s' is not in the top level of its btrfs", info.name);
	else if (nested)
		*why = xstrdup("there are subvolumes inside the root, and a snapshot of it would not have them");
	else
		*running = xstrdup(info.name);
	return *why ? 0 : 1;
}

int roots_open(const struct machine *m, struct roots *out, char **why, struct err *e)
{
	_cleanup_free_ char *running = NULL, *device = NULL;

	int r = find_running(m, &running, why, e);
	if (r <= 0)
		return r;
	r = mounts_source(m->path, &device, e);
	if (r == 0)
		*why = xasprintf("%s is not a mount point", m->path);
	if (r <= 0)
		return r;
	int top = mount_top(device, e);
	if (top < 0)
		return top;
	*out = (struct roots){.top = top, .running = take(running)};
	return 1;
}

void roots_close(struct roots *r)
{
	closep(&r->top);
	freep(&r->running);
}

/* --- which boots --------------------------------------------------------------------------------------------------------- */

void roots_choice_free(struct roots_choice *c)
{
	freep(&c->good);
	freep(&c->tried);
}

/* The name that a link of ours has; NULL: none, or no name of a root. */
static char *read_name(int dir, const char *link)
{
	char name[NAME_MAX + 1];
	ssize_t n = readlinkat(dir, link, name, sizeof(name));

	if (n <= 0 || (size_t)n == sizeof(name))
		return NULL;
	name[n] = '\0';
	return strchr(name, '/') || *name == '.' ? NULL : xstrdup(name);
}

/* "try+LEFT" or "try+LEFT-DONE" */
static bool parse_try(const char *name, unsigned *left, unsigned *done)
{
	uint32_t l, d = 0;

	if (!text_starts(name, TRY))
		return false;
	_cleanup_free_ char *copy = xstrdup(name + strlen(TRY));
	char *rest = copy;
	const char *first = strsep(&rest, "-");
	if (text_u32(first, 0, TRIES_MAX, &l) < 0 || (rest && text_u32(rest, 0, TRIES_MAX, &d) < 0))
		return false;
	*left = l;
	*done = d;
	return true;
}

static int list_state(const struct roots *r, struct strv *names, struct err *e)
{
	return fs_exists(r->top, ROOTS_STATE) ? fs_list(r->top, ROOTS_STATE, names, e) : 0;
}

int roots_choice(const struct roots *r, struct roots_choice *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct roots_choice c = {0};

	int result = list_state(r, &names, e);
	for (size_t i = 0; result >= 0 && i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf(ROOTS_STATE "/%s", names.items[i]);
		if (strcmp(names.items[i], GOOD) == 0)
			c.good = read_name(r->top, path);
		else if (!c.tried && parse_try(names.items[i], &c.left, &c.done))
			c.tried = read_name(r->top, path);
	}
	if (result < 0) {
		roots_choice_free(&c);
		return result;
	}
	*out = c;
	return 0;
}

/* The link name -> target, by a rename over what was there. */
static int put_link(const struct roots *r, const char *name, const char *target, struct err *e)
{
	static const char next[] = ROOTS_STATE "/.next";
	_cleanup_free_ char *path = xasprintf(ROOTS_STATE "/%s", name);

	int result = fs_mkdirs(r->top, ROOTS_STATE, 0755, e);
	if (result < 0)
		return result;
	(void)unlinkat(r->top, next, 0);
	if (symlinkat(target, r->top, next) < 0 || renameat(r->top, next, r->top, path) < 0)
		return err_errno(e, "cannot write which root is to boot");
	return fs_sync_dir(r->top, ROOTS_STATE, e);
}

int roots_forget_trial(const struct roots *r, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	unsigned left, done;
	bool removed = false;

	int result = list_state(r, &names, e);
	for (size_t i = 0; result >= 0 && i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf(ROOTS_STATE "/%s", names.items[i]);
		if (!parse_try(names.items[i], &left, &done))
			continue;
		if (unlinkat(r->top, path, 0) < 0)
			result = err_errno(e, "%s", path);
		removed = true;
	}
	return result < 0 || !removed ? result : fs_sync_dir(r->top, ROOTS_STATE, e);
}

/* Where no initrd of ours chooses, btrfs itself does. */
static int set_default(const struct roots *r, const char *name, struct err *e)
{
	struct btrfs_ioctl_get_subvol_info_args info = {0};
	_cleanup_close_ int fd = fs_open_beneath(r->top, name, O_RDONLY | O_DIRECTORY, 0, e);

	if (fd < 0)
		return fd;
	if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0 ||
	    ioctl(r->top, BTRFS_IOC_DEFAULT_SUBVOL, &info.treeid) < 0)
		return err_errno(e, "cannot make '%s' the default subvolume", name);
	return 0;
}

int roots_choose(const struct roots *r, const char *name, unsigned tries, struct err *e)
{
	struct roots_choice now = {0};

	int result = roots_choice(r, &now, e);
	const bool has_good = now.good && fs_exists(r->top, now.good);
	roots_choice_free(&now);
	if (result < 0)
		return result;
	if (tries == 0) {
		result = put_link(r, GOOD, name, e);
		if (result >= 0)
			result = roots_forget_trial(r, e);
		return result < 0 ? result : set_default(r, name, e);
	}
	/* first what a failed trial goes back to */
	if (!has_good)
		result = put_link(r, GOOD, r->running, e);
	if (result >= 0)
		result = roots_forget_trial(r, e);
	if (result < 0)
		return result;
	_cleanup_free_ char *link = xasprintf(TRY "%u", tries);
	return put_link(r, link, name, e);
}

int roots_set_tries(const struct roots *r, unsigned left, unsigned done, struct err *e)
{
	_cleanup_free_ char *to =
		done ? xasprintf(ROOTS_STATE "/" TRY "%u-%u", left, done) : xasprintf(ROOTS_STATE "/" TRY "%u", left);
	_cleanup_(strv_free) struct strv names = {0};
	unsigned l, d;

	int result = list_state(r, &names, e);
	for (size_t i = 0; result >= 0 && i < names.n; i++) {
		_cleanup_free_ char *from = xasprintf(ROOTS_STATE "/%s", names.items[i]);
		if (!parse_try(names.items[i], &l, &d))
			continue;
		if (renameat(r->top, from, r->top, to) < 0)
			return err_errno(e, "cannot count a try");
		return fs_sync_dir(r->top, ROOTS_STATE, e);
	}
	return result < 0 ? result : err_set(e, -ENOENT, "no root is on trial");
}

/* --- roots --------------------------------------------------------------------------------------------------------------- */

uint32_t roots_release(const struct roots *r, const char *name)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *path = xasprintf("%s/" INSTALLED_OS_RELEASE, name);
	_cleanup_close_ int fd = fs_open_beneath(r->top, path, O_RDONLY | O_NONBLOCK, 0, NULL);

	if (fd < 0 || fs_load_fd(fd, path, SMALL_TEXT_MAX, &text, NULL) < 0)
		return 0;
	return os_release_version(text.data);
}

static int compare_roots(const void *a, const void *b)
{
	const struct root_info *x = a, *y = b;

	return x->release != y->release ? (x->release < y->release ? -1 : 1) : strcmp(x->name, y->name);
}

int roots_list(const struct roots *r, struct root_info **out, size_t *n, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct root_info *list = NULL;
	size_t count = 0, cap = 0;

	int result = fs_list(r->top, ".", &names, e);
	if (result < 0)
		return result;
	for (size_t i = 0; i < names.n; i++) {
		const char *name = names.items[i];
		_cleanup_free_ char *usr = xasprintf("%s/usr", name);
		if (*name == '.' || !clone_is_subvolume(r->top, name) || !fs_exists(r->top, usr))
			continue;
		VEC_GROW(list, count, cap);
		list[count++] = (struct root_info){xstrdup(name), roots_release(r, name)};
	}
	if (count)
		qsort(list, count, sizeof(*list), compare_roots);
	*out = list;
	*n = count;
	return 0;
}

void roots_list_free(struct root_info *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].name);
	free(list);
}

int roots_snapshot(const struct machine *m, const struct roots *r, const char *name, struct err *e)
{
	struct btrfs_ioctl_vol_args_v2 args = {.fd = m->root};

	snprintf(args.name, sizeof(args.name), "%s", name);
	if (ioctl(r->top, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
		return err_errno(e, "cannot make a snapshot of %s", m->path);
	return 0;
}

int roots_remove(const struct roots *r, const char *name, struct err *e)
{
	struct btrfs_ioctl_get_subvol_info_args info = {0};
	_cleanup_close_ int fd = fs_open_beneath(r->top, name, O_RDONLY | O_DIRECTORY, 0, NULL);

	if (strcmp(name, r->running) == 0)
		return err_set(e, -EBUSY, "the root '%s' is running", name);
	if (fd < 0)
		return fs_exists(r->top, name) ? err_set(e, -ERR_PATH, "'%s' is not a root", name) : 0;
	const bool known = ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) == 0;
	closep(&fd);
	int result = clone_remove(r->top, name, e);
	if (result < 0)
		return err_in(e, result, "cannot remove the root '%s'", name);
	struct wait_subvolume wait = {.id = info.treeid};
	if (known)
		(void)ioctl(r->top, IOC_WAIT_SUBVOLUME, &wait);
	return 0;
}
