/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/tree_archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/tree.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/object.h"
#include "swupd/content/tar.h"

#define FLUSH (1UL << 20) /* bytes gathered before they are written: most members are small */

/* The root itself: nobody's bundle has it. */
static const struct node root = {.path = "/.", .attrs = {.kind = KIND_DIR, .mode = 0755}};

/* A member's header with its name into b */
typedef int header_fn(struct buf *b, const struct node *n, uint32_t number, struct err *e);

struct format {
	header_fn *header;
	unsigned block; /* content is padded to a multiple of it */
};

static int flush(struct buf *b, int fd, struct err *e)
{
	int r = fs_write_all(fd, b->data, b->len, e);

	b->len = 0;
	return r;
}

static int add_content(const struct store *s, const struct node *n, unsigned block, struct buf *b, int fd,
		       struct err *e)
{
	static const char zeros[TAR_BLOCK];
	_cleanup_close_ int in = store_get_fd(s, &n->hash, e);
	struct stat st;

	if (in < 0)
		return in;
	if (fstat(in, &st) < 0)
		return err_errno(e, "the store");
	if ((uint64_t)st.st_size != n->attrs.size)
		return err_hint(e, err_set(e, -ERR_DIGEST, "its content in the cache is damaged"),
				"remove <cache>/objects: what is missing there is made again");
	int r = 0;
	if (n->attrs.size < FLUSH) {
		char *to = buf_reserve(b, n->attrs.size);
		ssize_t got = pread(in, to, n->attrs.size, 0);
		if (got != (ssize_t)n->attrs.size)
			return err_set(e, -EIO, "it cannot be read from the store");
		b->len += n->attrs.size;
	} else {
		r = flush(b, fd, e);
		if (r >= 0)
			r = fs_copy_fd(in, fd, n->attrs.size, e);
	}
	buf_add(b, zeros, (block - n->attrs.size % block) % block);
	return r < 0 || b->len < FLUSH ? r : flush(b, fd, e);
}

static int write_members(const struct store *s, const struct tree *t, const struct format *f, struct buf *b, int fd,
			 struct err *e)
{
	int r = f->header(b, &root, 1, e);

	for (size_t i = 0; r >= 0 && i < t->n; i++) {
		const struct node *n = &t->nodes[i];
		r = f->header(b, n, (uint32_t)i + 2, e);
		if (r >= 0 && n->attrs.kind == KIND_FILE && n->attrs.size)
			r = add_content(s, n, f->block, b, fd, e);
		if (r < 0)
			return err_in(e, r, "%s", n->path);
	}
	return r;
}

/* --- tar ------------------------------------------------------------------------------------------------------------------ */

static int tar_header(struct buf *b, const struct node *n, uint32_t number __attribute__((unused)),
		      struct err *e __attribute__((unused)))
{
	tar_add_header(b, n->path + 1, &n->attrs, n->link ? n->link : "");
	return 0;
}

int tree_write_tar(const struct store *s, const struct tree *t, int fd, struct err *e)
{
	static const struct format format = {tar_header, TAR_BLOCK};
	_cleanup_(buf_free) struct buf b = {0};

	int r = write_members(s, t, &format, &b, fd, e);
	tar_end(&b);
	return r < 0 ? r : flush(&b, fd, e);
}

/* --- cpio ----------------------------------------------------------------------------------------------------------------- */

/* "newc": 6 bytes of magic, 13 fields of 8 hexadecimal digits, the name with its NUL, padded to a multiple of 4 from the header's start. */
#define CPIO_BLOCK 4

struct device {
	const char *path;
	uint32_t mode;
	unsigned major, minor;
};

static void cpio_member(struct buf *b, const char *name, uint32_t number, uint32_t mode, const struct attrs *a,
			uint64_t size, const struct device *device)
{
	static const char zeros[CPIO_BLOCK];
	const size_t len = strlen(name) + 1, start = b->len;

	buf_printf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08zX%08X", number, mode, a->uid, a->gid,
		   a->kind == KIND_DIR ? 2U : 1U, (unsigned)OBJECT_MTIME, (uint32_t)size, 0U, 0U,
		   device ? device->major : 0U, device ? device->minor : 0U, len, 0U);
	buf_add(b, name, len);
	buf_add(b, zeros, (CPIO_BLOCK - (b->len - start) % CPIO_BLOCK) % CPIO_BLOCK);
}

static int cpio_header(struct buf *b, const struct node *n, uint32_t number, struct err *e)
{
	const mode_t type = n->attrs.kind == KIND_DIR ? S_IFDIR : n->attrs.kind == KIND_LINK ? S_IFLNK | 0777 : S_IFREG;
	const uint64_t size = n->attrs.kind == KIND_DIR ? 0 : n->attrs.size;

	if (size > UINT32_MAX)
		return err_set(e, -ERR_LIMIT, "a cpio archive cannot hold files of 4 GiB and more");
	cpio_member(b, n->path + 1, number, type | n->attrs.mode, &n->attrs, size, NULL);
	if (n->attrs.kind == KIND_LINK) {
		static const char zeros[CPIO_BLOCK];
		buf_add(b, n->link, size);
		buf_add(b, zeros, (CPIO_BLOCK - size % CPIO_BLOCK) % CPIO_BLOCK);
	}
	return 0;
}

/* What a first program has before it mounts a devtmpfs; some runtimes' agents ask for these five. */
static void cpio_devices(struct buf *b, const struct tree *t)
{
	static const struct device devices[] = {{"/dev/console", 0600, 5, 1},
						{"/dev/null", 0666, 1, 3},
						{"/dev/tty", 0666, 5, 0},
						{"/dev/ttyS0", 0600, 4, 64},
						{"/dev/zero", 0666, 1, 5}};
	static const struct attrs file = {.kind = KIND_FILE};

	for (size_t i = 0; tree_find(t, "/dev") && i < ARRAY_LEN(devices); i++)
		if (!tree_find(t, devices[i].path))
			cpio_member(b, devices[i].path + 1, (uint32_t)(t->n + i) + 2, S_IFCHR | devices[i].mode, &file,
				    0, &devices[i]);
}

int tree_write_cpio(const struct store *s, const struct tree *t, int fd, struct err *e)
{
	static const struct format format = {cpio_header, CPIO_BLOCK};
	static const struct attrs none = {0};
	_cleanup_(buf_free) struct buf b = {0};

	int r = write_members(s, t, &format, &b, fd, e);
	cpio_devices(&b, t);
	cpio_member(&b, "TRAILER!!!", 0, 0, &none, 0, NULL);
	return r < 0 ? r : flush(&b, fd, e);
}
