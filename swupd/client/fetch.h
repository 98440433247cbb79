/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"

struct buf;
struct err;
struct machine;
struct progress;
struct ui;

/*
 * Transfers over libcurl, which is loaded with the first (libcurl.h): one set of connections for a whole run (HTTP/2 where the server has it, else keep-alive), retries with backoff,
 * resume. URLs are base + "/" + a name from layout.h. file:// is a server like any other, also when base is a tar file of such a tree (tar_source.h).
 *
 * Errors: -ERR_MISSING (404, 410, 403, no such file), -ERR_CONNECT, -ERR_TLS, -ERR_DOWNLOAD (any other), -ERR_LIMIT (more than max bytes),
 * -ENOSPC and the like from writing. Nothing that came in is verified here.
 */
struct fetch;

/*
 * A copy of a tree, and where it is a copy of. What it has not is asked of the origin, too. Once it cannot be reached, breaks off, is too slow or is left (fetch_leave), the origin is
 * asked instead for the rest of the run; one that cannot be reached is not asked again, and there is the copy alone, as if it had no origin.
 */
struct fetch_mirror {
	const char *base;   /* known by this pointer: there may be two mirrors of different things at one place */
	const char *origin; /* NULL: it has none */
};

struct fetch_options {
	unsigned parallel;       /* transfers at once */
	unsigned retries;        /* after the first try; none for 403, 404, write errors, file:// */
	unsigned delay_s;        /* before the first retry; doubled up to 60 */
	uint32_t port;           /* 0: as in the URL */
	bool allow_http;         /* else http:// is refused (-ERR_CONFIG) */
	const char *client_cert; /* PEM with certificate and key, or NULL */
	const char *user_agent;
	struct fetch_mirror mirrors[2];
	struct ui *ui; /* NULL: nobody is told that a mirror is left */
};

#define FETCH_CLIENT_CERT "/etc/swupd/client.pem" /* used when it is there */

struct fetch *fetch_new(const struct fetch_options *o);
void fetch_free(struct fetch *f);
DEFINE_CLEANUP(struct fetch *, fetch_free);

/* Make m->fetch from the machine's options, unless it is there. */
void fetch_machine(struct machine *m);

/*
 * What came from base was found to be wrong: result and e say how. True: it is a mirror, which is asked no more (a warning says so), e is empty, and the origin may have what is right.
 */
bool fetch_leave(struct fetch *f, const char *base, int result, struct err *e);

/* One small thing into memory. */
int fetch_text(struct fetch *f, const char *base, const char *path, size_t max, struct buf *out, struct err *e);

struct fetch_job;

/* job's ".part" has so many bytes now. Not said when the whole file comes instead of a part. */
typedef void fetch_grown_fn(void *arg, const struct fetch_job *job, uint64_t have);

/*
 * Many files. Each is written to name in dirfd (through name + ".part", which is resumed when it is there). done is called for each as soon as it ends, from
 * the thread that called fetch_files, in any order: result is 0 (FETCH_WHOLE: the whole file came instead of a part) or the error, e its text; a negative return of done stops everything. size is a
 * hint for progress (0: unknown). A job that fails does not end the others.
 *
 * Killed at any moment, this leaves a ".part" at most: name itself is whole.
 */
struct fetch_job {
	const char *path;
	const char *name;
	uint64_t size;
	uint64_t max; /* a larger one is -ERR_LIMIT, before it comes where the server tells; 0: any size */
	/* bytes not 0: only so many from at on are asked for, fewer come when the file ends before; a server that knows no ranges, or refuses them, sends all of it */
	uint64_t at, bytes;
	/*
	 * Not NULL: what is at most FETCH_IN_MEMORY bytes comes here (and is the caller's), and there is no file; of a larger one there is, and text stays empty.
	 * For the many small ones: a file system takes long to make and remove a file for each (ext4 searches for an inode that was not deleted lately).
	 */
	struct buf *text;
	fetch_grown_fn *grown; /* NULL: nobody waits for the beginning; its arg is that of done */
	void *user;
};
#define FETCH_IN_MEMORY (256UL << 10)
#define FETCH_WHOLE     1

typedef int fetch_done_fn(void *arg, const struct fetch_job *job, int result, struct err *e);
int fetch_files(struct fetch *f, const char *base, int dirfd, const struct fetch_job *jobs, size_t n,
		fetch_done_fn *done, void *arg, struct progress *p, struct err *e);

/* Bytes and requests so far, for --time and the benchmark. */
void fetch_count(const struct fetch *f, uint64_t *bytes, uint64_t *requests);
