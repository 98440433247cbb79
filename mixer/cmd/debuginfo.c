/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/step/debuginfo.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"

struct status_opts {
	bool json;
	uint32_t release;
};

static const struct opt status_options[] = {
	{0, "json", OPT_FLAG, offsetof(struct status_opts, json), NULL, "as JSON", 0, 0},
	{0, "release", OPT_U32, offsetof(struct status_opts, release), "N", "of this release, not the newest", 1,
	 INT32_MAX},
	{0},
};

static int status_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	const struct status_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(context, 0, &m, e);
	if (r < 0)
		return r;
	const uint32_t release = o->release ? o->release : m->previous;
	if (release == 0)
		return err_set(e, -ERR_NO, "no release is published yet");
	return debuginfo_status(m, release, o->json, e);
}

const struct command cmd_debuginfo_status = {
	.name = "debuginfo status",
	.args = "",
	.summary = "say which programs of a release have debug information",
	.opts = status_options,
	.opts_size = sizeof(struct status_opts),
	.run = status_run,
};
