/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;
struct strv;

/*
 * Paths are a directory fd and a relative name; the fd may be AT_FDCWD. Two families: the plain ones trust their names
 * (our own state, the builder's workspace); the _beneath ones do not: no ".." leads out and no symbolic link is
 * followed, in any component (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS). Those fail with -ERR_PATH.
 */

/* Open below root. path is relative; "" and "." are root itself. O_CLOEXEC is added. Returns an fd. */
int fs_open_beneath(int root, const char *path, int flags, mode_t mode, struct err *e);

/*
 * Open the directory that holds path, below root, and point *base at the last component (inside path). Returns an fd.
 * -ENOENT when a parent is missing.
 */
int fs_open_parent(int root, const char *path, const char **base, struct err *e);

/*
 * The same for many paths, of which those in one directory follow each other: it is opened for the first of them, and stays open until another is asked
 * for. The fd is lent.
 */
struct fs_parent {
	int root, fd;
	char *path;
};
#define FS_PARENT_OF(dir) ((struct fs_parent){.root = (dir), .fd = -1})
int fs_parent_open(struct fs_parent *p, const char *path, const char **base, struct err *e);
void fs_parent_close(struct fs_parent *p); /* for _cleanup_ */

/* Whole files. max: a larger file is -ERR_LIMIT. The text is NUL-terminated behind len. */
int fs_load(int dirfd, const char *name, size_t max, struct buf *out, struct err *e);
int fs_load_fd(int fd, const char *name, size_t max, struct buf *out, struct err *e);

/*
 * A whole file that is looked at where it lies: the kernel has its bytes in memory as long as there is room, and reads them again. Nobody may make it shorter meanwhile;
 * no NUL is behind it. {0} is an empty one.
 */
struct fs_map {
	const char *data;
	size_t len;
};
int fs_map_fd(int fd, const char *name, struct fs_map *out, struct err *e);
void fs_unmap(struct fs_map *m); /* for _cleanup_ */

/* Write beside, fsync, rename, fsync the directory: name holds the old or the new content whatever happens. */
int fs_save(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *e);

/* The same without the fsyncs, for what can be made again (caches): never truncated under its name while we live. */
int fs_save_cache(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *e);

int fs_write_all(int fd, const void *data, size_t len, struct err *e);
int fs_read_at(int fd, uint64_t offset, void *data, size_t len,
	       struct err *e); /* exactly len; -ERR_FORMAT: there are fewer */
int fs_write_at(int fd, uint64_t offset, const void *data, size_t len, struct err *e);

/* Copy size bytes between the offsets of both: reflink, copy_file_range or read and write, whatever works. */
int fs_copy_fd(int in, int out, uint64_t size, struct err *e);

/* Hard link, else copy (with fs_save_cache's promise), from one place to another. An existing target is replaced. */
int fs_link_or_copy(int from_dir, const char *from, int to_dir, const char *to, struct err *e);

int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e);

/* Open a directory, made (with parents) when missing. Returns an fd. */
int fs_open_dir(int dirfd, const char *path, struct err *e);
int fs_make_dir(int dirfd, const char *path, mode_t mode, struct err *e);

/* Remove name and all below it. Follows no link, stays on one file system (-EBUSY at a mount). Missing is success. */
int fs_remove_tree(int dirfd, const char *name, struct err *e);

/* The names in a directory, bytewise sorted, without "." and "..". */
int fs_list(int dirfd, const char *name, struct strv *out, struct err *e);

/*
 * Call fn for each regular file below dir, by name; links are not followed. path begins with a "/" at dir; fd is lent. Ends at the first failure. -ERR_LIMIT: folders are too deep inside
 * each other.
 */
typedef int fs_file_fn(void *arg, const char *path, int fd, struct err *e);
int fs_each_file(int dir, fs_file_fn *fn, void *arg, struct err *e);

bool fs_exists(int dirfd, const char *name); /* a dangling link exists, too */
int fs_sync_dir(int dirfd, const char *name, struct err *e);
int fs_free_space(int fd, uint64_t *bytes, struct err *e);

/*
 * A file that gets its name only when it is whole: _cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT; open, write to
 * t.fd, commit. Until then it lies beside, named ".new.…"; abort (or scope end) removes it. No fsync is made.
 */
struct fs_tmp {
	int dirfd; /* lent by the caller of fs_tmp_open */
	int fd;
	char name[48];
};
#define FS_TMP_INIT                                                                                                    \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}
int fs_tmp_open(int dirfd, mode_t mode, struct fs_tmp *t, struct err *e);
int fs_tmp_commit(struct fs_tmp *t, const char *name, struct err *e); /* replaces name; closes t.fd */
void fs_tmp_abort(struct fs_tmp *t);

/* A file in this directory that has no name, and is gone when it is closed. Returns an fd. */
int fs_scratch_open(int dirfd, struct err *e);

/* Remove the ".new.…" that killed processes left in the directory name, which nobody else may be writing into. Missing is success. */
int fs_tmp_sweep(int dirfd, const char *name, struct err *e);

/*
 * An exclusive open-file-description lock on name, made when missing, without waiting. Returns the fd that holds it;
 * -ERR_LOCKED when another process does. text is written into the file for people.
 */
int fs_lock(int dirfd, const char *name, const char *text, struct err *e);

/* The same, but waits until nobody else holds it: for what several runs may want to make at once. */
int fs_lock_wait(int dirfd, const char *name, struct err *e);
