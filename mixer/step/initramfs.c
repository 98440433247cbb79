/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/cached_tree.h"
#include "mixer/step/generate.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot.h"
#include "mixer/step/tree_archive.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/file.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"

#define KERNELS  "/usr/lib/kernel"
#define MODULES  "/usr/lib/modules"
#define RECIPE   "limpid-initramfs 2\n" /* changed when the same content gives another initrd */
#define ROOT     ".initramfs-root"
#define ARCHIVE  ".initramfs-cpio"
#define CHUNK    (64UL << 10)
#define LIST_MAX (64UL << 20) /* bytes of a tree as text: an initrd has some hundred files */

DEFINE_CLEANUP(struct archive *, archive_read_free);

/* --- what it is made from ------------------------------------------------------------------------------------------------- */

struct input {
	struct tree *tree;    /* what the root has, sorted */
	char *modules;        /* the kernel's release; NULL: its modules are built in */
	char key[DIGEST_HEX]; /* of all that the result depends on */
};

static void input_clear(struct input *in)
{
	tree_free(in->tree);
	free(in->modules);
}

/* Kernels themselves, and what no initrd has: the root is made without them, and does not change with them. */
static bool is_wanted(const char *path)
{
	static const char *const unwanted[] = {KERNELS "/", "/usr/lib/debug/", "/usr/include/", "/usr/share/clear/"};

	for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
		if (text_starts(path, unwanted[i]))
			return false;
	return true;
}

/* Without the release's number: an initrd that does not differ otherwise is the same file in all of them, and no machine fetches it again. */
static int add_os_release(const struct mix *m, const struct node *n, struct tree *t, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0}, kept = {0};
	const char *pos, *line;
	size_t len;

	if (n->attrs.kind != KIND_FILE) {
		(void)tree_add(t, n);
		return 0;
	}
	int r = store_load(m->store, &n->hash, SMALL_TEXT_MAX, &text, e);
	if (r < 0)
		return err_in(e, r, "%s", n->path);
	pos = text.data;
	while (text.len && text_line(&pos, text.data + text.len, &line, &len, NULL)) {
		if (text_starts(line, "VERSION") || text_starts(line, "BUILD_ID=") || text_starts(line, "PRETTY_NAME="))
			continue;
		buf_add(&kept, line, len);
		buf_putc(&kept, '\n');
	}
	return generate_file(m, t, n->path, kept.len ? kept.data : "", kept.len, e);
}

static int find_modules(struct input *in, struct err *e)
{
	for (size_t i = 0; i < in->tree->n; i++) {
		const char *path = in->tree->nodes[i].path, *version = path + strlen(MODULES "/");
		const char *slash = text_starts(path, MODULES "/") ? strchr(version, '/') : NULL;
		if (!slash || strcmp(slash, "/modules.dep") != 0)
			continue;
		if (in->modules)
			return err_set(e, -ERR_CONFIG, "its bundles have modules of two kernels, '%s' and '%.*s'",
				       in->modules, (int)(slash - version), version);
		in->modules = xstrndup(version, (size_t)(slash - version));
	}
	return 0;
}

static void make_key(struct input *in, const char *config)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct digest d;

	buf_printf(&text, RECIPE "config %s\nmodules %s\n", config, in->modules ? in->modules : "none");
	tree_format(in->tree, &text);
	sha256_mem(text.data, text.len, &d);
	digest_format(&d, in->key);
}

/* --- dracut --------------------------------------------------------------------------------------------------------------- */

/* What a running system has besides its release */
static const char *const folders[] = {"dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var/tmp"};

static int write_root(const struct initramfs_job *job, const struct input *in, struct err *e)
{
	_cleanup_close_ int dir = fs_make_dir(job->work, ROOT, 0755, e);

	int r = dir < 0 ? dir : tree_checkout(in->tree, job->m->store, dir, e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(folders); i++)
		r = fs_mkdirs(dir, folders[i], 0755, e);
	return r;
}

static int run_dracut(const struct initramfs_job *job, const struct input *in, struct err *e)
{
	static const char out[] = "/mnt/work/" ARCHIVE;
	const char *no_modules[] = {"dracut",        "--quiet",   "--force",     "--tmpdir", "/tmp",
				    "--add-confdir", job->config, "--no-kernel", out,        NULL};
	const char *with_modules[] = {"dracut",    "--quiet", "--force",   "--tmpdir", "/tmp", "--add-confdir",
				      job->config, "--kver",  in->modules, out,        NULL};
	/* only root could make devices; who needs them mounts a devtmpfs */
	static const char *const env[] = {"DRACUT_NO_MKNOD=1", NULL};
	_cleanup_free_ char *root = xasprintf("%s/" ROOT, job->work_path);
	_cleanup_(toolroot_freep) struct toolroot *t = toolroot_at(root, "of the release");
	const struct toolroot_bind work = {.host = job->work_path, .inside = "/mnt/work", .writable = true};

	const struct toolroot_job run = {
		.argv = in->modules ? with_modules : no_modules,
		.env = env,
		.binds = &work,
		.n_binds = 1,
		.time = job->time,
	};
	int r = toolroot_run(t, &run, e);
	return r == -ENOENT ? err_hint(e, r, "the bundle that has the configuration needs the package dracut-core") : r;
}

/* --- what it made --------------------------------------------------------------------------------------------------------- */

static int damaged(struct archive *a, struct err *e)
{
	const char *text = archive_error_string(a);

	return err_set(e, -ERR_FORMAT, "dracut's archive cannot be read: %s", text ? text : "unknown error");
}

static int read_data(void *archive, void *to, size_t len, struct err *e)
{
	const la_ssize_t got = archive_read_data(archive, to, len);

	return got < 0 ? damaged(archive, e) : (int)got;
}

/* Everything is root's, and nobody is there to gain by setuid. */
static int read_member(struct archive *a, struct archive_entry *entry, struct store *s, struct tree *t, struct err *e)
{
	const char *name = archive_entry_pathname(entry), *link = archive_entry_symlink(entry);
	const mode_t type = archive_entry_filetype(entry);
	struct node n = {.attrs = {.mode = (uint32_t)archive_entry_perm(entry) & 01777}, .origin = "dracut"};
	int r = 0;

	if (!name || strcmp(name, ".") == 0)
		return 0;
	_cleanup_free_ char *path = xasprintf("/%s", name);
	r = name_check(path, e);
	if (r < 0)
		return r;
	n.path = path;
	if (type == AE_IFLNK && link && *link) {
		n.attrs = (struct attrs){.kind = KIND_LINK, .size = strlen(link)};
		n.link = link;
		file_hash_mem(&n.attrs, link, n.attrs.size, &n.hash);
	} else if (type == AE_IFDIR) {
		n.attrs.kind = KIND_DIR;
		file_hash_mem(&n.attrs, "", 0, &n.hash);
	} else if (type == AE_IFREG && !archive_entry_hardlink(entry)) {
		n.attrs.kind = KIND_FILE;
		n.attrs.size = (uint64_t)archive_entry_size(entry);
		r = store_take(s, &n.attrs, read_data, a, &n.hash, e);
	} else {
		r = err_set(e, -ERR_FORMAT, "neither a file nor a directory nor a symbolic link");
	}
	if (r < 0)
		return err_in(e, r, "%s", path);
	(void)tree_add(t, &n);
	return 0;
}

static int read_archive(const struct initramfs_job *job, struct tree *t, struct err *e)
{
	_cleanup_(archive_read_freep) struct archive *a = archive_read_new();
	_cleanup_close_ int fd = openat(job->work, ARCHIVE, O_RDONLY | O_CLOEXEC);
	struct archive_entry *entry;
	int r;

	if (fd < 0)
		return err_errno(e, "what dracut made");
	archive_read_support_filter_none(a);
	archive_read_support_format_cpio(a);
	if (archive_read_open_fd(a, fd, CHUNK) != ARCHIVE_OK)
		return damaged(a, e);
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		r = read_member(a, entry, job->m->store, t, e);
		if (r < 0)
			return r;
	}
	if (r != ARCHIVE_EOF)
		return damaged(a, e);
	tree_sort(t);
	return tree_find(t, "/init") ? 0 : err_set(e, -ERR_CHILD, "dracut made an initrd without /init");
}

/* --- together ------------------------------------------------------------------------------------------------------------- */

static int make(const struct initramfs_job *job, const struct input *in, struct tree *t, struct err *e)
{
	int r = write_root(job, in, e);

	if (r >= 0)
		r = run_dracut(job, in, e);
	if (r >= 0)
		r = read_archive(job, t, e);
	/* it would be in the way of the image's own files where room is short */
	(void)unlinkat(job->work, ARCHIVE, 0);
	(void)fs_remove_tree(job->work, ROOT, NULL);
	return r;
}

int initramfs_tree(const struct initramfs_job *job, struct tree **out, struct err *e)
{
	_cleanup_(input_clear) struct input in = {.tree = tree_new()};
	_cleanup_(tree_freep) struct tree *t = NULL;

	int r = 0;
	for (size_t i = 0; r >= 0 && i < job->content->n; i++) {
		const struct node *n = &job->content->nodes[i];
		if (strcmp(n->path, "/" INSTALLED_OS_RELEASE) == 0)
			r = add_os_release(job->m, n, in.tree, e);
		else if (is_wanted(n->path))
			(void)tree_add(in.tree, n);
	}
	if (r >= 0)
		r = find_modules(&in, e);
	if (r < 0)
		return err_in(e, r, "initramfs '%s'", job->config);
	make_key(&in, job->config);
	_cleanup_free_ char *name = xasprintf("made/initramfs-%s", in.key);
	t = cached_tree_load(job->m, name, LIST_MAX);
	if (!t) {
		t = tree_new();
		r = make(job, &in, t, e);
		if (r >= 0)
			r = cached_tree_save(job->m, name, t, e);
		if (r < 0)
			return err_in(e, r, "initramfs '%s'", job->config);
	}
	*out = take(t);
	return 0;
}

/* --- of bundles ----------------------------------------------------------------------------------------------------------- */

struct bundles {
	const struct mix *m;
	const struct bundle_set *set;
	const struct strv *const *includes;
	struct tree *const *trees;
	int64_t time;
	struct toolroot *tools; /* opened when it is needed */
};

static bool has_below(const struct tree *t, const char *dir)
{
	for (size_t i = 0; i < t->n; i++)
		if (text_starts(t->nodes[i].path, dir))
			return true;
	return false;
}

static size_t index_of(const struct bundle_set *set, const char *name)
{
	size_t i = 0;

	while (i < set->n && strcmp(set->items[i]->name, name) != 0)
		i++;
	return i;
}

static void add_with_includes(const struct bundles *x, size_t at, struct strv *names)
{
	strv_add(names, x->set->items[at]->name);
	for (size_t i = 0; i < x->includes[at]->n; i++)
		strv_add(names, x->includes[at]->items[i]);
}

/* A path that several of them have is the same everywhere: a release is one namespace. */
static struct tree *union_of(const struct bundles *x, const struct strv *names)
{
	struct tree *all = tree_new(), *once = tree_new();

	for (size_t i = 0; i < names->n; i++) {
		const size_t at = index_of(x->set, names->items[i]);
		for (size_t k = 0; at < x->set->n && k < x->trees[at]->n; k++)
			(void)tree_add(all, &x->trees[at]->nodes[k]);
	}
	tree_sort(all);
	for (size_t i = 0; i < all->n; i++)
		if (i == 0 || strcmp(all->nodes[i].path, all->nodes[i - 1].path) != 0)
			(void)tree_add(once, &all->nodes[i]);
	tree_free(all);
	return once;
}

/* The bundle that has the configuration */
static int add_config(const struct bundles *x, const char *config, struct strv *names, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf(INITRAMFS_CONFIGS "/%s/", config);

	for (size_t i = 0; i < x->set->n; i++) {
		if (!has_below(x->trees[i], dir))
			continue;
		add_with_includes(x, i, names);
		return 0;
	}
	int r = err_set(e, -ERR_CONFIG, "no bundle of the mix has the configuration '%s' (%s)", config, dir);
	return err_hint(e, r, "'mixer bundle add initramfs' brings 'host'");
}

/* Kernels of b and of what it includes */
static void find_kernels(const struct bundles *x, const struct strv *names, struct strv *out)
{
	for (size_t i = 0; i < names->n; i++) {
		const size_t at = index_of(x->set, names->items[i]);
		for (size_t k = 0; at < x->set->n && k < x->trees[at]->n; k++) {
			const char *path = x->trees[at]->nodes[k].path, *slash;
			if (!text_starts(path, KERNELS "/") || !text_ends(path, "/bzImage"))
				continue;
			path += strlen(KERNELS "/");
			slash = strchr(path, '/');
			if (slash && strcmp(slash, "/bzImage") == 0)
				strv_take(out, xstrndup(path, (size_t)(slash - path)));
		}
	}
	strv_sort_unique(out);
}

static int pack(struct bundles *x, const struct initramfs_job *job, const struct tree *t, struct buf *out,
		struct err *e)
{
	static const char archive[] = "/mnt/work/" ARCHIVE;
	static const char *const argv[] = {"zstd", "-19", "-q", "-T0", "--no-check", "-c", archive, NULL};
	const struct toolroot_bind work = {.host = job->work_path, .inside = "/mnt/work"};
	const struct toolroot_job run = {.argv = argv, .binds = &work, .n_binds = 1, .out = out, .time = job->time};

	_cleanup_close_ int fd = openat(job->work, ARCHIVE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r = fd < 0 ? err_errno(e, ARCHIVE) : tree_write_cpio(x->m->store, t, fd, e);
	return r < 0 ? r : toolroot_run(x->tools, &run, e);
}

/* The packed initrd as the node of a file: what was packed before is in the store. */
static int packed(struct bundles *x, const struct initramfs_job *job, const struct tree *t, struct node *out,
		  struct tree **owner, struct err *e)
{
	_cleanup_(tree_freep) struct tree *made = NULL;
	_cleanup_(buf_free) struct buf text = {0}, content = {0};
	char hex[DIGEST_HEX];
	struct digest d;

	int r = x->tools ? 0 : toolroot_open(x->m, "image", &x->tools, e);
	if (r < 0)
		return r;
	buf_printf(&text, "zstd -19 %s\n", toolroot_key(x->tools));
	tree_format(t, &text);
	sha256_mem(text.data, text.len, &d);
	digest_format(&d, hex);
	_cleanup_free_ char *name = xasprintf("made/initrd-%s", hex);
	made = cached_tree_load(x->m, name, LIST_MAX);
	if (!made || made->n != 1) {
		tree_free(made);
		made = tree_new();
		r = pack(x, job, t, &content, e);
		if (r >= 0)
			r = generate_file(x->m, made, "/initrd", content.data, content.len, e);
		if (r >= 0)
			r = cached_tree_save(x->m, name, made, e);
		if (r < 0)
			return r;
	}
	*out = made->nodes[0];
	*owner = take(made);
	return 0;
}

static int make_one(struct bundles *x, size_t at, const struct initramfs_job *job, struct tree *made, struct err *e)
{
	_cleanup_(strv_free) struct strv own = {0}, names = {0}, kernels = {0};
	_cleanup_(tree_freep) struct tree *content = NULL, *t = NULL, *owner = NULL;
	struct initramfs_job with = *job;
	struct node node;

	add_with_includes(x, at, &own);
	find_kernels(x, &own, &kernels);
	if (kernels.n == 0)
		return err_set(e, -ERR_CONFIG,
			       "neither it nor what it includes has a kernel (" KERNELS "/NAME/bzImage)");
	int r = add_config(x, job->config, &names, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < own.n; i++)
		strv_add(&names, own.items[i]);
	strv_sort_unique(&names);
	content = union_of(x, &names);
	with.content = content;
	r = initramfs_tree(&with, &t, e);
	if (r >= 0)
		r = packed(x, &with, t, &node, &owner, e);
	for (size_t i = 0; r >= 0 && i < kernels.n; i++) {
		_cleanup_free_ char *path = xasprintf(KERNELS "/%s/initrd", kernels.items[i]);
		node.path = path;
		node.origin = "generated";
		(void)tree_add(made, &node);
	}
	return r;
}

int initramfs_of_bundles(const struct mix *m, const struct bundle_set *set, int64_t time,
			 const struct strv *const *includes, struct tree *const *trees, struct tree *const *made,
			 struct err *e)
{
	struct bundles x = {.m = m, .set = set, .includes = includes, .trees = trees, .time = time};
	_cleanup_free_ char *path = xasprintf("%s/.work.XXXXXX", m->config->cache);
	int r = 0;

	if (!mkdtemp(path))
		return err_errno(e, "cannot make a directory in the cache");
	_cleanup_close_ int work = fs_open_dir(AT_FDCWD, path, e);
	for (size_t i = 0; work >= 0 && r >= 0 && i < set->n; i++) {
		const struct bundle *b = set->items[i];
		for (size_t k = 0; r >= 0 && k < b->initrds.n; k++) {
			const struct initramfs_job job = {
				.m = m, .config = b->initrds.items[k], .time = time, .work = work, .work_path = path};
			r = make_one(&x, i, &job, made[i], e);
			if (r < 0)
				r = err_in(e, r, "bundle '%s': initrd(%s)", b->name, job.config);
		}
	}
	(void)fs_remove_tree(AT_FDCWD, path, NULL);
	toolroot_free(x.tools);
	return work < 0 ? work : r;
}
