/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/libcurl.h"

#include "swupd/base/err.h"
#include "swupd/base/library.h"

#define NAME(name) "curl_" #name,

struct libcurl curl;

int libcurl_load(struct err *e)
{
	static const char *const names[] = {LIBCURL_FUNCTIONS(NAME)};
	static struct library library = LIBRARY("libcurl.so.4", names, curl);

	int r = library_load(&library, e);
	return r < 0 ? err_in(e, r, "nothing can be transferred") : 0;
}
