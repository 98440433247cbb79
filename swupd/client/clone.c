/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/clone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/client/commit.h"

#define SUBVOLUME_INODE 256      /* BTRFS_FIRST_FREE_OBJECTID: each subvolume's root directory */
#define TICK_NS         10000000 /* the kernel's time stamps move on at least every 10 ms (CONFIG_HZ=100) */

static int open_tree(int root, const char *name, struct err *e)
{
	return fs_open_beneath(root, name, O_RDONLY | O_DIRECTORY, 0, e);
}

bool clone_is_subvolume(int root, const char *name)
{
	struct statfs fs;
	struct stat st;
	_cleanup_close_ int fd = open_tree(root, name, NULL);

	return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC && fstat(fd, &st) == 0 &&
	       st.st_ino == SUBVOLUME_INODE;
}

int clone_has_subvolumes(int root, const char *name, struct err *e)
{
	_cleanup_free_ struct btrfs_ioctl_get_subvol_rootref_args *refs = xcalloc(1, sizeof(*refs));
	_cleanup_close_ int fd = open_tree(root, name, e);

	if (fd < 0)
		return fd;
	if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_ROOTREF, refs) == 0)
		return refs->num_items > 0;
	/* more than fit; an older kernel */
	if (errno == EOVERFLOW || errno == ENOTTY)
		return 1;
	return err_errno(e, "cannot tell which subvolumes are below /%s", name);
}

/* What is in a directory, one after the other. Nested work is done by the function. */
struct walk {
	dev_t dev;
	const char *path; /* of the directory, for messages */
	char **why;
	/* what is given to them: the directory, an entry's name and whether it is a directory; 1: go on; 0: *why says why not */
	int (*entry)(struct walk *w, int dir, const char *name, bool is_dir, struct err *e);
	bool top;
	int to; /* clone: the directory that is made */
	const struct table *without;
	struct strv *dirs;
	struct clone_size *size;
	const struct timespec *since;
};

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int each_entry(struct walk *w, DIR *d, struct err *e)
{
	struct stat st;
	int r = 1;

	while (r == 1) {
		errno = 0;
		const struct dirent *entry = readdir(d); /* NOLINT(concurrency-mt-unsafe): d is ours alone */
		if (!entry) {
			if (errno)
				r = err_errno(e, "%s", w->path);
			break;
		}
		const char *name = entry->d_name;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || (w->top && strcmp(name, WORK_IN_TREE) == 0))
			continue;
		bool is_dir = entry->d_type == DT_DIR;
		if (entry->d_type == DT_UNKNOWN) {
			if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				continue;
			is_dir = S_ISDIR(st.st_mode);
		}
		r = w->entry(w, dirfd(d), name, is_dir, e);
	}
	return r;
}

static DIR *open_entry(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d)
		(void)take_fd(&fd);
	return d;
}

/* Open the directory name in dir for a walk into it. 1: *out, which the caller closes, and what it is; 0: something stands against it. */
static int step_into(const struct walk *w, int dir, const char *name, const char *path, DIR **out, struct statx *sx,
		     struct err *e)
{
	_cleanup_(closedirp) DIR *d = open_entry(dir, name);

	if (!d || statx(dirfd(d), "", AT_EMPTY_PATH, STATX_BASIC_STATS, sx) < 0)
		return err_errno(e, "%s", path);
	if (sx->stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) {
		*w->why = xasprintf("/%s is immutable", path);
		return 0;
	}
	if (makedev(sx->stx_dev_major, sx->stx_dev_minor) != w->dev) {
		*w->why = xasprintf("/%s is on another file system or subvolume", path);
		return 0;
	}
	*out = take(d);
	return 1;
}

static int measure_entry(struct walk *w, int dir, const char *name, bool is_dir, struct err *e)
{
	_cleanup_(closedirp) DIR *d = NULL;
	struct statx sx;

	if (!is_dir) {
		w->size->others++;
		return 1;
	}
	_cleanup_free_ char *path = xasprintf("%s/%s", w->path, name);
	int r = step_into(w, dir, name, path, &d, &sx, e);
	if (!d)
		return r;
	struct walk in = *w;
	in.path = path;
	in.top = false;
	w->size->dirs++;
	return each_entry(&in, d, e);
}

int clone_measure(int root, const char *name, struct clone_size *out, char **why, struct err *e)
{
	struct walk w = {.path = name, .why = why, .entry = measure_entry, .top = true, .size = out};
	_cleanup_(closedirp) DIR *d = NULL;
	struct statx sx;
	struct stat st;

	*out = (struct clone_size){.dirs = 1};
	if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "%s", name);
	w.dev = st.st_dev;
	int r = step_into(&w, root, name, name, &d, &sx, e);
	return d ? each_entry(&w, d, e) : r;
}

static int copy_xattrs(int from, int to, const char *path, struct err *e)
{
	ssize_t len = flistxattr(from, NULL, 0);

	if (len <= 0)
		return len == 0 || errno == EOPNOTSUPP ? 0 : err_errno(e, "%s", path);
	_cleanup_free_ char *names = xmalloc((size_t)len);
	len = flistxattr(from, names, (size_t)len);
	if (len < 0)
		return err_errno(e, "%s", path);
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		ssize_t size = fgetxattr(from, name, NULL, 0);
		_cleanup_free_ char *value = xmalloc(size > 0 ? (size_t)size : 1);
		if (size >= 0)
			size = fgetxattr(from, name, value, (size_t)size);
		if (size < 0 || fsetxattr(to, name, value, (size_t)size, 0) < 0)
			return err_errno(e, "%s: %s", path, name);
	}
	return 0;
}

/* After what is in it: a mode could forbid that, and times would move on. was: from, before it was read */
static int finish_dir(int from, const struct statx *was, int to, const char *path, struct err *e)
{
	const struct timespec times[2] = {{was->stx_atime.tv_sec, was->stx_atime.tv_nsec},
					  {was->stx_mtime.tv_sec, was->stx_mtime.tv_nsec}};
	struct stat st;

	if (fstat(to, &st) < 0)
		return err_errno(e, "%s", path);
	/* the owner first: chown() clears setgid */
	if ((st.st_uid != was->stx_uid || st.st_gid != was->stx_gid) && fchown(to, was->stx_uid, was->stx_gid) < 0)
		return err_errno(e, "%s", path);
	if (fchmod(to, was->stx_mode & 07777) < 0)
		return err_errno(e, "%s", path);
	int r = copy_xattrs(from, to, path, e);
	if (r >= 0 && futimens(to, times) < 0)
		r = err_errno(e, "%s", path);
	return r < 0 ? r : 1;
}

static int clone_dir(const struct walk *w, int dir, const char *from, int to_dir, const char *name, const char *path,
		     struct err *e)
{
	_cleanup_(closedirp) DIR *d = NULL;
	struct statx sx;

	int r = step_into(w, dir, from, path, &d, &sx, e);
	if (!d)
		return r;
	if (mkdirat(to_dir, name, 0700) < 0)
		return err_errno(e, "cannot make the directory %s", path);
	_cleanup_close_ int to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return err_errno(e, "%s", path);
	struct walk in = *w;
	in.path = path;
	in.to = to;
	strv_add(w->dirs, path);
	r = each_entry(&in, d, e);
	return r <= 0 ? r : finish_dir(dirfd(d), &sx, to, path, e);
}

static bool is_without(const struct walk *w, const char *name)
{
	_cleanup_free_ char *path = w->without ? xasprintf("/%s/%s", w->path, name) : NULL;

	return path && table_find_str(w->without, path);
}

/* What is left out is not touched, but who made it immutable does not want that it goes. 1: it may. */
static int leave_out(const struct walk *w, int dir, const char *name, struct err *e)
{
	struct statx sx;

	if (statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &sx) < 0)
		return errno == ENOENT ? 1 : err_errno(e, "%s/%s", w->path, name);
	if (!(sx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)))
		return 1;
	*w->why = xasprintf("/%s/%s is immutable", w->path, name);
	return 0;
}

static int clone_entry(struct walk *w, int dir, const char *name, bool is_dir, struct err *e)
{
	if (!is_dir) {
		if (is_without(w, name))
			return leave_out(w, dir, name, e);
		if (linkat(dir, name, w->to, name, 0) == 0 || errno == ENOENT)
			return 1;
		int failed = errno;
		if (failed == EMLINK || failed == EPERM || failed == EXDEV || failed == EOPNOTSUPP) {
			*w->why = xasprintf("/%s/%s cannot have a second link: %s", w->path, name,
					    strerrordesc_np(failed));
			return 0;
		}
		errno = failed;
		return err_errno(e, "cannot link %s/%s", w->path, name);
	}
	_cleanup_free_ char *path = xasprintf("%s/%s", w->path, name);
	struct walk in = *w;
	in.top = false;
	return clone_dir(&in, dir, name, w->to, name, path, e);
}

static int snapshot(int root, const char *from, const char *to, struct err *e)
{
	struct btrfs_ioctl_vol_args_v2 args = {0};
	_cleanup_close_ int fd = open_tree(root, from, e);
	_cleanup_free_ char *work = xasprintf("%s/" WORK_IN_TREE, to);

	if (fd < 0)
		return fd;
	args.fd = fd;
	memcpy(args.name, to, strlen(to) + 1);
	if (ioctl(root, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
		return err_errno(e, "cannot make a snapshot of /%s", from);
	int r = fs_remove_tree(root, work, e);
	return r < 0 ? r : 1;
}

int clone_make(int root, const char *from, const char *to, const struct table *without, struct strv *dirs, char **why,
	       struct err *e)
{
	struct walk w = {.why = why, .entry = clone_entry, .top = true, .without = without, .dirs = dirs};
	struct stat st;

	if (clone_is_subvolume(root, from))
		return snapshot(root, from, to, e);
	if (fstatat(root, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "%s", from);
	w.dev = st.st_dev;
	return clone_dir(&w, root, from, root, to, from, e);
}

struct timespec clone_now(void)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	struct timespec now;

	/* what was changed before the call has an earlier stamp then */
	(void)nanosleep(&tick, NULL);
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now;
}

static bool is_since(const struct timespec *t, const struct timespec *since)
{
	return t->tv_sec > since->tv_sec || (t->tv_sec == since->tv_sec && t->tv_nsec >= since->tv_nsec);
}

/* What is there has not changed since; 0 of an entry function ends the walk. */
static bool is_fresh(int dir, const char *name, const struct timespec *since)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_since(&st.st_ctim, since);
}

static int fresh_entry(struct walk *w, int dir, const char *name, bool is_dir, struct err *e)
{
	if (!is_fresh(dir, name, w->since))
		return 0;
	if (!is_dir)
		return 1;
	_cleanup_(closedirp) DIR *d = open_entry(dir, name);
	if (!d)
		return 0;
	struct walk in = *w;
	in.top = false;
	return each_entry(&in, d, e);
}

int clone_is_stale(int root, const char *name, const struct strv *dirs, const struct timespec *since, struct err *e)
{
	struct walk w = {.path = name, .entry = fresh_entry, .top = true, .since = since};
	bool fresh = is_fresh(root, name, since);

	/* a directory that was replaced by a link changes the one that it is in */
	for (size_t i = 0; fresh && i < dirs->n; i++)
		fresh = is_fresh(root, dirs->items[i], since);
	if (!fresh || dirs->n)
		return !fresh;
	_cleanup_(closedirp) DIR *d = open_entry(root, name);
	if (!d)
		return err_errno(e, "%s", name);
	int r = each_entry(&w, d, e);
	return r < 0 ? r : !r;
}

int clone_remove(int root, const char *name, struct err *e)
{
	struct btrfs_ioctl_vol_args args = {0};

	if (clone_is_subvolume(root, name)) {
		memcpy(args.name, name, strlen(name) + 1);
		if (ioctl(root, BTRFS_IOC_SNAP_DESTROY, &args) == 0)
			return 0;
	}
	return fs_remove_tree(root, name, e);
}
