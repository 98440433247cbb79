/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/journal.h"

#include <errno.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/digest.h"

#define FIRST_LINE "swupd-journal 1\n"

static const char *const words[] = {"put", "dir", "del", "mark", "unmark", "keep", "forget"};
static const char kinds[] = ".FDL";

struct journal *journal_new(uint32_t from, uint32_t to)
{
	struct journal *j = xcalloc(1, sizeof(*j));

	j->from = from;
	j->to = to;
	j->arena = arena_new();
	return j;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	arena_free(j->arena);
	free(j->steps);
	free(j);
}

void journal_add(struct journal *j, const struct journal_step *s)
{
	VEC_GROW(j->steps, j->n, j->cap);
	struct journal_step *copy = &j->steps[j->n++];
	*copy = *s;
	copy->target = arena_strdup(j->arena, s->target);
	copy->prepared = s->prepared ? arena_strdup(j->arena, s->prepared) : NULL;
}

void journal_format(const struct journal *j, struct buf *out)
{
	struct digest sum;
	char hex[DIGEST_HEX];
	size_t start = out->len;

	buf_printf(out, FIRST_LINE "release\t%u\t%u\n", j->from, j->to);
	for (size_t i = 0; i < j->n; i++) {
		const struct journal_step *s = &j->steps[i];
		buf_printf(out, "%s\t", words[s->kind]);
		if (s->kind == STEP_PUT)
			buf_printf(out, "%c\t%s\t", kinds[s->attrs.kind], s->prepared);
		else if (s->kind == STEP_DIR)
			buf_printf(out, "%o\t%u\t%u\t", s->attrs.mode, s->attrs.uid, s->attrs.gid);
		buf_printf(out, "%s\n", s->target);
	}
	sha256_mem(out->data + start, out->len - start, &sum);
	digest_format(&sum, hex);
	buf_printf(out, "end\t%s\n", hex);
}

DEFINE_CLEANUP(struct journal *, journal_free);

/* A path of ours is relative and passes name_check as an absolute one. */
static int check_path(const char *path, struct err *e)
{
	_cleanup_free_ char *absolute = xasprintf("/%s", path);

	return name_check(absolute, e);
}

static int parse_put(char **field, struct journal_step *s, struct err *e)
{
	const char *kind = strlen(field[1]) == 1 ? strchr("FDL", *field[1]) : NULL;

	if (!kind)
		return err_set(e, -ERR_FORMAT, "unknown kind '%s'", field[1]);
	s->attrs.kind = (enum file_kind)(strchr(kinds, *kind) - kinds);
	s->prepared = field[2];
	s->target = field[3];
	int r = check_path(s->prepared, e);
	return r < 0 ? r : check_path(s->target, e);
}

static int parse_dir(char **field, struct journal_step *s, struct err *e)
{
	uint32_t mode = 0;

	for (const char *c = field[1]; *c; c++) {
		if (*c < '0' || *c > '7' || mode > 07777)
			return err_set(e, -ERR_FORMAT, "'%s' is not a mode", field[1]);
		mode = mode * 8 + (uint32_t)(*c - '0');
	}
	s->attrs.kind = KIND_DIR;
	s->attrs.mode = mode;
	if (mode > 07777 || text_u32(field[2], 0, UINT32_MAX, &s->attrs.uid) < 0 ||
	    text_u32(field[3], 0, UINT32_MAX, &s->attrs.gid) < 0)
		return err_set(e, -ERR_FORMAT, "bad attributes");
	s->target = field[4];
	return check_path(s->target, e);
}

static int parse_step(char *line, struct journal_step *s, struct err *e)
{
	static const size_t fields_of[] = {4, 5, 2, 2, 2, 2, 2};
	char *field[5] = {0};
	size_t n = 0;

	for (char *rest = line; rest && n < ARRAY_LEN(field);)
		field[n++] = strsep(&rest, "\t");
	for (size_t k = 0; n > 0 && k < ARRAY_LEN(words); k++) {
		if (strcmp(field[0], words[k]) != 0)
			continue;
		if (n != fields_of[k])
			return err_set(e, -ERR_FORMAT, "%zu fields", n);
		s->kind = (enum step_kind)k;
		if (s->kind == STEP_PUT)
			return parse_put(field, s, e);
		if (s->kind == STEP_DIR)
			return parse_dir(field, s, e);
		s->target = field[1];
		return s->kind == STEP_MARK || s->kind == STEP_UNMARK ? bundle_name_check(s->target, e)
								      : check_path(s->target, e);
	}
	return err_set(e, -ERR_FORMAT, "unknown step '%s'", line);
}

/* The last line must be the sum of all before it: a journal is whole or it is none. */
static int check_sum(const char *text, size_t len, size_t *body, struct err *e)
{
	struct digest want, got;
	const size_t tail = strlen("end\t") + DIGEST_HEX - 1 + 1;

	if (len < tail || text[len - 1] != '\n' || memcmp(text + len - tail, "end\t", 4) != 0 ||
	    digest_parse(text + len - tail + 4, &want) < 0)
		return err_set(e, -ERR_FORMAT, "the last line is missing");
	*body = len - tail;
	sha256_mem(text, *body, &got);
	return digest_equal(&want, &got) ? 0 : err_set(e, -ERR_FORMAT, "the checksum is wrong");
}

int journal_parse(const char *text, size_t len, struct journal **out, struct err *e)
{
	_cleanup_(journal_freep) struct journal *j = journal_new(0, 0);
	const char *pos = text, *line;
	size_t n, body = 0;
	unsigned number = 1;
	int r = check_sum(text, len, &body, e);

	for (; r >= 0 && text_line(&pos, text + body, &line, &n, NULL); number++) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		struct journal_step s = {0};
		if (number == 1) {
			if (n + 1 != strlen(FIRST_LINE) || memcmp(line, FIRST_LINE, n) != 0)
				r = err_set(e, -ERR_FORMAT, "it is not one, or a newer version's");
		} else if (number == 2) {
			_cleanup_(strv_free) struct strv f = {0};
			strv_split(&f, copy, "\t");
			if (f.n != 3 || strcmp(f.items[0], "release") != 0 ||
			    text_u32(f.items[1], 0, UINT32_MAX, &j->from) < 0 ||
			    text_u32(f.items[2], 1, UINT32_MAX, &j->to) < 0)
				r = err_set(e, -ERR_FORMAT, "the release line is wrong");
		} else {
			r = parse_step(copy, &s, e);
			if (r >= 0)
				journal_add(j, &s);
		}
		if (r < 0)
			return err_in(e, r, "journal:%u", number);
	}
	if (r >= 0 && number < 3)
		r = err_set(e, -ERR_FORMAT, "its first lines are missing");
	if (r < 0)
		return err_in(e, r, "journal");
	*out = take(j);
	return 0;
}
