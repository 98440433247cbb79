/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/package_profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/config.h"
#include "mixer/input/lock.h"
#include "mixer/input/profile.h"
#include "mixer/input/recipe.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define PROFILE_MAX (256UL << 20) /* bytes */

/* Other calls are inlined than those that a package's own -Werror was tried with; of what the optimizer says of them then, much is wrong. */
#define NO_ERROR                                                                                                       \
	" -Wno-error=format-overflow -Wno-error=format-truncation -Wno-error=stringop-overflow"                        \
	" -Wno-error=array-bounds -Wno-error=maybe-uninitialized -Wno-error=nonnull"

void package_profile_clear(struct package_profile *p)
{
	free(p->path);
	buf_free(&p->text);
}

int package_profile_find(const struct config *c, const struct recipe *r, struct package_profile *out, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s.profile", r->name), *path = recipe_file(c, name);

	*out = (struct package_profile){0};
	if (!path)
		return 0;
	int result = fs_load(AT_FDCWD, path, PROFILE_MAX, &out->text, e);
	if (result < 0)
		return result;
	sha256_mem(out->text.data, out->text.len, &out->sha256);
	out->path = take(path);
	return 0;
}

/* The compiler of the build root, from the name of its package ("gcc-14"); 0: there is none. */
static unsigned gcc_major(const struct lock *l)
{
	uint32_t major = 0, n;

	for (size_t i = 0; i < l->n_packages; i++)
		if (text_starts(l->packages[i].name, "gcc-") &&
		    text_u32(l->packages[i].name + strlen("gcc-"), 1, 999, &n) >= 0)
			major = MAX(major, n);
	return major;
}

struct debug_fds {
	int *items;
	size_t n, cap;
};

static int debug_add(void *arg, const char *path, int fd, struct err *e)
{
	struct debug_fds *fds = arg;

	if (!text_ends(path, ".debug"))
		return 0;
	const int mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (mine < 0)
		return err_errno(e, "%s", path);
	VEC_GROW(fds->items, fds->n, fds->cap);
	fds->items[fds->n++] = mine;
	return 0;
}

static void debug_close(struct debug_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		close(fds->items[i]);
	free(fds->items);
}

int package_profile_fits(const struct package_profile *p, int debug, uint32_t *permille, struct err *e)
{
	_cleanup_(profile_freep) struct profile *profile = NULL;
	_cleanup_(debug_close) struct debug_fds fds = {0};

	*permille = 0;
	int r = profile_parse(p->text.data, p->text.len, p->path, &profile, e);
	if (r >= 0)
		r = fs_each_file(debug, debug_add, &fds, e);
	if (r >= 0 && fds.n)
		r = profile_match(profile, fds.items, fds.n, permille, e);
	return r;
}

int package_profile(const struct package_profile *p, const struct recipe *r, const struct lock *l, int dir,
		    char **flags, struct err *e)
{
	const bool clang = r->compiler == COMPILER_CLANG;
	_cleanup_(profile_freep) struct profile *profile = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	if (!p->path) {
		*flags = xstrdup(clang ? "-fdebug-info-for-profiling" : "");
		return 0;
	}
	int result = profile_parse(p->text.data, p->text.len, p->path, &profile, e);
	if (result >= 0)
		result = clang ? profile_write_llvm(profile, &text, e)
			       : profile_write_gcc(profile, gcc_major(l), &text, e);
	if (result < 0)
		return result;
	_cleanup_free_ char *file = xasprintf("%s.%s", r->name, clang ? "prof" : "afdo");
	result = fs_save_cache(dir, file, text.data, text.len, 0644, e);
	if (result < 0)
		return result;
	*flags = clang ? xasprintf("-fdebug-info-for-profiling -fprofile-sample-use=/mnt/profile/%s", file)
		       : xasprintf("-fauto-profile=/mnt/profile/%s" NO_ERROR, file);
	return 0;
}
