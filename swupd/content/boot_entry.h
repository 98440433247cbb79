/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/*
 * Entries of the Boot Loader Specification, type 1 (https://uapi-group.org/specifications/specs/boot_loader_specification/): a file of key and value lines in
 * loader/entries. Ours, which mixer and swupd write, in this form:
 *
 *     <id>-<release>[+<left>[-<done>]].conf      left, done: tries (https://systemd.io/AUTOMATIC_BOOT_ASSESSMENT)
 *
 *     # kernel native
 *     title Limpid 20
 *     version 20
 *     sort-key limpid
 *     linux /limpid/20/linux
 *     initrd /limpid/20/initrd
 *     options root=PARTUUID=… rootfstype=btrfs rootflags=subvol=root rw quiet
 */
#define BOOT_ENTRIES   "loader/entries"
#define BOOT_TRIES_MAX 1000000

/* <id>-<release>[+…].conf; tells loaders nothing but order and tries. */
struct boot_name {
	uint32_t release;
	bool counted; /* left and done are in the name */
	unsigned left, done;
};

/* False: not a name of ours. id: os-release's ID. Case does not matter: FAT has none. */
bool boot_name_parse(const char *file, const char *id, struct boot_name *out);
char *boot_name_format(const struct boot_name *n, const char *id); /* caller frees */

/* What loaders call the entry: the name without tries and ".conf"; caller frees. */
char *boot_name_plain(const char *file);

struct boot_text {
	char *kernel;         /* of the comment: the folder in usr/lib/kernel; NULL: it has none */
	char *title, *linux_; /* NULL: none. Paths begin at the root of the partition. */
	uint32_t version;     /* 0: none, or not a number */
	char *sort_key, *options;
	struct strv initrds;
	struct strv
		paths; /* linux, initrds and whatever else it names: efi, devicetree, … Only boot_text_parse fills it. */
};

/* Any text is an entry: lines that say nothing to us are passed over. */
void boot_text_parse(const char *text, size_t len, struct boot_text *out);
void boot_text_format(const struct boot_text *t, struct buf *out);
void boot_text_clear(struct boot_text *t);

/* The value of subvol= in rootflags= of a command line; NULL: none. The caller frees it. */
char *boot_options_subvolume(const char *options);
/* The same command line with another subvolume; the caller frees it. */
char *boot_options_with_subvolume(const char *options, const char *subvolume);
