/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/object.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"

struct object {
	int dirfd;
	struct attrs attrs;
	char name[48];   /* until it has its own */
	bool made;       /* name exists */
	int fd;          /* of a file or directory */
	uint64_t filled; /* bytes of content so far */
	struct file_hash *hash;
};

void object_abort(struct object *o)
{
	int saved = errno;

	if (!o)
		return;
	closep(&o->fd);
	if (o->made)
		(void)unlinkat(o->dirfd, o->name, o->attrs.kind == KIND_DIR ? AT_REMOVEDIR : 0);
	file_hash_free(o->hash);
	free(o);
	errno = saved;
}

static int make_file(struct object *o, struct err *e)
{
	o->fd = openat(o->dirfd, o->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (o->fd < 0)
		return err_errno(e, "cannot make a file");
	o->made = true;
	return 0;
}

static int make_dir(struct object *o, struct err *e)
{
	if (mkdirat(o->dirfd, o->name, 0700) < 0)
		return err_errno(e, "cannot make a directory");
	o->made = true;
	o->fd = openat(o->dirfd, o->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return o->fd < 0 ? err_errno(e, "cannot open a directory") : 0;
}

static int make_link(struct object *o, const char *link, struct err *e)
{
	if (strlen(link) != o->attrs.size)
		return err_set(e, -ERR_DIGEST, "a link's target has %zu bytes, not %llu", strlen(link),
			       (unsigned long long)o->attrs.size);
	if (symlinkat(link, o->dirfd, o->name) < 0)
		return err_errno(e, "cannot make a symbolic link");
	o->made = true;
	file_hash_add(o->hash, link, strlen(link));
	o->filled = o->attrs.size;
	return 0;
}

static int make(struct object *o, const char *link, struct err *e)
{
	if (o->attrs.kind == KIND_FILE)
		return make_file(o, e);
	if (o->attrs.kind == KIND_DIR)
		return make_dir(o, e);
	if (o->attrs.kind == KIND_LINK && link)
		return make_link(o, link, e);
	return err_set(e, -ERR_FORMAT, "neither a file, a directory nor a link");
}

int object_begin(int dirfd, const struct attrs *a, const char *link, struct object **out, struct err *e)
{
	/* to chown() they mean "leave it" */
	if (a->uid == (uint32_t)-1 || a->gid == (uint32_t)-1)
		return err_set(e, -ERR_FORMAT, "owned by user or group -1");
	_cleanup_(object_abortp) struct object *o = xmalloc(sizeof(*o));
	*o = (struct object){.dirfd = dirfd, .attrs = *a, .fd = -1, .hash = file_hash_new(a)};
	/* no other thread or process has this name; one that was killed and had our id may have left it */
	snprintf(o->name, sizeof(o->name), ".new.%d.%lx", (int)gettid(), (unsigned long)o);
	int r = make(o, link, e);
	if (r == -EEXIST) {
		r = fs_remove_tree(dirfd, o->name, e);
		if (r >= 0)
			r = make(o, link, e);
	}
	if (r < 0)
		return r;
	*out = take(o);
	return 0;
}

int object_write(struct object *o, const void *data, size_t len, struct err *e)
{
	uint64_t size = o->attrs.kind == KIND_FILE ? o->attrs.size : 0;

	if (len == 0)
		return 0;
	if (len > size - MIN(o->filled, size))
		return err_set(e, -ERR_DIGEST, "more than its %llu bytes", (unsigned long long)size);
	int r = fs_write_all(o->fd, data, len, e);
	if (r < 0)
		return r;
	file_hash_add(o->hash, data, len);
	o->filled += len;
	return 0;
}

/*
 * Owner, mode and time, in this order: chown() clears setuid and setgid. Only after the content was verified: nothing foreign
 * gets a setuid bit. A default ACL of dirfd would leave its entries on what we made, whatever the mode says.
 */
static int set_attrs(const struct object *o, struct err *e)
{
	static const char *const acls[] = {"system.posix_acl_access", "system.posix_acl_default"};
	const struct timespec times[2] = {{.tv_sec = OBJECT_MTIME}, {.tv_sec = OBJECT_MTIME}};
	const struct attrs *a = &o->attrs;
	const int dir = o->fd >= 0 ? o->fd : o->dirfd, flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
	const char *name = o->fd >= 0 ? "" : o->name;
	struct stat st;

	if (fstatat(dir, name, &st, flags) < 0)
		return err_errno(e, "stat");
	/* only when it differs: so a plain user can make objects of their own */
	if ((st.st_uid != a->uid || st.st_gid != a->gid) && fchownat(dir, name, a->uid, a->gid, flags) < 0)
		return err_errno(e, "cannot give it to user %u, group %u", a->uid, a->gid);
	/* only directories have default ones */
	const size_t n_acls = a->kind == KIND_DIR ? 2 : a->kind == KIND_FILE;
	for (size_t i = 0; i < n_acls; i++)
		if (fremovexattr(o->fd, acls[i]) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
			return err_errno(e, "cannot remove its access list");
	if (o->fd >= 0 && fchmod(o->fd, a->mode) < 0)
		return err_errno(e, "chmod");
	if (utimensat(dir, name, times, flags) < 0)
		return err_errno(e, "cannot set its time");
	return 0;
}

static int place(struct object *o, const char *hex, struct err *e)
{
	if (renameat(o->dirfd, o->name, o->dirfd, hex) < 0) {
		/* what holds the name is of another kind or a directory with something in it: no object of this hash */
		if (errno != EEXIST && errno != ENOTEMPTY && errno != EISDIR && errno != ENOTDIR)
			return err_errno(e, "rename");
		int r = fs_remove_tree(o->dirfd, hex, e);
		if (r < 0)
			return r;
		if (renameat(o->dirfd, o->name, o->dirfd, hex) < 0)
			return err_errno(e, "rename");
	}
	o->made = false;
	return 0;
}

int object_commit(struct object *taken, const struct digest *want, struct err *e)
{
	_cleanup_(object_abortp) struct object *o = taken;
	char hex[DIGEST_HEX];
	struct digest got;

	digest_format(want, hex);
	if (o->attrs.kind == KIND_FILE && o->filled != o->attrs.size)
		return err_set(e, -ERR_DIGEST, "%s: %llu bytes, not %llu", hex, (unsigned long long)o->filled,
			       (unsigned long long)o->attrs.size);
	file_hash_end(o->hash, &got);
	if (!digest_equal(&got, want))
		return err_set(e, -ERR_DIGEST, "%s: the content or its attributes have another hash", hex);
	int r = set_attrs(o, e);
	if (r >= 0)
		r = place(o, hex, e);
	return r < 0 ? err_in(e, r, "%s", hex) : 0;
}

bool object_exists(int dirfd, const struct digest *d)
{
	char hex[DIGEST_HEX];

	digest_format(d, hex);
	return fs_exists(dirfd, hex);
}
