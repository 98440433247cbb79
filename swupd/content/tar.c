/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/tar.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/text.h"
#include "swupd/content/libarchive.h"
#include "swupd/content/object.h"

#define BLOCK 512
#define CHUNK 65536

struct tar {
	const struct libarchive *lib;
	struct archive *archive;
};

void tar_close(struct tar *t)
{
	if (!t)
		return;
	t->lib->archive_read_free(t->archive);
	free(t);
}

static int bad_tar(const struct tar *t, struct err *e)
{
	const char *why = t->lib->archive_error_string(t->archive);

	err_set(e, -ERR_FORMAT, "tar: %s", why ? why : "damaged");
	return -ERR_FORMAT;
}

static int tar_new(struct tar **out, struct err *e)
{
	_cleanup_free_ struct tar *t = xcalloc(1, sizeof(*t));

	int r = libarchive_load(&t->lib, e);
	if (r < 0)
		return r;
	const struct libarchive *lib = t->lib;
	t->archive = lib->archive_read_new();
	if (!t->archive)
		abort(); /* of memory only: as xmalloc() */
	/* one by one: "all filters" has some that run a program when a magic number asks for it */
	lib->archive_read_support_filter_gzip(t->archive);
	lib->archive_read_support_filter_bzip2(t->archive);
	lib->archive_read_support_filter_xz(t->archive);
	lib->archive_read_support_filter_zstd(t->archive);
	lib->archive_read_support_format_tar(t->archive);
	*out = take(t);
	return 0;
}

int tar_open(int fd, struct tar **out, struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;

	int r = tar_new(&t, e);
	if (r < 0)
		return r;
	if (t->lib->archive_read_open_fd(t->archive, fd, CHUNK) != ARCHIVE_OK)
		return bad_tar(t, e);
	*out = take(t);
	return 0;
}

int tar_open_mem(const void *data, size_t len, struct tar **out, struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;

	int r = tar_new(&t, e);
	if (r < 0)
		return r;
	if (t->lib->archive_read_open_memory(t->archive, data, len) != ARCHIVE_OK)
		return bad_tar(t, e);
	*out = take(t);
	return 0;
}

/* KIND_NONE when it is something else */
static struct attrs attrs_of(const struct libarchive *lib, struct archive_entry *x)
{
	const la_int64_t uid = lib->archive_entry_uid(x), gid = lib->archive_entry_gid(x),
			 size = lib->archive_entry_size(x);
	struct attrs a = {.mode = lib->archive_entry_perm(x) & 07777, .uid = (uint32_t)uid, .gid = (uint32_t)gid};
	const char *link;

	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return a;
	/* sparse: a few bytes could stand for any amount of zeros */
	if (lib->archive_entry_hardlink(x) || lib->archive_entry_sparse_count(x) > 0)
		return a;
	switch (lib->archive_entry_filetype(x)) {
	case AE_IFREG:
		if (size < 0)
			break;
		a.kind = KIND_FILE;
		a.size = (uint64_t)size;
		break;
	case AE_IFDIR:
		a.kind = KIND_DIR;
		break;
	case AE_IFLNK:
		link = lib->archive_entry_symlink(x);
		if (!link)
			break;
		a.kind = KIND_LINK;
		a.mode = 0;
		a.size = strlen(link);
		break;
	default:
		break;
	}
	return a;
}

int tar_next(struct tar *t, struct tar_member *m, struct err *e)
{
	struct archive_entry *x;
	int r = t->lib->archive_read_next_header(t->archive, &x);

	if (r == ARCHIVE_EOF)
		return 0;
	/* a warning tells that a name is not in the charset of the locale; we want its bytes, and have them */
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return bad_tar(t, e);
	const char *name = t->lib->archive_entry_pathname(x);
	*m = (struct tar_member){.name = name ? name : "", .attrs = attrs_of(t->lib, x)};
	if (m->attrs.kind == KIND_LINK)
		m->link = t->lib->archive_entry_symlink(x);
	return 1;
}

int tar_read(struct tar *t, void *data, size_t len, struct err *e)
{
	la_ssize_t n = t->lib->archive_read_data(t->archive, data, MIN(len, (size_t)INT32_MAX));

	return n < 0 ? bad_tar(t, e) : (int)n;
}

int tar_read_source(void *tar, void *data, size_t len, struct err *e)
{
	return tar_read(tar, data, len, e);
}

/*
 * POSIX.1-2001 ustar. Numbers are octal digits and a NUL. Everything behind typeflag but linkname, magic and version stays as for root's
 * anonymous file: names of users and times are no content.
 */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, linkname[100], magic[6],
		version[2], uname[32], gname[32], devmajor[8], devminor[8], prefix[155], pad[12];
};
static_assert(sizeof(struct header) == BLOCK, "a header is one block");

#define OCTAL_7  07777777UL
#define OCTAL_11 077777777777ULL

static void put_octal(char *field, size_t size, uint64_t n)
{
	field[size - 1] = '\0';
	for (size_t i = size - 1; i-- > 0; n >>= 3)
		field[i] = (char)('0' + (n & 7));
}

static void put_text(char *field, size_t size, const char *s, size_t len)
{
	memcpy(field, s, MIN(size, len));
}

static void add_padded(struct buf *out, const void *data, size_t len)
{
	static const char zeros[BLOCK];

	buf_add(out, data, len);
	buf_add(out, zeros, (BLOCK - len % BLOCK) % BLOCK);
}

static void add_header(struct buf *out, struct header *h, char type)
{
	unsigned sum = 0;

	h->type = type;
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	put_octal(h->mtime, sizeof(h->mtime), OBJECT_MTIME);
	put_octal(h->devmajor, sizeof(h->devmajor), 0);
	put_octal(h->devminor, sizeof(h->devminor), 0);
	memset(h->checksum, ' ', sizeof(h->checksum)); /* it counts as blanks in its own sum */
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += ((const unsigned char *)h)[i];
	put_octal(h->checksum, 7, sum);
	buf_add(out, h, sizeof(*h));
}

/* "<length> <key>=<value>\n", the length includes itself */
static void add_record(struct buf *records, const char *key, const char *value, size_t len)
{
	const size_t rest = strlen(key) + len + 3;
	size_t total = 0, before;

	do {
		before = total;
		total = rest + (size_t)snprintf(NULL, 0, "%zu", before);
	} while (total != before);
	buf_printf(records, "%zu %s=", total, key);
	buf_add(records, value, len);
	buf_putc(records, '\n');
}

static void add_number(struct buf *records, const char *key, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);

	add_record(records, key, digits, (size_t)len);
}

static bool is_ascii(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] >= 0x80)
			return false;
	return true;
}

/* What does not fit into h */
static void pax_records(struct buf *records, const struct attrs *a, const char *name, const char *link, size_t link_len)
{
	const size_t name_len = strlen(name);
	const bool long_name = name_len > sizeof(((struct header *)0)->name);
	const bool long_link = link_len > sizeof(((struct header *)0)->linkname);

	/* else a reader takes them for UTF-8 and converts them */
	if ((long_name && !is_ascii(name, name_len)) || (long_link && !is_ascii(link, link_len)))
		add_record(records, "hdrcharset", "BINARY", 6);
	if (long_name)
		add_record(records, "path", name, name_len);
	if (long_link)
		add_record(records, "linkpath", link, link_len);
	if (a->kind == KIND_FILE && a->size > OCTAL_11)
		add_number(records, "size", a->size);
	if (a->uid > OCTAL_7)
		add_number(records, "uid", a->uid);
	if (a->gid > OCTAL_7)
		add_number(records, "gid", a->gid);
}

static void add_pax_header(struct buf *out, const struct buf *records)
{
	struct header h = {.name = "PaxHeader"};

	put_octal(h.mode, sizeof(h.mode), 0644);
	put_octal(h.uid, sizeof(h.uid), 0);
	put_octal(h.gid, sizeof(h.gid), 0);
	put_octal(h.size, sizeof(h.size), records->len);
	add_header(out, &h, 'x');
	add_padded(out, records->data, records->len);
}

void tar_add_header(struct buf *out, const char *name, const struct attrs *a, const char *link)
{
	static const char types[] = {[KIND_FILE] = '0', [KIND_DIR] = '5', [KIND_LINK] = '2'};
	const size_t link_len = a->kind == KIND_LINK ? a->size : 0;
	const uint64_t size = a->kind == KIND_FILE ? a->size : 0;
	_cleanup_free_ char *full = xasprintf("%s%s", name, a->kind == KIND_DIR ? "/" : "");
	_cleanup_(buf_free) struct buf records = {0};
	struct header h = {0};

	assert(a->kind == KIND_FILE || a->kind == KIND_DIR || a->kind == KIND_LINK);
	pax_records(&records, a, full, link, link_len);
	if (records.len)
		add_pax_header(out, &records);
	put_text(h.name, sizeof(h.name), full, strlen(full));
	put_text(h.linkname, sizeof(h.linkname), link, link_len);
	put_octal(h.mode, sizeof(h.mode), a->kind == KIND_LINK ? 0777 : a->mode);
	put_octal(h.uid, sizeof(h.uid), a->uid <= OCTAL_7 ? a->uid : 0);
	put_octal(h.gid, sizeof(h.gid), a->gid <= OCTAL_7 ? a->gid : 0);
	put_octal(h.size, sizeof(h.size), size <= OCTAL_11 ? size : 0);
	add_header(out, &h, types[a->kind]);
}

void tar_add(struct buf *out, const char *name, const struct attrs *a, const void *content)
{
	tar_add_header(out, name, a, a->kind == KIND_LINK ? content : "");
	if (a->kind == KIND_FILE && a->size)
		add_padded(out, content, a->size);
}

void tar_end(struct buf *out)
{
	static const char zeros[2 * BLOCK];

	buf_add(out, zeros, sizeof(zeros));
}

static int read_text(struct tar *t, uint64_t size, size_t max, struct buf *text, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	int n;

	if (size > max)
		return err_set(e, -ERR_LIMIT, "larger than %zu bytes", max);
	/* size is not believed before its bytes came: the buffer grows with them */
	do {
		buf_reserve(&b, CHUNK);
		n = tar_read(t, b.data + b.len, CHUNK, e);
		if (n < 0)
			return n;
		b.len += (size_t)n;
		if (b.len > max)
			return err_set(e, -ERR_LIMIT, "larger than %zu bytes", max);
	} while (n > 0);
	b.data[b.len] = '\0';
	*text = b;
	b = (struct buf){0};
	return 0;
}

static int read_texts(struct tar *t, const char *const *names, size_t n, size_t max, struct buf *texts, struct err *e)
{
	struct tar_member m;
	int r;

	while ((r = tar_next(t, &m, e)) > 0) {
		size_t i = 0;
		while (i < n && strcmp(names[i], m.name) != 0)
			i++;
		if (i == n || m.attrs.kind != KIND_FILE)
			return err_set(e, -ERR_FORMAT, "tar: it has a member that does not belong there");
		if (texts[i].data)
			return err_set(e, -ERR_FORMAT, "tar: %s is there twice", names[i]);
		r = read_text(t, m.attrs.size, max, &texts[i], e);
		if (r < 0)
			return err_in(e, r, "tar: %s", names[i]);
	}
	return r;
}

int tar_read_texts(const void *tar, size_t len, const char *const *names, size_t n, size_t max, struct buf *texts,
		   struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct buf *read = xcalloc(n, sizeof(*read));
	int r = tar_open_mem(tar, len, &t, e);

	if (r >= 0)
		r = read_texts(t, names, n, max, read, e);
	for (size_t i = 0; i < n; i++) {
		if (r < 0) {
			buf_free(&read[i]);
		} else {
			buf_free(&texts[i]);
			texts[i] = read[i];
		}
	}
	free(read);
	return r;
}

int tar_write_texts(const char *const *names, const struct buf *texts, size_t n, enum codec codec, int level,
		    struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0};

	for (size_t i = 0; i < n; i++) {
		const struct attrs a = {.kind = KIND_FILE, .mode = 0644, .size = texts[i].len};
		tar_add(&tar, names[i], &a, texts[i].data);
	}
	tar_end(&tar);
	return compress_mem(codec, level, tar.data, tar.len, out, e);
}
