/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/libarchive.h"

#include "swupd/base/err.h"
#include "swupd/base/library.h"

#define NAME(name) #name,

int libarchive_load(const struct libarchive **out, struct err *e)
{
	static const char *const names[] = {LIBARCHIVE_FUNCTIONS(NAME)};
	static struct libarchive functions;
	static struct library library = LIBRARY("libarchive.so.13", names, functions);

	*out = &functions;
	int r = library_load(&library, e);
	return r < 0 ? err_in(e, r, "a tar cannot be read") : 0;
}
