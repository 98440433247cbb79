/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/deltas.h"
#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/pack.h"

#define DELTA_MAX (1UL << 30)
#define PART_MAX  (8 * PART_TARGET) /* a run of members that no cut ends */

struct part {
	const struct pack_content *pack;
	const struct member *members; /* a run of the pack's */
	size_t n;
	char *file; /* of the cache, with its compressed bytes */
};

struct packing {
	const struct mix *m;
	int dirfd;
	const struct pack_content *packs;
	struct part *parts; /* of all packs, in their order */
	size_t n, cap;
	size_t *first;    /* of each pack: its first part; one more for the end */
	struct job *jobs; /* each different part once */
	size_t n_jobs;
};

/*
 * Members are grouped by what they are, not by where they stand, so that one more or one less moves only the borders beside it: a group ends
 * behind a member whose hash says so, one in PART_TARGET / its share.
 */
static bool ends_part(const struct member *x, uint64_t size)
{
	const struct digest *d = x->node ? &x->node->hash : &x->to;
	uint32_t bits = (uint32_t)d->bytes[0] | (uint32_t)d->bytes[1] << 8 | (uint32_t)d->bytes[2] << 16;

	/* small files: about 4 KiB each with their tar header, so one in 256 ends a part of 1 MiB; larger ones more often */
	uint64_t chance = MAX(x->size + 512, (uint64_t)4096) * ((uint64_t)1 << 24) / PART_TARGET;
	return size >= PART_MAX || bits < chance;
}

static void add_part(struct packing *k, const struct pack_content *pack, size_t first, size_t end)
{
	struct part p = {.pack = pack, .members = pack->members + first, .n = end - first};

	if (p.n == 0)
		return;
	VEC_GROW(k->parts, k->n, k->cap);
	k->parts[k->n++] = p;
}

static void cut_parts(struct packing *k, const struct pack_content *pack)
{
	size_t first = 0;
	uint64_t size = 0;

	for (size_t i = 0; i < pack->n; i++) {
		const struct member *x = &pack->members[i];
		if (x->size >= PART_LARGE) {
			add_part(k, pack, first, i);
			add_part(k, pack, i, i + 1);
			first = i + 1;
			size = 0;
			continue;
		}
		size += x->size + 512;
		if (ends_part(x, size)) {
			add_part(k, pack, first, i + 1);
			first = i + 1;
			size = 0;
		}
	}
	add_part(k, pack, first, pack->n);
}

static char *member_name(const struct member *x)
{
	return x->node ? pack_object_name(&x->node->hash) : pack_delta_name(&x->from, &x->to);
}

static int add_member(const struct mix *m, const struct member *x, struct buf *text, struct err *e)
{
	static const struct attrs delta = {.kind = KIND_FILE, .mode = 0600};
	_cleanup_free_ char *name = member_name(x);
	_cleanup_(buf_free) struct buf content = {0};
	struct attrs a = x->node ? x->node->attrs : delta;

	int r = x->node ? object_content(m, x->node, &content, e) : fs_load(m->cache, x->file, DELTA_MAX, &content, e);
	if (r < 0)
		return r;
	if (!x->node)
		a.size = content.len;
	return pack_part_add(text, name, &a, content.data, e);
}

static char *file_of(const struct mix *m, const struct job *j, struct err *e)
{
	_cleanup_(buf_free) struct buf key = {0};
	struct digest d;

	for (size_t i = 0; i < j->n; i++) {
		_cleanup_free_ char *name = member_name(&j->members[i]);
		buf_printf(&key, "%s\n", name);
	}
	/* what a member holds is told by its name */
	sha256_mem(key.data, key.len, &d);
	return cache_path(m, "parts", &d, e);
}

/* One content, the tar and what is made of it; 0.54 to 0.92 of this was measured, of 1 to 117 MB */
static uint64_t memory_of(const struct mix *m, const struct job *j)
{
	uint64_t size = 0, largest = 0;

	for (size_t i = 0; i < j->n; i++) {
		size += j->members[i].size + 512;
		largest = MAX(largest, j->members[i].size);
	}
	return 2 * size + largest + compress_memory(m->config->codec, m->config->level, size);
}

static bool is_large(const struct job *j)
{
	const struct node *n = j->members[0].node;

	return j->n == 1 && n && n->attrs.kind == KIND_FILE && n->attrs.size >= PART_LARGE;
}

/* Its content is compressed once, for the fullfile, where there is one. */
static int make_large(const struct mix *m, const struct member *x, struct buf *out, struct err *e)
{
	const struct node *n = x->node;
	_cleanup_free_ char *name = member_name(x), *cached = cache_path(m, "fullfiles", &n->hash, e);
	_cleanup_(buf_free) struct buf header = {0}, fullfile = {0}, content = {0};
	const char *found = NULL;
	size_t len;

	if (!cached)
		return -EIO;
	tar_add_header(&header, name, &n->attrs, "");
	int r = compress_mem(m->config->codec, m->config->level, header.data, header.len, out, e);
	if (r < 0)
		return r;
	if (fs_load(m->cache, cached, SIZE_MAX / 2, &fullfile, NULL) >= 0)
		found = fullfile_find_content(&fullfile, &n->hash, &n->attrs, m->config->codec, m->config->level, &len);
	if (found) {
		buf_add(out, found, len);
		return 0;
	}
	r = object_content(m, n, &content, e);
	return r < 0 ? r : fullfile_content(content.data, content.len, m->config->codec, m->config->level, out, e);
}

static int make(const struct mix *m, const struct job *j, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	int r = 0;

	if (is_large(j))
		return make_large(m, &j->members[0], out, e);

	for (size_t i = 0; r >= 0 && i < j->n; i++)
		r = add_member(m, &j->members[i], &text, e);
	return r < 0 ? r : compress_mem(m->config->codec, m->config->level, text.data, text.len, out, e);
}

const struct job_kind job_part = {
	.name = "part", .file = file_of, .make = make, .memory = memory_of, .delta = &delta_classic};

static int plan(struct packing *k, size_t n_packs, struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	int r = 0;

	k->first = xcalloc(n_packs + 1, sizeof(*k->first));
	for (size_t i = 0; i < n_packs; i++) {
		cut_parts(k, &k->packs[i]);
		k->first[i + 1] = k->n;
	}
	k->jobs = xcalloc(k->n, sizeof(*k->jobs));
	for (size_t i = 0; r >= 0 && i < k->n; i++) {
		struct part *p = &k->parts[i];
		struct job j = {.kind = &job_part, .members = p->members, .n = p->n};
		r = job_name(k->m, &j, e);
		p->file = j.file ? xstrdup(j.file) : NULL;
		if (r >= 0 && !table_add_str(seen, p->file, p)) {
			k->jobs[k->n_jobs++] = j;
			continue;
		}
		progress_add(k->m->progress, j.size); /* bundles that do not include one another share much */
		free(j.file);
	}
	return r;
}

static int append(const struct mix *m, const char *cached, int to, struct err *e)
{
	_cleanup_close_ int from = openat(m->cache, cached, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0)
		return err_errno(e, "part %s of the cache", cached);
	return fs_copy_fd(from, to, (uint64_t)st.st_size, e);
}

static int append_text(const struct mix *m, const struct buf *text, int to, struct err *e)
{
	_cleanup_(buf_free) struct buf out = {0};

	int r = compress_mem(m->config->codec, m->config->level, text->data, text->len, &out, e);
	return r < 0 ? r : fs_write_all(to, out.data, out.len, e);
}

static int write_pack(void *arg, size_t i, struct err *e)
{
	const struct packing *k = arg;
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	_cleanup_(buf_free) struct buf begin = {0}, end = {0};

	int r = fs_tmp_open(k->dirfd, 0644, &t, e);
	if (r >= 0)
		r = pack_part_begin(&begin, e);
	if (r >= 0)
		r = append_text(k->m, &begin, t.fd, e);
	for (size_t p = k->first[i]; r >= 0 && p < k->first[i + 1]; p++)
		r = append(k->m, k->parts[p].file, t.fd, e);
	pack_part_end(&end);
	if (r >= 0)
		r = append_text(k->m, &end, t.fd, e);
	if (r >= 0)
		r = fs_tmp_commit(&t, k->packs[i].name, e);
	return r < 0 ? err_in(e, r, "%s", k->packs[i].name) : 0;
}

static void packing_clear(struct packing *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->parts[i].file);
	free(k->parts);
	free(k->first);
	jobs_free(k->jobs, k->n_jobs);
}

int parts_write_packs(const struct mix *m, int dirfd, const struct pack_content *packs, size_t n, struct err *e)
{
	_cleanup_(packing_clear) struct packing k = {.m = m, .dirfd = dirfd, .packs = packs};

	int r = plan(&k, n, e);
	if (r >= 0)
		r = jobs_run(m, k.jobs, k.n_jobs, e);
	return r < 0 ? r : work_each(m->config->threads, n, write_pack, &k, e);
}

void pack_contents_free(struct pack_content *packs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(packs[i].name);
		free(packs[i].members);
	}
	free(packs);
}
