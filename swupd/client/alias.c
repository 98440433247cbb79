/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/alias.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/machine.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"

int alias_parse(const char *text, size_t len, const char *name, struct strv *out)
{
	_cleanup_(strv_free) struct strv last = {0};
	const char *pos = text, *line;
	size_t n;

	while (text_line(&pos, text + len, &line, &n, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		_cleanup_(strv_free) struct strv words = {0};
		copy[strcspn(copy, "#")] = '\0';
		strv_split(&words, copy, "\t \r");
		if (words.n < 2 || strcmp(words.items[0], name) != 0)
			continue;
		strv_free(&last);
		for (size_t i = 1; i < words.n; i++)
			strv_add(&last, words.items[i]);
	}
	for (size_t i = 0; i < last.n; i++)
		strv_add(out, last.items[i]);
	return last.n > 0;
}

static int look_in(const struct machine *m, const char *path, const struct strv *hidden, const char *name,
		   struct strv *out, struct strv *files, struct err *e)
{
	_cleanup_close_ int dir = fs_open_beneath(m->root, path, O_RDONLY | O_DIRECTORY, 0, NULL);

	if (dir < 0)
		return 0;
	int r = fs_list(dir, ".", files, e);
	for (size_t i = 0; r == 0 && i < files->n; i++) {
		_cleanup_(buf_free) struct buf text = {0};
		if (hidden && strv_has(hidden, files->items[i]))
			continue;
		r = fs_load(dir, files->items[i], SMALL_TEXT_MAX, &text, e);
		if (r >= 0)
			r = alias_parse(text.data, text.len, name, out);
	}
	return r < 0 ? err_in(e, r, "%s", path) : r;
}

int alias_expand(const struct machine *m, const char *name, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv users = {0}, systems = {0};

	int r = look_in(m, "etc/swupd/alias.d", NULL, name, out, &users, e);
	if (r == 0)
		r = look_in(m, INSTALLED_DEFAULTS "/alias.d", &users, name, out, &systems, e);
	if (r == 0)
		strv_add(out, name);
	return r < 0 ? r : 0;
}
