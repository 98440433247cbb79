/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/archive.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/config.h"
#include "mixer/input/download.h"
#include "mixer/input/inrelease.h"
#include "mixer/input/package.h"
#include "mixer/input/source.h"
#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/proc.h"
#include "swupd/base/ui.h"

#define INRELEASE_MAX (16UL << 20) /* bytes: Debian's have 140 to 280 KB */
#define INDEX_MAX     (1UL << 30)  /* bytes of a Packages index, unpacked: all of Debian's main has 57 MB */

/* One line of apt-get indextargets */
struct target {
	const char *uri, *origin, *label, *codename;
};

static bool split_target(char *line, struct target *t)
{
	const char **fields[] = {&t->uri, &t->origin, &t->label, &t->codename};
	char *s = line;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (!s)
			return false;
		*fields[i] = s;
		s = strchr(s, '|');
		if (s)
			*s++ = '\0';
	}
	return text_starts(t->uri, "http:") || text_starts(t->uri, "https:") || text_starts(t->uri, "file:");
}

/* The archive of the suite itself wins; another suite of the same archive is as good, since all are below one URI. NULL: there is none. */
static char *find_target(const char *targets, const char *label, const char *suite)
{
	_cleanup_free_ char *copy = xstrdup(targets);
	char *found = NULL, *saved = NULL;
	struct target t;

	for (char *line = strtok_r(copy, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
		if (!split_target(line, &t) || strcmp(t.origin, "Debian") != 0 || strcmp(t.label, label) != 0)
			continue;
		bool exact = strcmp(t.codename, suite) == 0;
		if (!found || exact) {
			free(found);
			found = xstrdup(t.uri);
		}
		if (exact)
			break;
	}
	return found;
}

/* Where the security archive is when only the main one is known: mirrors that have both keep them side by side */
static char *security_beside(const char *targets, const char *suite)
{
	_cleanup_free_ char *uri = find_target(targets, "Debian", suite);
	size_t len = uri ? strlen(uri) : 0;

	while (len && uri[len - 1] == '/')
		uri[--len] = '\0';
	return uri && text_ends(uri, "/debian") ? xasprintf("%s-security", uri) : NULL;
}

static int ask_apt(struct buf *targets, struct err *e)
{
	const char *const argv[] = {"apt-get",
				    "indextargets",
				    "--format",
				    "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(CODENAME)",
				    "Created-By: Packages",
				    NULL};
	int r = proc_check(&(struct proc){.argv = argv, .dirfd = AT_FDCWD, .out = targets}, e);
	if (r < 0) {
		r = err_in(e, r, "cannot ask apt where Debian's archive is");
		return err_hint(e, r, "'uri =' in mixer.conf names it");
	}
	buf_puts(targets, "");
	return 0;
}

int archive_uri(const struct repository *r, struct buf *targets, char **out, struct err *e)
{
	bool security = text_ends(r->suite, "-security");

	if (strcmp(r->uri, "apt") != 0) {
		*out = xstrdup(r->uri);
		return 0;
	}
	int result = targets->data ? 0 : ask_apt(targets, e);
	if (result < 0)
		return result;
	char *uri = find_target(targets->data, security ? "Debian-Security" : "Debian", r->suite);
	if (!uri && security)
		uri = security_beside(targets->data, r->suite);
	if (!uri) {
		result = err_set(e, -ERR_CONFIG, "this machine's apt has no archive of Debian%s",
				 security ? "'s security updates" : "");
		return err_hint(e, result, "run 'apt-get update', or name the archive with 'uri =' in mixer.conf");
	}
	*out = uri;
	return 0;
}

/* One archive while it is loaded */
struct loading {
	const struct config *config;
	const struct repository *repository;
	struct buf *targets; /* of apt */
	struct downloader *downloader;
	struct progress *progress;
	int indexes; /* directory fd of the cache */
	int64_t now;
	char *base; /* URL of dists/SUITE */
	struct buf signed_file;
	struct inrelease *inrelease;
};

static void loading_end(struct loading *l)
{
	closep(&l->indexes);
	free(l->base);
	buf_free(&l->signed_file);
	inrelease_free(l->inrelease);
}

static int read_inrelease(const struct loading *l, const char *name, struct buf *file, struct inrelease **out,
			  struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(l->indexes, name, INRELEASE_MAX, file, e);
	if (r >= 0)
		r = inrelease_verify(file->data, file->len, l->repository->keyring, &text, e);
	if (r >= 0)
		r = inrelease_parse(text.data, text.len, out, e);
	return r;
}

/*
 * Two files per URL: the one downloaded last (its time is the server's, so that it is asked for only when it changed) and the newest that was verified. Who can
 * answer in the server's place can hold back news, but cannot take it back.
 */
static int load_inrelease(struct loading *l, struct err *e)
{
	_cleanup_free_ char *url = url_join(l->base, "InRelease");
	_cleanup_free_ char *what = xasprintf("InRelease of '%s'", l->repository->suite);
	_cleanup_(buf_free) struct buf seen_file = {0}, file = {0};
	_cleanup_(inrelease_freep) struct inrelease *seen = NULL, *fresh = NULL;
	char hex[DIGEST_HEX];
	struct digest key;

	sha256_mem(url, strlen(url), &key);
	digest_format(&key, hex);
	_cleanup_free_ char *last = xasprintf("%s.InRelease", hex), *newest = xasprintf("%s.newest", hex);
	const struct download d = {
		.url = url, .what = what, .dirfd = l->indexes, .name = last, .max = INRELEASE_MAX, .if_newer = true};
	int r = download_all(l->downloader, &d, 1, NULL, e);
	if (r < 0)
		return r;
	r = read_inrelease(l, last, &file, &fresh, e);
	if (r < 0) {
		(void)unlinkat(l->indexes, last, 0);
		return err_in(e, r, "%s", url);
	}
	/* what was good under another keyring, or was damaged since, is nothing to compare with */
	if (read_inrelease(l, newest, &seen_file, &seen, NULL) >= 0 && seen->date > fresh->date) {
		l->inrelease = take(seen);
		l->signed_file = seen_file;
		seen_file = (struct buf){0};
	} else {
		l->inrelease = take(fresh);
		l->signed_file = file;
		file = (struct buf){0};
	}
	r = inrelease_check(l->inrelease, l->repository->suite, l->now, e);
	if (r < 0)
		return err_in(e, r, "%s", url);
	return fs_save_cache(l->indexes, newest, l->signed_file.data, l->signed_file.len, 0644, e);
}

static int load_cached(const struct loading *l, const char *name, const struct inrelease_file *f, struct buf *out)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct digest got;

	int r = fs_load(l->indexes, name, (size_t)f->size, &b, NULL);
	if (r < 0)
		return r;
	sha256_mem(b.data, b.len, &got);
	if (!digest_equal(&got, &f->sha256))
		return -ERR_DIGEST;
	*out = b;
	b = (struct buf){0};
	return 0;
}

/* The file as it lies in the archive, from the cache or the server. */
static int get_index(const struct loading *l, const struct inrelease_file *f, struct buf *out, struct err *e)
{
	char hex[DIGEST_HEX];

	if (f->size > INDEX_MAX)
		return err_set(e, -ERR_LIMIT, "%s: larger than %lu bytes", f->path, INDEX_MAX);
	digest_format(&f->sha256, hex);
	if (load_cached(l, hex, f, out) >= 0)
		return 0;
	_cleanup_free_ char *folder = xstrndup(f->path, (size_t)(strrchr(f->path, '/') - f->path));
	_cleanup_free_ char *path =
		l->inrelease->by_hash ? xasprintf("%s/by-hash/SHA256/%s", folder, hex) : xstrdup(f->path);
	_cleanup_free_ char *url = url_join(l->base, path);
	_cleanup_free_ char *what = xasprintf("%s of '%s'", f->path, l->repository->suite);
	const struct download d = {
		.url = url, .what = what, .dirfd = l->indexes, .name = hex, .sha256 = &f->sha256, .size = f->size};
	progress_total(l->progress, f->size);
	int r = download_all(l->downloader, &d, 1, l->progress, e);
	if (r == -ERR_DIGEST || r == -ERR_MISSING)
		return err_hint(e, r, "the mirror may be in the middle of an update: try again in some minutes");
	if (r < 0)
		return r;
	r = load_cached(l, hex, f, out);
	return r < 0 ? err_set(e, r, "%s: cannot be read back from the cache", what) : 0;
}

/* The compressions of an index, the smallest first. */
static const struct inrelease_file *find_index(const struct inrelease *r, const char *plain)
{
	static const char *const suffixes[] = {".xz", ".zst", ".gz", ""};

	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		_cleanup_free_ char *path = xasprintf("%s%s", plain, suffixes[i]);
		const struct inrelease_file *f = inrelease_find(r, path);
		if (f && f->size)
			return f;
	}
	return NULL;
}

/* The text of an index, which the InRelease lists. */
static int load_index(const struct loading *l, const char *plain, struct buf *text, struct err *e)
{
	const struct inrelease_file *f = find_index(l->inrelease, plain);
	_cleanup_(buf_free) struct buf file = {0};

	int result = get_index(l, f, &file, e);
	if (result < 0)
		return result;
	/* the size is only a limit: the digest of the packed file, which was checked, says all of the unpacked one */
	result = decompress_mem(codec_detect(file.data, file.len), file.data, file.len, INDEX_MAX, text, e);
	return result < 0 ? err_in(e, result, "%s of '%s'", f->path, l->repository->suite) : 0;
}

static int add_index(const struct loading *l, const char *plain, struct package_list *list, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	const struct repository *r = l->repository;

	int result = load_index(l, plain, &text, e);
	if (result < 0)
		return result;
	result = packages_parse(text.data, text.len, l->config->architecture, r->name, r->priority, list, e);
	return result < 0 ? err_in(e, result, "%s of '%s'", plain, r->suite) : 0;
}

/* A suite may have none. */
static int add_sources(const struct loading *l, const char *component, struct source_list *list, struct err *e)
{
	_cleanup_free_ char *plain = xasprintf("%s/source/Sources", component);
	_cleanup_(buf_free) struct buf text = {0};
	const struct repository *r = l->repository;

	if (!find_index(l->inrelease, plain))
		return 0;
	int result = load_index(l, plain, &text, e);
	if (result < 0)
		return result;
	result = sources_parse(text.data, text.len, r->name, r->priority, list, e);
	return result < 0 ? err_in(e, result, "%s of '%s'", plain, r->suite) : 0;
}

static int add_component(const struct loading *l, const char *component, struct package_list *list,
			 struct source_list *sources, struct err *e)
{
	const struct config *c = l->config;
	_cleanup_free_ char *own = xasprintf("%s/binary-%s/Packages", component, c->architecture);
	_cleanup_free_ char *all = xasprintf("%s/binary-all/Packages", component);

	if (!find_index(l->inrelease, own))
		return err_set(e, -ERR_CONFIG, "suite '%s' has no component '%s' for %s", l->repository->suite,
			       component, c->architecture);
	int r = add_index(l, own, list, e);
	if (r >= 0 && l->inrelease->all_apart && find_index(l->inrelease, all))
		r = add_index(l, all, list, e);
	return r < 0 || !sources ? r : add_sources(l, component, sources, e);
}

static int load(struct loading *l, struct package_list *list, struct source_list *sources, struct err *e)
{
	_cleanup_free_ char *uri = NULL;

	int r = archive_uri(l->repository, l->targets, &uri, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("dists/%s", l->repository->suite);
	l->base = url_join(uri, path);
	r = load_inrelease(l, e);
	if (r < 0)
		return r;
	assert(l->inrelease);
	for (size_t i = 0; r >= 0 && i < l->repository->components.n; i++)
		r = add_component(l, l->repository->components.items[i], list, sources, e);
	return r;
}

int archive_load(const struct config *c, int cache, const struct repository *r, struct buf *targets,
		 struct downloader *d, int64_t now, struct progress *progress, struct package_list *l,
		 struct source_list *sources, struct lock *lock, int64_t *date, struct err *e)
{
	_cleanup_(loading_end) struct loading loading = {
		.config = c,
		.repository = r,
		.targets = targets,
		.downloader = d,
		.progress = progress,
		.now = now,
	};

	loading.indexes = fs_make_dir(cache, "indexes", 0755, e);
	int result = loading.indexes < 0 ? loading.indexes : load(&loading, l, sources, e);
	if (result < 0)
		return err_in(e, result, "repository '%s'", r->name);
	assert(loading.inrelease);
	_cleanup_free_ char *text = time_format(loading.inrelease->date);
	struct locked_archive a = {
		.name = arena_strdup(lock->arena, r->name),
		.suite = arena_strdup(lock->arena, r->suite),
		.date = arena_strdup(lock->arena, text),
	};
	sha256_mem(loading.signed_file.data, loading.signed_file.len, &a.inrelease);
	VEC_GROW(lock->archives, lock->n_archives, lock->cap_archives);
	lock->archives[lock->n_archives++] = a;
	*date = loading.inrelease->date;
	return 0;
}

int directory_load(const struct config *c, const struct repository *r, struct package_list *l, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = openat(c->dir, r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = 0;

	if (dir < 0)
		return errno == ENOENT ? 0 : err_errno(e, "repository '%s': %s", r->name, r->path);
	result = fs_list(dir, ".", &names, e);
	for (size_t i = 0; result >= 0 && i < names.n; i++) {
		/* a lock has names in lines */
		if (strchr(names.items[i], '\n'))
			result = err_set(e, -ERR_FORMAT, "a file name has a line feed");
		else if (text_ends(names.items[i], ".deb"))
			result = package_load(dir, names.items[i], c->architecture, r->name, r->priority, l, e);
	}
	return result < 0 ? err_in(e, result, "repository '%s'", r->name) : 0;
}
