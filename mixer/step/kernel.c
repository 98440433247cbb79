/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/kernel.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mixer/input/bundle.h"
#include "mixer/input/cache.h"
#include "mixer/input/package.h"
#include "mixer/input/recipe.h"
#include "mixer/step/build_profile.h"
#include "mixer/step/local_debs.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot.h"
#include "swupd/base/conf.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"

#define KERNELS   "kernels"
#define PREFIX    "limpid-kernel-"
#define TEXT_MAX  (4UL << 20) /* bytes of a profile, fragment or patch */
#define KEY_SHORT 10          /* digits of the key that become part of the version */
#define SOURCE    "linux-source-"
#define STALE     "stale" /* a result's file: it was built without its training, which was another kernel's */

/* Raised whenever the same inputs give another result; the recipe itself is an input. */
#define KERNEL_VERSION 1

/* --- profiles ------------------------------------------------------------------------------------------------------------ */

void kernel_profile_free(struct kernel_profile *p)
{
	if (!p)
		return;
	free(p->name);
	free(p->title);
	strv_free(&p->fragments);
	free(p->cmdline);
	free(p->trained);
	free(p);
}

static int on_key(void *arg, const char *section, const char *key, const char *value, struct err *e)
{
	struct kernel_profile *p = arg;

	if (*section)
		return err_set(e, -ERR_CONFIG, "a profile has no sections, as [%s]", section);
	if (strcmp(key, "fragments") == 0) {
		strv_split(&p->fragments, value, " \t");
	} else if (strcmp(key, "cmdline") == 0) {
		free(p->cmdline);
		p->cmdline = xstrdup(value);
	} else if (strcmp(key, "modules") == 0) {
		if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
			return err_set(e, -ERR_CONFIG, "modules is 'yes' or 'no', not '%s'", value);
		p->modules = value[0] == 'y';
	} else if (strcmp(key, "compiler") == 0) {
		if (strcmp(value, "gcc") != 0 && strcmp(value, "clang") != 0)
			return err_set(e, -ERR_CONFIG, "compiler is 'gcc' or 'clang', not '%s'", value);
		p->clang = value[0] == 'c';
	} else if (strcmp(key, "trained") == 0) {
		if (!bundle_name_valid(value))
			return err_set(e, -ERR_CONFIG, "'%s' is no name of what a kernel is trained with", value);
		free(p->trained);
		p->trained = xstrdup(value);
	} else {
		return err_set(e, -ERR_CONFIG,
			       "a profile has no key '%s' (there are fragments, cmdline, modules, compiler, trained)",
			       key);
	}
	return 0;
}

int kernel_profile_parse(const char *text, size_t len, const char *name, const char *file, struct kernel_profile **out,
			 struct err *e)
{
	_cleanup_(kernel_profile_freep) struct kernel_profile *p = xcalloc(1, sizeof(*p));

	p->name = xstrdup(name);
	p->title = conf_title(text, len);
	p->cmdline = xstrdup("");
	int r = conf_parse(text, len, file, on_key, p, e);
	if (r < 0)
		return r;
	if (p->fragments.n == 0)
		return err_set(e, -ERR_CONFIG, "%s: the profile has no fragments", file);
	for (size_t i = 0; i < p->fragments.n; i++)
		if (strchr(p->fragments.items[i], '/'))
			return err_set(e, -ERR_CONFIG, "%s: '%s' is no name of a fragment", file,
				       p->fragments.items[i]);
	*out = take(p);
	return 0;
}

static int need_folder(const struct config *c, struct err *e)
{
	if (c->kernel_config)
		return 0;
	int r = err_set(e, -ERR_CONFIG, "there is no folder of kernel profiles");
	return err_hint(e, r, "'kernel-config =' in mixer.conf names it");
}

int kernel_profile_load(const struct config *c, const char *name, struct kernel_profile **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = need_folder(c, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *file = xasprintf("%s/profiles/%s", c->kernel_config, name);
	if (strchr(name, '/') || !fs_exists(AT_FDCWD, file)) {
		err_set(e, -ERR_CONFIG, "there is no kernel profile '%s' in '%s'", name, c->kernel_config);
		err_hint(e, -ERR_CONFIG, "'mixer kernel list' shows what there is");
		return -ERR_CONFIG;
	}
	r = fs_load(AT_FDCWD, file, TEXT_MAX, &text, e);
	return r < 0 ? r : kernel_profile_parse(text.data, text.len, name, file, out, e);
}

char *kernel_training(const struct config *c, const struct kernel_profile *p)
{
	if (!p->trained)
		return NULL;
	_cleanup_free_ char *name = xasprintf("kernel-%s.profile", p->trained);
	char *path = recipe_file(c, name);
	if (path)
		return path;
	path = xasprintf("%s/trained/%s.profile", c->kernel_config, p->trained);
	if (fs_exists(AT_FDCWD, path))
		return path;
	free(path);
	return NULL;
}

int kernel_profile_names(const struct config *c, struct strv *out, struct err *e)
{
	int r = need_folder(c, e);

	if (r < 0)
		return r;
	_cleanup_free_ char *folder = xasprintf("%s/profiles", c->kernel_config);
	return fs_list(AT_FDCWD, folder, out, e);
}

char *kernel_version_built(const struct config *c, const char *name)
{
	_cleanup_free_ char *package = xasprintf(PREFIX "%s", name);

	return local_debs_version(c, package);
}

int kernel_state(const struct config *c, const char *name, struct kernel_state *out, struct err *e)
{
	_cleanup_(kernel_profile_freep) struct kernel_profile *p = NULL;
	_cleanup_(build_profile_clear) struct build_profile training = {0};
	_cleanup_free_ char *package = xasprintf(PREFIX "%s", name);

	*out = (struct kernel_state){0};
	int r = kernel_profile_load(c, name, &p, e);
	if (r >= 0)
		r = build_profile_load(kernel_training(c, p), &training, e);
	if (r < 0)
		return r;
	out->version = kernel_version_built(c, name);
	out->trained = training.path != NULL;
	out->stale = out->trained && local_debs_is_stale(c, package, &training.sha256);
	return 0;
}

/* --- building ------------------------------------------------------------------------------------------------------------ */

struct kernels {
	const struct mix *m;
	struct toolroot *tools;
	const struct locked_package *source;
	int64_t time; /* of the source package: of all that is made from it */
	int dir;      /* <cache>/kernels */
	char *path;
	int texts;     /* kernel-config/; for a build .work/config, a copy, for somebody may edit it meanwhile */
	bool unpacked; /* the source is in .work/source */
	bool with_training;
};

struct kernel {
	struct kernel_profile *profile;
	struct build_profile training;
	char *flags; /* that tell the compiler of it */
	bool stale;  /* it was another kernel's */
	char key[DIGEST_HEX];
	char *version; /* of the packages */
};

static void kernels_close(struct kernels *k)
{
	toolroot_free(k->tools);
	closep(&k->dir);
	closep(&k->texts);
	free(k->path);
}

static void kernel_clear(struct kernel *k)
{
	kernel_profile_free(k->profile);
	build_profile_clear(&k->training);
	free(k->flags);
	free(k->version);
}

static int copy_text(const struct kernels *k, const char *name, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", k->m->config->kernel_config, name);
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(AT_FDCWD, path, TEXT_MAX, &text, e);
	return r < 0 ? r : fs_save_cache(k->texts, name, text.data, text.len, 0644, e);
}

static int copy_texts(struct kernels *k, struct err *e)
{
	static const char *const folders[][2] = {{"profiles", ""}, {"fragments", ".config"}, {"patches", ".patch"}};

	closep(&k->texts);
	k->texts = fs_make_dir(k->dir, ".work/config", 0755, e);
	int r = k->texts < 0 ? k->texts : copy_text(k, "build", e);
	if (r >= 0)
		r = copy_text(k, "check", e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(folders); i++) {
		_cleanup_free_ char *folder = xasprintf("%s/%s", k->m->config->kernel_config, folders[i][0]);
		_cleanup_(strv_free) struct strv names = {0};
		r = fs_mkdirs(k->texts, folders[i][0], 0755, e);
		/* there may be no patches */
		if (r >= 0 && fs_exists(AT_FDCWD, folder))
			r = fs_list(AT_FDCWD, folder, &names, e);
		for (size_t n = 0; r >= 0 && n < names.n; n++) {
			_cleanup_free_ char *name = xasprintf("%s/%s", folders[i][0], names.items[n]);
			if (text_ends(name, folders[i][1]))
				r = copy_text(k, name, e);
		}
	}
	return r;
}

static int add_text(const struct kernels *k, const char *name, struct buf *key, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct digest d;
	char hex[DIGEST_HEX];

	int r = fs_load(k->texts, name, TEXT_MAX, &text, e);
	if (r < 0)
		return err_in(e, r, "'%s'", k->m->config->kernel_config);
	sha256_mem(text.data, text.len, &d);
	digest_format(&d, hex);
	buf_printf(key, "%s %s\n", name, hex);
	return 0;
}

/* Everything that a kernel is made of, in one text. */
static int inputs_of(const struct kernels *k, const struct kernel *kernel, struct buf *key, struct err *e)
{
	const struct kernel_profile *p = kernel->profile;
	_cleanup_(strv_free) struct strv patches = {0};
	char hex[DIGEST_HEX];
	_cleanup_free_ char *profile = xasprintf("profiles/%s", p->name);

	buf_printf(key, "kernel %d\ntools %s\n", KERNEL_VERSION, toolroot_key(k->tools));
	int r = add_text(k, "build", key, e);
	if (r >= 0)
		r = add_text(k, "check", key, e);
	if (r >= 0)
		r = add_text(k, profile, key, e);
	for (size_t i = 0; r >= 0 && i < p->fragments.n; i++) {
		_cleanup_free_ char *name = xasprintf("fragments/%s.config", p->fragments.items[i]);
		r = add_text(k, name, key, e);
	}
	/* there may be none */
	if (r >= 0 && fs_exists(k->texts, "patches"))
		r = fs_list(k->texts, "patches", &patches, e);
	for (size_t i = 0; r >= 0 && i < patches.n; i++) {
		_cleanup_free_ char *name = xasprintf("patches/%s", patches.items[i]);
		if (text_ends(name, ".patch"))
			r = add_text(k, name, key, e);
	}
	if (kernel->training.path) {
		digest_format(&kernel->training.sha256, hex);
		buf_printf(key, "training %s\n", hex);
	}
	return r;
}

static int kernel_init(const struct kernels *k, const char *name, struct kernel *out, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("profiles/%s", name);
	_cleanup_(buf_free) struct buf text = {0}, inputs = {0};
	struct digest d;

	int r = fs_load(k->texts, path, TEXT_MAX, &text, e);
	if (r >= 0)
		r = kernel_profile_parse(text.data, text.len, name, path, &out->profile, e);
	if (!out->profile)
		return r < 0 ? r : -ERR_CONFIG;
	if (k->with_training)
		r = build_profile_load(kernel_training(k->m->config, out->profile), &out->training, e);
	if (r >= 0)
		r = inputs_of(k, out, &inputs, e);
	if (r < 0)
		return r;
	sha256_mem(inputs.data, inputs.len, &d);
	digest_format(&d, out->key);
	out->version = xasprintf("%s+limpid.%.*s", k->source->version, KEY_SHORT, out->key);
	return 0;
}

/* The date of the source's .deb, so that what is made of it does not depend on when. */
static int source_time(const struct kernels *k, int64_t *out, struct err *e)
{
	_cleanup_(package_list_freep) struct package_list *list = package_list_new();
	char hex[DIGEST_HEX];

	digest_format(&k->source->sha256, hex);
	_cleanup_free_ char *name = xasprintf("debs/%s.deb", hex);
	int r = fetch_packages(k->m, &(struct lock){.packages = (struct locked_package *)k->source, .n_packages = 1},
			       e);
	if (r >= 0)
		r = package_load(k->m->cache, name, k->m->config->architecture, k->source->repository, 0, list, e);
	if (r >= 0)
		*out = list->n ? list->items[0].time : 0;
	return r;
}

static int kernels_open(const struct mix *m, struct kernels *k, struct err *e)
{
	*k = (struct kernels){.m = m, .dir = -1, .texts = -1};
	int r = need_folder(m->config, e);
	if (r >= 0)
		r = toolroot_open(m, "kernel", &k->tools, e);
	if (r < 0)
		return r;
	k->source = toolroot_find_package(k->tools, SOURCE);
	if (!k->source)
		return err_set(e, -ERR_BUNDLE, "the tools 'kernel' have no package '" SOURCE "…'");
	k->path = xasprintf("%s/" KERNELS, m->config->cache);
	k->dir = fs_make_dir(m->cache, KERNELS, 0755, e);
	return k->dir < 0 ? k->dir : source_time(k, &k->time, e);
}

/* One stage of the recipe. The folders of .work must be there. */
static int run_stage(const struct kernels *k, const struct kernel *kernel, const char *stage, struct err *e)
{
	const struct config *c = k->m->config;
	const char *profile = kernel->profile->name;
	_cleanup_free_ char *config = xasprintf("%s/.work/config", k->path),
			    *source = xasprintf("%s/.work/source", k->path), *out = xasprintf("%s/.work/out", k->path),
			    *build = xasprintf("%s/.work/build", k->path),
			    *training = xasprintf("%s/.work/training", k->path),
			    *flags = xasprintf("FLAGS=%s", kernel->flags ? kernel->flags : ""),
			    *log = xasprintf("%s/log/%s.log", k->path, profile),
			    *shown = xasprintf("kernel %s: %s", profile, stage),
			    *version = xasprintf("VERSION=%s", kernel->version),
			    *source_version = xasprintf("SOURCE_VERSION=%s", k->source->source_version),
			    *jobs = xasprintf("JOBS=%u", c->threads ? c->threads : work_cores());
	const char *argv[] = {"sh", "/mnt/config/build", stage, profile, NULL};
	const char *env[] = {version, source_version, flags, jobs, NULL};
	const struct toolroot_bind binds[] = {
		{config, "/mnt/config", false}, {source, "/mnt/source", !k->unpacked}, {build, "/mnt/build", true},
		{out, "/mnt/out", true},        {training, "/mnt/profile", false},
	};
	const struct toolroot_job job = {
		.argv = argv,
		.env = env,
		.binds = binds,
		.n_binds = ARRAY_LEN(binds),
		.log = log,
		.time = k->time,
	};

	progress_stage(k->m->progress, shown, 0, false);
	int r = toolroot_run(k->tools, &job, e);
	progress_end(k->m->progress);
	return r < 0 ? err_in(e, r, "%s", shown) : 0;
}

static int fresh_folder(int dir, const char *name, struct err *e)
{
	int r = fs_remove_tree(dir, name, e);

	return r < 0 ? r : fs_mkdirs(dir, name, 0755, e);
}

static int unpack(struct kernels *k, struct kernel *kernel, struct err *e)
{
	static const char *const folders[] = {".work/source", ".work/build", ".work/training"};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(folders); i++)
		r = fresh_folder(k->dir, folders[i], e);
	return r < 0 ? r : run_stage(k, kernel, "unpack", e);
}

/* What the compiler shall know of how the kernel runs; nothing when that was another kernel's. */
static int tell_training(struct kernels *k, struct kernel *kernel, struct err *e)
{
	static const struct build_profile none = {0};
	const struct locked_package *gcc = toolroot_find_package(k->tools, "gcc-");

	int r = fresh_folder(k->dir, ".work/training", e);
	if (r < 0)
		return r;
	_cleanup_close_ int dir = fs_open_dir(k->dir, ".work/training", e);
	if (dir < 0)
		return dir;
	free(kernel->flags);
	kernel->flags = NULL;
	return build_profile_write(kernel->stale ? &none : &kernel->training, kernel->profile->name,
				   kernel->profile->clang, gcc ? build_profile_gcc(gcc->name) : 0, dir, &kernel->flags,
				   e);
}

static int check_training(struct kernels *k, struct kernel *kernel, struct err *e)
{
	uint32_t permille;

	if (!kernel->training.path)
		return 0;
	_cleanup_close_ int vmlinux = openat(k->dir, ".work/build/vmlinux", O_RDONLY | O_CLOEXEC);
	if (vmlinux < 0)
		return err_errno(e, "'%s/.work/build/vmlinux'", k->path);
	int r = build_profile_match(&kernel->training, &vmlinux, 1, &permille, e);
	if (r < 0)
		return err_in(e, r, "kernel %s: its training", kernel->profile->name);
	kernel->stale = permille < BUILD_PROFILE_FITS;
	return 0;
}

static int compile(struct kernels *k, struct kernel *kernel, struct err *e)
{
	int r = fresh_folder(k->dir, ".work/build", e);
	if (r >= 0)
		r = tell_training(k, kernel, e);
	if (r >= 0)
		r = run_stage(k, kernel, "configure", e);
	return r < 0 ? r : run_stage(k, kernel, "compile", e);
}

/* From source to .work/out, which becomes <key> when all of it is on disk. */
static int build_one(struct kernels *k, struct kernel *kernel, struct err *e)
{
	_cleanup_free_ char *log = xasprintf("log/%s.log", kernel->profile->name);

	ui_message(k->m->ui, "kernel %s: building %s; '%s/%s' grows", kernel->profile->name, kernel->version, k->path,
		   log);
	int r = fs_mkdirs(k->dir, "log", 0755, e);
	if (r >= 0 && unlinkat(k->dir, log, 0) < 0 && errno != ENOENT)
		r = err_errno(e, "'%s/%s'", k->path, log);
	if (r >= 0)
		r = fresh_folder(k->dir, ".work/out", e);
	if (r >= 0 && !k->unpacked) {
		r = unpack(k, kernel, e);
		k->unpacked = r >= 0;
	}
	if (r >= 0)
		r = compile(k, kernel, e);
	if (r >= 0)
		r = check_training(k, kernel, e);
	if (r >= 0 && kernel->stale)
		r = compile(k, kernel, e);
	if (r >= 0)
		r = run_stage(k, kernel, "package", e);
	if (r < 0)
		return r;
	_cleanup_close_ int out = fs_open_dir(k->dir, ".work/out", e);
	if (out < 0)
		return out;
	r = kernel->stale ? fs_save_cache(out, STALE, "", 0, 0644, e) : 0;
	if (r < 0)
		return r;
	if (syncfs(out) < 0 || renameat(k->dir, ".work/out", k->dir, kernel->key) < 0)
		return err_errno(e, "'%s/%s'", k->path, kernel->key);
	return 0;
}

static int hand_over(const struct kernels *k, const struct kernel *kernel, int debs, struct err *e)
{
	_cleanup_close_ int from = fs_open_dir(k->dir, kernel->key, e);

	int r = from < 0 ? from : local_debs_put(from, debs, NULL, e);
	const bool stale = r >= 0 && fs_exists(from, STALE);
	if (stale)
		ui_warn(k->m->ui,
			"kernel %s: built without its training, '%s', which was another kernel's: record it again",
			kernel->profile->name, kernel->training.path);
	_cleanup_free_ char *package = xasprintf(PREFIX "%s", kernel->profile->name);
	if (r >= 0)
		r = local_debs_mark(debs, package, kernel->version, stale ? &kernel->training.sha256 : NULL, e);
	return r < 0 ? err_in(e, r, "kernel %s", kernel->profile->name) : 0;
}

/* 1: it was in the cache and is in debs now; 0: it was not */
static int find_one(const struct kernels *k, const struct kernel *kernel, int debs, struct err *e)
{
	struct stat st;

	if (fstatat(k->dir, kernel->key, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	cache_used(k->dir, kernel->key, &st);
	int r = hand_over(k, kernel, debs, e);
	if (r < 0)
		return r;
	ui_message(k->m->ui, "kernel %s: %s, as before", kernel->profile->name, kernel->version);
	return 1;
}

static int build_or_find(struct kernels *k, const char *name, int debs, struct err *e)
{
	_cleanup_(kernel_clear) struct kernel kernel = {0};
	const int64_t begin = time(NULL);

	int r = kernel_init(k, name, &kernel, e);
	if (r >= 0)
		r = find_one(k, &kernel, debs, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = build_one(k, &kernel, e);
	if (r >= 0)
		r = hand_over(k, &kernel, debs, e);
	if (r >= 0)
		ui_message(k->m->ui, "kernel %s: %s, built in %lld s", name, kernel.version,
			   (long long)(time(NULL) - begin));
	return r;
}

/* What is in the cache is taken without waiting for somebody who builds another. Those that are not: missing. */
static int find_all(struct kernels *k, const struct strv *names, int debs, struct strv *missing, struct err *e)
{
	k->texts = fs_open_dir(AT_FDCWD, k->m->config->kernel_config, e);
	int r = k->texts < 0 ? k->texts : 0;
	for (size_t i = 0; r >= 0 && i < names->n; i++) {
		_cleanup_(kernel_clear) struct kernel kernel = {0};
		r = kernel_init(k, names->items[i], &kernel, e);
		if (r >= 0)
			r = find_one(k, &kernel, debs, e);
		if (r == 0)
			strv_add(missing, names->items[i]);
	}
	return r;
}

int kernel_build(const struct mix *m, const struct strv *names, bool with_training, struct err *e)
{
	_cleanup_(kernels_close) struct kernels k = {.dir = -1, .texts = -1};

	int r = kernels_open(m, &k, e);
	k.with_training = with_training;
	if (r < 0)
		return r;
	_cleanup_(strv_free) struct strv missing = {0};
	_cleanup_close_ int debs = fs_make_dir(m->config->dir, "local-debs", 0755, e);
	r = debs < 0 ? debs : find_all(&k, names, debs, &missing, e);
	if (r < 0 || missing.n == 0)
		return r < 0 ? r : 0;
	_cleanup_close_ int lock = cache_lock_builds(k.dir, "kernels", m->ui, e);
	/* what a killed run left */
	r = lock < 0 ? lock : fs_remove_tree(k.dir, ".work", e);
	if (r >= 0)
		r = copy_texts(&k, e);
	for (size_t i = 0; r >= 0 && i < missing.n; i++)
		r = build_or_find(&k, missing.items[i], debs, e);
	if (lock >= 0)
		(void)fs_remove_tree(k.dir, ".work", NULL);
	return r;
}
