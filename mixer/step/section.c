/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/section.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
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

#define CHUNK        (64UL << 10) /* of what is read piece by piece */
#define CACHE_WINDOW (8UL << 20)  /* what is in the cache looks back 2 MiB: zstd's level 3 */

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

static int read_number(struct decompressor *d, uint64_t *out, struct err *e)
{
	uint8_t text[10];
	const uint8_t *at = text;
	size_t n = 0;
	int r;

	do
		r = decompress_read(d, &text[n++], 1, e);
	while (r >= 0 && text[n - 1] & 0x80 && n < sizeof(text));
	return r < 0 ? r : varint_read(&at, text + n, out);
}

/* How many bytes of each stream there are; these follow. */
static int read_lengths(struct decompressor *d, uint64_t bytes[DIFF_STREAMS], struct err *e)
{
	uint64_t version = 0;
	int r = read_number(d, &version, e);

	if (r >= 0 && version != DIFF_VERSION)
		r = -ERR_FORMAT;
	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++)
		r = read_number(d, &bytes[k], e);
	return r;
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

static int look_cached(int fd, uint64_t size)
{
	_cleanup_(decompress_closep) struct decompressor *d = NULL;
	uint64_t bytes[DIFF_STREAMS];
	char chunk[CHUNK];

	int r = decompress_open(CODEC_ZSTD, CACHE_WINDOW, fd, 0, size, &d, NULL);
	if (r >= 0)
		r = read_lengths(d, bytes, NULL);
	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++)
		for (uint64_t left = bytes[k], n; r >= 0 && left > 0; left -= n) {
			n = MIN(left, sizeof(chunk));
			r = decompress_read(d, chunk, n, NULL);
		}
	return r;
}

static const struct delta_kind diffs = {
	.folder = "diffs", .make = make_cached, .look = look_cached, .max = SIZE_MAX / 2, /* what memory can hold */
};

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
	const uint64_t contents = 2 * (MIN(old, DIFF_PROGRAM_MAX) + MIN(new, DIFF_PROGRAM_MAX));

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
#define SECTION_VERSION 7

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

#define SMALL_CODEC (24UL << 20) /* zstd's, of one of the streams that look back less far than literals */

/*
 * The streams, then what is stored of them, and one content, compared as a program and as it is. Streams that are large are compressed as they come: no more than that is in memory,
 * beside one codec each.
 */
static uint64_t section_memory(const struct mix *m __attribute__((unused)), const struct job *j)
{
	uint64_t size = 0, largest = 0;

	for (size_t i = 0; i < j->n; i++) {
		const uint64_t x = j->members[i].size;
		size += MIN(x, UPDATE_LARGE) + 64;
		largest = MAX(largest, x);
	}
	const uint64_t codecs = largest > UPDATE_LARGE ? (DIFF_STREAMS - 1) * SMALL_CODEC : 0;
	return 2 * MIN(size, 2 * UPDATE_LARGE) + 2 * MIN(largest, UPDATE_LARGE) + codecs +
	       compress_memory(CODEC_XZ, 0, MIN(size, UPDATE_DICTIONARY));
}

/* What reader gives, len bytes of a stream */
static int add_from(struct update_packer *p, enum diff_stream s, uint64_t len,
		    int (*read)(void *reader, uint64_t at, char *out, size_t len, struct err *e), void *reader,
		    struct err *e)
{
	int r = 0;

	for (uint64_t at = 0, n; r >= 0 && at < len; at += n) {
		struct buf *out = &update_packer_streams(p)->s[s];
		n = MIN(len - at, CHUNK);
		r = read(reader, at, buf_reserve(out, n), n, e);
		out->len += r < 0 ? 0 : n;
		if (r >= 0)
			r = update_packer_settle(p, e);
	}
	return r;
}

static int read_difference(void *reader, uint64_t at __attribute__((unused)), char *out, size_t len, struct err *e)
{
	return decompress_read(reader, out, len, e);
}

static int read_file(void *reader, uint64_t at, char *out, size_t len, struct err *e)
{
	const int *fd = reader;

	return fs_read_at(*fd, at, out, len, e);
}

static int add_difference(const struct mix *m, const struct member *x, struct update_packer *p, struct err *e)
{
	_cleanup_close_ int fd = openat(m->cache, x->file, O_RDONLY | O_CLOEXEC);
	_cleanup_(decompress_closep) struct decompressor *d = NULL;
	uint64_t bytes[DIFF_STREAMS];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "%s", x->file);
	int r = decompress_open(CODEC_ZSTD, CACHE_WINDOW, fd, 0, (uint64_t)st.st_size, &d, e);
	if (r >= 0)
		r = read_lengths(d, bytes, e);
	for (size_t k = 0; r >= 0 && k < DIFF_STREAMS; k++)
		r = add_from(p, k, bytes[k], read_difference, d, e);
	return r == -ERR_FORMAT ? err_set(e, r, "%s is damaged", x->file) : r;
}

static int add_large_file(const struct mix *m, const struct node *n, struct update_packer *p, struct err *e)
{
	_cleanup_close_ int fd = object_open(m, n, e);

	if (fd < 0)
		return fd;
	diff_make_large(n->attrs.size, update_packer_streams(p));
	return add_from(p, DIFF_LITERAL, n->attrs.size, read_file, &fd, e);
}

static int add_member(const struct mix *m, const struct member *x, struct update_packer *p, struct err *e)
{
	_cleanup_(buf_free) struct buf content = {0};

	if (!x->node)
		return add_difference(m, x, p, e);
	if (x->node->attrs.kind == KIND_FILE && x->node->attrs.size > DIFF_PROGRAM_MAX)
		return add_large_file(m, x->node, p, e);
	int r = object_content(m, x->node, &content, e);
	if (r >= 0)
		r = diff_make(NULL, 0, content.data, content.len, update_packer_streams(p), e);
	return r;
}

static void add_table(const struct update_section *s, const struct buf *bytes, struct buf *out)
{
	for (size_t k = 0; k < DIFF_STREAMS; k++) {
		varint_add(out, s->streams[k].codec);
		varint_add(out, s->streams[k].expanded);
		varint_add(out, s->streams[k].stored);
	}
	buf_add(out, bytes->data, bytes->len);
}

static int section_save(const struct mix *m, const struct job *j, int dirfd, const char *name, struct err *e)
{
	_cleanup_(update_packer_freep) struct update_packer *p = update_packer_new(dirfd);
	_cleanup_(buf_free) struct buf bytes = {0}, table = {0};
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	struct update_section s = {0};
	uint64_t before[DIFF_STREAMS];
	int r = 0;

	for (size_t i = 0; r >= 0 && i < j->n; i++) {
		for (size_t k = 0; k < DIFF_STREAMS; k++)
			before[k] = update_packer_len(p, k);
		r = add_member(m, &j->members[i], p, e);
		for (size_t k = 0; k < DIFF_STREAMS; k++)
			varint_add(&bytes, update_packer_len(p, k) - before[k]);
	}
	if (r >= 0)
		r = update_packer_end(p, &s, e);
	if (r >= 0)
		r = fs_tmp_open(dirfd, 0644, &t, e);
	add_table(&s, &bytes, &table);
	if (r >= 0)
		r = fs_write_all(t.fd, table.data, table.len, e);
	if (r >= 0)
		r = update_packer_write(p, t.fd, e);
	return r < 0 ? r : fs_tmp_commit(&t, name, e);
}

const struct job_kind job_section = {
	.name = "section", .file = section_file, .save = section_save, .memory = section_memory, .delta = &diffs};

#define NUMBER_MAX 10 /* bytes of a varint */

static int parse_table(const struct buf *text, struct update_section *s, struct update_record *records, uint64_t *len)
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
	*len = (uint64_t)(at - (const uint8_t *)text->data);
	return r;
}

int section_load(const struct mix *m, const char *file, struct update_section *s, struct update_record *records,
		 struct err *e)
{
	_cleanup_close_ int fd = openat(m->cache, file, O_RDONLY | O_CLOEXEC);
	_cleanup_(buf_free) struct buf text = {0};
	uint64_t table = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "%s", file);
	const size_t most = MIN((size_t)st.st_size, (3 + s->n) * DIFF_STREAMS * NUMBER_MAX);
	int r = fs_read_at(fd, 0, buf_reserve(&text, most), most, e);
	text.len = most;
	if (r >= 0)
		r = parse_table(&text, s, records, &table);
	if (r >= 0 && table + s->stored == (uint64_t)st.st_size)
		return 0;
	(void)unlinkat(m->cache, file, 0);
	return err_hint(e, err_set(e, -ERR_FORMAT, "%s of the cache was damaged", file),
			"the same command makes it anew");
}

int section_copy(const struct mix *m, const char *file, const struct update_section *s, int to, struct err *e)
{
	_cleanup_close_ int fd = openat(m->cache, file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || lseek(fd, -(off_t)s->stored, SEEK_END) < 0)
		return err_errno(e, "%s", file);
	return fs_copy_fd(fd, to, s->stored, e);
}
