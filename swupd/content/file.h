/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct stat;

/* What a path can be. Devices, sockets and FIFOs cannot be content. */
enum file_kind {
	KIND_NONE,   /* '.' in a manifest: a deleted or ghosted path */
	KIND_FILE,   /* 'F' */
	KIND_DIR,    /* 'D' */
	KIND_LINK,   /* 'L' symbolic link */
	KIND_BUNDLE, /* 'M': a bundle's line in the MoM */
};

/* All that a release says about a path besides its name and content. Times, link counts and extended attributes are not part. */
struct attrs {
	enum file_kind kind;
	uint32_t mode; /* permission bits with setuid, setgid and sticky (07777); 0 for a link */
	uint32_t uid, gid;
	uint64_t size; /* bytes of content; for a link, of its target; 0 for a directory */
};

/* From what lstat() says. -ERR_FORMAT: not a file, directory or symbolic link. */
int attrs_from_stat(const struct stat *st, struct attrs *out, struct err *e);

/*
 * The one place where names are checked (manifest parser, builder): absolute, no empty, "." or ".." component, no byte below 0x20 and no
 * 0x7f, at most NAME_LIMIT bytes. -ERR_PATH with the reason. The name is shown quoted with such bytes as '?'.
 */
int name_check(const char *name, struct err *e);

/*
 * A bundle's name: letters, digits, "-_+.", not beginning with '.' or '-', not "MoM" or "full", at most BUNDLE_NAME_LIMIT bytes.
 * -ERR_BUNDLE with the reason.
 */
int bundle_name_check(const char *name, struct err *e);

/* The kernel takes 4096 with the NUL (PATH_MAX), and a root's own path stands before it. */
#define NAME_LIMIT 3500

/* A file name takes 255, and "Manifest-<name>-delta-from-<release>-to-<release>" and the like are file names. */
#define BUNDLE_NAME_LIMIT 200

/*
 * Paths with a meaning of their own (spec/swupd-client-behaviour.md section 6.3). "Below" leaves out the directory itself.
 * state: below /etc /var /home /root /srv /run /tmp /dev /proc /sys /data /lost+found, and /usr/src but debug and kernel: never touched by
 * updates. boot: below /boot /usr/lib/modules /usr/lib/kernel /usr/lib/systemd/boot: never deleted while it may be booted from, and changes
 * ask for the boot manager.
 */
bool name_is_state(const char *name);
bool name_is_boot(const char *name);
