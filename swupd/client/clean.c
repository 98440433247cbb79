/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/post.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/client/commit.h"
#include "swupd/client/exchange.h"
#include "swupd/client/machine.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/scratch.h"
#include "swupd/client/stage.h"
#include "swupd/content/format.h"
#include "swupd/content/manifest.h"

struct cleaning {
	bool dry_run;
	uint64_t *files, *bytes;
};

/* Count and, unless it is a rehearsal, remove name and all below it. */
static int remove_counted(const struct cleaning *c, int dirfd, const char *name, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", name);
	if (!S_ISDIR(st.st_mode)) {
		(*c->files)++;
		/* one with another name stays on the disk */
		*c->bytes += st.st_nlink == 1 ? (uint64_t)st.st_blocks * 512 : 0;
		if (!c->dry_run && unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
			return err_errno(e, "cannot remove %s", name);
		return 0;
	}
	_cleanup_close_ int dir = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_errno(e, "%s", name);
	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		r = remove_counted(c, dir, names.items[i], e);
	if (r >= 0 && !c->dry_run && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = err_errno(e, "cannot remove %s", name);
	return r;
}

/* All in dir but the names in keep (NULL: none are kept). */
static int sweep(const struct cleaning *c, int cache, const char *dir, const struct table *keep, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int fd = openat(cache, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0;
	int r = fs_list(fd, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (!keep || !table_find_str(keep, names.items[i]))
			r = remove_counted(c, fd, names.items[i], e);
	return r;
}

/* Downloads, but those of another run that shares the cache and is not through. */
static int sweep_downloads(const struct cleaning *c, int cache, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = fs_list(cache, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_close_ int fd = -1;
		if (!scratch_is_left(cache, names.items[i], &fd))
			continue;
		r = sweep(c, cache, names.items[i], NULL, e);
		if (r >= 0 && !c->dry_run)
			(void)unlinkat(cache, names.items[i], AT_REMOVEDIR);
	}
	return r;
}

/* What the predecessor left in the same directory: its layouts before and after 4.2.1. Our data lies beside it. */
static int sweep_predecessors(const struct cleaning *c, int cache, struct err *e)
{
	static const char *const left[] = {"cache", "staged", "delta", "temp"};
	_cleanup_(strv_free) struct strv names = {0};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(left); i++)
		r = remove_counted(c, cache, left[i], e);
	if (r >= 0)
		r = fs_list(cache, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (text_starts(names.items[i], "pack-") && text_ends(names.items[i], ".tar"))
			r = remove_counted(c, cache, names.items[i], e);
	return r;
}

/* The hashes of the manifests that a cached MoM lists. It only says what is kept, so nothing is verified, and no server is asked. */
static void wanted_manifests(const struct machine *m, int dir, const char *name, struct table *keep, struct strv *hexes)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(manifest_freep) struct manifest *mom = NULL;

	if (fs_load(dir, name, MANIFEST_MAX, &text, NULL) < 0 ||
	    manifest_parse(text.data, text.len, true, m->release, &mom, NULL) < 0)
		return;
	for (size_t i = 0; i < mom->n_entries; i++) {
		char hex[DIGEST_HEX];
		digest_format(&mom->entries[i].hash, hex);
		strv_add(hexes, hex);
		char *key = hexes->items[hexes->n - 1];
		(void)table_add_str(keep, key, key);
	}
}

/* The installed release's MoMs (of each content URL that was used) and their manifests. */
static int wanted(const struct machine *m, struct table *moms, struct strv *names, struct table *manifests,
		  struct strv *hexes, struct err *e)
{
	_cleanup_free_ char *mom = xasprintf("-%u", m->release), *sig = xasprintf("-%u.sig", m->release);
	_cleanup_close_ int dir = openat(m->cache, "mom", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	int r = dir < 0 ? 0 : fs_list(dir, ".", names, e);
	for (size_t i = 0; i < names->n; i++) {
		char *name = names->items[i];
		if (!text_ends(name, mom) && !text_ends(name, sig))
			continue;
		(void)table_add_str(moms, name, name);
		if (text_ends(name, mom))
			wanted_manifests(m, dir, name, manifests, hexes);
	}
	return r;
}

/* What swupd has staged beside /usr. What is to be done when this root is good, or boots again, is not of that. */
static int sweep_stage(const struct machine *m, const struct cleaning *c, struct err *e)
{
	_cleanup_close_ int stage = fs_open_beneath(m->root, STAGE_PARENT, O_RDONLY | O_DIRECTORY, 0, NULL);
	_cleanup_(table_freep) struct table *keep = table_new();

	/* with a journal, what is staged is half of a release and not ours to remove */
	if (stage < 0 || fs_exists(stage, JOURNAL_NAME))
		return 0;
	(void)table_add_str(keep, ARRIVE_NAME, keep);
	(void)table_add_str(keep, RETURN_NAME, keep);
	int r = sweep(c, stage, ".", keep, e);
	if (r >= 0 && !c->dry_run)
		(void)unlinkat(m->root, STAGE_PARENT, AT_REMOVEDIR);
	return r;
}

/* The tree for rollback. Half of it must never be taken for it. */
static int drop_old_tree(const struct machine *m, const struct cleaning *c, struct err *e)
{
	int r = c->dry_run ? 0 : exchange_forget(m, e);

	return r < 0 ? r : remove_counted(c, m->root, c->dry_run ? TREE_OLD : TREE_GONE, e);
}

int clean_cache(struct machine *m, bool all, bool dry_run, uint64_t *files, uint64_t *bytes, struct err *e)
{
	const struct cleaning c = {.dry_run = dry_run, .files = files, .bytes = bytes};
	_cleanup_(table_freep) struct table *manifests = table_new(), *moms = table_new();
	_cleanup_(strv_free) struct strv hexes = {0}, names = {0};

	*files = *bytes = 0;
	int r = remove_counted(&c, m->cache, DOWNLOADED, e);
	if (r >= 0 && !all && m->release)
		r = wanted(m, moms, &names, manifests, &hexes, e);
	if (r >= 0)
		r = sweep(&c, m->cache, "mom", moms, e);
	if (r >= 0)
		r = sweep(&c, m->cache, "manifest", manifests, e);
	if (r >= 0)
		r = sweep_downloads(&c, m->cache, e);
	if (r >= 0)
		r = sweep_predecessors(&c, m->cache, e);
	if (r >= 0 && all)
		r = drop_old_tree(m, &c, e);
	return r < 0 ? r : sweep_stage(m, &c, e);
}

int clean_downloads(const struct machine *m, struct err *e)
{
	uint64_t files = 0, bytes = 0;
	const struct cleaning c = {.files = &files, .bytes = &bytes};

	return fs_exists(m->cache, SCRATCH_SHARED) ? sweep_downloads(&c, m->cache, e) : 0;
}
