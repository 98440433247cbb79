/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/ui.h"
#include "swupd/client/machine.h"
#include "swupd/client/next_boot.h"
#include "swupd/cmd/cmd.h"

static int accept_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;

	(void)opts;
	(void)args;
	int r = next_boot_accept(m, e);
	if (r < 0)
		return r;
	ui_message(m->ui, r > 0 ? "release %u is good, and boots from now on" : "release %u is not on trial",
		   m->release);
	return 0;
}

const struct command cmd_accept = {
	.name = "accept",
	.args = "",
	.summary = "end the trial of the running release: it is good",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK,
	.run = accept_run,
};
