/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/history.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/machine.h"

#define HISTORY_BYTES (1UL << 20) /* HISTORY_MAX lines with the longest reasons, 4 KiB each, fit */
#define REASON_MAX    4000

int history_load(const struct machine *m, struct strv *lines, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	_cleanup_close_ int fd = machine_open_data(m, HISTORY_NAME, O_RDONLY);
	if (fd < 0)
		return 0;
	int r = fs_load_fd(fd, HISTORY_NAME, HISTORY_BYTES, &text, e);
	if (r >= 0)
		strv_split(lines, text.data, "\n");
	return r;
}

/* One field: nothing that ends it, and of bounded length. */
static char *field(const char *text)
{
	char *copy = xstrndup(text, REASON_MAX);

	for (char *c = copy; *c; c++)
		if (*c == '\t' || *c == '\n')
			*c = ' ';
	return copy;
}

void history_add(struct machine *m, const char *command, const char *how, uint32_t from, uint32_t to, int result,
		 const struct err *e)
{
	_cleanup_(strv_free) struct strv lines = {0};
	_cleanup_(buf_free) struct buf text = {0};
	struct err own = ERR_INIT;

	if (m->data < 0)
		return;
	_cleanup_free_ char *why = field(result >= 0 ? "done" : e && e->text ? e->text : "failed");
	/* one that cannot be read begins anew */
	(void)history_load(m, &lines, NULL);
	for (size_t i = lines.n < HISTORY_MAX ? 0 : lines.n - HISTORY_MAX + 1; i < lines.n; i++)
		buf_printf(&text, "%s\n", lines.items[i]);
	buf_printf(&text, "%lld\t%s\t%s\t%u\t%u\t%s\n", (long long)m->now, command ? command : "change", how, from, to,
		   why);
	if (fs_save(m->data, HISTORY_NAME, text.data, text.len, 0644, &own) < 0)
		ui_warn(m->ui, "the history misses a line: %s", own.text);
	err_clear(&own);
}
