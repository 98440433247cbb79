/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/client/staging.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/layout.h"

/* What no other way brought: one request each. Unpacked by threads as they arrive. */

#define WAITING_MAX 64          /* fullfiles in memory or on disk that wait for a thread: the transfers pause beyond */
#define TAR_SLACK   (1UL << 20) /* headers and padding of the tar of one member, however its name and owner are coded */
#define BATCH_MAX   16384       /* requests that are kept in memory */
#define TRIES       2           /* the second for what a damaged copy, or a ".part" of something else, brought */

struct item {
	struct want *want;
	struct buf tar; /* empty: in the file */
	char *path, *name;
};

struct transfer {
	struct staging *s;
	struct work_queue *queue;
	bool last;
};

static int unpack_item(const struct staging *s, struct item *it, struct err *e)
{
	const struct digest *want = &it->want->entry->hash;

	if (it->tar.data) {
		int r = fullfile_unpack_mem(it->tar.data, it->tar.len, want, s->dir, e);
		buf_free(&it->tar);
		return r;
	}
	_cleanup_close_ int fd = openat(s->download, it->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(e, "%s", it->name);
	int r = fullfile_unpack(fd, want, s->dir, e);
	(void)unlinkat(s->download, it->name, 0);
	return r;
}

/* Not what the server sent: our own disk. A name or owner that the kernel does not take was the server's. */
static bool is_ours(int r)
{
	return r > -ERR_USAGE && r != -EINVAL && r != -ENAMETOOLONG;
}

static int unpack(void *arg, void *item, struct err *e)
{
	struct transfer *t = arg;
	struct staging *s = t->s;
	struct item *it = item;
	struct want *w = it->want;

	int r = unpack_item(s, it, e);
	want_settle(s, w, r >= 0);
	if (r >= 0)
		return 0;
	w->bad = true;
	if (stage_is_fatal(r) || (t->last && is_ours(r)))
		return err_in(e, r, "'%s'", w->entry->name);
	if (t->last)
		return err_in(e, -ERR_DIGEST, "the fullfile of '%s' is damaged on the server", w->entry->name);
	stage_note(s, xasprintf("the fullfile of '%s' is fetched again: %s", w->entry->name,
				e && e->text ? e->text : "it is damaged"));
	return 0;
}

static int on_done(void *arg, const struct fetch_job *job, int result, struct err *e)
{
	struct transfer *t = arg;
	struct item *it = job->user;
	struct want *w = it->want;

	if (result >= 0) {
		progress_add(t->s->m->progress, 1);
		return work_queue_put(t->queue, it);
	}
	want_settle(t->s, w, false);
	const char *fault = t->s->damage ? t->s->damage : t->s->m->whole_fault;
	/* a publisher that has a way from nothing has no fullfiles */
	if (result == -ERR_MISSING && fault)
		result = err_set(e, -ERR_DIGEST, "%s", fault);
	if (result == -ERR_MISSING)
		result = err_as(e, -ERR_DOWNLOAD);
	return err_in(e, result, "cannot fetch '%s'", w->entry->name);
}

static void free_items(struct item *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_free(&items[i].tar);
		free(items[i].path);
		free(items[i].name);
	}
	free(items);
}

static struct fetch_job job_of(struct item *it, struct want *w)
{
	char hex[DIGEST_HEX];

	digest_format(&w->entry->hash, hex);
	*it = (struct item){
		.want = w,
		.path = layout_fullfile(w->entry->release, &w->entry->hash),
		.name = xasprintf("%s.tar", hex),
	};
	return (struct fetch_job){
		.path = it->path,
		.name = it->name,
		.max = w->size_max < UINT64_MAX / 2 ? w->size_max + w->size_max / 64 + TAR_SLACK : 0,
		.text = &it->tar,
		.user = it,
	};
}

/* The next batch of missing objects, beginning with the one at *at. */
static int fetch_batch(struct staging *s, size_t *at, bool last, struct err *e)
{
	size_t n = 0, most = MIN(s->missing, (size_t)BATCH_MAX);
	_cleanup_free_ struct fetch_job *jobs = xcalloc(most, sizeof(*jobs));
	struct item *items = xcalloc(most, sizeof(*items));
	struct transfer t = {.s = s, .last = last};

	for (; *at < s->n && n < most; ++*at) {
		struct want *w = &s->wants[*at];
		if (want_claim(s, &w->entry->hash)) {
			jobs[n] = job_of(&items[n], w);
			n++;
		}
	}
	t.queue = work_queue_new(0, WAITING_MAX, unpack, &t);
	int r = fetch_files(s->m->fetch, s->m->content_url, s->download, jobs, n, on_done, &t, NULL, e);
	/* what unpacking says comes first: it is what stopped the transfers */
	struct err why = ERR_INIT;
	int unpacked = work_queue_end(t.queue, &why);
	if (unpacked < 0) {
		err_move(e, &why);
		r = unpacked;
	}
	free_items(items, n);
	return r;
}

static int fetch_missing(struct staging *s, bool last, struct err *e)
{
	int r = 0;

	for (size_t at = 0; at < s->n && s->missing && r >= 0;)
		r = fetch_batch(s, &at, last, e);
	return r;
}

int stage_fullfiles(struct staging *s, struct err *e)
{
	int r = 0;

	progress_stage(s->m->progress, "download_fullfiles", s->missing, false);
	if (s->missing)
		fetch_machine(s->m);
	for (int i = 1; r >= 0 && i <= TRIES && s->missing; i++)
		r = fetch_missing(s, i == TRIES, e);
	/* of the predecessor's steps: ours were unpacked as they came */
	progress_stage(s->m->progress, "extract_fullfiles", 0, false);
	return r;
}
