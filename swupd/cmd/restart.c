/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "swupd/base/opt.h"
#include "swupd/client/machine.h"
#include "swupd/client/restart.h"
#include "swupd/cmd/cmd.h"

struct restart_opts {
	bool dry_run;
};

static const struct opt restart_options[] = {
	{0, "dry-run", OPT_FLAG, offsetof(struct restart_opts, dry_run), NULL, "only list them", 0, 0},
	{0},
};

static int restart_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	const struct restart_opts *o = opts;

	(void)args;
	return restart_services(context, !o->dry_run, e);
}

const struct command cmd_restart = {
	.name = "restart",
	.args = "",
	.summary = "restart the services that use files of before an update",
	.needs = NEEDS_ROOT_USER,
	.opts = restart_options,
	.opts_size = sizeof(struct restart_opts),
	.run = restart_run,
};
