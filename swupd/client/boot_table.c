/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/boot_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/format.h"

static void item_clear(struct boot_item *i)
{
	free(i->file);
	free(i->subvolume);
	buf_free(&i->raw);
	boot_text_clear(&i->text);
}

void boot_table_clear(struct boot_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		item_clear(&t->items[i]);
	free(t->items);
	t->items = NULL;
	t->n = t->n_ours = t->cap = 0;
	t->unsure = false;
}

bool boot_item_is_bad(const struct boot_item *i)
{
	return i->name.counted && i->name.left == 0;
}

bool boot_same_subvolume(const char *a, const char *b)
{
	if (!a || !b)
		return !a && !b;
	return strcmp(a + strspn(a, "/"), b + strspn(b, "/")) == 0;
}

/* linux or initrd, perhaps with -<n> */
static bool is_our_base(const char *name)
{
	static const char *const bases[] = {"linux", "initrd"};

	for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
		const size_t len = strlen(bases[i]);
		if (strncasecmp(name, bases[i], len) != 0)
			continue;
		const char *rest = name + len;
		if (!*rest || (rest[0] == '-' && rest[1] && !rest[1 + strspn(rest + 1, "0123456789")]))
			return true;
	}
	return false;
}

static bool is_number(const char *s, size_t len)
{
	return len > 0 && strspn(s, "0123456789") >= len;
}

bool boot_path_is_ours(const char *path, const char *id)
{
	const size_t len = strlen(id);

	if (path[0] != '/' || strncasecmp(path + 1, id, len) != 0 || path[1 + len] != '/')
		return false;
	const char *release = path + 1 + len + 1, *slash = strchr(release, '/');
	return slash && is_number(release, (size_t)(slash - release)) && is_our_base(slash + 1);
}

/* 1: read; 0: nothing that a loader would take for an entry */
static int load_item(int dir, const char *file, const char *id, struct boot_item *out, bool *unsure, struct err *e)
{
	struct boot_item item = {0};
	const bool named = boot_name_parse(file, id, &item.name);
	const size_t len = strlen(file);
	struct stat st;

	if (file[0] == '.' || len < 5 || strcasecmp(file + len - 5, ".conf") != 0)
		return 0;
	_cleanup_close_ int fd = fs_open_beneath(dir, file, O_RDONLY | O_NONBLOCK, 0, e);
	int r = fd < 0 ? fd : fstat(fd, &st) < 0 ? err_errno(e, "%s", file) : 0;
	if (r >= 0 && !S_ISREG(st.st_mode))
		return 0;
	if (r >= 0)
		r = fs_load_fd(fd, file, SMALL_TEXT_MAX, &item.raw, e);
	if (r < 0) {
		item_clear(&item);
		*unsure = true;
		if (named)
			return err_in(e, r, BOOT_ENTRIES "/%s", file);
		err_clear(e);
		return 0;
	}
	item.file = xstrdup(file);
	boot_text_parse(item.raw.len ? item.raw.data : "", item.raw.len, &item.text);
	item.ours = named && item.text.linux_ && boot_path_is_ours(item.text.linux_, id);
	item.subvolume = boot_options_subvolume(item.text.options);
	*out = item;
	return 1;
}

static int compare_items(const void *a, const void *b)
{
	const struct boot_item *x = a, *y = b;

	if (x->ours != y->ours)
		return x->ours ? -1 : 1;
	if (x->ours && boot_item_is_bad(x) != boot_item_is_bad(y))
		return boot_item_is_bad(x) ? 1 : -1;
	if (x->name.release != y->name.release)
		return x->name.release > y->name.release ? -1 : 1;
	return strcmp(x->file, y->file);
}

static int load_items(int dir, struct boot_table *t, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		struct boot_item item = {0};
		r = load_item(dir, names.items[i], t->id, &item, &t->unsure, e);
		if (r <= 0)
			continue;
		VEC_GROW(t->items, t->n, t->cap);
		t->items[t->n++] = item;
		t->n_ours += item.ours;
	}
	return r;
}

int boot_table_load(int fd, const char *id, struct boot_table *out, struct err *e)
{
	struct boot_table t = {.fd = fd, .id = id};

	_cleanup_close_ int dir = fs_open_beneath(fd, BOOT_ENTRIES, O_RDONLY | O_DIRECTORY, 0, e);
	int r = dir < 0 ? dir : load_items(dir, &t, e);
	if (r < 0) {
		boot_table_clear(&t);
		return r;
	}
	if (t.n)
		qsort(t.items, t.n, sizeof(*t.items), compare_items);
	boot_table_clear(out);
	*out = t;
	return 0;
}

struct boot_item *boot_table_find(const struct boot_table *t, const char *file)
{
	for (size_t i = 0; i < t->n_ours; i++)
		if (strcasecmp(t->items[i].file, file) == 0)
			return &t->items[i];
	return NULL;
}

/* As FAT does: case and repeated slashes do not matter */
static bool same_path(const char *a, const char *b)
{
	for (;;) {
		a += strspn(a, "/\\");
		b += strspn(b, "/\\");
		const size_t n = strcspn(a, "/\\");
		if (n != strcspn(b, "/\\") || strncasecmp(a, b, n) != 0)
			return false;
		if (n == 0)
			return true;
		a += n;
		b += n;
	}
}

static bool list_names(const struct strv *paths, const char *path)
{
	for (size_t i = 0; paths && i < paths->n; i++)
		if (same_path(paths->items[i], path))
			return true;
	return false;
}

bool boot_table_names(const struct boot_table *t, const char *path)
{
	for (size_t i = 0; i < t->n; i++)
		if (!t->items[i].gone && list_names(&t->items[i].text.paths, path))
			return true;
	return false;
}

/* Those of one release's folder */
static int unnamed_below(const struct boot_table *t, const char *folder, const struct strv *keep, struct strv *out,
			 uint64_t *bytes, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", t->id, folder);
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;

	_cleanup_close_ int fd = fs_open_beneath(t->fd, dir, O_RDONLY | O_DIRECTORY, 0, NULL);
	int r = fd < 0 ? 0 : fs_list(fd, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf("/%s/%s", dir, names.items[i]);
		if (!is_our_base(names.items[i]) || boot_table_names(t, path) || list_names(keep, path))
			continue;
		if (fstatat(fd, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		*bytes += (uint64_t)st.st_blocks * 512;
		strv_add(out, path);
	}
	return r;
}

int boot_table_unnamed(const struct boot_table *t, const struct strv *keep, struct strv *out, uint64_t *bytes,
		       struct err *e)
{
	_cleanup_(strv_free) struct strv folders = {0};

	*bytes = 0;
	_cleanup_close_ int dir = t->unsure ? -1 : fs_open_beneath(t->fd, t->id, O_RDONLY | O_DIRECTORY, 0, NULL);
	int r = dir < 0 ? 0 : fs_list(dir, ".", &folders, e);
	for (size_t i = 0; r >= 0 && i < folders.n; i++)
		if (is_number(folders.items[i], strlen(folders.items[i])))
			r = unnamed_below(t, folders.items[i], keep, out, bytes, e);
	return r < 0 ? r : 0;
}
