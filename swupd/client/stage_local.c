/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/client/machine.h"
#include "swupd/client/staging.h"
#include "swupd/content/object.h"

/* Objects that need no server. */

#define CHUNK      65536
#define COPY_TRIES 4 /* installed files of one hash that are looked at; the first is nearly always whole */

static int reuse_one(void *arg, size_t i, struct err *e __attribute__((unused)))
{
	struct staging *s = arg;
	struct want *w = &s->wants[i];
	char hex[DIGEST_HEX];
	struct digest hash;

	digest_format(&w->entry->hash, hex);
	if (!object_exists(s->dir, &w->entry->hash))
		return 0;
	/* a name is durable before content is: after a crash a whole name may have half its content */
	bool same = file_hash_at(s->dir, hex, NULL, &hash, NULL) >= 0 && digest_equal(&hash, &w->entry->hash);
	if (same) {
		want_settle(s, w, true);
		progress_add(s->m->progress, 1);
		return 0;
	}
	return s->rehearsal ? 0 : fs_remove_tree(s->dir, hex, e);
}

int stage_reuse(struct staging *s, struct err *e)
{
	return work_each(0, s->n, reuse_one, s, e);
}

static int make_known(struct staging *s, const struct attrs *a, struct err *e)
{
	struct object *o = NULL;
	struct digest hash;

	file_hash_mem(a, NULL, 0, &hash);
	struct want *w = want_claim(s, &hash);
	if (!w)
		return 0;
	int r = s->rehearsal ? 0 : object_begin(s->dir, a, NULL, &o, e);
	if (r >= 0 && o)
		r = object_commit(o, &hash, e);
	want_settle(s, w, r >= 0);
	progress_add(s->m->progress, r >= 0);
	return r;
}

/*
 * A directory's hash says its attributes, and nearly all have one of these: one hash each, instead of a request each. The same for the many empty
 * files (each bundle has one).
 */
int stage_known(struct staging *s, struct err *e)
{
	static const uint32_t dirs[] = {0755, 0700, 0711, 0750, 0770, 0775, 0555, 01777, 02755, 02775};
	static const uint32_t files[] = {0644, 0755, 0600};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(dirs) && r >= 0; i++)
		r = make_known(s, &(struct attrs){.kind = KIND_DIR, .mode = dirs[i]}, e);
	for (size_t i = 0; i < ARRAY_LEN(files) && r >= 0; i++)
		r = make_known(s, &(struct attrs){.kind = KIND_FILE, .mode = files[i]}, e);
	return r;
}

static int copy_content(int fd, struct object *o, struct err *e)
{
	char chunk[CHUNK];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "read");
		if (n == 0)
			return 0;
		int r = object_write(o, chunk, (size_t)n, e);
		if (r < 0)
			return r;
	}
}

/* name is relative to the root. What it has is only believed once the object's hash is right. */
static int copy_from(struct staging *s, const struct want *w, const char *name, struct err *e)
{
	_cleanup_(object_abortp) struct object *o = NULL;
	_cleanup_close_ int fd = -1;
	char target[PATH_MAX];
	const char *base;
	struct attrs a;
	struct stat st;

	_cleanup_close_ int dir = fs_open_parent(s->m->root, name, &base, e);
	if (dir < 0)
		return dir;
	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "%s", name);
	int r = attrs_from_stat(&st, &a, e);
	if (r < 0)
		return r;
	if (a.kind == KIND_FILE) {
		fd = openat(dir, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_errno(e, "%s", name);
		r = attrs_from_stat(&st, &a, e);
		if (r < 0)
			return r;
	}
	if (a.size > w->size_max)
		return -ERR_DIGEST;
	if (a.kind == KIND_LINK) {
		ssize_t n = readlinkat(dir, base, target, sizeof(target) - 1);
		if (n < 0)
			return err_errno(e, "%s", name);
		target[n] = '\0';
	}
	r = object_begin(s->dir, &a, a.kind == KIND_LINK ? target : NULL, &o, e);
	if (r >= 0 && fd >= 0)
		r = copy_content(fd, o, e);
	return r < 0 ? r : object_commit(take(o), &w->entry->hash, e);
}

/* As far as can be told without reading it. */
static int is_installed(const struct staging *s, const char *name)
{
	const char *base;
	struct stat st;
	_cleanup_close_ int dir = fs_open_parent(s->m->root, name, &base, NULL);

	return dir >= 0 && fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -ERR_MISSING;
}

static int copy_one(void *arg, size_t i, struct err *e)
{
	struct staging *s = arg;
	size_t n;

	const struct entry *const *from = installed_find(s, &s->wants[i].entry->hash, sizeof(struct digest), &n);
	struct want *w = n ? want_claim(s, &s->wants[i].entry->hash) : NULL;
	int r = -ERR_MISSING;

	for (size_t k = 0; w && k < MIN(n, (size_t)COPY_TRIES) && r < 0 && !stage_is_fatal(r); k++)
		r = s->rehearsal ? is_installed(s, from[k]->name + 1) : copy_from(s, w, from[k]->name + 1, e);
	if (!w)
		return 0;
	want_settle(s, w, r >= 0);
	progress_add(s->m->progress, r >= 0);
	/* changed on disk since: the other ways remain */
	return stage_is_fatal(r) ? r : 0;
}

int stage_copy(struct staging *s, struct err *e)
{
	return s->n_installed && s->missing ? work_each(0, s->n, copy_one, s, e) : 0;
}
