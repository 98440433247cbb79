/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"

/*
 * An HTTP/1.1 server on 127.0.0.1 that misbehaves where it is told to: files of a directory, and pages that stand before them. It runs in threads
 * of its own, one for each connection, until server_free.
 */
struct server;

/* What is not zero is another way to be wrong; all of it is copied. */
struct page {
	const char *path; /* "/20/format" */
	const void *body; /* NULL: the file of the directory */
	size_t len;
	int status;           /* instead of 200, with body */
	const char *location; /* sent with it */
	bool close_first;     /* no answer at all */
	size_t cut_after;     /* the connection ends after so many bytes of the body */
	size_t claimed;       /* Content-Length */
	bool no_range;        /* Range is ignored */
	int range_status;     /* what has a Range gets this, with no body */
	size_t shifted;       /* Content-Range begins so much later than asked for */
	unsigned slow_ms;     /* between pieces of 100 bytes */
	unsigned times;       /* only the first so many requests go wrong; 0: all */
	const char *retry_after;
};

struct server *server_new(const char *dir); /* dir may be NULL */
void server_free(struct server *s);
DEFINE_CLEANUP(struct server *, server_free);
void server_put(struct server *s, struct page page); /* replaces one of the same path */

const char *server_url(const struct server *s);
unsigned server_requests(struct server *s); /* GETs */
unsigned server_requests_of(struct server *s, const char *path);
unsigned server_ranges(struct server *s); /* that asked for the rest of something */
unsigned server_connections(struct server *s);
unsigned server_strange(struct server *s); /* anything but GET */
