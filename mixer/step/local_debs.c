/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/local_debs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/config.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* "zstd_1.5.7-1_amd64.deb" → "1.5.7-1"; NULL: not a package of that name */
static char *version_in(const char *file, const char *package)
{
	const size_t len = strlen(package);

	if (strncmp(file, package, len) != 0 || file[len] != '_' || !text_ends(file, ".deb"))
		return NULL;
	const char *version = file + len + 1;
	return xstrndup(version, strcspn(version, "_"));
}

char *local_debs_version(const struct config *c, const char *package)
{
	_cleanup_(strv_free) struct strv files = {0};
	char *version = NULL;

	if (fs_list(c->dir, "local-debs", &files, NULL) < 0)
		return NULL;
	for (size_t i = 0; !version && i < files.n; i++)
		version = version_in(files.items[i], package);
	return version;
}

/* A copy, no hard link: who changes the file in the workspace must not change our cache. */
static int copy_package(int from, int to, const char *file, struct err *e)
{
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	_cleanup_close_ int in = openat(from, file, O_RDONLY | O_CLOEXEC);
	struct stat st, there;

	if (in < 0 || fstat(in, &st) < 0)
		return err_errno(e, "%s", file);
	/* its version has the key in it */
	if (fstatat(to, file, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_size == st.st_size)
		return 0;
	int r = fs_tmp_open(to, 0644, &t, e);
	if (r >= 0)
		r = fs_copy_fd(in, t.fd, (uint64_t)st.st_size, e);
	return r < 0 ? r : fs_tmp_commit(&t, file, e);
}

/* The other versions of the package in file: one name shall stand for one thing. */
static int drop_others(int debs, const char *file, struct err *e)
{
	_cleanup_free_ char *package = xstrndup(file, strcspn(file, "_")), *version = version_in(file, package);
	_cleanup_(strv_free) struct strv files = {0};

	int r = fs_list(debs, ".", &files, e);
	for (size_t i = 0; r >= 0 && version && i < files.n; i++) {
		_cleanup_free_ char *other = version_in(files.items[i], package);
		if (other && strcmp(other, version) != 0 && unlinkat(debs, files.items[i], 0) < 0)
			r = err_errno(e, "%s", files.items[i]);
	}
	return r;
}

int local_debs_put(int from, int debs, struct err *e)
{
	_cleanup_(strv_free) struct strv files = {0};

	int r = fs_list(from, ".", &files, e);
	for (size_t i = 0; r >= 0 && i < files.n; i++)
		if (text_ends(files.items[i], ".deb"))
			r = copy_package(from, debs, files.items[i], e);
	for (size_t i = 0; r >= 0 && i < files.n; i++)
		r = drop_others(debs, files.items[i], e);
	return r;
}
