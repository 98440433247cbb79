/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/work.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "swupd/base/mem.h"
#include "tests/unit/test.h"

struct sum {
	atomic_int done, total;
	int bad; /* the item that fails */
};

static int add(void *arg, void *item, struct err *e)
{
	struct sum *s = arg;
	int n = *(int *)item;

	if (n == s->bad)
		return err_set(e, -ERR_FORMAT, "item %d is bad", n);
	atomic_fetch_add(&s->done, 1);
	atomic_fetch_add(&s->total, n);
	return 0;
}

TEST(work_queue_does_each_item_once_through_a_small_room)
{
	struct err e = ERR_INIT;
	struct sum s = {.bad = -1};
	int items[1000];
	struct work_queue *q = work_queue_new(3, 2, add, &s);

	for (int i = 0; i < 1000; i++) {
		items[i] = i;
		assert_int_equal(work_queue_put(q, &items[i]), 0);
	}
	assert_ok(work_queue_end(q, &e), &e);
	assert_int_equal(s.done, 1000);
	assert_int_equal(s.total, 999 * 1000 / 2);
}

TEST(work_queue_tells_the_failure_and_begins_nothing_after_it)
{
	struct err e = ERR_INIT;
	struct sum s = {.bad = 5};
	int items[10000], i = 0;
	struct work_queue *q = work_queue_new(1, 1, add, &s);

	for (; i < 10000; i++) {
		items[i] = i;
		if (work_queue_put(q, &items[i]) < 0)
			break;
	}
	assert_true(i < 10000);
	assert_fails(work_queue_end(q, &e), ERR_FORMAT, &e, "item 5 is bad");
	assert_int_equal(s.done, 5);
}

TEST(work_queue_may_stay_empty)
{
	struct sum s = {0};

	assert_int_equal(work_queue_end(work_queue_new(2, 4, add, &s), NULL), 0);
}

struct room {
	atomic_ulong used, most;
	atomic_int done;
};

static const uint64_t needs[] = {50, 200, 60, 40, 40, 30, 30, 30, 10, 10};

static uint64_t need(void *arg __attribute__((unused)), size_t i)
{
	return needs[i % ARRAY_LEN(needs)];
}

static int use_room(void *arg, size_t i, struct err *e __attribute__((unused)))
{
	struct room *r = arg;
	unsigned long used = atomic_fetch_add(&r->used, needs[i % ARRAY_LEN(needs)]) + needs[i % ARRAY_LEN(needs)];

	/* the one that needs more than there is must be alone */
	if (used > 100 && used != 200)
		atomic_store(&r->most, used);
	(void)nanosleep(&(struct timespec){0, 100000}, NULL);
	(void)atomic_fetch_sub(&r->used, needs[i % ARRAY_LEN(needs)]);
	(void)atomic_fetch_add(&r->done, 1);
	return 0;
}

TEST(work_within_a_budget_never_takes_more_but_for_a_single_job)
{
	struct err e = ERR_INIT;
	struct room r = {0};

	assert_ok(work_each_within(100, 8, 200, need, use_room, &r, &e), &e);
	assert_int_equal(r.done, 200);
	assert_int_equal(r.most, 0);
}
