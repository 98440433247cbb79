/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/url.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define FILE_SCHEME "file://"

static bool is_escape(const char *s)
{
	return s[0] == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2]);
}

static int digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The path in a file URL, as it is spelled there; NULL: it is none, or on another host. */
static const char *spelled_path(const char *url)
{
	static const char *const hosts[] = {"", "localhost", "127.0.0.1"};
	const size_t scheme = strlen(FILE_SCHEME);

	if (strncasecmp(url, FILE_SCHEME, scheme) != 0)
		return NULL;
	url += scheme;
	const size_t len = strcspn(url, "/");
	for (size_t i = 0; url[len] && i < ARRAY_LEN(hosts); i++)
		if (strlen(hosts[i]) == len && strncasecmp(url, hosts[i], len) == 0)
			return url + len;
	return NULL;
}

char *url_path(const char *url)
{
	const char *s = spelled_path(url);
	struct buf path = {0};

	if (!s)
		return NULL;
	for (; *s; s++) {
		if (is_escape(s)) {
			buf_putc(&path, (char)(digit(s[1]) << 4 | digit(s[2])));
			s += 2;
		} else {
			buf_putc(&path, *s);
		}
	}
	return path.data;
}

/* But "/" */
static char *without_slashes(char *s)
{
	for (size_t len = strlen(s); len > 1 && s[len - 1] == '/';)
		s[--len] = '\0';
	return s;
}

char *url_normal(const char *source)
{
	_cleanup_free_ char *path = *source == '/' ? xstrdup(source) : url_path(source);
	struct buf url = {0};

	if (!path)
		return without_slashes(xstrdup(source));
	buf_printf(&url, FILE_SCHEME);
	for (const char *s = without_slashes(path); *s; s++)
		if (isalnum((unsigned char)*s) || strchr("-._~/", *s))
			buf_putc(&url, *s);
		else
			buf_printf(&url, "%%%02X", (unsigned char)*s);
	return url.data;
}
