/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/build_profile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/profile.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"

#define PROFILE_MAX (256UL << 20) /* bytes */

/* Other calls are inlined than those that a package's own -Werror was tried with; of what the optimizer says of them then, much is wrong. */
#define NO_ERROR                                                                                                       \
	" -Wno-error=format-overflow -Wno-error=format-truncation -Wno-error=stringop-overflow"                        \
	" -Wno-error=array-bounds -Wno-error=maybe-uninitialized -Wno-error=nonnull"

void build_profile_clear(struct build_profile *p)
{
	free(p->path);
	buf_free(&p->text);
}

int build_profile_load(char *path, struct build_profile *out, struct err *e)
{
	*out = (struct build_profile){.path = path};
	if (!path)
		return 0;
	int r = fs_load(AT_FDCWD, path, PROFILE_MAX, &out->text, e);
	if (r >= 0)
		sha256_mem(out->text.data, out->text.len, &out->sha256);
	return r;
}

unsigned build_profile_gcc(const char *package)
{
	uint32_t n;

	return text_starts(package, "gcc-") && text_u32(package + strlen("gcc-"), 1, 999, &n) >= 0 ? n : 0;
}

int build_profile_match(const struct build_profile *p, const int *fds, size_t n, uint32_t *permille, struct err *e)
{
	_cleanup_(profile_freep) struct profile *profile = NULL;

	*permille = 0;
	int r = profile_parse(p->text.data, p->text.len, p->path, &profile, e);
	return r < 0 || n == 0 ? r : profile_match(profile, fds, n, permille, e);
}

int build_profile_write(const struct build_profile *p, const char *name, bool clang, unsigned gcc, int dir,
			char **flags, struct err *e)
{
	_cleanup_(profile_freep) struct profile *profile = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	if (!p->path) {
		*flags = xstrdup(clang ? "-fdebug-info-for-profiling" : "");
		return 0;
	}
	int r = profile_parse(p->text.data, p->text.len, p->path, &profile, e);
	if (r >= 0 && p->no_targets)
		profile_drop_targets(profile);
	if (r >= 0)
		r = clang ? profile_write_llvm(profile, &text, e) : profile_write_gcc(profile, gcc, &text, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *file = xasprintf("%s.%s", name, clang ? "prof" : "afdo");
	r = fs_save_cache(dir, file, text.data, text.len, 0644, e);
	if (r < 0)
		return r;
	*flags = clang ? xasprintf("-fdebug-info-for-profiling -fprofile-sample-use=/mnt/profile/%s", file)
		       : xasprintf("-fauto-profile=/mnt/profile/%s" NO_ERROR, file);
	return 0;
}
