/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/deltas.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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

/* In the cache instead of a delta that is not worth it: the format's own mark. An empty file would also be what a crash of the machine leaves. */
static const char not_worth_it[] = "FULLV20U";

#define WORTH_MIN 200 /* bytes; delta_make makes none of smaller files, and its answer would only fill the cache */
#define XZ_MEMORY (700ULL << 20)

struct making {
	const struct mix *m;
	const struct delta_kind *kind;
	struct delta_pair **pairs;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	uint64_t used; /* bytes of memory that running jobs may need */
};

/* Both contents, and first what matching needs (delta.h), then the result, its blocks and xz. */
static uint64_t memory_of(const struct delta_pair *p)
{
	const uint64_t old = p->from->attrs.size, new = p->to->attrs.size;

	return old + new + MAX(old / 2 * 9, 2 * new + MIN(11 * new, XZ_MEMORY));
}

static void take_memory(struct making *k, uint64_t bytes)
{
	pthread_mutex_lock(&k->lock);
	while (k->used && k->used + bytes > DELTAS_MEMORY)
		pthread_cond_wait(&k->freed, &k->lock);
	k->used += bytes;
	pthread_mutex_unlock(&k->lock);
}

static void give_memory(struct making *k, uint64_t bytes)
{
	pthread_mutex_lock(&k->lock);
	k->used -= bytes;
	pthread_cond_broadcast(&k->freed);
	pthread_mutex_unlock(&k->lock);
}

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
static int load(const struct mix *m, const struct node *n, struct buf *out, struct err *e)
{
	struct digest real;

	int r = object_content(m, n, out, e);
	if (r < 0)
		return r;
	file_hash_mem(&n->attrs, out->data, out->len, &real);
	if (digest_equal(&real, &n->hash))
		return 0;
	return err_hint(e, err_set(e, -ERR_DIGEST, "%s: its content in the cache is damaged", n->path),
			"remove <cache>/objects, then 'mixer build' makes it anew");
}

static int make(const struct making *k, const struct delta_pair *p, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};

	int r = load(k->m, p->from, &old, e);
	if (r >= 0)
		r = load(k->m, p->to, &new, e);
	if (r >= 0)
		r = k->kind->make(&old, &new, &p->to->attrs, out, e);
	if (r == 1)
		buf_puts(out, not_worth_it);
	return r;
}

static int look_classic(const struct buf *delta)
{
	struct delta_header h;

	int r = delta_parse_header(delta->data, delta->len, &h, NULL);
	return r == -ERR_MISSING ? 1 : r;
}

const struct delta_kind delta_classic = {
	.folder = "deltas",
	.make = delta_make_checked,
	.look = look_classic,
	.min = WORTH_MIN,
	.max = DELTA_RESULT_MAX, /* the client does not load larger ones either */
};

static char *path_of(const struct delta_kind *kind, const struct delta_pair *p)
{
	char from[DIGEST_HEX], to[DIGEST_HEX];

	digest_format(&p->from->hash, from);
	digest_format(&p->to->hash, to);
	return xasprintf("%s/%.2s/%s-%s", kind->folder, to, from, to);
}

static int make_missing(struct making *k, const struct delta_pair *p, const char *file, struct buf *delta,
			struct err *e)
{
	_cleanup_free_ char *dir = xstrndup(file, (size_t)(strrchr(file, '/') - file));
	const uint64_t memory = memory_of(p);

	buf_free(delta); /* a damaged one may have been looked up */
	*delta = (struct buf){0};
	take_memory(k, memory);
	int r = make(k, p, delta, e);
	give_memory(k, memory);
	if (r < 0)
		return err_in(e, r, "delta of %s", p->to->path);
	int saved = fs_mkdirs(k->m->cache, dir, 0755, e);
	if (saved >= 0)
		saved = fs_save_cache(k->m->cache, file, delta->data, delta->len, 0644, e);
	return saved < 0 ? saved : r;
}

static int make_one(void *arg, size_t i, struct err *e)
{
	struct making *k = arg;
	struct delta_pair *p = k->pairs[i];
	_cleanup_free_ char *file = path_of(k->kind, p);
	_cleanup_(buf_free) struct buf delta = {0};

	progress_add(k->m->progress, p->to->attrs.size);
	if (p->to->attrs.size < k->kind->min || MAX(p->from->attrs.size, p->to->attrs.size) > k->kind->max)
		return 0;
	int r = cache_has(k->m, file) ? fs_load(k->m->cache, file, k->kind->max, &delta, NULL) : -ENOENT;
	if (r >= 0)
		r = k->kind->look(&delta);
	if (r < 0)
		r = make_missing(k, p, file, &delta, e);
	if (r == 0) {
		p->file = take(file);
		p->size = delta.len;
	}
	return r < 0 ? r : 0;
}

static int by_memory(const void *a, const void *b)
{
	const struct delta_pair *x = *(const struct delta_pair *const *)a, *y = *(const struct delta_pair *const *)b;
	const uint64_t need_x = memory_of(x), need_y = memory_of(y);

	if (need_x != need_y)
		return need_x < need_y ? 1 : -1;
	int r = memcmp(&x->to->hash, &y->to->hash, sizeof(x->to->hash));
	return r ? r : memcmp(&x->from->hash, &y->from->hash, sizeof(x->from->hash));
}

int deltas_make(const struct mix *m, const struct delta_kind *kind, struct delta_pair **pairs, size_t n, struct err *e)
{
	struct making k = {.m = m,
			   .kind = kind,
			   .pairs = pairs,
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .freed = PTHREAD_COND_INITIALIZER};
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += pairs[i]->to->attrs.size;
	progress_stage(m->progress, "deltas", bytes, true);
	/* the longest job last would leave all other cores idle */
	if (n)
		qsort(pairs, n, sizeof(*pairs), by_memory);
	int r = work_each(m->config->threads, n, make_one, &k, e);
	pthread_cond_destroy(&k.freed);
	pthread_mutex_destroy(&k.lock);
	return r;
}
