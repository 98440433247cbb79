/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/err.h"
#include "swupd/client/machine.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/diagnose.h"
#include "swupd/cmd/os_install.h"

/* The name under which old scripts know three commands. */
static int verify_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	const struct diagnose_opts *o = opts;
	const struct os_install_opts install = {.version = o->version, .force = o->force, .bundles = o->bundles};

	(void)args;
	if (o->fix && o->install)
		return err_set(e, -ERR_USAGE, "--fix and --install exclude each other");
	return o->install ? os_install(context, &install, e) : diagnose(context, o, o->fix, e);
}

const struct command cmd_verify = {
	.name = "verify",
	.args = "",
	.summary = "old name of diagnose, repair and os-install",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK | NEEDS_SERVER | NEEDS_TRUST | NEEDS_NEW_ROOT,
	.opts = verify_options,
	.opts_size = sizeof(struct diagnose_opts),
	.run = verify_run,
};
