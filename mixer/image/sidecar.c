/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define SIDECAR_MAX (1UL << 20) /* bytes: it has some dozens of lines */
#define INDEX       "index.json"

void sidecar_format(const struct strv *members, struct buf *out)
{
	buf_puts(out, "{\n");
	for (size_t i = 0; i < members->n; i++)
		buf_printf(out, "  %s%s\n", members->items[i], i + 1 < members->n ? "," : "");
	buf_puts(out, "}\n");
}

/* A line without what JSON has around a value */
static char *value_of(char *s)
{
	size_t len = strlen(s);

	if (len && s[len - 1] == ',')
		s[--len] = '\0';
	if (len >= 2 && s[0] == '"' && s[len - 1] == '"') {
		s[len - 1] = '\0';
		s++;
	}
	return xstrdup(s);
}

char *sidecar_load(int dirfd, const char *name, const char *key)
{
	_cleanup_free_ char *path = xasprintf("%s.json", name), *begin = xasprintf("  \"%s\": ", key);
	_cleanup_(buf_free) struct buf text = {0};
	const char *line;
	size_t len;

	if (fs_load(dirfd, path, SIDECAR_MAX, &text, NULL) < 0)
		return NULL;
	for (const char *pos = text.data; text_line(&pos, text.data + text.len, &line, &len, NULL);) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		if (text_starts(copy, begin))
			return value_of(copy + strlen(begin));
	}
	return NULL;
}

static int add_sizes(int dirfd, const char *name, uint64_t *bytes, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (dir < 0)
		return err_errno(e, "%s", name);
	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		if (fstatat(dir, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, "%s", names.items[i]);
		if (S_ISDIR(st.st_mode))
			r = add_sizes(dir, names.items[i], bytes, e);
		else
			*bytes += (uint64_t)st.st_size;
	}
	return r;
}

int sidecar_measure(int dirfd, const char *file, struct sidecar_image *out, struct err *e)
{
	_cleanup_free_ char *index = xasprintf("%s/" INDEX, file);
	struct sidecar_image image = {0};
	struct digest d;
	struct stat st;

	if (fstatat(dirfd, file, &st, 0) < 0)
		return err_errno(e, "%s", file);
	const bool is_dir = S_ISDIR(st.st_mode);
	image.bytes = is_dir ? 0 : (uint64_t)st.st_size;
	int r = is_dir ? add_sizes(dirfd, file, &image.bytes, e) : 0;
	_cleanup_close_ int fd = openat(dirfd, is_dir ? index : file, O_RDONLY | O_CLOEXEC);
	if (r >= 0 && fd < 0)
		r = err_errno(e, "%s", file);
	if (r >= 0)
		r = sha256_fd(fd, &d, e);
	if (r < 0)
		return r;
	digest_format(&d, image.hex);
	*out = image;
	return 0;
}
