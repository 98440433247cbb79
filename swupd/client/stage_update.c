/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/staging.h"
#include "swupd/client/update_head.h"
#include "swupd/content/format.h"
#include "swupd/content/object.h"

/* Sections of the update file, in as few requests as their places allow; each is unpacked as it is here. */

#define GAP_MAX     (32UL << 10) /* fetched for nothing rather than asked around */
#define WAITING_MAX 16
/* Without its section an object costs about a third of its size, compressed alone, and a request. */
#define ALONE_SHARE   3
#define ALONE_REQUEST 512

struct range {
	uint64_t at, end; /* of the file */
	size_t first, n;  /* of the chosen */
	char *name;       /* in download; NULL: the head has it */
	bool continues;   /* what the head begins with: it is put behind that */
	bool whole;       /* all came */
};

struct chosen {
	const struct range *range;
	size_t section;
};

struct transfer {
	struct staging *s;
	struct update_head *head;
	struct want **wants; /* by hash */
	struct chosen *chosen;
	size_t n;
	struct range *ranges;
	size_t n_ranges, cap_ranges;
	struct work_queue *queue;
};

static int by_hash(const void *a, const void *b)
{
	const struct want *const *x = a, *const *y = b;

	return memcmp(&(*x)->entry->hash, &(*y)->entry->hash, sizeof(struct digest));
}

/* What is wanted and begins like the record's. */
static struct want *find_want(const struct transfer *t, const struct update_record *r)
{
	const unsigned prefix = t->head->index.prefix;
	size_t low = 0, high = t->s->n;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;
		if (memcmp(&t->wants[mid]->entry->hash, &r->hash, prefix) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < t->s->n && update_is(&t->head->index, &r->hash, &t->wants[low]->entry->hash) ? t->wants[low]
												  : NULL;
}

static bool worth(const struct transfer *t, const struct update_section *x)
{
	uint64_t alone = 0;

	for (size_t i = x->first; i < x->first + x->n; i++) {
		const struct update_record *r = &t->head->index.records[i];
		const struct want *w = find_want(t, r);
		if (w && w->state == WANT_MISSING)
			alone += r->size / ALONE_SHARE + ALONE_REQUEST;
	}
	return alone > x->stored;
}

static void add_range(struct transfer *t, size_t section)
{
	const struct update_section *x = &t->head->index.sections[section];
	const uint64_t end = x->at + x->stored, have = t->head->have;
	struct range *last = t->n_ranges ? &t->ranges[t->n_ranges - 1] : NULL;

	t->chosen[t->n++].section = section;
	if (last && (end <= have || (last->name && x->at - last->end <= GAP_MAX))) {
		last->end = end;
		last->n++;
		return;
	}
	VEC_GROW(t->ranges, t->n_ranges, t->cap_ranges);
	struct range *g = &t->ranges[t->n_ranges++];
	*g = (struct range){.at = x->at, .end = end, .first = t->n - 1, .n = 1};
	if (end <= have)
		return;
	g->continues = x->at <= have;
	if (g->continues)
		g->at = have;
	g->name = xasprintf("update-%" PRIu32 "-%" PRIu32 "-%" PRIu64, t->head->index.from, t->head->index.to, g->at);
}

static void choose(struct transfer *t)
{
	const struct update_index *x = &t->head->index;

	for (size_t i = 0; i < x->n_sections; i++)
		if (!x->sections[i].meta && x->sections[i].stored && worth(t, &x->sections[i]))
			add_range(t, i);
	/* now that the ranges stay where they are */
	for (size_t i = 0; i < t->n_ranges; i++)
		for (size_t k = 0; k < t->ranges[i].n; k++)
			t->chosen[t->ranges[i].first + k].range = &t->ranges[i];
}

/* Where an object is made. */
struct making {
	const struct transfer *t;
	struct want *want;
	struct attrs attrs;
	struct object *object;
	struct buf base, link;
};

/* A file that is installed under that hash. It is not hashed: what is made from another one is not what is wanted. */
static int load_base(struct making *k, const struct update_record *r)
{
	size_t n;
	const struct entry *const *from = installed_find(k->t->s, &r->from, k->t->head->index.prefix, &n);

	for (size_t i = 0; i < n; i++) {
		k->base.len = 0;
		_cleanup_close_ int fd =
			fs_open_beneath(k->t->s->m->root, from[i]->name + 1, O_RDONLY | O_NONBLOCK, 0, NULL);
		if (fd >= 0 && from[i]->kind == KIND_FILE &&
		    fs_load_fd(fd, from[i]->name, DELTA_RESULT_MAX, &k->base, NULL) >= 0)
			return 1;
	}
	return 0;
}

static int begin(void *arg, const struct update_record *r, const void **base, size_t *len,
		 struct err *e __attribute__((unused)))
{
	struct making *k = arg;
	struct want *w = find_want(k->t, r);

	k->base.len = k->link.len = 0;
	if (!w || r->size > w->size_max || !want_claim(k->t->s, &w->entry->hash))
		return 0;
	if (memcmp(&r->from, &digest_zero, sizeof(r->from)) != 0 && !load_base(k, r)) {
		want_settle(k->t->s, w, false);
		return 0;
	}
	k->want = w;
	k->attrs = *r->shape;
	k->attrs.size = k->attrs.kind == KIND_DIR ? 0 : r->size;
	*base = k->base.data;
	*len = k->base.len;
	return 1;
}

static int write_object(void *arg, const void *data, size_t len, struct err *e)
{
	struct making *k = arg;

	if (k->attrs.kind != KIND_FILE) {
		buf_add(&k->link, data, len);
		return 0;
	}
	int r = k->object ? 0 : object_begin(k->t->s->dir, &k->attrs, NULL, &k->object, e);
	return r < 0 ? r : object_write(k->object, data, len, e);
}

static int commit(struct making *k, struct err *e)
{
	int r = 0;

	/* an empty file, a directory, a link */
	if (!k->object) {
		buf_add(&k->link, "", 0);
		r = object_begin(k->t->s->dir, &k->attrs, k->attrs.kind == KIND_LINK ? k->link.data : NULL, &k->object,
				 e);
	}
	return r < 0 ? r : object_commit(take(k->object), &k->want->entry->hash, e);
}

static int end(void *arg, const struct update_record *r __attribute__((unused)), int result, struct err *e)
{
	struct making *k = arg;
	struct staging *s = k->t->s;

	if (result >= 0)
		result = commit(k, e);
	else if (k->object)
		object_abort(take(k->object));
	want_settle(s, k->want, result >= 0);
	if (result >= 0 || stage_is_fatal(result))
		return result;
	stage_note(s, xasprintf("'%s' is not taken from the update file: %s", k->want->entry->name, e->text));
	return 0;
}

static int unpack(void *arg, void *item, struct err *e)
{
	const struct transfer *t = arg;
	const struct chosen *c = item;
	const struct range *g = c->range;
	struct making k = {.t = t};
	const struct update_target target = {.begin = begin, .write = write_object, .end = end, .arg = &k};
	const uint64_t at = t->head->index.sections[c->section].at;
	struct err why = ERR_INIT;

	const bool own = g->name && !g->continues;
	_cleanup_close_ int fd = own ? openat(t->s->download, g->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (own && fd < 0)
		return err_errno(e, "%s", g->name);
	int r = update_read(&t->head->index, c->section, own ? fd : t->head->fd, own && !g->whole ? at - g->at : at,
			    &target, &why);
	buf_free(&k.base);
	buf_free(&k.link);
	if (stage_is_fatal(r)) {
		err_move(e, &why);
		return r;
	}
	if (r < 0)
		stage_note(t->s, xasprintf("%s is damaged, the rest of it is fetched otherwise: %s", t->head->path,
					   why.text));
	err_clear(&why);
	return 0;
}

static int queue_range(struct transfer *t, const struct range *g)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < g->n; i++)
		r = work_queue_put(t->queue, &t->chosen[g->first + i]);
	return r;
}

static int on_done(void *arg, const struct fetch_job *job, int result, struct err *e)
{
	struct transfer *t = arg;
	struct range *g = job->user;

	g->whole = result == FETCH_WHOLE;
	if (result >= 0 && g->continues) {
		result = update_head_extend(t->head, t->s->download, g->name, g->whole, e);
		if (result < 0)
			return result;
	}
	if (result >= 0)
		return queue_range(t, g);
	if (stage_is_fatal(result))
		return err_in(e, result, "%s", g->name);
	stage_note(t->s, xasprintf("%s: %s", t->head->path, e->text));
	return 0;
}

static int fetch_ranges(struct transfer *t, struct err *e)
{
	struct staging *s = t->s;
	_cleanup_free_ struct fetch_job *jobs = xcalloc(t->n_ranges, sizeof(*jobs));
	struct err why = ERR_INIT;
	size_t n = 0;
	int r = 0;

	t->queue = work_queue_new(0, WAITING_MAX, unpack, t);
	for (size_t i = 0; r >= 0 && i < t->n_ranges; i++) {
		struct range *g = &t->ranges[i];
		if (g->name)
			jobs[n++] = (struct fetch_job){.path = t->head->path,
						       .name = g->name,
						       .at = g->at,
						       .bytes = g->end - g->at,
						       .user = g};
		else
			r = queue_range(t, g);
	}
	if (r >= 0 && n)
		r = fetch_files(s->m->fetch, s->m->content_url, s->download, jobs, n, on_done, t, s->m->progress, e);
	int unpacked = work_queue_end(t->queue, &why);
	if (unpacked < 0) {
		/* this is what stopped the transfers */
		err_move(e, &why);
		r = unpacked;
	}
	for (size_t i = 0; i < t->n_ranges; i++)
		if (t->ranges[i].name)
			(void)unlinkat(s->download, t->ranges[i].name, 0);
	return r;
}

static void transfer_clear(struct transfer *t)
{
	for (size_t i = 0; i < t->n_ranges; i++)
		free(t->ranges[i].name);
	free(t->ranges);
	free(t->chosen);
	free(t->wants);
}

/* Which sections of which ranges. False: there is no update file, or nothing to do. */
static bool plan_transfer(struct staging *s, struct transfer *t)
{
	*t = (struct transfer){.s = s, .head = s->m->update};
	if (!t->head || !s->missing || t->head->index.to != s->plan->to)
		return false;
	t->wants = xcalloc(s->n, sizeof(struct want *));
	for (size_t i = 0; i < s->n; i++)
		t->wants[i] = &s->wants[i];
	qsort(t->wants, s->n, sizeof(struct want *), by_hash);
	t->chosen = xcalloc(t->head->index.n_sections + 1, sizeof(*t->chosen));
	choose(t);
	return t->n > 0;
}

uint64_t stage_update_measure(struct staging *s)
{
	_cleanup_(transfer_clear) struct transfer t;
	uint64_t bytes = 0;

	if (!plan_transfer(s, &t))
		return 0;
	for (size_t i = 0; i < t.n_ranges; i++)
		if (t.ranges[i].name)
			bytes += t.ranges[i].end - t.ranges[i].at;
	for (size_t i = 0; i < t.n; i++) {
		const struct update_section *x = &t.head->index.sections[t.chosen[i].section];
		for (size_t k = x->first; k < x->first + x->n; k++) {
			struct want *w = find_want(&t, &t.head->index.records[k]);
			if (w)
				w->promised = true;
		}
	}
	return bytes;
}

int stage_update(struct staging *s, struct err *e)
{
	_cleanup_(transfer_clear) struct transfer t;

	progress_stage(s->m->progress, "download_packs", 0, true);
	int r = plan_transfer(s, &t) ? fetch_ranges(&t, e) : 0;
	stage_say_notes(s);
	return r;
}
