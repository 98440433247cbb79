/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/deltas.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/delta.h"
#include "swupd/content/format.h"

/* In the cache instead of a delta that is not worth it: the mark of delta(5). An empty file would also be what a crash of the machine leaves. */
static const char not_worth_it[] = "FULLV20U";

#define WORTH_MIN 200 /* bytes; delta_make makes none of smaller files, and its answer would only fill the cache */
#define XZ_MEMORY (400ULL << 20) /* delta_make's */

int delta_make_checked(const struct buf *old, const struct buf *new, const struct attrs *attrs, struct buf *out,
		       struct err *e)
{
	_cleanup_(buf_free) struct buf delta = {0}, result = {0};
	struct attrs a;

	int r = delta_make(old->data, old->len, new->data, new->len, attrs, DELTA_ANY, &delta, e);
	if (r != 0)
		return r;
	r = delta_apply(old->data, old->len, delta.data, delta.len, &a, &result, e);
	if (r < 0)
		return err_in(e, r, "the delta that was just made");
	if (a.mode != attrs->mode || a.uid != attrs->uid || a.gid != attrs->gid || result.len != new->len ||
	    memcmp(result.data, new->data, new->len) != 0)
		return err_set(e, -ERR_FORMAT, "the delta that was just made gives another file");
	buf_add(out, delta.data, delta.len);
	return 0;
}

/* A file in the store can be damaged without its length telling; a delta from it would be of no use to anybody. */
static int load(const struct mix *m, const struct node *n, struct fs_map *out, struct err *e)
{
	struct digest real;

	int r = object_map(m, n, out, e);
	if (r < 0)
		return r;
	file_hash_mem(&n->attrs, out->data, out->len, &real);
	if (digest_equal(&real, &n->hash))
		return 0;
	return err_hint(e, err_set(e, -ERR_DIGEST, "%s: its content in the cache is damaged", n->path),
			"remove <cache>/objects, then 'mixer build' makes it anew");
}

int delta_job_make(const struct mix *m, const struct job *j, struct buf *out, struct err *e)
{
	const struct node *from = j->members[0].node, *to = j->members[1].node;
	_cleanup_(fs_unmap) struct fs_map old = {0}, new = {0};

	int r = load(m, from, &old, e);
	if (r >= 0)
		r = load(m, to, &new, e);
	const struct buf was = {.data = (char *)old.data, .len = old.len},
			 is = {.data = (char *)new.data, .len = new.len};
	if (r >= 0)
		r = j->kind->delta->make(&was, &is, &to->attrs, out, e);
	if (r == 1)
		buf_puts(out, not_worth_it);
	return r;
}

char *delta_file(const struct delta_kind *kind, const struct digest *from, const struct digest *to)
{
	char hex_from[DIGEST_HEX], hex_to[DIGEST_HEX];

	digest_format(from, hex_from);
	digest_format(to, hex_to);
	return xasprintf("%s/%.2s/%s-%s", kind->folder, hex_to, hex_from, hex_to);
}

char *delta_job_file(const struct mix *m __attribute__((unused)), const struct job *j,
		     struct err *e __attribute__((unused)))
{
	return delta_file(j->kind->delta, &j->members[0].node->hash, &j->members[1].node->hash);
}

/* Both contents, and first what matching needs (delta.h), then the result, its blocks and xz; 0.71 to 0.91 of this was measured, of 1 to 33 MB */
static uint64_t memory_of(const struct mix *m __attribute__((unused)), const struct job *j)
{
	const uint64_t old = j->members[0].size, new = j->members[1].size;

	return old + new + MAX(old / 2 * 9, 2 * new + MIN(11 * new, XZ_MEMORY)) + (8UL << 20);
}

static int look_classic(int fd, uint64_t size __attribute__((unused)))
{
	_cleanup_(fs_unmap) struct fs_map delta = {0};
	struct delta_header h;

	int r = fs_map_fd(fd, "delta", &delta, NULL);
	return r < 0 ? r : delta_parse_header(delta.data, delta.len, &h, NULL);
}

const struct delta_kind delta_classic = {
	.folder = "deltas",
	.make = delta_make_checked,
	.look = look_classic,
	.min = WORTH_MIN,
	.max = DELTA_RESULT_MAX, /* the client does not load larger ones either */
};

const struct job_kind job_delta = {
	.name = "delta",
	.objects = 2,
	.file = delta_job_file,
	.make = delta_job_make,
	.memory = memory_of,
	.delta = &delta_classic,
};

struct looking {
	const struct mix *m;
	const struct delta_kind *kind;
	struct delta_pair **pairs;
	int *found; /* of each: 0 a delta, 1 it is not worth it, negative neither */
	bool made;  /* all of them */
};

static bool is_mark(int fd, uint64_t size)
{
	char text[sizeof(not_worth_it) - 1];

	return size == sizeof(text) && fs_read_at(fd, 0, text, sizeof(text), NULL) >= 0 &&
	       memcmp(text, not_worth_it, sizeof(text)) == 0;
}

/* What is damaged counts as missing, and goes. */
static int look_one(void *arg, size_t i, struct err *e)
{
	struct looking *l = arg;
	struct delta_pair *p = l->pairs[i];
	_cleanup_free_ char *file = delta_file(l->kind, &p->from->hash, &p->to->hash);
	_cleanup_close_ int fd = -1;
	struct stat st = {0};
	int r;

	if (l->found[i] >= 0)
		return 0;
	l->found[i] = 1;
	if (p->to->attrs.size < l->kind->min || MAX(p->from->attrs.size, p->to->attrs.size) > l->kind->max)
		return 0;
	(void)cache_has(l->m, file); /* it is used */
	fd = openat(l->m->cache, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = err_errno(l->made ? e : NULL, "%s", file);
	} else {
		r = is_mark(fd, (uint64_t)st.st_size) ? 1 : l->kind->look(fd, (uint64_t)st.st_size);
		if (r < 0 && unlinkat(l->m->cache, file, 0) < 0)
			return err_errno(e, "%s", file);
		if (r < 0 && l->made)
			return err_set(e, r, "%s is damaged", file);
	}
	if (r == 0) {
		p->file = take(file);
		p->size = (uint64_t)st.st_size;
	}
	l->found[i] = r;
	return l->made ? MIN(r, 0) : 0;
}

static int make_missing(const struct looking *l, const struct job_kind *kind, size_t n, struct err *e)
{
	_cleanup_free_ struct member *members = xcalloc(2 * n, sizeof(*members));
	struct job *jobs = xcalloc(n, sizeof(*jobs));
	uint64_t bytes = 0;
	size_t n_jobs = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++) {
		const struct delta_pair *p = l->pairs[i];
		struct member *x = &members[2 * i];
		if (l->found[i] >= 0)
			continue;
		x[0] = (struct member){.node = p->from, .size = p->from->attrs.size};
		x[1] = (struct member){.node = p->to, .size = p->to->attrs.size};
		jobs[n_jobs] = (struct job){.kind = kind, .members = x, .n = 2};
		r = job_name(l->m, &jobs[n_jobs], e);
		bytes += jobs[n_jobs++].size;
	}
	progress_stage(l->m->progress, "deltas", bytes, true);
	if (r >= 0)
		r = jobs_run(l->m, jobs, n_jobs, e);
	jobs_free(jobs, n_jobs);
	return r;
}

int deltas_make(const struct mix *m, const struct job_kind *kind, struct delta_pair **pairs, size_t n, struct err *e)
{
	_cleanup_free_ int *found = xcalloc(n, sizeof(*found));
	struct looking l = {.m = m, .kind = kind->delta, .pairs = pairs, .found = found};

	for (size_t i = 0; i < n; i++)
		found[i] = -ENOENT;
	int r = work_each(m->config->threads, n, look_one, &l, e);
	if (r >= 0)
		r = make_missing(&l, kind, n, e);
	l.made = true;
	return r < 0 ? r : work_each(m->config->threads, n, look_one, &l, e);
}
