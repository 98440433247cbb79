/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/tar_source.h"

#include <string.h>
#include <sys/stat.h>

#include "swupd/base/err.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/content/libarchive.h"

#define BLOCK (64UL << 10)

struct place {
	uint64_t at, bytes;
};

struct tar_source {
	struct table *places; /* by name */
	struct arena *arena;  /* holds both */
	uint64_t bytes;       /* of the tar */
};

void tar_source_free(struct tar_source *t)
{
	if (!t)
		return;
	table_free(t->places);
	arena_free(t->arena);
	free(t);
}

static void add(struct tar_source *t, const struct libarchive *lib, struct archive *a, struct archive_entry *x)
{
	const char *name = lib->archive_entry_pathname(x);

	if (!name || lib->archive_entry_filetype(x) != AE_IFREG || lib->archive_entry_hardlink(x) ||
	    lib->archive_entry_sparse_count(x) > 0)
		return;
	if (text_starts(name, "./"))
		name += 2;
	/* the head of the member was read, and nothing behind it */
	const struct place place = {(uint64_t)lib->archive_filter_bytes(a, 0), (uint64_t)lib->archive_entry_size(x)};
	/* a sparse file whose map is damaged has none for libarchive, and any size */
	if (place.at > t->bytes || place.bytes > t->bytes - place.at)
		return;
	struct place *p = arena_alloc(t->arena, sizeof(*p));
	*p = place;
	/* of several of one name the last counts, as when it is unpacked */
	(void)table_set_str(t->places, arena_strdup(t->arena, name), p);
}

static int read_members(struct tar_source *t, const struct libarchive *lib, struct archive *a, const char *path,
			struct err *e)
{
	struct archive_entry *x;

	int r = lib->archive_read_open_filename(a, path, BLOCK);
	while (r == ARCHIVE_OK && ((r = lib->archive_read_next_header(a, &x)) == ARCHIVE_OK || r == ARCHIVE_WARN)) {
		add(t, lib, a, x);
		r = ARCHIVE_OK;
	}
	if (r != ARCHIVE_EOF)
		return err_hint(e, err_set(e, -ERR_FORMAT, "%s is no tar: %s", path, lib->archive_error_string(a)),
				"a content URL is a directory, or a tar that is not compressed, of a published tree");
	return 0;
}

int tar_source_open(const char *path, struct tar_source **out, struct err *e)
{
	_cleanup_(tar_source_freep) struct tar_source *t = xcalloc(1, sizeof(*t));
	const struct libarchive *lib;
	struct stat st;

	int r = libarchive_load(&lib, e);
	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return err_errno(e, "%s", path);
	t->bytes = (uint64_t)st.st_size;
	struct archive *a = lib->archive_read_new();
	t->places = table_new();
	t->arena = arena_new();
	lib->archive_read_support_format_tar(a);
	r = read_members(t, lib, a, path, e);
	lib->archive_read_free(a);
	if (r < 0)
		return r;
	*out = take(t);
	return 0;
}

int tar_source_find(const struct tar_source *t, const char *name, uint64_t *at, uint64_t *bytes)
{
	const struct place *p = table_find_str(t->places, name);

	if (!p)
		return -ENOENT;
	*at = p->at;
	*bytes = p->bytes;
	return 0;
}
