/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/make.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/image/content.h"
#include "mixer/image/image.h"
#include "mixer/image/sidecar.h"
#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

#define KERNELS "/usr/lib/kernel"
#define TOOLS   "image" /* the set of tools */
#define RECIPE                                                                                                         \
	"limpid-image 1\n" /* of what the bytes of an image depend on besides its inputs: changed with the code of a kind */
#define SPACE_EXTRA (16UL << 20) /* bytes that a file system may have beside its content */
#define BLAMED      4            /* bundles that are named when a budget does not hold */

typedef int kind_fn(struct image_job *job, struct err *e);
static kind_fn *const kinds[IMAGE_KINDS] = {
	[IMAGE_KATA] = image_kata,         [IMAGE_DISK] = image_disk,     [IMAGE_DAX_EROFS] = image_dax_erofs,
	[IMAGE_DAX_EXT4] = image_dax_ext4, [IMAGE_INITRD] = image_initrd, [IMAGE_OCI] = image_oci,
	[IMAGE_TAR] = image_tar,
};

struct image_maker {
	const struct mix *m;
	uint32_t number;
	struct image_release *release;
	struct toolroot *tools; /* opened when a kind needs them */
	char *path;             /* update/images/<V>, below the workspace */
	int dir;
};

/* --- the maker ------------------------------------------------------------------------------------------------------------ */

void image_maker_close(struct image_maker *k)
{
	if (!k)
		return;
	image_release_close(k->release);
	toolroot_free(k->tools);
	closep(&k->dir);
	free(k->path);
	free(k);
}

int image_maker_open(const struct mix *m, uint32_t release, struct image_maker **out, struct err *e)
{
	_cleanup_(image_maker_closep) struct image_maker *k = xcalloc(1, sizeof(*k));

	*k = (struct image_maker){.m = m, .number = release, .path = xasprintf("update/images/%u", release), .dir = -1};
	int r = image_release_open(m, release, &k->release, e);
	if (r < 0)
		return r;
	k->dir = fs_make_dir(m->config->dir, k->path, 0755, e);
	if (k->dir < 0)
		return k->dir;
	*out = take(k);
	return 0;
}

void image_made_clear(struct image_made *x)
{
	free(x->path);
	*x = (struct image_made){0};
}

static bool needs_tools(const struct image_definition *d)
{
	switch (d->kind) {
	case IMAGE_INITRD:
	case IMAGE_OCI:
	case IMAGE_TAR:
		return d->codec != CODEC_NONE || d->compressed_budget;
	default:
		return true;
	}
}

/* --- the inputs ----------------------------------------------------------------------------------------------------------- */

/* All that an image is made from, as one digest. */
static void inputs_of(const struct image_maker *k, const struct image_definition *d, char out[DIGEST_HEX])
{
	_cleanup_(buf_free) struct buf b = {0};
	char mom[DIGEST_HEX];
	struct digest digest;

	digest_format(image_release_identity(k->release), mom);
	buf_printf(&b, RECIPE "mixer %s\nrelease %u %s\ntools %s\nname %s\n", LIMPID_VERSION, k->number, mom,
		   needs_tools(d) ? toolroot_key(k->tools) : "none", d->name);
	image_definition_format(d, &b);
	sha256_mem(b.data, b.len, &digest);
	digest_format(&digest, out);
}

/* --- the tree ------------------------------------------------------------------------------------------------------------- */

static int make_tree(struct image_job *job, struct err *e)
{
	const struct image_definition *d = job->definition;
	static const char init[] = "/usr/sbin/init";

	job->tree = image_tree_copy(job->content->tree);
	if (d->init && !tree_find(job->tree, d->init))
		return err_set(e, -ERR_CONFIG, "init = %s: nothing of its bundles has this path", d->init);
	if (d->init && strcmp(d->init, init) != 0) {
		_cleanup_free_ char *target = xasprintf("../..%s", d->init);
		image_tree_link(job->tree, init, target);
	}
	image_tree_end(job->tree);
	if (d->factory)
		image_tree_factory(job->tree);
	return 0;
}

/* --- budgets -------------------------------------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
	const struct image_bundle *x = *(const struct image_bundle *const *)a,
				  *y = *(const struct image_bundle *const *)b;

	return x->bytes != y->bytes ? (x->bytes < y->bytes) - (x->bytes > y->bytes) : strcmp(x->name, y->name);
}

static int over_budget(const struct image_job *job, const char *what, uint64_t bytes, uint64_t budget, struct err *e)
{
	_cleanup_free_ char *has = text_size(bytes), *over = text_size(bytes - budget), *may = text_size(budget);
	_cleanup_free_ const struct image_bundle **bundles = xcalloc(job->content->n, sizeof(*bundles));
	_cleanup_(buf_free) struct buf list = {0};

	for (size_t i = 0; i < job->content->n; i++)
		bundles[i] = &job->content->bundles[i];
	qsort(bundles, job->content->n, sizeof(*bundles), by_bytes);
	for (size_t i = 0; i < MIN(job->content->n, (size_t)BLAMED); i++) {
		_cleanup_free_ char *size = text_size(bundles[i]->bytes);
		buf_printf(&list, "%s'%s' %s", i ? ", " : "", bundles[i]->name, size);
	}
	return err_set(e, -ERR_LIMIT, "%s%s is %s more than its budget of %s; of its bundles, by their own files: %s",
		       has, what, over, may, list.data);
}

static int check_budgets(struct image_job *job, uint64_t bytes, struct err *e)
{
	const struct image_definition *d = job->definition;
	struct stat st;

	if (d->budget && bytes > d->budget)
		return over_budget(job, "", bytes, d->budget, e);
	if (!d->compressed_budget)
		return 0;
	/* what is compressed already is measured as it is */
	if (d->codec != CODEC_NONE) {
		return bytes > d->compressed_budget ? over_budget(job, " compressed", bytes, d->compressed_budget, e)
						    : 0;
	}
	int r = image_compress(job, CODEC_ZSTD, job->outputs.items[0], ".compressed", e);
	if (r >= 0 && fstatat(job->work, ".compressed", &st, 0) < 0)
		r = err_errno(e, ".compressed");
	if (r < 0)
		return r;
	(void)unlinkat(job->work, ".compressed", 0);
	image_say_number(job, "compressed-bytes", (uint64_t)st.st_size);
	return (uint64_t)st.st_size > d->compressed_budget
		       ? over_budget(job, " compressed", (uint64_t)st.st_size, d->compressed_budget, e)
		       : 0;
}

/* --- the kernel ----------------------------------------------------------------------------------------------------------- */

static int no_such_kernel(struct image_maker *k, const char *name, struct err *e)
{
	_cleanup_(tree_freep) struct tree *all = tree_new();
	_cleanup_(strv_free) struct strv names = {0};

	int r = image_release_folder(k->release, KERNELS, all, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < all->n; i++) {
		const char *profile = all->nodes[i].path + strlen(KERNELS "/"), *slash = strchr(profile, '/');
		if (slash && strcmp(slash, "/vmlinux") == 0)
			strv_take(&names, xstrndup(profile, (size_t)(slash - profile)));
	}
	strv_sort_unique(&names);
	_cleanup_free_ char *list = strv_join(&names, ", ");
	r = err_set(e, -ERR_CONFIG, "release %u has no kernel '%s' (" KERNELS "/%s/vmlinux)", k->number, name, name);
	return names.n ? err_hint(e, r, "it has %s", list)
		       : err_hint(e, r, "'mixer kernel build %s' and the bundle kernel-%s make one", name, name);
}

/* The kernel's files go to the job, named for the profile: images of a release share them. */
static int add_kernel(struct image_maker *k, struct image_job *job, struct err *e)
{
	static const char *const files[][2] = {{"vmlinux", "vmlinux"}, {"bzImage", "bzimage"}};
	const char *name = job->definition->kernel;
	_cleanup_(tree_freep) struct tree *t = tree_new();
	_cleanup_free_ char *dir = xasprintf(KERNELS "/%s", name ? name : "");

	if (!name)
		return 0;
	int r = image_release_folder(k->release, dir, t, e);
	if (r < 0)
		return r;
	image_say_text(job, "kernel", name);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, files[i][0]);
		_cleanup_free_ char *file = xasprintf("%s-%s", files[i][0], name);
		const struct node *n = tree_find(t, path);
		if (!n && i == 0)
			return no_such_kernel(k, name, e);
		if (!n)
			continue;
		_cleanup_close_ int in = store_get_fd(k->m->store, &n->hash, e);
		_cleanup_close_ int fd = in < 0 ? -1 : image_create(job, file, e);
		r = in < 0 ? in : fd < 0 ? fd : fs_copy_fd(in, fd, n->attrs.size, e);
		if (r < 0)
			return err_in(e, r, "%s", path);
		image_output(job, file);
		image_say_text(job, files[i][1], file);
	}
	return 0;
}

/* --- results -------------------------------------------------------------------------------------------------------------- */

/* A result gets its name; a directory changes places with the one that was there. */
static int place(const struct image_maker *k, const struct image_job *job, const char *name, struct err *e)
{
	struct stat st;

	if (fstatat(job->work, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "%s", name);
	const unsigned how = S_ISDIR(st.st_mode) && fs_exists(k->dir, name) ? RENAME_EXCHANGE : 0;
	return renameat2(job->work, name, k->dir, name, how) < 0 ? err_errno(e, "%s", name) : 0;
}

/* A kernel that is there already stays: who runs it may have it open. */
static int same_file(const struct image_maker *k, const struct image_job *job, const char *name)
{
	_cleanup_close_ int a = openat(job->work, name, O_RDONLY | O_CLOEXEC),
			    b = openat(k->dir, name, O_RDONLY | O_CLOEXEC);
	struct digest x, y;
	struct stat s, t;

	return a >= 0 && b >= 0 && fstat(a, &s) == 0 && fstat(b, &t) == 0 && s.st_size == t.st_size &&
	       S_ISREG(s.st_mode) && sha256_fd(a, &x, NULL) >= 0 && sha256_fd(b, &y, NULL) >= 0 && digest_equal(&x, &y);
}

/* A file, or a directory and all below. Not syncfs(): a busy file system would let us wait for the writes of others. */
static int sync_all(int dirfd, const char *name, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fsync(fd) < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "%s", name);
	int r = S_ISDIR(st.st_mode) ? fs_list(fd, ".", &names, e) : 0;
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		r = sync_all(fd, names.items[i], e);
	return r;
}

static int commit(struct image_maker *k, struct image_job *job, const struct buf *text, struct err *e)
{
	_cleanup_free_ char *sidecar = xasprintf("%s.json", job->definition->name);
	_cleanup_free_ char *old = sidecar_load(k->dir, job->definition->name, "file");

	int r = 0;
	for (size_t i = 0; r >= 0 && i < job->outputs.n; i++)
		r = sync_all(job->work, job->outputs.items[i], e);
	if (r < 0)
		return r;
	/* while names change there is no sidecar: it would speak of other files */
	if (unlinkat(k->dir, sidecar, 0) < 0 && errno != ENOENT)
		return err_errno(e, "%s", sidecar);
	for (size_t i = 0; i < job->outputs.n; i++) {
		const char *name = job->outputs.items[i];
		r = i > 0 && same_file(k, job, name) ? 0 : place(k, job, name, e);
		if (r < 0)
			return r;
	}
	/* the image of this name may have been of another kind */
	if (old && !strchr(old, '/') && !strv_has(&job->outputs, old))
		(void)fs_remove_tree(k->dir, old, NULL);
	return fs_save(k->dir, sidecar, text->data, text->len, 0644, e);
}

static void say_all(const struct image_maker *k, struct image_job *job, const struct sidecar_image *image,
		    struct buf *out)
{
	const struct image_definition *d = job->definition;
	_cleanup_(strv_free) struct strv said = job->say;
	_cleanup_free_ char *cmdline = image_all_cmdline(job);
	char inputs[DIGEST_HEX];

	job->say = (struct strv){0};
	inputs_of(k, d, inputs);
	image_say_text(job, "name", d->name);
	image_say_text(job, "kind", image_kind_name(d->kind));
	image_say_text(job, "description", d->description);
	image_say_number(job, "release", job->release);
	image_say_text(job, "file", job->outputs.items[0]);
	image_say_number(job, "bytes", image->bytes);
	image_say_text(job, "sha256", image->hex);
	if (*cmdline)
		image_say_text(job, "cmdline", cmdline);
	for (size_t i = 0; i < said.n; i++)
		strv_add(&job->say, said.items[i]);
	image_say_text(job, "inputs", inputs);
	sidecar_format(&job->say, out);
}

static int finish(struct image_maker *k, struct image_job *job, struct image_made *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct sidecar_image image;

	assert(job->outputs.n > 0); /* a kind that says nothing has failed */
	int r = sidecar_measure(job->work, job->outputs.items[0], &image, e);
	if (r >= 0)
		r = check_budgets(job, image.bytes, e);
	if (r >= 0)
		r = add_kernel(k, job, e);
	if (r < 0)
		return r;
	say_all(k, job, &image, &text);
	r = commit(k, job, &text, e);
	if (r < 0)
		return r;
	*out = (struct image_made){.path = xasprintf("%s/%s", k->path, job->outputs.items[0]), .bytes = image.bytes};
	return 0;
}

/* --- the job -------------------------------------------------------------------------------------------------------------- */

static int check_space(const struct image_maker *k, const struct image_content *c, struct err *e)
{
	uint64_t free_bytes, content = 0;

	/* an archive and what is made of it lie side by side */
	for (size_t i = 0; i < c->n; i++)
		content += c->bundles[i].bytes;
	int r = fs_free_space(k->dir, &free_bytes, e);
	if (r < 0 || free_bytes >= 2 * content + SPACE_EXTRA)
		return r;
	_cleanup_free_ char *has = text_size(free_bytes), *needs = text_size(2 * content + SPACE_EXTRA);
	r = err_set(e, -ERR_SPACE, "there is no room: %s are free, making it takes %s", has, needs);
	return err_hint(e, r, "images of older releases in '%s/update/images' can be removed", k->m->config->path);
}

static int run_job(struct image_maker *k, struct image_job *job, struct image_made *out, struct err *e)
{
	int r = make_tree(job, e);

	if (r >= 0)
		r = kinds[job->definition->kind](job, e);
	if (r == -ENOSPC)
		r = err_as(e, -ERR_SPACE);
	return r < 0 ? r : finish(k, job, out, e);
}

static int make(struct image_maker *k, const struct image_definition *d, struct image_made *out, struct err *e)
{
	_cleanup_(image_content_freep) struct image_content *c = NULL;
	_cleanup_free_ char *work = xasprintf(".new-%s", d->name);
	struct image_job job = {
		.m = k->m,
		.definition = d,
		.release = k->number,
		.time = image_release_time(k->release),
		.identity = *image_release_identity(k->release),
		.source = k->release,
		.work_path = xasprintf("%s/%s/%s", k->m->config->path, k->path, work),
		.tools = k->tools,
	};

	progress_stage(k->m->progress, d->name, 0, false);
	int r = image_content_load(k->release, &d->bundles, &c, e);
	if (r >= 0)
		r = check_space(k, c, e);
	if (r >= 0)
		r = fs_remove_tree(k->dir, work, e); /* of a run that was killed */
	job.content = c;
	job.work = r < 0 ? r : fs_make_dir(k->dir, work, 0755, e);
	r = job.work < 0 ? job.work : run_job(k, &job, out, e);
	(void)fs_remove_tree(k->dir, work, NULL);
	closep(&job.work);
	free(job.work_path);
	tree_free(job.tree);
	strv_free(&job.outputs);
	strv_free(&job.say);
	free(job.cmdline);
	return r;
}

/* Was it made of these inputs, and is it as it was then? */
static bool is_made(const struct image_maker *k, const struct image_definition *d)
{
	static const char *const kernels[] = {"vmlinux", "bzimage"};
	_cleanup_free_ char *inputs = sidecar_load(k->dir, d->name, "inputs"),
			    *file = sidecar_load(k->dir, d->name, "file");
	_cleanup_free_ char *sha256 = sidecar_load(k->dir, d->name, "sha256");
	struct sidecar_image image;
	char want[DIGEST_HEX];

	inputs_of(k, d, want);
	for (size_t i = 0; i < ARRAY_LEN(kernels); i++) {
		_cleanup_free_ char *kernel = sidecar_load(k->dir, d->name, kernels[i]);
		if (kernel && !fs_exists(k->dir, kernel))
			return false;
	}
	return inputs && file && sha256 && strcmp(inputs, want) == 0 &&
	       sidecar_measure(k->dir, file, &image, NULL) >= 0 && strcmp(image.hex, sha256) == 0;
}

int image_make(struct image_maker *k, const struct image_definition *d, bool force, struct image_made *out,
	       struct err *e)
{
	int r = 0;

	if (needs_tools(d) && !k->tools)
		r = toolroot_open(k->m, TOOLS, &k->tools, e);
	if (r >= 0 && !force && is_made(k, d) && image_find_made(k->m, k->number, d->name, out))
		return 1;
	if (r >= 0)
		r = make(k, d, out, e);
	return r < 0 ? err_in(e, r, "image '%s'", d->name) : 0;
}

bool image_find_made(const struct mix *m, uint32_t release, const char *name, struct image_made *out)
{
	_cleanup_free_ char *dir = xasprintf("update/images/%u", release);
	_cleanup_close_ int fd = openat(m->config->dir, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *file = fd < 0 ? NULL : sidecar_load(fd, name, "file");
	_cleanup_free_ char *bytes = fd < 0 ? NULL : sidecar_load(fd, name, "bytes");

	if (!file || !bytes || !fs_exists(fd, file) || text_u64(bytes, 0, UINT64_MAX, &out->bytes) < 0)
		return false;
	out->path = xasprintf("%s/%s", dir, file);
	return true;
}
