/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "mixer/input/recording.h"
#include "swupd/base/err.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

#define ENTRIES_MAX  (16U << 20) /* different runs or jumps; a browser's day has some 100,000 */
#define MAPPINGS_MAX (1U << 20)
#define STACK_MAX    1024      /* hardware has 8 to 32 */
#define RUN_MAX      (1 << 20) /* longer straight runs are records that do not belong together */

void perf_samples_free(struct perf_samples *s)
{
	if (!s)
		return;
	free(s->mappings);
	free(s->runs);
	free(s->branches);
	arena_free(s->arena);
	free(s);
}

/* Each different one of a kind, found by its key. */
struct key {
	uint64_t pid, from, to;
	size_t at; /* in the list, plus 1 */
};

struct reader {
	struct perf_samples *out;
	struct table *runs, *branches;
	bool mmap_seen;
};

static struct key *key_get(struct reader *x, struct table *t, uint32_t pid, uint64_t from, uint64_t to)
{
	struct key probe = {pid, from, to, 0};
	struct key *k = table_find(t, &probe, offsetof(struct key, at));

	if (!k) {
		k = arena_alloc(x->out->arena, sizeof(*k));
		*k = probe;
		(void)table_add(t, k, offsetof(struct key, at), k);
	}
	return k;
}

static int run_add(struct reader *x, uint32_t pid, uint64_t from, uint64_t to)
{
	struct perf_samples *s = x->out;
	struct key *k = key_get(x, x->runs, pid, from, to);

	if (!k->at) {
		if (s->n_runs == ENTRIES_MAX)
			return -ERR_LIMIT;
		VEC_GROW(s->runs, s->n_runs, s->cap_runs);
		s->runs[s->n_runs++] = (struct perf_run){pid, from, to, 0};
		k->at = s->n_runs;
	}
	s->runs[k->at - 1].count++;
	return 0;
}

static int branch_add(struct reader *x, uint32_t pid, uint64_t from, uint64_t to)
{
	struct perf_samples *s = x->out;
	struct key *k = key_get(x, x->branches, pid, from, to);

	if (!k->at) {
		if (s->n_branches == ENTRIES_MAX)
			return -ERR_LIMIT;
		VEC_GROW(s->branches, s->n_branches, s->cap_branches);
		s->branches[s->n_branches++] = (struct perf_branch){pid, from, to, 0};
		k->at = s->n_branches;
	}
	s->branches[k->at - 1].count++;
	return 0;
}

/* A hexadecimal number with or without 0x at *s; false: there is none. The text ends in NUL. */
static bool hex(const char **s, uint64_t *out)
{
	char *end;

	if (!strchr("0123456789abcdef", **s) || !**s)
		return false;
	*out = strtoull(*s, &end, 16);
	*s = end;
	return true;
}

static bool literal(const char **s, const char *text)
{
	if (!text_starts(*s, text))
		return false;
	*s += strlen(text);
	return true;
}

/* The build-id that *s begins with, which is behind it then; NULL: none, as zeros are. */
static const char *build_id(struct perf_samples *p, const char **s)
{
	const char *id = *s;
	const size_t n = strspn(id, "0123456789abcdef");

	*s += n;
	return strspn(id, "0") < n ? arena_strndup(p->arena, id, n) : NULL;
}

/*
 * Behind "PERF_RECORD_MMAP2 ": "1234/1234: [0x5000(0x1000) @ 0x2000 fe:00 77 0]: r-xp /usr/bin/true", with "<build-id>" instead of device, inode and generation; behind
 * "PERF_RECORD_MMAP ": "1234/1234: [0x5000(0x1000) @ 0x2000]: x /usr/bin/true"
 */
static int mapping_parse(struct reader *x, const char *s)
{
	struct perf_samples *p = x->out;
	struct perf_mapping m = {0};
	char *end;
	long pid = strtol(s, &end, 10);

	x->mmap_seen = true;
	s = strstr(end, ": [");
	if (end == s || !s)
		return -EINVAL;
	s += strlen(": [");
	if (!hex(&s, &m.start) || !literal(&s, "(") || !hex(&s, &m.len) || !literal(&s, ") @ ") || !hex(&s, &m.offset))
		return -EINVAL;
	if (literal(&s, " <")) {
		m.build_id = build_id(p, &s);
		if (*s != '>')
			return -EINVAL;
	}
	s = strstr(s, "]: ");
	if (!s || m.len == 0 || m.start > UINT64_MAX - m.len)
		return -EINVAL;
	s += strlen("]: ");
	const char *space = strchr(s, ' ');
	if (!space)
		return -EINVAL;
	/* the kernel's is of pid -1, and what is not executed does not matter */
	if (pid < 0 || !memchr(s, 'x', (size_t)(space - s)) || space[1] != '/')
		return 0;
	if (p->n_mappings == MAPPINGS_MAX)
		return -ERR_LIMIT;
	m.pid = (uint32_t)pid;
	m.path = arena_strdup(p->arena, space + 1);
	VEC_GROW(p->mappings, p->n_mappings, p->cap_mappings);
	p->mappings[p->n_mappings++] = m;
	return 0;
}

/* "0x5123/0x5188/P/-/-/0", and more of it; s is behind it then. */
static bool jump_parse(const char **s, uint64_t *from, uint64_t *to)
{
	const char *c = *s;

	if (!text_starts(c, "0x") || !hex(&c, from) || *c != '/' || !text_starts(c + 1, "0x"))
		return false;
	c++;
	if (!hex(&c, to) || *c != '/')
		return false;
	*s = c + strcspn(c, " ");
	return true;
}

/* The jumps of a sample, the last one first: between the target of one and the next all was executed. */
static int stack_parse(struct reader *x, uint32_t pid, const char *s)
{
	uint64_t from, to, later = 0;
	unsigned n = 0;
	int r = 0;

	for (; r >= 0 && jump_parse(&s, &from, &to); s += strspn(s, " ")) {
		if (++n > STACK_MAX)
			return -ERR_LIMIT;
		r = branch_add(x, pid, from, to);
		if (r >= 0 && later >= to && n > 1 && later - to < RUN_MAX)
			r = run_add(x, pid, to, later);
		later = from;
	}
	x->out->samples += n != 0;
	return r;
}

static int perf_line(struct reader *x, const char *line)
{
	const char *s = strstr(line, "PERF_RECORD_MMAP");
	char *end;

	if (s) {
		s = strchr(s, ' ');
		return s ? mapping_parse(x, s) : -EINVAL;
	}
	if (strstr(line, "PERF_RECORD_"))
		return 0;
	line += strspn(line, " \t");
	s = strstr(line, "0x");
	/* samples without branches, and what perf says of itself */
	if (!s || (s > line && s[-1] != ' ' && s[-1] != '\t'))
		return 0;
	/* perf pads what comes first: a pid, else the event or the address */
	unsigned long pid = strtoul(line, &end, 10);
	if (end == line || (*end != ' ' && *end != '\t') || pid > INT32_MAX)
		pid = 0;
	return stack_parse(x, (uint32_t)pid, s);
}

int perf_parse(const char *text, size_t len, const char *file, struct perf_samples **out, struct err *e)
{
	_cleanup_(perf_samples_freep) struct perf_samples *p = xcalloc(1, sizeof(*p));
	_cleanup_(table_freep) struct table *runs = table_new(), *branches = table_new();
	struct reader x = {p, runs, branches, false};
	const char *pos = text, *line;
	size_t line_len, n = 0;
	int r = 0;

	p->arena = arena_new();
	while (r >= 0 && text_line(&pos, text + len, &line, &line_len, NULL)) {
		n++;
		_cleanup_free_ char *copy = xstrndup(line, line_len);
		r = perf_line(&x, copy);
	}
	if (r == -ERR_LIMIT)
		return err_set(e, r, "%s: line %zu: more branch records than can be", file, n);
	if (r < 0)
		return err_set(e, -ERR_FORMAT, "%s: line %zu: not what 'perf script' writes of a mapping", file, n);
	if (!x.mmap_seen || !p->samples) {
		err_set(e, -ERR_FORMAT, "%s: %s", file,
			x.mmap_seen ? "no sample has branch records"
				    : "neither a recording nor what 'perf script' writes");
		return err_hint(e, -ERR_FORMAT,
				"record with 'perf record -b', and write it out with 'perf script -F "
				"pid,ip,brstack,event --show-mmap-events'");
	}
	*out = take(p);
	return 0;
}

void perf_add_build_ids(struct perf_samples *s, const char *text, size_t len)
{
	_cleanup_(table_freep) struct table *ids = table_new(); /* path → build-id */
	const char *pos = text, *line;
	size_t line_len;

	while (text_line(&pos, text + len, &line, &line_len, NULL)) {
		const char *path = arena_strndup(s->arena, line, line_len), *id = build_id(s, &path);
		if (id && *path == ' ')
			(void)table_add_str(ids, path + 1, (void *)id);
	}
	for (size_t i = 0; i < s->n_mappings; i++)
		if (!s->mappings[i].build_id)
			s->mappings[i].build_id = table_find_str(ids, s->mappings[i].path);
}
