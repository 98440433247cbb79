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
	buf_free(&x->text);
	free(x->shapes);
	free(x->sections);
	free(x->records);
	free(x->items);
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
	if (stored > le32_at(p + 20))
		return err_set(e, -ERR_FORMAT, "its index is larger than what it expands to");
	if (*index > *head)
		return err_set(e, -ERR_FORMAT, "its index is longer than its head");
	return 0;
}

/* Where the index is read. */
struct cursor {
	const uint8_t *at, *end;
	size_t room; /* bytes of memory that it may still take */
	bool bad;    /* a number was not there, or too large */
	bool large;  /* it would take more memory */
};

/* May so many of what takes so many bytes be held? */
static size_t hold(struct cursor *c, size_t n, size_t size)
{
	c->large = c->large || n > c->room / size;
	c->bad = c->bad || c->large;
	if (c->bad)
		return 0;
	c->room -= n * size;
	return n;
}

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

	const size_t n = hold(c, count(c, SHAPES_MAX, 4), sizeof(*x->shapes));
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
	const size_t n = hold(c, count(c, UPDATE_SECTIONS, 2 + 3 * DIFF_STREAMS), UPDATE_SECTION_MEMORY);
	uint64_t meta = 0;

	x->sections = xcalloc(n + 1, sizeof(*x->sections));
	for (; x->n_sections < n && !c->bad; x->n_sections++) {
		struct update_section *s = &x->sections[x->n_sections];
		parse_section(c, x, s);
		s->at = at;
		at += s->stored;
		for (size_t k = 0; s->meta && k < DIFF_STREAMS; k++)
			meta += s->streams[k].expanded;
		c->large = c->large || meta > UPDATE_META_MAX;
		c->bad = c->bad || c->large || at > SIZE_TOP || (s->meta && x->n_sections > 0 && !s[-1].meta);
	}
}

/* Passes over what its records take of each stream, which is all of it. */
static int parse_bytes(struct cursor *c, struct update_index *x, struct err *e)
{
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		for (size_t i = 0; i < x->n_sections; i++) {
			struct update_section *s = &x->sections[i];
			uint64_t left = s->streams[k].expanded;
			s->columns[k] = (uint32_t)(c->at - (const uint8_t *)x->text.data);
			for (size_t n = 0; n < s->n && !c->bad; n++) {
				const uint64_t bytes_of = number(c, SIZE_TOP);
				if (bytes_of > left)
					return err_set(e, -ERR_FORMAT, "its section %zu does not add up", i);
				left -= bytes_of;
			}
			if (left && !c->bad)
				return err_set(e, -ERR_FORMAT, "its section %zu does not add up", i);
		}
	return 0;
}

static int parse_records(struct cursor *c, struct update_index *x, struct err *e)
{
	/* as many as fit, each column with a byte at least */
	if (c->bad || x->n_records > (size_t)(c->end - c->at) / (2 * x->prefix + 2 + DIFF_STREAMS)) {
		c->bad = true;
		return 0;
	}
	x->items = xcalloc(hold(c, x->n_records, UPDATE_RECORD_MEMORY) + 1, sizeof(*x->items));
	x->hashes = bytes(c, x->n_records * x->prefix);
	x->froms = bytes(c, x->n_records * x->prefix);
	for (size_t i = 0; i < x->n_records && !c->bad; i++) {
		const size_t shape = number(c, SHAPES_MAX);
		c->bad = c->bad || shape >= x->n_shapes;
		x->items[i].shape = shape & (SHAPES_MAX - 1);
	}
	for (size_t i = 0; i < x->n_records && !c->bad; i++)
		x->items[i].size = number(c, SIZE_TOP - 1) & (SIZE_TOP - 1);
	return parse_bytes(c, x, e);
}

static int parse_index(struct update_index *x, size_t at, size_t room, struct err *e)
{
	const uint8_t *text = (const uint8_t *)x->text.data;
	struct cursor c = {.at = text, .end = text + x->text.len, .room = room};

	(void)hold(&c, x->text.len, 1);
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
	int r = parse_records(&c, x, e);
	if (c.large)
		return err_set(e, -ERR_LIMIT, "its index or its manifests are too large");
	if (r >= 0 && (c.bad || c.at != c.end))
		return err_set(e, -ERR_FORMAT, "its index is damaged");
	x->memory = room - c.room;
	return r;
}

/* Piece by piece, so that nothing but the text is held. */
static int expand_index(int fd, enum codec codec, size_t stored, size_t expanded, struct buf *text, struct err *e)
{
	struct decompressor *d;

	int r = decompress_open(codec, UPDATE_NEAR, fd, UPDATE_FIXED, stored, &d, e);
	if (r < 0)
		return r;
	r = decompress_read(d, buf_reserve(text, expanded), expanded, e);
	decompress_close(d);
	if (r >= 0)
		text->len = expanded;
	return r;
}

int update_load(int fd, size_t room, struct update_index *x, struct err *e)
{
	uint8_t fixed[UPDATE_FIXED + 8] = {0};
	size_t index = 0, head;

	*x = (struct update_index){0};
	int r = fs_read_at(fd, 0, fixed, UPDATE_FIXED, e);
	if (r >= 0)
		r = update_head_size(fixed, UPDATE_FIXED, &index, &head, e);
	if (r < 0)
		return r;
	const size_t stored = index - UPDATE_FIXED, expanded = le32_at(fixed + 20);
	if (expanded > room)
		return err_set(e, -ERR_LIMIT, "its index is too large");
	const size_t magic = MIN(stored, sizeof(fixed) - UPDATE_FIXED);
	r = fs_read_at(fd, UPDATE_FIXED, fixed + UPDATE_FIXED, magic, e);
	if (r >= 0)
		r = expand_index(fd, codec_detect(fixed + UPDATE_FIXED, magic), stored, expanded, &x->text, e);
	return r < 0 ? r : parse_index(x, index, room, e);
}

struct update_record update_record_at(const struct update_index *x, size_t number)
{
	const struct update_item *it = &x->items[number];
	struct update_record r = {.number = number, .shape = &x->shapes[it->shape], .size = it->size};

	memcpy(&r.hash, x->hashes + number * x->prefix, x->prefix);
	memcpy(&r.from, x->froms + number * x->prefix, x->prefix);
	return r;
}

uint64_t update_size_of(const struct update_index *x, size_t number)
{
	return x->items[number].size;
}

static int by_record_hash(const void *a, const void *b, void *arg)
{
	const struct update_index *x = arg;
	const uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;

	return memcmp(x->hashes + (size_t)i * x->prefix, x->hashes + (size_t)k * x->prefix, x->prefix);
}

void update_sort(struct update_index *x)
{
	if (x->by_hash)
		return;
	x->by_hash = xcalloc(x->n_records + 1, sizeof(*x->by_hash));
	for (size_t i = 0; i < x->n_records; i++)
		x->by_hash[i] = (uint32_t)i;
	qsort_r(x->by_hash, x->n_records, sizeof(*x->by_hash), by_record_hash, x);
}

/* Only its first bytes are there. */
static const struct digest *record_at(const void *arg, size_t i)
{
	const struct update_index *x = arg;

	return (const struct digest *)(x->hashes + (size_t)x->by_hash[i] * x->prefix);
}

size_t update_find(const struct update_index *x, const struct digest *hash, unsigned bytes)
{
	const unsigned prefix = MIN(bytes, x->prefix);
	const size_t i = digest_search(record_at, x, x->n_records, hash, prefix);

	return i < x->n_records && memcmp(record_at(x, i), hash, prefix) == 0 ? x->by_hash[i] : SIZE_MAX;
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

	const uint8_t *columns[DIFF_STREAMS];

	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++) {
		columns[k] = (const uint8_t *)x->text.data + s->columns[k];
		if (s->streams[k].expanded)
			r = decompress_open(s->streams[k].codec, update_window(k), fd, at, s->streams[k].stored,
					    &g.streams[k], e);
		at += s->streams[k].stored;
	}
	for (size_t i = s->first; r >= 0 && i < s->first + s->n; i++) {
		struct update_record record = update_record_at(x, i);
		/* they were read before */
		for (size_t k = 0; k < DIFF_STREAMS; k++)
			(void)varint_read(&columns[k], (const uint8_t *)x->text.data + x->text.len, &record.bytes[k]);
		memcpy(g.left, record.bytes, sizeof(g.left));
		r = make_record(&g, &record, t, e);
		if (r >= 0)
			r = pass_over(&g, e);
	}
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		decompress_close(g.streams[k]);
	return r;
}
