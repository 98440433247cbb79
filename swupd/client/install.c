/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/client/commit.h"
#include "swupd/client/exchange.h"
#include "swupd/client/history.h"
#include "swupd/client/journal.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/place.h"
#include "swupd/client/plan.h"
#include "swupd/client/stage.h"
#include "swupd/content/layout.h"

DEFINE_CLEANUP(struct journal *, journal_free);

/* Names can be moved and linked within one mount of one file system only, and of btrfs within one subvolume. */
struct volume {
	dev_t dev;
	uint64_t mount; /* 0: the kernel does not say (before 5.8) */
};

/* What commit_prepare() works with. */
struct prepare {
	const struct machine *m;
	const struct plan *p;
	const char *tree;                 /* where what will be usr lies now */
	bool unused;                      /* that is not usr itself */
	int staged, next;                 /* directory fds */
	struct volume volume;             /* of next */
	struct table *leaves;             /* names that will be files or links */
	struct journal *inside, *outside; /* steps below usr, and the others; may be the same */
};

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/';
}

static bool is_usr(const char *path)
{
	return strcmp(path, "usr") == 0 || is_below(path, "usr");
}

/* Where the path lies now that will be this one. */
static char *now_at(const struct prepare *w, const char *path)
{
	return is_usr(path) ? xasprintf("%s%s", w->tree, path + strlen("usr")) : xstrdup(path);
}

/* A path below one that becomes a file or link has to go before that can take its place. */
static bool goes_with_parent(const struct prepare *w, const char *name)
{
	_cleanup_free_ char *path = xstrdup(name);

	for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
		*slash = '\0';
		if (table_find_str(w->leaves, path))
			return true;
	}
	return false;
}

/* A path as the user knows it. */
static char *known_as(const struct prepare *w, const char *path)
{
	return is_below(path, w->tree) ? xasprintf("usr%s", path + strlen(w->tree)) : xstrdup(path);
}

/* With STATX_MNT_ID in its mask. */
static struct volume volume_of(const struct statx *sx)
{
	return (struct volume){
		.dev = makedev(sx->stx_dev_major, sx->stx_dev_minor),
		.mount = sx->stx_mask & STATX_MNT_ID ? sx->stx_mnt_id : 0,
	};
}

static int immutable(const struct prepare *w, const char *path, const char *what, struct err *e)
{
	_cleanup_free_ char *target = known_as(w, path), *at = known_as(w, what);

	return err_hint(e, err_set(e, -EPERM, "cannot replace '/%s': '/%s' is immutable", target, at),
			"chattr -ia '/%s'", at);
}

/* path, of which dir is the parent, is there: whether it can be taken away or, as a directory that stays, get other attributes. */
static int look_at_parent(const struct prepare *w, int dir, const char *path, bool stays, struct err *e)
{
	struct statvfs fs;
	struct statx sx;

	if (fstatvfs(dir, &fs) < 0 || statx(dir, "", AT_EMPTY_PATH, STATX_TYPE, &sx) < 0)
		return err_errno(e, "the directory of '/%s'", path);
	if (fs.f_flag & ST_RDONLY) {
		_cleanup_free_ char *target = known_as(w, path);
		return err_set(e, -EROFS, "cannot replace '/%s': it is mounted read-only", target);
	}
	if (!stays && (sx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))) {
		_cleanup_free_ char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
		return immutable(w, path, parent, e);
	}
	return 0;
}

/*
 * Refuse before the commit what the commit could not do: a mount point, an immutable object or a read-only mount in the way. want_dir: a directory that is
 * there stays. found: 1 if something is there (its kind in *kind), 0 if not. *volume: where the path lies or will lie.
 */
static int look_at_target(const struct prepare *w, const char *path, bool want_dir, mode_t *kind, struct volume *volume,
			  struct err *e)
{
	struct statx sx;
	const char *base;

	_cleanup_free_ char *at = xstrdup(path);
	for (bool target = true;; target = false) {
		_cleanup_close_ int dir = fs_open_parent(w->m->root, at, &base, NULL);
		if (dir >= 0 && statx(dir, base, AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_MNT_ID, &sx) == 0) {
			if (target && (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT))
				return err_set(e, -EBUSY, "cannot replace '/%s': it is a mount point", path);
			if (sx.stx_attributes & (STATX_ATTR_IMMUTABLE | (target ? STATX_ATTR_APPEND : 0)))
				return immutable(w, path, at, e);
			*volume = volume_of(&sx);
			*kind = sx.stx_mode & S_IFMT;
			if (!target)
				return 0;
			int r = strchr(path, '/') ? look_at_parent(w, dir, path, want_dir && S_ISDIR(*kind), e) : 0;
			return r < 0 ? r : 1;
		}
		char *slash = strrchr(at, '/');
		if (!slash) {
			if (statx(w->m->root, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, &sx) < 0)
				return err_errno(e, "%s", w->m->path);
			*volume = volume_of(&sx);
			return 0;
		}
		*slash = '\0';
	}
}

int commit_name_beside(const struct machine *m, const char *path, size_t number, char **out, struct err *e)
{
	_cleanup_free_ char *at = xstrdup(path);

	for (;;) {
		char *slash = strrchr(at, '/');
		if (slash)
			*slash = '\0';
		else
			*at = '\0';
		_cleanup_close_ int dir = fs_open_beneath(m->root, at, O_PATH | O_DIRECTORY, 0, NULL);
		if (dir >= 0) {
			*out = xasprintf("%s%s.swupd-%zu", at, *at ? "/" : "", number);
			return 0;
		}
		if (!*at)
			return err_set(e, -ENOENT, "%s", m->path);
	}
}

int commit_copy(int from_dir, const char *from, int to_dir, const char *to, struct err *e)
{
	struct stat st;

	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "staged object %s", from);
	if (S_ISLNK(st.st_mode)) {
		_cleanup_free_ char *target = xcalloc(1, (size_t)st.st_size + 1);
		if (readlinkat(from_dir, from, target, (size_t)st.st_size) < 0 || symlinkat(target, to_dir, to) < 0)
			return err_errno(e, "cannot copy to %s", to);
	} else {
		_cleanup_close_ int in = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		_cleanup_close_ int out =
			openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (in < 0 || out < 0)
			return err_errno(e, "cannot copy to %s", to);
		int r = fs_copy_fd(in, out, (uint64_t)st.st_size, e);
		if (r < 0)
			return r;
	}
	/* the owner first: chown() clears setuid and setgid */
	const struct timespec times[2] = {st.st_mtim, st.st_mtim};
	if (fchownat(to_dir, to, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!S_ISLNK(st.st_mode) && fchmodat(to_dir, to, st.st_mode & 07777, 0) < 0) ||
	    utimensat(to_dir, to, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "cannot copy to %s", to);
	return 0;
}

/* Give the staged object a second name under which the commit takes it. */
static int prepare_leaf(struct prepare *w, const char *hex, const char *prepared, struct err *e)
{
	const char *base;
	_cleanup_close_ int dir = fs_open_parent(w->m->root, prepared, &base, e);

	if (dir < 0)
		return dir;
	(void)unlinkat(dir, base, 0);
	if (linkat(w->staged, hex, dir, base, 0) == 0)
		return 0;
	/* another file system, or too many links to one inode */
	if (errno != EXDEV && errno != EMLINK && errno != EPERM && errno != EOPNOTSUPP)
		return err_errno(e, "cannot prepare %s", prepared);
	return commit_copy(w->staged, hex, dir, base, e);
}

static int prepare_dir(struct prepare *w, const struct attrs *a, const char *prepared, struct err *e)
{
	const char *base;
	_cleanup_close_ int dir = fs_open_parent(w->m->root, prepared, &base, e);

	if (dir < 0)
		return dir;
	(void)unlinkat(dir, base, AT_REMOVEDIR);
	if (mkdirat(dir, base, 0700) < 0)
		return err_errno(e, "cannot prepare %s", prepared);
	return place_attributes(dir, base, a, e);
}

/* Put it where it belongs in a tree that nobody uses yet. 1: done; 0: something is in the way, or it is not that simple: by the journal, then. */
static int put_at_once(const struct prepare *w, const struct change *c, const char *target, struct err *e)
{
	const char *base;
	char hex[DIGEST_HEX];
	struct stat st;
	struct attrs a;

	_cleanup_close_ int dir = fs_open_parent(w->m->root, target, &base, NULL);
	if (dir < 0)
		return 0;
	digest_format(&c->want->hash, hex);
	if (c->want->kind != KIND_DIR)
		return linkat(w->staged, hex, dir, base, 0) == 0;
	if (fstatat(w->staged, hex, &st, AT_SYMLINK_NOFOLLOW) < 0 || mkdirat(dir, base, 0700) < 0)
		return 0;
	int r = attrs_from_stat(&st, &a, e);
	if (r >= 0)
		r = place_attributes(dir, base, &a, e);
	return r < 0 ? r : 1;
}

static int prepare_put(struct prepare *w, const struct change *c, size_t number, struct err *e)
{
	const char *path = c->name + 1;
	_cleanup_free_ char *target = now_at(w, path), *prepared = NULL, *later = NULL;
	struct journal *j = is_usr(path) ? w->inside : w->outside;
	struct journal_step s = {.kind = STEP_PUT, .target = target, .attrs = {.kind = c->want->kind}};
	char hex[DIGEST_HEX];
	struct stat st;
	struct volume volume = {0};
	mode_t kind = 0;

	if (w->unused && is_usr(path)) {
		int r = put_at_once(w, c, target, e);
		if (r != 0)
			return r;
	}
	int there = look_at_target(w, target, c->want->kind == KIND_DIR, &kind, &volume, e);
	if (there < 0)
		return there;
	digest_format(&c->want->hash, hex);
	if (fstatat(w->staged, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "%s: its staged object %s", c->name, hex);
	if (c->want->kind == KIND_DIR) {
		struct attrs a;
		int r = attrs_from_stat(&st, &a, e);
		if (r < 0)
			return r;
		if (there && S_ISDIR(kind)) {
			s.kind = STEP_DIR;
			s.attrs = a;
			journal_add(j, &s);
			return 0;
		}
		s.attrs = a;
	}
	if (volume.dev == w->volume.dev && volume.mount == w->volume.mount) {
		prepared = xasprintf("%s" PREPARED_IN_TREE "/%zu", w->tree, number);
		/* what is outside is put there when the tree is usr */
		later = xasprintf("%s" PREPARED_IN_TREE "/%zu", is_usr(path) ? w->tree : "usr", number);
	} else {
		int r = commit_name_beside(w->m, target, number, &prepared, e);
		if (r < 0)
			return r;
	}
	int r = c->want->kind == KIND_DIR ? prepare_dir(w, &s.attrs, prepared, e) : prepare_leaf(w, hex, prepared, e);
	if (r < 0)
		return err_in(e, r, "%s", c->name);
	s.prepared = later ? later : prepared;
	journal_add(j, &s);
	return 0;
}

static int prepare_del(struct prepare *w, const struct change *c, struct err *e)
{
	_cleanup_free_ char *target = now_at(w, c->name + 1);
	const struct journal_step s = {.kind = STEP_DEL, .target = target};
	struct volume volume;
	mode_t kind;

	int r = look_at_target(w, target, false, &kind, &volume, e);
	if (r > 0)
		journal_add(is_usr(c->name + 1) ? w->inside : w->outside, &s);
	return r;
}

static bool is_os_release(const struct change *c)
{
	return strcmp(c->name, "/" INSTALLED_OS_RELEASE) == 0;
}

/* Fill the journal in the order of the commit (install.h, step 4). Numbers are those of the changes. */
static int prepare_steps(struct prepare *w, struct err *e)
{
	const struct plan *p = w->p;
	const struct change *last = NULL;
	size_t last_number = 0;
	int r = 0;

	for (size_t i = p->n_changes; i-- > 0 && r >= 0;)
		if (!p->changes[i].want && goes_with_parent(w, p->changes[i].name))
			r = prepare_del(w, &p->changes[i], e);
	for (size_t i = 0; i < p->n_changes && r >= 0; i++) {
		if (!p->changes[i].want)
			continue;
		progress_add(w->m->progress, 1);
		if (is_os_release(&p->changes[i])) {
			last = &p->changes[i];
			last_number = i;
			continue;
		}
		r = prepare_put(w, &p->changes[i], i, e);
	}
	for (size_t i = p->n_changes; i-- > 0 && r >= 0;)
		if (!p->changes[i].want && !goes_with_parent(w, p->changes[i].name))
			r = prepare_del(w, &p->changes[i], e);
	for (size_t i = 0; i < p->mark.n; i++)
		journal_add(w->outside, &(struct journal_step){.kind = STEP_MARK, .target = p->mark.items[i]});
	for (size_t i = 0; i < p->unmark.n; i++)
		journal_add(w->outside, &(struct journal_step){.kind = STEP_UNMARK, .target = p->unmark.items[i]});
	if (last && r >= 0)
		r = prepare_put(w, last, last_number, e);
	return r < 0 ? r : 0;
}

static void prepare_free(struct prepare *w)
{
	closep(&w->staged);
	closep(&w->next);
	table_free(w->leaves);
}

/* All that the steps write to, on each file system that they reach: usr's with what is staged, and those mounted below the root. */
int commit_sync(const struct machine *m, const struct journal *j, struct err *e)
{
	_cleanup_(strv_free) struct strv mounts = {0};

	_cleanup_close_ int usr = fs_open_dir(m->root, "usr", e);
	int r = usr < 0 ? usr : mounts_below(m->path, &mounts, e);
	if (r < 0)
		return r;
	if (syncfs(usr) < 0)
		return err_errno(e, "cannot write out %s/usr", m->path);
	if (strv_has(&mounts, "/usr") && syncfs(m->root) < 0)
		return err_errno(e, "cannot write out %s", m->path);
	for (size_t i = 0; i < mounts.n; i++) {
		const char *mount = mounts.items[i] + 1;
		size_t k = 0;
		while (k < j->n && !is_below(j->steps[k].target, mount))
			k++;
		if (k == j->n || strcmp(mount, "usr") == 0)
			continue;
		_cleanup_close_ int fd = fs_open_beneath(m->root, mount, O_RDONLY, 0, e);
		if (fd < 0)
			return fd;
		if (syncfs(fd) < 0)
			return err_errno(e, "cannot write out /%s", mount);
	}
	return 0;
}

int commit_prepare(const struct machine *m, const struct plan *p, const char *tree, struct journal *inside,
		   struct journal *outside, struct err *e)
{
	_cleanup_free_ char *next = xasprintf("%s" PREPARED_IN_TREE, tree);
	_cleanup_(prepare_free) struct prepare w = {
		.m = m,
		.p = p,
		.tree = tree,
		.unused = strcmp(tree, "usr") != 0,
		.staged = -1,
		.next = -1,
		.leaves = table_new(),
		.inside = inside,
		.outside = outside,
	};
	struct statx sx;

	w.staged = stage_open(m, e);
	if (w.staged < 0)
		return w.staged;
	int r = fs_remove_tree(m->root, next, e);
	if (r >= 0)
		r = w.next = fs_make_dir(m->root, next, 0700, e);
	if (r < 0)
		return r;
	if (statx(w.next, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, &sx) < 0)
		return err_errno(e, "%s", next);
	w.volume = volume_of(&sx);
	for (size_t i = 0; i < p->n_changes; i++) {
		const struct entry *want = p->changes[i].want;
		if (want && want->kind != KIND_DIR)
			(void)table_add_str(w.leaves, want->name, (void *)want);
	}
	progress_stage(m->progress, "update_files", p->n_changes, false);
	return prepare_steps(&w, e);
}

int commit_write(const struct machine *m, const char *tree, const char *name, const struct journal *j, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *path = xasprintf("%s/" WORK_IN_TREE "/%s", tree, name);

	journal_format(j, &text);
	return fs_save(m->root, path, text.data, text.len, 0600, e);
}

static int mark(const struct machine *m, const char *bundle, bool set, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("bundles/%s", bundle);

	if (m->data < 0)
		return 0;
	if (set) {
		int r = fs_mkdirs(m->data, "bundles", 0755, e);
		return r < 0 ? r : fs_save(m->data, name, "", 0, 0600, e);
	}
	if (unlinkat(m->data, name, 0) < 0 && errno != ENOENT)
		return err_errno(e, "%s", name);
	return fs_sync_dir(m->data, "bundles", e);
}

int commit_steps(const struct machine *m, const struct journal *j, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < j->n && r >= 0; i++) {
		const struct journal_step *s = &j->steps[i];
		switch (s->kind) {
		case STEP_PUT:
			r = place_put(m->root, s->prepared, s->target, s->attrs.kind, m->now, e);
			break;
		case STEP_DIR:
			r = place_dir(m->root, s->target, &s->attrs, e);
			break;
		case STEP_DEL:
			r = place_del(m->root, s->target, e);
			break;
		case STEP_MARK:
		case STEP_UNMARK:
			r = mark(m, s->target, s->kind == STEP_MARK, e);
			break;
		case STEP_KEEP:
			r = exchange_keep(m, e);
			break;
		case STEP_FORGET:
			r = exchange_forget(m, e);
			break;
		}
	}
	return r < 0 ? err_in(e, r, "cannot complete the change to release %u", j->to) : 0;
}

int commit_written(const struct machine *m, const struct journal *j, struct err *e)
{
	int r = commit_steps(m, j, e);

	return r < 0 ? err_hint(e, r, "the journal is kept: the next run goes on from here") : 0;
}

/* What tells others which release is installed; where nothing has room any more, over what it said before. */
static int save_version(const struct machine *m, uint32_t release, struct err *e)
{
	char version[16];
	const int len = snprintf(version, sizeof(version), "%u\n", release);

	if (m->data < 0)
		return 0;
	int r = fs_save(m->data, "version", version, (size_t)len, 0644, e);
	if (r != -ENOSPC && r != -EDQUOT)
		return r;
	_cleanup_close_ int fd = openat(m->data, "version", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, version, (size_t)len, 0) != len || ftruncate(fd, len) < 0 || fsync(fd) < 0)
		return r;
	err_clear(e);
	return 0;
}

int commit_finish(struct machine *m, const struct journal *j, struct err *e)
{
	const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

	/* systemd's ConditionNeedsUpdate= compares the time of /usr with that of /etc/.updated (systemd.unit(5)) */
	if (utimensat(m->root, "usr", now, 0) < 0)
		return err_errno(e, "%s/usr", m->path);
	int r = commit_sync(m, j, e);
	if (r < 0)
		return r;
	m->release = j->to;
	r = save_version(m, j->to, e);
	if (r < 0)
		return err_hint(e, err_in(e, r, "release %u is installed, but not all is done", j->to),
				"the next run does the rest");
	/* before the journal: a run that dies in between does this again, and nothing is left behind */
	r = fs_remove_tree(m->root, "usr" PREPARED_IN_TREE, e);
	if (r >= 0)
		r = fs_remove_tree(m->root, STAGE_DIR, e);
	if (r < 0)
		return r;
	if (unlinkat(m->root, JOURNAL_PATH, 0) < 0 && errno != ENOENT)
		return err_errno(e, "cannot remove the journal");
	r = fs_sync_dir(m->root, STAGE_PARENT, e);
	if (r >= 0)
		r = fs_remove_tree(m->root, STAGE_PARENT, e);
	return r;
}

/*
 * Nothing installed has changed; staged objects stay for the next try. The journal may have got its name although writing it is said to have failed: what it
 * speaks of may only go after it.
 */
static void give_up(const struct machine *m)
{
	if (unlinkat(m->root, JOURNAL_PATH, 0) < 0 && errno != ENOENT)
		return;
	if (fs_sync_dir(m->root, STAGE_PARENT, NULL) >= 0)
		(void)fs_remove_tree(m->root, "usr" PREPARED_IN_TREE, NULL);
}

static int install_now(struct machine *m, const struct plan *p, struct err *e)
{
	_cleanup_(journal_freep) struct journal *j = journal_new(p->from, p->to);

	int r = commit_prepare(m, p, "usr", j, j, e);
	if (p->from != p->to)
		journal_add(j, &(struct journal_step){.kind = STEP_FORGET, .target = TREE_OLD});
	progress_stage(m->progress, "sync", 0, false);
	if (r >= 0)
		r = commit_sync(m, j, e);
	progress_stage(m->progress, "commit", 0, false);
	if (r >= 0)
		r = commit_write(m, "usr", JOURNAL_NAME, j, e);
	if (r < 0) {
		give_up(m);
		return r;
	}
	r = commit_written(m, j, e);
	progress_stage(m->progress, "finish", 0, false);
	return r < 0 ? r : commit_finish(m, j, e);
}

int install(struct machine *m, const struct plan *p, struct err *e)
{
	int r = next_boot_cancel(m, e);

	if (r >= 0)
		r = install_now(m, p, e);

	exchange_sweep(m);
	progress_end(m->progress);
	history_add(m, m->command, "in place", p->from, p->to, r, e);
	return r;
}

/* There is no journal: what was being prepared was not reached by the commit. Staged objects stay for the next run. */
static int clear_prepared(const struct machine *m, struct err *e)
{
	exchange_sweep(m);
	if (!fs_exists(m->root, STAGE_PARENT))
		return 0;
	int r = fs_remove_tree(m->root, "usr" PREPARED_IN_TREE, e);
	if (r >= 0)
		r = fs_remove_tree(m->root, STAGE_PARENT "/" BACK_NAME, e);
	/* empty, it is what a run left that died at its very end */
	(void)unlinkat(m->root, STAGE_PARENT, AT_REMOVEDIR);
	return r;
}

int install_complete(struct machine *m, uint32_t *from, uint32_t *to, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(journal_freep) struct journal *j = NULL;

	_cleanup_close_ int fd = fs_open_beneath(m->root, JOURNAL_PATH, O_RDONLY | O_NONBLOCK, 0, e);
	int r = fd < 0 ? fd : fs_load_fd(fd, JOURNAL_NAME, JOURNAL_MAX, &text, e);
	if (r >= 0)
		r = journal_parse(text.data, text.len, &j, e);
	if (r < 0)
		return err_hint(e, err_in(e, r, "cannot read %s/" JOURNAL_PATH, m->path),
				"remove it, then run 'swupd repair'");
	r = commit_written(m, j, e);
	if (r >= 0)
		r = commit_finish(m, j, e);
	if (r < 0)
		return r;
	exchange_sweep(m);
	if (from)
		*from = j->from;
	if (to)
		*to = j->to;
	return 0;
}

int install_recover(struct machine *m, struct err *e)
{
	uint32_t from = 0, to = 0;

	if (!fs_exists(m->root, JOURNAL_PATH))
		return clear_prepared(m, e);
	int r = install_complete(m, &from, &to, e);
	if (r < 0)
		return r;
	history_add(m, "recovery", "journal", from, to, 0, NULL);
	return 1;
}
