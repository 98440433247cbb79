/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define TMP_PREFIX ".new."
#define DEPTH_MAX  64 /* of folders: each level holds some memory of the stack and a descriptor */

int fs_open_beneath(int root, const char *path, int flags, mode_t mode, struct err *e)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	/* EAGAIN: a rename elsewhere raced with the kernel's check (openat2(2)); it asks to try again */
	do
		fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	if (fd >= 0)
		return (int)fd;
	if (errno == ELOOP || errno == EXDEV)
		return err_set(e, -ERR_PATH, "%s: leads through a symbolic link or outside of the root", path);
	return err_errno(e, "%s", path);
}

int fs_open_parent(int root, const char *path, const char **base, struct err *e)
{
	const char *slash = strrchr(path, '/');

	*base = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	return fs_open_beneath(root, dir, O_PATH | O_DIRECTORY, 0, e);
}

int fs_parent_open(struct fs_parent *p, const char *path, const char **base, struct err *e)
{
	const char *slash = strrchr(path, '/');
	const size_t len = slash ? (size_t)(slash - path) : 0;

	*base = slash ? slash + 1 : path;
	if (p->fd >= 0 && strncmp(p->path, path, len) == 0 && p->path[len] == '\0')
		return p->fd;
	fs_parent_close(p);
	p->path = xstrndup(path, len);
	p->fd = fs_open_beneath(p->root, p->path, O_PATH | O_DIRECTORY, 0, e);
	return p->fd;
}

void fs_parent_close(struct fs_parent *p)
{
	closep(&p->fd);
	free(p->path);
	*p = FS_PARENT_OF(p->root);
}

int fs_load_fd(int fd, const char *name, size_t max, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s", name);
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
		return err_set(e, -ERR_LIMIT, "%s: larger than %zu bytes", name, max);
	buf_reserve(&b, S_ISREG(st.st_mode) ? (size_t)st.st_size : 4096);
	for (;;) {
		size_t room = MIN(b.cap - b.len - 1, max + 1 - b.len);
		if (room == 0) {
			if (b.len > max)
				return err_set(e, -ERR_LIMIT, "%s: larger than %zu bytes", name, max);
			buf_reserve(&b, 65536);
			continue;
		}
		ssize_t n = read(fd, b.data + b.len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "%s: read", name);
		if (n == 0)
			break;
		b.len += (size_t)n;
	}
	b.data[b.len] = '\0';
	buf_free(out);
	*out = b;
	b = (struct buf){0};
	return 0;
}

int fs_load(int dirfd, const char *name, size_t max, struct buf *out, struct err *e)
{
	/* O_NONBLOCK: a FIFO in the place of a file must not hang us; it has no effect on regular files */
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_errno(e, "%s", name);
	return fs_load_fd(fd, name, max, out, e);
}

int fs_write_at(int fd, uint64_t offset, const void *data, size_t len, struct err *e)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "write");
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int fs_read_at(int fd, uint64_t offset, void *data, size_t len, struct err *e)
{
	char *p = data;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "read");
		if (n == 0)
			return err_set(e, -ERR_FORMAT, "it ends early");
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int fs_write_all(int fd, const void *data, size_t len, struct err *e)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "write");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* name "a/b" in dirfd: open a, point base at b */
static int open_dir_of(int dirfd, const char *name, const char **base, struct err *e)
{
	const char *slash = strrchr(name, '/');

	*base = slash ? slash + 1 : name;
	_cleanup_free_ char *dir = slash ? xstrndup(name, MAX((size_t)(slash - name), (size_t)1)) : xstrdup(".");
	int fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err_errno(e, "%s", dir);
}

/* A plain user's write() clears setuid and setgid */
static int set_mode_again(int fd, mode_t mode, struct err *e)
{
	return mode & (S_ISUID | S_ISGID) && fchmod(fd, mode) < 0 ? err_errno(e, "chmod") : 0;
}

int fs_map_fd(int fd, const char *name, struct fs_map *out, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s", name);
	*out = (struct fs_map){.data = "", .len = (size_t)st.st_size};
	if (out->len == 0)
		return 0;
	void *p = mmap(NULL, out->len, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		*out = (struct fs_map){0};
		return err_errno(e, "%s: mmap", name);
	}
	out->data = p;
	return 0;
}

void fs_unmap(struct fs_map *m)
{
	if (m->len > 0)
		(void)munmap((void *)m->data, m->len);
	*m = (struct fs_map){0};
}

static int save(int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool durable, struct err *e)
{
	const char *base;
	_cleanup_close_ int dir = open_dir_of(dirfd, name, &base, e);
	if (dir < 0)
		return err_in(e, dir, "cannot write %s", name);
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	int r = fs_tmp_open(dir, mode, &t, e);
	if (r >= 0)
		r = fs_write_all(t.fd, data, len, e);
	if (r >= 0)
		r = set_mode_again(t.fd, mode, e);
	if (r >= 0 && durable && fsync(t.fd) < 0)
		r = err_errno(e, "fsync");
	if (r >= 0)
		r = fs_tmp_commit(&t, base, e);
	if (r >= 0 && durable && fsync(dir) < 0)
		r = err_errno(e, "fsync of the directory");
	return r < 0 ? err_in(e, r, "cannot write %s", name) : 0;
}

int fs_save(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *e)
{
	return save(dirfd, name, data, len, mode, true, e);
}

int fs_save_cache(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *e)
{
	return save(dirfd, name, data, len, mode, false, e);
}

int fs_copy_fd(int in, int out, uint64_t size, struct err *e)
{
	char chunk[65536];

	/* a clone is of whole files, so both must be at their start */
	if (size > 0 && lseek(in, 0, SEEK_CUR) == 0 && lseek(out, 0, SEEK_CUR) == 0 && ioctl(out, FICLONE, in) == 0)
		return 0;
	while (size > 0) {
		ssize_t n = copy_file_range(in, NULL, out, NULL, MIN(size, (uint64_t)1 << 30), 0);
		if (n <= 0)
			break;
		size -= (uint64_t)n;
	}
	while (size > 0) {
		ssize_t n = read(in, chunk, MIN(size, sizeof(chunk)));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "read");
		if (n == 0)
			return err_set(e, -EIO, "the file became shorter while it was read");
		int r = fs_write_all(out, chunk, (size_t)n, e);
		if (r < 0)
			return r;
		size -= (uint64_t)n;
	}
	return 0;
}

/* A name that no other process or thread uses: it has the thread's id and an address on its stack */
static void name_beside(const void *unique, char out[48])
{
	snprintf(out, 48, TMP_PREFIX "%d.%lx", (int)gettid(), (unsigned long)unique);
}

int fs_tmp_open(int dirfd, mode_t mode, struct fs_tmp *t, struct err *e)
{
	t->dirfd = dirfd;
	name_beside(t, t->name);
	(void)unlinkat(dirfd, t->name, 0); /* left by a killed process that had our id */
	t->fd = openat(dirfd, t->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (t->fd < 0)
		return err_errno(e, "cannot make a temporary file");
	/* not by open(): the umask is not for us */
	if (fchmod(t->fd, mode) < 0)
		return err_errno(e, "chmod");
	return 0;
}

int fs_tmp_commit(struct fs_tmp *t, const char *name, struct err *e)
{
	if (renameat(t->dirfd, t->name, t->dirfd, name) < 0)
		return err_errno(e, "%s", name);
	closep(&t->fd);
	t->fd = -1;
	return 0;
}

void fs_tmp_abort(struct fs_tmp *t)
{
	int saved = errno;

	if (t->fd >= 0) {
		(void)unlinkat(t->dirfd, t->name, 0);
		close(t->fd);
		t->fd = -1;
	}
	errno = saved;
}

int fs_scratch_open(int dirfd, struct err *e)
{
	struct fs_tmp t = FS_TMP_INIT;

	/* not O_TMPFILE, which some file systems do not have */
	int r = fs_tmp_open(dirfd, 0600, &t, e);
	if (r >= 0 && unlinkat(dirfd, t.name, 0) < 0)
		r = err_errno(e, "cannot take a temporary file's name away");
	if (r < 0)
		fs_tmp_abort(&t);
	return r < 0 ? r : t.fd;
}

int fs_link_or_copy(int from_dir, const char *from, int to_dir, const char *to, struct err *e)
{
	const char *base;
	char beside[48];
	struct stat st;

	_cleanup_close_ int dir = open_dir_of(to_dir, to, &base, e);
	if (dir < 0)
		return err_in(e, dir, "cannot place %s", to);
	name_beside(&st, beside);
	(void)unlinkat(dir, beside, 0);
	if (linkat(from_dir, from, dir, beside, 0) == 0) {
		if (renameat(dir, beside, dir, base) < 0) {
			int r = err_errno(e, "%s", to);
			(void)unlinkat(dir, beside, 0);
			return r;
		}
		/* rename() of two links to one file does nothing and keeps both (rename(2)) */
		(void)unlinkat(dir, beside, 0);
		return 0;
	}
	_cleanup_close_ int in = openat(from_dir, from, O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0)
		return err_errno(e, "%s", from);
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	int r = fs_tmp_open(dir, st.st_mode & 07777, &t, e);
	if (r >= 0)
		r = fs_copy_fd(in, t.fd, (uint64_t)st.st_size, e);
	if (r >= 0)
		r = set_mode_again(t.fd, st.st_mode & 07777, e);
	if (r >= 0)
		r = fs_tmp_commit(&t, base, e);
	return r < 0 ? err_in(e, r, "cannot copy %s to %s", from, to) : 0;
}

int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e)
{
	_cleanup_free_ char *p = xstrdup(path);

	for (char *s = p + strspn(p, "/");;) {
		char *slash = strchr(s, '/');
		if (slash)
			*slash = '\0';
		if (*p && mkdirat(dirfd, p, mode) < 0 && errno != EEXIST)
			return err_errno(e, "cannot make the directory %s", p);
		if (!slash)
			return 0;
		*slash = '/';
		s = slash + 1;
	}
}

int fs_open_dir(int dirfd, const char *path, struct err *e)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : err_errno(e, "%s", path);
}

int fs_make_dir(int dirfd, const char *path, mode_t mode, struct err *e)
{
	int r = fs_mkdirs(dirfd, path, mode, e);

	return r < 0 ? r : fs_open_dir(dirfd, path, e);
}

static int remove_below(int dirfd, const char *name, dev_t dev, struct err *e)
{
	struct stat st;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_errno(e, "cannot remove %s", name);
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot remove %s", name);
	if (fstat(fd, &st) < 0 || (dev && st.st_dev != dev)) {
		close(fd);
		return err_set(e, -EBUSY, "cannot remove %s: a file system is mounted there", name);
	}
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_errno(e, "%s", name);
	}
	int r = 0;
	while (r == 0) {
		errno = 0;
		const struct dirent *entry = readdir(d); /* NOLINT(concurrency-mt-unsafe): d is ours alone */
		if (!entry) {
			if (errno)
				r = err_errno(e, "%s", name);
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_below(fd, entry->d_name, st.st_dev, e);
	}
	closedir(d);
	if (r < 0)
		return err_in(e, r, "%s", name);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_errno(e, "cannot remove %s", name);
	return 0;
}

int fs_remove_tree(int dirfd, const char *name, struct err *e)
{
	return remove_below(dirfd, name, 0, e);
}

int fs_list(int dirfd, const char *name, struct strv *out, struct err *e)
{
	int fd = fs_open_dir(dirfd, name, e);
	if (fd < 0)
		return fd;
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_errno(e, "%s", name);
	}
	_cleanup_(strv_free) struct strv v = {0};
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(d); /* NOLINT(concurrency-mt-unsafe): d is ours alone */
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			strv_add(&v, entry->d_name);
	}
	int r = errno ? err_errno(e, "%s", name) : 0;
	closedir(d);
	if (r < 0)
		return r;
	strv_sort_unique(&v);
	strv_free(out);
	*out = v;
	v = (struct strv){0};
	return 0;
}

static int each_file(int dir, const char *path, unsigned depth, fs_file_fn *fn, void *arg, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	if (depth > DEPTH_MAX)
		return err_set(e, -ERR_LIMIT, "%s: more than %d folders inside each other", path, DEPTH_MAX);
	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *name = xasprintf("%s/%s", path, names.items[i]);
		struct stat st;
		if (fstatat(dir, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
			continue;
		_cleanup_close_ int fd = openat(dir, names.items[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0)
			r = err_errno(e, "%s", name);
		else
			r = S_ISDIR(st.st_mode) ? each_file(fd, name, depth + 1, fn, arg, e) : fn(arg, name, fd, e);
	}
	return r;
}

int fs_each_file(int dir, fs_file_fn *fn, void *arg, struct err *e)
{
	return each_file(dir, "", 0, fn, arg, e);
}

bool fs_exists(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int fs_sync_dir(int dirfd, const char *name, struct err *e)
{
	_cleanup_close_ int fd = fs_open_dir(dirfd, name, e);

	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? err_errno(e, "%s: fsync", name) : 0;
}

int fs_free_space(int fd, uint64_t *bytes, struct err *e)
{
	struct statvfs st;

	if (fstatvfs(fd, &st) < 0)
		return err_errno(e, "statvfs");
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

int fs_tmp_sweep(int dirfd, const char *name, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", name);
	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (text_starts(names.items[i], TMP_PREFIX))
			r = fs_remove_tree(dir, names.items[i], e);
	return r;
}

int fs_lock(int dirfd, const char *name, const char *text, struct err *e)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	_cleanup_close_ int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_errno(e, "cannot open the lock file %s", name);
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return err_set(e, -ERR_LOCKED, "another run holds the lock %s", name);
		return err_errno(e, "cannot lock %s", name);
	}
	/* not first to nothing: ext4 brings a file that was truncated to the disk when it is closed */
	if (pwrite(fd, text, strlen(text), 0) < 0 || ftruncate(fd, (off_t)strlen(text)) < 0)
		return err_errno(e, "cannot write the lock file %s", name);
	return take_fd(&fd);
}

int fs_lock_wait(int dirfd, const char *name, struct err *e)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	_cleanup_close_ int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_errno(e, "cannot open the lock file %s", name);
	while (fcntl(fd, F_OFD_SETLKW, &lock) < 0)
		if (errno != EINTR)
			return err_errno(e, "cannot lock %s", name);
	return take_fd(&fd);
}
