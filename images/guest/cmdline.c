/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "images/guest/cmdline.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/mem.h"

/* The end of the word that begins at s. */
static const char *word_end(const char *s)
{
	bool quoted = false;

	for (; *s && (quoted || !isspace((unsigned char)*s)); s++)
		quoted ^= *s == '"';
	return s;
}

/* s[0..len) without the quotes around it, if there are any. */
static char *unquote(const char *s, size_t len, bool open)
{
	if (len > 0 && *s == '"') {
		s++;
		len--;
		open = true;
	}
	if (open && len > 0 && s[len - 1] == '"')
		len--;
	return xstrndup(s, len);
}

char *cmdline_get(const char *line, const char *name)
{
	size_t len = strlen(name);
	char *value = NULL;

	for (const char *word = line, *end; *word; word = end) {
		if (isspace((unsigned char)*word)) {
			end = word + 1;
			continue;
		}
		end = word_end(word);
		bool quoted = *word == '"';
		const char *rest = word + quoted + len;

		if (rest > end || strncmp(word + quoted, name, len) != 0)
			continue;
		if (*rest != '=' && rest + (quoted && *rest == '"') != end)
			continue;
		freep(&value);
		value = *rest == '=' ? unquote(rest + 1, (size_t)(end - rest) - 1, quoted) : xstrdup("");
	}
	return value;
}
