/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/machine.h"
#include "swupd/client/post.h"
#include "swupd/cmd/cmd.h"

struct clean_opts {
	bool all, dry_run;
};

static const struct opt clean_options[] = {
	{0, "all", OPT_FLAG, offsetof(struct clean_opts, all), NULL, "also what a repair or rollback needs", 0, 0},
	{0, "dry-run", OPT_FLAG, offsetof(struct clean_opts, dry_run), NULL, "only say how much it is", 0, 0},
	{0},
};

static int clean_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	const struct clean_opts *o = opts;
	uint64_t files, bytes;

	(void)args;
	int r = clean_cache(m, o->all, o->dry_run, &files, &bytes, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *size = text_size(bytes);
	ui_answer(m->ui, o->dry_run ? "%llu files, %s, would be removed" : "%llu files, %s, were removed",
		  (unsigned long long)files, size);
	return 0;
}

const struct command cmd_clean = {
	.name = "clean",
	.args = "",
	.summary = "empty the cache",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK,
	.opts = clean_options,
	.opts_size = sizeof(struct clean_opts),
	.run = clean_run,
};
