/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define FIRST  "limpid-tree 1 "
#define FIELDS 9 /* of a line */

static const char kinds[] = ".FDL";

struct tree *tree_new(void)
{
	struct tree *t = xcalloc(1, sizeof(*t));

	t->arena = arena_new();
	return t;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	arena_free(t->arena);
	free(t->nodes);
	free(t);
}

struct node *tree_add(struct tree *t, const struct node *n)
{
	VEC_GROW(t->nodes, t->n, t->cap);
	struct node *copy = &t->nodes[t->n++];
	*copy = *n;
	copy->path = arena_strdup(t->arena, n->path);
	copy->link = n->link ? arena_strdup(t->arena, n->link) : NULL;
	copy->origin = arena_strdup(t->arena, n->origin ? n->origin : "");
	return copy;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->path, ((const struct node *)b)->path);
}

void tree_sort(struct tree *t)
{
	if (t->n)
		qsort(t->nodes, t->n, sizeof(*t->nodes), by_path);
}

struct node *tree_find(const struct tree *t, const char *path)
{
	const struct node key = {.path = path};

	return t->n ? bsearch(&key, t->nodes, t->n, sizeof(*t->nodes), by_path) : NULL;
}

void tree_format(const struct tree *t, struct buf *out)
{
	buf_printf(out, FIRST "%zu\n", t->n);
	for (size_t i = 0; i < t->n; i++) {
		const struct node *n = &t->nodes[i];
		char hex[DIGEST_HEX];
		digest_format(&n->hash, hex);
		buf_printf(out, "%c\t%o\t%u\t%u\t%llu\t%s\t%s\t%s\t%s\n", kinds[n->attrs.kind], n->attrs.mode,
			   n->attrs.uid, n->attrs.gid, (unsigned long long)n->attrs.size, hex, n->origin, n->path,
			   n->link ? n->link : "");
	}
}

static int parse_node(char *line, struct node *n)
{
	char *f[FIELDS];
	size_t count = 0;

	for (char *rest = line; rest && count < FIELDS; count++)
		f[count] = count + 1 < FIELDS ? strsep(&rest, "\t") : rest;
	const char *kind = count == FIELDS && strlen(f[0]) == 1 ? strchr("FDL", *f[0]) : NULL;
	if (!kind || text_mode(f[1], &n->attrs.mode) < 0 || text_u32(f[2], 0, UINT32_MAX, &n->attrs.uid) < 0 ||
	    text_u32(f[3], 0, UINT32_MAX, &n->attrs.gid) < 0 || text_u64(f[4], 0, UINT64_MAX, &n->attrs.size) < 0 ||
	    strlen(f[5]) != DIGEST_HEX - 1 || digest_parse(f[5], &n->hash) < 0 || name_check(f[7], NULL) < 0)
		return -EINVAL;
	n->attrs.kind = (enum file_kind)(strchr(kinds, *kind) - kinds);
	n->origin = f[6];
	n->path = f[7];
	n->link = n->attrs.kind == KIND_LINK ? f[8] : NULL;
	return 0;
}

int tree_parse(const char *text, size_t len, struct tree **out, struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = tree_new();
	const char *pos = text, *line;
	uint64_t count = 0;
	bool complete = false;
	size_t n;

	for (size_t number = 1; text_line(&pos, text + len, &line, &n, &complete); number++) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		struct node node = {0};
		if (number == 1) {
			if (!text_starts(copy, FIRST) || text_u64(copy + strlen(FIRST), 0, SIZE_MAX, &count) < 0)
				return err_set(e, -ERR_FORMAT, "tree:1: this is no tree");
			continue;
		}
		if (!complete || parse_node(copy, &node) < 0)
			return err_set(e, -ERR_FORMAT, "tree:%zu: not a line of a tree", number);
		tree_add(t, &node);
	}
	/* caches are not synced: what a crash of the machine left of one must not pass for a smaller package */
	if (!complete || t->n != count)
		return err_set(e, -ERR_FORMAT, "tree: it is cut off");
	*out = take(t);
	return 0;
}

static int checkout_file(const struct node *n, const struct store *s, int dirfd, struct err *e)
{
	const char *path = n->path + 1;
	_cleanup_close_ int in = store_get_fd(s, &n->hash, e);
	_cleanup_close_ int fd = in < 0 ? -1 : openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (in < 0)
		return in;
	if (fd < 0)
		return err_errno(e, "open");
	int r = fs_copy_fd(in, fd, n->attrs.size, e);
	if (r >= 0 && geteuid() == 0 && fchown(fd, n->attrs.uid, n->attrs.gid) < 0)
		r = err_errno(e, "chown");
	if (r >= 0 && fchmod(fd, n->attrs.mode) < 0)
		r = err_errno(e, "chmod");
	return r;
}

static int checkout_node(const struct node *n, const struct store *s, int dirfd, struct err *e)
{
	const char *path = n->path + 1, *slash = strrchr(path, '/');

	if (slash) {
		_cleanup_free_ char *parent = xstrndup(path, (size_t)(slash - path));
		int r = fs_mkdirs(dirfd, parent, 0755, e);
		if (r < 0)
			return r;
	}
	if (n->attrs.kind == KIND_DIR)
		return mkdirat(dirfd, path, 0755) < 0 && errno != EEXIST ? err_errno(e, "mkdir") : 0;
	if (n->attrs.kind == KIND_FILE)
		return checkout_file(n, s, dirfd, e);
	if (symlinkat(n->link, dirfd, path) < 0)
		return err_errno(e, "symlink");
	if (geteuid() == 0 && fchownat(dirfd, path, n->attrs.uid, n->attrs.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "chown");
	return 0;
}

int tree_checkout(const struct tree *t, const struct store *s, int dirfd, struct err *e)
{
	for (size_t i = 0; i < t->n; i++) {
		int r = checkout_node(&t->nodes[i], s, dirfd, e);
		if (r < 0)
			return err_in(e, r, "%s", t->nodes[i].path);
	}
	/* directories get theirs last, and from below: a mode may forbid us to write there */
	for (size_t i = t->n; i-- > 0;) {
		const struct node *n = &t->nodes[i];
		if (n->attrs.kind != KIND_DIR)
			continue;
		if (geteuid() == 0 && fchownat(dirfd, n->path + 1, n->attrs.uid, n->attrs.gid, 0) < 0)
			return err_errno(e, "%s: chown", n->path);
		if (fchmodat(dirfd, n->path + 1, n->attrs.mode, 0) < 0)
			return err_errno(e, "%s: chmod", n->path);
	}
	return 0;
}
