/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

/*
 * A shared library that is loaded when something needs it first, and stays: for those that take longer to load than most runs take for all else. What is called of it stands
 * once in a macro that applies another to each name, as in libcurl.h.
 */
struct library {
	const char *file;
	const char *const *names;
	size_t n;
	void *functions; /* struct of n pointers, in the order of names */
	pthread_mutex_t lock;
	bool tried;
	char *missing; /* why it cannot be used */
};
#define LIBRARY(so, list, to)                                                                                          \
	{                                                                                                              \
		.file = (so), .names = (list), .n = sizeof(list) / sizeof((list)[0]), .functions = &(to),              \
		.lock = PTHREAD_MUTEX_INITIALIZER                                                                      \
	}

/* -ENOSYS: it is not there, or lacks one of the functions; the same for all further calls. For several threads. */
int library_load(struct library *l, struct err *e);
