/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <curl/curl.h>

struct err;

/* What is called of it here: NAME of the function, without "curl_" */
#define LIBCURL_FUNCTIONS(NAME)                                                                                        \
	NAME(easy_cleanup)                                                                                             \
	NAME(easy_getinfo)                                                                                             \
	NAME(easy_header)                                                                                              \
	NAME(easy_init)                                                                                                \
	NAME(easy_reset)                                                                                               \
	NAME(easy_setopt)                                                                                              \
	NAME(easy_strerror)                                                                                            \
	NAME(global_cleanup)                                                                                           \
	NAME(global_init)                                                                                              \
	NAME(multi_add_handle)                                                                                         \
	NAME(multi_cleanup)                                                                                            \
	NAME(multi_info_read)                                                                                          \
	NAME(multi_init)                                                                                               \
	NAME(multi_perform)                                                                                            \
	NAME(multi_poll)                                                                                               \
	NAME(multi_remove_handle)                                                                                      \
	NAME(multi_setopt)                                                                                             \
	NAME(multi_strerror)                                                                                           \
	NAME(version_info)

/*
 * libcurl, loaded with the first transfer: Debian's, with the 25 libraries that only it needs, takes as long to load as all else that an update does which finds nothing new. It
 * stays loaded. Its functions are called by their names without "curl_": some of those are macros.
 */
struct libcurl {
#define FUNCTION(name) __typeof__(curl_##name) *name;
	LIBCURL_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

extern struct libcurl curl; /* to be used once libcurl_load() has succeeded */

int libcurl_load(struct err *e); /* -ENOSYS: it is not there */
