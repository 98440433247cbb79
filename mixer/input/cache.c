/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"

#define LOCK ".lock"

void cache_used(int dirfd, const char *path, const struct stat *st)
{
	if ((S_ISDIR(st->st_mode) || st->st_nlink == 1) && st->st_mtime + CACHE_DAY < time(NULL))
		(void)utimensat(dirfd, path, NULL, AT_SYMLINK_NOFOLLOW);
}

int cache_lock(int cache, bool alone, struct err *e)
{
	struct flock lock = {.l_type = alone ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
	_cleanup_close_ int fd = openat(cache, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	/* of another user */
	if (fd < 0 && !alone)
		fd = openat(cache, LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(e, "cannot open the lock of the cache");
	while (fcntl(fd, alone ? F_OFD_SETLK : F_OFD_SETLKW, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return err_set(e, -ERR_LOCKED, "the cache is in use");
		if (errno != EINTR)
			return err_errno(e, "cannot lock the cache");
	}
	return take_fd(&fd);
}

int cache_lock_builds(int dir, const char *what, struct ui *ui, struct err *e)
{
	struct err own = ERR_INIT;
	int fd = fs_lock(dir, LOCK, "mixer\n", &own);

	if (fd != -ERR_LOCKED) {
		err_move(e, &own);
		return fd;
	}
	err_clear(&own);
	ui_message(ui, "waiting for another mixer, which builds %s in the same cache", what);
	return fs_lock_wait(dir, LOCK, e);
}
