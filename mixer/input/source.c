/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/source.h"

#include <stdbool.h>
#include <string.h>

#include "mixer/input/stanza.h"
#include "swupd/base/err.h"
#include "swupd/base/text.h"

#define BLANKS " \t\r\n"

struct source_list *source_list_new(const struct strv *names)
{
	struct source_list *l = xcalloc(1, sizeof(*l));

	l->names = names;
	l->arena = arena_new();
	return l;
}

void source_list_free(struct source_list *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].files);
	free(l->items);
	arena_free(l->arena);
	free(l);
}

struct stanza {
	char *package, *version, *directory, *extra, *depends, *depends_arch, *conflicts, *conflicts_arch, *sha256;
};

static const struct stanza_field fields[] = {
	{"Package", offsetof(struct stanza, package)},
	{"Version", offsetof(struct stanza, version)},
	{"Directory", offsetof(struct stanza, directory)},
	{"Extra-Source-Only", offsetof(struct stanza, extra)},
	{"Build-Depends", offsetof(struct stanza, depends)},
	{"Build-Depends-Arch", offsetof(struct stanza, depends_arch)},
	{"Build-Conflicts", offsetof(struct stanza, conflicts)},
	{"Build-Conflicts-Arch", offsetof(struct stanza, conflicts_arch)},
	{"Checksums-Sha256", offsetof(struct stanza, sha256)},
};

static int next(char **pos, char *end, unsigned *line, struct stanza *out, struct err *e)
{
	return stanza_next(pos, end, line, fields, ARRAY_LEN(fields), out, sizeof(*out), e);
}

/* "<sha256> <size> <name>" in lines, terminated in place. *files: the caller frees it; names lie in text. */
static int parse_files(char *text, struct source_file **files, size_t *n, struct err *e)
{
	char *saved = NULL;
	size_t cap = 0;

	for (char *hex = strtok_r(text, BLANKS, &saved); hex; hex = strtok_r(NULL, BLANKS, &saved)) {
		const char *size = strtok_r(NULL, BLANKS, &saved), *name = strtok_r(NULL, BLANKS, &saved);
		struct source_file f = {.name = name};
		if (!name || strlen(hex) != DIGEST_HEX - 1 || digest_parse(hex, &f.sha256) < 0 ||
		    text_u64(size, 1, INT64_MAX, &f.size) < 0 || !stanza_is_word(name) || strchr(name, '/') ||
		    name[0] == '.')
			return err_set(e, -ERR_FORMAT, "'%s %s %s' is no file of a source package", hex,
				       size ? size : "", name ? name : "");
		VEC_GROW(*files, *n, cap);
		(*files)[(*n)++] = f;
	}
	return *n ? 0 : err_set(e, -ERR_FORMAT, "it has no Checksums-Sha256");
}

static const char *keep(struct arena *a, const char *s)
{
	return s ? arena_strdup(a, s) : "";
}

static int add_source(const struct stanza *s, struct source_list *l, struct source_package *out, struct err *e)
{
	if (!stanza_is_word(s->version))
		return err_set(e, -ERR_FORMAT, "source '%s' has no version", s->package);
	if (!stanza_is_place(s->directory))
		return err_set(e, -ERR_FORMAT, "source '%s' has no proper Directory", s->package);
	*out = (struct source_package){
		.name = keep(l->arena, s->package),
		.version = keep(l->arena, s->version),
		.directory = keep(l->arena, s->directory),
		.depends = keep(l->arena, s->depends),
		.depends_arch = keep(l->arena, s->depends_arch),
		.conflicts = keep(l->arena, s->conflicts),
		.conflicts_arch = keep(l->arena, s->conflicts_arch),
	};
	int r = parse_files(arena_strdup(l->arena, s->sha256 ? s->sha256 : ""), &out->files, &out->n_files, e);
	if (r < 0) {
		free(out->files);
		return err_in(e, r, "source '%s'", s->package);
	}
	return 0;
}

int sources_parse(const char *text, size_t len, const char *repository, uint32_t priority, struct source_list *l,
		  struct err *e)
{
	/* not in the arena: of 55 MB some KB are wanted */
	_cleanup_(buf_free) struct buf copy = {0};
	const char *from = arena_strdup(l->arena, repository);
	unsigned line = 1;
	struct stanza s;
	int r;

	buf_add(&copy, text, len);
	char *pos = copy.data;
	while ((r = next(&pos, copy.data + len, &line, &s, e)) > 0) {
		struct source_package source;
		/* what is there for its licence only is no candidate */
		if (!stanza_is_word(s.package) || !strv_has(l->names, s.package) ||
		    (s.extra && strcmp(s.extra, "yes") == 0))
			continue;
		r = add_source(&s, l, &source, e);
		if (r < 0)
			return err_in(e, r, "before line %u", line);
		source.repository = from;
		source.priority = priority;
		VEC_GROW(l->items, l->n, l->cap);
		l->items[l->n++] = source;
	}
	return r;
}

/* --- restrictions -------------------------------------------------------------------------------------------------------- */

static bool is(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(s, word, len) == 0;
}

/* "amd64", "linux-any", "any-amd64", "any"; a name without a dash is of Linux */
static bool architecture_matches(const char *s, size_t len, const char *architecture)
{
	const char *dash = memrchr(s, '-', len);

	if (!dash)
		return is(s, len, "any") || is(s, len, architecture);
	const char *cpu = dash + 1, *os = s;
	const size_t cpu_len = len - (size_t)(cpu - s);
	const char *libc = memrchr(s, '-', (size_t)(dash - s));
	os = libc ? libc + 1 : s;
	const size_t os_len = (size_t)(dash - os);
	if (libc && !is(s, (size_t)(libc - s), "any") && !is(s, (size_t)(libc - s), "gnu"))
		return false;
	return (is(os, os_len, "any") || is(os, os_len, "linux")) &&
	       (is(cpu, cpu_len, "any") || is(cpu, cpu_len, architecture));
}

static bool profile_matches(const char *s, size_t len, const struct strv *profiles)
{
	for (size_t i = 0; i < profiles->n; i++)
		if (is(s, len, profiles->items[i]))
			return true;
	return false;
}

/* The words between brackets. *all, *any: of the words, taken as they are meant (with '!': not). */
static void judge(const char *s, size_t len, const char *architecture, const struct strv *profiles, bool *all,
		  bool *any)
{
	const char *end = s + len;

	*all = true;
	*any = false;
	while (s < end) {
		s += strspn(s, BLANKS);
		size_t n = MIN(strcspn(s, BLANKS), (size_t)(end - MIN(s, end)));
		if (n == 0)
			break;
		const bool negative = *s == '!';
		const char *word = s + negative;
		const bool match = architecture ? architecture_matches(word, n - negative, architecture)
						: profile_matches(word, n - negative, profiles);
		*all &= match != negative;
		*any |= match != negative;
		s += n;
	}
}

/* One alternative: what stands before its restrictions, and whether it concerns us. [a b] is one of them, [!a !b] none of them, <a b> <c> both or c. */
static int take_alternative(const char *s, size_t len, const char *architecture, const struct strv *profiles,
			    size_t *plain, bool *wanted, struct err *e)
{
	const char *end = s + len, *close = memchr(s, ')', len);
	const char *p = close ? close : s;
	bool listed = false, profile = false, all, any;

	*wanted = true;
	while (p < end && *p != '[' && *p != '<')
		p++;
	*plain = (size_t)(p - s);
	while (*plain && strchr(BLANKS, s[*plain - 1]))
		--*plain;
	if (!*plain)
		return err_set(e, -ERR_FORMAT, "cannot read the dependency '%.*s'", (int)len, s);
	while (p < end) {
		const bool for_profile = *p == '<';
		const char *stop = memchr(p, for_profile ? '>' : ']', (size_t)(end - p));
		if ((*p != '[' && *p != '<') || !stop)
			return err_set(e, -ERR_FORMAT, "cannot read the dependency '%.*s'", (int)len, s);
		judge(p + 1, (size_t)(stop - p - 1), for_profile ? NULL : architecture, profiles, &all, &any);
		if (for_profile) {
			listed = true;
			profile |= all;
		} else {
			*wanted &= memchr(p, '!', (size_t)(stop - p)) ? all : any;
		}
		p = stop + 1;
		p += strspn(p, BLANKS);
	}
	*wanted &= !listed || profile;
	return 0;
}

int source_depends(const char *field, const char *architecture, const struct strv *profiles, struct buf *out,
		   struct err *e)
{
	for (const char *s = field; *s;) {
		const size_t group = strcspn(s, ",");
		const char *end = s + group;
		bool first = true;
		while (s < end) {
			s += strspn(s, BLANKS);
			size_t len = MIN(strcspn(s, "|,"), (size_t)(end - MIN(s, end))), plain;
			bool wanted;
			if (len == 0)
				break;
			int r = take_alternative(s, len, architecture, profiles, &plain, &wanted, e);
			if (r < 0)
				return r;
			if (wanted) {
				buf_puts(out, first ? out->len ? ", " : "" : " | ");
				buf_add(out, s, plain);
				first = false;
			}
			s += len;
			s += *s == '|';
		}
		s = end + (*end == ',');
	}
	return 0;
}

/* --- the .dsc ------------------------------------------------------------------------------------------------------------ */

static const struct source_file *find_file(const struct source_file *files, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(files[i].name, name) == 0)
			return &files[i];
	return NULL;
}

int source_check_dsc(const char *text, size_t len, const struct source_file *files, size_t n, struct err *e)
{
	_cleanup_(buf_free) struct buf copy = {0};
	_cleanup_free_ struct source_file *named = NULL;
	size_t n_named = 0;
	unsigned line = 1;
	struct stanza s;

	/* signed in clear text: its first paragraph is the signature's, and so is what follows a line that begins as the first */
	buf_add(&copy, text, len);
	char *pos = copy.data, *end = copy.data + len;
	if (text_starts(copy.data, "-----BEGIN ")) {
		pos = strstr(copy.data, "\n\n");
		pos = pos ? pos : end;
		char *signature = strstr(pos, "\n-----BEGIN ");
		end = signature ? signature + 1 : end;
	}
	int r = next(&pos, end, &line, &s, e);
	if (r == 0)
		r = err_set(e, -ERR_FORMAT, "it is empty");
	if (r >= 0)
		r = parse_files(s.sha256 ? s.sha256 : (char[]){""}, &named, &n_named, e);
	for (size_t i = 0; r >= 0 && i < n_named; i++) {
		const struct source_file *f = find_file(files, n, named[i].name);
		if (!f || f->size != named[i].size || !digest_equal(&f->sha256, &named[i].sha256))
			return err_set(e, -ERR_DIGEST, "it names '%s' otherwise than the archive's index",
				       named[i].name);
	}
	if (r >= 0 && n_named + 1 != n)
		return err_set(e, -ERR_DIGEST, "it names %zu files, the archive's index %zu", n_named, n - 1);
	return r < 0 ? r : 0;
}
