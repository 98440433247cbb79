/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/update_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/varint.h"
#include "tests/unit/test.h"

#define RECORDS 5

/* An update file of two sections: the first is meta and has one record, the other four. */
struct sample {
	struct buf old[RECORDS], new[RECORDS];
	struct buf file;
	struct update_index index; /* as it was written */
};

static struct digest hash_of(const char *what, size_t i)
{
	_cleanup_free_ char *text = xasprintf("%s %zu", what, i);
	struct digest d;

	sha256_mem(text, strlen(text), &d);
	return d;
}

static void sample_free(struct sample *s)
{
	for (size_t i = 0; i < RECORDS; i++) {
		buf_free(&s->old[i]);
		buf_free(&s->new[i]);
	}
	buf_free(&s->file);
	update_index_clear(&s->index);
}

static void sample_make(struct sample *s)
{
	static const struct attrs shapes[] = {{.kind = KIND_FILE, .mode = 04755, .uid = 7, .gid = 100000},
					      {.kind = KIND_LINK}};
	_cleanup_(buf_free) struct buf stored = {0};
	struct err e = ERR_INIT;

	*s = (struct sample){.index = {.from = 10, .to = 20, .prefix = 5}};
	buf_puts(&s->index.signature, "signed");
	s->index.n_shapes = ARRAY_LEN(shapes);
	s->index.shapes = xmemdup(shapes, sizeof(shapes));
	s->index.n_sections = 2;
	s->index.sections = xcalloc(2, sizeof(*s->index.sections));
	s->index.sections[0] = (struct update_section){.meta = true, .n = 1};
	s->index.sections[1] = (struct update_section){.first = 1, .n = RECORDS - 1};
	s->index.n_records = RECORDS;
	s->index.records = xcalloc(RECORDS, sizeof(*s->index.records));
	for (size_t section = 0; section < 2; section++) {
		struct update_section *x = &s->index.sections[section];
		_cleanup_(diff_streams_clear) struct diff_streams streams = {0};
		for (size_t i = x->first; i < x->first + x->n; i++) {
			struct update_record *r = &s->index.records[i];
			size_t before[DIFF_STREAMS];
			/* record 4 is a link, made of nothing */
			for (int k = 0; i < 4 && k < 3000; k++) {
				buf_printf(&s->old[i], "%d\n", k * k);
				buf_printf(&s->new[i], "%d\n", k % 100 == (int)i ? k : k * k);
			}
			if (i == 4)
				buf_puts(&s->new[i], "where/it/points");
			for (size_t k = 0; k < DIFF_STREAMS; k++)
				before[k] = streams.s[k].len;
			assert_ok(diff_make(s->old[i].data, s->old[i].len, s->new[i].data, s->new[i].len, &streams, &e),
				  &e);
			for (size_t k = 0; k < DIFF_STREAMS; k++)
				r->bytes[k] = streams.s[k].len - before[k];
			r->hash = hash_of("new", i);
			if (i < 4)
				r->from = hash_of("old", i);
			r->size = s->new[i].len;
			r->shape = &s->index.shapes[i == 4];
		}
		assert_ok(update_pack(&streams, x, &stored, &e), &e);
	}
	assert_ok(update_format(&s->index, &s->file, &e), &e);
	buf_add(&s->file, stored.data, stored.len);
}

/* A file of these bytes. */
static int load(const void *file, size_t len, size_t room, struct update_index *x, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("update", MFD_CLOEXEC);

	assert_ok(fs_write_all(fd, file, len, e), e);
	return update_load(fd, room, x, e);
}

/* What a reader makes of it: of records whose bit is set in wanted. */
struct maker {
	const struct sample *sample;
	const struct update_index *index;
	unsigned wanted, ended;
	bool wrong_base;
	struct buf made[RECORDS];
	int results[RECORDS];
	size_t now;
};

static int begin(void *arg, const struct update_record *r, struct view *base, struct err *e __attribute__((unused)))
{
	struct maker *m = arg;

	m->now = r->number;
	const struct buf *old = &m->sample->old[m->now];
	*base = VIEW_OF((const uint8_t *)old->data, m->wrong_base ? old->len / 2 : old->len);
	return (m->wanted >> m->now & 1) != 0;
}

static int take_bytes(void *arg, const void *data, size_t len, struct err *e __attribute__((unused)))
{
	struct maker *m = arg;

	buf_add(&m->made[m->now], data, len);
	return 0;
}

static int end(void *arg, const struct update_record *r, int result, struct err *e __attribute__((unused)))
{
	struct maker *m = arg;

	assert_int_equal(r->number, m->now);
	m->results[m->now] = result;
	m->ended |= 1U << m->now;
	return 0;
}

static void maker_clear(struct maker *m)
{
	for (size_t i = 0; i < RECORDS; i++)
		buf_free(&m->made[i]);
}

static int read_all(struct maker *m, const struct buf *file, struct err *e)
{
	const struct update_target target = {.begin = begin, .write = take_bytes, .end = end, .arg = m, .scratch = -1};
	_cleanup_close_ int dir = test_dir(NULL, 0);
	int r = 0;

	assert_ok(fs_save_cache(dir, "file", file->data, file->len, 0600, e), e);
	_cleanup_close_ int fd = openat(dir, "file", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; r >= 0 && i < m->index->n_sections; i++)
		r = update_read(m->index, i, fd, m->index->sections[i].at, &target, e);
	return r;
}

static void check_sample(const struct sample *s, const struct buf *file)
{
	_cleanup_(update_index_clear) struct update_index x;
	struct err e = ERR_INIT;
	size_t index, head;

	assert_ok(update_head_size(file->data, file->len, &index, &head, &e), &e);
	/* the head is enough */
	assert_ok(load(file->data, head, UPDATE_MEMORY, &x, &e), &e);
	assert_int_equal(head, x.sections[1].at);
	assert_int_equal(x.from, 10);
	assert_int_equal(x.to, 20);
	assert_int_equal(x.prefix, 5);
	assert_int_equal(x.signature.len, 6);
	assert_memory_equal(x.signature.data, "signed", 6);
	assert_int_equal(x.n_sections, 2);
	assert_int_equal(x.sections[1].at + x.sections[1].stored, file->len);
	assert_true(x.sections[0].meta && !x.sections[1].meta);
	assert_int_equal(update_record_at(&x, 1).shape->mode, 04755);
	assert_int_equal(update_record_at(&x, 1).shape->gid, 100000);
	assert_int_equal(update_record_at(&x, 4).shape->kind, KIND_LINK);
	for (size_t i = 0; i < RECORDS; i++) {
		const struct update_record r = update_record_at(&x, i);
		assert_int_equal(r.size, s->index.records[i].size);
		assert_true(update_is(&x, &r.hash, &s->index.records[i].hash));
		assert_true(update_is(&x, &r.from, &s->index.records[i].from));
		assert_false(update_is(&x, &r.hash, &s->index.records[(i + 1) % RECORDS].hash));
	}
	_cleanup_(maker_clear) struct maker m = {.sample = s, .index = &x, .wanted = 31};
	assert_ok(read_all(&m, file, &e), &e);
	for (size_t i = 0; i < RECORDS; i++) {
		assert_int_equal(m.results[i], 0);
		assert_int_equal(m.made[i].len, s->new[i].len);
		assert_memory_equal(m.made[i].data, s->new[i].data, s->new[i].len);
	}
}

TEST(update_packer_compresses_large_streams_as_they_come)
{
	enum { BLOCK = 1 << 20, BLOCKS = (int)(UPDATE_LARGE / BLOCK) + 2 };
	_cleanup_(update_packer_freep) struct update_packer *p = NULL;
	_cleanup_(decompress_closep) struct decompressor *d = NULL;
	_cleanup_close_ int dir = test_dir(NULL, 0), fd = fs_scratch_open(dir, NULL);
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_free_ char *block = xmalloc(BLOCK), *made = xmalloc(BLOCK);
	struct update_section s = {0};
	struct err e = ERR_INIT;

	p = update_packer_new(dir);
	buf_puts(&update_packer_streams(p)->s[DIFF_COPY], "few");
	for (int i = 0; i < BLOCKS; i++) {
		memset(block, i, BLOCK);
		buf_add(&update_packer_streams(p)->s[DIFF_LITERAL], block, BLOCK);
		assert_ok(update_packer_settle(p, &e), &e);
		assert_true(update_packer_streams(p)->s[DIFF_LITERAL].len <= UPDATE_LARGE);
		assert_int_equal(update_packer_len(p, DIFF_LITERAL), (uint64_t)(i + 1) * BLOCK);
	}
	assert_ok(update_packer_end(p, &s, &e), &e);
	assert_ok(update_packer_write(p, fd, &e), &e);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), s.stored);
	assert_int_equal(s.streams[DIFF_COPY].expanded, 3);
	assert_int_equal(s.streams[DIFF_LITERAL].codec, CODEC_ZSTD);
	assert_int_equal(s.streams[DIFF_LITERAL].expanded, (uint64_t)BLOCKS * BLOCK);
	assert_ok(decompress_open(CODEC_ZSTD, update_window(DIFF_LITERAL), fd, s.streams[DIFF_COPY].stored,
				  s.streams[DIFF_LITERAL].stored, &d, &e),
		  &e);
	for (int i = 0; i < BLOCKS; i++) {
		memset(block, i, BLOCK);
		assert_ok(decompress_read(d, made, BLOCK, &e), &e);
		assert_memory_equal(made, block, BLOCK);
	}
	assert_ok(fs_list(dir, ".", &names, &e), &e);
	assert_int_equal(names.n, 0);
}

TEST(update_file_gives_what_was_written)
{
	_cleanup_(sample_free) struct sample s;

	sample_make(&s);
	check_sample(&s, &s.file);
}

/* What any version wrote is an update file of version 1: this file never changes. */
TEST(update_file_is_read_for_ever)
{
	_cleanup_(sample_free) struct sample s;
	_cleanup_(buf_free) struct buf golden = {0};
	struct err e = ERR_INIT;

	sample_make(&s);
	assert_ok(fs_load(AT_FDCWD, "tests/golden/update-file", 1UL << 20, &golden, &e), &e);
	check_sample(&s, &golden);
}

TEST(update_file_passes_over_what_is_not_wanted_or_cannot_be_made)
{
	_cleanup_(sample_free) struct sample s;
	struct err e = ERR_INIT;

	_cleanup_(update_index_clear) struct update_index x;

	sample_make(&s);
	assert_ok(load(s.file.data, s.file.len, UPDATE_MEMORY, &x, &e), &e);
	_cleanup_(maker_clear) struct maker m = {.sample = &s, .index = &x, .wanted = 1 << 2 | 1 << 4};
	assert_ok(read_all(&m, &s.file, &e), &e);
	assert_int_equal(m.ended, m.wanted);
	assert_memory_equal(m.made[2].data, s.new[2].data, s.new[2].len);
	assert_memory_equal(m.made[4].data, s.new[4].data, s.new[4].len);
	/* the base is another file: that record fails, and no other */
	_cleanup_(maker_clear) struct maker w = {.sample = &s, .index = &x, .wanted = 31, .wrong_base = true};
	assert_ok(read_all(&w, &s.file, &e), &e);
	assert_int_equal(w.ended, 31);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(w.results[i], -ERR_FORMAT);
	assert_int_equal(w.results[4], 0);
	assert_memory_equal(w.made[4].data, s.new[4].data, s.new[4].len);
}

TEST(update_file_refuses_what_is_none)
{
	_cleanup_(sample_free) struct sample s;
	struct err e = ERR_INIT;
	size_t index, head;

	sample_make(&s);
	assert_ok(update_head_size(s.file.data, s.file.len, &index, &head, &e), &e);
	assert_fails(update_head_size("<html>", 6, &index, &head, &e), ERR_FORMAT, &e, "not an update file");
	assert_fails(update_head_size(s.file.data, UPDATE_FIXED - 1, &index, &head, &e), ERR_FORMAT, &e,
		     "not an update file");
	s.file.data[8] = 2;
	assert_fails(update_head_size(s.file.data, s.file.len, &index, &head, &e), ERR_FORMAT, &e, "of version 2");
	s.file.data[8] = 1;
	for (size_t len = 0; len < s.index.sections[0].at; len++) {
		_cleanup_(update_index_clear) struct update_index x;
		assert_fails(load(s.file.data, len, UPDATE_MEMORY, &x, &e), ERR_FORMAT, &e, "");
	}
}

/* Each byte of the head and of the sections changed: an error, or no more than the records it has. */
TEST(update_file_survives_changed_bytes)
{
	_cleanup_(sample_free) struct sample s;
	struct err e = ERR_INIT;

	sample_make(&s);
	for (size_t at = 0; at < s.file.len; at++) {
		_cleanup_(update_index_clear) struct update_index x;
		s.file.data[at] ^= 0x15;
		int r = load(s.file.data, s.file.len, UPDATE_MEMORY, &x, &e);
		if (r >= 0 && x.n_records == RECORDS) {
			_cleanup_(maker_clear) struct maker m = {.sample = &s, .index = &x, .wanted = 31};
			r = read_all(&m, &s.file, &e);
		}
		assert_true(r >= 0 || e.text);
		err_clear(&e);
		s.file.data[at] ^= 0x15;
	}
}

/* A file with an index of these bytes, not compressed. */
static void add_file(struct buf *out, const struct buf *index)
{
	const uint32_t fixed[] = {UPDATE_VERSION, (uint32_t)(UPDATE_FIXED + index->len), (uint32_t)index->len,
				  (uint32_t)index->len};

	buf_add(out, UPDATE_MAGIC, 8);
	buf_add(out, fixed, sizeof(fixed));
	buf_add(out, index->data, index->len);
}

static int parse_index(const struct buf *index, struct update_index *x, struct err *e)
{
	_cleanup_(buf_free) struct buf file = {0};

	add_file(&file, index);
	return load(file.data, file.len, UPDATE_MEMORY, x, e);
}

TEST(update_file_does_not_believe_counts)
{
	/* from, to, prefix, signature, shapes, sections: one is too many for what follows */
	static const uint64_t many = 1000000;

	for (size_t which = 0; which < 3; which++) {
		_cleanup_(buf_free) struct buf index = {0};
		_cleanup_(update_index_clear) struct update_index x;
		struct err e = ERR_INIT;
		const uint64_t head[] = {
			10, 20, 4, which == 0 ? many : 0, which == 1 ? many : 0, which == 2 ? many : 1};
		for (size_t i = 0; i < ARRAY_LEN(head); i++)
			varint_add(&index, head[i]);
		/* one section of many records, whose columns are not there */
		varint_add(&index, 0);
		varint_add(&index, many);
		for (size_t k = 0; k < DIFF_STREAMS; k++)
			buf_add(&index, "\0\0\0", 3);
		assert_fails(parse_index(&index, &x, &e), ERR_FORMAT, &e, "damaged");
	}
}

/* An index of so many shapes, sections without records, and records in one section; their columns are zeros. */
static void add_index(struct buf *out, size_t shapes, size_t sections, size_t records)
{
	static const uint64_t begin[] = {10, 20, 4, 0};
	const size_t columns = records * (4 + 4 + 2 + DIFF_STREAMS);

	for (size_t i = 0; i < ARRAY_LEN(begin); i++)
		varint_add(out, begin[i]);
	varint_add(out, shapes);
	for (size_t i = 0; i < shapes; i++)
		buf_add(out, "\1\0\0\0", 4);
	varint_add(out, sections + 1);
	for (size_t i = 0; i <= sections; i++) {
		varint_add(out, 0);
		varint_add(out, i < sections ? 0 : records);
		for (size_t k = 0; k < 3UL * DIFF_STREAMS; k++)
			buf_add(out, "", 1);
	}
	memset(buf_reserve(out, columns), 0, columns);
	out->len += columns;
}

/* Nobody has signed it: what all files of a way may take together is bounded. */
TEST(update_file_takes_no_more_memory_than_there_is)
{
	static const struct {
		size_t shapes, sections, records, room;
		const char *fails; /* NULL: it fits */
	} cases[] = {
		{1, 0, 1000, UPDATE_MEMORY, NULL},
		{1, 0, 1000000, UPDATE_MEMORY, NULL},
		{1, 0, 1000000, UPDATE_MEMORY / 2, "too large"},
		{1, 0, 1000001, UPDATE_MEMORY, "damaged"},
		{65536, 0, 1, UPDATE_MEMORY, NULL},
		{65536, 0, 1, 1 << 20, "too large"},
		{1, 99999, 1, UPDATE_MEMORY, NULL},
		{1, 99999, 1, UPDATE_MEMORY / 2, "too large"},
		{1, 100000, 1, UPDATE_MEMORY, "damaged"},
		{1, 0, 1000, 100, "too large"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(update_index_clear) struct update_index x;
		_cleanup_(buf_free) struct buf index = {0}, file = {0};
		struct err e = ERR_INIT;

		add_index(&index, cases[i].shapes, cases[i].sections, cases[i].records);
		add_file(&file, &index);
		if (!cases[i].fails) {
			assert_ok(load(file.data, file.len, cases[i].room, &x, &e), &e);
			assert_int_equal(x.n_records, cases[i].records);
			assert_true(x.memory >= index.len && x.memory <= cases[i].room);
		} else {
			const bool large = strcmp(cases[i].fails, "too large") == 0;
			assert_fails(load(file.data, file.len, cases[i].room, &x, &e), large ? ERR_LIMIT : ERR_FORMAT,
				     &e, cases[i].fails);
		}
	}
}

TEST(update_file_says_how_large_its_index_is)
{
	struct err e = ERR_INIT;
	size_t index, head;
	const struct {
		uint32_t head, stored, expanded;
		int code;
	} cases[] = {
		{UPDATE_HEAD_MAX, 100, 200, 0},
		{UPDATE_HEAD_MAX + 1, 100, 200, ERR_LIMIT},
		{1000, 100, UPDATE_INDEX_MAX + 1, ERR_LIMIT},
		{1000, 100, 99, ERR_FORMAT}, /* what is stored is held, too, or would be read for nothing */
		{100, 100, 200, ERR_FORMAT},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const uint32_t fixed[] = {UPDATE_VERSION, cases[i].head, cases[i].stored, cases[i].expanded};
		_cleanup_(buf_free) struct buf file = {0};
		buf_add(&file, UPDATE_MAGIC, 8);
		buf_add(&file, fixed, sizeof(fixed));
		assert_int_equal(update_head_size(file.data, file.len, &index, &head, &e), -cases[i].code);
		err_clear(&e);
	}
}

/* Manifests that expand to more than any may have are not begun with. */
TEST(update_file_has_manifests_of_a_size_that_can_be)
{
	_cleanup_(sample_free) struct sample s;
	_cleanup_(buf_free) struct buf file = {0}, text = {0}, index = {0};
	_cleanup_(update_index_clear) struct update_index x;
	struct err e = ERR_INIT;

	sample_make(&s);
	s.index.sections[0].streams[DIFF_LITERAL].expanded = UPDATE_META_MAX + 1UL;
	assert_fails(update_format(&s.index, &file, &e), ERR_LIMIT, &e, "too much");
	/* the same written by somebody else */
	const size_t at = 12 + 3UL * DIFF_LITERAL;
	add_index(&index, 1, 0, 1);
	index.data[10] = 1;
	buf_add(&text, index.data, at);
	varint_add(&text, CODEC_ZSTD);
	varint_add(&text, UPDATE_META_MAX + 1UL);
	buf_add(&text, index.data + at + 2, index.len - at - 2);
	file.len = 0;
	add_file(&file, &text);
	assert_fails(load(file.data, file.len, UPDATE_MEMORY, &x, &e), ERR_LIMIT, &e, "manifests are too large");
}

TEST(update_file_needs_sums_that_are_right)
{
	_cleanup_(sample_free) struct sample s;
	_cleanup_(update_index_clear) struct update_index x;
	_cleanup_(buf_free) struct buf file = {0};
	struct err e = ERR_INIT;

	sample_make(&s);
	s.index.records[2].bytes[DIFF_LITERAL]++;
	assert_ok(update_format(&s.index, &file, &e), &e);
	assert_fails(load(file.data, file.len, UPDATE_MEMORY, &x, &e), ERR_FORMAT, &e, "section 1 does not add up");
}

TEST(varint_reads_what_it_writes_and_nothing_longer)
{
	static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
	_cleanup_(buf_free) struct buf b = {0};
	uint64_t v;

	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		varint_add(&b, values[i]);
	const uint8_t *at = (const uint8_t *)b.data, *end = at + b.len;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		assert_int_equal(varint_read(&at, end, &v), 0);
		assert_int_equal(v, values[i]);
	}
	assert_int_equal(varint_read(&at, end, &v), -ERR_FORMAT);
	at = (const uint8_t *)"\x80\x80";
	assert_int_equal(varint_read(&at, at + 2, &v), -ERR_FORMAT);
	/* a 65th bit */
	at = (const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
	assert_int_equal(varint_read(&at, at + 10, &v), -ERR_FORMAT);
}
