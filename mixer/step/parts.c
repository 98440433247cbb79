/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/pack.h"

#define DELTA_MAX (1UL << 30)
#define PART_MAX  (8 * PART_TARGET) /* a run of members that no cut ends */

struct part {
	size_t first, end; /* members */
	char *cached;      /* where its compressed bytes are */
};

struct pack_job {
	const struct mix *m;
	const struct member *members;
	struct part *parts;
	size_t n, cap;
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

static void add_part(struct pack_job *j, size_t first, size_t end)
{
	if (first == end)
		return;
	VEC_GROW(j->parts, j->n, j->cap);
	j->parts[j->n++] = (struct part){.first = first, .end = end};
}

static void cut_parts(struct pack_job *j, size_t n)
{
	size_t first = 0;
	uint64_t size = 0;

	for (size_t i = 0; i < n; i++) {
		if (j->members[i].size >= PART_LARGE) {
			add_part(j, first, i);
			add_part(j, i, i + 1);
			first = i + 1;
			size = 0;
			continue;
		}
		size += j->members[i].size + 512;
		if (ends_part(&j->members[i], size)) {
			add_part(j, first, i + 1);
			first = i + 1;
			size = 0;
		}
	}
	add_part(j, first, n);
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

static int make_part(void *arg, size_t i, struct err *e)
{
	struct pack_job *j = arg;
	struct part *p = &j->parts[i];
	_cleanup_(buf_free) struct buf key = {0}, text = {0}, out = {0};
	struct digest d;
	int r = 0;

	for (size_t k = p->first; k < p->end; k++) {
		_cleanup_free_ char *name = member_name(&j->members[k]);
		buf_printf(&key, "%s\n", name);
		progress_add(j->m->progress, j->members[k].size);
	}
	sha256_mem(key.data, key.len, &d);
	p->cached = cache_path(j->m, "parts", &d, e);
	if (!p->cached)
		return -EIO;
	if (cache_has(j->m, p->cached))
		return 0;
	for (size_t k = p->first; r >= 0 && k < p->end; k++)
		r = add_member(j->m, &j->members[k], &text, e);
	if (r >= 0)
		r = compress_mem(j->m->config->codec, j->m->config->level, text.data, text.len, &out, e);
	return r < 0 ? r : fs_save_cache(j->m->cache, p->cached, out.data, out.len, 0644, e);
}

/* The members of one part are not enough of a key when a cached delta could change: it cannot, its name is its content's. */
static int append(const struct mix *m, const char *cached, int to, struct err *e)
{
	_cleanup_(buf_free) struct buf bytes = {0};

	int r = fs_load(m->cache, cached, 4 * DELTA_MAX, &bytes, e);
	return r < 0 ? r : fs_write_all(to, bytes.data, bytes.len, e);
}

static int append_text(const struct mix *m, const struct buf *text, int to, struct err *e)
{
	_cleanup_(buf_free) struct buf out = {0};

	int r = compress_mem(m->config->codec, m->config->level, text->data, text->len, &out, e);
	return r < 0 ? r : fs_write_all(to, out.data, out.len, e);
}

static int write_pack(const struct pack_job *j, int dirfd, const char *name, struct err *e)
{
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	_cleanup_(buf_free) struct buf begin = {0}, end = {0};

	int r = fs_tmp_open(dirfd, 0644, &t, e);
	if (r >= 0)
		r = pack_part_begin(&begin, e);
	if (r >= 0)
		r = append_text(j->m, &begin, t.fd, e);
	for (size_t i = 0; r >= 0 && i < j->n; i++)
		r = append(j->m, j->parts[i].cached, t.fd, e);
	pack_part_end(&end);
	if (r >= 0)
		r = append_text(j->m, &end, t.fd, e);
	return r < 0 ? r : fs_tmp_commit(&t, name, e);
}

int parts_write_pack(const struct mix *m, int dirfd, const char *name, const struct member *members, size_t n,
		     struct err *e)
{
	struct pack_job j = {.m = m, .members = members};

	cut_parts(&j, n);
	int r = work_each(m->config->threads, j.n, make_part, &j, e);
	if (r >= 0)
		r = write_pack(&j, dirfd, name, e);
	for (size_t i = 0; i < j.n; i++)
		free(j.parts[i].cached);
	free(j.parts);
	return r < 0 ? err_in(e, r, "%s", name) : 0;
}
