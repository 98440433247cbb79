/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/profile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"

#define TEXT_MAX  (64UL << 20) /* the profile of a browser has 30 MB */
#define DEPTH_MAX 64           /* compilers inline some twenty deep */
#define WORD_MAX  8192         /* names of C++ templates */

struct profile *profile_new(void)
{
	struct profile *p = xcalloc(1, sizeof(*p));

	p->arena = arena_new();
	return p;
}

static void line_clear(struct profile_line *l)
{
	free(l->targets);
}

void profile_function_clear(struct profile_function *f)
{
	for (size_t i = 0; i < f->n_lines; i++)
		line_clear(&f->lines[i]);
	for (size_t i = 0; i < f->n_calls; i++)
		profile_function_clear(&f->calls[i]);
	free(f->lines);
	free(f->calls);
}

void profile_free(struct profile *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_origins; i++) {
		free(p->origins[i].build_id);
		free(p->origins[i].source);
		free(p->origins[i].workload);
		free(p->origins[i].by);
	}
	for (size_t i = 0; i < p->n_functions; i++)
		profile_function_clear(&p->functions[i]);
	free(p->origins);
	free(p->functions);
	arena_free(p->arena);
	free(p);
}

static void drop_targets(struct profile_function *f)
{
	for (size_t i = 0; i < f->n_lines; i++)
		f->lines[i].n_targets = 0;
	for (size_t i = 0; i < f->n_calls; i++)
		drop_targets(&f->calls[i]);
}

void profile_drop_targets(struct profile *p)
{
	for (size_t i = 0; i < p->n_functions; i++)
		drop_targets(&p->functions[i]);
}

/* --- making one ---------------------------------------------------------------------------------------------------------- */

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

const char *profile_name(struct profile *p, const char *name, size_t len)
{
	const char *dot = len > 1 ? memchr(name + 1, '.', len - 1) : NULL;

	return arena_strndup(p->arena, name, dot ? (size_t)(dot - name) : len);
}

struct profile_function *profile_add(struct profile *p, const char *name)
{
	VEC_GROW(p->functions, p->n_functions, p->cap_functions);
	p->functions[p->n_functions] = (struct profile_function){.name = name};
	return &p->functions[p->n_functions++];
}

struct profile_line *profile_line_add(struct profile_function *f, struct profile_place place, uint64_t count)
{
	VEC_GROW(f->lines, f->n_lines, f->cap_lines);
	f->lines[f->n_lines] = (struct profile_line){.place = place, .count = count};
	return &f->lines[f->n_lines++];
}

void profile_target_add(struct profile_line *l, const char *name, uint64_t count)
{
	VEC_GROW(l->targets, l->n_targets, l->cap_targets);
	l->targets[l->n_targets++] = (struct profile_target){name, count};
}

struct profile_function *profile_call_add(struct profile_function *f, struct profile_place place, const char *name)
{
	VEC_GROW(f->calls, f->n_calls, f->cap_calls);
	f->calls[f->n_calls] = (struct profile_function){.name = name, .place = place};
	return &f->calls[f->n_calls++];
}

static int place_compare(const struct profile_place *a, const struct profile_place *b)
{
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->discriminator < b->discriminator ? -1 : a->discriminator > b->discriminator;
}

static int by_place(const void *a, const void *b)
{
	const struct profile_line *x = a, *y = b;

	return place_compare(&x->place, &y->place);
}

static int by_place_and_name(const void *a, const void *b)
{
	const struct profile_function *x = a, *y = b;
	int r = place_compare(&x->place, &y->place);

	return r ? r : strcmp(x->name, y->name);
}

static int by_target(const void *a, const void *b)
{
	const struct profile_target *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void targets_fold(struct profile_line *l)
{
	size_t n = 0;

	qsort(l->targets, l->n_targets, sizeof(*l->targets), by_target);
	for (size_t i = 0; i < l->n_targets; i++)
		if (n && strcmp(l->targets[n - 1].name, l->targets[i].name) == 0)
			l->targets[n - 1].count = sum(l->targets[n - 1].count, l->targets[i].count);
		else
			l->targets[n++] = l->targets[i];
	l->n_targets = n;
}

static void lines_fold(struct profile_function *f, enum profile_join join)
{
	size_t n = 0;

	if (f->n_lines)
		qsort(f->lines, f->n_lines, sizeof(*f->lines), by_place);
	for (size_t i = 0; i < f->n_lines; i++) {
		struct profile_line *last = n ? &f->lines[n - 1] : NULL, *now = &f->lines[i];
		if (!last || place_compare(&last->place, &now->place) != 0) {
			f->lines[n++] = *now;
			continue;
		}
		last->count = join == PROFILE_SUM ? sum(last->count, now->count) : MAX(last->count, now->count);
		for (size_t k = 0; k < now->n_targets; k++)
			profile_target_add(last, now->targets[k].name, now->targets[k].count);
		line_clear(now);
	}
	f->n_lines = n;
	for (size_t i = 0; i < n; i++)
		if (f->lines[i].n_targets)
			targets_fold(&f->lines[i]);
}

/* All that from has goes behind what into has; from is empty then. */
static void function_take(struct profile_function *into, struct profile_function *from)
{
	into->head = sum(into->head, from->head);
	for (size_t i = 0; i < from->n_lines; i++) {
		VEC_GROW(into->lines, into->n_lines, into->cap_lines);
		into->lines[into->n_lines++] = from->lines[i];
	}
	for (size_t i = 0; i < from->n_calls; i++) {
		VEC_GROW(into->calls, into->n_calls, into->cap_calls);
		into->calls[into->n_calls++] = from->calls[i];
	}
	free(from->lines);
	free(from->calls);
}

/* functions[0..n), sorted: those that compare equal become one. Returns how many are left. */
static size_t functions_join(struct profile_function *functions, size_t n, int (*compare)(const void *, const void *))
{
	size_t left = 0;

	if (n)
		qsort(functions, n, sizeof(*functions), compare);
	for (size_t i = 0; i < n; i++)
		if (left && compare(&functions[left - 1], &functions[i]) == 0)
			function_take(&functions[left - 1], &functions[i]);
		else
			functions[left++] = functions[i];
	return left;
}

void profile_function_fold(struct profile_function *f, enum profile_join join)
{
	lines_fold(f, join);
	f->n_calls = functions_join(f->calls, f->n_calls, by_place_and_name);
	f->total = 0;
	for (size_t i = 0; i < f->n_lines; i++)
		f->total = sum(f->total, f->lines[i].count);
	for (size_t i = 0; i < f->n_calls; i++) {
		profile_function_fold(&f->calls[i], join);
		f->total = sum(f->total, f->calls[i].total);
	}
}

static int by_name(const void *a, const void *b)
{
	const struct profile_function *x = a, *y = b;

	return strcmp(x->name, y->name);
}

void profile_fold(struct profile *p)
{
	p->n_functions = functions_join(p->functions, p->n_functions, by_name);
	for (size_t i = 0; i < p->n_functions; i++)
		profile_function_fold(&p->functions[i], PROFILE_SUM);
}

uint64_t profile_total(const struct profile *p)
{
	uint64_t total = 0;

	for (size_t i = 0; i < p->n_functions; i++)
		total = sum(total, p->functions[i].total);
	return total;
}

/* --- the text ------------------------------------------------------------------------------------------------------------ */

struct parser {
	struct profile *profile;
	struct profile_function *open[DEPTH_MAX]; /* the function, and what is inlined in it, that lines belong to */
	size_t depth;
	bool ours; /* begins with our comment */
};

/* The number at *s, of which *s is behind then. */
static int number(const char **s, const char *end, uint64_t max, uint64_t *out)
{
	const char *from = *s;

	while (*s < end && **s >= '0' && **s <= '9')
		++*s;
	return text_u64_n(from, (size_t)(*s - from), 0, max, out);
}

static int place_parse(const char **s, const char *end, struct profile_place *out)
{
	uint64_t line, discriminator = 0;
	int r = number(s, end, UINT16_MAX, &line);

	if (r >= 0 && *s < end && **s == '.') {
		++*s;
		r = number(s, end, UINT32_MAX, &discriminator);
	}
	if (r < 0 || end - *s < 3 || **s != ':' || (*s)[1] != ' ')
		return -EINVAL;
	*s += 2;
	*out = (struct profile_place){(uint32_t)line, (uint32_t)discriminator};
	return 0;
}

/* NAME:COUNT between s and end: the number is behind the last colon, so that any name may have one. */
static int named_count(struct profile *p, const char *s, const char *end, const char **name, uint64_t *count)
{
	const char *colon = end > s ? memrchr(s, ':', (size_t)(end - s)) : NULL;

	if (!colon || colon == s || colon - s > WORD_MAX)
		return -EINVAL;
	int r = text_u64_n(colon + 1, (size_t)(end - colon - 1), 0, UINT64_MAX, count);
	for (const char *c = s; r >= 0 && c < colon; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			r = -EINVAL;
	if (r >= 0)
		*name = profile_name(p, s, (size_t)(colon - s));
	return r;
}

/* "COUNT TARGET:COUNT…" */
static int sample_parse(struct parser *x, struct profile_function *f, struct profile_place place, const char *s,
			const char *end)
{
	uint64_t count;
	int r = number(&s, end, UINT64_MAX, &count);
	if (r < 0)
		return r;
	struct profile_line *l = profile_line_add(f, place, count);
	while (r >= 0 && s < end) {
		const char *name;
		if (*s++ != ' ')
			return -EINVAL;
		const char *next = memchr(s, ' ', (size_t)(end - s));
		r = named_count(x->profile, s, next ? next : end, &name, &count);
		if (r >= 0)
			profile_target_add(l, name, count);
		s = next ? next : end;
	}
	return r;
}

static int body_parse(struct parser *x, size_t depth, const char *s, const char *end)
{
	struct profile_place place;
	const char *name;
	uint64_t count;

	/* what clang adds about a function's shape is of another compiler's making */
	if (*s == '!')
		return 0;
	if (depth > x->depth)
		return -EINVAL;
	int r = place_parse(&s, end, &place);
	if (r < 0)
		return r;
	x->depth = depth;
	if (*s >= '0' && *s <= '9')
		return sample_parse(x, x->open[depth - 1], place, s, end);
	r = named_count(x->profile, s, end, &name, &count);
	if (r < 0)
		return r;
	if (depth == DEPTH_MAX)
		return -ERR_LIMIT;
	x->open[depth] = profile_call_add(x->open[depth - 1], place, name);
	x->depth = depth + 1;
	return 0;
}

/* NAME:TOTAL:HEAD */
static int function_parse(struct parser *x, const char *s, const char *end)
{
	const char *colon = memrchr(s, ':', (size_t)(end - s));
	const char *name;
	uint64_t head, total;

	if (!colon)
		return -EINVAL;
	int r = text_u64_n(colon + 1, (size_t)(end - colon - 1), 0, UINT64_MAX, &head);
	if (r >= 0)
		r = named_count(x->profile, s, colon, &name, &total);
	if (r < 0)
		return r;
	x->open[0] = profile_add(x->profile, name);
	x->open[0]->head = head;
	x->depth = 1;
	return 0;
}

static int recorded_parse(struct profile_origin *o, char *rest)
{
	struct tm tm = {0};
	char *s = strptime(rest, "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (!s || !text_starts(s, " workload "))
		return -EINVAL;
	s += strlen(" workload ");
	char *by = strstr(s, " by ");
	if (!by || (strcmp(by + 4, "qemu") != 0 && strcmp(by + 4, "perf") != 0))
		return -EINVAL;
	*by = '\0';
	uint8_t hash[32];
	if (strcmp(s, "-") != 0 && text_unhex(s, hash, sizeof(hash)) < 0)
		return -EINVAL;
	free(o->workload);
	free(o->by);
	o->recorded = timegm(&tm);
	o->workload = xstrdup(s);
	o->by = xstrdup(by + 4);
	return 0;
}

/* What stands behind "# ", of which a profile that is not ours may have anything. */
static int comment_parse(struct parser *x, char *s)
{
	struct profile *p = x->profile;
	struct profile_origin *o = p->n_origins ? &p->origins[p->n_origins - 1] : NULL;

	if (text_starts(s, "limpid-profile ")) {
		x->ours = true;
		return strcmp(s + strlen("limpid-profile "), "1") == 0 ? 0 : -EINVAL;
	}
	if (!x->ours)
		return 0;
	if (text_starts(s, "build-id ")) {
		s += strlen("build-id ");
		if (!*s || s[strspn(s, "0123456789abcdef")] || strlen(s) > 128)
			return -EINVAL;
		VEC_GROW(p->origins, p->n_origins, p->cap_origins);
		p->origins[p->n_origins++] = (struct profile_origin){.build_id = xstrdup(s),
								     .source = xstrdup("-"),
								     .workload = xstrdup("-"),
								     .by = xstrdup("perf"),
								     .weight = 1000};
		return 0;
	}
	if (text_starts(s, "source ") && o) {
		free(o->source);
		o->source = xstrdup(s + strlen("source "));
		return 0;
	}
	if (text_starts(s, "recorded ") && o)
		return recorded_parse(o, s + strlen("recorded "));
	if (text_starts(s, "weight ") && o) {
		char *space = strchr(s + strlen("weight "), ' ');
		if (!space || !text_starts(space, " generation "))
			return -EINVAL;
		*space = '\0';
		int r = text_u32(s + strlen("weight "), 0, 1000, &o->weight);
		return r < 0 ? r : text_u32(space + strlen(" generation "), 0, UINT16_MAX, &o->generation);
	}
	return 0;
}

static int line_parse(struct parser *x, const char *line, size_t len)
{
	size_t depth = 0;

	if (len && line[len - 1] == '\r')
		return -EINVAL;
	while (depth < len && line[depth] == ' ')
		depth++;
	if (depth == len)
		return 0;
	if (line[0] == '#') {
		_cleanup_free_ char *text = xstrndup(line, len);
		return len > 2 && line[1] == ' ' ? comment_parse(x, text + 2) : 0;
	}
	return depth ? body_parse(x, depth, line + depth, line + len) : function_parse(x, line, line + len);
}

int profile_parse(const char *text, size_t len, const char *file, struct profile **out, struct err *e)
{
	_cleanup_(profile_freep) struct profile *p = profile_new();
	struct parser x = {.profile = p};
	const char *pos = text, *line;
	size_t line_len, n = 0;
	int r = 0;

	if (len > TEXT_MAX)
		return err_set(e, -ERR_LIMIT, "%s: a profile of more than %lu MiB", file, TEXT_MAX >> 20);
	if (len && memchr(text, '\0', len))
		return err_set(e, -ERR_FORMAT, "%s: not a profile", file);
	while (r >= 0 && text_line(&pos, text + len, &line, &line_len, NULL)) {
		n++;
		r = line_parse(&x, line, line_len);
	}
	if (r == -ERR_LIMIT)
		return err_set(e, r, "%s: line %zu: more than %d functions inside each other", file, n, DEPTH_MAX);
	if (r < 0) {
		err_set(e, -ERR_FORMAT, "%s: line %zu: not a line of a profile", file, n);
		return err_hint(e, -ERR_FORMAT,
				"profile(5) has the format; 'mixer profile import' reads what perf and QEMU record");
	}
	profile_fold(p);
	*out = take(p);
	return 0;
}

int profile_load(const char *path, struct profile **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	int r = fs_load(AT_FDCWD, path, TEXT_MAX, &text, e);

	if (r < 0)
		return r;
	return profile_parse(text.data ? text.data : "", text.len, path, out, e);
}

static void place_write(const struct profile_place *place, size_t depth, struct buf *out)
{
	for (size_t i = 0; i < depth; i++)
		buf_putc(out, ' ');
	buf_printf(out, "%u", place->line);
	if (place->discriminator)
		buf_printf(out, ".%u", place->discriminator);
	buf_puts(out, ": ");
}

static void body_write(const struct profile_function *f, size_t depth, struct buf *out)
{
	for (size_t i = 0; i < f->n_lines; i++) {
		const struct profile_line *l = &f->lines[i];
		place_write(&l->place, depth, out);
		buf_printf(out, "%lu", l->count);
		for (size_t k = 0; k < l->n_targets; k++)
			buf_printf(out, " %s:%lu", l->targets[k].name, l->targets[k].count);
		buf_putc(out, '\n');
	}
	for (size_t i = 0; i < f->n_calls; i++) {
		place_write(&f->calls[i].place, depth, out);
		buf_printf(out, "%s:%lu\n", f->calls[i].name, f->calls[i].total);
		body_write(&f->calls[i], depth + 1, out);
	}
}

int profile_write_llvm(const struct profile *p, struct buf *out, struct err *e __attribute__((unused)))
{
	buf_puts(out, "# limpid-profile 1\n");
	for (size_t i = 0; i < p->n_origins; i++) {
		const struct profile_origin *o = &p->origins[i];
		time_t when = o->recorded;
		struct tm tm;
		char date[32];
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &tm));
		buf_printf(out,
			   "# build-id %s\n# source %s\n# recorded %s workload %s by %s\n# weight %u generation %u\n",
			   o->build_id, o->source, date, o->workload, o->by, o->weight, o->generation);
	}
	for (size_t i = 0; i < p->n_functions; i++) {
		const struct profile_function *f = &p->functions[i];
		buf_printf(out, "%s:%lu:%lu\n", f->name, f->total, f->head);
		body_write(f, 1, out);
	}
	return 0;
}
