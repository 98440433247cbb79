/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/libarchive.h"

#include <dlfcn.h>
#include <errno.h>

#include "swupd/base/err.h"

int libarchive_load(struct libarchive *out, struct err *e)
{
	void *handle = dlopen("libarchive.so.13", RTLD_NOW | RTLD_NODELETE);

	if (!handle)
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): each thread has its own text */
		return err_set(e, -ENOSYS, "a tar cannot be read: %s", dlerror());
#define FUNCTION(name)                                                                                                 \
	out->name = (__typeof__(out->name))dlsym(handle, #name);                                                       \
	if (!out->name)                                                                                                \
		return err_set(e, -ENOSYS, "a tar cannot be read: libarchive has no %s", #name);
	LIBARCHIVE_FUNCTIONS(FUNCTION)
#undef FUNCTION
	return 0;
}
