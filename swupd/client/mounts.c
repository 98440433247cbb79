/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/mounts.h"

#include <fcntl.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define MOUNTINFO_MAX (16UL << 20)

/* blank, tab, newline and backslash are written as \ooo (proc(5)) */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The fields of the next line of a mountinfo text. */
static bool next_mount(const char **pos, const char *end, struct strv *fields)
{
	const char *line;
	size_t len;

	if (!text_line(pos, end, &line, &len, NULL))
		return false;
	_cleanup_free_ char *copy = xstrndup(line, len);
	strv_split(fields, copy, " ");
	return true;
}

void mounts_parse(const char *text, const char *root, struct strv *out)
{
	const char *pos = text, *end = text + strlen(text);
	size_t root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);

	for (;;) {
		_cleanup_(strv_free) struct strv fields = {0};
		if (!next_mount(&pos, end, &fields))
			return;
		if (fields.n < 5)
			continue;
		char *point = fields.items[4];
		unescape(point);
		if (strncmp(point, root, root_len) == 0 && point[root_len] == '/' && point[root_len + 1])
			strv_add(out, point + root_len);
	}
}

static int load(struct buf *text, struct err *e)
{
	int r = fs_load(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, text, e);

	return r < 0 ? err_hint(e, r, "mount /proc: without it mount points cannot be told") : 0;
}

int mounts_below(const char *root, struct strv *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = load(&text, e);
	if (r < 0)
		return r;
	mounts_parse(text.data, root, out);
	return 0;
}

int mounts_source(const char *path, char **source, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	*source = NULL;
	int r = load(&text, e);
	if (r < 0)
		return r;
	const char *pos = text.data, *end = text.data + text.len;
	for (;;) {
		_cleanup_(strv_free) struct strv fields = {0};
		size_t dash = 6;
		if (!next_mount(&pos, end, &fields))
			return *source ? 1 : 0;
		while (dash < fields.n && strcmp(fields.items[dash], "-") != 0)
			dash++;
		if (dash + 2 >= fields.n)
			continue;
		unescape(fields.items[4]);
		if (strcmp(fields.items[4], path) != 0)
			continue;
		/* the last one lies over those before it */
		free(*source);
		*source = xstrdup(fields.items[dash + 2]);
		unescape(*source);
	}
}
