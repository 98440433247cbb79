/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct buf;

/*
 * A small thing by one request over HTTP, without TLS, by the client that libcrypto has. It is no second fetch.h, but what tells in most runs that there is nothing to do, for
 * less than libcurl takes to load (libcurl.h).
 *
 * 0: it is added to out. -ERR_MISSING: the server does not (404, 410, 403). Any other negative: nothing is known, ask by libcurl, which knows redirects, retries, proxies, and what
 * to say of a failure; of URLs that are not http, and where the environment has a proxy, at once. Takes at most PLAIN_HTTP_S seconds.
 *
 * Memory: max bytes.
 */
#define PLAIN_HTTP_S 10

int plain_http_get(const char *url, const char *user_agent, size_t max, struct buf *out);
