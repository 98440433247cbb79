/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/update_file.h"

#include <errno.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/le.h"
#include "swupd/content/format.h"
#include "swupd/content/varint.h"

#define CHUNK      65536
#define SHAPES_MAX 65536
#define PREFIX_MIN 4
/* An object's size is bounded by who wants it; this only keeps sums from wrapping. */
#define SIZE_TOP (1ULL << 48)

void update_index_clear(struct update_index *x)
{
	buf_free(&x->signature);
	free(x->shapes);
	free(x->sections);
	free(x->records);
	free(x->by_hash);
}

int update_head_size(const void *file, size_t len, size_t *index, size_t *head, struct err *e)
{
	const uint8_t *p = file;

	if (len < UPDATE_FIXED || memcmp(p, UPDATE_MAGIC, 8) != 0)
		return err_set(e, -ERR_FORMAT, "it is not an update file");
	if (le32_at(p + 8) != UPDATE_VERSION)
		return err_set(e, -ERR_FORMAT, "it is of version %u, which this program does not know", le32_at(p + 8));
	const size_t stored = le32_at(p + 16);
	*head = le32_at(p + 12);
	*index = UPDATE_FIXED + stored;
	if (*head > UPDATE_HEAD_MAX || le32_at(p + 20) > UPDATE_INDEX_MAX)
		return err_set(e, -ERR_LIMIT, "its index is too large");
	if (*index > *head)
		return err_set(e, -ERR_FORMAT, "its index is longer than its head");
	return 0;
}

/* Where the index is read. */
struct cursor {
	const uint8_t *at, *end;
	bool bad; /* a number was not there, or too large */
};

static uint64_t number(struct cursor *c, uint64_t max)
{
	uint64_t v = 0;

	if (varint_read(&c->at, c->end, &v) < 0 || v > max) {
		c->bad = true;
		return 0;
	}
	return v;
}

static const uint8_t *bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = c->at;

	if (n > (size_t)(c->end - c->at)) {
		c->bad = true;
		return NULL;
	}
	c->at += n;
	return p;
}

/* How many of what takes at least so many bytes each. */
static size_t count(struct cursor *c, size_t max, size_t least)
{
	size_t n = number(c, max);

	if (n > (size_t)(c->end - c->at) / least)
		c->bad = true;
	return c->bad ? 0 : n;
}

static void parse_shapes(struct cursor *c, struct update_index *x)
{
	static const enum file_kind kinds[] = {KIND_NONE, KIND_FILE, KIND_DIR, KIND_LINK};

	const size_t n = count(c, SHAPES_MAX, 4);
	x->shapes = xcalloc(n + 1, sizeof(*x->shapes));
	for (; x->n_shapes < n && !c->bad; x->n_shapes++) {
		struct attrs *a = &x->shapes[x->n_shapes];
		a->kind = kinds[number(c, ARRAY_LEN(kinds) - 1)];
		a->mode = (uint32_t)number(c, 07777);
		a->uid = (uint32_t)number(c, UINT32_MAX);
		a->gid = (uint32_t)number(c, UINT32_MAX);
		c->bad = c->bad || a->kind == KIND_NONE;
	}
}

static enum codec codec_of(struct cursor *c)
{
	const uint64_t v = number(c, CODEC_ZSTD);

	c->bad = c->bad || (v != CODEC_NONE && v != CODEC_XZ && v != CODEC_ZSTD);
	return (enum codec)v;
}

static void parse_section(struct cursor *c, struct update_index *x, struct update_section *s)
{
	s->meta = number(c, UPDATE_META) == UPDATE_META;
	s->first = x->n_records;
	s->n = number(c, UPDATE_RECORDS - x->n_records);
	x->n_records += s->n;
	for (size_t i = 0; i < DIFF_STREAMS; i++) {
		s->streams[i].codec = codec_of(c);
		s->streams[i].expanded = number(c, SIZE_TOP);
		s->streams[i].stored = number(c, SIZE_TOP);
		s->stored += s->streams[i].stored;
		c->bad =
			c->bad || (s->streams[i].codec == CODEC_NONE && s->streams[i].expanded != s->streams[i].stored);
	}
}

static void parse_sections(struct cursor *c, struct update_index *x, uint64_t at)
{
	const size_t n = count(c, UPDATE_SECTIONS, 2 + 3 * DIFF_STREAMS);

	x->sections = xcalloc(n + 1, sizeof(*x->sections));
	for (; x->n_sections < n && !c->bad; x->n_sections++) {
		struct update_section *s = &x->sections[x->n_sections];
		parse_section(c, x, s);
		s->at = at;
		at += s->stored;
		c->bad = c->bad || at > SIZE_TOP || (s->meta && x->n_sections > 0 && !s[-1].meta);
	}
}

static void parse_hashes(struct cursor *c, const struct update_index *x, bool from)
{
	for (size_t i = 0; i < x->n_records && !c->bad; i++) {
		const uint8_t *p = bytes(c, x->prefix);
		if (p)
			memcpy(from ? &x->records[i].from : &x->records[i].hash, p, x->prefix);
	}
}

static void parse_records(struct cursor *c, struct update_index *x)
{
	/* as many as fit, each column with a byte at least */
	if (c->bad || x->n_records > (size_t)(c->end - c->at) / (2 * x->prefix + 2 + DIFF_STREAMS)) {
		c->bad = true;
		return;
	}
	x->records = xcalloc(x->n_records + 1, sizeof(*x->records));
	parse_hashes(c, x, false);
	parse_hashes(c, x, true);
	for (size_t i = 0; i < x->n_records && !c->bad; i++) {
		const size_t shape = number(c, SHAPES_MAX);
		c->bad = c->bad || shape >= x->n_shapes;
		x->records[i].shape = c->bad ? NULL : &x->shapes[shape];
	}
	for (size_t i = 0; i < x->n_records && !c->bad; i++)
		x->records[i].size = number(c, SIZE_TOP);
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		for (size_t i = 0; i < x->n_records && !c->bad; i++)
			x->records[i].bytes[k] = number(c, SIZE_TOP);
}

/* What its records take of each stream is all of it. */
static bool adds_up(const struct update_index *x, const struct update_section *s)
{
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		uint64_t sum = 0;
		for (size_t i = s->first; i < s->first + s->n; i++) {
			if (x->records[i].bytes[k] > s->streams[k].expanded - sum)
				return false;
			sum += x->records[i].bytes[k];
		}
		if (sum != s->streams[k].expanded)
			return false;
	}
	return true;
}

static int parse_index(const struct buf *text, size_t at, struct update_index *x, struct err *e)
{
	struct cursor c = {(const uint8_t *)text->data, (const uint8_t *)text->data + text->len, false};

	x->from = (uint32_t)number(&c, INT32_MAX);
	x->to = (uint32_t)number(&c, INT32_MAX);
	x->prefix = (unsigned)number(&c, sizeof(struct digest));
	if (x->prefix < PREFIX_MIN)
		return err_set(e, -ERR_FORMAT, "its index is damaged");
	const size_t n = count(&c, SIGNATURE_MAX, 1);
	const uint8_t *signature = bytes(&c, n);
	if (signature)
		buf_add(&x->signature, signature, n);
	parse_shapes(&c, x);
	parse_sections(&c, x, at);
	parse_records(&c, x);
	if (c.bad || c.at != c.end)
		return err_set(e, -ERR_FORMAT, "its index is damaged");
	for (size_t i = 0; i < x->n_sections; i++)
		if (!adds_up(x, &x->sections[i]))
			return err_set(e, -ERR_FORMAT, "its section %zu does not add up", i);
	return 0;
}

int update_parse(const void *file, size_t len, struct update_index *x, struct err *e)
{
	const uint8_t *p = file;
	_cleanup_(buf_free) struct buf text = {0};
	size_t index = 0, head;

	*x = (struct update_index){0};
	int r = update_head_size(file, len, &index, &head, e);
	if (r < 0)
		return r;
	const size_t stored = index - UPDATE_FIXED, expanded = le32_at(p + 20);
	if (index > len)
		return err_set(e, -ERR_FORMAT, "it ends within its index");
	r = decompress_mem(codec_detect(p + UPDATE_FIXED, stored), p + UPDATE_FIXED, stored, expanded, &text, e);
	if (r >= 0 && text.len != expanded)
		r = err_set(e, -ERR_FORMAT, "its index is damaged");
	return r < 0 ? r : parse_index(&text, index, x, e);
}

int update_load(int fd, struct update_index *x, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	uint8_t fixed[UPDATE_FIXED];
	size_t len = 0, head;

	*x = (struct update_index){0};
	int r = fs_read_at(fd, 0, fixed, sizeof(fixed), e);
	if (r >= 0)
		r = update_head_size(fixed, sizeof(fixed), &len, &head, e);
	if (r < 0)
		return r;
	r = fs_read_at(fd, 0, buf_reserve(&text, len), len, e);
	return r < 0 ? r : update_parse(text.data, len, x, e);
}

static int by_record_hash(const void *a, const void *b, void *arg)
{
	const struct update_record *records = arg;

	return memcmp(&records[*(const size_t *)a].hash, &records[*(const size_t *)b].hash, sizeof(struct digest));
}

void update_sort(struct update_index *x)
{
	if (x->by_hash)
		return;
	x->by_hash = xcalloc(x->n_records + 1, sizeof(*x->by_hash));
	for (size_t i = 0; i < x->n_records; i++)
		x->by_hash[i] = i;
	qsort_r(x->by_hash, x->n_records, sizeof(*x->by_hash), by_record_hash, x->records);
}

static const struct digest *record_at(const void *arg, size_t i)
{
	const struct update_index *x = arg;

	return &x->records[x->by_hash[i]].hash;
}

const struct update_record *update_find(const struct update_index *x, const struct digest *hash, unsigned bytes)
{
	const unsigned prefix = MIN(bytes, x->prefix);
	const size_t i = digest_search(record_at, x, x->n_records, hash, prefix);

	return i < x->n_records && memcmp(record_at(x, i), hash, prefix) == 0 ? &x->records[x->by_hash[i]] : NULL;
}

bool update_has_base(const struct update_record *r)
{
	return !digest_equal(&r->from, &digest_zero);
}

bool update_is(const struct update_index *x, const struct digest *prefix, const struct digest *hash)
{
	return memcmp(prefix, hash, x->prefix) == 0;
}

/* Where a section is read: each stream has what is left of the record. */
struct reading {
	struct decompressor *streams[DIFF_STREAMS];
	uint64_t left[DIFF_STREAMS];
	bool broken; /* a stream ended or failed: nothing more can be had */
};

static int read_stream(void *arg, enum diff_stream s, void *data, size_t len, struct err *e)
{
	struct reading *g = arg;

	if (len > g->left[s])
		return err_set(e, -ERR_FORMAT, "it needs more than its section has for it");
	if (len == 0)
		return 0;
	int r = decompress_read(g->streams[s], data, len, e);
	g->broken = g->broken || r < 0;
	g->left[s] -= len;
	return r;
}

static int pass_over(struct reading *g, struct err *e)
{
	char chunk[CHUNK];
	int r = 0;

	for (size_t k = 0; k < DIFF_STREAMS; k++)
		while (r >= 0 && g->left[k] > 0)
			r = read_stream(g, k, chunk, (size_t)MIN(g->left[k], (uint64_t)CHUNK), e);
	return r;
}

static int make_record(struct reading *g, const struct update_record *r, const struct update_target *t, struct err *e)
{
	const struct diff_source source = {.read = read_stream, .arg = g};
	struct view base = {0};
	struct err why = ERR_INIT;

	int wanted = t->begin(t->arg, r, &base, e);
	if (wanted <= 0)
		return wanted;
	int result = diff_apply(&base, r->size, &source, t->scratch, t->write, t->arg, &why);
	for (size_t k = 0; result >= 0 && k < DIFF_STREAMS; k++)
		if (g->left[k])
			result = err_set(&why, -ERR_FORMAT, "its section has more for it than it needs");
	int ended = t->end(t->arg, r, result, &why);
	if (ended < 0 || g->broken) {
		err_move(e, &why);
		return ended < 0 ? ended : result;
	}
	err_clear(&why);
	return 0;
}

int update_read(const struct update_index *x, size_t section, int fd, uint64_t at, const struct update_target *t,
		struct err *e)
{
	const struct update_section *s = &x->sections[section];
	struct reading g = {0};
	int r = 0;

	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++) {
		if (s->streams[k].expanded)
			r = decompress_open(s->streams[k].codec, fd, at, s->streams[k].stored, &g.streams[k], e);
		at += s->streams[k].stored;
	}
	for (size_t i = s->first; r >= 0 && i < s->first + s->n; i++) {
		memcpy(g.left, x->records[i].bytes, sizeof(g.left));
		r = make_record(&g, &x->records[i], t, e);
		if (r >= 0)
			r = pass_over(&g, e);
	}
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		decompress_close(g.streams[k]);
	return r;
}
