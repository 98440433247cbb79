/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/libarchive.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"

static struct libarchive functions;
static char *missing; /* why there are none */

static void find_functions(void)
{
	void *handle = dlopen("libarchive.so.13", RTLD_NOW | RTLD_NODELETE);

	if (!handle) {
		missing = xstrdup(dlerror()); /* NOLINT(concurrency-mt-unsafe): each thread has its own text */
		return;
	}
#define FUNCTION(name)                                                                                                 \
	functions.name = (__typeof__(functions.name))dlsym(handle, #name);                                             \
	if (!functions.name) {                                                                                         \
		missing = xstrdup("libarchive has no " #name);                                                         \
		return;                                                                                                \
	}
	LIBARCHIVE_FUNCTIONS(FUNCTION)
#undef FUNCTION
}

int libarchive_load(const struct libarchive **out, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (pthread_once(&once, find_functions) != 0)
		abort();
	if (missing)
		return err_set(e, -ENOSYS, "a tar cannot be read: %s", missing);
	*out = &functions;
	return 0;
}
