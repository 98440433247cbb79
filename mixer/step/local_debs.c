/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/local_debs.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/config.h"
#include "mixer/input/package.h"
#include "mixer/input/stanza.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/digest.h"

#define STALE    ".stale"
#define MARK_MAX 4096 /* bytes: a version and a digest */

/* Of a package's control file */
struct names {
	char *package, *source;
};

static int explain_space(int r, struct err *e)
{
	return r == -ENOSPC ? err_set(e, -ERR_SPACE, "the disk of 'local-debs' is full") : r;
}

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

/* "1.5.7-1+limpid.0123456789": as package_build.c and kernel.c have it, and nobody else */
static bool is_rebuilt(const char *version)
{
	static const char mark[] = "+limpid.";
	const char *end = strstr(version, mark);

	return end && strlen(end + strlen(mark)) == 10 && strspn(end + strlen(mark), "0123456789abcdef") == 10;
}

/* Is the package in file, which we built, of this source? What cannot be read is nobody's. */
static bool is_of_source(int debs, const char *file, const char *source)
{
	static const struct stanza_field fields[] = {{"Package", offsetof(struct names, package)},
						     {"Source", offsetof(struct names, source)}};
	_cleanup_(buf_free) struct buf control = {0};
	struct names n;
	unsigned line = 1;

	if (package_control(debs, file, &control, NULL) < 0)
		return false;
	char *pos = control.data;
	if (stanza_next(&pos, control.data + control.len, &line, fields, ARRAY_LEN(fields), &n, sizeof(n), NULL) <= 0)
		return false;
	const char *name = n.source ? n.source : n.package;
	const size_t len = strlen(source);
	return name && strncmp(name, source, len) == 0 && (!name[len] || name[len] == ' ');
}

/* Is file, which lies in debs, another version of one of made, or what an earlier build of source made besides? One name shall stand for one thing. */
static bool is_replaced(int debs, const char *file, const struct strv *made, const char *source)
{
	_cleanup_free_ char *package = xstrndup(file, strcspn(file, "_")), *version = version_in(file, package);

	for (size_t i = 0; version && i < made->n; i++) {
		_cleanup_free_ char *other = version_in(made->items[i], package);
		if (other)
			return strcmp(other, version) != 0;
	}
	return version && source && is_rebuilt(version) && is_of_source(debs, file, source);
}

static int drop_replaced(int debs, const struct strv *made, const char *source, struct err *e)
{
	_cleanup_(strv_free) struct strv files = {0};

	int r = fs_list(debs, ".", &files, e);
	for (size_t i = 0; r >= 0 && i < files.n; i++)
		if (is_replaced(debs, files.items[i], made, source) && unlinkat(debs, files.items[i], 0) < 0)
			r = err_errno(e, "%s", files.items[i]);
	return r;
}

int local_debs_put(int from, int debs, const char *source, struct err *e)
{
	_cleanup_(strv_free) struct strv files = {0};

	int r = fs_list(from, ".", &files, e);
	for (size_t i = 0; r >= 0 && i < files.n; i++)
		if (text_ends(files.items[i], ".deb"))
			r = copy_package(from, debs, files.items[i], e);
	if (r >= 0)
		r = drop_replaced(debs, &files, source, e);
	return explain_space(r, e);
}

/* "VERSION PROFILE" */
static char *mark_of(const char *version, const struct digest *profile)
{
	char hex[DIGEST_HEX];

	digest_format(profile, hex);
	return xasprintf("%s %s\n", version, hex);
}

int local_debs_mark(int debs, const char *package, const char *version, const struct digest *profile, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s" STALE, package);

	if (!profile)
		return unlinkat(debs, file, 0) < 0 && errno != ENOENT ? err_errno(e, "%s", file) : 0;
	_cleanup_free_ char *text = mark_of(version, profile);
	return explain_space(fs_save(debs, file, text, strlen(text), 0644, e), e);
}

bool local_debs_is_stale(const struct config *c, const char *package, const struct digest *profile)
{
	_cleanup_free_ char *version = local_debs_version(c, package);
	_cleanup_free_ char *file = xasprintf("local-debs/%s" STALE, package);
	_cleanup_(buf_free) struct buf text = {0};

	if (!version || fs_load(c->dir, file, MARK_MAX, &text, NULL) < 0)
		return false;
	_cleanup_free_ char *mark = mark_of(version, profile);
	return strcmp(text.data, mark) == 0;
}
