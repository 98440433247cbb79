/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct err;

/* One job of a list: i is its number. Runs in any thread; writes only what no other job does. */
typedef int work_fn(void *arg, size_t i, struct err *e);

/*
 * Run jobs 0..n-1 on threads (0: one per core), in order of number as threads become free. After a failure no further
 * job starts; the error of the failed job with the lowest number is returned. 0 on success.
 */
int work_each(unsigned threads, size_t n, work_fn *fn, void *arg, struct err *e);

/* The same, of jobs that take much memory, need(arg, i) bytes: those that run at one time take most together, or it is a single one. */
typedef uint64_t work_need_fn(void *arg, size_t i);
int work_each_within(uint64_t most, unsigned threads, size_t n, work_need_fn *need, work_fn *fn, void *arg,
		     struct err *e);

/*
 * A queue that threads (0: one per core) empty while it is filled: what was fetched is unpacked while the next is on its way. fn is called once for each
 * item, in any thread.
 */
struct work_queue;
typedef int work_item_fn(void *arg, void *item, struct err *e);
struct work_queue *work_queue_new(unsigned threads, size_t room, work_item_fn *fn, void *arg);

/*
 * Waits while room items are waiting. Once fn failed, nothing more is begun, and this returns that failure's code (its text comes with
 * work_queue_end).
 */
int work_queue_put(struct work_queue *q, void *item);

/* Wait until all is done, and free the queue. Returns the first failure. */
int work_queue_end(struct work_queue *q, struct err *e);

unsigned work_cores(void);
