/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"

struct spot {
	int dir; /* of the parent */
	const char *base;
	bool there, is_dir;
};

static void spot_close(struct spot *s)
{
	closep(&s->dir);
}

/* 1: its parent exists; 0: it does not, or is no directory. */
static int spot_open(int root, const char *path, struct spot *s, struct err *e)
{
	struct err why = ERR_INIT;
	struct stat st;

	s->dir = fs_open_parent(root, path, &s->base, &why);
	if (s->dir < 0) {
		int r = s->dir;
		if (r == -ENOENT || r == -ENOTDIR || r == -ERR_PATH) {
			err_clear(&why);
			return 0;
		}
		err_move(e, &why);
		return r;
	}
	if (fstatat(s->dir, s->base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		s->there = true;
		s->is_dir = S_ISDIR(st.st_mode);
	} else if (errno != ENOENT) {
		return err_errno(e, "%s", path);
	}
	return 1;
}

/* Get rid of what an exchange left at prepared. */
static int put_away(const struct spot *old, const struct spot *target, int64_t now, struct err *e)
{
	if (unlinkat(old->dir, old->base, old->is_dir ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT)
		return 0;
	if (!old->is_dir || (errno != ENOTEMPTY && errno != EEXIST))
		return err_errno(e, "cannot remove what was '%s'", target->base);
	/* what was kept within the same second has its name already */
	for (;; now++) {
		_cleanup_free_ char *kept = xasprintf(".deleted.%lld.%s", (long long)now, target->base);
		if (renameat(old->dir, old->base, target->dir, kept) == 0)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return err_errno(e, "cannot keep what was in '%s' as '%s'", target->base, kept);
	}
}

/* Beside prepared: what an exchange in two steps took out of the way. */
static void aside(const struct spot *from, struct spot *out, char **name)
{
	struct stat st;

	*name = xasprintf("%s.old", from->base);
	*out = (struct spot){.dir = from->dir, .base = *name};
	out->there = fstatat(from->dir, *name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	out->is_dir = out->there && S_ISDIR(st.st_mode);
}

static int put_aside_away(const struct spot *from, const struct spot *target, int64_t now, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	struct spot old;

	aside(from, &old, &name);
	return old.there ? put_away(&old, target, now, e) : 0;
}

static int exchange(struct spot *from, const struct spot *to, int64_t now, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	struct spot old;

	if (renameat2(from->dir, from->base, to->dir, to->base, RENAME_EXCHANGE) == 0) {
		from->is_dir = to->is_dir;
		return put_away(from, to, now, e);
	}
	if (errno != EINVAL && errno != ENOSYS)
		return err_errno(e, "%s", to->base);
	/* a file system that cannot exchange: the place is empty for a moment, but the journal knows what belongs there */
	aside(from, &old, &name);
	if (renameat(to->dir, to->base, from->dir, name) < 0 || renameat(from->dir, from->base, to->dir, to->base) < 0)
		return err_errno(e, "%s", to->base);
	return put_aside_away(from, to, now, e);
}

int place_put(int root, const char *prepared, const char *target, enum file_kind kind, int64_t now, struct err *e)
{
	_cleanup_(spot_close) struct spot from = {.dir = -1}, to = {.dir = -1};
	const bool want_dir = kind == KIND_DIR;

	int r = spot_open(root, prepared, &from, e);
	if (r <= 0)
		return r;
	r = spot_open(root, target, &to, e);
	if (r < 0)
		return err_in(e, r, "/%s", target);
	if (r == 0)
		return from.there ? err_set(e, -ENOENT, "cannot place '/%s': its directory is not there", target) : 0;
	if (!from.there)
		/* done before */
		r = put_aside_away(&from, &to, now, e);
	else if (from.is_dir != want_dir)
		/* exchanged by a run that ended before it could put the old one away */
		r = put_away(&from, &to, now, e);
	else if (want_dir && to.there && to.is_dir)
		/* made by somebody since the plan; the release's attributes follow with the next repair */
		r = put_away(&from, &to, now, e);
	else if (to.there && to.is_dir != want_dir)
		r = exchange(&from, &to, now, e);
	else if (renameat(from.dir, from.base, to.dir, to.base) < 0)
		r = err_errno(e, "rename");
	else if (!to.there)
		r = put_aside_away(&from, &to, now, e);
	return r < 0 ? err_in(e, r, "cannot place '/%s'", target) : 0;
}

int place_attributes(int dirfd, const char *name, const struct attrs *a, struct err *e)
{
	/* the owner first: chown() clears setuid and setgid */
	if (fchownat(dirfd, name, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dirfd, name, a->mode, 0) < 0)
		return err_errno(e, "cannot set owner and mode of '%s'", name);
	return 0;
}

int place_dir(int root, const char *target, const struct attrs *a, struct err *e)
{
	_cleanup_close_ int fd = fs_open_beneath(root, target, O_RDONLY | O_DIRECTORY, 0, e);
	struct stat st;

	if (fd < 0)
		return err_in(e, fd, "cannot change the directory '/%s'", target);
	if (fstat(fd, &st) < 0)
		return err_errno(e, "/%s", target);
	if (st.st_uid == a->uid && st.st_gid == a->gid && (st.st_mode & 07777) == a->mode)
		return 0;
	if (fchown(fd, a->uid, a->gid) < 0 || fchmod(fd, a->mode) < 0)
		return err_errno(e, "cannot set owner and mode of '/%s'", target);
	return 0;
}

int place_del(int root, const char *target, struct err *e)
{
	_cleanup_(spot_close) struct spot s = {.dir = -1};

	int r = spot_open(root, target, &s, e);
	if (r < 0)
		return err_in(e, r, "cannot remove '/%s'", target);
	if (r == 0 || !s.there)
		return 0;
	if (unlinkat(s.dir, s.base, s.is_dir ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT)
		return 0;
	/* a user's file lies in it, or something is mounted there: it stays, and is no longer ours */
	if (s.is_dir && (errno == ENOTEMPTY || errno == EEXIST || errno == EBUSY))
		return 0;
	return err_errno(e, "cannot remove '/%s'", target);
}
