/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/config.h"
#include "mixer/step/deltas.h"
#include "mixer/step/objects.h"
#include "mixer/step/slurm.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"

#define FIRST "limpid-jobs 1 "

static const struct job_kind *const kinds[] = {&job_fullfile, &job_part, &job_delta, &job_diff, &job_section};

/* -- doing -- */

struct running {
	const struct mix *m;
	struct job *jobs;
};

static uint64_t need(void *arg, size_t i)
{
	const struct running *r = arg;

	return r->jobs[i].memory;
}

int job_name(const struct mix *m, struct job *j, struct err *e)
{
	j->file = j->kind->file(m, j, e);
	j->memory = j->kind->memory(m, j);
	for (size_t i = 0; i < j->n; i++)
		j->size += j->members[i].size;
	return j->file ? 0 : -EIO;
}

bool job_done(const struct mix *m, const struct job *j)
{
	return cache_has(m, j->file);
}

static int make(const struct mix *m, const struct job *j, struct err *e)
{
	const char *name = strrchr(j->file, '/') + 1;
	_cleanup_free_ char *dir = xstrndup(j->file, (size_t)(name - 1 - j->file));
	_cleanup_(buf_free) struct buf out = {0};
	const struct node *last = j->members[j->n - 1].node;
	_cleanup_close_ int dirfd = fs_make_dir(m->cache, dir, 0755, e);

	int r = dirfd;
	if (r >= 0 && j->kind->save)
		r = j->kind->save(m, j, dirfd, name, e);
	else if (r >= 0)
		r = j->kind->make(m, j, &out, e);
	if (r >= 0 && !j->kind->save)
		r = fs_save_cache(dirfd, name, out.data, out.len, 0644, e);
	return r < 0 ? err_in(e, r, "%s of %s", j->kind->name, last ? last->path : j->members[j->n - 1].file) : 0;
}

static int run_one(void *arg, size_t i, struct err *e)
{
	struct running *r = arg;
	struct job *j = &r->jobs[i];

	if (!j->told)
		progress_add(r->m->progress, j->size);
	return job_done(r->m, j) ? 0 : make(r->m, j, e);
}

static int by_memory(const void *a, const void *b)
{
	const struct job *x = a, *y = b;

	return x->memory != y->memory ? (x->memory < y->memory ? 1 : -1) : strcmp(x->file, y->file);
}

#define THREAD_MEMORY (512UL << 20)

static uint64_t budget(const struct config *c)
{
	const uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	if (c->memory)
		return (uint64_t)c->memory << 20;
	return MIN(machine / 2, THREAD_MEMORY * (c->threads ? c->threads : work_cores()));
}

int jobs_run(const struct mix *m, struct job *jobs, size_t n, struct err *e)
{
	struct running r = {.m = m, .jobs = jobs};
	int result = 0;

	/* the longest job last would leave all other cores idle */
	if (n)
		qsort(jobs, n, sizeof(*jobs), by_memory);
	if (m->config->executor == EXECUTOR_SLURM)
		result = slurm_run(m, jobs, n, e);
	if (result < 0)
		return result;
	return work_each_within(budget(m->config), m->config->threads, n, need, run_one, &r, e);
}

void jobs_free(struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(jobs[i].file);
	free(jobs);
}

/* -- the list -- */

static void add_object(struct tree *t, struct table *seen, const struct node *n)
{
	if (!table_add(seen, &n->hash, sizeof(n->hash), (void *)n))
		(void)tree_add(t, n);
}

void jobs_format(const struct mix *m, struct job *const *jobs, size_t n, struct buf *out)
{
	_cleanup_(tree_freep) struct tree *objects = tree_new();
	_cleanup_(table_freep) struct table *seen = table_new();
	char hex[DIGEST_HEX];

	buf_printf(out, FIRST "%s %d %zu\n", codec_name(m->config->codec), m->config->level, n);
	for (size_t i = 0; i < n; i++) {
		buf_puts(out, jobs[i]->kind->name);
		for (size_t k = 0; k < jobs[i]->n; k++) {
			const struct member *x = &jobs[i]->members[k];
			digest_format(x->node ? &x->node->hash : &x->from, hex);
			buf_printf(out, " %s", hex);
			digest_format(&x->to, hex);
			if (x->node)
				add_object(objects, seen, x->node);
			else
				buf_printf(out, "-%s", hex);
		}
		buf_putc(out, '\n');
	}
	tree_format(objects, out);
}

struct job_list {
	struct tree *objects;
	struct job *jobs;
	size_t n;
	struct arena *arena; /* holds the members */
};

void job_list_free(struct job_list *l)
{
	if (!l)
		return;
	jobs_free(l->jobs, l->n);
	tree_free(l->objects);
	arena_free(l->arena);
	free(l);
}

static int parse_member(const struct table *objects, const struct job_kind *kind, const char *word, struct arena *arena,
			struct member *out)
{
	char hex[DIGEST_HEX];
	const char *to = strchr(word, '-');

	snprintf(hex, sizeof(hex), "%s", word);
	if (strlen(word) != (to ? 2 * DIGEST_HEX - 1 : DIGEST_HEX - 1) || digest_parse(hex, &out->from) < 0)
		return -ERR_FORMAT;
	if (to) {
		if (kind->objects || digest_parse(to + 1, &out->to) < 0)
			return -ERR_FORMAT;
		_cleanup_free_ char *file = delta_file(kind->delta, &out->from, &out->to);
		out->file = arena_strdup(arena, file);
		return 0;
	}
	out->node = table_find(objects, &out->from, sizeof(out->from));
	out->size = out->node ? out->node->attrs.size : 0;
	return out->node ? 0 : -ERR_FORMAT;
}

static int parse_job(struct job_list *l, const struct table *objects, const char *line, struct job *j)
{
	_cleanup_(strv_free) struct strv words = {0};

	strv_split(&words, line, " ");
	for (size_t i = 0; words.n && i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i]->name, words.items[0]) == 0)
			j->kind = kinds[i];
	if (!j->kind || words.n < 2 || (j->kind->objects && j->kind->objects != words.n - 1))
		return -ERR_FORMAT;
	struct member *members = arena_alloc(l->arena, (words.n - 1) * sizeof(*members));
	j->members = members;
	for (j->n = 0; j->n + 1 < words.n; j->n++) {
		members[j->n] = (struct member){0};
		if (parse_member(objects, j->kind, words.items[j->n + 1], l->arena, &members[j->n]) < 0)
			return -ERR_FORMAT;
	}
	return 0;
}

static int parse_head(const char *line, struct config *c, uint32_t *count)
{
	_cleanup_(strv_free) struct strv words = {0};
	uint32_t level;

	if (!text_starts(line, FIRST))
		return -ERR_FORMAT;
	strv_split(&words, line + strlen(FIRST), " ");
	if (words.n != 3 || codec_parse(words.items[0], &c->codec) < 0 || text_u32(words.items[1], 0, 22, &level) < 0)
		return -ERR_FORMAT;
	c->level = (int)level;
	return text_u32(words.items[2], 0, UINT32_MAX, count);
}

int jobs_parse(const char *text, size_t len, struct config *c, struct job_list **out, struct err *e)
{
	_cleanup_(job_list_freep) struct job_list *l = xcalloc(1, sizeof(*l));
	_cleanup_(table_freep) struct table *objects = table_new();
	_cleanup_(strv_free) struct strv lines = {0};
	const char *pos = text, *line;
	uint32_t count = 0;
	bool complete;
	size_t n;

	l->arena = arena_new();
	for (size_t i = 0; i <= count && text_line(&pos, text + len, &line, &n, &complete); i++) {
		strv_take(&lines, xstrndup(line, n));
		if (!complete || (i == 0 && parse_head(lines.items[0], c, &count) < 0))
			return err_set(e, -ERR_FORMAT, "this is no list of jobs");
	}
	int r = tree_parse(pos, (size_t)(text + len - pos), &l->objects, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l->objects->n; i++)
		(void)table_add(objects, &l->objects->nodes[i].hash, sizeof(struct digest), &l->objects->nodes[i]);
	l->jobs = xcalloc(count, sizeof(*l->jobs));
	for (; l->n < count; l->n++)
		if (parse_job(l, objects, lines.items[l->n + 1], &l->jobs[l->n]) < 0)
			return err_set(e, -ERR_FORMAT, "job %zu of the list makes no sense", l->n + 1);
	*out = take(l);
	return 0;
}

struct job *job_list_jobs(const struct job_list *l, size_t *n)
{
	*n = l->n;
	return l->jobs;
}

int job_list_run(const struct mix *m, struct job_list *l, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < l->n; i++)
		r = job_name(m, &l->jobs[i], e);
	return r < 0 ? r : jobs_run(m, l->jobs, l->n, e);
}
