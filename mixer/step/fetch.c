/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/step.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/archive.h"
#include "mixer/input/cache.h"
#include "mixer/input/download.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/ui.h"

/* What is to be downloaded; the strings belong to it */
struct list {
	struct download *items;
	size_t n, cap;
	uint64_t bytes;
	char **uris; /* by repository; NULL: not asked for yet */
	size_t n_uris;
	struct buf targets; /* of apt */
};

static void list_free(struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free((char *)l->items[i].url);
		free((char *)l->items[i].what);
		free((char *)l->items[i].name);
	}
	free(l->items);
	for (size_t i = 0; i < l->n_uris; i++)
		free(l->uris[i]);
	free(l->uris);
	buf_free(&l->targets);
}

static char *cached_name(const struct locked_package *p)
{
	char hex[DIGEST_HEX];

	digest_format(&p->sha256, hex);
	return xasprintf("%s.deb", hex);
}

/* A file gets its name only when it is whole and right, so its name is enough; the size tells one that a full disk cut short after all */
static bool is_cached(int debs, const struct locked_package *p)
{
	_cleanup_free_ char *name = cached_name(p);
	struct stat st;

	if (fstatat(debs, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != p->size)
		return false;
	cache_used(debs, name, &st);
	return true;
}

/* A copy, no hard link: who changes the file in the directory must not change our cache. */
static int copy_from_directory(const struct repository *r, int debs, const struct locked_package *p, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", r->path, p->file), *name = cached_name(p);
	_cleanup_(fs_tmp_abort) struct fs_tmp t = FS_TMP_INIT;
	_cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC);
	struct digest got;
	struct stat st;

	if (in < 0 && errno == ENOENT) {
		int result = err_set(e, -ERR_MISSING, "package '%s': '%s' is not there any more", p->name, path);
		return err_hint(e, result, "'mixer lock' takes what is there");
	}
	if (in < 0 || fstat(in, &st) < 0)
		return err_errno(e, "package '%s': %s", p->name, path);
	int result = fs_tmp_open(debs, 0644, &t, e);
	if (result >= 0)
		result = fs_copy_fd(in, t.fd, (uint64_t)st.st_size, e);
	if (result >= 0 && lseek(t.fd, 0, SEEK_SET) < 0)
		result = err_errno(e, "seek");
	if (result >= 0)
		result = sha256_fd(t.fd, &got, e);
	if (result < 0)
		return err_in(e, result, "package '%s'", p->name);
	if (!digest_equal(&got, &p->sha256)) {
		result = err_set(e, -ERR_DIGEST, "package '%s': '%s' is not what is locked", p->name, path);
		return err_hint(e, result, "'mixer lock' takes the new one");
	}
	return fs_tmp_commit(&t, name, e);
}

/* The URI of the archive that r is, asked for once. */
static int uri_of(struct list *l, const struct config *c, const struct repository *r, const char **out, struct err *e)
{
	char **uri = &l->uris[r - c->repositories];

	if (!*uri) {
		int result = archive_uri(r, &l->targets, uri, e);
		if (result < 0)
			return err_in(e, result, "repository '%s'", r->name);
	}
	*out = *uri;
	return 0;
}

/* name and what are taken */
static void add(struct list *l, const char *uri, const char *place, char *what, int dir, char *name,
		const struct digest *sha256, uint64_t size)
{
	VEC_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = (struct download){
		.url = url_join(uri, place),
		.what = what,
		.dirfd = dir,
		.name = name,
		.sha256 = sha256,
		.size = size,
	};
	l->bytes += size;
}

static int unknown_repository(const char *what, const char *name, const char *repository, const char *command,
			      struct err *e)
{
	int r = err_set(e, -ERR_CONFIG, "%s '%s' is from repository '%s', which mixer.conf does not have", what, name,
			repository);
	return err_hint(e, r, "'%s' chooses anew", command);
}

static int download_list(const struct mix *m, const struct list *l, const char *stage, const char *command,
			 struct err *e)
{
	if (l->n == 0)
		return 0;
	_cleanup_(downloader_freep) struct downloader *d = downloader_new();
	progress_stage(m->progress, stage, l->bytes, true);
	int r = download_all(d, l->items, l->n, m->progress, e);
	if (r == -ERR_DIGEST || r == -ERR_MISSING)
		return err_hint(e, r, "the mirror may be in the middle of an update, or have a newer one: '%s' looks",
				command);
	progress_end(m->progress);
	return r;
}

static int add_package(struct list *l, const struct config *c, const struct repository *r, int debs,
		       const struct locked_package *p, struct err *e)
{
	const char *uri = NULL;

	int result = uri_of(l, c, r, &uri, e);
	if (result >= 0)
		add(l, uri, p->file, xasprintf("package '%s'", p->name), debs, cached_name(p), &p->sha256, p->size);
	return result;
}

int fetch_packages(const struct mix *m, const struct lock *l, struct err *e)
{
	const struct config *c = m->config;
	_cleanup_close_ int debs = fs_make_dir(m->cache, "debs", 0755, e);
	_cleanup_(list_free) struct list list = {.uris = xcalloc(c->n_repositories, sizeof(char *)),
						 .n_uris = c->n_repositories};

	if (debs < 0)
		return debs;
	for (size_t i = 0; i < l->n_packages; i++) {
		const struct locked_package *p = &l->packages[i];
		const struct repository *from = config_repository(c, p->repository);
		if (is_cached(debs, p))
			continue;
		if (!from)
			return unknown_repository("package", p->name, p->repository, "mixer lock", e);
		int r = from->kind == REPOSITORY_DIRECTORY ? copy_from_directory(from, debs, p, e)
							   : add_package(&list, c, from, debs, p, e);
		if (r < 0)
			return r;
	}
	return download_list(m, &list, "packages", "mixer lock", e);
}

/* 1: it is there and right; 0: it is not, any more */
static int is_source_cached(int dir, const char *name, const struct source_file *f, struct err *e)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct digest got;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", name);
	int r = fstat(fd, &st) < 0 ? err_errno(e, "%s", name) : sha256_fd(fd, &got, e);
	if (r < 0)
		return r;
	if (!digest_equal(&got, &f->sha256))
		return unlinkat(dir, name, 0) < 0 ? err_errno(e, "%s", name) : 0;
	cache_used(dir, name, &st);
	return 1;
}

int fetch_source(const struct mix *m, const struct lock *l, struct err *e)
{
	const struct config *c = m->config;
	const struct locked_source *s = &l->source;
	const struct repository *from = config_repository(c, s->repository);
	_cleanup_close_ int dir = fs_make_dir(m->cache, "sources", 0755, e);
	_cleanup_(list_free) struct list list = {.uris = xcalloc(c->n_repositories, sizeof(char *)),
						 .n_uris = c->n_repositories};
	const char *uri = NULL;

	if (dir < 0)
		return dir;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct source_file *f = &s->files[i];
		char hex[DIGEST_HEX];
		digest_format(&f->sha256, hex);
		int r = is_source_cached(dir, hex, f, e);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (!from || from->kind != REPOSITORY_DEBIAN)
			return unknown_repository("source", s->name, s->repository, "mixer package lock", e);
		r = uri_of(&list, c, from, &uri, e);
		if (r < 0)
			return r;
		_cleanup_free_ char *place = xasprintf("%s/%s", s->directory, f->name);
		add(&list, uri, place, xasprintf("source '%s'", f->name), dir, xstrdup(hex), &f->sha256, f->size);
	}
	return download_list(m, &list, "sources", "mixer package lock", e);
}
