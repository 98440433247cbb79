/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
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
#include "swupd/client/scratch.h"
#include "swupd/client/trust.h"
#include "swupd/client/url.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/needs.h"
#include "swupd/content/root.h"
#include "swupd/content/tar.h"
#include "swupd/content/ways.h"

#define WAITING_MAX 64 /* files that wait to be verified: the transfers pause beyond */
#define LIST_MAX    (1UL << 20)
#define NAME_WHOLE  200      /* bytes: a file system takes 255, and fetch adds to it */
#define SYNCED      "synced" /* in the machine's data: what got its name before its time of change is on the disk */

/* What version/ says of a format, as it came. */
struct announced {
	uint32_t format, release;
	struct buf freshness, latest, signature; /* without data: the tree has none */
};

struct mirroring {
	struct machine *m;
	const struct mirror_more *more;
	int target;
	int local; /* the tree of a file:// URL; negative: it is no directory */
	struct scratch scratch;
	struct needs *needs;
	struct manifest **moms; /* of the set, from low to high once all are there */
	size_t n, cap;
	struct announced *formats;
	size_t n_formats, cap_formats;
	struct buf *lists; /* of the ways to each of the set, as they came; without data: there is none */
	struct table *
		probed; /* folders of releases → the fullfile that was asked for first; without it there, the folder has no classic files */
	struct timespec synced;
	struct work_queue *queue;
	pthread_mutex_t lock;
	struct strv notes;     /* of other threads, to be said when they have ended */
	uint64_t files, there; /* that came, that were there */
};

/* A file on its way. */
struct item {
	struct mirroring *k;
	const struct need *need;
	char *name; /* in scratch */
};

static void mirroring_clear(struct mirroring *k)
{
	for (size_t i = 0; i < k->n; i++)
		manifest_free(k->moms[i]);
	for (size_t i = 0; k->lists && i < k->n; i++)
		buf_free(&k->lists[i]);
	free(k->lists);
	for (size_t i = 0; i < k->n_formats; i++) {
		buf_free(&k->formats[i].freshness);
		buf_free(&k->formats[i].latest);
		buf_free(&k->formats[i].signature);
	}
	free(k->moms);
	free(k->formats);
	needs_free(k->needs);
	table_free(k->probed);
	scratch_close(&k->scratch);
	closep(&k->local);
	strv_free(&k->notes);
	pthread_mutex_destroy(&k->lock);
}

/* -- which releases -- */

static const struct manifest *find_mom(const struct mirroring *k, uint32_t release)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->moms[i]->release == release)
			return k->moms[i];
	return NULL;
}

static int add_release(struct mirroring *k, uint32_t release, struct err *e)
{
	struct manifest *mom = NULL;

	if (find_mom(k, release))
		return 0;
	int r = catalog_mom(k->m, release, &mom, e);
	if (r < 0)
		return r;
	VEC_GROW(k->moms, k->n, k->cap);
	k->moms[k->n++] = mom;
	needs_add_mom(k->needs, mom);
	return 0;
}

/* 1: the text is there */
static int fetch_optional(const struct mirroring *k, const char *base, const char *path, size_t max, struct buf *out,
			  struct err *e)
{
	int r = fetch_text(k->m->fetch, base, path, max, out, e);

	if (r == -ERR_MISSING) {
		err_clear(e);
		return 0;
	}
	return r < 0 ? r : 1;
}

/* What catalog_newest has verified comes a second time, for its bytes: it must still be the same. */
static int fetch_announced(const struct mirroring *k, struct announced *a, struct err *e)
{
	const struct machine *m = k->m;
	_cleanup_free_ char *fresh = layout_freshness(a->format), *latest = layout_latest(a->format),
			    *sig = xasprintf("%s.sig", latest);
	_cleanup_(freshness_clear) struct freshness f = {.release = a->release};
	uint64_t number = 0;

	int r = fetch_optional(k, m->version_url, fresh, SMALL_TEXT_MAX, &a->freshness, e);
	if (r > 0)
		r = freshness_read(a->freshness.data, a->freshness.len, a->format, m->anchors, m->now, &f, e);
	if (r >= 0)
		r = fetch_text(m->fetch, m->version_url, latest, SMALL_TEXT_MAX, &a->latest, e);
	if (r >= 0)
		r = fetch_text(m->fetch, m->version_url, sig, SIGNATURE_MAX, &a->signature, e);
	if (r >= 0)
		r = trust_verify(m, a->latest.data, a->latest.len, a->signature.data, a->signature.len, e);
	if (r < 0)
		return r;
	if (text_u64_n(a->latest.data, strspn(a->latest.data, "0123456789"), 1, INT32_MAX, &number) < 0 ||
	    number != a->release || f.release != a->release)
		return err_hint(e,
				err_set(e, -ERR_STALE,
					"what the server says is the newest of format %" PRIu32
					" has changed under way",
					a->format),
				"run it again");
	return 0;
}

static int add_format(struct mirroring *k, uint32_t format, struct err *e)
{
	struct announced a = {.format = format};

	for (size_t i = 0; i < k->n_formats; i++)
		if (k->formats[i].format == format)
			return 0;
	k->m->format = format;
	free(k->m->format_text);
	k->m->format_text = xasprintf("%" PRIu32, format);
	int r = catalog_newest(k->m, &a.release, e);
	if (r >= 0)
		r = fetch_announced(k, &a, e);
	VEC_GROW(k->formats, k->n_formats, k->cap_formats);
	k->formats[k->n_formats++] = a; /* its buffers, whatever came */
	return r < 0 ? r : add_release(k, a.release, e);
}

static int by_release(const void *a, const void *b)
{
	const struct manifest *const *x = a, *const *y = b;

	return ((*x)->release > (*y)->release) - ((*x)->release < (*y)->release);
}

static int choose_releases(struct mirroring *k, const struct strv *list, struct err *e)
{
	int r = add_format(k, k->m->format, e);

	for (size_t i = 0; r >= 0 && i < list->n; i++) {
		uint32_t release;
		if (text_u32(list->items[i], 1, INT32_MAX, &release) < 0)
			return err_set(e, -ERR_USAGE, "'%s' is not the number of a release", list->items[i]);
		r = add_release(k, release, e);
	}
	/* the newest of a format may have another; then that comes, too */
	for (size_t i = 0; r >= 0 && i < k->n; i++)
		r = add_format(k, k->moms[i]->format, e);
	if (r >= 0)
		qsort(k->moms, k->n, sizeof(struct manifest *), by_release);
	return r;
}

/* -- files -- */

static int check_mom(const struct item *it, int fd, struct err *e)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig"};
	const struct need *x = it->need;
	_cleanup_(buf_free) struct buf text = {0}, file = {0};
	struct buf texts[2] = {{0}, {0}};
	bool same;

	int r = catalog_load_mom_text(it->k->m, x->release, &text);
	if (r >= 0)
		r = fs_load_fd(fd, x->path, MANIFEST_MAX, &file, e);
	if (r < 0)
		return r;
	if (text_ends(x->path, ".sig"))
		return trust_verify(it->k->m, text.data, text.len, file.data, file.len, e);
	if (text_ends(x->path, ".tar")) {
		r = tar_read_texts(file.data, file.len, names, ARRAY_LEN(names), MANIFEST_MAX, texts, e);
		same = texts[0].len == text.len && memcmp(texts[0].data, text.data, text.len) == 0;
		buf_free(&texts[0]);
		buf_free(&texts[1]);
	} else {
		same = file.len == text.len && memcmp(file.data, text.data, text.len) == 0;
	}
	return r < 0 || same ? r : err_set(e, -ERR_DIGEST, "it is not the one that was verified");
}

static int check(const struct item *it, int dirfd, const char *name, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "%s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -ERR_FORMAT, "it is not a file");
	return it->need->kind == NEED_MOM ? check_mom(it, fd, e) : need_check(it->need, fd, e);
}

static bool is_synced(const struct mirroring *k, const struct stat *st)
{
	return st->st_ctim.tv_sec < k->synced.tv_sec ||
	       (st->st_ctim.tv_sec == k->synced.tv_sec && st->st_ctim.tv_nsec < k->synced.tv_nsec);
}

/* From an earlier run. What it did not bring to the disk any more is looked at as if it had just come. MoMs are signed anew now and then. */
static bool is_there(struct mirroring *k, const struct need *x)
{
	const struct item it = {.k = k, .need = x};
	struct err why = ERR_INIT;
	struct stat st;

	if (fstatat(k->target, x->path, &st, AT_SYMLINK_NOFOLLOW) < 0 || x->kind == NEED_TEXT)
		return false;
	const bool good = (x->kind != NEED_MOM && is_synced(k, &st)) || check(&it, k->target, x->path, &why) >= 0;
	err_clear(&why);
	return good;
}

static int place(const struct item *it, struct err *e)
{
	const char *path = it->need->path;
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	int r = fs_mkdirs(it->k->target, dir, 0755, e);
	if (r < 0)
		return r;
	/* what is only another name keeps what the source gave it */
	if ((it->k->local < 0 && fchmodat(it->k->scratch.fd, it->name, 0644, 0) < 0) ||
	    renameat(it->k->scratch.fd, it->name, it->k->target, path) < 0)
		return err_errno(e, "%s", path);
	/* rename() of two links to one file does nothing and keeps both (rename(2)) */
	(void)unlinkat(it->k->scratch.fd, it->name, 0);
	return 0;
}

static void note(struct mirroring *k, const struct need *x, const struct err *why)
{
	pthread_mutex_lock(&k->lock);
	strv_take(&k->notes, xasprintf("%s is left out: %s", x->path, why->text));
	pthread_mutex_unlock(&k->lock);
}

/* It came: verified, it gets its name. */
static int take_item(void *arg, void *item, struct err *e)
{
	struct mirroring *k = arg;
	struct item *it = item;
	struct err why = ERR_INIT;

	int r = check(it, k->scratch.fd, it->name, &why);
	if (r >= 0) {
		r = place(it, &why);
	} else {
		(void)unlinkat(k->scratch.fd, it->name, 0);
		if (r <= -ERR_USAGE && need_is_optional(it->need)) {
			note(k, it->need, &why);
			r = 0;
		}
	}
	err_move(r < 0 ? e : NULL, &why);
	return r < 0 ? err_in(e, r, "%s", it->need->path) : 0;
}

/* Of fullfiles it is told later whether all is there without them. */
static bool may_be_missing(const struct need *x)
{
	return need_is_optional(x) || x->kind == NEED_FULLFILE;
}

static int on_done(void *arg, const struct fetch_job *job, int result, struct err *e __attribute__((unused)))
{
	struct mirroring *k = arg;
	struct item *it = job->user;

	if (result == -ERR_MISSING && may_be_missing(it->need))
		return 0;
	if (result < 0)
		return result;
	k->files++;
	return work_queue_put(k->queue, it);
}

/* Another name for the same file, or a copy. */
static int take_local(struct mirroring *k, struct item *it, struct err *e)
{
	if (!fs_exists(k->local, it->need->path))
		return may_be_missing(it->need) ? 0 : err_set(e, -ERR_MISSING, "%s: no such file", it->need->path);
	int r = fs_link_or_copy(k->local, it->need->path, k->scratch.fd, it->name, e);
	if (r < 0)
		return r;
	k->files++;
	return work_queue_put(k->queue, it);
}

static int transfer(struct mirroring *k, struct item *items, size_t n, struct err *e)
{
	_cleanup_free_ struct fetch_job *jobs = xcalloc(n + 1, sizeof(*jobs));
	struct err why = ERR_INIT;
	int r = 0;

	for (size_t i = 0; i < n; i++)
		jobs[i] = (struct fetch_job){.path = items[i].need->path, .name = items[i].name, .user = &items[i]};
	k->queue = work_queue_new(0, WAITING_MAX, take_item, k);
	if (k->local >= 0)
		for (size_t i = 0; r >= 0 && i < n; i++)
			r = take_local(k, &items[i], e);
	else if (n)
		r = fetch_files(k->m->fetch, k->m->content_url, k->scratch.fd, jobs, n, on_done, k, k->m->progress, e);
	int checked = work_queue_end(k->queue, &why);
	if (checked < 0) {
		/* this is what stopped the transfers */
		err_move(e, &why);
		r = checked;
	}
	for (size_t i = 0; i < k->notes.n; i++)
		ui_warn(k->m->ui, "%s", k->notes.items[i]);
	strv_free(&k->notes);
	return r;
}

/* Its name while it is on its way, the same in each run. */
static char *name_of(const struct need *x)
{
	char *name = xstrdup(x->path), hex[DIGEST_HEX];
	struct digest hash;

	if (strlen(name) > NAME_WHOLE) {
		sha256_mem(name, strlen(name), &hash);
		digest_format(&hash, hex);
		free(name);
		name = xstrdup(hex);
	}
	for (char *slash = strchr(name, '/'); slash; slash = strchr(slash, '/'))
		*slash = '!';
	return name;
}

/* All that is needed of some kinds, as far as it is not there. */
static int bring(struct mirroring *k, const char *stage, bool (*wanted)(const struct mirroring *, const struct need *),
		 struct err *e)
{
	struct item *items = xcalloc(needs_count(k->needs) + 1, sizeof(*items));
	size_t n = 0;

	progress_stage(k->m->progress, stage, 0, true);
	for (size_t i = 0; i < needs_count(k->needs); i++) {
		const struct need *x = needs_get(k->needs, i);
		if (!wanted(k, x))
			continue;
		if (is_there(k, x))
			k->there++;
		else
			items[n++] = (struct item){k, x, name_of(x)};
	}
	int r = transfer(k, items, n, e);
	for (size_t i = 0; i < n; i++)
		free(items[i].name);
	free(items);
	return r;
}

static bool is_manifest(const struct mirroring *k __attribute__((unused)), const struct need *x)
{
	return x->kind == NEED_MANIFEST;
}

static size_t folder_len(const struct need *x)
{
	return strcspn(x->path, "/");
}

static bool is_classic(const struct need *x)
{
	return x->kind == NEED_FULLFILE || x->kind == NEED_PACK || x->kind == NEED_MANIFEST_DELTA;
}

/* One of each folder with fullfiles: a mix publishes all of a release or none, and thousands of questions have the same answer. */
static bool is_probe(const struct mirroring *k, const struct need *x)
{
	return x->kind == NEED_FULLFILE && !table_add(k->probed, x->path, folder_len(x), (void *)x);
}

static bool is_content(const struct mirroring *k, const struct need *x)
{
	const struct need *probe = table_find(k->probed, x->path, folder_len(x));

	return x->kind != NEED_MANIFEST && x->kind != NEED_MOM && x->kind != NEED_OTHER && x != probe &&
	       !(is_classic(x) && probe && !fs_exists(k->target, probe->path));
}

static bool is_other(const struct mirroring *k __attribute__((unused)), const struct need *x)
{
	return x->kind == NEED_OTHER;
}

/* Who has a release's MoM has the release: they come last. */
static bool is_mom(const struct mirroring *k __attribute__((unused)), const struct need *x)
{
	return x->kind == NEED_MOM;
}

/* One that has come. */
static int load_bundle(const struct mirroring *k, const struct entry *line, struct manifest **out, struct err *e)
{
	_cleanup_free_ char *path = layout_manifest_plain(line->release, line->name);
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(k->target, path, MANIFEST_MAX, &text, e);
	return r < 0 ? r : manifest_parse(text.data, text.len, false, line->release, out, e);
}

static int add_bundles(struct mirroring *k, const struct manifest *mom, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < mom->n_entries; i++) {
		const struct entry *line = &mom->entries[i];
		_cleanup_(manifest_freep) struct manifest *bundle = NULL;
		if (needs_has_bundle(k->needs, line))
			continue;
		r = load_bundle(k, line, &bundle, e);
		if (r >= 0)
			needs_add_bundle(k->needs, mom->release, line, bundle);
	}
	return r;
}

static void add_way(struct mirroring *k, const struct ways *chosen, uint32_t from, uint32_t to)
{
	_cleanup_(ways_clear) struct ways way = {0};

	ways_follow(chosen, from, to, &way);
	for (size_t i = 0; i < way.n; i++)
		needs_add_update(k->needs, way.items[i].from, way.items[i].to);
}

/* The ways to one of the set, as clients go them by its list. */
static void choose_ways(const struct mirroring *k, size_t to, struct ways *chosen)
{
	const uint32_t release = k->moms[to]->release;
	_cleanup_(ways_clear) struct ways all = {0};

	ways_parse(k->lists[to].data, k->lists[to].len, release, &all);
	ways_choose(&all, release, chosen);
}

/* How clients of the set's releases, and new ones, get to this one. */
static int add_ways(struct mirroring *k, size_t to, struct err *e)
{
	const uint32_t release = k->moms[to]->release;
	_cleanup_free_ char *path = layout_updates(release);
	_cleanup_(ways_clear) struct ways chosen = {0};

	int r = fetch_optional(k, k->m->content_url, path, LIST_MAX, &k->lists[to], e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < to; i++)
		needs_add_classic(k->needs, k->moms[i], k->moms[to]);
	choose_ways(k, to, &chosen);
	add_way(k, &chosen, 0, release);
	for (size_t i = 0; i < to; i++)
		add_way(k, &chosen, k->moms[i]->release, release);
	return 0;
}

/* -- what speaks of the releases -- */

/* What a run that was killed while it wrote this file has left beside it. */
static int sweep_target(const struct mirroring *k, const char *path, struct err *e)
{
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	return fs_tmp_sweep(k->target, dir, e);
}

/* Is the way from nothing there? */
static bool has_way(const struct mirroring *k, size_t to)
{
	_cleanup_(ways_clear) struct ways chosen = {0}, way = {0};

	choose_ways(k, to, &chosen);
	ways_follow(&chosen, 0, k->moms[to]->release, &way);
	for (size_t i = 0; i < way.n; i++) {
		_cleanup_free_ char *file = layout_update(way.items[i].to, way.items[i].from);
		if (!fs_exists(k->target, file))
			return false;
	}
	return way.n > 0;
}

static bool has_all_fullfiles(const struct mirroring *k)
{
	for (size_t i = 0; i < needs_count(k->needs); i++) {
		const struct need *x = needs_get(k->needs, i);
		if (x->kind == NEED_FULLFILE && !fs_exists(k->target, x->path))
			return false;
	}
	return true;
}

/* A release is whole by its fullfiles, or by a way from nothing. */
static int check_release(const struct mirroring *k, size_t number, struct err *e)
{
	const struct manifest *mom = k->moms[number];
	int r = 0;

	if (has_way(k, number))
		return 0;
	for (size_t i = 0; r >= 0 && i < mom->n_entries; i++) {
		_cleanup_(manifest_freep) struct manifest *bundle = NULL;
		r = load_bundle(k, &mom->entries[i], &bundle, e);
		for (size_t n = 0; r >= 0 && n < bundle->n_entries; n++) {
			const struct entry *x = &bundle->entries[n];
			_cleanup_free_ char *path = layout_fullfile(x->release, &x->hash);
			if (x->kind != KIND_NONE && !fs_exists(k->target, path))
				r = err_set(e, -ERR_MISSING,
					    "%s of release %" PRIu32 ": neither %s nor a way from nothing is there",
					    x->name, mom->release, path);
		}
	}
	return r;
}

static int load_synced(struct mirroring *k)
{
	struct stat st;

	if (fstatat(k->m->data, SYNCED, &st, AT_SYMLINK_NOFOLLOW) == 0)
		k->synced = st.st_mtim;
	return 0;
}

/* All that has its name by now. */
static int sync_target(const struct mirroring *k, struct err *e)
{
	struct timespec now[2];

	clock_gettime(CLOCK_REALTIME_COARSE, &now[0]); /* the clock of times of change */
	now[1] = now[0];
	if (syncfs(k->target) < 0)
		return err_errno(e, "cannot write out the copy");
	int r = fs_save(k->m->data, SYNCED, "", 0, 0644, e);
	return r >= 0 && utimensat(k->m->data, SYNCED, now, 0) < 0 ? err_errno(e, SYNCED) : r;
}

static int save_text(const struct mirroring *k, const char *path, const struct buf *text, struct err *e)
{
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	if (!text->data)
		return fs_remove_tree(k->target, path, e);
	int r = fs_mkdirs(k->target, dir, 0755, e);
	if (r >= 0)
		r = sweep_target(k, path, e);
	return r < 0 ? r : fs_save(k->target, path, text->data, text->len, 0644, e);
}

static int save_list(const struct mirroring *k, size_t i, struct err *e)
{
	_cleanup_free_ char *path = layout_updates(k->moms[i]->release);

	return save_text(k, path, &k->lists[i], e);
}

/* Machines walk from the root that they have to the newest. */
static int copy_roots(const struct mirroring *k, struct err *e)
{
	const uint32_t newest = k->m->trust->root ? root_number(k->m->trust->root) : 0;
	int r = 0;

	for (uint32_t n = 1; r >= 0 && n <= newest; n++) {
		_cleanup_free_ char *path = layout_root(n);
		_cleanup_(root_freep) struct root_keys *keys = NULL;
		_cleanup_(buf_free) struct buf text = {0};
		if (fs_exists(k->target, path))
			continue;
		r = fetch_text(k->m->fetch, k->m->version_url, path, SMALL_TEXT_MAX, &text, e);
		if (r >= 0)
			r = root_parse(text.data, text.len, &keys, e);
		if (r >= 0 && root_number(keys) != n)
			r = err_set(e, -ERR_FORMAT, "%s is root %" PRIu32, path, root_number(keys));
		if (r >= 0)
			r = save_text(k, path, &text, e);
	}
	return r;
}

/* As the mixer publishes them: each is one that clients may read before the next is there. */
static int announce(const struct mirroring *k, const struct announced *a, struct err *e)
{
	_cleanup_free_ char *fresh = layout_freshness(a->format), *latest = layout_latest(a->format),
			    *sig = xasprintf("%s.sig", latest);

	int r = save_text(k, fresh, &a->freshness, e);
	if (r >= 0)
		r = save_text(k, sig, &a->signature, e);
	return r < 0 ? r : save_text(k, latest, &a->latest, e);
}

/* The newest of all formats; of a release that is not here it must not speak. */
static int announce_any(const struct mirroring *k, struct err *e)
{
	_cleanup_free_ char *path = layout_latest_version(), *sig_path = xasprintf("%s.sig", path);
	_cleanup_(buf_free) struct buf text = {0}, sig = {0};
	uint64_t number = 0;

	int r = fetch_optional(k, k->m->version_url, path, SMALL_TEXT_MAX, &text, e);
	if (r > 0)
		r = fetch_optional(k, k->m->version_url, sig_path, SIGNATURE_MAX, &sig, e);
	if (r <= 0 || text_u64_n(text.data, strspn(text.data, "0123456789"), 1, INT32_MAX, &number) < 0 ||
	    !find_mom(k, (uint32_t)number) || trust_verify(k->m, text.data, text.len, sig.data, sig.len, NULL) < 0)
		return MIN(r, 0);
	r = save_text(k, sig_path, &sig, e);
	return r < 0 ? r : save_text(k, path, &text, e);
}

static int announce_all(const struct mirroring *k, struct err *e)
{
	int r = sync_target(k, e);

	if (r >= 0)
		r = copy_roots(k, e);
	for (size_t i = 0; r >= 0 && i < k->n_formats; i++)
		r = announce(k, &k->formats[i], e);
	return r < 0 ? r : announce_any(k, e);
}

/* -- what else there is -- */

static int add_more(const struct mirroring *k, uint32_t release, struct err *e)
{
	_cleanup_free_ char *path = layout_release_file(release, k->more->list);
	_cleanup_(buf_free) struct buf text = {0};

	int r = fetch_optional(k, k->m->content_url, path, k->more->list_max, &text, e);
	if (r == 0)
		ui_warn(k->m->ui, "%s is not there: no %s of release %" PRIu32, path, k->more->what, release);
	if (r > 0)
		r = k->more->add(k->more->arg, release, text.data, text.len, k->needs, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

static int bring_more(struct mirroring *k, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < k->n; i++)
		r = add_more(k, k->moms[i]->release, e);
	if (r >= 0)
		r = bring(k, k->more->what, is_other, e);
	return r < 0 ? r : k->more->finish(k->more->arg, k->target, e);
}

/* -- all of it -- */

static int open_source(struct mirroring *k, struct err *e)
{
	fetch_machine(k->m);
	_cleanup_free_ char *path = url_path(k->m->content_url);
	int r = scratch_open(k->m->cache, &k->scratch, e);
	if (r >= 0 && path) {
		k->local = fs_open_dir(AT_FDCWD, path, e);
		r = k->local;
		/* a tar of a tree is a server like any other */
		if (r == -ENOTDIR) {
			err_clear(e);
			r = 0;
		}
	}
	return r < 0 ? r : load_synced(k);
}

static int copy_all(struct mirroring *k, const struct strv *releases, struct err *e)
{
	int r = open_source(k, e);

	if (r >= 0)
		r = choose_releases(k, releases, e);
	if (r >= 0)
		r = bring(k, "manifests", is_manifest, e);
	for (size_t i = 0; r >= 0 && i < k->n; i++)
		r = add_bundles(k, k->moms[i], e);
	k->lists = xcalloc(k->n + 1, sizeof(*k->lists));
	for (size_t i = 0; r >= 0 && i < k->n; i++)
		r = add_ways(k, i, e);
	if (r >= 0)
		r = bring(k, "folders", is_probe, e);
	if (r >= 0)
		r = bring(k, "content", is_content, e);
	const bool all = r >= 0 && has_all_fullfiles(k);
	for (size_t i = 0; r >= 0 && !all && i < k->n; i++)
		r = check_release(k, i, e);
	for (size_t i = 0; r >= 0 && i < k->n; i++)
		r = save_list(k, i, e);
	if (r >= 0 && k->more)
		r = bring_more(k, e);
	if (r >= 0)
		r = bring(k, "releases", is_mom, e);
	return r < 0 ? r : announce_all(k, e);
}

int mirror(struct machine *m, const struct strv *releases, const struct mirror_more *more, int target, struct err *e)
{
	_cleanup_(mirroring_clear) struct mirroring k = {.m = m,
							 .more = more,
							 .target = target,
							 .local = -1,
							 .scratch = SCRATCH_INIT,
							 .needs = needs_new(),
							 .probed = table_new(),
							 .lock = PTHREAD_MUTEX_INITIALIZER};

	int r = copy_all(&k, releases, e);
	progress_end(m->progress);
	if (r < 0)
		return err_in(e, r, "cannot copy from %s", m->content_url);
	for (size_t i = 0; i < k.n; i++)
		ui_answer(m->ui, "%" PRIu32, k.moms[i]->release);
	ui_message(m->ui, "%llu files came, %llu were there", (unsigned long long)k.files, (unsigned long long)k.there);
	return 0;
}
