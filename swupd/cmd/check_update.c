/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/err.h"
#include "swupd/base/ui.h"
#include "swupd/client/catalog.h"
#include "swupd/client/machine.h"
#include "swupd/cmd/cmd.h"

static int check_update_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	uint32_t newest;

	(void)opts;
	(void)args;
	if (m->release == 0)
		return err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", m->path);
	int r = catalog_newest_any(m, &newest, e);
	if (r < 0)
		return r;
	ui_message(m->ui, "installed: %u, on the server: %u", m->release, newest);
	if (newest <= m->release)
		return -ERR_NO;
	ui_answer(m->ui, "%u", newest);
	return 0;
}

const struct command cmd_check_update = {
	.name = "check-update",
	.args = "",
	.summary = "say whether there is a newer release",
	.needs = NEEDS_SERVER | NEEDS_TRUST,
	.run = check_update_run,
};
