/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/stanza.h"

#include <string.h>
#include <strings.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

bool stanza_is_word(const char *s)
{
	if (!s || !*s)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	return true;
}

bool stanza_is_place(const char *s)
{
	return stanza_is_word(s) && s[0] != '/' && strcmp(s, "..") != 0 && !text_starts(s, "../") &&
	       !strstr(s, "/../") && !text_ends(s, "/..");
}

static char **find_field(const struct stanza_field *fields, size_t n, void *into, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(fields[i].name) == len && strncasecmp(fields[i].name, name, len) == 0)
			return (char **)(void *)((char *)into + fields[i].offset);
	return NULL;
}

int stanza_next(char **pos, char *end, unsigned *line, const struct stanza_field *fields, size_t n, void *into,
		size_t size, struct err *e)
{
	char *s = *pos;
	bool any = false;

	memset(into, 0, size);
	while (s < end && *s == '\n') {
		s++;
		++*line;
	}
	while (s < end && *s != '\n') {
		char *stop = memchr(s, '\n', (size_t)(end - s));
		stop = stop ? stop : end;
		unsigned lines = 1;
		while (stop + 1 < end && (stop[1] == ' ' || stop[1] == '\t')) {
			char *next = memchr(stop + 1, '\n', (size_t)(end - stop - 1));
			stop = next ? next : end;
			lines++;
		}
		const char *colon = memchr(s, ':', (size_t)(stop - s));
		if (!colon)
			return err_set(e, -ERR_FORMAT, "line %u is no 'Field: value'", *line);
		char **field = find_field(fields, n, into, s, (size_t)(colon - s));
		if (field) {
			*stop = '\0'; /* text[len] is ours, too */
			*field = text_trim((char *)colon + 1);
		}
		any = true;
		*line += lines;
		s = MIN(stop + 1, end);
	}
	*pos = s;
	return any;
}
