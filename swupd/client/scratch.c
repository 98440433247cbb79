/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* Returns an fd that holds the directory; -EWOULDBLOCK: another run does. */
static int hold(int cache, const char *name, struct err *e)
{
	struct stat ours, there;

	for (;;) {
		_cleanup_close_ int fd = fs_make_dir(cache, name, 0700, e);
		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? -EWOULDBLOCK : err_errno(e, "cannot lock %s", name);
		/* someone who cleans up may have been faster */
		if (fstat(fd, &ours) == 0 && fstatat(cache, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    ours.st_ino == there.st_ino)
			return take_fd(&fd);
	}
}

int scratch_open(int cache, struct scratch *out, struct err *e)
{
	*out = (struct scratch){.cache = cache};
	out->fd = hold(cache, SCRATCH_SHARED, e);
	if (out->fd != -EWOULDBLOCK)
		return out->fd < 0 ? out->fd : 0;
	/* one run may want a second one, while it has the first */
	for (unsigned i = 0; out->fd == -EWOULDBLOCK; i++) {
		free(take(out->name));
		out->name = xasprintf(SCRATCH_SHARED "-%d-%u", (int)getpid(), i);
		out->fd = hold(cache, out->name, e);
	}
	return out->fd < 0 ? out->fd : 0;
}

void scratch_close(struct scratch *s)
{
	if (s->name && s->fd >= 0)
		(void)fs_remove_tree(s->cache, s->name, NULL);
	closep(&s->fd);
	free(s->name);
	*s = (struct scratch)SCRATCH_INIT;
}

bool scratch_is_left(int cache, const char *name, int *fd)
{
	if (strcmp(name, SCRATCH_SHARED) != 0 && !text_starts(name, SCRATCH_SHARED "-"))
		return false;
	_cleanup_close_ int dir = openat(cache, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
		return false;
	*fd = take_fd(&dir);
	return true;
}
