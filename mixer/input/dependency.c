/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/package.h"

#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

#define BLANKS " \t\r\n"

static int bad(const char *s, struct err *e)
{
	return err_set(e, -ERR_FORMAT, "cannot read the dependency '%.*s'", (int)strcspn(s, ",\n"), s);
}

/* "(>= 2.36)": policy.debian, section 7.1; the single '<' and '>' of old packages include equality */
static int parse_version(const char **pos, struct dependency *d)
{
	static const struct {
		const char *text;
		enum relation relation;
	} relations[] = {{"<<", EARLIER}, {"<=", EARLIER_EQUAL}, {">>", LATER},     {">=", LATER_EQUAL},
			 {"=", EQUAL},    {"<", EARLIER_EQUAL},  {">", LATER_EQUAL}};
	const char *s = *pos + 1;

	s += strspn(s, BLANKS);
	for (size_t i = 0; i < ARRAY_LEN(relations) && d->relation == ANY_VERSION; i++) {
		if (!text_starts(s, relations[i].text))
			continue;
		d->relation = relations[i].relation;
		s += strlen(relations[i].text);
	}
	s += strspn(s, BLANKS);
	d->version = s;
	d->version_len = strcspn(s, BLANKS ")");
	s += d->version_len;
	s += strspn(s, BLANKS);
	if (*s != ')' || d->version_len == 0 || d->relation == ANY_VERSION)
		return -ERR_FORMAT;
	*pos = s + 1;
	return 0;
}

int dependency_next(const char **pos, struct dependency *out, struct err *e)
{
	const char *s = *pos + strspn(*pos, BLANKS ","), *begin = s;
	struct dependency d = {.name = s};

	if (!*s)
		return 0;
	d.name_len = strcspn(s, BLANKS ",|():[<");
	s += d.name_len;
	if (d.name_len == 0)
		return bad(begin, e);
	if (*s == ':') {
		d.qualifier = ++s;
		d.qualifier_len = strcspn(s, BLANKS ",|():[<");
		s += d.qualifier_len;
		if (d.qualifier_len == 0)
			return bad(begin, e);
	}
	s += strspn(s, BLANKS);
	if (*s == '(' && parse_version(&s, &d) < 0)
		return bad(begin, e);
	s += strspn(s, BLANKS);
	d.more = *s == '|';
	/* architecture and profile lists belong to source packages; here they would be guessed at */
	if (*s && *s != '|' && *s != ',')
		return bad(begin, e);
	s += *s ? 1 : 0;
	if (d.more && (s[strspn(s, BLANKS)] == '\0' || s[strspn(s, BLANKS)] == ','))
		return bad(begin, e);
	*out = d;
	*pos = s;
	return 1;
}

struct drop {
	char *name;
	struct strv from; /* empty: whoever wants it */
};

struct drop_list {
	struct drop *items; /* sorted by name, each name once */
	size_t n, cap;
};

void drop_list_free(struct drop_list *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++) {
		free(d->items[i].name);
		strv_free(&d->items[i].from);
	}
	free(d->items);
	free(d);
}

static int compare_name(const struct drop *d, const char *name, size_t len)
{
	int r = strncmp(d->name, name, len);

	return r ? r : d->name[len] != '\0';
}

/* The index of name, or where it would stand */
static size_t position(const struct drop_list *d, const char *name, size_t len, bool *found)
{
	size_t low = 0, high = d->n;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = compare_name(&d->items[middle], name, len);
		if (r == 0) {
			*found = true;
			return middle;
		}
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void add(struct drop_list *d, const struct strv *words)
{
	bool found;
	size_t at = position(d, words->items[0], strlen(words->items[0]), &found);

	if (!found) {
		VEC_GROW(d->items, d->n, d->cap);
		memmove(&d->items[at + 1], &d->items[at], (d->n - at) * sizeof(*d->items));
		d->items[at] = (struct drop){.name = xstrdup(words->items[0])};
		d->n++;
	}
	struct drop *drop = &d->items[at];
	bool everybody = words->n == 1 || (found && drop->from.n == 0);
	if (everybody)
		strv_free(&drop->from);
	for (size_t i = 2; i < words->n && !everybody; i++)
		strv_add(&drop->from, words->items[i]);
	strv_sort_unique(&drop->from);
}

int drop_list_parse(const char *text, size_t len, const char *file, struct drop_list **out, struct err *e)
{
	_cleanup_(drop_list_freep) struct drop_list *d = xcalloc(1, sizeof(*d));
	const char *pos = text, *line;
	size_t n;

	for (unsigned number = 1; text_line(&pos, text + len, &line, &n, NULL); number++) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		_cleanup_(strv_free) struct strv words = {0};
		copy[strcspn(copy, "#")] = '\0';
		strv_split(&words, copy, BLANKS);
		if (words.n == 0)
			continue;
		if (words.n == 2 || (words.n > 2 && strcmp(words.items[1], "from") != 0))
			return err_set(e, -ERR_CONFIG, "%s:%u: a line is 'NAME' or 'NAME from PACKAGE…'", file, number);
		add(d, &words);
	}
	*out = take(d);
	return 0;
}

bool drop_list_has(const struct drop_list *d, const char *name, size_t name_len, const char *wanted_by)
{
	bool found;

	if (!d)
		return false;
	size_t at = position(d, name, name_len, &found);
	return found && (d->items[at].from.n == 0 || strv_has(&d->items[at].from, wanted_by));
}

void drop_list_format(const struct drop_list *d, struct buf *out)
{
	for (size_t i = 0; d && i < d->n; i++) {
		_cleanup_free_ char *from = strv_join(&d->items[i].from, " ");
		buf_printf(out, "%s from %s\n", d->items[i].name, from);
	}
}
