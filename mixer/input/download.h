/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct err;
struct progress;

/* Files from http:, https: and file: URLs, several at once over connections that are kept. http_proxy and the like are honoured. */
struct downloader;
struct downloader *downloader_new(void);
void downloader_free(struct downloader *d);
DEFINE_CLEANUP(struct downloader *, downloader_free);

struct download {
	const char *url;
	const char *what; /* for messages: "package bash" */
	int dirfd; /* the file becomes name in dirfd when it is whole and right; "<name>.part" until then, from which a */
	const char *name;            /* later run goes on */
	const struct digest *sha256; /* NULL: not known, then nothing is resumed */
	uint64_t size;               /* 0: not known */
	uint64_t max;                /* bytes, when size is not known */
	bool if_newer; /* only when the server's is newer than what is there (by its mtime, which becomes the server's) */
};

/*
 * Download list[0..n), at most 8 at once, in order as connections become free; each is tried 4 times when the failure may pass. Ends at the first that
 * cannot be had: -ERR_MISSING (404), -ERR_CONNECT, -ERR_TLS, -ERR_DIGEST (size or sha256 differ), -ERR_LIMIT, -ERR_DOWNLOAD; the text begins with what.
 * Bytes are added to progress.
 */
int download_all(struct downloader *d, const struct download *list, size_t n, struct progress *progress, struct err *e);

/* base and path with one '/' between; what a URL cannot hold in path is percent-encoded. Caller frees. */
char *url_join(const char *base, const char *path);
