/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/image/content.h"
#include "mixer/image/image.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/file.h"

#define CONFIGS  "/usr/lib/dracut/dracut.conf.d"
#define KERNELS  "/usr/lib/kernel"
#define MODULES  "/usr/lib/modules"
#define RECIPE   "limpid-initramfs 1\n" /* changed when the same content gives another initrd */
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

/* The bundle that has the first file of a folder of the release; NULL: the folder is not there */
static int owner_of(const struct image_job *job, const char *dir, const char **out, struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = tree_new();

	int r = image_release_folder(job->source, dir, t, e);
	if (r >= 0)
		*out = t->n ? image_release_owner(job->source, t->nodes[0].path) : NULL;
	return r;
}

static int add_config(const struct image_job *job, const char *config, struct strv *bundles, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf(CONFIGS "/%s", config);
	const char *owner = NULL;

	int r = owner_of(job, dir, &owner, e);
	if (r >= 0 && !owner) {
		r = err_set(e, -ERR_CONFIG, "release %u has no initramfs '%s' (%s/)", job->release, config, dir);
		return err_hint(e, r,
				"'mixer bundle add initramfs', then 'mixer build' make a release that has 'host'");
	}
	if (r >= 0)
		strv_add(bundles, owner);
	return r;
}

static int add_kernel(const struct image_job *job, struct strv *bundles, struct err *e)
{
	const char *kernel = job->definition->kernel, *owner = NULL;
	_cleanup_free_ char *dir = xasprintf(KERNELS "/%s", kernel ? kernel : "");

	int r = kernel ? owner_of(job, dir, &owner, e) : 0;
	if (r >= 0 && kernel && !owner)
		return err_set(e, -ERR_CONFIG, "release %u has no kernel '%s' (%s/)", job->release, kernel, dir);
	if (r >= 0 && owner)
		strv_add(bundles, owner);
	return r;
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

static int load_input(const struct image_job *job, const char *config, struct input *in, struct err *e)
{
	_cleanup_(image_content_freep) struct image_content *content = NULL;
	_cleanup_(strv_free) struct strv bundles = {0};

	int r = add_config(job, config, &bundles, e);
	if (r >= 0)
		r = add_kernel(job, &bundles, e);
	/* an initrd's own bundles are there to be picked from, too */
	for (size_t i = 0; r >= 0 && job->definition->kind == IMAGE_INITRD && i < job->definition->bundles.n; i++)
		strv_add(&bundles, job->definition->bundles.items[i]);
	if (r >= 0)
		r = image_content_load(job->source, &bundles, &content, e);
	if (r < 0)
		return r;
	in->tree = tree_new();
	for (size_t i = 0; i < content->tree->n; i++)
		if (is_wanted(content->tree->nodes[i].path))
			(void)tree_add(in->tree, &content->tree->nodes[i]);
	r = find_modules(in, e);
	if (r >= 0)
		make_key(in, config);
	return r;
}

/* --- dracut --------------------------------------------------------------------------------------------------------------- */

/* What a running system has besides its release */
static const char *const folders[] = {"dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var/tmp"};

static int write_root(const struct image_job *job, const struct input *in, struct err *e)
{
	_cleanup_close_ int dir = fs_make_dir(job->work, ROOT, 0755, e);

	int r = dir < 0 ? dir : tree_checkout(in->tree, job->m->store, dir, e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(folders); i++)
		r = fs_mkdirs(dir, folders[i], 0755, e);
	return r;
}

static int run_dracut(const struct image_job *job, const struct input *in, const char *config, struct err *e)
{
	static const char out[] = "/mnt/work/" ARCHIVE;
	const char *no_modules[] = {"dracut",        "--quiet", "--force",     "--tmpdir", "/tmp",
				    "--add-confdir", config,    "--no-kernel", out,        NULL};
	const char *with_modules[] = {"dracut", "--quiet", "--force",   "--tmpdir", "/tmp", "--add-confdir",
				      config,   "--kver",  in->modules, out,        NULL};
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

static int read_archive(const struct image_job *job, struct tree *t, struct err *e)
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

static struct tree *load_made(const struct mix *m, const char *name)
{
	_cleanup_(tree_freep) struct tree *t = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	if (fs_load(m->cache, name, LIST_MAX, &text, NULL) < 0 || tree_parse(text.data, text.len, &t, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		if (!store_has(m->store, &t->nodes[i]))
			return NULL;
	return take(t);
}

static int save_made(const struct mix *m, const char *name, const struct tree *t, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	tree_format(t, &text);
	int r = fs_mkdirs(m->cache, "made", 0755, e);
	return r < 0 ? r : fs_save_cache(m->cache, name, text.data, text.len, 0644, e);
}

static int make(const struct image_job *job, const struct input *in, const char *config, struct tree *t, struct err *e)
{
	int r = write_root(job, in, e);

	if (r >= 0)
		r = run_dracut(job, in, config, e);
	if (r >= 0)
		r = read_archive(job, t, e);
	/* it would be in the way of the image's own files where room is short */
	(void)unlinkat(job->work, ARCHIVE, 0);
	(void)fs_remove_tree(job->work, ROOT, NULL);
	return r;
}

int initramfs_tree(const struct image_job *job, const char *config, struct tree **out, struct err *e)
{
	_cleanup_(input_clear) struct input in = {0};
	_cleanup_(tree_freep) struct tree *t = NULL;

	int r = load_input(job, config, &in, e);
	if (r < 0)
		return err_in(e, r, "initramfs '%s'", config);
	_cleanup_free_ char *name = xasprintf("made/initramfs-%s", in.key);
	t = load_made(job->m, name);
	if (!t) {
		t = tree_new();
		r = make(job, &in, config, t, e);
		if (r >= 0)
			r = save_made(job->m, name, t, e);
		if (r < 0)
			return err_in(e, r, "initramfs '%s'", config);
	}
	*out = take(t);
	return 0;
}

int initramfs_build(const struct image_job *job, const char *config, enum codec codec, const char *name, struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = NULL;

	int r = initramfs_tree(job, config, &t, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = image_create(job, ARCHIVE, e);
	r = fd < 0 ? fd : image_write_cpio(job, t, fd, e);
	return r < 0 ? r : image_compress(job, codec, ARCHIVE, name, e);
}
