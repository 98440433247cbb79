/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/similar.h"

#include <stdint.h>
#include <stdlib.h>

#include "mixer/input/tree.h"
#include "mixer/step/objects.h"
#include "mixer/step/peers.h"
#include "mixer/step/step.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/work.h"

#define SIZE_LEAST  1024 /* bytes of a file: smaller ones have too few samples */
#define SIZE_MOST   (256UL << 20)
#define KEPT_LEAST  (64UL << 10) /* a smaller one is read as fast as its samples */
#define RUN         16
#define BITS        (64 / RUN) /* that a byte moves on: after RUN bytes nothing is left of it */
#define COMMON_MOST 16         /* what more files have is in no way special: zeros, licenses */
#define SHARE       5          /* so much of a file's samples, at least, make another one its relative */
#define LEAST       4

struct sampled {
	const struct node *node;
	uint32_t *hashes; /* ascending, each once */
	size_t n, cap;
};

struct sample {
	uint32_t hash, file;
};

struct sampling {
	const struct mix *m;
	uint64_t of_byte[256];
	struct sampled *files; /* of to, then of from */
	size_t n, n_new, cap;
	struct sample *index; /* of from, by hash */
	size_t n_index;
};

static void sampling_clear(struct sampling *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->files[i].hashes);
	free(s->files);
	free(s->index);
}

/* Any numbers, as long as they are always the same: splitmix64 */
static void fill(uint64_t numbers[256])
{
	for (uint64_t i = 0; i < 256; i++) {
		uint64_t x = (i + 1) * 0x9e3779b97f4a7c15U;
		x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
		x = (x ^ x >> 27) * 0x94d049bb133111ebU;
		numbers[i] = x ^ x >> 31;
	}
}

static bool is_fit(const struct node *n)
{
	return n->attrs.kind == KIND_FILE && n->attrs.size >= SIZE_LEAST && n->attrs.size <= SIZE_MOST;
}

static void add_file(struct sampling *s, const struct node *n)
{
	VEC_GROW(s->files, s->n, s->cap);
	s->files[s->n++] = (struct sampled){.node = n};
}

static int by_number(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Those of its content. */
static void make_samples(const struct sampling *s, struct sampled *f)
{
	_cleanup_(buf_free) struct buf content = {0};
	uint64_t h = 0;
	size_t n = 0;

	if (store_load(s->m->store, &f->node->hash, SIZE_MOST, &content, NULL) < 0)
		return;
	for (size_t k = 0; k < content.len; k++) {
		h = (h << BITS) + s->of_byte[(uint8_t)content.data[k]];
		if (k + 1 < RUN || h >> 56)
			continue;
		VEC_GROW(f->hashes, f->n, f->cap);
		f->hashes[f->n++] = (uint32_t)(h >> 24);
	}
	if (f->n)
		qsort(f->hashes, f->n, sizeof(*f->hashes), by_number);
	for (size_t k = 0; k < f->n; k++)
		if (k == 0 || f->hashes[k] != f->hashes[k - 1])
			f->hashes[n++] = f->hashes[k];
	f->n = n;
}

/* Those of the cache: numbers as this machine has them. */
static bool load_samples(const struct sampling *s, struct sampled *f, const char *path)
{
	_cleanup_(buf_free) struct buf numbers = {0};

	if (!cache_has(s->m, path) || fs_load(s->m->cache, path, SIZE_MOST, &numbers, NULL) < 0)
		return false;
	const size_t n = numbers.len / sizeof(*f->hashes);
	f->hashes = (uint32_t *)take(numbers.data);
	for (size_t i = 1; i < n; i++)
		if (f->hashes[i] <= f->hashes[i - 1])
			return false; /* a loss of power left something else */
	f->n = n;
	return true;
}

static int sample(void *arg, size_t i, struct err *e)
{
	const struct sampling *s = arg;
	struct sampled *f = &s->files[i];
	char hex[DIGEST_HEX];

	/* what the cache has of it is of no use without it */
	if (!store_has(s->m->store, f->node))
		return 0;
	if (f->node->attrs.size < KEPT_LEAST) {
		make_samples(s, f);
		return 0;
	}
	digest_format(&f->node->hash, hex);
	_cleanup_free_ char *dir = xasprintf("samples/%.2s", hex), *path = xasprintf("%s/%s", dir, hex);
	if (load_samples(s, f, path))
		return 0;
	make_samples(s, f);
	int r = f->n ? fs_mkdirs(s->m->cache, dir, 0755, e) : 0;
	return r < 0 || !f->n ? r : fs_save_cache(s->m->cache, path, f->hashes, f->n * sizeof(*f->hashes), 0644, e);
}

static int by_hash(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash > y->hash ? 1 : -1;
	return (x->file > y->file) - (x->file < y->file);
}

static void make_index(struct sampling *s)
{
	size_t all = 0;

	for (size_t i = s->n_new; i < s->n; i++)
		all += s->files[i].n;
	s->index = xcalloc(all + 1, sizeof(*s->index));
	for (size_t i = s->n_new; i < s->n; i++)
		for (size_t k = 0; k < s->files[i].n; k++)
			s->index[s->n_index++] = (struct sample){s->files[i].hashes[k], (uint32_t)i};
	qsort(s->index, s->n_index, sizeof(*s->index), by_hash);
}

/* Those from the returned one on have this hash: *n. */
static const struct sample *find_samples(const struct sampling *s, uint32_t hash, size_t *n)
{
	size_t low = 0, high = s->n_index;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (s->index[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	*n = 0;
	while (low + *n < s->n_index && s->index[low + *n].hash == hash)
		++*n;
	return &s->index[low];
}

/* The old file with most of its samples; NULL: none has enough. counts: zeros, as it is left. */
static const struct node *find_relative(const struct sampling *s, const struct sampled *f, uint32_t *counts)
{
	size_t best = 0, n;

	for (size_t k = 0; k < f->n; k++) {
		const struct sample *x = find_samples(s, f->hashes[k], &n);
		for (size_t i = 0; n <= COMMON_MOST && i < n; i++) {
			const size_t file = x[i].file;
			counts[file]++;
			if (best == 0 || counts[file] > counts[best] || (counts[file] == counts[best] && file < best))
				best = file;
		}
	}
	const bool enough = best && counts[best] >= LEAST && counts[best] >= f->n / SHARE;
	for (size_t k = 0; k < f->n; k++) {
		const struct sample *x = find_samples(s, f->hashes[k], &n);
		for (size_t i = 0; i < n; i++)
			counts[x[i].file] = 0;
	}
	return enough ? s->files[best].node : NULL;
}

int similar_add(const struct mix *m, const struct tree *from, const struct tree *to, struct peers *p, struct err *e)
{
	_cleanup_(sampling_clear) struct sampling s = {.m = m};

	for (size_t i = 0; i < to->n; i++) {
		const struct node *was = tree_find(from, to->nodes[i].path);
		if (is_fit(&to->nodes[i]) && !peers_find(p, to->nodes[i].path) &&
		    (!was || was->attrs.kind != KIND_FILE))
			add_file(&s, &to->nodes[i]);
	}
	s.n_new = s.n;
	for (size_t i = 0; i < from->n; i++)
		if (is_fit(&from->nodes[i]))
			add_file(&s, &from->nodes[i]);
	if (s.n_new == 0 || s.n == s.n_new)
		return 0;
	fill(s.of_byte);
	int r = work_each(m->config->threads, s.n, sample, &s, e);
	if (r < 0)
		return r;
	make_index(&s);
	_cleanup_free_ uint32_t *counts = xcalloc(s.n, sizeof(*counts));
	for (size_t i = 0; i < s.n_new; i++) {
		const struct node *relative = find_relative(&s, &s.files[i], counts);
		if (relative)
			peers_add(p, s.files[i].node->path, relative);
	}
	return 0;
}
