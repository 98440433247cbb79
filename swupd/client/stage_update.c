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

/*
 * Sections of the update file, in as few requests as their places allow; each is unpacked as soon as it is here, while its range goes on to come.
 *
 * Where no file leads from the installed release to the new one, several do, by way of others (update_head.h): each is a level, the lowest is of the installed release. An object
 * comes from the highest that has it. What it is made from is installed, or made on a lower level before, into a file of its own that is no object: nobody knows its hash but
 * by its first bytes.
 */

#define WAITING_MAX 16
#define GAP_MAX     (32UL << 10) /* fetched for nothing rather than asked around */
/*
 * An update takes no more requests than UPDATE_REQUESTS: the smallest gaps are fetched, too. In what leads from nothing, wanted sections may be hundreds of megabytes apart, which costs
 * more than to ask.
 */
#define REQUESTS_WHOLE 32
/* Without its section an object costs about a third of its size, compressed alone, but not less than its part of the section, and a request. */
#define ALONE_SHARE   3
#define ALONE_REQUEST 512
/* The streams of an object have at most about 16 times its size, where both files are deflated (difference(5)). */
#define EXPANDED_SHARE 32
#define PASSED_MAX     (4ULL << 30) /* bytes beyond that, of all sections together */
/* So many bytes of COPY are pieces that take 6 MiB of memory and more: of such objects one is made at a time. */
#define MANY_PIECES (256UL << 10)

struct range {
	uint64_t at, end; /* of the update file */
	size_t first, n;  /* of the chosen */
	size_t queued;    /* of those: to be unpacked, or unpacked */
	size_t left;      /* not unpacked; under the lock */
	char *name;       /* in download; NULL: the head has it */
	int fd;           /* of that while sections come and are unpacked, else -1 */
};

struct chosen {
	struct range *range;
	size_t section;
	uint64_t at; /* in the range's file, or the head */
	bool joined; /* fetched with the one before */
};

/* What a record is for. */
enum { FOR_OBJECT = 1, FOR_BASE = 2 };

struct level {
	struct transfer *t;
	struct update_head *head;
	size_t number;
	uint8_t *uses; /* of each record */
	struct chosen *chosen;
	size_t n;
	struct range *ranges;
	size_t n_ranges, cap_ranges;
	struct work_queue *queue;
};

struct transfer {
	struct staging *s;
	bool last;           /* nothing is fetched again after it, and nothing that an interrupted run left is used */
	bool resumed;        /* something that one left was used */
	char *damage;        /* what was wrong with something; under the lock */
	struct want **wants; /* by hash */
	struct level *levels;
	size_t n;
	uint64_t passed; /* of PASSED_MAX */
	bool whole; /* it leads from nothing: there is no other way, and nothing installed is trusted to be there */
};

static int by_hash(const void *a, const void *b)
{
	const struct want *const *x = a, *const *y = b;

	return memcmp(&(*x)->entry->hash, &(*y)->entry->hash, sizeof(struct digest));
}

static const struct digest *want_at(const void *arg, size_t i)
{
	const struct transfer *t = arg;

	return &t->wants[i]->entry->hash;
}

/* What is wanted and begins like the record's. */
static struct want *find_want(const struct level *l, const struct update_record *r)
{
	const struct transfer *t = l->t;
	const size_t i = digest_search(want_at, t, t->s->n, &r->hash, l->head->index.prefix);

	return i < t->s->n && update_is(&l->head->index, &r->hash, want_at(t, i)) ? t->wants[i] : NULL;
}

/* The record whose hash has these first bytes; SIZE_MAX: there is none. */
static size_t find_record(const struct level *l, const struct digest *hash, unsigned bytes)
{
	return update_find(&l->head->index, hash, bytes);
}

/* The level below this one that makes what the record is made from, and which of its records; NULL: none does. */
static const struct level *find_below(const struct level *l, const struct update_record *r, size_t *record)
{
	for (size_t i = l->number; i-- > 0;) {
		*record = find_record(&l->t->levels[i], &r->from, l->head->index.prefix);
		if (*record != SIZE_MAX)
			return &l->t->levels[i];
	}
	return NULL;
}

/* Which records are for objects that are missing, and which for what others are made from. */
static void find_uses(struct transfer *t)
{
	for (size_t i = 0; i < t->s->n; i++) {
		struct want *w = &t->s->wants[i];
		size_t record = SIZE_MAX;
		const bool missing = w->state == WANT_MISSING && !w->promised;
		for (size_t k = t->n; missing && record == SIZE_MAX && k-- > 0;) {
			record = find_record(&t->levels[k], &w->entry->hash, sizeof(struct digest));
			if (record != SIZE_MAX && update_size_of(&t->levels[k].head->index, record) <= w->size_max)
				t->levels[k].uses[record] |= FOR_OBJECT;
		}
	}
	for (size_t k = t->n; k-- > 0;) {
		struct level *l = &t->levels[k];
		for (size_t i = 0; i < l->head->index.n_records; i++) {
			size_t record, n = 0;
			if (!l->uses[i])
				continue;
			const struct update_record r = update_record_at(&l->head->index, i);
			if (!update_has_base(&r))
				continue;
			if (!t->whole)
				(void)installed_find(t->s, &r.from, l->head->index.prefix, &n);
			if (n)
				continue;
			const struct level *below = find_below(l, &r, &record);
			if (below && update_size_of(&below->head->index, record) <= CONTENTSIZE_MAX)
				below->uses[record] |= FOR_BASE;
			else
				l->uses[i] = 0;
		}
	}
}

/*
 * What is not wanted may claim any size, but is not worth it; what is wanted has that of its manifest, and no honest section is larger than what it makes. Where an object cannot
 * come alone, any section is worth it: the next source is one with all objects.
 */
static bool worth(const struct level *l, const struct update_section *x)
{
	const struct update_index *index = &l->head->index;
	uint64_t alone = 0, all = 1;

	for (size_t i = x->first; i < x->first + x->n; i++)
		all += update_size_of(index, i);
	if (x->stored > all + x->n * ALONE_REQUEST)
		return false;
	for (size_t i = x->first; i < x->first + x->n; i++)
		if (l->uses[i]) {
			const uint64_t size = update_size_of(index, i);
			const double part = (double)size / (double)all * (double)x->stored;
			alone += MAX(size / ALONE_SHARE, (uint64_t)part) + ALONE_REQUEST;
		}
	return alone > x->stored || (alone && (l->t->whole || l->t->s->m->no_fullfiles));
}

/* Where there are other ways, not much is expanded for nothing. */
static bool affordable(struct level *l, const struct update_section *x)
{
	uint64_t expanded = 0, wanted = 0;

	for (size_t k = 0; k < DIFF_STREAMS; k++)
		expanded += x->streams[k].expanded;
	for (size_t i = x->first; i < x->first + x->n; i++)
		if (l->uses[i])
			wanted += EXPANDED_SHARE * (update_size_of(&l->head->index, i) + ALONE_REQUEST);
	const uint64_t more = expanded - MIN(expanded, wanted);
	if (l->t->whole)
		return true;
	if (more > PASSED_MAX - l->t->passed)
		return false;
	l->t->passed += more;
	return true;
}

static const struct update_section *chosen_section(const struct level *l, size_t i)
{
	return &l->head->index.sections[l->chosen[i].section];
}

/* What lies between two chosen sections, before the one of that number. */
struct gap {
	uint64_t size;
	size_t before;
};

static int by_size(const void *a, const void *b)
{
	const struct gap *x = a, *y = b;

	return (x->size > y->size) - (x->size < y->size);
}

/* Which chosen sections are fetched with those before them, so that at most so many ranges are asked for. */
static void join(struct level *l, size_t ranges)
{
	_cleanup_free_ struct gap *gaps = xcalloc(l->n + 1, sizeof(*gaps));
	uint64_t before = 0;
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct update_section *x = chosen_section(l, i);
		const uint64_t end = x->at + x->stored;
		if (end <= l->head->have)
			continue;
		if (before)
			gaps[n++] = (struct gap){x->at - before, i};
		before = end;
	}
	if (n)
		qsort(gaps, n, sizeof(*gaps), by_size);
	for (size_t i = 0; i < n; i++)
		l->chosen[gaps[i].before].joined = gaps[i].size <= GAP_MAX || n - i >= ranges;
}

static void add_range(struct level *l, size_t i)
{
	const struct update_section *x = chosen_section(l, i);
	const uint64_t end = x->at + x->stored, have = l->head->have;

	if (l->n_ranges > 0) {
		struct range *last = &l->ranges[l->n_ranges - 1];
		if (end <= have || l->chosen[i].joined) {
			last->end = end;
			last->n++;
			return;
		}
	}
	VEC_GROW(l->ranges, l->n_ranges, l->cap_ranges);
	struct range *g = &l->ranges[l->n_ranges++];
	*g = (struct range){.at = x->at, .end = end, .first = i, .n = 1, .fd = -1};
	if (end > have)
		g->name = update_head_part(l->head, g->at);
}

/* In at most so many ranges. */
static void choose(struct level *l, size_t ranges)
{
	const struct update_index *x = &l->head->index;

	for (size_t i = 0; i < x->n_sections; i++)
		if (!x->sections[i].meta && x->sections[i].stored && worth(l, &x->sections[i]) &&
		    affordable(l, &x->sections[i]))
			l->chosen[l->n++].section = i;
	join(l, ranges);
	for (size_t i = 0; i < l->n; i++)
		add_range(l, i);
	/* now that the ranges stay where they are */
	for (size_t i = 0; i < l->n_ranges; i++)
		for (size_t k = 0; k < l->ranges[i].n; k++)
			l->chosen[l->ranges[i].first + k].range = &l->ranges[i];
}

/* How many ranges each level that needs any may have, after what was asked for so far. */
static size_t ranges_left(const struct transfer *t)
{
	const uint64_t most = t->whole && !t->s->m->update->cheaper ? REQUESTS_WHOLE : UPDATE_REQUESTS;
	uint64_t bytes = 0, requests = 0, partial = 0;

	if (t->s->m->fetch)
		fetch_count(t->s->m->fetch, &bytes, &requests);
	for (size_t i = 0; i < t->n; i++)
		partial += !update_head_is_all(t->levels[i].head);
	return MAX((most - MIN(requests, most)) / MAX(partial, 1U), 1U);
}

/* Where an object, or what others are made from, is made. */
struct making {
	const struct level *l;
	struct want *want; /* NULL: it is no object that is missing */
	struct attrs attrs;
	struct object *object;
	int base_file; /* -1: others are not made from it */
	int old;       /* what base views; -1: nothing */
	struct view base;
	struct buf link;
	bool large; /* the lock for such is held */
};

static char *base_name(const struct level *l, size_t record)
{
	return xasprintf("base-%" PRIu32 "-%" PRIu32 "-%zu", l->head->from, l->head->to, record);
}

static void close_base(struct making *k)
{
	closep(&k->old);
	k->old = -1;
}

/* Takes fd. However large it is, the view takes little memory. */
static bool open_base(struct making *k, int fd)
{
	close_base(k);
	k->old = fd;
	return fd >= 0 && view_open(&k->base, fd, "", SIZE_MAX, NULL) >= 0;
}

/* A file that is installed under that hash. It is not hashed: what is made from another one is not what is wanted. */
static bool open_installed(struct making *k, const struct update_record *r)
{
	size_t n;
	const struct entry *const *from = installed_find(k->l->t->s, &r->from, k->l->head->index.prefix, &n);

	for (size_t i = 0; i < n; i++)
		if (from[i]->kind == KIND_FILE && open_base(k, fs_open_beneath(k->l->t->s->m->root, from[i]->name + 1,
									       O_RDONLY | O_NONBLOCK, 0, NULL)))
			return true;
	return false;
}

static bool find_base(struct making *k, const struct update_record *r)
{
	size_t record;

	if (!k->l->t->whole && open_installed(k, r))
		return true;
	const struct level *below = find_below(k->l, r, &record);
	if (!below)
		return false;
	_cleanup_free_ char *name = base_name(below, record);
	return open_base(k, openat(k->l->t->s->download, name, O_RDONLY | O_CLOEXEC));
}

static int begin(void *arg, const struct update_record *r, struct view *base, struct err *e)
{
	struct making *k = arg;
	const uint8_t uses = k->l->uses[r->number];
	struct want *w = uses & FOR_OBJECT ? find_want(k->l, r) : NULL;

	k->link.len = 0;
	k->want = w && want_claim(k->l->t->s, &w->entry->hash) ? w : NULL;
	if (!k->want && !(uses & FOR_BASE))
		return 0;
	if (update_has_base(r) && !find_base(k, r)) {
		close_base(k);
		if (k->want)
			want_settle(k->l->t->s, k->want, false);
		return 0;
	}
	if (uses & FOR_BASE) {
		_cleanup_free_ char *name = base_name(k->l, r->number);
		k->base_file = openat(k->l->t->s->download, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (k->base_file < 0)
			return err_errno(e, "%s", name);
	}
	k->attrs = *r->shape;
	k->attrs.size = k->attrs.kind == KIND_DIR ? 0 : r->size;
	if (update_has_base(r))
		*base = k->base;
	k->large = r->bytes[DIFF_COPY] >= MANY_PIECES;
	if (k->large)
		pthread_mutex_lock(&k->l->t->s->large);
	return 1;
}

static int write_object(void *arg, const void *data, size_t len, struct err *e)
{
	struct making *k = arg;
	int r = 0;

	if (k->attrs.kind != KIND_FILE) {
		buf_add(&k->link, data, len);
		return 0;
	}
	if (k->want && !k->object)
		r = object_begin(k->l->t->s->dir, &k->attrs, NULL, &k->object, e);
	if (r >= 0 && k->base_file >= 0)
		r = fs_write_all(k->base_file, data, len, e);
	return r < 0 || !k->object ? r : object_write(k->object, data, len, e);
}

static int commit(struct making *k, struct err *e)
{
	int r = 0;

	/* an empty file, a directory, a link */
	if (!k->object) {
		buf_add(&k->link, "", 0);
		r = object_begin(k->l->t->s->dir, &k->attrs, k->attrs.kind == KIND_LINK ? k->link.data : NULL,
				 &k->object, e);
	}
	return r < 0 ? r : object_commit(take(k->object), &k->want->entry->hash, e);
}

/* Takes the note. */
static void note_damage(const struct level *l, char *note, const char *why)
{
	struct transfer *t = l->t;

	pthread_mutex_lock(&t->s->lock);
	if (!t->damage)
		t->damage = xasprintf("%s is damaged: %s", l->head->path, why);
	pthread_mutex_unlock(&t->s->lock);
	stage_note(t->s, note);
}

static int end(void *arg, const struct update_record *r __attribute__((unused)), int result, struct err *e)
{
	struct making *k = arg;
	struct staging *s = k->l->t->s;

	if (k->large)
		pthread_mutex_unlock(&s->large);
	/* of one that is damaged nothing can be made that is wanted */
	closep(&k->base_file);
	k->base_file = -1;
	close_base(k);
	if (!k->want)
		return stage_is_fatal(result) ? result : 0;
	if (result >= 0)
		result = commit(k, e);
	else if (k->object)
		object_abort(take(k->object));
	want_settle(s, k->want, result >= 0);
	if (result >= 0 || stage_is_fatal(result))
		return result;
	note_damage(k->l, xasprintf("'%s' is not taken from %s: %s", k->want->entry->name, k->l->head->path, e->text),
		    e->text);
	return 0;
}

/* One more section of the range. Its file has no name any more, or is about to lose it: this makes room. */
static void end_section(struct staging *s, struct range *g)
{
	pthread_mutex_lock(&s->lock);
	if (--g->left == 0) {
		closep(&g->fd);
		g->fd = -1;
	}
	pthread_mutex_unlock(&s->lock);
}

static int unpack(void *arg, void *item, struct err *e)
{
	const struct level *l = arg;
	const struct chosen *c = item;
	struct range *g = c->range;
	struct making k = {.l = l, .base_file = -1, .old = -1};
	const struct update_target target = {
		.begin = begin, .write = write_object, .end = end, .arg = &k, .scratch = l->t->s->download};
	struct err why = ERR_INIT;

	int r = update_read(&l->head->index, c->section, g->name ? g->fd : l->head->fd, c->at, &target, &why);
	close_base(&k);
	view_close(&k.base);
	buf_free(&k.link);
	end_section(l->t->s, g);
	if (stage_is_fatal(r)) {
		err_move(e, &why);
		return r;
	}
	if (r < 0)
		note_damage(l, xasprintf("%s is damaged: %s", l->head->path, why.text), why.text);
	err_clear(&why);
	return 0;
}

/* Queue the sections that lie before end of the update file, where file has it from start on. */
static int queue_ready(struct level *l, struct range *g, const char *file, uint64_t start, uint64_t end, struct err *e)
{
	for (; g->queued < g->n; g->queued++) {
		struct chosen *c = &l->chosen[g->first + g->queued];
		const struct update_section *x = chosen_section(l, g->first + g->queued);
		if (x->at + x->stored > end)
			break;
		if (file && g->fd < 0)
			g->fd = openat(l->t->s->download, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (file && g->fd < 0)
			return err_errno(e, "%s", file);
		c->at = x->at - start;
		int r = work_queue_put(l->queue, c);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where a section cannot be queued, on_done says why. */
static void on_grown(void *arg, const struct fetch_job *job, uint64_t have)
{
	struct range *g = job->user;
	_cleanup_free_ char *part = xasprintf("%s.part", job->name);

	(void)queue_ready(arg, g, part, g->at, g->at + have, NULL);
}

static int on_done(void *arg, const struct fetch_job *job, int result, struct err *e)
{
	struct level *l = arg;
	struct range *g = job->user;

	if (result >= 0) {
		result = queue_ready(l, g, g->name, result == FETCH_WHOLE ? 0 : g->at, UINT64_MAX, e);
		(void)unlinkat(l->t->s->download, g->name, 0);
		return result;
	}
	if (!stage_falls_through(l->t->s, result))
		return err_in(e, result, "%s", g->name);
	stage_note(l->t->s, xasprintf("%s: %s", l->head->path, e->text));
	return 0;
}

static int fetch_ranges(struct level *l, struct err *e)
{
	struct staging *s = l->t->s;
	_cleanup_free_ struct fetch_job *jobs = xcalloc(l->n_ranges, sizeof(*jobs));
	const struct update_section *end = &l->head->index.sections[l->head->index.n_sections - 1];
	struct err why = ERR_INIT;
	size_t n = 0;
	int r = 0;

	l->queue = work_queue_new(0, WAITING_MAX, unpack, l);
	for (size_t i = 0; r >= 0 && i < l->n_ranges; i++) {
		struct range *g = &l->ranges[i];
		g->left = g->n;
		if (g->name && !l->t->last)
			l->t->resumed |= update_head_begin_part(l->head, s->download, g->at);
		if (g->name)
			jobs[n++] = (struct fetch_job){.path = l->head->path,
						       .name = g->name,
						       .at = g->at,
						       .bytes = g->end - g->at,
						       .max = end->at + end->stored,
						       .grown = on_grown,
						       .user = g};
		else {
			l->t->resumed |= !l->t->last && l->head->left;
			r = queue_ready(l, g, NULL, 0, UINT64_MAX, e);
		}
	}
	if (r >= 0 && n)
		r = fetch_files(s->m->fetch, s->m->content_url, s->download, jobs, n, on_done, l, s->m->progress, e);
	int unpacked = work_queue_end(l->queue, &why);
	if (unpacked < 0) {
		/* this is what stopped the transfers */
		err_move(e, &why);
		r = unpacked;
	}
	return r;
}

static void level_clear(struct level *l)
{
	for (size_t i = 0; i < l->n_ranges; i++) {
		free(l->ranges[i].name);
		closep(&l->ranges[i].fd);
	}
	free(l->ranges);
	free(l->chosen);
	free(l->uses);
}

static void transfer_clear(struct transfer *t)
{
	for (size_t i = 0; i < t->n; i++)
		level_clear(&t->levels[i]);
	free(t->levels);
	free(t->wants);
	free(t->damage);
}

static void begin_level(struct transfer *t, size_t number, struct update_head *head)
{
	const size_t n = head->index.n_records;
	struct level *l = &t->levels[number];

	*l = (struct level){.t = t, .head = head, .number = number};
	l->uses = xcalloc(n + 1, sizeof(*l->uses));
	l->chosen = xcalloc(head->index.n_sections + 1, sizeof(*l->chosen));
	update_sort(&head->index);
}

/* Which sections of which ranges of which files. */
static void plan_transfer(struct staging *s, bool last, struct transfer *t)
{
	*t = (struct transfer){.s = s, .last = last, .whole = update_head_is_whole(s->m->update)};
	if (!s->m->update || !s->missing || s->m->update->index.to != s->plan->to)
		return;
	t->wants = xcalloc(s->n, sizeof(struct want *));
	for (size_t i = 0; i < s->n; i++)
		t->wants[i] = &s->wants[i];
	qsort(t->wants, s->n, sizeof(struct want *), by_hash);
	for (const struct update_head *h = s->m->update; h; h = h->before)
		t->n++;
	t->levels = xcalloc(t->n, sizeof(*t->levels));
	size_t i = t->n;
	for (struct update_head *h = s->m->update; h; h = h->before)
		begin_level(t, --i, h);
	find_uses(t);
	const size_t ranges = ranges_left(t);
	for (i = 0; i < t->n; i++)
		choose(&t->levels[i], ranges);
}

/* Bytes of its ranges */
static uint64_t measure_ranges(const struct level *l)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < l->n_ranges; i++)
		if (l->ranges[i].name)
			bytes += l->ranges[i].end - MAX(l->ranges[i].at, l->head->have);
	return bytes;
}

static void promise(const struct level *l)
{
	for (size_t k = 0; k < l->n; k++) {
		const struct update_section *x = chosen_section(l, k);
		for (size_t r = x->first; r < x->first + x->n; r++) {
			if (!(l->uses[r] & FOR_OBJECT))
				continue;
			const struct update_record record = update_record_at(&l->head->index, r);
			struct want *w = find_want(l, &record);
			if (w)
				w->promised = true;
		}
	}
}

uint64_t stage_update_measure(struct staging *s, uint64_t *transit)
{
	_cleanup_(transfer_clear) struct transfer t;
	uint64_t bytes = 0, most = 0, bases = 0;

	plan_transfer(s, false, &t);
	for (size_t i = 0; i < t.n; i++) {
		const struct level *l = &t.levels[i];
		const uint64_t ranges = measure_ranges(l);
		/* what came in a rehearsal comes again */
		bytes += ranges + (s->m->rehearsal ? l->head->have : 0);
		most = MAX(most, ranges);
		for (size_t r = 0; r < l->head->index.n_records; r++)
			if (l->uses[r] & FOR_BASE)
				bases = MIN(bases + update_size_of(&l->head->index, r), CONTENTSIZE_MAX);
		promise(l);
	}
	*transit = most + bases;
	return bytes;
}

/* *again: something was damaged, and may not be when it is fetched anew. */
static int try(struct staging *s, bool last, bool *again, struct err *e)
{
	_cleanup_(transfer_clear) struct transfer t;
	int r = 0;

	plan_transfer(s, last, &t);
	for (size_t i = 0; r >= 0 && i < t.n; i++)
		if (t.levels[i].n)
			r = fetch_ranges(&t.levels[i], e);
	for (size_t i = 0; i < t.n; i++)
		for (size_t k = 0; k < t.levels[i].head->index.n_records; k++)
			if (t.levels[i].uses[k] & FOR_BASE) {
				_cleanup_free_ char *name = base_name(&t.levels[i], k);
				(void)unlinkat(s->download, name, 0);
			}
	*again = t.damage && (t.resumed || t.whole);
	if (t.damage && t.whole) {
		free(s->damage);
		s->damage = take(t.damage);
	}
	stage_say_notes(s);
	return r;
}

/*
 * What an interrupted run left may have been damaged when the power went, and there may be no other way than the one from nothing: what is still missing is fetched once more,
 * also what the heads have of it.
 */
int stage_update(struct staging *s, struct err *e)
{
	bool again = false;

	progress_stage(s->m->progress, "download_packs", 0, true);
	int r = try(s, false, &again, e);
	if (r < 0 || !again || !s->missing)
		return r;
	for (struct update_head *h = s->m->update; h; h = h->before)
		h->have = 0;
	return try(s, true, &again, e);
}
