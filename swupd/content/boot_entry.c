/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/boot_entry.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SUFFIX    ".conf"
#define COMMENT   "# kernel "
#define ROOTFLAGS "rootflags="
#define SUBVOL    "subvol="

static bool ends_in_conf(const char *file)
{
	const size_t len = strlen(file), suffix = strlen(SUFFIX);

	return len > suffix && strcasecmp(file + len - suffix, SUFFIX) == 0;
}

/* A number without leading zeros at *s; *s goes behind it. */
static bool take_number(const char **s, uint64_t max, uint64_t *out)
{
	const size_t len = strspn(*s, "0123456789");

	if (len == 0 || (len > 1 && **s == '0') || text_u64_n(*s, len, 0, max, out) < 0)
		return false;
	*s += len;
	return true;
}

bool boot_name_parse(const char *file, const char *id, struct boot_name *out)
{
	const size_t len = strlen(id);
	struct boot_name n = {0};
	uint64_t release, left = 0, done = 0;

	if (strncasecmp(file, id, len) != 0 || file[len] != '-' || !ends_in_conf(file))
		return false;
	const char *s = file + len + 1;
	if (!take_number(&s, INT32_MAX, &release) || release == 0)
		return false;
	if (*s == '+') {
		s++;
		n.counted = true;
		if (!take_number(&s, BOOT_TRIES_MAX, &left))
			return false;
		if (*s == '-' && (s++, !take_number(&s, BOOT_TRIES_MAX, &done)))
			return false;
	}
	if (strcasecmp(s, SUFFIX) != 0)
		return false;
	n.release = (uint32_t)release;
	n.left = (unsigned)left;
	n.done = (unsigned)done;
	*out = n;
	return true;
}

char *boot_name_format(const struct boot_name *n, const char *id)
{
	if (!n->counted)
		return xasprintf("%s-%u" SUFFIX, id, n->release);
	if (n->done == 0)
		return xasprintf("%s-%u+%u" SUFFIX, id, n->release, n->left);
	return xasprintf("%s-%u+%u-%u" SUFFIX, id, n->release, n->left, n->done);
}

char *boot_name_plain(const char *file)
{
	char *plain = xstrndup(file, strlen(file) - (ends_in_conf(file) ? strlen(SUFFIX) : 0));
	char *plus = strrchr(plain, '+');

	/* the last '+' and what follows, if it is tries */
	if (plus && plus != plain && isdigit((unsigned char)plus[1]) &&
	    plus[1 + strspn(plus + 1, "0123456789-")] == '\0')
		*plus = '\0';
	return plain;
}

void boot_text_clear(struct boot_text *t)
{
	free(t->kernel);
	free(t->title);
	free(t->linux_);
	free(t->sort_key);
	free(t->options);
	strv_free(&t->initrds);
	strv_free(&t->paths);
	*t = (struct boot_text){0};
}

static void replace(char **field, const char *value)
{
	free(*field);
	*field = xstrdup(value);
}

/* several lines are one command line */
static void add_options(struct boot_text *t, const char *value)
{
	_cleanup_free_ char *before = take(t->options);

	t->options = before ? xasprintf("%s %s", before, value) : xstrdup(value);
}

static void take_line(struct boot_text *t, char *line)
{
	if (text_starts(line, COMMENT)) {
		replace(&t->kernel, text_trim(line + strlen(COMMENT)));
		return;
	}
	char *value = line + strcspn(line, " \t");
	if (*line == '#' || !*value)
		return;
	*value++ = '\0';
	value = text_trim(value);
	if (strcmp(line, "linux") == 0)
		replace(&t->linux_, value);
	else if (strcmp(line, "initrd") == 0)
		strv_add(&t->initrds, value);
	else if (strcmp(line, "title") == 0)
		replace(&t->title, value);
	else if (strcmp(line, "sort-key") == 0)
		replace(&t->sort_key, value);
	else if (strcmp(line, "options") == 0)
		add_options(t, value);
	else if (strcmp(line, "version") == 0 && text_u32(value, 1, INT32_MAX, &t->version) < 0)
		t->version = 0;
	/* whatever key it has: some take several files */
	if (strcmp(line, "options") != 0 && strcmp(line, "title") != 0)
		strv_split(&t->paths, value, " \t");
}

void boot_text_parse(const char *text, size_t len, struct boot_text *out)
{
	const char *pos = text, *end = text + len, *line;
	size_t n;

	*out = (struct boot_text){0};
	while (text_line(&pos, end, &line, &n, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		take_line(out, text_trim(copy));
	}
}

void boot_text_format(const struct boot_text *t, struct buf *out)
{
	if (t->kernel)
		buf_printf(out, COMMENT "%s\n", t->kernel);
	buf_printf(out, "title %s\nversion %u\nsort-key %s\nlinux %s\n", t->title, t->version, t->sort_key, t->linux_);
	for (size_t i = 0; i < t->initrds.n; i++)
		buf_printf(out, "initrd %s\n", t->initrds.items[i]);
	buf_printf(out, "options %s\n", t->options ? t->options : "");
}

char *boot_options_subvolume(const char *options)
{
	_cleanup_(strv_free) struct strv words = {0};
	char *found = NULL;

	strv_split(&words, options ? options : "", " \t");
	/* the last one counts, as in the kernel */
	for (size_t i = 0; i < words.n; i++) {
		_cleanup_(strv_free) struct strv flags = {0};
		if (!text_starts(words.items[i], ROOTFLAGS))
			continue;
		freep(&found);
		found = NULL;
		strv_split(&flags, words.items[i] + strlen(ROOTFLAGS), ",");
		for (size_t k = 0; k < flags.n; k++)
			if (text_starts(flags.items[k], SUBVOL))
				replace(&found, flags.items[k] + strlen(SUBVOL));
	}
	return found;
}

/* rootflags= with subvol= in the place of what it has of that */
static char *flags_with_subvolume(const char *word, const char *subvolume)
{
	_cleanup_(strv_free) struct strv flags = {0}, out = {0};
	_cleanup_free_ char *joined = NULL;

	strv_split(&flags, word + strlen(ROOTFLAGS), ",");
	strv_take(&out, xasprintf(SUBVOL "%s", subvolume));
	for (size_t i = 0; i < flags.n; i++)
		if (!text_starts(flags.items[i], SUBVOL) && !text_starts(flags.items[i], "subvolid="))
			strv_add(&out, flags.items[i]);
	joined = strv_join(&out, ",");
	return xasprintf(ROOTFLAGS "%s", joined);
}

char *boot_options_with_subvolume(const char *options, const char *subvolume)
{
	_cleanup_(strv_free) struct strv words = {0}, out = {0};
	bool done = false;

	strv_split(&words, options ? options : "", " \t");
	for (size_t i = 0; i < words.n; i++) {
		if (text_starts(words.items[i], ROOTFLAGS)) {
			strv_take(&out, flags_with_subvolume(words.items[i], subvolume));
			done = true;
		} else {
			strv_add(&out, words.items[i]);
		}
	}
	if (!done)
		strv_take(&out, xasprintf(ROOTFLAGS SUBVOL "%s", subvolume));
	return strv_join(&out, " ");
}
