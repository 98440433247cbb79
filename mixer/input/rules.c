/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/rules.h"

#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/text.h"
#include "swupd/content/file.h"

struct rule {
	enum rule_action action;
	const char *path, *to;
};

struct rules {
	struct rule *items;
	size_t n, cap;
	struct rule *copies;
	size_t n_copies, cap_copies;
	struct digest digest;
	struct arena *arena;
};

void rules_free(struct rules *r)
{
	if (!r)
		return;
	free(r->items);
	free(r->copies);
	arena_free(r->arena);
	free(r);
}

/*
 * Does the pattern match the path? For a pattern that ends in '/': the directory itself or something below; *rest then points behind
 * what matched ("" or "/x/y").
 */
static bool matches(const char *pattern, const char *path, const char **rest)
{
	for (;; pattern++, path++) {
		if (pattern[0] == '/' && pattern[1] == '\0') {
			*rest = path;
			return *path == '\0' || *path == '/';
		}
		if (*pattern == '*') {
			for (const char *end = path;; end++) {
				if (matches(pattern + 1, end, rest))
					return true;
				if (*end == '\0' || *end == '/')
					return false;
			}
		}
		if (*pattern != *path)
			return false;
		if (*path == '\0') {
			*rest = path;
			return true;
		}
	}
}

/* What a name in a release must be; a directory's '/' and '*' are ours. */
static int check_path(const char *path, struct err *e)
{
	_cleanup_free_ char *name = xstrdup(path);
	const size_t len = strlen(name);

	if (len > 1 && name[len - 1] == '/')
		name[len - 1] = '\0';
	int r = name_check(name, e);
	return r < 0 ? err_as(e, -ERR_FORMAT) : 0;
}

static int check_words(const struct strv *w, size_t want, struct err *e)
{
	if (w->n != want)
		return err_set(e, -ERR_FORMAT, "'%s' takes %zu words, not %zu", w->items[0], want - 1, w->n - 1);
	return check_path(w->items[1], e);
}

static int parse_rule(struct rules *r, const struct strv *w, struct err *e)
{
	static const struct {
		const char *word;
		enum rule_action action;
		size_t words;
	} known[] = {
		{"drop", RULE_DROP, 2},     {"comment-only", RULE_COMMENT_ONLY, 2},
		{"expand", RULE_EXPAND, 2}, {"move", RULE_MOVE, 3},
		{"link", RULE_LINK, 3},     {"copy", RULE_KEEP, 2},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(w->items[0], known[i].word) != 0)
			continue;
		int result = check_words(w, known[i].words, e);
		if (result < 0)
			return result;
		const struct rule rule = {
			.action = known[i].action,
			.path = arena_strdup(r->arena, w->items[1]),
			.to = w->n > 2 ? arena_strdup(r->arena, w->items[2]) : NULL,
		};
		if (rule.action == RULE_MOVE && check_path(w->items[2], e) < 0)
			return -ERR_FORMAT;
		if (rule.action == RULE_MOVE && (text_ends(rule.path, "/") != text_ends(rule.to, "/")))
			return err_set(e, -ERR_FORMAT,
				       "'move' is from a directory to a directory or from a file to a file");
		if (rule.action == RULE_KEEP) {
			VEC_GROW(r->copies, r->n_copies, r->cap_copies);
			r->copies[r->n_copies++] = rule;
		} else {
			VEC_GROW(r->items, r->n, r->cap);
			r->items[r->n++] = rule;
		}
		return 0;
	}
	return err_set(e, -ERR_FORMAT, "'%s' is not a rule", w->items[0]);
}

int rules_parse(const char *text, size_t len, const char *file, struct rules **out, struct err *e)
{
	_cleanup_(rules_freep) struct rules *r = xcalloc(1, sizeof(*r));
	const char *pos = text, *line;
	size_t n;

	r->arena = arena_new();
	sha256_mem(text, len, &r->digest);
	for (unsigned number = 1; text_line(&pos, text + len, &line, &n, NULL); number++) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		_cleanup_(strv_free) struct strv words = {0};
		copy[strcspn(copy, "#")] = '\0';
		strv_split(&words, copy, " \t\r");
		int result = words.n ? parse_rule(r, &words, e) : 0;
		if (result < 0)
			return err_in(e, result, "%s:%u", file, number);
	}
	*out = take(r);
	return 0;
}

enum rule_action rules_find(const struct rules *r, const char *path, size_t *at, char **to)
{
	while (r && *at < r->n) {
		const struct rule *rule = &r->items[(*at)++];
		const char *rest;
		if (!matches(rule->path, path, &rest))
			continue;
		if (rule->action == RULE_LINK) {
			*to = xstrdup(rule->to);
		} else if (rule->action == RULE_MOVE) {
			/* "/etc/udev/" → "/usr/lib/udev/": the directory itself or what is below it */
			size_t len = strlen(rule->to) - text_ends(rule->to, "/");
			*to = xasprintf("%.*s%s", (int)len, rule->to, rest);
		}
		return rule->action;
	}
	return RULE_KEEP;
}

bool rules_copy(const struct rules *r, const char *path)
{
	const char *rest;

	for (size_t i = 0; r && i < r->n_copies; i++)
		if (matches(r->copies[i].path, path, &rest))
			return true;
	return false;
}

const struct digest *rules_digest(const struct rules *r)
{
	return r ? &r->digest : &digest_zero;
}

bool rules_match(const char *pattern, const char *path)
{
	const char *rest;

	return matches(pattern, path, &rest);
}
