/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* LD_PRELOAD: what NOSYNC names does nothing ("fsync", "syncfs" or "all"), to see that powercut finds it. */
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME "NOSYNC="

static bool skips(const char *what)
{
	for (char **e = environ; *e; e++)
		if (strncmp(*e, NAME, strlen(NAME)) == 0)
			return strcmp(*e + strlen(NAME), what) == 0 || strcmp(*e + strlen(NAME), "all") == 0;
	return false;
}

int fsync(int fd)
{
	return skips("fsync") ? 0 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fildes)
{
	return skips("fsync") ? 0 : (int)syscall(SYS_fdatasync, fildes);
}

int syncfs(int fd)
{
	return skips("syncfs") ? 0 : (int)syscall(SYS_syncfs, fd);
}
