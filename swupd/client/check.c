/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/client/stage.h"

#define WHITELIST_DEFAULT "/usr/lib/modules|/usr/lib/kernel|/usr/local|/usr/src"
#define BATCH             64 /* paths per job: enough that taking a job costs nothing beside hashing it */

struct check {
	const struct machine *m;
	const struct files *want;
	const struct check_options *o;
	struct strv mounts;
	uint8_t *found; /* per entry: DISK_*, for a deleted one DISK_MISSING or DISK_DIFFERENT (it is there) */
};

static void check_release(struct check *c)
{
	strv_free(&c->mounts);
	free(c->found);
}

static bool is_selected(const struct check *c, const char *name)
{
	const char *file = c->o->file;

	if (!file)
		return true;
	size_t len = strlen(file);
	while (len > 1 && file[len - 1] == '/')
		len--;
	return strncmp(name, file, len) == 0 && (name[len] == '\0' || name[len] == '/' || len == 1);
}

static int exists_on_disk(struct fs_parent *parent, const char *name)
{
	const char *base;
	const int dir = fs_parent_open(parent, name + 1, &base, NULL);

	return dir >= 0 && fs_exists(dir, base) ? DISK_DIFFERENT : DISK_MISSING;
}

static uint8_t look_at(const struct check *c, struct fs_parent *parent, const struct entry *x)
{
	if (!is_selected(c, x->name) || name_is_state(x->name) || strv_has(&c->mounts, x->name) ||
	    x->status == STATUS_GHOSTED)
		return DISK_SAME;
	if (x->status == STATUS_DELETED)
		return exists_on_disk(parent, x->name) == DISK_MISSING ? DISK_SAME : DISK_DIFFERENT;
	if (c->o->quick)
		return exists_on_disk(parent, x->name) == DISK_MISSING ? DISK_MISSING : DISK_SAME;
	return (uint8_t)entry_on_disk(parent, x);
}

static int look_at_batch(void *arg, size_t job, struct err *e)
{
	struct check *c = arg;
	_cleanup_(fs_parent_close) struct fs_parent parent = FS_PARENT_OF(c->m->root);
	size_t end = MIN((job + 1) * BATCH, c->want->n);

	(void)e;
	for (size_t i = job * BATCH; i < end; i++)
		c->found[i] = look_at(c, &parent, c->want->items[i]);
	progress_add(c->m->progress, end - job * BATCH);
	return 0;
}

/* Names below dir that the release does not have, children before their directory. */
struct extra {
	const struct check *c;
	const regex_t *whitelist;
	dev_t dev;
	struct strv names;
};

static int walk(struct extra *x, int fd, const char *path, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = fs_list(fd, ".", &names, e);
	if (r < 0)
		return err_in(e, r, "%s", path);
	for (size_t i = names.n; i-- > 0;) {
		_cleanup_free_ char *full = xasprintf("%s/%s", strcmp(path, "/") == 0 ? "" : path, names.items[i]);
		struct stat st;
		if (strcmp(full, "/" STAGE_PARENT) == 0 || regexec(x->whitelist, full, 0, NULL, 0) == 0)
			continue;
		if (fstatat(fd, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != x->dev)
			continue;
		if (S_ISDIR(st.st_mode)) {
			_cleanup_close_ int below =
				openat(fd, names.items[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (below < 0)
				return err_errno(e, "%s", full);
			r = walk(x, below, full, e);
			if (r < 0)
				return r;
		}
		const struct entry *known = files_find(x->c->want, full);
		if ((!known || known->status == STATUS_DELETED) && is_selected(x->c, full))
			strv_add(&x->names, full);
	}
	return 0;
}

static int find_extra(const struct check *c, struct strv *out, struct err *e)
{
	const char *tree = c->o->picky_tree ? c->o->picky_tree : "/usr";
	const char *expression = c->o->picky_whitelist ? c->o->picky_whitelist : WHITELIST_DEFAULT;
	struct extra x = {.c = c};
	struct stat st;
	regex_t whitelist;

	/* the whole path must match, as in the predecessor, so that "/usr/local" does not hide /usr/localtime */
	_cleanup_free_ char *whole = xasprintf("^(%s)$", expression);
	if (regcomp(&whitelist, whole, REG_EXTENDED | REG_NOSUB) != 0)
		return err_set(e, -ERR_USAGE, "'%s' is not an extended regular expression", expression);
	x.whitelist = &whitelist;
	_cleanup_close_ int fd = fs_open_beneath(c->m->root, tree + strspn(tree, "/"), O_RDONLY | O_DIRECTORY, 0, e);
	int r = fd;
	if (r >= 0)
		r = fstat(fd, &st) < 0 ? err_errno(e, "%s", tree) : 0;
	if (r >= 0) {
		x.dev = st.st_dev;
		r = walk(&x, fd, tree, e);
	}
	regfree(&whitelist);
	if (r < 0) {
		strv_free(&x.names);
		return r;
	}
	*out = x.names;
	return 0;
}

static int report(const struct check *c, enum difference kind, size_t i, difference_fn *found, void *arg,
		  struct plan *p)
{
	const struct entry *x = c->want->items[i];

	int r = found(arg, kind, x->name);
	if (r == 1 && kind == DIFFERENCE_DELETED_PRESENT)
		plan_remove(p, x->name);
	else if (r == 1)
		plan_put(p, x, c->want->bundles[i]);
	return r;
}

static int report_known(const struct check *c, difference_fn *found, void *arg, struct plan *p)
{
	const size_t n = c->want->n;
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++)
		if (c->found[i] == DISK_MISSING)
			r = report(c, DIFFERENCE_MISSING, i, found, arg, p);
	if (c->o->quick)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++)
		if (c->found[i] == DISK_DIFFERENT && c->want->items[i]->status != STATUS_DELETED)
			r = report(c, DIFFERENCE_CHANGED, i, found, arg, p);
	for (size_t i = n; i-- > 0 && r >= 0;)
		if (c->found[i] == DISK_DIFFERENT && c->want->items[i]->status == STATUS_DELETED)
			r = report(c, DIFFERENCE_DELETED_PRESENT, i, found, arg, p);
	return r;
}

int plan_check(const struct machine *m, const struct files *want, const struct check_options *o, difference_fn *found,
	       void *arg, struct plan *p, struct err *e)
{
	_cleanup_(check_release) struct check c = {.m = m, .want = want, .o = o};

	int r = mounts_below(m->path, &c.mounts, e);
	if (r < 0)
		return r;
	if (!o->extra_only) {
		c.found = xcalloc(want->n, 1);
		progress_stage(m->progress, "check_files_hash", want->n, false);
		r = work_each(0, (want->n + BATCH - 1) / BATCH, look_at_batch, &c, e);
		progress_end(m->progress);
		if (r >= 0)
			r = report_known(&c, found, arg, p);
		if (r < 0)
			return r;
	}
	if (o->picky || o->extra_only) {
		_cleanup_(strv_free) struct strv extra = {0};
		r = find_extra(&c, &extra, e);
		for (size_t i = 0; r >= 0 && i < extra.n; i++) {
			/* the same path may already be in the plan as a deleted one */
			const struct entry *known = files_find(want, extra.items[i]);
			if (known && !o->extra_only)
				continue;
			r = found(arg, DIFFERENCE_EXTRA, extra.items[i]);
			if (r == 1)
				plan_remove_copy(p, extra.items[i]);
		}
		if (r < 0)
			return r;
	}
	return plan_complete(m, want, p, e);
}
