/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct err;
struct machine;
struct plan;

/*
 * Kernels, initrds and entries on the boot partition of a machine that starts by systemd-boot or another loader of the Boot Loader Specification. <id> is os-release's
 * ID; what is not of these names is not ours, and is never touched:
 *
 *     loader/entries/<id>-<release>[+<left>[-<done>]].conf   left, done: tries (https://systemd.io/AUTOMATIC_BOOT_ASSESSMENT)
 *         # kernel <profile>
 *         title <name> <release>
 *         version <release>
 *         sort-key <id>
 *         linux /<id>/<N>/linux[-<n>]
 *         initrd /<id>/<N>/initrd[-<n>]
 *         options <words of the kernel's command line>
 *     <id>/<N>/linux[-<n>] initrd[-<n>]                      N: the release that brought it
 *
 * A file that is already there with the same content is not copied again: the entry names the older path. So a kernel that does not change from release to release lies
 * there once, and what mixer has written (images/disk.image) has no other form than what is written here.
 *
 * FAT promises nothing when the power goes: no file that an entry names is written to, and no name of an entry that is taken is renamed to. What a run that was killed has
 * left is no entry, and the next boot_add removes it.
 */
struct boot;

/* After a soft reboot into another root: the plain name (boot_entry.h) of its entry, which the loader would have started. Below /. */
#define BOOT_SELECTED "run/limpid/entry"

/*
 * The machine's boot partition: --boot=DIR (key "boot" of the configuration) below its root, or else a FAT file system with loader/entries at /efi, /boot or /boot/efi; on the
 * running system also one that is not mounted, by the partition that the loader says it came from (a private mount, gone with boot_close).
 *
 * 1: *out, to be closed by the caller; 0: this machine has none with an entry of ours: its kernel is given by a hypervisor, or by a loader that others look after.
 * -ERR_CONFIG: --boot is no such place; other errors: there is one, but it cannot be read.
 */
int boot_open(struct machine *m, struct boot **out, struct err *e);
void boot_close(struct boot *b);
DEFINE_CLEANUP(struct boot *, boot_close);

/* Bytes that boot_add would write, and those that are free or that it may free; the file system's blocks are counted. */
struct boot_room {
	uint64_t need, have;
};

/*
 * Would boot_add work? tree: directory fd of a root with usr of that release; p not NULL: tree is the root that this plan will make that release, all
 * that it needs is staged. Changes nothing. room may be NULL; it is set where need and have are known, also when they do not fit. A release without a kernel needs nothing.
 * -ERR_SPACE; -EROFS; -ERR_CONFIG: it cannot be told which kernel, or there is no initrd for it.
 */
int boot_check(struct boot *b, int tree, const struct plan *p, uint32_t release, struct boot_room *room, struct err *e);

/*
 * The same from the manifests alone, when nothing of p is staged yet: at most so much. 1: room is set; 0: p has nothing for the partition. What does not fit is
 * no error here.
 */
int boot_estimate(struct boot *b, const struct plan *p, struct boot_room *room, struct err *e);

/*
 * Kernel and initrd of that release, then its entry. Each file gets a new name, is synced, read back from the device and compared; then the entry, by rename. The kernel is the
 * profile of the entry that runs, or the only one that tree has; options are those of that entry, with rootflags=subvol= replaced when subvolume is not NULL. tries 0: not
 * counted. An initrd comes with the release (usr/lib/kernel/<profile>/initrd); for a kernel without modules that of the entry that runs will do.
 *
 * Where the running system cannot tell which entry it runs (another root), the last good one is taken for it: the newest of those not counted.
 *
 * Entries are removed that are older than the last good one, do not run, and have the same root as the new one; others of that age and bad ones when the
 * room is needed. With tries 0, newer entries of the same root are put at the end, behind the new one, as bad ones: their release is no longer there.
 *
 * May be done twice; the second time writes nothing. Returns 1: changed, 0: it was all there, or tree has no kernel.
 */
int boot_add(struct boot *b, int tree, uint32_t release, const char *subvolume, unsigned tries, struct err *e);

struct boot_entry {
	char *file; /* name in loader/entries */
	uint32_t release;
	char *subvolume; /* of rootflags=subvol=, as it is written there; NULL: it says none */
	unsigned left, done;
	bool counted; /* the name has left (and done); left 0: it is bad */
	bool running; /* this system was started from it; where the loader does not tell, several that would have started it the same way may be it */
};

/* Ours only, as they are on the partition now; in the loader's order: bad ones last, else the newest first. boot_entries_free(*out, *n) frees them. */
int boot_list(struct boot *b, struct boot_entry **out, size_t *n, struct err *e);
void boot_entries_free(struct boot_entry *entries, size_t n);

/* file: as in struct boot_entry; -ENOENT: there is no such entry. All are durable when they return, and may be done twice. */
int boot_bless(struct boot *b, const char *file, struct err *e); /* its name loses the counters */
int boot_set_tries(struct boot *b, const char *file, unsigned left, unsigned done, struct err *e);
int boot_bad(struct boot *b, const char *file,
	     struct err *e); /* its name gets +0-<tries done>: the loader puts it last */
/* The entry, then those of its files that no entry at all names. -EBUSY: it runs, or is the last that is left. */
int boot_remove(struct boot *b, const char *file, struct err *e);
