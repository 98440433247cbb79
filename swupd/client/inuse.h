/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct err;
struct machine;

/*
 * Processes that still use files which are not those that usr has now: they began before an update. A process is found by the inodes that it maps (its
 * program, libraries, data), not by names: a file that an exchange has only given a second name is the same one.
 *
 * Looked at is what lies or lay in usr of this root: below usr, and in the trees of earlier releases (exchange.h), deleted or not; not usr/local and usr/src, which are
 * users'. Processes with another root or a mount namespace of their own count when their usr is this one; those of containers do not.
 */
struct inuse_process {
	pid_t pid;
	char *name; /* as in ps(1), at most 15 bytes */
	char *unit; /* of systemd: "ssh.service", "session-3.scope"; NULL: none */
	char *file; /* one of the replaced files, absolute and as its name was: "/usr/lib/libc.so.6" */
};

struct inuse {
	struct inuse_process *items; /* sorted by unit (none first), then pid */
	size_t n, cap;
};
void inuse_free(struct inuse *u);

/* Look at every process but this one. /proc must be that of the running system: -ENOENT when it is not mounted. */
int inuse_find(const struct machine *m, struct inuse *out, struct err *e);

/* Does PID 1? */
bool inuse_by_init(const struct machine *m);

/* The unit of systemd in a text of /proc/<pid>/cgroup (cgroups(7)); NULL: none. The caller frees it. */
char *inuse_unit(const char *cgroup);

/*
 * One line of /proc/<pid>/maps (proc(5)). False: it maps no file. *range ("55d0…-55d1…", a name in map_files) and *path are lent from the line,
 * which is changed; the path is as the kernel writes it, "\012" for a newline and with " (deleted)".
 */
bool inuse_map_line(char *line, const char **range, ino_t *inode, const char **path);

/* Is it the same file, or the same one in a snapshot of its tree (snapshots)? */
bool inuse_same(const struct stat *a, const struct stat *b, bool snapshots);
