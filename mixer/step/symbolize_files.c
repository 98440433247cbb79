/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/deb.h"
#include "mixer/input/tree.h"
#include "mixer/step/symbolize.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"

static int deb_add(struct debug_files *d, const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(tree_freep) struct tree *t = NULL;

	if (fd < 0)
		return err_errno(e, "%s", path);
	int r = deb_unpack(fd, path, d->store, &t, e);
	if (r < 0)
		return r;
	tree_sort(t);
	VEC_GROW(d->debs, d->n_debs, d->cap_debs);
	d->debs[d->n_debs++] = take(t);
	return 0;
}

int debug_files_add(struct debug_files *d, const char *path, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0)
		return err_errno(e, "%s", path);
	if (!S_ISDIR(st.st_mode)) {
		if (!text_ends(path, ".deb"))
			return err_set(e, -ERR_USAGE, "%s: neither a directory nor a .deb", path);
		if (!d->store)
			return err_hint(e,
					err_set(e, -ERR_USAGE,
						"%s: a package, and there is no workspace to unpack it in", path),
					"-C DIR, after 'mixer init DIR'");
		return deb_add(d, path, e);
	}
	strv_add(&d->dirs, path);
	if (d->store)
		r = fs_list(AT_FDCWD, path, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (strstr(names.items[i], "-dbgsym_") && text_ends(names.items[i], ".deb")) {
			_cleanup_free_ char *deb = xasprintf("%s/%s", path, names.items[i]);
			r = deb_add(d, deb, e);
		}
	return r;
}

void debug_files_clear(struct debug_files *d)
{
	for (size_t i = 0; i < d->n_debs; i++)
		tree_free(d->debs[i]);
	free(d->debs);
	strv_free(&d->dirs);
	*d = (struct debug_files){0};
}

/* name is below a root's usr/lib/debug. */
static int file_open(const struct debug_files *d, const char *name, struct err *e)
{
	static const char *const below[] = {"/usr/lib/debug", "/lib/debug", "/debug", ""};

	for (size_t i = 0; i < d->dirs.n; i++)
		for (size_t k = 0; k < ARRAY_LEN(below); k++) {
			_cleanup_free_ char *path = xasprintf("%s%s%s", d->dirs.items[i], below[k], name);
			int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
			if (fd >= 0)
				return fd;
		}
	_cleanup_free_ char *path = xasprintf("/usr/lib/debug%s", name);
	for (size_t i = 0; i < d->n_debs; i++) {
		const struct node *n = tree_find(d->debs[i], path);
		if (n && n->attrs.kind == KIND_FILE)
			return store_get_fd(d->store, &n->hash, e);
	}
	return -ENOENT;
}

int debug_files_open(const struct debug_files *d, const char *build_id, const char *shared, struct err *e)
{
	if (strlen(build_id) < 3)
		return -ENOENT;
	_cleanup_free_ char *name = xasprintf("/.build-id/%.2s/%s.debug", build_id, build_id + 2);
	int fd = file_open(d, name, e);
	/* debhelper puts them into a folder of debug information that is named so, and gives them no name by build-id */
	shared = shared ? strstr(shared, "/.dwz/") : NULL;
	return fd == -ENOENT && shared && !strstr(shared, "/../") ? file_open(d, shared, e) : fd;
}
