/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/history.h"
#include "swupd/client/machine.h"
#include "swupd/cmd/cmd.h"

/* TIME COMMAND HOW FROM TO RESULT */
static void print_line(struct ui *ui, const char *line)
{
	_cleanup_(strv_free) struct strv f = {0};
	uint64_t when;

	strv_split(&f, line, "\t");
	if (f.n != 6 || text_u64(f.items[0], 0, INT64_MAX, &when) < 0)
		return;
	_cleanup_free_ char *time = text_time((int64_t)when);
	ui_answer(ui, "%s  %s  %s -> %s  (%s)  %s", time, f.items[1], f.items[3], f.items[4], f.items[2], f.items[5]);
}

static int history_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	_cleanup_(strv_free) struct strv lines = {0};

	(void)opts;
	(void)args;
	int r = history_load(m, &lines, e);
	for (size_t i = 0; r >= 0 && i < lines.n; i++)
		print_line(m->ui, lines.items[i]);
	return r < 0 ? r : 0;
}

const struct command cmd_history = {
	.name = "history",
	.args = "",
	.summary = "list what was done when, how and with which result",
	.run = history_run,
};
