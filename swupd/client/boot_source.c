/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/boot_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/plan.h"
#include "swupd/content/digest.h"
#include "swupd/content/format.h"

#define KERNELS "/usr/lib/kernel"
#define MODULES "/usr/lib/modules"
#define IMAGE   "/bzImage"

static int open_installed(const struct boot_source *s, const char *path, struct err *e)
{
	struct err why = ERR_INIT;
	int fd = fs_open_beneath(s->tree, path + 1, O_RDONLY | O_NONBLOCK, 0, &why);

	if (fd == -ENOENT || fd == -ENOTDIR) {
		err_clear(&why);
		return -ENOENT;
	}
	if (fd < 0)
		err_move(e, &why);
	return fd;
}

int boot_source_open(const struct boot_source *s, const char *path, struct err *e)
{
	const struct change *c = s->plan ? plan_find(s->plan, path) : NULL;
	char hex[DIGEST_HEX];
	struct stat st;

	if (c && (!c->want || c->want->kind != KIND_FILE))
		return -ENOENT;
	if (c)
		digest_format(&c->want->hash, hex);
	_cleanup_close_ int fd =
		c ? fs_open_beneath(s->staged, hex, O_RDONLY | O_NONBLOCK, 0, e) : open_installed(s, path, e);
	if (fd < 0)
		return fd == -ENOENT && !c ? fd : err_in(e, fd, "%s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s", path);
	return S_ISREG(st.st_mode) ? take_fd(&fd) : err_set(e, -ERR_FORMAT, "%s is not a file", path);
}

char *boot_source_text(const struct boot_source *s, const char *path)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_close_ int fd = boot_source_open(s, path, NULL);

	if (fd < 0 || fs_load_fd(fd, path, SMALL_TEXT_MAX, &text, NULL) < 0 || !text.data)
		return NULL;
	return take(text.data);
}

/* Names of folders below a directory, in tree or in what the plan puts there; some may hold nothing */
static int list_folders(const struct boot_source *s, const char *dir, struct strv *out, struct err *e)
{
	const size_t len = strlen(dir);
	_cleanup_close_ int fd = fs_open_beneath(s->tree, dir + 1, O_RDONLY | O_DIRECTORY, 0, NULL);

	int r = fd < 0 ? 0 : fs_list(fd, ".", out, e);
	for (size_t i = 0; r >= 0 && s->plan && i < s->plan->n_changes; i++) {
		const struct change *c = &s->plan->changes[i];
		if (!c->want || !text_starts(c->name, dir) || c->name[len] != '/')
			continue;
		strv_take(out, xstrndup(c->name + len + 1, strcspn(c->name + len + 1, "/")));
	}
	if (r >= 0)
		strv_sort_unique(out);
	return r;
}

int boot_source_kernels(const struct boot_source *s, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = list_folders(s, KERNELS, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf(KERNELS "/%s" IMAGE, names.items[i]);
		_cleanup_close_ int fd = boot_source_open(s, path, e);
		if (fd >= 0)
			strv_add(out, names.items[i]);
		else if (fd != -ENOENT)
			r = fd;
	}
	return r < 0 ? r : 0;
}

static bool has_modules_of(const struct boot_source *s, const char *version)
{
	_cleanup_free_ char *path = xasprintf(MODULES "/%s/modules.dep", version);
	_cleanup_close_ int fd = boot_source_open(s, path, NULL);

	return fd >= 0;
}

bool boot_source_has_modules(const struct boot_source *s, const char *kernel)
{
	_cleanup_free_ char *path = xasprintf(KERNELS "/%s/release", kernel), *version = boot_source_text(s, path);
	_cleanup_(strv_free) struct strv versions = {0};

	if (version)
		return has_modules_of(s, text_trim(version));
	/* it does not say which are its own: any may be */
	if (list_folders(s, MODULES, &versions, NULL) < 0)
		return true;
	for (size_t i = 0; i < versions.n; i++)
		if (has_modules_of(s, versions.items[i]))
			return true;
	return false;
}
