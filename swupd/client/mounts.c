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

void mounts_parse(const char *text, const char *root, struct strv *out)
{
	const char *pos = text, *end = text + strlen(text), *line;
	size_t len, root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);

	while (text_line(&pos, end, &line, &len, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		_cleanup_(strv_free) struct strv fields = {0};
		strv_split(&fields, copy, " ");
		if (fields.n < 5)
			continue;
		char *point = fields.items[4];
		unescape(point);
		if (strncmp(point, root, root_len) == 0 && point[root_len] == '/' && point[root_len + 1])
			strv_add(out, point + root_len);
	}
}

int mounts_below(const char *root, struct strv *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, e);
	if (r < 0)
		return err_hint(e, r, "mount /proc: without it mount points below the root cannot be told");
	mounts_parse(text.data, root, out);
	return 0;
}
