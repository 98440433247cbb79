/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/bundle.h"
#include "mixer/input/lock.h"
#include "mixer/input/package.h"
#include "mixer/step/solve.h"
#include "mixer/step/universe.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/*
 * A case is a small world in text, tests/cases/resolve/NAME.case:
 *
 *     # what it shows
 *     @repository NAME PRIORITY     then stanzas of a Packages index; Architecture, Filename, Size, SHA256 are made up when missing
 *     @bundle NAME                  then its definition
 *     @drop                         then packages.drop
 *     @keep                         then NAME VERSION: what the lock before had
 *     @expect                       then "BUNDLE: PACKAGE…" (its closure, sorted) or "PACKAGE VERSION REPOSITORY"
 *     @error                        instead: the text; @hint: its hint
 */
struct world_text {
	struct package_list *packages;
	struct bundle_set set;
	struct drop_list *drops;
	struct lock *keep;
	struct buf expect, error, hint;
};

static void digest_of(const char *repository, const char *name, const char *version, struct digest *out)
{
	_cleanup_free_ char *text = xasprintf("%s %s %s", repository, name, version);

	sha256_mem(text, strlen(text), out);
}

/* A stanza as the case has it → one that an index would have */
static void complete_stanza(const char *stanza, const char *repository, struct buf *out)
{
	_cleanup_free_ char *copy = xstrdup(stanza);
	_cleanup_free_ char *name = NULL, *version = NULL;
	char hex[DIGEST_HEX], *saved = NULL;
	struct digest digest;

	for (char *line = strtok_r(copy, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
		if (text_starts(line, "Package: "))
			name = xstrdup(line + strlen("Package: "));
		if (text_starts(line, "Version: "))
			version = xstrdup(line + strlen("Version: "));
	}
	assert_non_null(name);
	assert_non_null(version);
	digest_of(repository, name, version, &digest);
	digest_format(&digest, hex);
	buf_puts(out, stanza);
	if (!strstr(stanza, "Architecture: "))
		buf_puts(out, "Architecture: amd64\n");
	buf_printf(out, "Filename: pool/%s_%s.deb\nSize: 1\nSHA256: %s\n\n", name, version, hex);
}

static void read_repository(struct world_text *w, char *head, const char *body)
{
	_cleanup_(buf_free) struct buf index = {0};
	_cleanup_(strv_free) struct strv words = {0};
	struct err e = ERR_INIT;
	uint32_t priority;

	strv_split(&words, head, " ");
	assert_int_equal(words.n, 3);
	assert_int_equal(text_u32(words.items[2], 0, 1000, &priority), 0);
	while (*body) {
		const char *end = strstr(body, "\n\n");
		size_t len = end ? (size_t)(end - body) + 1 : strlen(body);
		_cleanup_free_ char *stanza = xstrndup(body, len);
		complete_stanza(stanza, words.items[1], &index);
		body += len;
		body += strspn(body, "\n");
	}
	buf_puts(&index, "");
	assert_ok(packages_parse(index.data, index.len, "amd64", words.items[1], priority, w->packages, &e), &e);
}

static void read_bundle(struct world_text *w, const char *name, const char *body)
{
	struct err e = ERR_INIT;
	struct bundle *b;

	assert_ok(bundle_parse(body, strlen(body), name, name, false, &b, &e), &e);
	VEC_GROW(w->set.items, w->set.n, w->set.cap);
	w->set.items[w->set.n++] = b;
}

/* "NAME VERSION", sorted: found among the packages read so far, so @keep stands behind the repositories */
static void read_keep(struct world_text *w, const char *body)
{
	_cleanup_(strv_free) struct strv words = {0};

	w->keep = lock_new();
	strv_split(&words, body, " \n");
	for (size_t i = 0; i + 1 < words.n; i += 2)
		for (size_t k = 0; k < w->packages->n; k++) {
			const struct package *p = &w->packages->items[k];
			if (strcmp(p->name, words.items[i]) != 0 || strcmp(p->version, words.items[i + 1]) != 0)
				continue;
			VEC_GROW(w->keep->packages, w->keep->n_packages, w->keep->cap_packages);
			w->keep->packages[w->keep->n_packages++] =
				(struct locked_package){.name = p->name, .version = p->version, .sha256 = p->sha256};
		}
}

static void read_section(struct world_text *w, char *head, const char *body)
{
	struct err e = ERR_INIT;

	if (text_starts(head, "repository "))
		read_repository(w, head, body);
	else if (text_starts(head, "bundle "))
		read_bundle(w, head + strlen("bundle "), body);
	else if (strcmp(head, "drop") == 0)
		assert_ok(drop_list_parse(body, strlen(body), "drop", &w->drops, &e), &e);
	else if (strcmp(head, "keep") == 0)
		read_keep(w, body);
	else if (strcmp(head, "expect") == 0)
		buf_puts(&w->expect, body);
	else if (strcmp(head, "error") == 0)
		buf_puts(&w->error, body);
	else if (strcmp(head, "hint") == 0)
		buf_puts(&w->hint, body);
	else
		fail_msg("unknown section @%s", head);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct bundle *const *)a)->name, (*(struct bundle *const *)b)->name);
}

static void world_read(struct world_text *w, const char *text)
{
	*w = (struct world_text){.packages = package_list_new()};
	for (const char *s = text[0] == '@' ? text : strstr(text, "\n@"); s;) {
		s += s[0] == '\n' ? 2 : 1;
		size_t len = strcspn(s, "\n");
		_cleanup_free_ char *head = xstrndup(s, len);
		const char *begin = s + len + (s[len] ? 1 : 0), *end = strstr(s + len, "\n@");
		_cleanup_free_ char *body = end && end < begin ? xstrdup("")
					    : end              ? xstrndup(begin, (size_t)(end - begin) + 1)
							       : xstrdup(begin);
		read_section(w, head, body);
		s = end;
	}
	if (w->set.n)
		qsort(w->set.items, w->set.n, sizeof(*w->set.items), by_name);
}

static void world_free(struct world_text *w)
{
	package_list_free(w->packages);
	bundle_set_free(&w->set);
	drop_list_free(w->drops);
	lock_free(w->keep);
	buf_free(&w->expect);
	buf_free(&w->error);
	buf_free(&w->hint);
}

static void expect_line(const char *name, const struct lock *l, char *line)
{
	_cleanup_(buf_free) struct buf got = {0};
	char *colon = strstr(line, ":");

	buf_puts(&got, "");
	if (colon && (colon[1] == ' ' || !colon[1])) {
		*colon = '\0';
		const struct locked_bundle *b = lock_find_bundle(l, line);
		if (!b) {
			fail_msg("%s: no bundle '%s'", name, line);
			return;
		}
		*colon = ':';
		buf_printf(&got, "%s:", b->name);
		for (size_t i = 0; i < b->n_packages; i++)
			buf_printf(&got, " %s", b->packages[i]);
	} else {
		_cleanup_free_ char *package = xstrndup(line, strcspn(line, " "));
		const struct locked_package *p = lock_find(l, package);
		if (!p) {
			fail_msg("%s: no package '%s'", name, package);
			return;
		}
		buf_printf(&got, "%s %s %s", p->name, p->version, p->repository);
	}
	if (strcmp(got.data, line) != 0)
		fail_msg("%s: expected '%s', got '%s'", name, line, got.data);
}

static void check_result(const char *name, const struct world_text *w, int r, struct lock *l, const struct err *e)
{
	_cleanup_(buf_free) struct buf formatted = {0};
	char *saved = NULL;

	if (w->error.len) {
		if (r != -ERR_UNRESOLVABLE || strcmp(text_trim(w->error.data), e->text) != 0)
			fail_msg("%s: expected the error '%s', got %d '%s'", name, w->error.data, r, e->text);
		if (w->hint.len && (!e->hint || strcmp(text_trim(w->hint.data), e->hint) != 0))
			fail_msg("%s: expected the hint '%s', got '%s'", name, w->hint.data, e->hint);
		return;
	}
	if (r < 0)
		fail_msg("%s: %s", name, e->text);
	if (!w->expect.len)
		fail_msg("%s has neither @expect nor @error", name);
	lock_format(l, &formatted); /* sorts */
	for (char *line = strtok_r(w->expect.data, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
		if (*line != '#')
			expect_line(name, l, line);
}

static void run_case(const char *name, const char *text)
{
	_cleanup_(lock_freep) struct lock *l = lock_new(), *again = lock_new();
	struct err e = ERR_INIT;
	struct world_text w;

	world_read(&w, text);
	struct world world = {
		.packages = w.packages, .architecture = "amd64", .bundles = &w.set, .drops = w.drops, .keep = w.keep};
	int r = solve(&world, l, &e);
	check_result(name, &w, r, l, &e);
	if (r >= 0) {
		_cleanup_(buf_free) struct buf first = {0}, second = {0};
		assert_ok(solve(&world, again, &e), &e);
		lock_format(l, &first);
		lock_format(again, &second);
		assert_string_equal(first.data, second.data);
	}
	err_clear(&e);
	world_free(&w);
}

TEST(resolve_does_what_its_cases_say)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;
	unsigned n = 0;

	assert_ok(fs_list(AT_FDCWD, "tests/cases/resolve", &names, &e), &e);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf("tests/cases/resolve/%s", names.items[i]);
		_cleanup_(buf_free) struct buf text = {0};
		if (!text_ends(path, ".case"))
			continue;
		assert_ok(fs_load(AT_FDCWD, path, 1 << 20, &text, &e), &e);
		run_case(names.items[i], text.data);
		n++;
	}
	assert_true(n >= 25);
}
