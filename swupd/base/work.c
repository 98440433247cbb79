/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/work.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"

#define THREADS_MAX 256

struct list {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	size_t next, n;
	work_need_fn *need; /* may be NULL */
	work_fn *fn;
	void *arg;
	uint64_t used, most; /* bytes of memory that running jobs may take */
	int result;
	size_t failed_at;
	struct err err;
};

unsigned work_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	int n = CPU_COUNT(&set);
	return n > 0 ? (unsigned)n : 1;
}

/* The next job, when there is memory for it. false: there is none. */
static bool begin(struct list *l, size_t *i, uint64_t *bytes)
{
	bool more;

	pthread_mutex_lock(&l->lock);
	while ((more = l->result == 0 && l->next < l->n)) {
		*bytes = l->need ? l->need(l->arg, l->next) : 0;
		if (l->used == 0 || l->used + *bytes <= l->most)
			break;
		pthread_cond_wait(&l->freed, &l->lock);
	}
	if (more) {
		*i = l->next++;
		l->used += *bytes;
	}
	pthread_mutex_unlock(&l->lock);
	return more;
}

static void end(struct list *l, size_t i, uint64_t bytes, int r, struct err *e)
{
	pthread_mutex_lock(&l->lock);
	l->used -= bytes;
	if (r < 0 && (l->result == 0 || i < l->failed_at)) {
		l->result = r;
		l->failed_at = i;
		err_move(&l->err, e);
	}
	pthread_cond_broadcast(&l->freed);
	pthread_mutex_unlock(&l->lock);
	err_clear(e);
}

static void *worker(void *p)
{
	struct list *l = p;
	uint64_t bytes;
	size_t i;

	while (begin(l, &i, &bytes)) {
		struct err e = ERR_INIT;
		int r = l->fn(l->arg, i, &e);
		end(l, i, bytes, r, &e);
	}
	return NULL;
}

int work_each(unsigned threads, size_t n, work_fn *fn, void *arg, struct err *e)
{
	return work_each_within(0, threads, n, NULL, fn, arg, e);
}

int work_each_within(uint64_t most, unsigned threads, size_t n, work_need_fn *need, work_fn *fn, void *arg,
		     struct err *e)
{
	struct list l = {.lock = PTHREAD_MUTEX_INITIALIZER,
			 .freed = PTHREAD_COND_INITIALIZER,
			 .n = n,
			 .need = need,
			 .fn = fn,
			 .arg = arg,
			 .most = most};
	pthread_t ids[THREADS_MAX];
	unsigned started = 0;

	if (threads == 0)
		threads = work_cores();
	threads = (unsigned)MIN((size_t)MIN(threads, (unsigned)THREADS_MAX), n);
	while (started + 1 < threads && pthread_create(&ids[started], NULL, worker, &l) == 0)
		started++;
	worker(&l); /* this thread works, too: with no other to be had the list is still done */
	for (unsigned i = 0; i < started; i++)
		pthread_join(ids[i], NULL);
	if (l.result < 0)
		err_move(e, &l.err);
	return l.result;
}

struct work_queue {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	work_item_fn *fn;
	void *arg;
	void **items; /* a ring of room places */
	size_t room, first, n;
	bool ended;
	int result;
	struct err err;
	pthread_t ids[THREADS_MAX];
	unsigned started;
};

static void run_item(struct work_queue *q, void *item)
{
	struct err e = ERR_INIT;

	int r = q->fn(q->arg, item, &e);
	if (r < 0) {
		pthread_mutex_lock(&q->lock);
		if (q->result == 0) {
			q->result = r;
			err_move(&q->err, &e);
		}
		pthread_mutex_unlock(&q->lock);
	}
	err_clear(&e);
}

static void *queue_worker(void *p)
{
	struct work_queue *q = p;

	for (;;) {
		pthread_mutex_lock(&q->lock);
		while (q->n == 0 && !q->ended)
			pthread_cond_wait(&q->changed, &q->lock);
		bool stop = q->n == 0 || q->result < 0;
		void *item = NULL;
		if (stop) {
			q->n = 0; /* who waits for room may go on */
		} else {
			item = q->items[q->first];
			q->first = (q->first + 1) % q->room;
			q->n--;
		}
		pthread_cond_broadcast(&q->changed);
		pthread_mutex_unlock(&q->lock);
		if (stop)
			return NULL;
		run_item(q, item);
	}
}

struct work_queue *work_queue_new(unsigned threads, size_t room, work_item_fn *fn, void *arg)
{
	struct work_queue *q = xcalloc(1, sizeof(*q));

	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	q->fn = fn;
	q->arg = arg;
	q->room = MAX(room, (size_t)1);
	q->items = xcalloc(q->room, sizeof(*q->items));
	if (threads == 0)
		threads = work_cores();
	threads = MIN(threads, (unsigned)THREADS_MAX);
	while (q->started < threads && pthread_create(&q->ids[q->started], NULL, queue_worker, q) == 0)
		q->started++;
	return q;
}

int work_queue_put(struct work_queue *q, void *item)
{
	if (q->started == 0) { /* no thread to be had: the work is done all the same */
		if (q->result == 0)
			run_item(q, item);
		return q->result;
	}
	pthread_mutex_lock(&q->lock);
	while (q->n == q->room && q->result == 0)
		pthread_cond_wait(&q->changed, &q->lock);
	int r = q->result;
	if (r == 0) {
		q->items[(q->first + q->n++) % q->room] = item;
		pthread_cond_broadcast(&q->changed);
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

int work_queue_end(struct work_queue *q, struct err *e)
{
	pthread_mutex_lock(&q->lock);
	q->ended = true;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	for (unsigned i = 0; i < q->started; i++)
		pthread_join(q->ids[i], NULL);
	int r = q->result;
	if (r < 0)
		err_move(e, &q->err);
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->lock);
	free(q->items);
	free(q);
	return r;
}
