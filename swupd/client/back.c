/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/back.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/commit.h"
#include "swupd/client/journal.h"
#include "swupd/client/machine.h"
#include "swupd/client/place.h"

DEFINE_CLEANUP(struct journal *, journal_free);

/* A second name for what is installed, or a copy of it. */
static int save_leaf(int dir, const char *base, int to, const char *name, struct err *e)
{
	/* no step of ours writes into a file */
	if (linkat(dir, base, to, name, 0) == 0)
		return 0;
	return commit_copy(dir, base, to, name, e);
}

static int save_target(const struct machine *m, int saved, size_t number, const struct journal_step *s,
		       struct journal_step *back, char **prepared, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%zu", number);
	const char *base;
	struct stat st;

	*back = (struct journal_step){.kind = STEP_DEL, .target = s->target};
	_cleanup_close_ int dir = fs_open_parent(m->root, s->target, &base, NULL);
	if (dir < 0 || fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return s->kind == STEP_PUT; /* nothing: it is removed, or stays missing */
	int r = attrs_from_stat(&st, &back->attrs, e);
	if (r < 0)
		return r;
	if (S_ISDIR(st.st_mode) && (s->kind == STEP_DIR || (s->kind == STEP_PUT && s->attrs.kind == KIND_DIR))) {
		back->kind = STEP_DIR;
		return 1;
	}
	back->kind = STEP_PUT;
	back->prepared = *prepared = xasprintf("usr" PREPARED_IN_TREE "/%zu", number);
	if (!S_ISDIR(st.st_mode))
		r = save_leaf(dir, base, saved, name, e);
	else if (mkdirat(saved, name, 0700) < 0)
		r = err_errno(e, "cannot make a directory");
	else
		r = place_attributes(saved, name, &back->attrs, e);
	return r < 0 ? err_in(e, r, "cannot save /%s", s->target) : 1;
}

bool back_of_mark(const struct journal_step *s, const struct strv *tracked, struct journal_step *back)
{
	const bool marks = s->kind == STEP_MARK;

	*back = (struct journal_step){.kind = marks ? STEP_UNMARK : STEP_MARK, .target = s->target};
	return strv_has(tracked, s->target) != marks;
}

static int save_step(const struct machine *m, int saved, size_t number, const struct journal_step *s,
		     const struct strv *tracked, struct journal *j, struct err *e)
{
	_cleanup_free_ char *prepared = NULL;
	struct journal_step back;
	int r = 0;

	switch (s->kind) {
	case STEP_PUT:
	case STEP_DIR:
	case STEP_DEL:
		r = save_target(m, saved, number, s, &back, &prepared, e);
		break;
	case STEP_MARK:
	case STEP_UNMARK:
		r = back_of_mark(s, tracked, &back);
		break;
	case STEP_KEEP:
	case STEP_FORGET:
		break;
	}
	if (r > 0)
		journal_add(j, &back);
	return r;
}

int back_save(const struct machine *m, const struct journal *j, struct err *e)
{
	_cleanup_(journal_freep) struct journal *back = journal_new(j->to, j->from);
	_cleanup_(strv_free) struct strv tracked = {0};

	int r = fs_remove_tree(m->root, "usr" PREPARED_IN_TREE, e);
	_cleanup_close_ int saved = r < 0 ? r : fs_make_dir(m->root, "usr" PREPARED_IN_TREE, 0700, e);
	if (saved < 0)
		return saved;
	r = machine_tracked(m, &tracked, e);
	for (size_t i = j->n; r >= 0 && i-- > 0;)
		r = save_step(m, saved, i, &j->steps[i], &tracked, back, e);
	return r < 0 ? r : commit_write(m, "usr", BACK_NAME, back, e);
}

/* Where the object can be renamed from: where it lies, or beside its target. */
static int bring(const struct machine *m, const char *tree, size_t number, struct journal_step *s, char **prepared,
		 struct err *e)
{
	_cleanup_free_ char *at = xasprintf("%s%s", tree, s->prepared + strlen("usr"));
	const char *base, *from_base;
	struct stat parent, object;

	_cleanup_close_ int from = fs_open_parent(m->root, at, &from_base, e);
	if (from < 0 || fstatat(from, from_base, &object, AT_SYMLINK_NOFOLLOW) < 0)
		return from < 0 ? from : err_errno(e, "%s", at);
	int r = commit_name_beside(m, s->target, number, prepared, e);
	_cleanup_close_ int to = r < 0 ? r : fs_open_parent(m->root, *prepared, &base, e);
	if (to < 0)
		return to;
	if (fstat(to, &parent) < 0)
		return err_errno(e, "%s", *prepared);
	if (parent.st_dev == object.st_dev)
		return 0;
	s->prepared = *prepared;
	(void)unlinkat(to, base, S_ISDIR(object.st_mode) ? AT_REMOVEDIR : 0);
	if (!S_ISDIR(object.st_mode))
		return commit_copy(from, from_base, to, base, e);
	struct attrs a;
	r = attrs_from_stat(&object, &a, e);
	if (r >= 0 && mkdirat(to, base, 0700) < 0)
		r = err_errno(e, "%s", *prepared);
	return r < 0 ? r : place_attributes(to, base, &a, e);
}

int back_load(const struct machine *m, const char *tree, struct journal **out, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/" WORK_IN_TREE "/" BACK_NAME, tree);
	_cleanup_(journal_freep) struct journal *read = NULL, *j = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	_cleanup_close_ int fd = fs_open_beneath(m->root, path, O_RDONLY | O_NONBLOCK, 0, e);
	int r = fd < 0 ? fd : fs_load_fd(fd, path, JOURNAL_MAX, &text, e);
	if (r >= 0)
		r = journal_parse(text.data, text.len, &read, e);
	if (r < 0)
		return err_in(e, r, "the way back to /%s", tree);
	j = journal_new(read->from, read->to);
	for (size_t i = 0; r >= 0 && i < read->n; i++) {
		_cleanup_free_ char *prepared = NULL;
		struct journal_step s = read->steps[i];
		if (s.kind == STEP_PUT && !text_starts(s.prepared, "usr" PREPARED_IN_TREE "/"))
			r = err_set(e, -ERR_FORMAT, "/%s: '%s' is not where saved objects lie", path, s.prepared);
		else if (s.kind == STEP_PUT)
			r = bring(m, tree, i, &s, &prepared, e);
		journal_add(j, &s);
	}
	if (r >= 0)
		*out = take(j);
	return r < 0 ? r : 0;
}
