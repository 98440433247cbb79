/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/objects.h"
#include "mixer/step/parts.h"
#include "mixer/step/peers.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/delta.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"

/* What running delta jobs may hold together: a job needs about 5 × old + 2 × new bytes. A larger one runs alone. */
#define MEMORY_MAX (2ULL << 30)

struct delta_job {
	struct peer peer;
	char *file;    /* in the cache */
	uint64_t size; /* 0: not worth it */
};

struct diffing {
	const struct mix *m;
	struct delta_job *jobs;
	size_t n;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	uint64_t used;
};

static uint64_t memory_of(const struct delta_job *j)
{
	return MIN(5 * j->peer.old->attrs.size + 2 * j->peer.new->attrs.size, MEMORY_MAX);
}

static void take_memory(struct diffing *d, uint64_t bytes)
{
	pthread_mutex_lock(&d->lock);
	while (d->used + bytes > MEMORY_MAX)
		pthread_cond_wait(&d->freed, &d->lock);
	d->used += bytes;
	pthread_mutex_unlock(&d->lock);
}

static void give_memory(struct diffing *d, uint64_t bytes)
{
	pthread_mutex_lock(&d->lock);
	d->used -= bytes;
	pthread_cond_broadcast(&d->freed);
	pthread_mutex_unlock(&d->lock);
}

static char *delta_file(const struct mix *m, const struct peer *p, struct err *e)
{
	char from[DIGEST_HEX], to[DIGEST_HEX];

	digest_format(&p->old->hash, from);
	digest_format(&p->new->hash, to);
	_cleanup_free_ char *dir = xasprintf("deltas/%.2s", to);
	return fs_mkdirs(m->cache, dir, 0755, e) < 0 ? NULL : xasprintf("%s/%s-%s", dir, from, to);
}

/* Does the delta really give the new file? An encoder's mistake must never reach a machine. */
static int check_delta(const struct peer *p, const struct buf *old, const struct buf *delta, struct err *e)
{
	_cleanup_(buf_free) struct buf made = {0};
	struct attrs attrs;
	struct digest d;

	int r = delta_apply(old->data, old->len, delta->data, delta->len, &attrs, &made, e);
	if (r < 0)
		return r;
	file_hash_mem(&attrs, made.data, made.len, &d);
	return digest_equal(&d, &p->new->hash) ? 0 : err_set(e, -ERR_DIGEST, "the delta gives another file");
}

/* Bytes of the new file's fullfile; a delta that is not smaller is of no use. */
static uint64_t fullfile_size(const struct mix *m, const struct node *n)
{
	_cleanup_free_ char *path = cache_path(m, "fullfiles", &n->hash, NULL);
	struct stat st;

	return path && fstatat(m->cache, path, &st, 0) == 0 ? (uint64_t)st.st_size : n->attrs.size;
}

static int compute_delta(const struct mix *m, const struct peer *p, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf old = {0}, new = {0};

	int r = object_content(m, p->old, &old, e);
	if (r >= 0)
		r = object_content(m, p->new, &new, e);
	if (r >= 0)
		r = delta_make(old.data, old.len, new.data, new.len, &p->new->attrs, DELTA_ANY, out, e);
	if (r == 0)
		r = check_delta(p, &old, out, e);
	if (r == 0 && out->len >= fullfile_size(m, p->new))
		r = 1;
	if (r == 1)
		out->len = 0;
	return r < 0 ? r : 0;
}

static int make_delta(void *arg, size_t i, struct err *e)
{
	struct diffing *d = arg;
	struct delta_job *j = &d->jobs[i];
	_cleanup_(buf_free) struct buf delta = {0};
	struct stat st;
	int r = 0;

	progress_add(d->m->progress, j->peer.new->attrs.size);
	j->file = delta_file(d->m, &j->peer, e);
	if (!j->file)
		return -EIO;
	if (fstatat(d->m->cache, j->file, &st, 0) == 0) {
		j->size = (uint64_t)st.st_size;
		return 0;
	}
	if (j->peer.new->attrs.size <= DELTA_RESULT_MAX && j->peer.old->attrs.size <= DELTA_RESULT_MAX) {
		const uint64_t memory = memory_of(j);
		take_memory(d, memory);
		r = compute_delta(d->m, &j->peer, &delta, e);
		give_memory(d, memory);
	}
	buf_puts(&delta, "");
	if (r >= 0)
		r = fs_save_cache(d->m->cache, j->file, delta.data, delta.len, 0644, e);
	j->size = delta.len;
	return r < 0 ? err_in(e, r, "delta of %s", j->peer.new->path) : 0;
}

static int by_size(const void *a, const void *b)
{
	const struct delta_job *x = a, *y = b;

	if (x->peer.new->attrs.size != y->peer.new->attrs.size)
		return x->peer.new->attrs.size < y->peer.new->attrs.size ? 1 : -1;
	return strcmp(x->peer.new->path, y->peer.new->path);
}

/* Each pair of contents once. */
static void collect_jobs(struct diffing *d, const struct peer *peers, size_t n)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	struct digest *keys = xcalloc(2 * n, sizeof(*keys));

	d->jobs = xcalloc(n, sizeof(*d->jobs));
	for (size_t i = 0; i < n; i++) {
		keys[2 * i] = peers[i].old->hash;
		keys[2 * i + 1] = peers[i].new->hash;
		if (!table_add(seen, &keys[2 * i], 2 * sizeof(*keys), &keys[2 * i]))
			d->jobs[d->n++] = (struct delta_job){.peer = peers[i]};
	}
	if (d->n)
		qsort(d->jobs, d->n, sizeof(*d->jobs), by_size);
	free(keys);
}

static int make_deltas(struct diffing *d, const struct tree *old, const struct tree *new, struct err *e)
{
	struct peer *peers;
	uint64_t bytes = 0;
	size_t n;

	peers_find(old, new, &peers, &n);
	collect_jobs(d, peers, n);
	free(peers);
	for (size_t i = 0; i < d->n; i++)
		bytes += d->jobs[i].peer.new->attrs.size;
	progress_stage(d->m->progress, "diff", bytes, true);
	return work_each(d->m->config->threads, d->n, make_delta, d, e);
}

/* --- packs ---------------------------------------------------------------------------------------------------------------- */

struct packing {
	const struct diffing *d;
	const struct objects *objects;
	struct table *deltas; /* new hash → struct delta_job, the smallest */
};

static void index_deltas(struct packing *p)
{
	p->deltas = table_new();
	for (size_t i = 0; i < p->d->n; i++) {
		struct delta_job *j = &p->d->jobs[i];
		if (j->size == 0)
			continue;
		struct delta_job *other = table_add(p->deltas, &j->peer.new->hash, sizeof(struct digest), j);
		/* several old files give this one: the smaller delta stays where the table has the first */
		if (other && j->size < other->size) {
			struct delta_job t = *other;
			*other = *j;
			*j = t;
		}
	}
}

static bool was_there(const struct table *before, const struct entry *x)
{
	const struct entry *was = table_find_str(before, x->name);

	return was && was->kind == x->kind && was->status == x->status && was->variant == x->variant &&
	       digest_equal(&was->hash, &x->hash);
}

/* spec/swupd-format.md section 5: what the bundle got since V0; deltas first, then objects. */
static int pack_members(const struct packing *p, const struct manifest *old, const struct manifest *new, uint32_t from,
			struct member **out, size_t *n, struct err *e)
{
	_cleanup_(table_freep) struct table *before = manifest_index(old), *seen = table_new();
	struct member *objects = xcalloc(new->n_entries, sizeof(*objects));
	size_t n_objects = 0;
	int r = 0;

	*out = xcalloc(new->n_entries, sizeof(**out));
	*n = 0;
	for (size_t i = 0; i < new->n_entries; i++) {
		const struct entry *x = &new->entries[i];
		if (x->kind == KIND_NONE || x->release <= from || was_there(before, x))
			continue;
		if (table_add(seen, &x->hash, sizeof(x->hash), (void *)x))
			continue;
		const struct node *node = objects_find(p->objects, &x->hash);
		const struct delta_job *j = table_find(p->deltas, &x->hash, sizeof(x->hash));
		if (!node) {
			r = err_set(e, -ERR_FORMAT, "%s is in a manifest, but not in the release's trees", x->name);
			break;
		}
		if (j)
			(*out)[(*n)++] = (struct member){
				.from = j->peer.old->hash, .to = x->hash, .file = j->file, .size = j->size};
		else
			objects[n_objects++] = (struct member){.node = node, .size = node->attrs.size};
	}
	memcpy(*out + *n, objects, n_objects * sizeof(*objects));
	*n += n_objects;
	free(objects);
	return r;
}

static int write_packs(const struct packing *p, const struct release *old, const struct release *new, struct err *e)
{
	const struct mix *m = p->d->m;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < new->n; i++) {
		const struct entry *line = &new->mom->entries[i], *was = manifest_find(old->mom, line->name);
		struct member *members = NULL;
		size_t n;
		if (!was || was->release == line->release)
			continue;
		_cleanup_free_ char *path = layout_pack(line->release, line->name, was->release);
		_cleanup_free_ char *dir_name = xasprintf("update/www/%u", line->release);
		_cleanup_close_ int dir = fs_open_dir(m->config->dir, dir_name, e);
		const char *name = strchr(path, '/') + 1;
		if (dir < 0)
			return dir;
		if (fs_exists(dir, name))
			continue;
		r = pack_members(p, release_find(old, line->name), new->bundles[i], was->release, &members, &n, e);
		if (r >= 0 && n)
			r = parts_write_pack(m, dir, name, members, n, e);
		free(members);
	}
	return r;
}

/* The predecessor's tree has the deltas themselves, too; nobody fetches them. */
static int diff_trees(const struct mix *m, uint32_t from, uint32_t to, const struct release *old,
		      const struct release *new, struct err *e)
{
	struct diffing d = {.m = m, .lock = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER};
	struct release_trees *before = NULL, *after = NULL;
	struct objects *objects = objects_new();
	struct packing p = {.d = &d, .objects = objects};

	int r = release_trees_load(m, from, &before, e);
	if (r >= 0)
		r = release_trees_load(m, to, &after, e);
	if (r >= 0) {
		objects_add(objects, after->full);
		r = make_deltas(&d, before->full, after->full, e);
	}
	if (r >= 0) {
		index_deltas(&p);
		r = write_packs(&p, old, new, e);
	}
	table_free(p.deltas);
	for (size_t i = 0; i < d.n; i++)
		free(d.jobs[i].file);
	free(d.jobs);
	objects_free(objects);
	release_trees_free(before);
	release_trees_free(after);
	return r;
}

int diff_packs(const struct mix *m, uint32_t from, uint32_t to, struct err *e)
{
	_cleanup_(release_freep) struct release *old = NULL, *new = NULL;

	int r = release_load(m, from, &old, e);
	if (r >= 0)
		r = release_load(m, to, &new, e);
	if (r >= 0)
		r = diff_trees(m, from, to, old, new, e);
	return r < 0 ? err_in(e, r, "cannot make packs from release %u to %u", from, to) : 0;
}

/* --- manifests ---------------------------------------------------------------------------------------------------------------- */

static int manifest_text(const struct mix *m, uint32_t release, const char *bundle, struct buf *out, struct err *e)
{
	_cleanup_free_ char *name = layout_manifest_plain(release, bundle), *path = xasprintf("update/www/%s", name);

	return fs_load(m->config->dir, path, MANIFEST_MAX, out, e);
}

static int diff_manifest(const struct mix *m, const char *bundle, uint32_t from, uint32_t to, struct err *e)
{
	_cleanup_free_ char *name = layout_manifest_delta(to, bundle, from), *path = xasprintf("update/www/%s", name);
	_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0};
	struct attrs a = {.kind = KIND_FILE, .mode = 0644};

	if (fs_exists(m->config->dir, path))
		return 0;
	int r = manifest_text(m, from, bundle, &old, e);
	if (r >= 0)
		r = manifest_text(m, to, bundle, &new, e);
	if (r >= 0) {
		a.size = new.len;
		r = delta_make(old.data, old.len, new.data, new.len, &a, DELTA_ANY, &delta, e);
	}
	/* 1: not worth it, clients take the whole manifest */
	return r != 0 ? MIN(r, 0) : fs_save_cache(m->config->dir, path, delta.data, delta.len, 0644, e);
}

int diff_manifests(const struct mix *m, uint32_t from, uint32_t to, struct err *e)
{
	_cleanup_(release_freep) struct release *old = NULL, *new = NULL;

	int r = release_load(m, from, &old, e);
	if (r >= 0)
		r = release_load(m, to, &new, e);
	for (size_t i = 0; r >= 0 && i < new->n; i++) {
		const struct entry *line = &new->mom->entries[i], *was = manifest_find(old->mom, line->name);
		if (was && was->release != line->release)
			r = diff_manifest(m, line->name, was->release, line->release, e);
	}
	return r < 0 ? err_in(e, r, "cannot make deltas of manifests from release %u to %u", from, to) : 0;
}
