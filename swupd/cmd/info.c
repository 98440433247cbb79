/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/bad.h"
#include "swupd/client/catalog.h"
#include "swupd/client/exchange.h"
#include "swupd/client/machine.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/reboot.h"
#include "swupd/client/stage.h"
#include "swupd/client/trial.h"
#include "swupd/client/trust.h"
#include "swupd/cmd/cmd.h"
#include "swupd/content/signature.h"

/* What boots next, what is on trial, what is known to be bad */
static void say_roots(struct machine *m)
{
	_cleanup_free_ uint32_t *bad = NULL;
	_cleanup_free_ char *why = NULL;
	_cleanup_(next_boot_pending_clear) struct next_boot_pending p = {0};
	struct trial t;
	size_t n = 0;

	if (next_boot_pending(m, &p) > 0 && trial_open(m, &t, &why, NULL) > 0) {
		if (trial_runs(&t))
			ui_answer(m->ui, "on trial: release %u in %s", m->release, t.tried);
		else if (t.tried && t.left > 0)
			ui_answer(m->ui, "next boot: release %u, on trial in %s, %u tries", p.to, t.tried, t.left);
		trial_close(&t);
	}
	(void)bad_list(m, &bad, &n, NULL);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *reason = bad_reason(m, bad[i]);
		ui_answer(m->ui, "bad: release %u: %s", bad[i], reason ? reason : "");
	}
}

static int info_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	struct err why = ERR_INIT;
	_cleanup_(strv_free) struct strv reasons = {0};
	struct exchange_look look;
	const uint32_t old = exchange_old_release(m);

	(void)opts;
	(void)args;
	(void)e;
	if (m->release)
		ui_answer(m->ui, "release: %u", m->release);
	else
		ui_answer(m->ui, "release: none");
	ui_answer(m->ui, "root: %s", m->path);
	ui_answer(m->ui, "format: %s", m->format_text);
	ui_answer(m->ui, "content URL: %s", m->content_url ? m->content_url : "not set");
	ui_answer(m->ui, "version URL: %s", m->version_url ? m->version_url : "not set");
	if (fs_exists(m->root, STAGE_PARENT "/journal"))
		ui_answer(m->ui, "interrupted run: yes, the next change completes it");
	if (exchange_look(m, true, &look, &why) < 0) {
		ui_answer(m->ui, "updates: unknown: %s", why.text);
		err_clear(&why);
	} else {
		if (look.possible)
			ui_answer(m->ui, "updates: by exchange of /usr, prepared as %s",
				  look.snapshot ? "a snapshot" : "links");
		else
			ui_answer(m->ui, "updates: in place: %s", look.why);
		exchange_look_free(&look);
	}
	reboot_reasons(m, &reasons);
	for (size_t i = 0; i < reasons.n; i++)
		ui_answer(m->ui, "reboot: needed: %s", reasons.items[i]);
	if (old)
		ui_answer(m->ui, "rollback: to release %u", old);
	say_roots(m);
	if (m->opts->nosigcheck) {
		ui_answer(m->ui, "keys: not checked (--nosigcheck)");
	} else if (trust_load(m, &why) < 0 || trust_ready(m, &why) < 0) {
		ui_answer(m->ui, "keys: %s", why.text);
		err_clear(&why);
	} else {
		_cleanup_free_ char *keys = anchors_describe(m->anchors);
		_cleanup_(strv_free) struct strv lines = {0};
		strv_split(&lines, keys, "\n");
		for (size_t i = 0; i < lines.n; i++)
			ui_answer(m->ui, "key: %s", lines.items[i]);
	}
	return 0;
}

const struct command cmd_info = {
	.name = "info",
	.args = "",
	.summary = "show the installed release, its origin and the trusted keys",
	.run = info_run,
};
