/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/step/toolroot.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define STATUS_NO 3

/* --- list ---------------------------------------------------------------------------------------------------------------- */

static int list_run(void *context, void *opts __attribute__((unused)), const struct strv *args __attribute__((unused)),
		    struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(bundle_set_free) struct bundle_set set = {0};

	int r = mix_open(s, 0, &m, e);
	if (r >= 0)
		r = toolroot_collect(m, &set, e);
	for (size_t i = 0; r >= 0 && i < set.n; i++)
		ui_answer(&s->ui, "%-16s%s", set.items[i]->name, set.items[i]->description);
	return r;
}

const struct command cmd_tools_list = {
	.name = "tools list",
	.args = "",
	.summary = "list the sets of tools that releases are made with",
	.run = list_run,
};

/* --- lock ---------------------------------------------------------------------------------------------------------------- */

struct lock_opts {
	bool keep;
};

static const struct opt lock_options[] = {
	{'k', "keep", OPT_FLAG, offsetof(struct lock_opts, keep), NULL, "stay with locked versions where possible", 0,
	 0},
	{0},
};

static int load_old(const struct mix *m, struct lock **out, struct err *e)
{
	int r = lock_load_tools(m->config, out, e);

	if (r != -ENOENT)
		return r;
	err_clear(e);
	*out = lock_new();
	return 0;
}

static int lock_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	struct session *s = context;
	const struct lock_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(lock_freep) struct lock *old = NULL, *new = NULL;

	int r = mix_open(s, MIX_WRITE | MIX_CACHE, &m, e);
	if (r >= 0)
		r = load_old(m, &old, e);
	if (r >= 0)
		r = toolroot_resolve(m, o->keep, old, &new, e);
	if (r < 0)
		return r;
	if (!lock_report(&s->ui, old, new)) {
		ui_message(&s->ui, "tools.lock stays as it is");
		return STATUS_NO;
	}
	return lock_save_tools(m->config, new, e);
}

const struct command cmd_tools_lock = {
	.name = "tools lock",
	.args = "",
	.summary = "choose packages for all tools, write tools.lock",
	.opts = lock_options,
	.opts_size = sizeof(struct lock_opts),
	.run = lock_run,
};

/* --- run ----------------------------------------------------------------------------------------------------------------- */

struct run_opts {
	struct strv binds;
};

static const struct opt run_options[] = {
	{0, "bind", OPT_LIST, offsetof(struct run_opts, binds), "HOST:INSIDE",
	 "let it see and change a file or directory", 0, 0},
	{0},
};

static int parse_binds(struct strv *words, struct toolroot_bind *out, struct err *e)
{
	for (size_t i = 0; i < words->n; i++) {
		char *colon = strrchr(words->items[i], ':');
		if (!colon || colon == words->items[i])
			return err_set(e, -ERR_USAGE, "--bind: '%s' is no HOST:INSIDE", words->items[i]);
		*colon = '\0';
		out[i] = (struct toolroot_bind){.host = words->items[i], .inside = colon + 1, .writable = true};
	}
	return 0;
}

static int run_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	struct run_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(toolroot_freep) struct toolroot *t = NULL;
	_cleanup_free_ const char **argv = xcalloc(args->n, sizeof(*argv));
	_cleanup_free_ struct toolroot_bind *binds = xcalloc(o->binds.n + 1, sizeof(*binds));

	for (size_t i = 1; i < args->n; i++)
		argv[i - 1] = args->items[i];
	int r = parse_binds(&o->binds, binds, e);
	if (r >= 0)
		r = mix_open(s, MIX_CACHE, &m, e);
	if (r >= 0)
		r = toolroot_open(m, args->items[0], &t, e);
	if (r < 0)
		return r;
	const struct toolroot_job job = {.argv = argv, .binds = binds, .n_binds = o->binds.n, .attached = true};
	return toolroot_run(t, &job, e);
}

const struct command cmd_tools_run = {
	.name = "tools run",
	.args = "SET PROGRAM [ARGUMENT...]",
	.summary = "run a program of a set of tools in its root",
	.args_min = 2,
	.args_max = UINT_MAX,
	.opts = run_options,
	.opts_size = sizeof(struct run_opts),
	.run = run_run,
};
