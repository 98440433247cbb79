/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct err;

/* One job of a list: i is its number. Runs in any thread; writes only what no other job does. */
typedef int work_fn(void *arg, size_t i, struct err *e);

/*
 * Run jobs 0..n-1 on threads (0: one per core), in order of number as threads become free. After a failure no further
 * job starts; the error of the failed job with the lowest number is returned. 0 on success.
 */
int work_each(unsigned threads, size_t n, work_fn *fn, void *arg, struct err *e);

unsigned work_cores(void);
