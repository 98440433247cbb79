/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/delta.h"
#include "swupd/content/format.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/manifest.h"
#include "swupd/content/needs.h"
#include "swupd/content/pack.h"
#include "swupd/content/update_file.h"

bool need_is_optional(const struct need *x)
{
	switch (x->kind) {
	case NEED_TEXT:
	case NEED_PACK:
	case NEED_MANIFEST_DELTA:
	case NEED_UPDATE:
		return true;
	case NEED_MOM:
	case NEED_MANIFEST:
	case NEED_MANIFEST_TAR:
	case NEED_ATTACHED:
	case NEED_FULLFILE:
	case NEED_OTHER:
		break;
	}
	return false;
}

static int check_manifest(const struct need *x, const struct buf *text, struct err *e)
{
	struct digest real;

	manifest_hash(text->data, text->len, &real);
	return digest_equal(&real, &x->hash) ? 0 : err_set(e, -ERR_DIGEST, "it is not what the MoM lists");
}

static int check_text(const struct need *x, int fd, struct err *e)
{
	_cleanup_free_ char *member = xasprintf("Manifest.%s", x->name ? x->name : "");
	_cleanup_(buf_free) struct buf file = {0}, text = {0};
	const char *const names[] = {member};

	int r = fs_load_fd(fd, x->path, x->kind == NEED_TEXT ? SMALL_TEXT_MAX : MANIFEST_MAX, &file, e);
	if (r < 0 || x->kind == NEED_TEXT || x->kind == NEED_MOM)
		return r;
	if (x->kind == NEED_MANIFEST)
		return check_manifest(x, &file, e);
	r = tar_read_texts(file.data, file.len, names, 1, MANIFEST_MAX, &text, e);
	return r < 0 ? r : check_manifest(x, &text, e);
}

static int check_attached(const struct need *x, int fd, struct err *e)
{
	struct digest real;

	int r = sha256_fd(fd, &real, e);
	return r < 0 || digest_equal(&real, &x->hash) ? r : err_set(e, -ERR_DIGEST, "it is not what the MoM lists");
}

static int read_fd(void *from, void *data, size_t len, struct err *e)
{
	ssize_t n = read(*(const int *)from, data, len);

	return n < 0 ? err_errno(e, "read") : (int)n;
}

static int check_other(const struct need *x, int fd, struct err *e)
{
	struct digest real;

	int r = file_hash_source(&x->attrs, NULL, read_fd, &fd, &real, e);
	return r < 0 || digest_equal(&real, &x->hash) ? r : err_set(e, -ERR_DIGEST, "it is not what the list says");
}

/* What a delta gives can only be told with the file that it begins from. */
static int check_pack(int fd, struct err *e)
{
	_cleanup_(pack_closep) struct pack *p = NULL;
	struct pack_member m;
	struct digest real;

	int r = pack_open(fd, &p, e);
	while (r >= 0 && (r = pack_next(p, &m, e)) > 0) {
		if (m.is_delta)
			continue;
		r = file_hash_source(&m.attrs, m.link, pack_read_source, p, &real, e);
		if (r >= 0 && !digest_equal(&real, &m.hash))
			r = err_set(e, -ERR_DIGEST, "it holds something else for one of its objects");
	}
	return r;
}

static int check_update(const struct need *x, int fd, struct err *e)
{
	struct update_index index = {0};
	struct stat st;
	uint64_t end = 0;

	int r = fstat(fd, &st) < 0 ? err_errno(e, "%s", x->path) : update_load(fd, UPDATE_MEMORY, &index, e);
	for (size_t i = 0; r >= 0 && i < index.n_sections; i++)
		end = index.sections[i].at + index.sections[i].stored;
	if (r >= 0 && (index.from != x->from || end != (uint64_t)st.st_size))
		r = err_set(e, -ERR_FORMAT, "it is another one, or not whole");
	update_index_clear(&index);
	return r;
}

static int check_delta(const struct need *x, int fd, struct err *e)
{
	_cleanup_(buf_free) struct buf delta = {0};
	struct delta_header h;

	int r = fs_load_fd(fd, x->path, MANIFEST_MAX, &delta, e);
	return r < 0 ? r : delta_parse_header(delta.data, delta.len, &h, e);
}

int need_check(const struct need *x, int fd, struct err *e)
{
	switch (x->kind) {
	case NEED_ATTACHED:
		return check_attached(x, fd, e);
	case NEED_FULLFILE:
		return fullfile_check(fd, &x->hash, e);
	case NEED_PACK:
		return check_pack(fd, e);
	case NEED_MANIFEST_DELTA:
		return check_delta(x, fd, e);
	case NEED_UPDATE:
		return check_update(x, fd, e);
	case NEED_OTHER:
		return check_other(x, fd, e);
	case NEED_MOM:
	case NEED_TEXT:
	case NEED_MANIFEST:
	case NEED_MANIFEST_TAR:
		break;
	}
	return check_text(x, fd, e);
}
