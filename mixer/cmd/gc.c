/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/step/gc.h"
#include "swupd/base/text.h"

struct gc_opts {
	struct strv keep;
	bool cache, dry_run;
};

static const struct opt gc_options[] = {
	{0, "keep", OPT_LIST, offsetof(struct gc_opts, keep), "A,B…", "these releases, too", 0, 0},
	{0, "cache", OPT_FLAG, offsetof(struct gc_opts, cache), NULL, "in the cache what was not used for long", 0, 0},
	{0, "dry-run", OPT_FLAG, offsetof(struct gc_opts, dry_run), NULL, "only say what would be removed", 0, 0},
	{0},
};

static int gc_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	const struct gc_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(context, o->cache ? MIX_WRITE | MIX_SWEEP : MIX_WRITE, &m, e);
	if (r >= 0)
		r = gc_releases(m, &o->keep, o->dry_run, e);
	return r < 0 || !o->cache ? r : gc_cache(m, o->dry_run, e);
}

const struct command cmd_gc = {
	.name = "gc",
	.args = "",
	.summary = "remove what no release needs that is kept",
	.opts = gc_options,
	.opts_size = sizeof(struct gc_opts),
	.run = gc_run,
};
