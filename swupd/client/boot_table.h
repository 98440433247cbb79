/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/text.h"
#include "swupd/content/boot_entry.h"

struct err;

/* All entries of a boot partition as they are, with what is ours of its files; bootfiles.h has the names. */
struct boot_item {
	char *file;            /* in BOOT_ENTRIES */
	bool ours;             /* by its name, and by where its kernel lies */
	struct boot_name name; /* of ours */
	struct boot_text text;
	struct buf raw;  /* the text itself */
	char *subvolume; /* NULL: its options have none */
	bool running;
	bool gone; /* thought away, to see what that would free */
};

struct boot_table {
	int fd; /* of the partition; lent */
	const char *id;
	struct boot_item *items; /* ours first, in the loader's order: bad ones last, else the newest first */
	size_t n, n_ours, cap;
	bool unsure; /* there are entries of others that cannot be read: whatever they may name stays */
};

int boot_table_load(int fd, const char *id, struct boot_table *out, struct err *e);
void boot_table_clear(struct boot_table *t);
struct boot_item *boot_table_find(const struct boot_table *t, const char *file); /* ours; may be NULL */

bool boot_item_is_bad(const struct boot_item *i);
bool boot_same_subvolume(const char *a, const char *b); /* each may be NULL */

/* Does an entry name this path ("/limpid/10/linux")? Those that are gone do not. */
bool boot_table_names(const struct boot_table *t, const char *path);

/* Is it a path of ours: /<id>/<number>/linux or initrd, with or without -<n>? */
bool boot_path_is_ours(const char *path, const char *id);

/* Our files on the partition that no entry names, nor keep (may be NULL), sorted; *bytes of whole blocks. */
int boot_table_unnamed(const struct boot_table *t, const struct strv *keep, struct strv *out, uint64_t *bytes,
		       struct err *e);
