/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/convert.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"

static int add_file(const char *path, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (!path)
		return 0;
	int r = fs_load(AT_FDCWD, path, MANIFEST_MAX, &text, e);
	if (r == -ENOENT)
		return 0;
	buf_printf(out, "file %s %zu\n", path, text.len);
	buf_add(out, text.data, text.len);
	return r;
}

/* Times do not count: a clone of the same sources has others. */
static int add_content(int dirfd, const char *name, mode_t mode, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct digest d = {0};
	char target[PATH_MAX], hex[DIGEST_HEX];
	ssize_t len;
	int r = 0;

	if (S_ISLNK(mode)) {
		len = readlinkat(dirfd, name, target, sizeof(target));
		if (len < 0)
			return err_errno(e, "%s", name);
		sha256_mem(target, (size_t)len, &d);
	} else if (S_ISREG(mode)) {
		fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? err_errno(e, "%s", name) : sha256_fd(fd, &d, e);
	}
	digest_format(&d, hex);
	buf_printf(out, "%s\n", hex);
	return r;
}

static int add_tree(int dirfd, const char *name, struct buf *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, "%s", name);
	int r = fs_list(fd, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		struct stat st;
		if (fstatat(fd, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, "%s", names.items[i]);
		buf_printf(out, "%s %o\n", names.items[i], st.st_mode);
		if (S_ISDIR(st.st_mode))
			r = add_tree(fd, names.items[i], out, e);
		else
			r = add_content(fd, names.items[i], st.st_mode, out, e);
	}
	buf_puts(out, "end\n");
	return r;
}

static void add_config(const struct mix *m, struct buf *out)
{
	const struct config *c = m->config;

	buf_printf(out, "mixer %s %d\nformat %u\nname %s\nid %s\ncontent %s\nversion %s\nupdate %s\ncodec %s %d\n",
		   LIMPID_VERSION, CONVERT_VERSION, m->format, c->name, c->id, c->content_url ? c->content_url : "",
		   c->version_url ? c->version_url : "", c->update_bundle ? c->update_bundle : "", codec_name(c->codec),
		   c->level);
}

int stamp_inputs(const struct mix *m, const struct bundle_set *set, const struct lock *l, struct digest *out,
		 struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	/* what is only published beside a release makes no other release */
	_cleanup_free_ struct locked_package *packages = xcalloc(l->n_packages + 1, sizeof(*packages));
	struct lock shipped = *l;

	shipped.packages = packages;
	shipped.n_packages = 0;
	for (size_t i = 0; i < l->n_packages; i++)
		if (lock_is_shipped(l, l->packages[i].name))
			packages[shipped.n_packages++] = l->packages[i];
	add_config(m, &b);
	lock_format(&shipped, &b);
	int r = add_file(m->config->rules_file, &b, e);
	if (r >= 0)
		r = add_file(m->config->signer.cert, &b, e);
	for (size_t i = 0; r >= 0 && i < set->n; i++) {
		const struct bundle *bundle = set->items[i];
		r = add_file(bundle->file, &b, e);
		for (size_t k = 0; r >= 0 && k < bundle->contents.n; k++) {
			buf_printf(&b, "content %s\n", bundle->contents.items[k]);
			r = add_tree(AT_FDCWD, bundle->contents.items[k], &b, e);
		}
	}
	if (r < 0)
		return r;
	sha256_mem(b.data, b.len, out);
	return 0;
}

static char *stamp_path(uint32_t release)
{
	return xasprintf("update/releases/%u/stamp", release);
}

int stamp_save(const struct mix *m, const struct digest *stamp, struct err *e)
{
	_cleanup_free_ char *path = stamp_path(m->release);
	char hex[DIGEST_HEX];

	digest_format(stamp, hex);
	return fs_save(m->config->dir, path, hex, strlen(hex), 0644, e);
}

int stamp_is(const struct mix *m, uint32_t release, const struct digest *stamp)
{
	_cleanup_free_ char *path = stamp_path(release);
	_cleanup_(buf_free) struct buf text = {0};
	char hex[DIGEST_HEX];

	digest_format(stamp, hex);
	return fs_load(m->config->dir, path, SMALL_TEXT_MAX, &text, NULL) >= 0 && strcmp(text.data, hex) == 0;
}
