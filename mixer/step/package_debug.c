/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/package_debug.h"

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* Absolute, with each "." and ".." resolved by its text. False: it leads out of the root. */
static bool normalize(const char *path, struct buf *out)
{
	_cleanup_(strv_free) struct strv parts = {0}, kept = {0};

	strv_split(&parts, path, "/");
	for (size_t i = 0; i < parts.n; i++) {
		if (strcmp(parts.items[i], ".") == 0)
			continue;
		if (strcmp(parts.items[i], "..") != 0) {
			strv_add(&kept, parts.items[i]);
			continue;
		}
		if (kept.n == 0)
			return false;
		free(kept.items[--kept.n]);
	}
	for (size_t i = 0; i < kept.n; i++)
		buf_printf(out, "/%s", kept.items[i]);
	return true;
}

static void add_name(const char *path, const char *prefix, struct strv *out)
{
	_cleanup_(buf_free) struct buf whole = {0};
	const size_t len = strlen(prefix);

	if (path[0] == '/' && normalize(path, &whole) && whole.len > len + 1 && strncmp(whole.data, prefix, len) == 0 &&
	    whole.data[len] == '/' && !strchr(whole.data, '\n'))
		strv_add(out, whole.data + len + 1);
}

static int add_tables(Dwarf *dw, const char *prefix, struct strv *out, struct err *e)
{
	Dwarf_Off at = 0, next;
	Dwarf_CU *cu = NULL;
	Dwarf_Files *files;
	size_t n;
	int r;

	while ((r = dwarf_next_lines(dw, at, &next, &cu, &files, &n, NULL, NULL)) == 0) {
		for (size_t i = 0; i < n; i++) {
			const char *name = dwarf_filesrc(files, i, NULL, NULL);
			if (name)
				add_name(name, prefix, out);
		}
		at = next;
	}
	return r < 0 ? err_set(e, -ERR_FORMAT, "its line tables are damaged: %s", dwarf_errmsg(-1)) : 0;
}

struct below {
	const char *prefix;
	struct strv *out;
};

static int add_file(void *arg, const char *path, int fd, struct err *e)
{
	const struct below *b = arg;
	/* what is no ELF or has no debug information */
	Dwarf *dw = dwarf_begin(fd, DWARF_C_READ);

	if (!dw)
		return 0;
	int r = add_tables(dw, b->prefix, b->out, e);
	dwarf_end(dw);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

int debug_sources_below(int root, const char *prefix, struct strv *out, struct err *e)
{
	int r = fs_each_file(root, add_file, &(struct below){prefix, out}, e);

	strv_sort_unique(out);
	return r;
}
