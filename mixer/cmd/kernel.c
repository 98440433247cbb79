/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/step/kernel.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static int list_run(void *context, void *opts __attribute__((unused)), const struct strv *args __attribute__((unused)),
		    struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(strv_free) struct strv names = {0};

	int r = mix_open(s, 0, &m, e);
	if (r >= 0)
		r = kernel_profile_names(m->config, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_(kernel_profile_freep) struct kernel_profile *p = NULL;
		struct kernel_state state = {0};
		r = kernel_profile_load(m->config, names.items[i], &p, e);
		if (r >= 0)
			r = kernel_state(m->config, names.items[i], &state, e);
		if (r >= 0)
			ui_answer(&s->ui, "%-16s%-40s %-13s %s", p->name, state.version ? state.version : "not built",
				  state.stale     ? "stale profile"
				  : state.trained ? "profile"
						  : "no profile",
				  p->title);
		free(state.version);
	}
	return r;
}

const struct command cmd_kernel_list = {
	.name = "kernel list",
	.args = "",
	.summary = "list kernel profiles, and which are built",
	.run = list_run,
};

struct build_opts {
	bool no_profile;
};

static const struct opt build_options[] = {
	{0, "no-profile", OPT_FLAG, offsetof(struct build_opts, no_profile), NULL, "as if there were no training", 0,
	 0},
	{0},
};

static int build_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct build_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(strv_free) struct strv names = {0};
	const bool all = args->n == 0 || (args->n == 1 && strcmp(args->items[0], "all") == 0);

	int r = mix_open(s, MIX_WRITE | MIX_CACHE, &m, e);
	if (r >= 0 && all)
		r = kernel_profile_names(m->config, &names, e);
	for (size_t i = 0; r >= 0 && i < (all ? names.n : args->n); i++) {
		/* before hours of work: do all of them exist? */
		_cleanup_(kernel_profile_freep) struct kernel_profile *p = NULL;
		r = kernel_profile_load(m->config, all ? names.items[i] : args->items[i], &p, e);
	}
	return r < 0 ? r : kernel_build(m, all ? &names : args, !o->no_profile, e);
}

const struct command cmd_kernel_build = {
	.name = "kernel build",
	.args = "[PROFILE...|all]",
	.summary = "build kernels from their profiles, into local-debs",
	.args_max = UINT_MAX,
	.opts = build_options,
	.opts_size = sizeof(struct build_opts),
	.run = build_run,
};
