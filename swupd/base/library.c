/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"

static void find_functions(struct library *l)
{
	void *handle = dlopen(l->file, RTLD_LAZY | RTLD_NODELETE);

	if (!handle) {
		l->missing = xstrdup(dlerror()); /* NOLINT(concurrency-mt-unsafe): each thread has its own text */
		return;
	}
	for (size_t i = 0; i < l->n; i++) {
		void *function = dlsym(handle, l->names[i]);
		if (!function) {
			l->missing = xasprintf("%s has no %s", l->file, l->names[i]);
			return;
		}
		memcpy((char *)l->functions + i * sizeof(function), &function, sizeof(function));
	}
}

int library_load(struct library *l, struct err *e)
{
	pthread_mutex_lock(&l->lock);
	if (!l->tried)
		find_functions(l);
	l->tried = true;
	pthread_mutex_unlock(&l->lock);
	return l->missing ? err_set(e, -ENOSYS, "%s", l->missing) : 0;
}
