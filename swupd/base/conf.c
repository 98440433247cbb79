/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/conf.h"

#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static int parse_line(char *line, char **section, conf_fn *fn, void *arg, struct err *e)
{
	size_t len = strlen(line);

	if (line[0] == '[') {
		if (line[len - 1] != ']')
			return err_set(e, -ERR_CONFIG, "a section heading must end in ']'");
		line[len - 1] = '\0';
		free(*section);
		*section = xstrdup(text_trim(line + 1));
		return 0;
	}
	char *equals = strchr(line, '=');
	if (!equals)
		return err_set(e, -ERR_CONFIG, "'%s' is neither 'key = value' nor a [section] nor a # comment", line);
	*equals = '\0';
	const char *key = text_trim(line), *value = text_trim(equals + 1);
	if (!*key)
		return err_set(e, -ERR_CONFIG, "a key is missing before '='");
	return fn(arg, *section, key, value, e);
}

int conf_parse(const char *text, size_t len, const char *name, conf_fn *fn, void *arg, struct err *e)
{
	_cleanup_free_ char *section = xstrdup("");
	const char *pos = text, *line;
	size_t n;

	for (unsigned number = 1; text_line(&pos, text + len, &line, &n, NULL); number++) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		char *s = text_trim(copy);
		int r = 0;
		if (memchr(line, '\0', n))
			r = err_set(e, -ERR_CONFIG, "the line has a NUL byte");
		else if (*s && *s != '#' && *s != ';')
			r = parse_line(s, &section, fn, arg, e);
		if (r < 0)
			return err_in(e, r, "%s:%u", name, number);
	}
	return 0;
}

char *conf_title(const char *text, size_t len)
{
	const char *pos = text, *line;
	size_t n;

	while (text_line(&pos, text + len, &line, &n, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		if (copy[0] == '#' && !strstr(copy, "SPDX-License-Identifier"))
			return xstrdup(text_trim(copy + 1));
	}
	return xstrdup("");
}
