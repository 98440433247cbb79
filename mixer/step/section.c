/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/section.h"

#include <string.h>
#include <unistd.h>

#include "mixer/step/deltas.h"
#include "mixer/step/job.h"
#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/diff.h"
#include "swupd/content/update_file.h"
#include "swupd/content/varint.h"

/* -- differences -- */

/* Raised whenever the same files give another difference, or another answer whether it is worth it: the cache's others count as damaged. */
#define DIFF_VERSION 4

/* The streams are gone then. */
static void save_streams(struct diff_streams *s, struct buf *out)
{
	varint_add(out, DIFF_VERSION);
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		varint_add(out, s->s[k].len);
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		buf_add(out, s->s[k].data, s->s[k].len);
		buf_free(&s->s[k]);
	}
}

/* Adds them to s, and how many bytes of each that is to bytes. */
static int load_streams(const struct buf *text, struct diff_streams *s, uint64_t bytes[DIFF_STREAMS])
{
	const uint8_t *at = (const uint8_t *)text->data, *end = at + text->len;
	uint64_t version;

	if (varint_read(&at, end, &version) < 0 || version != DIFF_VERSION)
		return -ERR_FORMAT;
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		if (varint_read(&at, end, &bytes[k]) < 0)
			return -ERR_FORMAT;
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		if (bytes[k] > (size_t)(end - at))
			return -ERR_FORMAT;
		if (s)
			buf_add(&s->s[k], at, bytes[k]);
		at += bytes[k];
	}
	return at == end ? 0 : -ERR_FORMAT;
}

struct checking {
	const struct buf *want;
	size_t made;
};

static int compare_made(void *arg, const void *data, size_t len, struct err *e)
{
	struct checking *c = arg;

	if (len > c->want->len - c->made || memcmp(c->want->data + c->made, data, len) != 0)
		return err_set(e, -ERR_FORMAT, "it gives another file");
	c->made += len;
	return 0;
}

int diff_checked(const struct buf *old, const struct buf *new, struct diff_streams *out, struct err *e)
{
	struct diff_cursor cursor = {.streams = out};
	const struct diff_source source = {.read = diff_cursor_read, .arg = &cursor};
	struct view base = VIEW_OF((const uint8_t *)old->data, old->len);
	struct checking c = {.want = new};

	int r = diff_make(old->data, old->len, new->data, new->len, out, e);
	if (r >= 0)
		r = diff_apply(&base, new->len, &source, -1, compare_made, &c, e);
	if (r >= 0 && c.made != new->len)
		r = err_set(e, -ERR_FORMAT, "it gives a shorter file");
	return r < 0 ? err_in(e, r, "the difference that was just made") : 0;
}

#define SAVED_LEAST 256UL /* bytes */

/*
 * Does the old file save enough? A difference binds its object to the old file: a client that comes from far away fetches that, too, with all of the section that it is in, and
 * whoever cannot read it fetches the object otherwise. So a sixteenth, and for a small file more, as for os-release, which changes with each release. A difference that is far smaller than the new file is not compared with what is left of that when it is compressed alike.
 */
static int is_worth_it(size_t stored, const struct buf *new, struct err *e)
{
	_cleanup_(buf_free) struct buf alone = {0};

	if (stored < new->len / 16 && new->len >= 16 * SAVED_LEAST)
		return 1;
	int r = compress_mem(CODEC_ZSTD, 3, new->data, new->len, &alone, e);
	return r < 0 ? r : stored + MAX(alone.len / 16, SAVED_LEAST) < alone.len;
}

static int make_cached(const struct buf *old, const struct buf *new, const struct attrs *attrs __attribute__((unused)),
		       struct buf *out, struct err *e)
{
	_cleanup_(diff_streams_clear) struct diff_streams streams = {0};
	_cleanup_(buf_free) struct buf text = {0}, stored = {0};

	int r = diff_checked(old, new, &streams, e);
	if (r < 0)
		return r;
	save_streams(&streams, &text);
	r = compress_mem(CODEC_ZSTD, 3, text.data, text.len, &stored, e);
	buf_free(&text);
	if (r >= 0)
		r = is_worth_it(stored.len, new, e);
	if (r > 0)
		buf_move(out, &stored);
	return r < 0 ? r : r == 0;
}

static int expand(const struct buf *cached, struct buf *text)
{
	return decompress_mem(CODEC_ZSTD, cached->data, cached->len, SIZE_MAX / 2, text, NULL);
}

static int look_cached(const struct buf *cached)
{
	_cleanup_(buf_free) struct buf text = {0};
	uint64_t bytes[DIFF_STREAMS];

	int r = expand(cached, &text);
	return r < 0 ? r : load_streams(&text, NULL, bytes);
}

static const struct delta_kind diffs = {
	.folder = "diffs", .make = make_cached, .look = look_cached, .max = SIZE_MAX / 2, /* what memory can hold */
};

#define PROGRAM_MAX (64UL << 20) /* ELF_MAX */

/* What a file expands to, as far as its name tells; 2.5 times its size was measured of Java's modules, 3.0 of manuals and changelogs, 1.2 to 2.9 of debug information */
static uint64_t expanded_size(const struct member *x)
{
	static const char *const ends[] = {".debug", ".gz", ".jar", ".jmod", ".whl", ".zip"};

	for (size_t i = 0; x->node && i < ARRAY_LEN(ends); i++)
		if (text_ends(x->node->path, ends[i]))
			return 3 * x->size;
	return 0;
}

/*
 * Of programs both contents and copies of them, which are not counted of larger files: these lie in the cache, and the kernel can read them again. What matching needs (diff.h); the
 * streams, as such and as the cache has them. 0.38 to 0.86 of this was measured, of executables of 1 to 117 MB.
 */
static uint64_t diff_memory(const struct mix *m __attribute__((unused)), const struct job *j)
{
	const uint64_t old = j->members[0].size, new = j->members[1].size;
	const uint64_t old_form = expanded_size(&j->members[0]), new_form = expanded_size(&j->members[1]);
	const uint64_t contents = 2 * (MIN(old, PROGRAM_MAX) + MIN(new, PROGRAM_MAX));

	return contents + old_form + new_form + MIN(MAX(old, old_form) / 2 * 9, 310UL << 20) + 2 * new + (16UL << 20);
}

const struct job_kind job_diff = {
	.name = "diff",
	.objects = 2,
	.file = delta_job_file,
	.make = delta_job_make,
	.memory = diff_memory,
	.delta = &diffs,
};

/* -- sections -- */

/* Raised whenever the same members give another section. */
#define SECTION_VERSION 6

static char *section_file(const struct mix *m __attribute__((unused)), const struct job *j,
			  struct err *e __attribute__((unused)))
{
	_cleanup_(buf_free) struct buf key = {0};
	char hex[DIGEST_HEX];
	struct digest d;

	buf_printf(&key, "section %d\n", SECTION_VERSION);
	for (size_t i = 0; i < j->n; i++) {
		const struct member *x = &j->members[i];
		digest_format(x->node ? &x->node->hash : &x->from, hex);
		buf_printf(&key, "%s", hex);
		digest_format(&x->to, hex);
		buf_printf(&key, "-%s\n", x->node ? "" : hex);
	}
	sha256_mem(key.data, key.len, &d);
	digest_format(&d, hex);
	return xasprintf("sections/%.2s/%s", hex, hex);
}

/* The streams in buffers that grow, what is stored of them, one content or difference, and xz; 0.51 to 0.99 of this was measured, of 1 to 117 MB */
static uint64_t section_memory(const struct mix *m __attribute__((unused)), const struct job *j)
{
	uint64_t size = 0, largest = 0;

	for (size_t i = 0; i < j->n; i++) {
		size += j->members[i].size + 64;
		largest = MAX(largest, j->members[i].size);
	}
	return 3 * size + 2 * largest + compress_memory(CODEC_XZ, 0, MIN(size, UPDATE_DICTIONARY));
}

/* Adds them to s, and how much of each that is to bytes. */
static int add_streams(const struct mix *m, const struct member *x, struct diff_streams *s,
		       uint64_t bytes[DIFF_STREAMS], struct err *e)
{
	_cleanup_(buf_free) struct buf content = {0}, text = {0};

	if (!x->node) {
		int r = fs_load(m->cache, x->file, SIZE_MAX / 2, &content, e);
		if (r >= 0)
			r = expand(&content, &text);
		if (r >= 0)
			r = load_streams(&text, s, bytes);
		return r == -ERR_FORMAT ? err_set(e, r, "%s is damaged", x->file) : r;
	}
	uint64_t before[DIFF_STREAMS];
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		before[k] = s->s[k].len;
	int r = object_content(m, x->node, &content, e);
	if (r >= 0)
		r = diff_make(NULL, 0, content.data, content.len, s, e);
	for (size_t k = 0; k < DIFF_STREAMS; k++)
		bytes[k] = s->s[k].len - before[k];
	return r;
}

static int section_make(const struct mix *m, const struct job *j, struct buf *out, struct err *e)
{
	_cleanup_(diff_streams_clear) struct diff_streams streams = {0};
	_cleanup_free_ uint64_t(*bytes)[DIFF_STREAMS] = xcalloc(j->n, sizeof(*bytes));
	_cleanup_(buf_free) struct buf stored = {0};
	struct update_section s = {0};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < j->n; i++)
		r = add_streams(m, &j->members[i], &streams, bytes[i], e);
	if (r >= 0)
		r = update_pack(&streams, &s, &stored, e);
	if (r < 0)
		return r;
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		varint_add(out, s.streams[k].codec);
		varint_add(out, s.streams[k].expanded);
		varint_add(out, s.streams[k].stored);
	}
	for (size_t i = 0; i < j->n; i++)
		for (size_t k = 0; k < DIFF_STREAMS; k++)
			varint_add(out, bytes[i][k]);
	buf_add(out, stored.data, stored.len);
	return 0;
}

const struct job_kind job_section = {
	.name = "section", .file = section_file, .make = section_make, .memory = section_memory, .delta = &diffs};

static int parse_section(const struct buf *text, struct update_section *s, struct update_record *records,
			 struct buf *out)
{
	const uint8_t *at = (const uint8_t *)text->data, *end = at + text->len;
	uint64_t codec = 0;
	int r = 0;

	s->stored = 0;
	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++) {
		r = varint_read(&at, end, &codec);
		s->streams[k].codec = (enum codec)codec;
		if (r >= 0)
			r = varint_read(&at, end, &s->streams[k].expanded);
		if (r >= 0)
			r = varint_read(&at, end, &s->streams[k].stored);
		s->stored += s->streams[k].stored;
	}
	for (size_t i = 0; r >= 0 && i < s->n; i++)
		for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++)
			r = varint_read(&at, end, &records[i].bytes[k]);
	if (r < 0 || s->stored != (uint64_t)(end - at))
		return -ERR_FORMAT;
	buf_add(out, at, s->stored);
	return 0;
}

int section_load(const struct mix *m, const char *file, struct update_section *s, struct update_record *records,
		 struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(m->cache, file, SIZE_MAX / 2, &text, e);
	if (r < 0)
		return r;
	r = parse_section(&text, s, records, out);
	if (r >= 0)
		return 0;
	(void)unlinkat(m->cache, file, 0);
	return err_hint(e, err_set(e, r, "%s of the cache was damaged", file), "the same command makes it anew");
}
