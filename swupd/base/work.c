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
	size_t next, n;
	work_fn *fn;
	void *arg;
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

static void *worker(void *p)
{
	struct list *l = p;

	for (;;) {
		struct err e = ERR_INIT;
		pthread_mutex_lock(&l->lock);
		bool stop = l->result < 0 || l->next == l->n;
		size_t i = stop ? 0 : l->next++;
		pthread_mutex_unlock(&l->lock);
		if (stop)
			return NULL;
		int r = l->fn(l->arg, i, &e);
		if (r < 0) {
			pthread_mutex_lock(&l->lock);
			if (l->result == 0 || i < l->failed_at) {
				l->result = r;
				l->failed_at = i;
				err_move(&l->err, &e);
			}
			pthread_mutex_unlock(&l->lock);
		}
		err_clear(&e);
	}
}

int work_each(unsigned threads, size_t n, work_fn *fn, void *arg, struct err *e)
{
	struct list l = {.lock = PTHREAD_MUTEX_INITIALIZER, .n = n, .fn = fn, .arg = arg};
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
