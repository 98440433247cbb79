/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/fullfile.h"

#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/object.h"

#define CHUNK 65536

/* The tar around the content of a large file, compressed */
static int add_header(const struct digest *name, const struct attrs *a, enum codec codec, int level, struct buf *out,
		      struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0};
	char hex[DIGEST_HEX];

	digest_format(name, hex);
	tar_add_header(&tar, hex, a, "");
	return compress_mem(codec, level, tar.data, tar.len, out, e);
}

static int add_end(enum codec codec, int level, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0};

	tar_end(&tar);
	return compress_mem(codec, level, tar.data, tar.len, out, e);
}

int fullfile_content(const void *content, uint64_t size, enum codec codec, int level, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf padded = {0};
	static const char zeros[TAR_BLOCK];

	buf_add(&padded, content, size);
	buf_add(&padded, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
	return compress_mem(codec, level, padded.data, padded.len, out, e);
}

const char *fullfile_find_content(const struct buf *fullfile, const struct digest *name, const struct attrs *a,
				  enum codec codec, int level, size_t *len)
{
	_cleanup_(buf_free) struct buf header = {0}, end = {0};

	if (codec == CODEC_NONE || add_header(name, a, codec, level, &header, NULL) < 0 ||
	    add_end(codec, level, &end, NULL) < 0 || fullfile->len <= header.len + end.len ||
	    memcmp(fullfile->data, header.data, header.len) != 0 ||
	    memcmp(fullfile->data + fullfile->len - end.len, end.data, end.len) != 0)
		return NULL;
	*len = fullfile->len - header.len - end.len;
	return fullfile->data + header.len;
}

static int compress_apart(const struct digest *name, const struct attrs *a, const void *content, enum codec codec,
			  int level, struct buf *out, struct err *e)
{
	int r = add_header(name, a, codec, level, out, e);

	if (r >= 0)
		r = fullfile_content(content, a->size, codec, level, out, e);
	return r < 0 ? r : add_end(codec, level, out, e);
}

int fullfile_write(const struct digest *name, const struct attrs *a, const void *content, enum codec codec, int level,
		   struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0}, small = {0};
	char hex[DIGEST_HEX];

	digest_format(name, hex);
	tar_add(&tar, hex, a, content);
	tar_end(&tar);
	int r = a->kind == KIND_FILE && a->size >= FULLFILE_LARGE
			? compress_apart(name, a, content, codec, level, &small, e)
			: compress_mem(codec, level, tar.data, tar.len, &small, e);
	if (r < 0)
		return err_in(e, r, "%s", hex);
	const struct buf *best = small.len < tar.len ? &small : &tar;
	buf_add(out, best->data, best->len);
	return 0;
}

static int copy_content(struct tar *t, struct object *o, struct err *e)
{
	char chunk[CHUNK];
	int n;

	while ((n = tar_read(t, chunk, sizeof(chunk), e)) > 0) {
		int r = object_write(o, chunk, (size_t)n, e);
		if (r < 0)
			return r;
	}
	return n;
}

static bool is_named(const struct tar_member *m, const char *hex)
{
	return strncmp(m->name, hex, DIGEST_HEX - 1) == 0 &&
	       (m->name[DIGEST_HEX - 1] == '\0' ||
		(m->attrs.kind == KIND_DIR && strcmp(m->name + DIGEST_HEX - 1, "/") == 0));
}

static int unpack(struct tar *t, const struct digest *want, const char *hex, int dirfd, struct err *e)
{
	_cleanup_(object_abortp) struct object *o = NULL;
	struct tar_member m;

	int r = tar_next(t, &m, e);
	if (r < 0)
		return r;
	if (r == 0 || !is_named(&m, hex) || m.attrs.kind == KIND_NONE)
		return err_set(e, -ERR_FORMAT, "the first member is not this object");
	r = object_begin(dirfd, &m.attrs, m.link, &o, e);
	if (r >= 0 && m.attrs.kind == KIND_FILE)
		r = copy_content(t, o, e);
	if (r >= 0)
		r = tar_next(t, &m, e);
	if (r < 0)
		return r;
	if (r > 0)
		return err_set(e, -ERR_FORMAT, "there is a second member");
	return object_commit(take(o), want, e);
}

int fullfile_unpack(int fd, const struct digest *want, int dirfd, struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	char hex[DIGEST_HEX];

	digest_format(want, hex);
	int r = tar_open(fd, &t, e);
	if (r >= 0)
		r = unpack(t, want, hex, dirfd, e);
	return r < 0 ? err_in(e, r, "fullfile %s", hex) : 0;
}

int fullfile_unpack_mem(const void *data, size_t len, const struct digest *want, int dirfd, struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	char hex[DIGEST_HEX];

	digest_format(want, hex);
	int r = tar_open_mem(data, len, &t, e);
	if (r >= 0)
		r = unpack(t, want, hex, dirfd, e);
	return r < 0 ? err_in(e, r, "fullfile %s", hex) : 0;
}

int fullfile_check(int fd, const struct digest *want, struct err *e)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member m;
	struct digest real;
	char hex[DIGEST_HEX];

	digest_format(want, hex);
	int r = tar_open(fd, &t, e);
	if (r >= 0)
		r = tar_next(t, &m, e);
	if (r < 0)
		return r;
	if (r == 0 || m.attrs.kind == KIND_NONE || !is_named(&m, hex))
		return err_set(e, -ERR_FORMAT, "its first member is not this object");
	r = file_hash_source(&m.attrs, m.link, tar_read_source, t, &real, e);
	if (r < 0)
		return r;
	if (!digest_equal(&real, want))
		return err_set(e, -ERR_DIGEST, "it holds something else");
	r = tar_next(t, &m, e);
	return r > 0 ? err_set(e, -ERR_FORMAT, "it has a second member") : r;
}
