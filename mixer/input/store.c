/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/cache.h"
#include "mixer/input/tree.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define CHUNK 65536

struct store {
	int dir; /* <cache>/objects; xx/ folders are made as needed */
};

struct store_writer {
	struct store *store;
	struct attrs attrs;
	struct file_hash *hash;
	uint64_t written;
	struct fs_tmp tmp;
};

static void object_path(const struct digest *d, char out[DIGEST_HEX + 3])
{
	char hex[DIGEST_HEX];

	digest_format(d, hex);
	snprintf(out, DIGEST_HEX + 3, "%.2s/%s", hex, hex);
}

int store_open(int cachefd, struct store **out, struct err *e)
{
	int dir = fs_make_dir(cachefd, "objects", 0755, e);

	if (dir < 0)
		return err_in(e, dir, "the store");
	struct store *s = xcalloc(1, sizeof(*s));
	s->dir = dir;
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	closep(&s->dir);
	free(s);
}

int store_has(const struct store *s, const struct node *n)
{
	char path[DIGEST_HEX + 3];
	struct stat st;

	if (n->attrs.kind != KIND_FILE)
		return 1;
	object_path(&n->hash, path);
	/* a crash of the machine may have left a name with less content than it had */
	if (fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || (uint64_t)st.st_size != n->attrs.size)
		return 0;
	cache_used(s->dir, path, &st);
	return 1;
}

int store_begin(struct store *s, const struct attrs *a, struct store_writer **out, struct err *e)
{
	struct store_writer *w = xcalloc(1, sizeof(*w));

	w->store = s;
	w->attrs = *a;
	w->hash = file_hash_new(a);
	w->tmp = (struct fs_tmp)FS_TMP_INIT;
	int r = fs_tmp_open(s->dir, 0644, &w->tmp, e);
	if (r < 0) {
		store_abort(w);
		return err_in(e, r, "the store");
	}
	*out = w;
	return 0;
}

int store_write(struct store_writer *w, const void *data, size_t len, struct err *e)
{
	w->written += len;
	if (w->written > w->attrs.size)
		return err_set(e, -ERR_FORMAT, "more content than its size of %llu", (unsigned long long)w->attrs.size);
	file_hash_add(w->hash, data, len);
	int r = fs_write_all(w->tmp.fd, data, len, e);
	return r < 0 ? err_in(e, r, "the store") : 0;
}

/* A written file gets its name. */
static int place(const struct store *s, struct fs_tmp *t, const struct digest *d, struct err *e)
{
	char path[DIGEST_HEX + 3], dir[3];

	object_path(d, path);
	snprintf(dir, sizeof(dir), "%.2s", path);
	if (mkdirat(s->dir, dir, 0755) < 0 && errno != EEXIST)
		return err_errno(e, "the store");
	int r = fs_tmp_commit(t, path, e);
	return r < 0 ? err_in(e, r, "the store") : 0;
}

int store_end(struct store_writer *w, struct digest *out, struct err *e)
{
	int r = 0;

	if (w->written != w->attrs.size)
		r = err_set(e, -ERR_FORMAT, "less content than its size of %llu", (unsigned long long)w->attrs.size);
	if (r >= 0) {
		file_hash_end(w->hash, out);
		r = place(w->store, &w->tmp, out, e);
	}
	store_abort(w);
	return r;
}

void store_abort(struct store_writer *w)
{
	if (!w)
		return;
	fs_tmp_abort(&w->tmp);
	file_hash_free(w->hash);
	free(w);
}

int store_take(struct store *s, const struct attrs *a, store_read *read, void *source, struct digest *out,
	       struct err *e)
{
	_cleanup_free_ char *chunk = xmalloc(CHUNK);
	struct store_writer *w = NULL;

	int r = store_begin(s, a, &w, e);
	if (!w)
		return r;
	for (;;) {
		const int got = read(source, chunk, CHUNK, e);
		if (got == 0)
			return store_end(w, out, e);
		r = got < 0 ? got : store_write(w, chunk, (size_t)got, e);
		if (r < 0) {
			store_abort(w);
			return r;
		}
	}
}

int store_put(struct store *s, const struct attrs *a, const void *content, struct digest *out, struct err *e)
{
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	struct node n = {.attrs = *a};
	int r = 0;

	file_hash_mem(a, content, (size_t)a->size, &n.hash);
	if (!store_has(s, &n)) {
		r = fs_tmp_open(s->dir, 0644, &t, e);
		if (r >= 0)
			r = fs_write_all(t.fd, content, (size_t)a->size, e);
		r = r < 0 ? err_in(e, r, "the store") : place(s, &t, &n.hash, e);
	}
	if (r >= 0)
		*out = n.hash;
	return r;
}

int store_get_fd(const struct store *s, const struct digest *d, struct err *e)
{
	char path[DIGEST_HEX + 3];

	object_path(d, path);
	int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 ? fd : err_errno(e, "object %s of the store", path + 3);
}

int store_link(const struct store *s, const struct digest *d, int dirfd, const char *name, struct err *e)
{
	char path[DIGEST_HEX + 3];

	object_path(d, path);
	if (!fs_exists(s->dir, path))
		return err_set(e, -ENOENT, "object %s is not in the store", path + 3);
	return fs_link_or_copy(s->dir, path, dirfd, name, e);
}

int store_load(const struct store *s, const struct digest *d, size_t max, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = store_get_fd(s, d, e);

	return fd < 0 ? fd : fs_load_fd(fd, "object", max, out, e);
}
