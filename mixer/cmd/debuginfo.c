/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/step/debuginfo.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

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

static int choose_release(const struct mix *m, uint32_t wanted, uint32_t *out, struct err *e)
{
	*out = wanted ? wanted : m->previous;
	return *out ? 0 : err_set(e, -ERR_NO, "no release is published yet");
}

static int status_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	const struct status_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	uint32_t release;

	int r = mix_open(context, 0, &m, e);
	if (r >= 0)
		r = choose_release(m, o->release, &release, e);
	return r < 0 ? r : debuginfo_status(m, release, o->json, e);
}

const struct command cmd_debuginfo_status = {
	.name = "debuginfo status",
	.args = "",
	.summary = "say which programs of a release have debug information",
	.opts = status_options,
	.opts_size = sizeof(struct status_opts),
	.run = status_run,
};

/* --- build --------------------------------------------------------------------------------------------------------------- */

struct rebuild_opts {
	struct strv repositories, except;
	bool older;
};

static const struct opt rebuild_options[] = {
	{0, "except", OPT_LIST, offsetof(struct rebuild_opts, except), "NAMES", "but not these sources", 0, 0},
	{0, "older", OPT_FLAG, offsetof(struct rebuild_opts, older), NULL, "also from sources older than the release",
	 0, 0},
	{0, "repositories", OPT_LIST, offsetof(struct rebuild_opts, repositories), "NAMES",
	 "sources from these archives alone", 0, 0},
	{0},
};

static int rebuild_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	static const struct strv every = {0};
	const bool all = args->n == 1 && strcmp(args->items[0], "all") == 0;
	const struct rebuild_opts *o = opts;
	const struct debuginfo_wish wish = {
		.bundles = all ? &every : args,
		.archives = &o->repositories,
		.except = &o->except,
		.older = o->older,
	};
	_cleanup_(mix_closep) struct mix *m = NULL;
	uint32_t release;

	int r = mix_open(context, MIX_WRITE | MIX_CACHE, &m, e);
	if (r >= 0)
		r = choose_release(m, 0, &release, e);
	return r < 0 ? r : debuginfo_rebuild(m, release, &wish, e);
}

const struct command cmd_debuginfo_build = {
	.name = "debuginfo build",
	.args = "BUNDLE...|all",
	.summary = "rebuild what of bundles has no debug information",
	.args_min = 1,
	.args_max = UINT_MAX,
	.opts = rebuild_options,
	.opts_size = sizeof(struct rebuild_opts),
	.run = rebuild_run,
};
