/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/content_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/tree.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct reading {
	const char *origin;
	struct store *store;
	struct tree *out;
};

static int read_file(void *fd, void *to, size_t len, struct err *e)
{
	const ssize_t got = read(*(int *)fd, to, len);

	return got < 0 ? err_errno(e, "read") : (int)got;
}

static int load_file(struct reading *r, int dirfd, const char *name, struct node *n, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_errno(e, "open");
	return store_take(r->store, &n->attrs, read_file, &fd, &n->hash, e);
}

static int load_link(int dirfd, const char *name, struct node *n, char target[NAME_LIMIT + 1], struct err *e)
{
	ssize_t len = readlinkat(dirfd, name, target, NAME_LIMIT);

	if (len < 0)
		return err_errno(e, "readlink");
	target[len] = '\0';
	n->link = target;
	n->attrs.size = (uint64_t)len;
	file_hash_mem(&n->attrs, target, (size_t)len, &n->hash);
	return 0;
}

static int load_dir(struct reading *r, int dirfd, const char *path, struct err *e);

static int load_node(struct reading *r, int dirfd, const char *name, const char *path, struct err *e)
{
	char target[NAME_LIMIT + 1];
	struct node n = {.path = path, .origin = r->origin};
	struct stat st;

	int result = name_check(path, e);
	if (result < 0)
		return result;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "stat");
	result = attrs_from_stat(&st, &n.attrs, e);
	if (result < 0)
		return result;
	n.attrs.uid = n.attrs.gid = 0;
	const bool top = strchr(path + 1, '/') == NULL;
	if (!text_starts(path, "/usr/") && strcmp(path, "/usr") != 0 && !(top && n.attrs.kind == KIND_LINK))
		return err_hint(e, err_set(e, -ERR_PATH, "a release holds nothing outside of /usr"),
				"a default for /etc goes to usr/share/factory/etc, a directory of /var to a file in "
				"usr/lib/tmpfiles.d");
	if (n.attrs.kind == KIND_LINK) {
		result = load_link(dirfd, name, &n, target, e);
	} else if (n.attrs.kind == KIND_FILE) {
		n.attrs.mode = (n.attrs.mode & 0100 ? 0755 : 0644) | (n.attrs.mode & 06000);
		result = load_file(r, dirfd, name, &n, e);
	} else {
		n.attrs.mode = 0755 | (n.attrs.mode & 07000);
		file_hash_mem(&n.attrs, NULL, 0, &n.hash);
	}
	if (result < 0)
		return result;
	tree_add(r->out, &n);
	if (n.attrs.kind != KIND_DIR)
		return 0;
	_cleanup_close_ int below = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return below < 0 ? err_errno(e, "open") : load_dir(r, below, path, e);
}

static int load_dir(struct reading *r, int dirfd, const char *path, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int result = fs_list(dirfd, ".", &names, e);
	for (size_t i = 0; result >= 0 && i < names.n; i++) {
		if (strcmp(names.items[i], ".gitkeep") == 0)
			continue;
		_cleanup_free_ char *full = xasprintf("%s/%s", path, names.items[i]);
		struct err own = ERR_INIT;
		result = load_node(r, dirfd, names.items[i], full, &own);
		/* the innermost level names the path */
		if (result < 0) {
			if (own.text && !strstr(own.text, full))
				(void)err_in(&own, result, "%s", full);
			err_move(e, &own);
		}
	}
	return result;
}

int content_tree_load(const char *dir, const char *bundle, struct store *s, struct tree *out, struct err *e)
{
	_cleanup_free_ char *origin = xasprintf("bundle %s", bundle);
	struct reading r = {.origin = origin, .store = s, .out = out};

	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = fd < 0 ? err_errno(e, "open") : load_dir(&r, fd, "", e);
	return result < 0 ? err_in(e, result, "bundle '%s': content(%s)", bundle, dir) : 0;
}
