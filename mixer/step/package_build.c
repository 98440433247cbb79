/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/package_build.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mixer/input/cache.h"
#include "mixer/input/recipe.h"
#include "mixer/step/build_profile.h"
#include "mixer/step/local_debs.h"
#include "mixer/step/package_debug.h"
#include "mixer/step/package_lock.h"
#include "mixer/step/package_root.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"

#define REBUILDS  "rebuilds"
#define WORK      ".work"
#define TEXT_MAX  (16UL << 20) /* bytes of a patch, or of the script */
#define DSC_MAX   (1UL << 20)
#define KEY_SHORT 10               /* digits of the key that become part of the version */
#define SOURCES   "/usr/src/debug" /* as recipes/build has it */

/* A result's file that says why it was built without its profile: "crash", or how much of that was of functions that the build has */
#define STALE     "stale"
#define STALE_MAX 16 /* bytes */
#define CRASH     "crash\n"

/* Raised whenever the same inputs give another result; the script is itself an input. */
#define REBUILD_VERSION 1

struct text {
	char *name; /* in .work/config */
	struct buf data;
};

struct rebuild {
	const struct mix *m;
	const struct recipe *recipe;
	const struct lock *lock;
	struct build_profile profile;
	struct text
		*texts; /* the script, then patches: what the key is of is what is used, whoever edits them meanwhile */
	size_t n_texts;
	char key[DIGEST_HEX];
	char *version; /* of the packages */
	char *flags;   /* of the recipe and of the profile */
	struct toolroot *root;
	int dir; /* <cache>/rebuilds */
	char *path;
	bool stale;        /* it is built without its profile: that did not fit, */
	bool crashed;      /* or the compiler crashed on it */
	uint32_t permille; /* how much of it did fit */
};

static void rebuild_clear(struct rebuild *b)
{
	build_profile_clear(&b->profile);
	for (size_t i = 0; i < b->n_texts; i++) {
		free(b->texts[i].name);
		buf_free(&b->texts[i].data);
	}
	free(b->texts);
	free(b->version);
	free(b->flags);
	toolroot_free(b->root);
	closep(&b->dir);
	free(b->path);
}

/* --- inputs -------------------------------------------------------------------------------------------------------------- */

static int add_text(struct rebuild *b, const char *path, const char *name, struct err *e)
{
	struct text *t = &b->texts[b->n_texts];

	int r = fs_load(AT_FDCWD, path, TEXT_MAX, &t->data, e);
	if (r < 0)
		return r;
	t->name = xstrdup(name);
	b->n_texts++;
	return 0;
}

static int load_texts(struct rebuild *b, struct err *e)
{
	const struct strv *patches = &b->recipe->patches;
	_cleanup_free_ char *script = recipe_file(b->m->config, "build");

	if (!script) {
		int r = err_set(e, -ERR_CONFIG, "no folder of recipes has 'build', which makes packages");
		return err_hint(e, r, "it lies in recipes/ of Limpid's bundles: 'bundles =' in mixer.conf names them");
	}
	b->texts = xcalloc(patches->n + 1, sizeof(*b->texts));
	int r = add_text(b, script, "build", e);
	for (size_t i = 0; r >= 0 && i < patches->n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/patches/%s", b->recipe->folder, patches->items[i]);
		_cleanup_free_ char *name = xasprintf("patches/%s", patches->items[i]);
		r = add_text(b, path, name, e);
	}
	return r;
}

static void add_digest(struct buf *key, const char *what, const char *name, const struct digest *d)
{
	char hex[DIGEST_HEX];

	digest_format(d, hex);
	buf_printf(key, "%s %s %s\n", what, name, hex);
}

/* Everything that the packages are made of. Not in it: what a recipe says of training, and of people. */
static void make_key(struct rebuild *b)
{
	const struct recipe *recipe = b->recipe;
	_cleanup_(strv_free) struct strv profiles = {0};
	_cleanup_(buf_free) struct buf key = {0};
	struct digest d;

	recipe_build_profiles(recipe, &profiles);
	_cleanup_free_ char *words = strv_join(&profiles, " ");
	buf_printf(&key, "rebuild %d\nsource %s %s\ncompiler %s\nflags %s\nprofiles %s\ncheck %d\n", REBUILD_VERSION,
		   b->lock->source.name, b->lock->source.version, recipe->compiler == COMPILER_CLANG ? "clang" : "gcc",
		   recipe->flags, words, recipe->check);
	for (size_t i = 0; i < b->lock->source.n_files; i++)
		add_digest(&key, "file", b->lock->source.files[i].name, &b->lock->source.files[i].sha256);
	for (size_t i = 0; i < b->lock->n_packages; i++)
		add_digest(&key, "package", b->lock->packages[i].name, &b->lock->packages[i].sha256);
	for (size_t i = 0; i < b->n_texts; i++) {
		sha256_mem(b->texts[i].data.data, b->texts[i].data.len, &d);
		add_digest(&key, "text", b->texts[i].name, &d);
	}
	if (b->profile.path)
		add_digest(&key, "profile", "-", &b->profile.sha256);
	sha256_mem(key.data, key.len, &d);
	digest_format(&d, b->key);
	b->version = xasprintf("%s+limpid.%.*s", b->lock->source.version, KEY_SHORT, b->key);
}

static int find_profile(const struct mix *m, const struct recipe *r, struct build_profile *out, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s.profile", r->name);

	return build_profile_load(recipe_file(m->config, name), out, e);
}

static int rebuild_init(const struct mix *m, const struct recipe *r, const struct lock *l, bool with_profile,
			struct rebuild *b, struct err *e)
{
	*b = (struct rebuild){.m = m, .recipe = r, .lock = l, .dir = -1};
	int result = with_profile ? find_profile(m, r, &b->profile, e) : 0;
	if (result >= 0)
		result = load_texts(b, e);
	if (result >= 0)
		make_key(b);
	return result;
}

/* As file names have it */
static const char *without_epoch(const char *version)
{
	const char *colon = strchr(version, ':');

	return colon ? colon + 1 : version;
}

/* --- stages -------------------------------------------------------------------------------------------------------------- */

static int save_texts(const struct rebuild *b, int config, struct err *e)
{
	_cleanup_(buf_free) struct buf series = {0};
	int r = fs_mkdirs(config, "patches", 0755, e);

	for (size_t i = 0; r >= 0 && i < b->n_texts; i++)
		r = fs_save_cache(config, b->texts[i].name, b->texts[i].data.data, b->texts[i].data.len, 0644, e);
	buf_puts(&series, "");
	for (size_t i = 0; i < b->recipe->patches.n; i++)
		buf_printf(&series, "%s\n", b->recipe->patches.items[i]);
	return r < 0 ? r : fs_save_cache(config, "series", series.data, series.len, 0644, e);
}

/* The source package under its names, and it must be one piece. */
static int collect_source(const struct rebuild *b, int dir, struct err *e)
{
	const struct locked_source *s = &b->lock->source;
	const char *dsc = NULL;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->n_files; i++) {
		char hex[DIGEST_HEX];
		digest_format(&s->files[i].sha256, hex);
		_cleanup_free_ char *file = xasprintf("sources/%s", hex);
		r = fs_link_or_copy(b->m->cache, file, dir, s->files[i].name, e);
		if (text_ends(s->files[i].name, ".dsc"))
			dsc = s->files[i].name;
	}
	if (r < 0)
		return r;
	if (!dsc)
		return err_set(e, -ERR_FORMAT, "source '%s' %s has no .dsc", s->name, s->version);
	_cleanup_(buf_free) struct buf text = {0};
	r = fs_load(dir, dsc, DSC_MAX, &text, e);
	if (r >= 0)
		r = source_check_dsc(text.data, text.len, s->files, s->n_files, e);
	return r < 0 ? err_in(e, r, "'%s'", dsc) : 0;
}

/* One stage of the script. The folders of .work must be there. */
static int run_stage(const struct rebuild *b, const char *stage, struct err *e)
{
	const struct config *c = b->m->config;
	_cleanup_(strv_free) struct strv words = {0};
	recipe_build_profiles(b->recipe, &words);
	_cleanup_free_ char *config = xasprintf("%s/" WORK "/config", b->path),
			    *source = xasprintf("%s/" WORK "/source", b->path),
			    *build = xasprintf("%s/" WORK "/build", b->path),
			    *out = xasprintf("%s/" WORK "/out", b->path),
			    *profile = xasprintf("%s/" WORK "/profile", b->path),
			    *log = xasprintf("%s/log/%s.log", b->path, b->recipe->name),
			    *shown = xasprintf("package %s: %s", b->recipe->name, stage),
			    *name = xasprintf("SOURCE=%s", b->lock->source.name),
			    *version = xasprintf("VERSION=%s", b->version), *flags = xasprintf("FLAGS=%s", b->flags),
			    *profiles = strv_join(&words, " "), *set = xasprintf("PROFILES=%s", profiles),
			    *jobs = xasprintf("JOBS=%u", c->threads ? c->threads : work_cores());
	const char *argv[] = {"sh", "/mnt/config/build", stage, NULL};
	const char *env[] = {name,
			     version,
			     flags,
			     set,
			     jobs,
			     b->recipe->compiler == COMPILER_CLANG ? "COMPILER=clang" : "COMPILER=gcc",
			     b->recipe->check ? "CHECK=yes" : "CHECK=no",
			     NULL};
	const struct toolroot_bind binds[] = {
		{config, "/mnt/config", false}, {source, "/mnt/source", false},   {build, "/mnt/build", true},
		{out, "/mnt/out", true},        {profile, "/mnt/profile", false},
	};
	const struct toolroot_job job = {
		.argv = argv,
		.env = env,
		.binds = binds,
		.n_binds = ARRAY_LEN(binds),
		.log = log,
	};

	progress_stage(b->m->progress, shown, 0, false);
	int r = toolroot_run(b->root, &job, e);
	progress_end(b->m->progress);
	return r < 0 ? err_in(e, package_space(b->m, b->dir, r, e), "%s", shown) : 0;
}

/* Which sources debuggers will ask for: those that are there */
static int list_sources(const struct rebuild *b, struct err *e)
{
	_cleanup_free_ char *prefix = xasprintf(SOURCES "/%s-%s", b->lock->source.name, without_epoch(b->version));
	_cleanup_close_ int debug = fs_open_dir(b->dir, WORK "/build/debug", e);
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_(buf_free) struct buf text = {0};

	int r = debug < 0 ? debug : debug_sources_below(debug, prefix, &names, e);
	if (r < 0)
		return err_in(e, r, "package %s: debug information", b->recipe->name);
	_cleanup_close_ int source = fs_open_dir(b->dir, WORK "/build/source", e);
	_cleanup_close_ int config = source < 0 ? source : fs_open_dir(b->dir, WORK "/config", e);
	if (config < 0)
		return config;
	buf_puts(&text, "");
	for (size_t i = 0; i < names.n; i++) {
		struct stat st;
		_cleanup_close_ int fd = fs_open_beneath(source, names.items[i], O_PATH, 0, NULL);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			buf_printf(&text, "%s\n", names.items[i]);
	}
	return fs_save_cache(config, "sources", text.data, text.len, 0644, e);
}

static int make_folders(struct rebuild *b, struct err *e)
{
	static const char *const folders[] = {WORK "/config", WORK "/source",  WORK "/build",
					      WORK "/out",    WORK "/profile", "log"};
	_cleanup_free_ char *log = xasprintf("log/%s.log", b->recipe->name);
	int r = fs_remove_tree(b->dir, WORK, e);

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(folders); i++)
		r = fs_mkdirs(b->dir, folders[i], 0755, e);
	if (r >= 0 && unlinkat(b->dir, log, 0) < 0 && errno != ENOENT)
		r = err_errno(e, "'%s/%s'", b->path, log);
	return r;
}

/* The newest of the build root; 0: there is none. */
static unsigned gcc_major(const struct lock *l)
{
	unsigned major = 0;

	for (size_t i = 0; i < l->n_packages; i++)
		major = MAX(major, build_profile_gcc(l->packages[i].name));
	return major;
}

static int fill_folders(struct rebuild *b, struct err *e)
{
	_cleanup_free_ char *told = NULL;
	_cleanup_close_ int config = fs_open_dir(b->dir, WORK "/config", e);
	_cleanup_close_ int source = config < 0 ? config : fs_open_dir(b->dir, WORK "/source", e);
	_cleanup_close_ int profile = source < 0 ? source : fs_open_dir(b->dir, WORK "/profile", e);
	int r = profile < 0 ? profile : save_texts(b, config, e);
	if (r >= 0)
		r = collect_source(b, source, e);
	const struct build_profile none = {0};
	if (r >= 0)
		r = build_profile_write(b->stale ? &none : &b->profile, b->recipe->name,
					b->recipe->compiler == COMPILER_CLANG, gcc_major(b->lock), profile, &told, e);
	free(b->flags);
	b->flags = NULL;
	if (r >= 0)
		b->flags = xasprintf("%s%s%s", b->recipe->flags, *told ? " " : "", told);
	return r;
}

struct debug_fds {
	int *items;
	size_t n, cap;
};

static int debug_add(void *arg, const char *path, int fd, struct err *e)
{
	struct debug_fds *fds = arg;

	if (!text_ends(path, ".debug"))
		return 0;
	const int mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (mine < 0)
		return err_errno(e, "%s", path);
	VEC_GROW(fds->items, fds->n, fds->cap);
	fds->items[fds->n++] = mine;
	return 0;
}

static void debug_close(struct debug_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		close(fds->items[i]);
	free(fds->items);
}

/* Does the profile fit what was built with it? */
static int check_profile(struct rebuild *b, struct err *e)
{
	_cleanup_(debug_close) struct debug_fds fds = {0};

	_cleanup_close_ int debug = fs_open_dir(b->dir, WORK "/build/debug", e);
	int r = debug < 0 ? debug : fs_each_file(debug, debug_add, &fds, e);
	if (r >= 0)
		r = build_profile_match(&b->profile, fds.items, fds.n, &b->permille, e);
	if (r < 0)
		return err_in(e, r, "package %s: its profile", b->recipe->name);
	b->stale = b->permille < BUILD_PROFILE_FITS;
	return 0;
}

static int compile(struct rebuild *b, struct err *e)
{
	int r = make_folders(b, e);
	if (r >= 0)
		r = fill_folders(b, e);
	if (r < 0)
		return err_in(e, r, "package %s", b->recipe->name);
	r = run_stage(b, "unpack", e);
	return r < 0 ? r : run_stage(b, "compile", e);
}

/* Did a compiler that was told of a profile crash, not find an error? gcc and clang say so in their own words. */
static bool is_crash(const struct rebuild *b, int r, const struct err *why)
{
	static const char *const words[] = {"internal compiler error", "clang frontend command failed",
					    "PLEASE submit a bug report"};

	for (size_t i = 0; r == -ERR_CHILD && b->profile.path && i < ARRAY_LEN(words); i++)
		if (strstr(why->text, words[i]))
			return true;
	return false;
}

/* gcc falls over some functions of which a profile says that they are called by pointer: then it is not told of any, and at last of nothing. */
static int compile_with_profile(struct rebuild *b, struct err *e)
{
	struct err why = ERR_INIT;

	int r = compile(b, &why);
	if (is_crash(b, r, &why)) {
		ui_warn(b->m->ui,
			"package %s: the compiler crashed on its profile; again without the functions that are called "
			"by pointer",
			b->recipe->name);
		err_clear(&why);
		b->profile.no_targets = true;
		r = compile(b, &why);
	}
	if (is_crash(b, r, &why)) {
		err_clear(&why);
		b->stale = b->crashed = true;
		r = compile(b, &why);
	}
	if (r < 0)
		err_move(e, &why);
	return r;
}

static int note_stale(const struct rebuild *b, int out, struct err *e)
{
	char text[STALE_MAX] = CRASH;

	if (!b->crashed)
		snprintf(text, sizeof(text), "%" PRIu32 "\n", b->permille);
	return b->stale ? fs_save_cache(out, STALE, text, strlen(text), 0644, e) : 0;
}

/* To .work/out, which becomes <key> when all of it is on disk. */
static int build(struct rebuild *b, struct err *e)
{
	ui_message(b->m->ui, "package %s: building %s %s; '%s/log/%s.log' grows", b->recipe->name, b->lock->source.name,
		   b->version, b->path, b->recipe->name);
	int r = compile_with_profile(b, e);
	if (r >= 0 && b->profile.path && !b->stale) {
		r = check_profile(b, e);
		if (r >= 0 && b->stale)
			r = compile(b, e);
	}
	if (r >= 0)
		r = list_sources(b, e);
	if (r >= 0)
		r = run_stage(b, "publish", e);
	if (r < 0)
		return r;
	_cleanup_close_ int out = fs_open_dir(b->dir, WORK "/out", e);
	if (out < 0)
		return out;
	r = note_stale(b, out, e);
	if (r < 0)
		return r;
	if (syncfs(out) < 0 || renameat(b->dir, WORK "/out", b->dir, b->key) < 0)
		return err_errno(e, "'%s/%s'", b->path, b->key);
	return 0;
}

/* --- around them --------------------------------------------------------------------------------------------------------- */

/* What the mix uses from now on has its profile, or is marked and told. from: the result */
static int tell_stale(const struct rebuild *b, int from, int debs, struct err *e)
{
	_cleanup_free_ char *sources = xasprintf("%s-dbgsrc", b->lock->source.name);
	_cleanup_(buf_free) struct buf text = {0};

	const bool stale = fs_load(from, STALE, STALE_MAX, &text, NULL) >= 0;
	if (stale)
		ui_warn(b->m->ui, "package %s: built without its profile, '%s', %s: record it again", b->recipe->name,
			b->profile.path,
			strcmp(text.data, CRASH) == 0 ? "on which the compiler crashed"
						      : "which is of another program or version");
	return local_debs_mark(debs, sources, without_epoch(b->version), stale ? &b->profile.sha256 : NULL, e);
}

/* 1: it was in the cache and is in local-debs now; 0: it was not */
static int find(const struct rebuild *b, int debs, struct err *e)
{
	_cleanup_close_ int from = openat(b->dir, b->key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (from < 0)
		return errno == ENOENT ? 0 : err_errno(e, "'%s/%s'", b->path, b->key);
	if (fstat(from, &st) == 0)
		cache_used(b->dir, b->key, &st);
	int r = local_debs_put(from, debs, b->lock->source.name, e);
	if (r >= 0)
		r = tell_stale(b, from, debs, e);
	return r < 0 ? err_in(e, r, "package %s", b->recipe->name) : 1;
}

static int build_and_find(struct rebuild *b, int debs, struct err *e)
{
	const int64_t begin = time(NULL);
	_cleanup_free_ char *root = NULL;
	char key[DIGEST_HEX];

	int r = fetch_source(b->m, b->lock, e);
	if (r >= 0)
		r = package_root(b->m, b->lock, &root, key, e);
	if (r < 0)
		return err_in(e, package_space(b->m, b->dir, r, e), "package %s", b->recipe->name);
	b->root = toolroot_at(root, b->recipe->name);
	_cleanup_close_ int lock = cache_lock_builds(b->dir, "packages", b->m->ui, e);
	if (lock < 0)
		return lock;
	/* while we waited */
	r = find(b, debs, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = build(b, e);
	if (r == -ENOSPC)
		r = err_in(e, package_space(b->m, b->dir, r, e), "package %s", b->recipe->name);
	(void)fs_remove_tree(b->dir, WORK, NULL);
	if (r >= 0)
		r = find(b, debs, e);
	if (r >= 0)
		ui_message(b->m->ui, "package %s: %s, built in %lld s", b->recipe->name, b->version,
			   (long long)(time(NULL) - begin));
	return r < 0 ? r : 0;
}

int package_build(const struct mix *m, struct recipe *recipe, bool with_profile, struct err *e)
{
	_cleanup_(rebuild_clear) struct rebuild b = {.dir = -1};
	_cleanup_(lock_freep) struct lock *l = NULL;

	int r = package_lock_get(m, recipe, &l, e);
	if (r >= 0)
		r = rebuild_init(m, recipe, l, with_profile, &b, e);
	if (r < 0)
		return r;
	b.path = xasprintf("%s/" REBUILDS, m->config->cache);
	b.dir = fs_make_dir(m->cache, REBUILDS, 0755, e);
	if (b.dir < 0)
		return b.dir;
	_cleanup_close_ int debs = fs_make_dir(m->config->dir, "local-debs", 0755, e);
	r = debs < 0 ? debs : find(&b, debs, e);
	if (r > 0)
		ui_message(m->ui, "package %s: %s, as before", recipe->name, b.version);
	return r != 0 ? MIN(r, 0) : build_and_find(&b, debs, e);
}

int package_state(const struct mix *m, struct recipe *recipe, struct package_state *out, struct err *e)
{
	_cleanup_(rebuild_clear) struct rebuild b = {.dir = -1};
	_cleanup_(lock_freep) struct lock *l = NULL;
	_cleanup_free_ char *sources = xasprintf("%s-dbgsrc", recipe->source);

	*out = (struct package_state){0};
	int r = lock_load_recipe(m->config, recipe->name, &l, e);
	if (r == -ENOENT) {
		err_clear(e);
		r = find_profile(m, recipe, &b.profile, e);
	} else if (r >= 0) {
		r = rebuild_init(m, recipe, l, true, &b, e);
	}
	if (r < 0)
		return r;
	out->profile = b.profile.path != NULL;
	out->version = local_debs_version(m->config, sources);
	out->stale = out->profile && local_debs_is_stale(m->config, sources, &b.profile.sha256);
	out->current = l && out->version && package_lock_is_current(m, recipe, l) &&
		       strcmp(out->version, without_epoch(b.version)) == 0;
	return 0;
}
