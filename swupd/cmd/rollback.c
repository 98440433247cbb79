/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/bad.h"
#include "swupd/client/boot_update.h"
#include "swupd/client/exchange.h"
#include "swupd/client/machine.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/plan.h"
#include "swupd/client/post.h"
#include "swupd/client/restart.h"
#include "swupd/client/soft_reboot.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/common.h"

/* The release that is gone back to: the /usr that was kept (*live), or a root of its own. */
static int choose(struct machine *m, const struct strv *args, bool *live, uint32_t *there, struct err *e)
{
	const uint32_t kept = exchange_old_release(m);
	uint32_t wanted = 0;

	if (args->n && text_u32(args->items[0], 1, INT32_MAX, &wanted) < 0)
		return err_set(e, -ERR_USAGE, "'%s' is not a release number", args->items[0]);
	if (m->release == 0)
		return err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", m->path);
	*live = kept && (!wanted || wanted == kept);
	*there = kept;
	int r = *live ? 0 : next_boot_previous(m, wanted, there, e);
	if (r < 0 || *there)
		return r;
	if (!wanted)
		return err_hint(e, err_set(e, -ERR_RELEASE, "there is no older release to go back to"),
				"'swupd repair --force --version=N' brings any release");
	if (kept)
		err_set(e, -ERR_RELEASE, "the /usr that was kept is release %u, not %u", kept, wanted);
	else
		err_set(e, -ERR_RELEASE, "release %u was not kept", wanted);
	return err_hint(e, -ERR_RELEASE, "'swupd repair --force --version=%u' brings that release", wanted);
}

static int back_live(struct machine *m, uint32_t there, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	const uint32_t from = m->release;

	int r = boot_prepare(m, NULL, e);
	if (r >= 0)
		r = exchange_back(m, e);
	if (r < 0)
		return err_in(e, r, "cannot go back");
	ui_message(m->ui, "release %u is installed again; /usr of %u is kept", there, from);
	/* which files differ is not looked at: all that could have changed is followed up */
	p = plan_new(from, there);
	p->boot = p->systemd = true;
	return post_update(m, p, e);
}

/* *soft: the root that was gone back to, when it is to be entered. The caller frees it. */
static int back_by_boot(struct machine *m, uint32_t there, bool enter, char **soft, struct err *e)
{
	const uint32_t from = m->release;

	int r = enter ? soft_reboot_check(m, e) : 0;
	if (r >= 0)
		r = next_boot_back(m, there, enter ? soft : NULL, e);
	if (r < 0)
		return err_in(e, r, "cannot go back");
	ui_message(m->ui, "release %u boots next; the root of %u is kept", there, from);
	return 0;
}

/*
 * Who left a release does not want it back by the next 'swupd update'. That is noted before, so that whoever stops this halfway does not get it back either.
 */
static int go_back(struct machine *m, const struct strv *args, bool enter, char **soft, struct err *e)
{
	const uint32_t from = m->release;
	uint32_t there = 0;
	bool live = false;

	int r = choose(m, args, &live, &there, e);
	if (r < 0)
		return err_in(e, r, "cannot go back");
	_cleanup_free_ char *known = bad_reason(m, from);
	const bool noted = from > there && !known;
	if (noted)
		r = bad_add(m, from, "it was left by 'swupd rollback'", e);
	if (r >= 0)
		r = live ? back_live(m, there, e) : back_by_boot(m, there, enter, soft, e);
	if (r >= 0)
		return from > there ? 0 : bad_forget(m, there, e);
	/* unless it was left all the same, and only what follows failed */
	if (noted && machine_read_release(m, NULL) >= 0 && m->release == from)
		(void)bad_forget(m, from, NULL);
	return r;
}

static const struct opt rollback_options[] = {
	{0, "restart", OPT_FLAG, offsetof(struct restart_options, services), NULL,
	 "restart services that use replaced files", 0, 0},
	{0, "soft-reboot", OPT_FLAG, offsetof(struct restart_options, userspace), NULL,
	 "restart all of userspace afterwards", 0, 0},
	{0},
};

static int rollback_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	const struct restart_options *o = opts;
	const uint32_t before = m->release;
	_cleanup_free_ char *soft = NULL;

	int r = restart_check(m, o, e);
	if (r >= 0)
		r = restart_follow(m, o, before, go_back(m, args, o->userspace, &soft, e), e);
	return r >= 0 && soft ? soft_reboot_good(m, soft, e) : r;
}

const struct command cmd_rollback = {
	.name = "rollback",
	.args = "[RELEASE]",
	.args_max = 1,
	.summary = "go back to the release before the last update",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK,
	.opts = rollback_options,
	.opts_size = sizeof(struct restart_options),
	.run = rollback_run,
};
