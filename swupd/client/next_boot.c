/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/next_boot.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/back.h"
#include "swupd/client/bad.h"
#include "swupd/client/clone.h"
#include "swupd/client/commit.h"
#include "swupd/client/deadline.h"
#include "swupd/client/exchange.h"
#include "swupd/client/history.h"
#include "swupd/client/install.h"
#include "swupd/client/journal.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/client/plan.h"
#include "swupd/client/soft_reboot.h"
#include "swupd/client/stage.h"
#include "swupd/client/trial.h"
#include "swupd/content/format.h"

#define PENDING     "next-boot" /* in <data>: "FROM\tTO\tROOT" */
#define PREPARING   "preparing" /* in <data>: ROOT, until it is to boot */
#define REFUSED     "refused"   /* in <data>: "RELEASE\tREASON", what the release on trial says of itself */
#define ARRIVE_PATH STAGE_PARENT "/" ARRIVE_NAME
#define RETURN_PATH STAGE_PARENT "/" RETURN_NAME
#define HOW         "next boot"

DEFINE_CLEANUP(struct journal *, journal_free);

/* --- what is pending ------------------------------------------------------------------------------------------------------ */

static int load_state(const struct machine *m, const char *name, struct buf *text)
{
	_cleanup_close_ int fd = machine_open_data(m, name, O_RDONLY);

	return fd < 0 ? fd : fs_load_fd(fd, name, SMALL_TEXT_MAX, text, NULL);
}

static int forget_state(const struct machine *m, const char *name, struct err *e)
{
	if (unlinkat(m->data, name, 0) < 0 && errno != ENOENT)
		return err_errno(e, "%s", name);
	return fs_sync_dir(m->data, ".", e);
}

int next_boot_pending(const struct machine *m, struct next_boot_pending *out)
{
	_cleanup_(strv_free) struct strv fields = {0};
	_cleanup_(buf_free) struct buf text = {0};

	*out = (struct next_boot_pending){0};
	if (load_state(m, PENDING, &text) < 0)
		return 0;
	strv_split(&fields, text.data, "\t\n");
	if (fields.n != 3 || text_u32(fields.items[0], 0, INT32_MAX, &out->from) < 0 ||
	    text_u32(fields.items[1], 1, INT32_MAX, &out->to) < 0 || strchr(fields.items[2], '/'))
		return 0;
	out->root = xstrdup(fields.items[2]);
	return 1;
}

void next_boot_pending_clear(struct next_boot_pending *p)
{
	free(p->root);
}

static int save_pending(const struct machine *m, uint32_t from, uint32_t to, const char *root, struct err *e)
{
	_cleanup_free_ char *text = xasprintf("%u\t%u\t%s\n", from, to, root);

	return fs_save(m->data, PENDING, text, strlen(text), 0644, e);
}

/* --- the next root -------------------------------------------------------------------------------------------------------- */

/* A path on a file system of its own is not in the snapshot: to change it now would change the running system. */
static int check_mounts(const struct machine *m, const struct plan *p, struct err *e)
{
	_cleanup_(strv_free) struct strv mounts = {0};

	int r = mounts_below(m->path, &mounts, e);
	for (size_t i = 0; r >= 0 && i < mounts.n; i++) {
		const size_t len = strlen(mounts.items[i]);
		for (size_t k = 0; k < p->n_changes; k++)
			if (strncmp(p->changes[k].name, mounts.items[i], len) == 0 && p->changes[k].name[len] == '/')
				return err_hint(e,
						err_set(e, -EXDEV,
							"%s is on a file system of its own, which the next root shares "
							"with this one",
							p->changes[k].name),
						"'swupd update' without --next-boot changes it");
	}
	return r < 0 ? r : 0;
}

/* What the root has there, but the machine's own, will have no part in what is written from now on. */
static void warn_of_shared(const struct machine *m)
{
	_cleanup_(strv_free) struct strv inside = {0};
	struct stat root, st;

	if (fstat(m->root, &root) < 0)
		return;
	for (size_t i = 0; i < ROOTS_OWN_N; i++) {
		_cleanup_free_ char *name = xasprintf("/%s", roots_own[i].place);
		if (fstatat(m->root, roots_own[i].place, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
		    st.st_dev == root.st_dev)
			strv_take(&inside, take(name));
	}
	_cleanup_free_ char *names = strv_join(&inside, ", ");
	if (inside.n)
		ui_warn(m->ui,
			"not subvolumes of their own: %s: what is written there until the next boot stays in the root "
			"of release %u",
			names, m->release);
}

/* Steps of marks wait until the root is good; the others are done in it now. */
static void part_marks(const struct journal *all, struct journal *now, struct journal *later)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct journal_step *s = &all->steps[i];
		journal_add(s->kind == STEP_MARK || s->kind == STEP_UNMARK ? later : now, s);
	}
}

static int write_journal(int root, const char *name, const struct journal *j, struct err *e)
{
	const struct machine in = {.root = root};
	_cleanup_close_ int work = fs_make_dir(root, STAGE_PARENT, 0700, e);

	return work < 0 ? work : commit_write(&in, "usr", name, j, e);
}

static int finish_tree(const struct machine *in, const struct journal *later, struct err *e)
{
	const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

	progress_stage(in->progress, "sync", 0, false);
	int r = fs_remove_tree(in->root, STAGE_PARENT, e);
	/* the way back is to another root, not to another /usr of this one */
	if (r >= 0)
		r = clone_remove(in->root, TREE_OLD, e);
	if (r >= 0)
		r = write_journal(in->root, ARRIVE_NAME, later, e);
	/* systemd's ConditionNeedsUpdate= compares the time of /usr with that of /etc/.updated (systemd.unit(5)) */
	if (r >= 0 && utimensat(in->root, "usr", now, 0) < 0)
		r = err_errno(e, "usr");
	if (r >= 0 && syncfs(in->root) < 0)
		r = err_errno(e, "cannot write out the next root");
	return r;
}

/* In the running root: marks as they are now, for when it boots again after the other was good. */
static int save_marks(const struct machine *m, const struct journal *later, struct err *e)
{
	_cleanup_(journal_freep) struct journal *back = journal_new(later->to, later->from);
	_cleanup_(strv_free) struct strv tracked = {0};
	struct journal_step step;

	int r = machine_tracked(m, &tracked, e);
	for (size_t i = later->n; i-- > 0;)
		if (back_of_mark(&later->steps[i], &tracked, &step))
			journal_add(back, &step);
	return r < 0 ? r : write_journal(m->root, RETURN_NAME, back, e);
}

/* The plan's changes in the snapshot, as if it were the installed system. */
static int change_next(const struct machine *m, const struct trial *t, const struct plan *p, struct err *e)
{
	_cleanup_(journal_freep) struct journal *all = journal_new(p->from, p->to), *now = journal_new(p->from, p->to),
						*later = journal_new(p->from, p->to);
	_cleanup_close_ int root = fs_open_beneath(t->roots.top, ROOTS_NEXT, O_RDONLY | O_DIRECTORY, 0, e);
	struct machine in = *m;

	if (root < 0)
		return root;
	in.root = root;
	in.path = (char *)ROOTS_NEXT;
	int r = commit_prepare(&in, p, "usr", all, all, e);
	part_marks(all, now, later);
	if (r >= 0)
		r = commit_steps(&in, now, e);
	if (r >= 0)
		r = finish_tree(&in, later, e);
	return r < 0 ? r : save_marks(m, later, e);
}

/* From here on a run that ends early leaves something that only the top level shows: the next run shall know it without looking there. */
static int begin_next(const struct machine *m, struct trial *t, uint32_t release, char **name, struct err *e)
{
	int r = trial_name(t, release, name, e);

	if (r < 0)
		return r;
	_cleanup_free_ char *text = xasprintf("%s\n", *name);
	r = fs_save(m->data, PREPARING, text, strlen(text), 0644, e);
	return r < 0 ? r : roots_remove(&t->roots, ROOTS_NEXT, e);
}

/* What such a run has left; what is to boot by now is not of that. */
static int sweep_next(const struct machine *m, struct trial *t, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (load_state(m, PREPARING, &text) < 0)
		return 0;
	const char *name = text_trim(text.data);
	int r = roots_remove(&t->roots, ROOTS_NEXT, e);
	if (r >= 0 && *name && *name != '.' && !strchr(name, '/'))
		r = trial_drop(t, name, e);
	if (r >= 0)
		r = forget_state(m, PREPARING, e);
	return r < 0 ? err_in(e, r, "cannot remove the root that was being prepared") : 0;
}

static int make_next(const struct machine *m, struct trial *t, const struct plan *p, char **name, struct err *e)
{
	int r = begin_next(m, t, p->to, name, e);

	progress_stage(m->progress, "clone", 0, false);
	if (r >= 0)
		r = roots_snapshot(m, &t->roots, ROOTS_NEXT, e);
	if (r >= 0)
		r = change_next(m, t, p, e);
	if (r >= 0 && t->boot) {
		_cleanup_close_ int tree = fs_open_beneath(t->roots.top, ROOTS_NEXT, O_RDONLY | O_DIRECTORY, 0, e);
		r = tree < 0 ? tree : boot_check(t->boot, tree, NULL, p->to, NULL, e);
	}
	if (r >= 0 && renameat(t->roots.top, ROOTS_NEXT, t->roots.top, *name) < 0)
		r = err_errno(e, "cannot name the root '%s'", *name);
	if (r >= 0 && syncfs(t->roots.top) < 0)
		r = err_errno(e, "cannot write out the root '%s'", *name);
	return r;
}

static int open_trial(struct machine *m, struct trial *t, struct err *e)
{
	_cleanup_free_ char *why = NULL;
	int r = trial_open(m, t, &why, e);

	if (r == 0)
		return err_hint(e,
				err_set(e, -ERR_USAGE, "a release cannot be prepared for the next boot here: %s", why),
				"'swupd update' changes the running system at once");
	return r;
}

static int prepare_and_begin(struct machine *m, struct trial *t, const struct plan *p, struct err *e)
{
	_cleanup_free_ char *name = NULL;

	if (trial_runs(t))
		return err_hint(e, err_set(e, -EBUSY, "release %u is still on trial", m->release),
				"'swupd accept' ends that, or wait for it");
	int r = check_mounts(m, p, e);
	if (r >= 0)
		r = trial_prune(t, m->opts->keep_roots, m->opts->roots_free, e);
	if (r >= 0)
		r = make_next(m, t, p, &name, e);
	/* what is on trial is always what is noted: the one before ends first */
	if (r >= 0)
		r = trial_cancel(t, e);
	if (r >= 0)
		r = save_pending(m, p->from, p->to, name, e);
	progress_stage(m->progress, "commit", 0, false);
	if (r >= 0)
		r = trial_begin(t, name, p->to, m->opts->tries, e);
	progress_end(m->progress);
	if (r < 0) {
		/* what is prepared and has its name but no boot goes with the next run, as after a loss of power */
		(void)roots_remove(&t->roots, ROOTS_NEXT, NULL);
		return r;
	}
	/* if this is in vain, the next run does it */
	(void)unlinkat(m->data, PREPARING, 0);
	(void)fs_remove_tree(m->root, STAGE_DIR, NULL);
	return 0;
}

int next_boot(struct machine *m, const struct plan *p, struct err *e)
{
	struct trial t;
	int r = open_trial(m, &t, e);

	if (r >= 0) {
		r = prepare_and_begin(m, &t, p, e);
		trial_close(&t);
	}
	progress_end(m->progress);
	if (r < 0) {
		history_add(m, m->command, HOW, p->from, p->to, r, e);
		return r;
	}
	warn_of_shared(m);
	return 0;
}

/* --- after the boot -------------------------------------------------------------------------------------------------------- */

/* The running root is good: do what has waited for that. */
static int arrive(struct machine *m, struct err *e)
{
	if (!fs_exists(m->root, ARRIVE_PATH))
		return 0;
	if (renameat(m->root, ARRIVE_PATH, m->root, JOURNAL_PATH) < 0)
		return err_errno(e, "cannot take up /" ARRIVE_PATH);
	int r = fs_sync_dir(m->root, STAGE_PARENT, e);
	return r < 0 ? r : install_complete(m, NULL, NULL, e);
}

static char *take_reason(const struct machine *m, uint32_t release, unsigned done)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *start = xasprintf("%u\t", release);

	if (load_state(m, REFUSED, &text) >= 0 && text_starts(text.data, start)) {
		const char *reason = text_trim(text.data + strlen(start));
		return xstrdup(reason);
	}
	return xasprintf("it did not come up in %u %s", done, done == 1 ? "try" : "tries");
}

static int failed(struct machine *m, struct trial *t, const struct next_boot_pending *p, unsigned done, struct err *e)
{
	_cleanup_free_ char *reason = take_reason(m, p->to, done), *known = bad_reason(m, p->to);
	struct err why = ERR_INIT;

	int r = known ? 0 : bad_add(m, p->to, reason, e);
	if (r >= 0 && t->tried && strcmp(t->tried, p->root) == 0)
		r = trial_cancel(t, e);
	if (r < 0)
		return r;
	ui_warn(m->ui, "release %u did not start here, and release %u is back: %s", p->to, p->from, reason);
	err_set(&why, -ERR_RELEASE, "%s", reason);
	history_add(m, "boot", HOW, p->from, p->to, -ERR_RELEASE, &why);
	err_clear(&why);
	return forget_state(m, REFUSED, e);
}

/* 1: nothing more is to be said of what was pending. */
static int settle(struct machine *m, struct trial *t, const struct next_boot_pending *p, struct err *e)
{
	const bool tried = t->tried && strcmp(t->tried, p->root) == 0;
	unsigned done = 0;
	int r;

	if (strcmp(p->root, t->roots.running) == 0) {
		if (tried)
			return 0;
		r = bad_forget(m, p->to, e);
		if (r >= 0)
			history_add(m, "boot", HOW, p->from, p->to, 0, NULL);
		return r < 0 ? r : 1;
	}
	if (tried && !fs_exists(t->roots.top, p->root)) {
		ui_warn(m->ui, "release %u does not boot next: its root '%s' is gone", p->to, p->root);
		r = trial_cancel(t, e);
		return r < 0 ? r : 1;
	}
	if (tried && t->left > 0)
		return 0;
	if (trial_failed(t, p->root, &done)) {
		r = failed(m, t, p, done, e);
		return r < 0 ? r : 1;
	}
	/* prepared by a run that ended before it was to boot */
	r = roots_remove(&t->roots, p->root, e);
	return r < 0 ? r : 1;
}

int next_boot_settle(struct machine *m, struct err *e)
{
	_cleanup_(next_boot_pending_clear) struct next_boot_pending p = {0};
	_cleanup_free_ char *why = NULL;
	struct trial t;
	const bool pending = next_boot_pending(m, &p) > 0;

	if (!pending && !fs_exists(m->data, PREPARING) && !fs_exists(m->root, ARRIVE_PATH))
		return 0;
	int r = trial_open(m, &t, &why, e);
	if (r <= 0)
		return r;
	if (pending)
		r = settle(m, &t, &p, e);
	if (r > 0)
		r = forget_state(m, PENDING, e);
	if (r >= 0 && !trial_runs(&t))
		r = arrive(m, e);
	if (r < 0)
		r = err_in(e, r, "cannot tell what became of release %u", p.to);
	else
		r = sweep_next(m, &t, e);
	trial_close(&t);
	return r;
}

/* What the initrd, or the soft reboot, has begun with the trial; a later soft reboot is none. */
static void end_signs(const struct machine *m)
{
	static const char *const signs[] = {ROOTS_TRIAL, ROOTS_ACCEPT_LINK};

	deadline_end(m);
	for (size_t i = 0; i < ARRAY_LEN(signs); i++)
		if (unlinkat(m->root, signs[i], 0) < 0 && errno != ENOENT)
			ui_warn(m->ui, "/%s: %s", signs[i], strerrordesc_np(errno));
}

int next_boot_accept(struct machine *m, struct err *e)
{
	_cleanup_free_ char *why = NULL;
	struct trial t;

	int r = trial_open(m, &t, &why, e);
	if (r <= 0)
		return r;
	const bool runs = trial_runs(&t);
	if (runs) {
		r = trial_accept(&t, e);
		if (r >= 0)
			end_signs(m);
		if (r >= 0)
			r = next_boot_settle(m, e);
		if (r >= 0)
			r = trial_prune(&t, m->opts->keep_roots, m->opts->roots_free, e);
	}
	trial_close(&t);
	return r < 0 ? err_in(e, r, "cannot accept release %u", m->release) : runs;
}

int next_boot_refuse(struct machine *m, const char *reason, struct err *e)
{
	_cleanup_free_ char *text = xasprintf("%u\t%s\n", m->release, reason), *why = NULL;
	struct trial t;

	int r = trial_open(m, &t, &why, e);
	if (r <= 0)
		return r;
	const bool runs = trial_runs(&t);
	trial_close(&t);
	if (runs)
		r = fs_save(m->data, REFUSED, text, strlen(text), 0644, e);
	return r < 0 ? r : runs;
}

int next_boot_cancel(struct machine *m, struct err *e)
{
	_cleanup_(next_boot_pending_clear) struct next_boot_pending p = {0};
	_cleanup_free_ char *why = NULL;
	struct trial t;

	if (next_boot_pending(m, &p) <= 0)
		return 0;
	int r = trial_open(m, &t, &why, e);
	if (r <= 0)
		return r;
	if (trial_runs(&t)) {
		r = err_hint(e, err_set(e, -EBUSY, "release %u is still on trial", m->release),
			     "'swupd accept' ends that, or wait for it");
	} else {
		ui_message(m->ui, "release %u, which was prepared for the next boot, is dropped", p.to);
		r = trial_cancel(&t, e);
		if (r >= 0)
			r = roots_remove(&t.roots, p.root, e);
		if (r >= 0)
			r = forget_state(m, PENDING, e);
	}
	trial_close(&t);
	return r;
}

/* --- the way back ---------------------------------------------------------------------------------------------------------- */

int next_boot_previous(struct machine *m, uint32_t wanted, uint32_t *found, struct err *e)
{
	_cleanup_free_ char *why = NULL, *name = NULL;
	struct trial t;

	*found = 0;
	int r = trial_open(m, &t, &why, e);
	if (r <= 0)
		return r;
	r = trial_previous(&t, wanted, &name, found, e);
	trial_close(&t);
	return r < 0 ? r : 0;
}

/* Once that root runs, marks are as they were when it was left. Where that is not known they stay as they are. */
static int bring_marks(const struct machine *m, const struct trial *t, const char *name, uint32_t release,
		       struct err *e)
{
	_cleanup_(journal_freep) struct journal *none = journal_new(m->release, release);
	_cleanup_close_ int root = fs_open_beneath(t->roots.top, name, O_RDONLY | O_DIRECTORY, 0, e);

	if (root < 0)
		return root;
	if (renameat(root, RETURN_PATH, root, ARRIVE_PATH) < 0 && errno != ENOENT)
		return err_errno(e, "%s/" RETURN_PATH, name);
	if (!fs_exists(root, ARRIVE_PATH))
		return write_journal(root, ARRIVE_NAME, none, e);
	return fs_sync_dir(root, STAGE_PARENT, e);
}

static int go_back(struct machine *m, struct trial *t, uint32_t to, char **soft, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	uint32_t release = 0;

	int r = trial_previous(t, to, &name, &release, e);
	if (r >= 0 && !name)
		r = err_set(e, -ERR_RELEASE, "there is no root to go back to");
	if (r >= 0 && soft)
		r = soft_reboot_check_root(m, &t->roots, name, e);
	if (r >= 0)
		r = bring_marks(m, t, name, release, e);
	if (r >= 0)
		r = trial_go_back(t, name, release, e);
	if (r >= 0 && soft)
		*soft = take(name);
	return r;
}

int next_boot_back(struct machine *m, uint32_t to, char **soft, struct err *e)
{
	struct trial t;

	int r = open_trial(m, &t, e);
	if (r >= 0) {
		r = go_back(m, &t, to, soft, e);
		trial_close(&t);
	}
	history_add(m, m->command, HOW, m->release, to, r, e);
	return r < 0 ? r : 0;
}
