/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/image/content.h"
#include "mixer/input/profile.h"
#include "mixer/input/recipe.h"
#include "mixer/step/kernel.h"
#include "mixer/step/profile_make.h"
#include "mixer/step/record.h"
#include "mixer/step/symbolize.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static int profile_save(const char *path, const struct profile *p, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = profile_write_llvm(p, &text, e);
	return r < 0 ? r : fs_save(AT_FDCWD, path, text.data, text.len, 0644, e);
}

/* --- import: what it and record have in common ----------------------------------------------------------------------------- */

struct import_opts {
	struct strv debug, files;
	uint32_t release;
	const char *root, *source, *workload;
	const char *kernel;  /* only of the kernel of this profile, with its symbols */
	const char *rebuilt; /* not an option: only of packages of this source, with their symbols; NULL: of all */
};

#define IMPORT(field) offsetof(struct import_opts, field)
static const struct opt import_options[] = {
	{0, "release", OPT_U32, IMPORT(release), "V", "that it was recorded in (the newest)", 1, 0},
	{0, "root", OPT_STRING, IMPORT(root), "DIR", "instead: its files are in this directory", 0, 0},
	{0, "debug", OPT_LIST, IMPORT(debug), "PATH,...", "debug information: roots, packages, folders", 0, 0},
	{0, "files", OPT_LIST, IMPORT(files), "PATTERN,...", "only of these paths (all with debug information)", 0, 0},
	{0, "kernel", OPT_STRING, IMPORT(kernel), "PROFILE", "only of this kernel of the release", 0, 0},
	{0, "source", OPT_STRING, IMPORT(source), "TEXT", "source package and version that they are of", 0, 0},
	{0, "workload", OPT_STRING, IMPORT(workload), "FILE", "script that was run", 0, 0},
	{0},
};

static int release_files(const struct mix *m, uint32_t number, struct elf_set *out, struct err *e)
{
	_cleanup_(image_release_closep) struct image_release *release = NULL;
	_cleanup_(tree_freep) struct tree *t = tree_new();

	int r = image_release_open(m, number, &release, e);
	if (r >= 0)
		r = image_release_folder(release, "/usr", t, e);
	for (size_t i = 0; r >= 0 && i < t->n; i++) {
		const struct node *n = &t->nodes[i];
		if (n->attrs.kind != KIND_FILE)
			continue;
		_cleanup_close_ int fd = store_get_fd(m->store, &n->hash, e);
		r = fd < 0 ? fd : elf_set_add(out, n->path, fd, e);
	}
	return r;
}

/* The symbols of packages that were rebuilt from a source, as they are locked; *version: the caller frees it */
static int debug_of_source(const struct mix *m, const char *source, struct debug_files *out, char **version,
			   struct err *e)
{
	_cleanup_(lock_freep) struct lock *l = NULL;

	int r = lock_load(m->config, &l, e);
	for (size_t i = 0; r >= 0 && i < l->n_packages; i++) {
		const struct locked_package *p = &l->packages[i];
		const struct repository *from = config_repository(m->config, p->repository);
		if (strcmp(p->source, source) != 0 || !text_ends(p->name, "-dbgsym") || !from ||
		    from->kind != REPOSITORY_DIRECTORY)
			continue;
		_cleanup_free_ char *path = xasprintf("%s/%s", from->path, p->file);
		free(*version);
		*version = xstrdup(p->source_version);
		r = debug_files_add(out, path, e);
	}
	if (r < 0 || *version)
		return r;
	r = err_set(e, -ERR_MISSING, "the mix has no package rebuilt from %s", source);
	return err_hint(e, r, "'mixer package build', then 'mixer lock' and 'mixer build'");
}

/* The symbols of a kernel as it lies in local-debs, if they are not elsewhere; *version: the caller frees it */
static int debug_of_kernel(const struct mix *m, const char *kernel, struct debug_files *out, char **version,
			   struct err *e)
{
	*version = kernel_version_built(m->config, kernel);
	if (!*version && (out->dirs.n || out->n_debs))
		return 0;
	if (!*version) {
		int r = err_set(e, -ERR_MISSING, "there are no symbols of the kernel '%s' in local-debs", kernel);
		return err_hint(e, r, "'mixer kernel build %s', then 'mixer lock' and 'mixer build'", kernel);
	}
	_cleanup_free_ char *path = xasprintf("%s/local-debs/limpid-kernel-%s-dbg_%s_%s.deb", m->config->path, kernel,
					      *version, m->config->architecture);
	return debug_files_add(out, path, e);
}

/* recording → *out; m may be NULL with a root. Debug information of packages of ours is in local-debs. */
static int import(struct session *s, const struct mix *m, const struct import_opts *o, const char *recording,
		  int64_t when, struct profile **out, struct err *e)
{
	_cleanup_(elf_set_clear) struct elf_set files = {0};
	_cleanup_(debug_files_clear) struct debug_files debug = {.store = m ? m->store : NULL};
	_cleanup_(strv_free) struct strv kernel = {0};
	_cleanup_free_ char *version = NULL, *source = NULL;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < o->debug.n; i++)
		r = debug_files_add(&debug, o->debug.items[i], e);
	if (r >= 0 && o->rebuilt) {
		r = debug_of_source(m, o->rebuilt, &debug, &version, e);
		source = xasprintf("%s %s", o->rebuilt, version ? version : "");
	} else if (r >= 0 && m && o->kernel) {
		r = debug_of_kernel(m, o->kernel, &debug, &version, e);
		source = version ? xasprintf("linux %s", version) : NULL;
	} else if (r >= 0 && m) {
		_cleanup_free_ char *local = xasprintf("%s/local-debs", m->config->path);
		if (fs_exists(AT_FDCWD, local))
			r = debug_files_add(&debug, local, e);
	}
	if (r >= 0)
		r = o->root ? elf_set_add_tree(&files, o->root, e)
			    : release_files(m, o->release ? o->release : m->previous, &files, e);
	if (r < 0)
		return r;
	if (o->kernel) {
		_cleanup_free_ char *path = xasprintf("/usr/lib/kernel/%s/vmlinux", o->kernel);
		strv_add(&kernel, path);
	}
	const struct profile_job job = {.recording = recording,
					.files = &files,
					.only = o->kernel ? &kernel : &o->files,
					.debug = &debug,
					.source = o->source ? o->source
						  : source  ? source
							    : "-",
					.workload = o->workload,
					.time = when};
	return profile_make(&job, &s->ui, out, e);
}

static int import_open(struct session *s, const struct import_opts *o, unsigned flags, struct mix **m, struct err *e)
{
	int r = mix_open(s, flags, m, e);

	if (r >= 0 && !o->release && !(*m)->previous) {
		err_set(e, -ERR_RELEASE, "no release is published yet, whose programs it could be of");
		return err_hint(e, -ERR_RELEASE, "'mixer build' makes one; --root takes another system's files");
	}
	return r;
}

static int import_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct import_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(profile_freep) struct profile *p = NULL;
	struct stat st;

	if (stat(args->items[0], &st) < 0)
		return err_errno(e, "%s", args->items[0]);
	/* with a root there may be no workspace; one has a store, which packages are unpacked into */
	_cleanup_free_ char *conf = xasprintf("%s/mixer.conf", s->workspace);
	int r = !o->root                    ? import_open(s, o, MIX_STORE, &m, e)
		: fs_exists(AT_FDCWD, conf) ? mix_open(s, MIX_STORE, &m, e)
					    : 0;
	if (r >= 0)
		r = import(s, m, o, args->items[0], st.st_mtime, &p, e);
	return r < 0 ? r : profile_save(args->items[1], p, e);
}

const struct command cmd_profile_import = {
	.name = "profile import",
	.args = "RECORDING OUT",
	.summary = "make a profile of what QEMU or perf recorded",
	.args_min = 2,
	.args_max = 2,
	.opts = import_options,
	.opts_size = sizeof(struct import_opts),
	.run = import_run,
};

/* --- record ---------------------------------------------------------------------------------------------------------------- */

struct record_opts {
	struct import_opts import;
	struct strv bundles;
	const char *image, *keep;
	uint32_t memory, timeout, age;
	bool kernel;
};

#define RECORD(field) offsetof(struct record_opts, field)
static const struct opt record_options[] = {
	{0, "workload", OPT_STRING, RECORD(import.workload), "FILE", "script that the guest runs", 0, 0},
	{0, "kernel", OPT_FLAG, RECORD(kernel), NULL, "NAME is a kernel: what it executes from power-on", 0, 0},
	{0, "image", OPT_STRING, RECORD(image), "NAME", "definition of the guest's image (workload)", 0, 0},
	{0, "bundles", OPT_LIST, RECORD(bundles), "BUNDLE,...", "that it has besides", 0, 0},
	{0, "release", OPT_U32, RECORD(import.release), "V", "of this release (the newest)", 1, 0},
	{0, "root", OPT_STRING, RECORD(import.root), "DIR", "the workload's programs are in this directory", 0, 0},
	{0, "debug", OPT_LIST, RECORD(import.debug), "PATH,...", "debug information, besides that in local-debs", 0, 0},
	{0, "files", OPT_LIST, RECORD(import.files), "PATTERN,...", "only of these paths (all with debug information)",
	 0, 0},
	{0, "source", OPT_STRING, RECORD(import.source), "TEXT", "source package and version that they are of", 0, 0},
	{0, "memory", OPT_U32, RECORD(memory), "MIB", "of the guest (512)", 64, 65536},
	{0, "timeout", OPT_U32, RECORD(timeout), "SECONDS", "that the guest may take (3600)", 1, 604800},
	{0, "age", OPT_U32, RECORD(age), "PERMILLE", "what is left of an older build's counts (500)", 0, 1000},
	{0, "keep", OPT_STRING, RECORD(keep), "FILE", "leave the recording here", 0, 0},
	{0},
};

static const struct record_opts record_defaults = {.image = "workload", .memory = 512, .timeout = 3600, .age = 500};

/* The profile that there is (NULL: none), and now p, to path. */
static int merge_into(const char *path, const char *before, struct profile **p, uint32_t age, struct err *e)
{
	_cleanup_(profile_freep) struct profile *old = NULL, *merged = NULL;

	if (before) {
		int r = profile_load(before, &old, e);
		struct profile *const both[] = {*p, old};
		if (r >= 0)
			r = profile_merge(both, ARRAY_LEN(both), age, &merged, e);
		if (r < 0)
			return r;
		profile_free(*p);
		*p = take(merged);
	}
	return profile_save(path, *p, e);
}

/* What the options leave open, the recipe says; without one (--workload) all that has symbols is recorded. */
static int apply_recipe(const struct mix *m, const char *name, struct record_opts *o, struct recipe **recipe,
			char **workload, struct err *e)
{
	struct err none = ERR_INIT;

	int r = recipe_load(m->config, name, recipe, o->import.workload ? &none : e);
	err_clear(&none);
	if (r < 0)
		return o->import.workload ? 0 : r;
	if (!o->import.workload) {
		if (!(*recipe)->workload) {
			r = err_set(e, -ERR_CONFIG, "recipe '%s' has no workload", name);
			return err_hint(e, r, "'workload =' in it, or --workload=FILE");
		}
		*workload = xasprintf("%s/%s.workload", (*recipe)->folder, (*recipe)->workload);
		o->import.workload = *workload;
	}
	for (size_t i = 0; i < (*recipe)->bundles.n; i++)
		strv_add(&o->bundles, (*recipe)->bundles.items[i]);
	if (!o->import.root && o->import.debug.n == 0 && o->import.files.n == 0)
		o->import.rebuilt = (*recipe)->source;
	return 0;
}

/* The same of a kernel, whose profile says what it is trained with. *stem: of its profile's name, *before: what it has of it now; the caller frees both. */
static int apply_kernel(const struct mix *m, const char *name, struct record_opts *o, char **stem, char **before,
			char **workload, struct err *e)
{
	_cleanup_(kernel_profile_freep) struct kernel_profile *k = NULL;

	int r = kernel_profile_load(m->config, name, &k, e);
	if (r < 0)
		return r;
	if (!o->import.workload) {
		if (!k->trained) {
			r = err_set(e, -ERR_CONFIG, "the kernel profile '%s' has no workload", name);
			return err_hint(e, r, "'trained =' in it, or --workload=FILE");
		}
		*workload = xasprintf("%s/trained/%s.workload", m->config->kernel_config, k->trained);
		o->import.workload = *workload;
	}
	/* the workload's programs; every mix has them */
	if (o->bundles.n == 0)
		strv_add(&o->bundles, "os-core");
	*stem = xasprintf("kernel-%s", k->trained ? k->trained : name);
	*before = kernel_training(m->config, k);
	o->import.kernel = name;
	return 0;
}

static int record_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	struct record_opts *o = opts;
	const char *name = args->items[0];
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(profile_freep) struct profile *p = NULL;
	_cleanup_(recipe_freep) struct recipe *recipe = NULL;
	_cleanup_free_ char *workload = NULL, *stem = NULL, *before = NULL;

	if (strchr(name, '/') || *name == '.' || !*name)
		return err_set(e, -ERR_USAGE, "'%s' is no name of a recipe", name);
	int r = import_open(s, &o->import, MIX_WRITE | MIX_STORE, &m, e);
	if (r >= 0)
		r = o->kernel ? apply_kernel(m, name, o, &stem, &before, &workload, e)
			      : apply_recipe(m, name, o, &recipe, &workload, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *folder = xasprintf("%s/local-recipes", m->config->path);
	_cleanup_free_ char *file = xasprintf("%s.profile", stem ? stem : name);
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, file);
	/* what the next build would have used: a new workspace goes on from what is shipped with the recipe */
	if (!before)
		before = recipe_file(m->config, file);
	_cleanup_free_ char *recording =
		o->keep ? path_absolute(NULL, o->keep) : xasprintf("%s/.%s.recording", folder, stem ? stem : name);
	const struct record_job job = {.name = name,
				       .image = o->image,
				       .bundles = &o->bundles,
				       .kernel = o->import.kernel,
				       .release = o->import.release ? o->import.release : m->previous,
				       .workload = o->import.workload,
				       .memory = o->memory,
				       .timeout = o->timeout,
				       .out = recording};
	r = fs_mkdirs(AT_FDCWD, folder, 0755, e);
	if (r >= 0)
		r = record(m, &job, e);
	if (r >= 0)
		r = import(s, m, &o->import, recording, time(NULL), &p, e);
	if (!o->keep)
		(void)unlink(recording);
	if (r >= 0)
		r = merge_into(path, before, &p, o->age, e);
	if (r >= 0)
		ui_answer(&s->ui, "%s", path);
	return r;
}

const struct command cmd_profile_record = {
	.name = "profile record",
	.args = "NAME",
	.summary = "record a workload in a guest, as a profile",
	.args_min = 1,
	.args_max = 1,
	.opts = record_options,
	.opts_size = sizeof(struct record_opts),
	.opts_default = &record_defaults,
	.run = record_run,
};

/* --- merge ----------------------------------------------------------------------------------------------------------------- */

struct merge_opts {
	uint32_t age, trim;
};

static const struct opt merge_options[] = {
	{0, "age", OPT_U32, offsetof(struct merge_opts, age), "PERMILLE",
	 "what is left of an older build's counts (500)", 0, 1000},
	{0, "trim", OPT_U32, offsetof(struct merge_opts, trim), "PERMILLE",
	 "share of the coldest functions, left out (1)", 0, 1000},
	{0},
};

static const struct merge_opts merge_defaults = {.age = 500, .trim = 1};

static int merge_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct merge_opts *o = opts;
	const size_t n = args->n - 1;
	struct profile **in = xcalloc(n, sizeof(*in));
	_cleanup_(profile_freep) struct profile *p = NULL;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++)
		r = profile_load(args->items[i + 1], &in[i], e);
	if (r >= 0)
		r = profile_merge(in, n, o->age, &p, e);
	if (r >= 0) {
		size_t trimmed = profile_trim(p, o->trim);
		ui_note(&s->ui, "%zu functions are left, %zu cold ones were left out", p->n_functions, trimmed);
		r = profile_save(args->items[0], p, e);
	}
	for (size_t i = 0; i < n; i++)
		profile_free(in[i]);
	free(in);
	return r;
}

const struct command cmd_profile_merge = {
	.name = "profile merge",
	.args = "OUT IN...",
	.summary = "add profiles, older builds' with less weight",
	.args_min = 2,
	.args_max = UINT_MAX,
	.opts = merge_options,
	.opts_size = sizeof(struct merge_opts),
	.opts_default = &merge_defaults,
	.run = merge_run,
};

/* --- show ------------------------------------------------------------------------------------------------------------------ */

struct show_opts {
	struct strv match;
	uint32_t functions;
};

static const struct opt show_options[] = {
	{'n', "functions", OPT_U32, offsetof(struct show_opts, functions), "N",
	 "how many of the hottest functions (10)", 1, 0},
	{0, "match", OPT_LIST, offsetof(struct show_opts, match), "FILE,...", "how much of it is of these ELF files", 0,
	 0},
	{0},
};

static const struct show_opts show_defaults = {.functions = 10};

static int by_total(const void *a, const void *b)
{
	const struct profile_function *f = *(struct profile_function *const *)a;
	const struct profile_function *g = *(struct profile_function *const *)b;

	return f->total != g->total ? (f->total > g->total ? -1 : 1) : strcmp(f->name, g->name);
}

static void functions_print(struct ui *ui, const struct profile *p, uint32_t most)
{
	const uint64_t total = profile_total(p);
	struct profile_function **sorted = xcalloc(p->n_functions + 1, sizeof(*sorted));

	for (size_t i = 0; i < p->n_functions; i++)
		sorted[i] = &p->functions[i];
	qsort(sorted, p->n_functions, sizeof(*sorted), by_total);
	ui_answer(ui, "%zu functions, the sum of all counts is %lu", p->n_functions, total);
	for (size_t i = 0; i < p->n_functions && i < most; i++)
		ui_answer(ui, "%5.1f %%  %12lu calls  %s", total ? 100.0 * (double)sorted[i]->total / (double)total : 0,
			  sorted[i]->head, sorted[i]->name);
	free(sorted);
}

static int match_print(struct ui *ui, const struct profile *p, const struct strv *names, struct err *e)
{
	_cleanup_free_ int *fds = xcalloc(names->n, sizeof(*fds));
	size_t n = 0;
	uint32_t permille = 0;
	int r = 0;

	for (; n < names->n; n++) {
		fds[n] = open(names->items[n], O_RDONLY | O_CLOEXEC);
		if (fds[n] < 0) {
			r = err_errno(e, "%s", names->items[n]);
			break;
		}
	}
	if (r >= 0)
		r = profile_match(p, fds, n, &permille, e);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (r < 0)
		return r;
	if (permille == 0) {
		err_set(e, -ERR_MISSING, "it is of another program: %s has none of its functions", names->items[0]);
		return err_hint(e, -ERR_MISSING, "a stripped file has no names: give its debug information");
	}
	ui_answer(ui, "%u.%u %% of it is of functions that these files have", permille / 10, permille % 10);
	return 0;
}

static int show_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct show_opts *o = opts;
	_cleanup_(profile_freep) struct profile *p = NULL;

	int r = profile_load(args->items[0], &p, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < p->n_origins; i++) {
		const struct profile_origin *g = &p->origins[i];
		_cleanup_free_ char *when = text_time(g->recorded);
		ui_answer(&s->ui, "%s, build-id %s", g->source, g->build_id);
		ui_answer(&s->ui, "  recorded %s by %s, workload %.16s, weight %u.%u %%, %u builds ago", when, g->by,
			  g->workload, g->weight / 10, g->weight % 10, g->generation);
	}
	functions_print(&s->ui, p, o->functions);
	return o->match.n ? match_print(&s->ui, p, &o->match, e) : 0;
}

const struct command cmd_profile_show = {
	.name = "profile show",
	.args = "FILE",
	.summary = "say what a profile is of, and what is hot",
	.args_min = 1,
	.args_max = 1,
	.opts = show_options,
	.opts_size = sizeof(struct show_opts),
	.opts_default = &show_defaults,
	.run = show_run,
};

/* --- export ---------------------------------------------------------------------------------------------------------------- */

struct export_opts {
	uint32_t gcc;
};

static const struct opt export_options[] = {
	{0, "gcc", OPT_U32, offsetof(struct export_opts, gcc), "MAJOR", "version of the gcc that shall read it (14)",
	 12, 99},
	{0},
};

static const struct export_opts export_defaults = {.gcc = 14};

static int export_run(void *context __attribute__((unused)), void *opts, const struct strv *args, struct err *e)
{
	const struct export_opts *o = opts;
	_cleanup_(profile_freep) struct profile *p = NULL;
	_cleanup_(buf_free) struct buf out = {0};

	int r = profile_load(args->items[0], &p, e);
	if (r >= 0)
		r = profile_write_gcc(p, o->gcc, &out, e);
	return r < 0 ? r : fs_save(AT_FDCWD, args->items[1], out.data, out.len, 0644, e);
}

const struct command cmd_profile_export = {
	.name = "profile export",
	.args = "FILE OUT",
	.summary = "write a profile as gcc -fauto-profile reads it",
	.args_min = 2,
	.args_max = 2,
	.opts = export_options,
	.opts_size = sizeof(struct export_opts),
	.opts_default = &export_defaults,
	.run = export_run,
};
