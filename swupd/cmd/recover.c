/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/machine.h"
#include "swupd/cmd/cmd.h"

/* All of it is done by opening the machine with its lock (machine.h). */
static int recover_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	(void)context;
	(void)opts;
	(void)args;
	(void)e;
	return 0;
}

const struct command cmd_recover = {
	.name = "recover",
	.args = "",
	.summary = "complete what a run that was cut short has left",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK,
	.run = recover_run,
};
