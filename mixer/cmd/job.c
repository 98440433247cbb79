/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/input/config.h"
#include "mixer/step/job.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define LIST_MAX (1UL << 30) /* bytes */

static int run(struct mix *m, struct config *c, const char *path, struct err *e)
{
	_cleanup_(job_list_freep) struct job_list *l = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(AT_FDCWD, path, LIST_MAX, &text, e);
	if (r >= 0)
		r = jobs_parse(text.data, text.len, c, &l, e);
	if (r >= 0)
		r = store_open(m->cache, &m->store, e);
	if (r >= 0)
		r = job_list_run(m, l, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

/* A node has no business with the workspace: the list says all, and the cache has it. */
static int job_run_run(void *context, void *opts __attribute__((unused)), const struct strv *args, struct err *e)
{
	struct session *s = context;
	struct config c = {.dir = -1, .threads = s->threads ? s->threads : 1};
	struct mix m = {.config = &c, .ui = &s->ui, .progress = s->progress, .cache = -1};

	if (!s->cache)
		return err_set(e, -ERR_USAGE, "'job run' needs --cache=DIR");
	m.cache = fs_open_dir(AT_FDCWD, s->cache, e);
	int r = m.cache < 0 ? m.cache : run(&m, &c, args->items[0], e);
	if (m.store)
		store_close(m.store);
	closep(&m.cache);
	return r;
}

const struct command cmd_job_run = {
	.name = "job run",
	.args = "FILE",
	.args_min = 1,
	.args_max = 1,
	.summary = "do a list of jobs of a build, on a node of Slurm",
	.run = job_run_run,
};
