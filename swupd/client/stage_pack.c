/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/client/catalog.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/client/staging.h"
#include "swupd/content/delta.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/object.h"
#include "swupd/content/pack.h"

#define CHUNK       65536
#define WAITING_MAX 16          /* packs on disk that wait for a thread: the transfers pause beyond */
#define LARGE       (64U << 20) /* old file and delta together: such are applied one at a time */

/*
 * Which packs are worth a request (sizes are not known before): what is missing of a pack must be a good part of it.
 *
 *  - up to PACK_FEW objects of up to PACK_SMALL bytes are fetched one by one, unless they are all that the pack has
 *  - of a pack of changes an eighth: deltas are some ten times smaller than what they make
 *  - of a pack of everything ("from 0") a half: it is as large as its fullfiles
 *
 * An object that several packs have counts for the first.
 */
#define PACK_FEW      2
#define PACK_SMALL    65536
#define SHARE_CHANGES 8
#define SHARE_ALL     2

/* What a pack has besides content: of each member headers and padding, and directories that no manifest lists */
#define MEMBER_SLACK 4096
#define PACK_SLACK   (1UL << 20)

struct pack_file {
	char *path;   /* on the server */
	char *name;   /* in download */
	uint64_t max; /* bytes; 0: not known */
};

struct pack_list {
	struct staging *s;
	struct work_queue *queue;
	struct pack_file *items;
	size_t n, cap;
};

static bool in_pack(const struct entry *entry, uint32_t from)
{
	return entry->kind != KIND_NONE && entry->status == STATUS_PRESENT && entry->release > from;
}

/* What a pack has, and what of it is missing here. */
struct share {
	size_t objects, missing;
	uint64_t bytes, missing_bytes;
	bool sized; /* the manifest tells sizes */
};

static bool worth(const struct share *h, uint32_t from)
{
	const unsigned part = from ? SHARE_CHANGES : SHARE_ALL;

	if (h->missing == 0)
		return false;
	if (h->missing <= PACK_FEW && h->missing < h->objects && (!h->sized || h->missing_bytes <= PACK_SMALL))
		return false;
	return h->sized && h->bytes ? h->missing_bytes >= h->bytes / part : h->missing * part >= h->objects;
}

/* No honest pack is larger, be it all fullfiles that do not compress. 0: the manifest tells too little. */
static uint64_t most(const struct share *h, const struct manifest *m)
{
	const uint64_t content = h->sized ? MIN(h->bytes, CONTENTSIZE_MAX) : stage_bundle_max(m);

	return content == UINT64_MAX ? 0 : content + content / 64 + h->objects * MEMBER_SLACK + PACK_SLACK;
}

/* Look at the pack of one bundle; when it is worth it, it is put on the list and the objects are promised. */
static void consider(struct pack_list *l, const char *bundle, const struct manifest *m, uint32_t from)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	_cleanup_free_ struct want **missing = xcalloc(l->s->n, sizeof(*missing));
	struct share h = {.sized = true};

	for (size_t i = 0; i < m->n_entries; i++) {
		const struct entry *entry = &m->entries[i];
		if (!in_pack(entry, from) ||
		    table_add(seen, entry->hash.bytes, sizeof(entry->hash.bytes), (void *)entry))
			continue;
		bool sized = entry->kind == KIND_DIR || entry->size != SIZE_UNKNOWN;
		uint64_t size = entry->size == SIZE_UNKNOWN ? 0 : entry->size;
		struct want *w = table_find(l->s->by_hash, entry->hash.bytes, sizeof(entry->hash.bytes));
		h.sized = h.sized && sized;
		h.objects++;
		h.bytes += size;
		if (w && w->state == WANT_MISSING && !w->promised) {
			h.missing_bytes += size;
			missing[h.missing++] = w;
		}
	}
	if (!worth(&h, from))
		return;
	for (size_t i = 0; i < h.missing; i++)
		missing[i]->promised = true;
	VEC_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = (struct pack_file){
		.path = layout_pack(m->release, bundle, from),
		.name = xasprintf("pack-%s-from-%" PRIu32 "-to-%" PRIu32 ".tar", bundle, from, m->release),
		.max = most(&h, m),
	};
}

static void choose(struct pack_list *l)
{
	const struct staging *s = l->s;

	for (size_t i = 0; i < s->new->n; i++) {
		const struct manifest *m = s->new->manifests[i];
		const struct manifest *before = s->old ? catalog_find(s->old, s->new->names[i]) : NULL;
		/* the same release, or going back: no pack of changes leads there */
		uint32_t from = before && before->release < m->release ? before->release : 0;
		consider(l, s->new->names[i], m, from);
	}
}

/* Read what the pack has of this member into the object. */
static int fill(struct pack *p, struct object *o, struct err *e)
{
	char chunk[CHUNK];

	for (;;) {
		int n = pack_read(p, chunk, sizeof(chunk), e);
		if (n <= 0)
			return n;
		int r = object_write(o, chunk, (size_t)n, e);
		if (r < 0)
			return r;
	}
}

static int take_object(struct staging *s, struct pack *p, const struct pack_member *m, const struct want *w,
		       struct err *e)
{
	_cleanup_(object_abortp) struct object *o = NULL;

	if (m->attrs.size > w->size_max)
		return err_set(e, -ERR_DIGEST, "it is larger than '%s'", w->entry->name);
	int r = object_begin(s->dir, &m->attrs, m->link, &o, e);
	if (r >= 0 && m->attrs.kind == KIND_FILE)
		r = fill(p, o, e);
	return r < 0 ? r : object_commit(take(o), &w->entry->hash, e);
}

/* The installed file that a delta begins from: only what has its hash on disk, too. */
static int load_old(const struct staging *s, const struct digest *hash, struct buf *out, struct err *e)
{
	size_t n;
	const struct entry *const *from = installed_find(s, hash, sizeof(struct digest), &n);

	for (size_t i = 0; i < n; i++) {
		struct digest real;
		struct attrs a;
		struct stat st;
		_cleanup_close_ int fd = fs_open_beneath(s->m->root, from[i]->name + 1, O_RDONLY | O_NONBLOCK, 0, NULL);
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || attrs_from_stat(&st, &a, NULL) < 0 ||
		    fs_load_fd(fd, from[i]->name, DELTA_RESULT_MAX, out, NULL) < 0)
			continue;
		a.size = out->len;
		file_hash_mem(&a, out->data, out->len, &real);
		if (digest_equal(&real, hash))
			return 0;
	}
	return err_set(e, -ERR_MISSING, "the file that its delta begins from is not installed");
}

static int apply(struct staging *s, const struct buf *delta, const struct pack_member *m, const struct want *w,
		 struct err *e)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};
	_cleanup_(object_abortp) struct object *o = NULL;
	struct attrs a;

	int r = load_old(s, &m->from, &old, e);
	if (r >= 0)
		r = delta_apply(old.data, old.len, delta->data, delta->len, &a, &new, e);
	if (r < 0)
		return r;
	a.size = new.len;
	r = object_begin(s->dir, &a, NULL, &o, e);
	if (r >= 0)
		r = object_write(o, new.data, new.len, e);
	return r < 0 ? r : object_commit(take(o), &w->entry->hash, e);
}

static int take_delta(struct staging *s, struct pack *p, const struct pack_member *m, const struct want *w,
		      struct err *e)
{
	_cleanup_(buf_free) struct buf delta = {0};
	struct delta_header h;

	if (m->attrs.size > DELTA_RESULT_MAX)
		return err_set(e, -ERR_LIMIT, "its delta is too large");
	for (int n = 1; n > 0;) {
		n = pack_read(p, buf_reserve(&delta, CHUNK), CHUNK, e);
		if (n < 0)
			return n;
		delta.len += (size_t)n;
	}
	int r = delta_parse_header(delta.data, delta.len, &h, e);
	if (r < 0)
		return r;
	bool large = h.old_len > LARGE || h.new_len > LARGE || delta.len > LARGE;
	if (large)
		pthread_mutex_lock(&s->large);
	r = apply(s, &delta, m, w, e);
	if (large)
		pthread_mutex_unlock(&s->large);
	return r;
}

/* Members that nobody needs are passed over: a pack full of other things costs time, but no space. */
static int read_members(struct staging *s, struct pack *p, struct err *e)
{
	struct pack_member m;
	int r;

	while ((r = pack_next(p, &m, e)) > 0) {
		struct want *w = want_claim(s, &m.hash);
		struct err why = ERR_INIT;
		if (!w)
			continue;
		r = m.is_delta ? take_delta(s, p, &m, w, &why) : take_object(s, p, &m, w, &why);
		want_settle(s, w, r >= 0);
		if (stage_is_fatal(r)) {
			err_move(e, &why);
			return r;
		}
		if (r < 0)
			stage_note(s, xasprintf("'%s' is not taken from its pack: %s", w->entry->name, why.text));
		err_clear(&why);
	}
	return r;
}

static int unpack(void *arg, void *item, struct err *e)
{
	struct pack_list *l = arg;
	struct pack_file *f = item;
	struct staging *s = l->s;
	_cleanup_(pack_closep) struct pack *p = NULL;
	struct err why = ERR_INIT;

	_cleanup_close_ int fd = openat(s->download, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(e, "%s", f->name);
	int r = pack_open(fd, &p, &why);
	if (r >= 0)
		r = read_members(s, p, &why);
	(void)unlinkat(s->download, f->name, 0);
	if (stage_is_fatal(r)) {
		err_move(e, &why);
		return r;
	}
	if (r < 0)
		stage_note(s,
			   xasprintf("%s is damaged, the rest of it is fetched file by file: %s", f->path, why.text));
	err_clear(&why);
	return 0;
}

static int on_done(void *arg, const struct fetch_job *job, int result, struct err *e)
{
	struct pack_list *l = arg;
	struct pack_file *f = job->user;

	if (result >= 0)
		return work_queue_put(l->queue, f);
	if (!stage_falls_through(l->s, result))
		return err_in(e, result, "%s", f->name);
	if (result != -ERR_MISSING)
		stage_note(l->s, xasprintf("there is no %s: %s", f->path, e->text));
	return 0;
}

static int fetch_packs(struct pack_list *l, struct err *e)
{
	struct staging *s = l->s;
	_cleanup_free_ struct fetch_job *jobs = xcalloc(l->n, sizeof(*jobs));
	struct err why = ERR_INIT;

	for (size_t i = 0; i < l->n; i++)
		jobs[i] = (struct fetch_job){
			.path = l->items[i].path,
			.name = l->items[i].name,
			.max = l->items[i].max,
			.user = &l->items[i],
		};
	l->queue = work_queue_new(0, WAITING_MAX, unpack, l);
	int r = fetch_files(s->m->fetch, s->m->content_url, s->download, jobs, l->n, on_done, l, s->m->progress, e);
	progress_stage(s->m->progress, "extract_packs", 0, false);
	int unpacked = work_queue_end(l->queue, &why);
	if (unpacked >= 0)
		return r;
	/* this is what stopped the transfers */
	err_move(e, &why);
	return unpacked;
}

static void free_list(struct pack_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].path);
		free(l->items[i].name);
	}
	free(l->items);
}

size_t stage_choose(struct staging *s)
{
	_cleanup_(free_list) struct pack_list l = {.s = s};

	if (s->missing)
		choose(&l);
	return l.n;
}

int stage_packs(struct staging *s, struct err *e)
{
	_cleanup_(free_list) struct pack_list l = {.s = s};
	int r = 0;

	progress_stage(s->m->progress, "download_packs", 0, true);
	if (s->missing)
		choose(&l);
	if (l.n) {
		fetch_machine(s->m);
		r = fetch_packs(&l, e);
	} else {
		progress_stage(s->m->progress, "extract_packs", 0, false);
	}
	stage_say_notes(s);
	return r;
}
