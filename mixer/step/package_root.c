/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/package_root.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "mixer/input/cache.h"
#include "mixer/input/download.h"
#include "mixer/input/package.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/proc.h"
#include "swupd/base/ui.h"

#define ROOTS   "buildroots"
#define NEW     ".new"
#define ARCHIVE ".archive"
#define LOG     "mmdebstrap.log"
#define SUITE   "limpid"

/* Bytes: a disk that has less is full as far as an installer or a compiler is concerned. */
#define SPACE_MIN (16ULL << 20)

/* Raised whenever the same packages give another root. */
#define ROOT_VERSION 1

int package_space(const struct mix *m, int dir, int r, struct err *e)
{
	uint64_t space;

	/* a program does not say it in a way that could be relied on */
	if (r != -ENOSPC && (r != -ERR_CHILD || fs_free_space(dir, &space, NULL) < 0 || space >= SPACE_MIN))
		return r;
	return err_set(e, -ERR_SPACE, "the disk of the cache '%s' is full", m->config->cache);
}

static void key_of(const struct lock *l, char out[DIGEST_HEX])
{
	_cleanup_(buf_free) struct buf text = {0};
	char hex[DIGEST_HEX];
	struct digest d;

	buf_printf(&text, "buildroot %d\n", ROOT_VERSION);
	for (size_t i = 0; i < l->n_packages; i++) {
		digest_format(&l->packages[i].sha256, hex);
		buf_printf(&text, "%s %s\n", l->packages[i].name, hex);
	}
	sha256_mem(text.data, text.len, &d);
	digest_format(&d, out);
}

/* The stanza of an index: the package's own, and where it is. apt will hold the file against the digest that is locked. */
static int add_stanza(const struct mix *m, const struct locked_package *p, int archive, struct buf *index,
		      struct err *e)
{
	_cleanup_(buf_free) struct buf control = {0};
	char hex[DIGEST_HEX];

	digest_format(&p->sha256, hex);
	_cleanup_free_ char *file = xasprintf("debs/%s.deb", hex), *name = xasprintf("%s.deb", hex);
	int r = package_control(m->cache, file, &control, e);
	if (r >= 0)
		r = fs_link_or_copy(m->cache, file, archive, name, e);
	if (r < 0)
		return err_in(e, r, "package '%s' %s", p->name, p->version);
	while (control.len && control.data[control.len - 1] == '\n')
		control.data[--control.len] = '\0';
	buf_printf(index, "%s\nFilename: ./%s\nSize: %llu\nSHA256: %s\n\n", control.data, name,
		   (unsigned long long)p->size, hex);
	return 0;
}

/* By its name mmdebstrap finds the essential packages. */
static int save_index(int archive, const struct buf *index, struct err *e)
{
	_cleanup_free_ char *release = NULL;
	char hex[DIGEST_HEX];
	struct digest d;

	sha256_mem(index->data, index->len, &d);
	digest_format(&d, hex);
	release = xasprintf("Suite: " SUITE "\nCodename: " SUITE "\nDate: Thu, 01 Jan 1970 00:00:00 UTC\n"
			    "SHA256:\n %s %zu Packages\n",
			    hex, index->len);
	int r = fs_save_cache(archive, "Packages", index->data, index->len, 0644, e);
	return r < 0 ? r : fs_save_cache(archive, "Release", release, strlen(release), 0644, e);
}

static int make_archive(const struct mix *m, const struct lock *l, int folder, struct err *e)
{
	_cleanup_(buf_free) struct buf index = {0};

	int r = fs_remove_tree(folder, ARCHIVE, e);
	if (r < 0)
		return r;
	_cleanup_close_ int archive = fs_make_dir(folder, ARCHIVE, 0755, e);
	r = archive < 0 ? archive : 0;
	for (size_t i = 0; r >= 0 && i < l->n_packages; i++)
		r = add_stanza(m, &l->packages[i], archive, &index, e);
	return r < 0 ? r : save_index(archive, &index, e);
}

/* What went wrong first, and last; a line that lists all packages is cut. */
static int explain(const struct buf *said, int status, struct err *e)
{
	_cleanup_(strv_free) struct strv lines = {0}, errors = {0};

	strv_split(&lines, said->len ? said->data : "", "\n\r");
	for (size_t i = 0; i < lines.n; i++) {
		const bool last = i + 1 == lines.n;
		if (last || (errors.n < 2 && (text_starts(lines.items[i], "E: ") || strstr(lines.items[i], "error:"))))
			strv_take(&errors, xasprintf("%.160s", text_trim(lines.items[i])));
	}
	_cleanup_free_ char *words = strv_join(&errors, "; ");
	return err_set(e, -ERR_CHILD, "mmdebstrap ended with status %d: %s", status, words);
}

static int bootstrap(const struct mix *m, const struct lock *l, const char *path, int folder, struct err *e)
{
	_cleanup_free_ char *archive = xasprintf("%s/" ARCHIVE, path), *target = xasprintf("%s/" NEW, path);
	_cleanup_free_ char *uri = url_join("copy:", archive + 1),
			    *architecture = xasprintf("--architectures=%s", m->config->architecture);
	_cleanup_free_ char *source = xasprintf("deb [trusted=yes] %s ./", uri);
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_(buf_free) struct buf said = {0};

	for (size_t i = 0; i < l->n_packages; i++)
		strv_add(&names, l->packages[i].name);
	_cleanup_free_ char *list = strv_join(&names, ","), *include = xasprintf("--include=%s", list);
	const char *argv[] = {
		"mmdebstrap",
		"--variant=essential",
		"--format=directory",
		architecture,
		include,
		/* the archive is ours alone, wherever the cache lies */
		"--aptopt=APT::Sandbox::User \"root\"",
		/* nobody reads them there */
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/info/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=force-unsafe-io",
		SUITE,
		target,
		source,
		NULL,
	};
	int r = proc_run(&(struct proc){.argv = argv, .dirfd = AT_FDCWD, .out = &said, .errors = &said}, e);
	if (r == -ENOENT)
		return err_hint(e, r, "the package mmdebstrap has it");
	if (r <= 0)
		return r;
	r = explain(&said, r, e);
	(void)fs_save_cache(folder, LOG, said.data, said.len, 0644, NULL);
	return err_hint(e, r, "all that it said is in '%s/" LOG "'", path);
}

/* The name of the root that was used last; the caller frees it. NULL: there is none. */
static char *last_root(int folder)
{
	_cleanup_(strv_free) struct strv names = {0};
	const char *last = NULL;
	time_t time = 0;

	if (fs_list(folder, ".", &names, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < names.n; i++) {
		struct stat st;
		if (names.items[i][0] == '.' || fstatat(folder, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode) || (last && st.st_mtime <= time))
			continue;
		last = names.items[i];
		time = st.st_mtime;
	}
	return last ? xstrdup(last) : NULL;
}

static bool same_bytes(int a, int b, uint64_t size)
{
	uint8_t x[65536], y[sizeof(x)];

	for (uint64_t at = 0; at < size; at += sizeof(x)) {
		const size_t len = MIN(size - at, sizeof(x));
		if (fs_read_at(a, at, x, len, NULL) < 0 || fs_read_at(b, at, y, len, NULL) < 0 ||
		    memcmp(x, y, len) != 0)
			return false;
	}
	return true;
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && S_ISREG(y.st_mode) && x.st_mode == y.st_mode &&
	       x.st_uid == y.st_uid && x.st_gid == y.st_gid && x.st_size == y.st_size &&
	       x.st_mtim.tv_sec == y.st_mtim.tv_sec && x.st_mtim.tv_nsec == y.st_mtim.tv_nsec &&
	       flistxattr(a, NULL, 0) == 0 && flistxattr(b, NULL, 0) == 0 && same_bytes(a, b, (uint64_t)x.st_size);
}

struct sharing {
	int root, other;
};

/* A file that the other root has, too, becomes a link to that one. */
static int share_file(void *arg, const char *path, int fd, struct err *e __attribute__((unused)))
{
	const struct sharing *s = arg;
	const char *name = path + 1; /* it is absolute */
	_cleanup_close_ int there = fs_open_beneath(s->other, name, O_RDONLY | O_NOFOLLOW, 0, NULL);

	if (there >= 0 && same_file(fd, there) && linkat(there, "", s->root, NEW, AT_EMPTY_PATH) == 0 &&
	    renameat(s->root, NEW, s->root, name) < 0)
		(void)unlinkat(s->root, NEW, 0);
	return 0;
}

/* Most files of a root are in others, too, and nobody writes to them. What is not shared takes room, nothing else. */
static void share(int folder, int root)
{
	_cleanup_free_ char *name = last_root(folder);
	_cleanup_close_ int other = name ? fs_open_dir(folder, name, NULL) : -1;
	struct sharing s = {.root = root, .other = other};

	if (other >= 0)
		(void)fs_each_file(root, share_file, &s, NULL);
}

/* What tells of this machine or of the hour goes; what toolroot_run mounts something at is there; all is on disk. */
static int tidy(int folder, struct err *e)
{
	static const char *const gone[] = {"etc/resolv.conf",
					   "etc/hostname",
					   "etc/apt/sources.list",
					   "var/log",
					   "var/cache",
					   "var/lib/apt",
					   "tmp",
					   "run"};
	static const char *const places[] = {"dev", "mnt", "proc", "run", "tmp", "var/cache", "var/log", "var/tmp"};
	_cleanup_close_ int dir = fs_open_dir(folder, NEW, e);
	int r = dir < 0 ? dir : 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(gone); i++)
		r = fs_remove_tree(dir, gone[i], e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(places); i++)
		r = fs_mkdirs(dir, places[i], 0755, e);
	if (r < 0)
		return r;
	share(folder, dir);
	return syncfs(dir) < 0 ? err_errno(e, "syncfs") : 0;
}

/* Commit or vanish: the root gets its name when all of it is on disk. What a killed run left is removed by the next. */
static int make(const struct mix *m, const struct lock *l, const char *path, int folder, const char *key, struct err *e)
{
	_cleanup_close_ int lock = fs_lock_wait(folder, ".lock", e);

	if (lock < 0)
		return lock;
	if (fs_exists(folder, key))
		return 0;
	if (geteuid() != 0) {
		int r = err_set(e, -ERR_NOT_ROOT, "only root can make it");
		return err_hint(e, r, "run 'mixer package build' as root once: roots are kept in the cache");
	}
	(void)unlinkat(folder, LOG, 0);
	int r = fetch_packages(m, l, e);
	if (r == -ERR_MISSING || r == -ERR_DIGEST)
		return err_hint(e, r, "the archive may have newer ones: 'mixer package lock' looks");
	if (r >= 0)
		r = fs_remove_tree(folder, NEW, e);
	if (r >= 0)
		r = make_archive(m, l, folder, e);
	progress_stage(m->progress, "installing the build root", 0, false);
	if (r >= 0)
		r = bootstrap(m, l, path, folder, e);
	if (r >= 0)
		r = tidy(folder, e);
	progress_end(m->progress);
	if (r >= 0 && renameat(folder, NEW, folder, key) < 0)
		r = err_errno(e, "%s", key);
	r = r < 0 ? package_space(m, folder, r, e) : r;
	(void)fs_remove_tree(folder, ARCHIVE, NULL);
	if (r < 0)
		(void)fs_remove_tree(folder, NEW, NULL);
	return r;
}

int package_root(const struct mix *m, const struct lock *l, char **path, char key[DIGEST_HEX], struct err *e)
{
	_cleanup_free_ char *roots = xasprintf("%s/" ROOTS, m->config->cache);
	_cleanup_close_ int folder = fs_make_dir(m->cache, ROOTS, 0755, e);
	struct stat st;

	if (folder < 0)
		return folder;
	key_of(l, key);
	if (fstatat(folder, key, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		cache_used(folder, key, &st);
	} else {
		int r = make(m, l, roots, folder, key, e);
		if (r < 0)
			return err_in(e, r, "cannot make the build root");
	}
	*path = xasprintf("%s/%s", roots, key);
	return 0;
}
