/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "mixer/input/recording.h"
#include "mixer/step/profile_files.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

#define PAGE        4096
#define WINDOW      8  /* bytes that are looked for */
#define TELLING     16 /* a block of so many tells by itself whose it is, when only one file has it */
#define FILTER_BITS 24

static void range_add(struct elf_file *f, uint64_t start, uint64_t end, uint64_t count)
{
	VEC_GROW(f->ranges, f->n_ranges, f->cap_ranges);
	f->ranges[f->n_ranges++] = (struct sample_range){start, end, count};
}

static void call_add(struct elf_file *f, uint64_t from, uint32_t file, uint64_t to, uint64_t count)
{
	VEC_GROW(f->calls, f->n_calls, f->cap_calls);
	f->calls[f->n_calls++] = (struct sample_call){from, to, count, file};
}

/* The code at vaddr of f, of which *size bytes follow there; NULL: it has none. */
static const uint8_t *code_at(const struct elf_file *f, uint64_t vaddr, uint64_t *size)
{
	for (size_t i = 0; i < f->n_segments; i++) {
		const struct elf_segment *g = &f->segments[i];
		if (vaddr >= g->vaddr && vaddr - g->vaddr < g->size) {
			*size = g->size - (vaddr - g->vaddr);
			return f->map + g->offset + (vaddr - g->vaddr);
		}
	}
	return NULL;
}

static bool is_kernel(const struct block *b)
{
	return b->vaddr >> 63;
}

/* --- which file has the bytes of a block, at its place of a page ---------------------------------------------------------- */

struct candidate {
	uint32_t next; /* block with the same hash, plus 1 */
	uint32_t file;
	uint64_t vaddr; /* in file */
	uint32_t n;     /* how many places have it; the last one stands here */
};

struct search {
	const struct recording *recording;
	struct candidate *candidates; /* a block each */
	uint32_t *heads;              /* by hash: block plus 1 */
	uint8_t *filter;
};

static uint32_t window_hash(const uint8_t *bytes, uint64_t vaddr)
{
	uint64_t x;

	memcpy(&x, bytes, WINDOW);
	x ^= (vaddr & (PAGE - 1)) << 52;
	return (uint32_t)(x * 0x9e3779b97f4a7c15ULL >> (64 - FILTER_BITS));
}

static void search_begin(struct search *x)
{
	const struct recording *r = x->recording;

	x->candidates = xcalloc(r->n_blocks + 1, sizeof(*x->candidates));
	x->heads = xcalloc(1UL << FILTER_BITS, sizeof(*x->heads));
	x->filter = xcalloc(1UL << (FILTER_BITS - 3), 1);
	for (uint32_t i = 0; i < r->n_blocks; i++) {
		const struct block *b = &r->blocks[i];
		if (b->len < TELLING || is_kernel(b))
			continue;
		uint32_t h = window_hash(b->bytes, b->vaddr);
		x->candidates[i].next = x->heads[h];
		x->heads[h] = i + 1;
		x->filter[h / 8] |= (uint8_t)(1U << (h % 8));
	}
}

static void search_segment(struct search *x, const struct elf_file *f, uint32_t file, const struct elf_segment *g)
{
	const uint8_t *code = f->map + g->offset;

	for (uint64_t i = 0; i + TELLING <= g->size; i++) {
		uint32_t h = window_hash(code + i, g->vaddr + i);
		if (!(x->filter[h / 8] & 1U << (h % 8)))
			continue;
		for (uint32_t k = x->heads[h]; k; k = x->candidates[k - 1].next) {
			const struct block *b = &x->recording->blocks[k - 1];
			struct candidate *c = &x->candidates[k - 1];
			if ((b->vaddr - g->vaddr - i) % PAGE || b->len > g->size - i ||
			    memcmp(b->bytes, code + i, b->len) != 0)
				continue;
			c->n++;
			c->file = file;
			c->vaddr = g->vaddr + i;
		}
	}
}

/* --- what is mapped where -------------------------------------------------------------------------------------------------- */

struct mapping {
	uint32_t file, votes; /* of blocks that only this file has */
	uint64_t base;        /* where address 0 of the file is */
	uint64_t start, end;  /* of its code */
};

struct mappings {
	struct mapping *items;
	size_t n, cap;
	uint64_t longest;
};

static int by_base(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->file != y->file ? (x->file < y->file ? -1 : 1) : (x->base < y->base ? -1 : x->base > y->base);
}

static void mappings_find(const struct search *x, const struct elf_set *s, struct mappings *out)
{
	size_t n = 0;

	for (size_t i = 0; i < x->recording->n_blocks; i++) {
		const struct candidate *c = &x->candidates[i];
		if (c->n != 1)
			continue;
		const struct elf_file *f = &s->files[c->file];
		struct mapping m = {.file = c->file,
				    .votes = 1,
				    .base = x->recording->blocks[i].vaddr - c->vaddr,
				    .start = UINT64_MAX};
		for (size_t k = 0; k < f->n_segments; k++) {
			m.start = MIN(m.start, m.base + f->segments[k].vaddr);
			m.end = MAX(m.end, m.base + f->segments[k].vaddr + f->segments[k].size);
		}
		VEC_GROW(out->items, out->n, out->cap);
		out->items[out->n++] = m;
	}
	if (out->n)
		qsort(out->items, out->n, sizeof(*out->items), by_base);
	for (size_t i = 0; i < out->n; i++)
		if (n && by_base(&out->items[n - 1], &out->items[i]) == 0)
			out->items[n - 1].votes++;
		else
			out->items[n++] = out->items[i];
	out->n = n;
	for (size_t i = 0; i < n; i++)
		out->longest = MAX(out->longest, out->items[i].end - out->items[i].start);
}

/* The mapping with most votes whose file has the bytes of b. *tie: another one has as many. */
static const struct mapping *mapping_of(const struct mappings *m, const struct elf_set *s, const struct block *b,
					bool *tie)
{
	const struct mapping *best = NULL;
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (m->items[mid].start <= b->vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	for (size_t i = low; i-- > 0 && b->vaddr - m->items[i].start < m->longest;) {
		const struct mapping *now = &m->items[i];
		uint64_t size;
		const uint8_t *code = code_at(&s->files[now->file], b->vaddr - now->base, &size);
		if (!code || size < b->len || memcmp(code, b->bytes, b->len) != 0)
			continue;
		*tie = best && best->votes == now->votes && best->file != now->file;
		if (!best || now->votes > best->votes)
			best = now;
	}
	return best;
}

/* --- both ------------------------------------------------------------------------------------------------------------------ */

static int32_t relative(const uint8_t *bytes)
{
	return (int32_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
			 (uint32_t)bytes[3] << 24);
}

static void block_take(struct elf_file *f, uint32_t file, const struct block *b, uint64_t vaddr)
{
	uint64_t size;

	range_add(f, vaddr, vaddr + b->len, b->count);
	/* a call of a function whose distance stands in the code. Other bytes that look so lead into no function's beginning, and are dropped there. */
	if (b->len < 5 || b->bytes[b->len - 5] != 0xe8)
		return;
	uint64_t to = vaddr + b->len + (uint64_t)(int64_t)relative(b->bytes + b->len - 4);
	if (code_at(f, to, &size))
		call_add(f, vaddr + b->len - 1, file, to, b->count);
}

/*
 * A kernel is where its file says. It patches its own code, so that not all bytes are the file's, but most: of several files it is the one that has most blocks as they
 * ran. No votes: there is none that it could be.
 */
static void kernel_find(const struct recording *r, const struct elf_set *s, struct mapping *out)
{
	*out = (struct mapping){0};
	for (uint32_t i = 0; i < s->n; i++) {
		const struct elf_file *f = &s->files[i];
		uint32_t alike = 0;
		size_t n = 0;
		for (size_t k = 0; f->is_kernel && k < r->n_blocks; k++) {
			const struct block *b = &r->blocks[k];
			uint64_t size;
			const uint8_t *code = is_kernel(b) ? code_at(f, b->vaddr, &size) : NULL;
			n += is_kernel(b);
			alike += code && size >= b->len && memcmp(code, b->bytes, b->len) == 0;
		}
		if (alike > n / 2 && alike > out->votes)
			*out = (struct mapping){.file = i, .votes = alike};
	}
}

static const struct mapping *mapping_of_kernel(const struct mapping *kernel, const struct elf_set *s,
					       const struct block *b)
{
	uint64_t size;

	return kernel->votes && code_at(&s->files[kernel->file], b->vaddr, &size) && size >= b->len ? kernel : NULL;
}

void recording_attribute(const struct recording *r, struct elf_set *s, struct attribution *out)
{
	struct search x = {.recording = r};
	struct mappings m = {0};
	struct mapping kernel;
	/* of each block: its mapping, NULL when there is none */
	const struct mapping **found = xcalloc(r->n_blocks + 1, sizeof(struct mapping *));

	search_begin(&x);
	for (uint32_t i = 0; i < s->n; i++)
		for (size_t k = 0; !s->files[i].is_kernel && k < s->files[i].n_segments; k++)
			search_segment(&x, &s->files[i], i, &s->files[i].segments[k]);
	mappings_find(&x, s, &m);
	kernel_find(r, s, &kernel);
	*out = (struct attribution){.kernel = r->kernel, .firmware = r->firmware, .lost = r->lost};
	for (size_t i = 0; i < r->n_blocks; i++) {
		const struct block *b = &r->blocks[i];
		bool tie = false;
		const struct mapping *at = is_kernel(b) ? mapping_of_kernel(&kernel, s, b) : mapping_of(&m, s, b, &tie);
		uint64_t executed = b->count * b->insns;
		if (at && !tie) {
			found[i] = at;
			*(is_kernel(b) ? &out->known_kernel : &out->known) += executed;
			block_take(&s->files[at->file], at->file, b, b->vaddr - at->base);
		} else {
			*(at ? &out->ambiguous : is_kernel(b) ? &out->kernel : &out->unknown) += executed;
		}
	}
	for (size_t i = 0; i < r->n_calls; i++) {
		const struct block_call *c = &r->calls[i];
		const struct mapping *from = found[c->from], *to = found[c->to];
		const struct block *b = &r->blocks[c->from];
		if (from && to)
			call_add(&s->files[from->file], b->vaddr + b->len - 1 - from->base, to->file,
				 r->blocks[c->to].vaddr - to->base, c->count);
	}
	free(found);
	free(m.items);
	free(x.candidates);
	free(x.heads);
	free(x.filter);
}

/* --- perf ------------------------------------------------------------------------------------------------------------------ */

#define NO_FILE UINT32_MAX

/* /bin and the like are links into /usr. */
static bool same_path(const char *released, const char *mapped)
{
	return strcmp(released, mapped) == 0 ||
	       (text_starts(released, "/usr/") && strcmp(released + strlen("/usr"), mapped) == 0);
}

static uint32_t file_by_path(const struct elf_set *s, const char *path)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (same_path(s->files[i].path, path))
			return i;
	return NO_FILE;
}

static uint32_t file_by_id(const struct elf_set *s, const char *id)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->files[i].build_id && strcmp(s->files[i].build_id, id) == 0)
			return i;
	return NO_FILE;
}

#define ANY_PROCESS UINT32_MAX

struct mapped {
	uint32_t pid;
	uint64_t start;
	const struct perf_mapping *mapping;
};

struct perf_files {
	const struct perf_samples *samples;
	const struct elf_set *set;
	uint32_t *files;     /* of each mapping */
	struct mapped *list; /* each mapping twice, by pid and start: of its process, and of any */
	uint64_t longest;
};

static int by_start(const void *a, const void *b)
{
	const struct mapped *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->start != y->start ? (x->start < y->start ? -1 : 1) : 0;
}

static void perf_files_init(struct perf_files *x, const struct perf_samples *p, const struct elf_set *s)
{
	*x = (struct perf_files){p, s, xcalloc(p->n_mappings + 1, sizeof(*x->files)),
				 xcalloc(2 * p->n_mappings + 1, sizeof(*x->list)), 0};
	for (size_t i = 0; i < p->n_mappings; i++) {
		const struct perf_mapping *m = &p->mappings[i];
		x->files[i] = m->build_id ? file_by_id(s, m->build_id) : file_by_path(s, m->path);
		x->list[2 * i] = (struct mapped){m->pid, m->start, m};
		x->list[2 * i + 1] = (struct mapped){ANY_PROCESS, m->start, m};
		x->longest = MAX(x->longest, m->len);
	}
	if (p->n_mappings)
		qsort(x->list, 2 * p->n_mappings, sizeof(*x->list), by_start);
}

static void perf_files_clear(struct perf_files *x)
{
	free(x->files);
	free(x->list);
}

/* What a process mapped last at vaddr; NULL: nothing. */
static const struct perf_mapping *mapped_at(const struct perf_files *x, uint32_t pid, uint64_t vaddr)
{
	const struct mapped probe = {pid, vaddr, NULL};
	const struct perf_mapping *found = NULL;
	size_t low = 0, high = 2 * x->samples->n_mappings;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (by_start(&x->list[mid], &probe) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (size_t i = low; i-- > 0 && x->list[i].pid == pid && vaddr - x->list[i].start < x->longest;) {
		const struct perf_mapping *m = x->list[i].mapping;
		if (vaddr - m->start < m->len && (!found || m > found))
			found = m;
	}
	return found;
}

/* The same; of a process that began as another's copy, what anybody did. */
static const struct perf_mapping *mapping_at(const struct perf_files *x, uint32_t pid, uint64_t vaddr)
{
	const struct perf_mapping *own = mapped_at(x, pid, vaddr);

	return own ? own : mapped_at(x, ANY_PROCESS, vaddr);
}

/* The file that m (may be NULL) is of, and its address of vaddr. */
static uint32_t place_in(const struct perf_files *x, const struct perf_mapping *m, uint64_t vaddr, uint64_t *out)
{
	const uint32_t file = m ? x->files[m - x->samples->mappings] : NO_FILE;

	if (file == NO_FILE)
		return file;
	uint64_t offset = vaddr - m->start + m->offset;
	const struct elf_file *f = &x->set->files[file];
	for (size_t i = 0; i < f->n_segments; i++)
		if (offset >= f->segments[i].offset && offset - f->segments[i].offset < f->segments[i].size) {
			*out = offset - f->segments[i].offset + f->segments[i].vaddr;
			return file;
		}
	return NO_FILE;
}

static uint32_t place_of(const struct perf_files *x, uint32_t pid, uint64_t vaddr, uint64_t *out)
{
	return place_in(x, mapping_at(x, pid, vaddr), vaddr, out);
}

/* Remember what is to be told of a mapping that something ran in. */
static void note_build(const struct perf_files *x, const struct perf_mapping *m, struct elf_set *s)
{
	const uint32_t file = x->files[m - x->samples->mappings];
	const uint32_t other = file == NO_FILE && m->build_id ? file_by_path(s, m->path) : NO_FILE;

	if (file != NO_FILE)
		s->files[file].by_path |= !m->build_id;
	else if (other != NO_FILE && !s->files[other].other_id)
		s->files[other].other_id = xstrdup(m->build_id);
}

static void run_attribute(const struct perf_files *x, const struct perf_run *run, struct elf_set *s,
			  struct attribution *out)
{
	const uint64_t bytes = (run->to - run->from + 1) * run->count;
	uint64_t from;

	if (run->from >> 63) {
		out->kernel += bytes;
		return;
	}
	const struct perf_mapping *m = mapping_at(x, run->pid, run->from);
	const uint32_t file = place_in(x, m, run->from, &from);
	if (m)
		note_build(x, m, s);
	*(file == NO_FILE ? &out->unknown : &out->known) += bytes;
	if (file != NO_FILE)
		range_add(&s->files[file], from, from + (run->to - run->from) + 1, run->count);
}

void perf_attribute(const struct perf_samples *p, struct elf_set *s, struct attribution *out)
{
	struct perf_files x;

	perf_files_init(&x, p, s);
	*out = (struct attribution){0};
	for (size_t i = 0; i < p->n_runs; i++)
		run_attribute(&x, &p->runs[i], s, out);
	for (size_t i = 0; i < p->n_branches; i++) {
		const struct perf_branch *b = &p->branches[i];
		uint64_t from, to;
		uint32_t source = place_of(&x, b->pid, b->from, &from), target = place_of(&x, b->pid, b->to, &to);
		if (source != NO_FILE && target != NO_FILE)
			call_add(&s->files[source], from, target, to, b->count);
	}
	perf_files_clear(&x);
}
