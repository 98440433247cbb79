/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/view.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"

#define BLOCKS 64 /* kept, each in the one place that it can have */

struct view_block {
	uint64_t at; /* UINT64_MAX: nothing */
	uint8_t bytes[VIEW_BLOCK + VIEW_STRETCH];
};

int view_open(struct view *v, int fd, const char *name, size_t max, struct err *e)
{
	struct stat st;

	*v = (struct view){.fd = fd, .whole = v->whole, .blocks = v->blocks};
	v->whole.len = 0;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -ERR_FORMAT, "%s is not a file", name);
	if ((uint64_t)st.st_size > max)
		return err_set(e, -ERR_LIMIT, "%s: larger than %zu bytes", name, max);
	v->len = (size_t)st.st_size;
	if (v->len <= VIEW_WHOLE) {
		int r = fs_read_at(fd, 0, buf_reserve(&v->whole, v->len), v->len, e);
		v->data = (const uint8_t *)v->whole.data;
		return r < 0 ? err_in(e, r, "%s", name) : 0;
	}
	if (!v->blocks)
		v->blocks = xcalloc(BLOCKS, sizeof(*v->blocks));
	for (size_t i = 0; i < BLOCKS; i++)
		v->blocks[i].at = UINT64_MAX;
	return 0;
}

void view_close(struct view *v)
{
	buf_free(&v->whole);
	free(v->blocks);
	*v = (struct view){0};
}

const uint8_t *view_block_at(struct view *v, uint64_t at, size_t *have)
{
	const uint64_t start = at / VIEW_BLOCK * VIEW_BLOCK;
	struct view_block *b = &v->blocks[at / VIEW_BLOCK % BLOCKS];
	const size_t len = MIN(sizeof(b->bytes), v->len - start);

	if (b->at != start) {
		int r = fs_read_at(v->fd, start, b->bytes, len, NULL);
		if (r < 0) {
			memset(b->bytes, 0, len);
			v->error = r;
		}
		b->at = start;
	}
	v->last = b->bytes;
	v->last_at = start;
	*have = len - (at - start);
	return b->bytes + (at - start);
}

int view_check(const struct view *v, struct err *e)
{
	return v->error ? err_set(e, v->error, "the old file cannot be read") : 0;
}
