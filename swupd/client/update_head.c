/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/update_head.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/client/catalog.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/client/scratch.h"
#include "swupd/client/staging.h"
#include "swupd/client/trust.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/ways.h"

/* Asked for before anything is known. What comes beyond the head is the section that nearly every client needs, and not fetched again. */
#define FIRST_BYTES (64UL << 10)
/* So much of a file, and of the room, comes rather than one request more (UPDATE_REQUESTS), though a machine may need little of it */
#define WHOLE_MAX  (16UL << 20)
#define WHOLE_ROOM 16
/* Files from nothing, each with a head and a range, that UPDATE_REQUESTS have room for */
#define WHOLE_STEPS 3
#define LIST_MAX    (1UL << 20)
#define MOM_MAX     (4UL << 20) /* 40,000 bundles; until it is verified, it is held in memory */

/* Where manifests of the new release are made from those of the old. */
struct meta {
	struct machine *m;
	const struct update_index *index;
	const struct catalog *installed; /* which bundles; NULL: all are of interest */
	const struct manifest *old_mom;  /* of where the file begins; NULL: it could not be had */
	struct manifest *mom;            /* the new one, not verified: it only tells which manifests to take */
	int store;                       /* <cache>/manifest */
	const struct entry *entry;       /* what is being made; NULL: the MoM */
	struct buf base, text;           /* text: of the MoM */
	struct fs_tmp file;              /* of another, which may have any size, in the store */
	struct file_hash *hash;
};

static void drop_file(struct meta *t)
{
	if (t->hash)
		file_hash_free(take(t->hash));
	fs_tmp_abort(&t->file);
}

static void meta_clear(struct meta *t)
{
	drop_file(t);
	manifest_free(t->mom);
	closep(&t->store);
	buf_free(&t->base);
	buf_free(&t->text);
}

/* The bundle's manifest in the store, if it is what the record begins from. */
static int load_base(struct meta *t, const struct entry *old, const struct update_record *r)
{
	char hex[DIGEST_HEX];

	if (!old || !update_is(t->index, &r->from, &old->hash))
		return 0;
	digest_format(&old->hash, hex);
	return fs_load(t->store, hex, MANIFEST_MAX, &t->base, NULL) >= 0;
}

static const struct entry *find_entry(const struct meta *t, const struct update_record *r)
{
	for (size_t i = 0; i < t->mom->n_entries; i++)
		if (update_is(t->index, &r->hash, &t->mom->entries[i].hash))
			return &t->mom->entries[i];
	return NULL;
}

static int begin_manifest(struct meta *t, const struct update_record *r)
{
	char hex[DIGEST_HEX];

	t->entry = find_entry(t, r);
	if (!t->entry)
		return 0;
	digest_format(&t->entry->hash, hex);
	if (fs_exists(t->store, hex))
		return 0;
	if (!update_has_base(r))
		return 1;
	/* of bundles that are not installed nobody asks */
	if (!t->old_mom || (t->installed && !catalog_find(t->installed, t->entry->name)))
		return 0;
	return load_base(t, manifest_find(t->old_mom, t->entry->name), r);
}

/* It goes into the store, and gets its name there when it is what the MoM lists. */
static int begin_file(struct meta *t, const struct update_record *r, struct err *e)
{
	const struct attrs attrs = {.kind = KIND_FILE, .mode = 0644, .size = r->size};

	t->hash = file_hash_new(&attrs);
	return fs_tmp_open(t->store, 0644, &t->file, e);
}

static int begin(void *arg, const struct update_record *r, struct view *base, struct err *e)
{
	struct meta *t = arg;
	int result = 0;

	t->base.len = t->text.len = 0;
	t->entry = NULL;
	if (r->size > (r->number ? MANIFEST_MAX : MOM_MAX))
		return 0;
	if (r->number == 0) {
		if (update_has_base(r) && catalog_load_mom_text(t->m, t->index->from, &t->base) < 0)
			return 0;
	} else if (!t->mom || !begin_manifest(t, r)) {
		return 0;
	}
	if (t->entry)
		result = begin_file(t, r, e);
	*base = VIEW_OF((const uint8_t *)t->base.data, t->base.len);
	return result < 0 ? result : 1;
}

static int take_text(void *arg, const void *data, size_t len, struct err *e)
{
	struct meta *t = arg;

	if (!t->entry) {
		buf_add(&t->text, data, len);
		return 0;
	}
	file_hash_add(t->hash, data, len);
	return fs_write_all(t->file.fd, data, len, e);
}

static int end_mom(struct meta *t, struct err *e)
{
	struct err why = ERR_INIT;

	int r = manifest_parse(t->text.data, t->text.len, true, t->index->to, &t->mom, &why);
	if (r < 0)
		ui_debug(t->m->ui, "the MoM of an update file is not used: %s", why.text);
	err_clear(&why);
	/* who asks for all manifests of a release has its MoM, verified */
	if (r < 0 || t->index->from == t->index->to)
		return 0;
	return catalog_save_mom_text(t->m, t->index->to, &t->text, &t->index->signature, e);
}

static int end(void *arg, const struct update_record *r __attribute__((unused)), int result, struct err *e)
{
	struct meta *t = arg;
	struct digest real;
	char hex[DIGEST_HEX];

	if (result < 0) {
		ui_debug(t->m->ui, "a manifest of an update file is not used: %s", e->text);
		drop_file(t);
		return 0;
	}
	buf_add(&t->text, "", 0);
	if (!t->entry)
		return end_mom(t, e);
	file_hash_end(t->hash, &real);
	file_hash_free(take(t->hash));
	digest_format(&real, hex);
	if (digest_equal(&real, &t->entry->hash))
		return fs_tmp_commit(&t->file, hex, e);
	ui_debug(t->m->ui, "the manifest of '%s' in an update file is not the one that the MoM lists", t->entry->name);
	drop_file(t);
	return 0;
}

/* mom: of where the file begins; afterwards of where it leads to, owned by the caller. */
static int take_manifests(struct machine *m, const struct update_head *h, const struct catalog *installed,
			  const struct manifest *old_mom, struct manifest **mom, struct err *e)
{
	_cleanup_(meta_clear) struct meta t = {.m = m,
					       .index = &h->index,
					       .installed = installed,
					       .old_mom = old_mom,
					       .store = -1,
					       .file = FS_TMP_INIT};
	const struct update_target target = {.begin = begin, .write = take_text, .end = end, .arg = &t, .scratch = -1};
	struct err why = ERR_INIT;
	int r = 0;

	t.store = fs_make_dir(m->cache, "manifest", 0755, e);
	if (t.store < 0)
		return t.store;
	for (size_t i = 0; r >= 0 && i < h->index.n_sections && h->index.sections[i].meta; i++)
		r = update_read(&h->index, i, h->fd, h->index.sections[i].at, &target, &why);
	*mom = take(t.mom);
	if (stage_is_fatal(r)) {
		err_move(e, &why);
		return r;
	}
	if (r < 0)
		ui_debug(m->ui, "the manifests of %s are not all used: %s", h->path, why.text);
	err_clear(&why);
	return 0;
}

char *update_head_part(const struct update_head *h, uint64_t at)
{
	return xasprintf("update-%" PRIu32 "-%" PRIu32 "-%" PRIu64, h->from, h->to, at);
}

/* What an interrupted run left of it that goes on beyond at, from its place *start on. -1: there is none. */
static int open_left(const struct update_head *h, int dir, uint64_t at, uint64_t *start)
{
	_cleanup_free_ char *begin = xasprintf("update-%" PRIu32 "-%" PRIu32 "-", h->from, h->to);
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;

	(void)fs_list(dir, ".", &names, NULL);
	for (size_t i = 0; i < names.n; i++) {
		const char *name = names.items[i], *digits = name + strlen(begin);
		if (!text_starts(name, begin) ||
		    text_u64_n(digits, strspn(digits, "0123456789"), 0, UINT64_MAX, start) < 0 || *start >= at)
			continue;
		_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size <= at - *start)
			continue;
		(void)unlinkat(dir, name, 0);
		return take_fd(&fd);
	}
	return -1;
}

bool update_head_begin_part(const struct update_head *h, int dir, uint64_t at)
{
	_cleanup_free_ char *name = update_head_part(h, at), *part = xasprintf("%s.part", name);
	uint64_t start = 0;
	struct stat st;

	if (fs_exists(dir, part))
		return true;
	_cleanup_close_ int left = at < h->have ? fcntl(h->fd, F_DUPFD_CLOEXEC, 0) : open_left(h, dir, at, &start);
	if (left < 0 || fstat(left, &st) < 0)
		return false;
	_cleanup_close_ int fd = openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && (lseek(left, (off_t)(at - start), SEEK_SET) < 0 ||
			fs_copy_fd(left, fd, (uint64_t)st.st_size - (at - start), NULL) < 0))
		(void)unlinkat(dir, part, 0);
	return at >= h->have;
}

/* The next bytes of it, or all of it, came into a file. */
static int extend(struct update_head *h, int dir, const char *name, bool whole, struct err *e)
{
	struct stat st;

	_cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "%s", name);
	(void)unlinkat(dir, name, 0);
	if (h->fd < 0 || whole) {
		closep(&h->fd);
		h->fd = take_fd(&fd);
		h->have = (uint64_t)st.st_size;
		return 0;
	}
	if (lseek(h->fd, 0, SEEK_END) < 0)
		return err_errno(e, "%s", name);
	h->have += (uint64_t)st.st_size;
	return fs_copy_fd(fd, h->fd, (uint64_t)st.st_size, e);
}

/* The way that is looked for. */
struct way {
	struct machine *m;
	int dir; /* where files are while they are fetched */
	uint32_t to;
	const struct catalog *installed; /* NULL: it leads from nothing */
	bool manifests;                  /* are of interest */
	struct manifest *mom;            /* of where it has led to; NULL: nothing is known of that */
	size_t memory, heads;            /* of UPDATE_MEMORY and UPDATE_HEAD_MAX what is left for more files */
};

static int part_came(void *arg, const struct fetch_job *job, int result, struct err *e)
{
	const struct way *w = arg;

	return result < 0 ? result : extend(job->user, w->dir, job->name, result == FETCH_WHOLE, e);
}

/*
 * The bytes of each up to first that it has not. A server that knows no ranges sends whole files, of which nothing may be known yet: they are kept, and must leave as much room for
 * what is made of them (at least one byte, since 0 is no limit).
 */
static int fetch_parts(struct way *w, struct update_head **heads, size_t n, struct err *e)
{
	_cleanup_free_ struct fetch_job *jobs = xcalloc(n + 1, sizeof(*jobs));
	_cleanup_(strv_free) struct strv names = {0};
	const struct machine *m = w->m;
	uint64_t room;

	int r = fs_free_space(w->dir, &room, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct update_head *h = heads[i];
		strv_take(&names, update_head_part(h, h->have));
		jobs[i] = (struct fetch_job){.path = h->path,
					     .name = names.items[i],
					     .at = h->have,
					     .bytes = h->first - h->have,
					     .max = MIN(room / 2 / n + 1, h->bytes ? h->bytes : UINT64_MAX),
					     .user = h};
	}
	return fetch_files(m->fetch, m->content_url, w->dir, jobs, n, part_came, w, NULL, e);
}

/* Where its sections end, which is where it does */
static uint64_t index_end(const struct update_index *x)
{
	const struct update_section *last = x->n_sections ? &x->sections[x->n_sections - 1] : NULL;

	return last ? last->at + last->stored : 0;
}

static int load_head(struct way *w, struct update_head *h, struct err *e)
{
	char fixed[UPDATE_FIXED];
	size_t index, head;

	int r = fs_read_at(h->fd, 0, fixed, sizeof(fixed), e);
	if (r >= 0)
		r = update_head_size(fixed, sizeof(fixed), &index, &head, e);
	if (r >= 0 && !w->manifests)
		head = index;
	if (r >= 0 && head > w->heads)
		r = err_set(e, -ERR_LIMIT, "the heads of all that lead there are too large");
	if (r >= 0 && head > h->have) {
		h->first = head;
		r = fetch_parts(w, &h, 1, e);
	}
	if (r >= 0 && head > h->have)
		r = err_set(e, -ERR_FORMAT, "it ends early");
	if (r >= 0)
		r = update_load(h->fd, w->memory, &h->index, e);
	if (r >= 0 && (h->index.from != h->from || h->index.to != h->to))
		r = err_set(e, -ERR_FORMAT, "it is of other releases");
	if (r >= 0 && h->bytes && index_end(&h->index) > h->bytes)
		r = err_set(e, -ERR_FORMAT, "it is larger than what was signed");
	if (r < 0)
		return r;
	w->memory -= h->index.memory;
	w->heads -= head;
	return 0;
}

void update_head_free(struct update_head *h)
{
	while (h) {
		struct update_head *before = h->before;
		update_index_clear(&h->index);
		closep(&h->fd);
		free(h->path);
		free(h);
		h = before;
	}
}
DEFINE_CLEANUP(struct update_head *, update_head_free);

static void forget_head(struct update_head *h)
{
	update_index_clear(&h->index);
	h->index = (struct update_index){0};
	closep(&h->fd);
	h->fd = -1;
	h->have = 0;
}

/* What an interrupted run left of it may have been damaged when the power went: without that once more. */
static int try_head(struct way *w, struct update_head *h, struct err *e)
{
	_cleanup_free_ char *name = update_head_part(h, 0), *part = xasprintf("%s.part", name);
	const uint64_t first = h->first;
	struct err why = ERR_INIT;

	int r = load_head(w, h, &why);
	if (h->left && (r == -ERR_FORMAT || r == -ERR_LIMIT)) {
		err_clear(&why);
		forget_head(h);
		h->first = first;
		(void)unlinkat(w->dir, part, 0);
		r = fetch_parts(w, &h, 1, &why);
		if (r >= 0)
			r = load_head(w, h, &why);
	}
	if (r < 0)
		err_move(e, &why);
	return r;
}

/* Takes path. */
static struct update_head *new_head(const struct way *w, const struct way_step *step, char *path)
{
	struct update_head *h = xcalloc(1, sizeof(*h));

	*h = (struct update_head){.from = step->from, .to = step->to, .path = path, .bytes = step->bytes, .fd = -1};
	h->first = MAX(w->manifests ? step->head : 0, FIRST_BYTES);
	if (h->bytes && h->bytes <= h->first + FIRST_BYTES)
		h->first = h->bytes;
	_cleanup_free_ char *name = update_head_part(h, 0), *part = xasprintf("%s.part", name);
	h->left = fs_exists(w->dir, part);
	return h;
}

bool update_head_is_all(const struct update_head *h)
{
	return h->bytes && h->bytes <= MAX(h->have, h->first);
}

/*
 * One request for each, and a range of each that does not come whole by that: where this would be more than an update may have, the smallest come whole, with what this machine may not
 * need of them.
 */
static void limit_requests(const struct way *w, struct update_head **heads, size_t n)
{
	uint64_t bytes = 0, requests = 0, room = 0;
	size_t ranges = 0;

	if (n > WAYS_STEPS_FEW || fs_free_space(w->dir, &room, NULL) < 0)
		return;
	fetch_count(w->m->fetch, &bytes, &requests);
	for (size_t i = 0; i < n; i++)
		ranges += !update_head_is_all(heads[i]);
	while (ranges && requests + n + ranges > UPDATE_REQUESTS) {
		struct update_head *smallest = NULL;
		for (size_t i = 0; i < n; i++)
			if (heads[i]->bytes && !update_head_is_all(heads[i]) &&
			    (!smallest || heads[i]->bytes < smallest->bytes))
				smallest = heads[i];
		if (!smallest || smallest->bytes > MIN(WHOLE_MAX, room / WHOLE_ROOM))
			return;
		smallest->first = smallest->bytes;
		ranges--;
	}
}

/* One step of it, behind those that m->update has. */
static int add_step(struct way *w, struct update_head **step, struct err *e)
{
	const struct manifest *installed = w->installed ? w->installed->mom : NULL;
	struct update_head *h = *step;
	struct machine *m = w->m;
	struct manifest *next = NULL;

	int r = try_head(w, h, e);
	if (r >= 0 && w->manifests)
		r = take_manifests(m, h, w->installed, m->update ? w->mom : installed, &next, e);
	manifest_free(w->mom);
	w->mom = next;
	if (r < 0)
		return r == -ERR_MISSING ? r : err_in(e, r, "%s is not used", h->path);
	h->before = m->update;
	m->update = take(*step);
	return 0;
}

static int add_steps(struct way *w, const struct ways *way, struct err *e)
{
	struct update_head **heads = xcalloc(way->n + 1, sizeof(struct update_head *));

	w->memory = UPDATE_MEMORY;
	w->heads = UPDATE_HEAD_MAX;
	for (size_t i = 0; i < way->n; i++) {
		const struct way_step *step = &way->items[i];
		heads[i] = new_head(w, step, layout_update(step->to, step->from));
	}
	if (w->installed && !w->m->rehearsal)
		limit_requests(w, heads, way->n);
	int r = fetch_parts(w, heads, way->n, e);
	if (r < 0 && r != -ERR_MISSING)
		r = err_in(e, r, "an update file is not used");
	for (size_t i = 0; r >= 0 && i < way->n; i++)
		r = add_step(w, &heads[i], e);
	manifest_free(take(w->mom));
	for (size_t i = 0; i < way->n; i++)
		update_head_free(heads[i]);
	free(heads);
	/* half of a way leads nowhere */
	if (r < 0)
		update_head_free(take(w->m->update));
	return r;
}

/* What was signed of the ways to that release; NULL: nothing. */
static const struct freshness *said_of(const struct way *w)
{
	const struct freshness *f = w->m->trust ? &w->m->trust->fresh : NULL;

	return f && f->release == w->to && f->has_updates ? f : NULL;
}

/* Is all that some release has, and what has changed since, less than what leads there from ours? It must have room, since there is nothing behind it. */
static bool is_cheaper(const struct way *w, const struct ways *whole, const struct ways *way)
{
	uint64_t room = 0;

	return whole->n && whole->n <= WHOLE_STEPS && whole->items[0].bytes && ways_cost(whole) < ways_cost(way) &&
	       fs_free_space(w->dir, &room, NULL) >= 0 && ways_cost(whole) < room / 4;
}

/* By way of other releases, and from nothing. Of a list that is not the one that was signed, sizes count for nothing. */
static int list_steps(struct way *w, uint32_t from, struct ways *own, struct ways *whole, struct err *e)
{
	_cleanup_(ways_clear) struct ways all = {0}, chosen = {0};
	_cleanup_(buf_free) struct buf list = {0};
	_cleanup_free_ char *path = layout_updates(w->to);
	const struct freshness *said = said_of(w);
	struct digest hash;

	int r = fetch_text(w->m->fetch, w->m->content_url, path, LIST_MAX, &list, e);
	if (r < 0)
		return r;
	ways_parse(list.data, list.len, w->to, &all);
	manifest_hash(list.data, list.len, &hash);
	if (!said || !digest_equal(&hash, &said->updates)) {
		ui_debug(w->m->ui, "%s is not signed", path);
		ways_forget_sizes(&all);
	}
	ways_choose(&all, w->to, &chosen);
	w->m->no_fullfiles = ways_next(&chosen, 0) != NULL;
	ways_follow(&chosen, from, w->to, own);
	ways_follow(&chosen, 0, w->to, whole);
	return 0;
}

/* As nothing were installed. */
static int add_whole(struct way *w, const struct ways *whole, struct err *e)
{
	const struct catalog *installed = w->installed;

	w->installed = NULL;
	int r = add_steps(w, whole, e);
	w->installed = installed;
	return r;
}

/* What the list says. */
static int add_listed(struct way *w, uint32_t from, struct err *e)
{
	_cleanup_(ways_clear) struct ways own = {0}, whole = {0};
	int r = list_steps(w, from, &own, &whole, e);

	if (r < 0)
		return r;
	if (from && is_cheaper(w, &whole, &own)) {
		r = add_whole(w, &whole, e);
		if (r >= 0)
			w->m->update->cheaper = true;
		if (r >= 0 || stage_is_fatal(r))
			return r;
		ui_note(w->m->ui, "%s", e->text);
		err_clear(e);
	}
	if (own.n)
		return add_steps(w, &own, e);
	return whole.n ? add_whole(w, &whole, e)
		       : err_set(e, -ERR_MISSING, "no update file leads from release %" PRIu32, from);
}

/* In one step, if that was said, or if nothing was said: most have such a file, and no list must be asked for. */
static void find_direct(struct way *w, uint32_t from, struct ways *out)
{
	const struct freshness *said = said_of(w);

	if (said) {
		ways_follow(&said->direct, from, w->to, out);
		w->m->no_fullfiles = ways_next(&said->direct, 0) != NULL;
	} else if (from) {
		ways_add(out, from, w->to, 0);
	}
}

/* from 0: from nothing. */
static int find_way(struct way *w, uint32_t from, struct err *e)
{
	_cleanup_(scratch_close) struct scratch scratch = SCRATCH_INIT;
	_cleanup_(ways_clear) struct ways direct = {0};
	struct machine *m = w->m;
	struct err why = ERR_INIT;

	update_head_free(take(m->update));
	free(take(m->whole_fault));
	if (m->offline)
		return 0;
	fetch_machine(m);
	int r = scratch_open(m->cache, &scratch, e);
	if (r < 0)
		return r;
	w->dir = scratch.fd;
	find_direct(w, from, &direct);
	r = direct.n ? add_steps(w, &direct, &why) : -ERR_MISSING;
	if (r == -ERR_MISSING) {
		err_clear(&why);
		r = add_listed(w, from, &why);
	}
	if (r >= 0)
		return 0;
	if (stage_is_fatal(r)) {
		err_move(e, &why);
		return r;
	}
	if (r != -ERR_MISSING)
		ui_note(m->ui, "%s", why.text);
	if (r != -ERR_MISSING && !from)
		m->whole_fault = xstrdup(why.text);
	/* nor will it be there, or smaller, the next time */
	if (!from && (r == -ERR_MISSING || r == -ERR_LIMIT))
		m->no_whole = w->to;
	err_clear(&why);
	return 0;
}

int update_head_fetch(struct machine *m, uint32_t to, const struct catalog *old, struct err *e)
{
	struct way w = {.m = m, .to = to, .installed = old, .manifests = true};

	return find_way(&w, m->release, e);
}

int update_head_fetch_whole(struct machine *m, uint32_t to, bool manifests, struct err *e)
{
	struct way w = {.m = m, .to = to, .manifests = manifests};

	if (m->no_whole != to)
		return find_way(&w, 0, e);
	update_head_free(take(m->update));
	return 0;
}

void update_head_fetch_manifests(struct machine *m, uint32_t release)
{
	_cleanup_(scratch_close) struct scratch scratch = SCRATCH_INIT;
	_cleanup_(update_head_freep) struct update_head *h = NULL;
	_cleanup_(manifest_freep) struct manifest *mom = NULL;
	struct way w = {.m = m, .to = release, .manifests = true, .memory = UPDATE_MEMORY, .heads = UPDATE_HEAD_MAX};
	struct err why = ERR_INIT;

	int r = scratch_open(m->cache, &scratch, &why);
	w.dir = scratch.fd;
	h = new_head(&w, &(struct way_step){.from = release, .to = release}, layout_manifests(release));
	/* all of it is head */
	h->first = UPDATE_HEAD_MAX;
	if (r >= 0)
		r = fetch_parts(&w, &h, 1, &why);
	if (r >= 0)
		r = try_head(&w, h, &why);
	if (r >= 0)
		r = take_manifests(m, h, NULL, NULL, &mom, &why);
	if (r < 0)
		ui_debug(m->ui, "%s is not used: %s", h->path, why.text);
	err_clear(&why);
}

bool update_head_is_whole(const struct update_head *h)
{
	while (h && h->before)
		h = h->before;
	return h && h->from == 0;
}
