/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/toolroot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/bundle.h"
#include "mixer/input/cache.h"
#include "mixer/input/deb.h"
#include "mixer/input/lock.h"
#include "mixer/input/tree.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot_inside.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"

#define TOOLS "tools"

/* Raised whenever the same packages give another root. */
#define TOOLROOT_VERSION 1

void toolroot_free(struct toolroot *t)
{
	if (!t)
		return;
	lock_free(t->lock);
	free(t->set);
	free(t->path);
	free(t);
}

struct toolroot *toolroot_at(const char *path, const char *name)
{
	struct toolroot *t = xcalloc(1, sizeof(*t));

	t->path = xstrdup(path);
	t->set = xstrdup(name);
	return t;
}

const char *toolroot_key(const struct toolroot *t)
{
	return t->key;
}

const char *toolroot_path(const struct toolroot *t)
{
	return t->path;
}

const struct locked_package *toolroot_find_package(const struct toolroot *t, const char *prefix)
{
	const struct locked_bundle *b = t->lock ? lock_find_bundle(t->lock, t->set) : NULL;

	for (size_t i = 0; b && i < b->n_packages; i++)
		if (text_starts(b->packages[i], prefix))
			return lock_find(t->lock, b->packages[i]);
	return NULL;
}

/* --- which packages ---------------------------------------------------------------------------------------------------- */

/* The mix as far as tools are concerned: definitions come from other folders, all else is the same */
struct tools_mix {
	struct mix mix;
	struct config config;
};

static void tools_mix_free(struct tools_mix *t)
{
	strv_free(&t->config.bundle_dirs);
}

static void tools_mix_init(struct tools_mix *t, const struct mix *m)
{
	t->config = *m->config;
	t->config.bundle_dirs = (struct strv){0};
	t->config.debuginfo = false;
	for (size_t i = 0; i < m->config->bundle_dirs.n; i++)
		strv_take(&t->config.bundle_dirs, xasprintf("%s/" TOOLS, m->config->bundle_dirs.items[i]));
	t->mix = *m;
	t->mix.config = &t->config;
}

static int collect_tools(const struct tools_mix *t, struct bundle_set *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < t->config.bundle_dirs.n; i++)
		r = bundle_names(t->config.bundle_dirs.items[i], &names, e);
	strv_sort_unique(&names);
	if (r >= 0 && names.n == 0) {
		r = err_set(e, -ERR_BUNDLE, "no folder of bundles has definitions of tools");
		return err_hint(e, r, "they are files in a folder 'tools' there, see bundle(5)");
	}
	return r < 0 ? r : bundle_set_load(&t->config, &names, false, out, e);
}

int toolroot_collect(const struct mix *m, struct bundle_set *out, struct err *e)
{
	_cleanup_(tools_mix_free) struct tools_mix t;

	tools_mix_init(&t, m);
	return collect_tools(&t, out, e);
}

int toolroot_resolve(const struct mix *m, bool keep, const struct lock *old, struct lock **out, struct err *e)
{
	_cleanup_(tools_mix_free) struct tools_mix t;
	_cleanup_(bundle_set_free) struct bundle_set set = {0};

	tools_mix_init(&t, m);
	int r = collect_tools(&t, &set, e);
	return r < 0 ? r : resolve(&t.mix, &set, NULL, keep, old, out, e);
}

/* The lock that is there, else a new one. */
static int get_lock(const struct mix *m, struct lock **out, struct err *e)
{
	_cleanup_(tools_mix_free) struct tools_mix t;
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(lock_freep) struct lock *l = NULL;
	struct err own = ERR_INIT;

	tools_mix_init(&t, m);
	int r = collect_tools(&t, &set, e);
	if (r < 0)
		return r;
	r = lock_load_tools(m->config, &l, &own);
	if (r == -ENOENT) {
		err_clear(&own);
		r = resolve(&t.mix, &set, NULL, false, NULL, &l, e);
		if (r >= 0)
			r = lock_save_tools(m->config, l, e);
	} else if (r < 0) {
		err_move(e, &own);
	} else if (!resolve_is_current(&t.mix, &set, l)) {
		r = err_set(e, -ERR_CONFLICT, "definitions of tools changed since tools.lock was made");
		return err_hint(e, r,
				"'mixer tools lock --keep' adds what is missing, 'mixer tools lock' also takes newer "
				"packages");
	}
	if (r >= 0)
		*out = take(l);
	return r;
}

static void key_of(const struct lock *l, const struct locked_bundle *b, char out[DIGEST_HEX])
{
	_cleanup_(buf_free) struct buf text = {0};
	struct digest d;

	buf_printf(&text, "tools %d\n", TOOLROOT_VERSION);
	for (size_t i = 0; i < b->n_packages; i++) {
		char hex[DIGEST_HEX];
		digest_format(&lock_find(l, b->packages[i])->sha256, hex);
		buf_printf(&text, "%s %s\n", b->packages[i], hex);
	}
	sha256_mem(text.data, text.len, &d);
	digest_format(&d, out);
}

/* --- a root of them ---------------------------------------------------------------------------------------------------- */

struct unpacking {
	const struct mix *m;
	struct store *store;
	const struct lock *lock; /* only of this set */
	struct tree **trees;     /* of lock->packages */
};

static int unpack(void *arg, size_t i, struct err *e)
{
	struct unpacking *u = arg;
	const struct locked_package *p = &u->lock->packages[i];
	char hex[DIGEST_HEX];

	digest_format(&p->sha256, hex);
	_cleanup_free_ char *file = xasprintf("debs/%s.deb", hex);
	_cleanup_close_ int fd = openat(u->m->cache, file, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? err_errno(e, "%s", file) : deb_unpack(fd, p->name, u->store, &u->trees[i], e);
	progress_add(u->m->progress, p->size);
	return r < 0 ? err_in(e, r, "package '%s' %s", p->name, p->version) : 0;
}

static const char *const merged[] = {"/bin", "/sbin", "/lib", "/lib64"};

/* The name in a merged /usr; NULL: it is one of the links to there, which are made anyway */
static char *merged_name(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(merged); i++) {
		const char *rest = path + strlen(merged[i]);
		if (text_starts(path, merged[i]) && (*rest == '\0' || *rest == '/'))
			return *rest ? xasprintf("/usr%s", path) : NULL;
	}
	return xstrdup(path);
}

static void add_packages(const struct unpacking *u, struct tree *all)
{
	for (size_t i = 0; i < u->lock->n_packages; i++)
		for (size_t k = 0; k < u->trees[i]->n; k++) {
			struct node n = u->trees[i]->nodes[k];
			_cleanup_free_ char *path = merged_name(n.path);
			n.path = path;
			if (path)
				tree_add(all, &n);
		}
}

/* all is sorted: each path once. Directories are what they are in all packages, other things must be equal. */
static int drop_doubles(struct tree *all, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct node *node = &all->nodes[i], *before = n ? &all->nodes[n - 1] : NULL;
		if (!before || strcmp(before->path, node->path) != 0) {
			all->nodes[n++] = *node;
			continue;
		}
		if (before->attrs.kind != node->attrs.kind ||
		    (node->attrs.kind != KIND_DIR && !digest_equal(&before->hash, &node->hash)))
			return err_set(e, -ERR_CONFLICT, "packages '%s' and '%s' both have %s", before->origin,
				       node->origin, node->path);
	}
	all->n = n;
	return 0;
}

/* Names that scripts of packages would have given to a choice of several; the first that is there gets it */
static const struct {
	const char *link, *target;
} alternatives[] = {
	{"/usr/bin/awk", "gawk"},
	{"/usr/bin/awk", "mawk"},
	{"/usr/bin/nawk", "gawk"},
	{"/usr/bin/nawk", "mawk"},
	{"/usr/bin/cc", "gcc"},
	{"/usr/bin/c++", "g++"},
	{"/usr/bin/yacc", "bison.yacc"},
	{"/usr/bin/which", "which.debianutils"},
	{"/usr/bin/fakeroot", "fakeroot-sysv"},
};

/* What programs look for before they do anything; users only so that ls and tar find names */
static const struct {
	const char *path, *text;
} files[] = {
	{"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
	{"/etc/group", "root:x:0:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n"},
	{"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
	{"/etc/hosts", "127.0.0.1 localhost\n"},
};

static const char *const folders[] = {"dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp"};

static int add_link(int dir, const char *target, const char *path, struct err *e)
{
	return symlinkat(target, dir, path + 1) < 0 && errno != EEXIST ? err_errno(e, "%s", path) : 0;
}

/* After the packages: what one of them has stays as it is */
static int complete_root(int dir, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(folders); i++)
		r = fs_mkdirs(dir, folders[i], 0755, e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(merged); i++) {
		_cleanup_free_ char *target = xasprintf("usr%s", merged[i]);
		r = add_link(dir, target, merged[i], e);
	}
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(alternatives); i++) {
		_cleanup_free_ char *target = xasprintf("usr/bin/%s", alternatives[i].target);
		if (fs_exists(dir, target))
			r = add_link(dir, alternatives[i].target, alternatives[i].link, e);
	}
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(files); i++)
		if (!fs_exists(dir, files[i].path + 1))
			r = fs_save_cache(dir, files[i].path + 1, files[i].text, strlen(files[i].text), 0644, e);
	return r;
}

static int write_root(const struct unpacking *u, int dir, struct err *e)
{
	_cleanup_(tree_freep) struct tree *all = tree_new();

	add_packages(u, all);
	tree_sort(all);
	int r = drop_doubles(all, e);
	if (r >= 0)
		r = tree_checkout(all, u->store, dir, e);
	return r < 0 ? r : complete_root(dir, e);
}

static int unpack_all(const struct mix *m, const struct lock *part, int dir, struct err *e)
{
	struct unpacking u = {.m = m, .lock = part, .trees = xcalloc(part->n_packages, sizeof(struct tree *))};
	uint64_t bytes = 0;

	for (size_t i = 0; i < part->n_packages; i++)
		bytes += part->packages[i].size;
	progress_stage(m->progress, "unpacking tools", bytes, true);
	int r = store_open(m->cache, &u.store, e);
	if (r >= 0)
		r = work_each(m->config->threads, part->n_packages, unpack, &u, e);
	if (r >= 0)
		r = write_root(&u, dir, e);
	progress_end(m->progress);
	for (size_t i = 0; i < part->n_packages; i++)
		tree_free(u.trees[i]);
	free(u.trees);
	store_close(u.store);
	return r;
}

/* Commit or vanish: the root gets its name when all of it is on disk. What a killed run left is removed by the next. */
static int make_root(const struct mix *m, const struct lock *part, int folder, const char *key, struct err *e)
{
	_cleanup_close_ int lock = fs_lock_wait(folder, ".lock", e);

	if (lock < 0)
		return lock;
	if (fs_exists(folder, key))
		return 0;
	int r = fetch_packages(m, part, e);
	if (r >= 0)
		r = fs_remove_tree(folder, ".new", e);
	if (r < 0)
		return r;
	_cleanup_close_ int dir = fs_make_dir(folder, ".new", 0755, e);
	r = dir < 0 ? dir : unpack_all(m, part, dir, e);
	if (r >= 0 && (syncfs(dir) < 0 || renameat(folder, ".new", folder, key) < 0))
		r = err_errno(e, "%s", key);
	if (r < 0)
		(void)fs_remove_tree(folder, ".new", NULL);
	return r;
}

int toolroot_open(const struct mix *m, const char *set, struct toolroot **out, struct err *e)
{
	_cleanup_(toolroot_freep) struct toolroot *t = xcalloc(1, sizeof(*t));
	struct lock part = {0};
	struct stat st;

	t->set = xstrdup(set);
	int r = get_lock(m, &t->lock, e);
	if (r < 0)
		return r;
	const struct locked_bundle *b = lock_find_bundle(t->lock, set);
	if (!b)
		return err_set(e, -ERR_BUNDLE, "there is no definition of tools '%s'", set);
	key_of(t->lock, b, t->key);
	t->path = xasprintf("%s/" TOOLS "/%s", m->config->cache, t->key);
	_cleanup_close_ int folder = fs_make_dir(m->cache, TOOLS, 0755, e);
	if (folder < 0)
		return folder;
	if (fstatat(folder, t->key, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		cache_used(folder, t->key, &st);
	} else {
		_cleanup_free_ struct locked_package *packages = xcalloc(b->n_packages, sizeof(*packages));
		for (size_t i = 0; i < b->n_packages; i++)
			packages[part.n_packages++] = *lock_find(t->lock, b->packages[i]);
		part.packages = packages;
		r = make_root(m, &part, folder, t->key, e);
		if (r < 0)
			return err_in(e, r, "cannot make the root of tools '%s'", set);
	}
	*out = take(t);
	return 0;
}
