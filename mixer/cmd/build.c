/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/input/recipe.h"
#include "mixer/step/between.h"
#include "mixer/step/coverage.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/diff.h"
#include "mixer/step/kernel.h"
#include "mixer/step/package_build.h"
#include "mixer/step/release.h"
#include "mixer/step/sbom.h"
#include "mixer/step/stamp.h"
#include "mixer/step/step.h"
#include "mixer/step/validate.h"
#include "mixer/step/ways.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/manifest.h"

struct build_opts {
	uint32_t format, minversion, from, to, previous_versions;
	bool increment, no_signing, skip_fullfiles, skip_packs, report, quick;
};

static const struct build_opts build_defaults = {.previous_versions = COVER_BY_POLICY};

#define FIELD(name) offsetof(struct build_opts, name)
#define OPT_UPDATE                                                                                                     \
	{0, "format", OPT_U32, FIELD(format), "N", "in this format", 1, INT32_MAX},                                    \
		{0, "min-version", OPT_U32, FIELD(minversion), "N", "stamp older files anew", 1, INT32_MAX},           \
		{0, "no-signing", OPT_FLAG, FIELD(no_signing), NULL, "sign nothing", 0, 0},                            \
		{0, "skip-fullfiles", OPT_FLAG, FIELD(skip_fullfiles), NULL, "make no fullfiles", 0, 0},               \
	{                                                                                                              \
		0, "skip-packs", OPT_FLAG, FIELD(skip_packs), NULL, "make no packs", 0, 0                              \
	}

static const struct opt build_options[] = {
	OPT_UPDATE,
	{0, "previous-versions", OPT_U32, FIELD(previous_versions), "N", "deltas from so many releases before", 0,
	 1000},
	{0},
};

static const struct opt update_options[] = {
	OPT_UPDATE,
	{0, "increment", OPT_FLAG, FIELD(increment), NULL, "go on to the next number afterwards", 0, 0},
	{0},
};

static const struct opt delta_options[] = {
	{0, "from", OPT_U32, FIELD(from), "N", "from this release", 1, INT32_MAX},
	{0, "to", OPT_U32, FIELD(to), "N", "to this one, not the newest", 1, INT32_MAX},
	{0, "previous-versions", OPT_U32, FIELD(previous_versions), "N", "from so many releases before it", 1, 1000},
	{0, "report", OPT_FLAG, FIELD(report), NULL, "only say which they would be", 0, 0},
	{0},
};

static const struct opt validate_options[] = {
	{0, "to", OPT_U32, FIELD(to), "N", "this release, not the newest", 1, INT32_MAX},
	{0, "quick", OPT_FLAG, FIELD(quick), NULL, "do not unpack fullfiles and packs", 0, 0},
	{0},
};

static void take_format(struct mix *m, const struct build_opts *o)
{
	if (o->format)
		m->format = o->format;
}

static int save_state(const struct mix *m, uint32_t next, uint32_t previous, struct err *e)
{
	const struct mix_state s = {.release = next, .previous = previous, .format = m->format};

	return mix_state_save(m->config, &s, e);
}

/* The lock, made when there is none. One that is for other wishes is an error: it must not move by itself. */
static int get_lock(struct mix *m, const struct bundle_set *set, struct lock **out, struct err *e)
{
	struct err own = ERR_INIT;
	int r = lock_load(m->config, out, &own);

	if (r == -ENOENT) {
		err_clear(&own);
		ui_message(m->ui, "there is no mixer.lock yet: choosing packages");
		r = resolve(m, set, NULL, false, NULL, out, e);
		return r < 0 ? r : lock_save(m->config, *out, e);
	}
	if (r < 0) {
		err_move(e, &own);
		return r;
	}
	if (resolve_is_current(m, set, *out))
		return 0;
	return err_hint(e, err_set(e, -ERR_CONFLICT, "bundles or packages.drop changed since mixer.lock was made"),
			"'mixer lock --keep' adds what is missing, 'mixer lock' also takes newer packages");
}

static int save_sbom(const struct mix *m, const struct lock *l, const struct release_trees *trees, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("update/releases/%u/sbom.spdx.json", m->release);
	_cleanup_(buf_free) struct buf text = {0};

	int r = sbom_format(l, m->config->name, m->release, trees->notices, m->store, &text, e);
	return r < 0 ? r : fs_save(m->config->dir, path, text.data, text.len, 0644, e);
}

/* fetch and populate */
static int build_bundles(struct mix *m, const struct bundle_set *set, struct lock *l, struct err *e)
{
	struct release_trees *trees = NULL;
	const size_t ids = l->n_ids;
	struct digest stamp;

	int r = fetch_packages(m, l, e);
	if (r >= 0)
		r = populate(m, set, l, &trees, e);
	if (r >= 0)
		r = release_trees_save(m, trees, e);
	if (r >= 0)
		r = debuginfo_collect(m, set, l, trees, e);
	if (r >= 0 && l->n_ids != ids)
		r = lock_save(m->config, l, e);
	if (r >= 0)
		r = save_sbom(m, l, trees, e);
	/* of the lock as it is now, with the ids that were given */
	if (r >= 0)
		r = stamp_inputs(m, set, l, &stamp, e);
	if (r >= 0)
		r = stamp_save(m, &stamp, e);
	release_trees_free(trees);
	return r < 0 ? r : 0;
}

/* describe … publish; nobody is told yet. 1: nothing differs from the previous release. */
static int build_tree(struct mix *m, const struct build_opts *o, struct err *e)
{
	struct release_trees *trees = NULL;

	int r = release_trees_load(m, m->release, &trees, e);
	if (r >= 0)
		r = describe(m, trees, o->minversion, e);
	release_trees_free(trees);
	if (r != 0)
		return r;
	if (m->config->classic && !o->skip_fullfiles)
		r = compress(m, e);
	if (r >= 0 && m->config->classic && !o->skip_packs)
		r = assemble(m, e);
	if (r >= 0)
		r = publish(m, !o->no_signing, e);
	if (r >= 0)
		r = debuginfo_publish(m, e);
	/* 1: a run that was killed had come this far; what follows may still be missing */
	return MIN(r, 0);
}

/* How many releases have a way of their own to this one, and what that takes. */
static int report_cost(const struct mix *m, const struct strv *from, uint32_t to, struct err *e)
{
	uint64_t bytes = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < from->n; i++) {
		struct coverage_cost cost;
		uint32_t n = 0;
		(void)text_u32(from->items[i], 1, INT32_MAX, &n);
		r = coverage_measure(m, n, to, &cost, e);
		bytes += cost.update + cost.classic;
	}
	_cleanup_free_ char *size = text_size(bytes);
	if (r >= 0 && from->n)
		ui_message(m->ui, "updates to release %u from %zu older %s: %s", to, from->n,
			   from->n == 1 ? "release" : "releases", size);
	return r;
}

static int build_deltas_from(const struct mix *m, uint32_t from, uint32_t to, bool packs, bool manifests, struct err *e)
{
	_cleanup_(between_clear) struct between b = {0};

	int r = between_open(m, from, to, &b, e);
	if (r < 0)
		return err_in(e, r, "cannot compare release %u with %u", from, to);
	if (packs)
		r = diff_update(&b, e);
	if (r >= 0 && packs && m->config->classic)
		r = diff_packs(&b, e);
	if (r >= 0 && manifests && m->config->classic)
		r = diff_manifests(&b, e);
	return r;
}

static int build_deltas(const struct mix *m, const struct build_opts *o, uint32_t to, bool packs, bool manifests,
			struct err *e)
{
	_cleanup_free_ char *www = xasprintf("update/www/%u", to), *deltas = xasprintf("%s/delta", www);
	_cleanup_(history_clear) struct history history = {0};
	_cleanup_(strv_free) struct strv from = {0};

	/* a run that was killed leaves what it was writing, without its name */
	int r = o->report ? 0 : fs_tmp_sweep(m->config->dir, www, e);
	if (r >= 0 && !o->report)
		r = fs_tmp_sweep(m->config->dir, deltas, e);
	if (r < 0)
		return r;
	if (o->from)
		strv_take(&from, xasprintf("%u", o->from));
	else
		r = coverage_load(m, to, o->previous_versions, &history, e);
	if (r >= 0 && !o->from)
		r = coverage_sources(m, &history, &from, e);
	for (size_t i = 0; r >= 0 && i < from.n; i++) {
		uint32_t n = 0;
		(void)text_u32(from.items[i], 1, INT32_MAX, &n);
		if (o->report)
			ui_answer(m->ui, "%u → %u", n, to);
		else
			r = build_deltas_from(m, n, to, packs, manifests, e);
	}
	if (r < 0 || o->report || !packs)
		return r;
	r = ways_publish(m, to, e);
	if (r >= 0)
		r = publish_renewed(m, to, e);
	return r < 0 ? r : report_cost(m, &from, to, e);
}

static int announce(struct mix *m, const struct build_opts *o, bool increment, struct err *e)
{
	int r = ways_complete(m, m->release, e);

	if (r >= 0)
		r = diff_all_manifests(m, m->release, e);
	if (r >= 0)
		r = publish_latest(m, m->release, !o->no_signing, e);
	if (r >= 0)
		r = save_state(m, increment ? m->release + RELEASE_STEP : m->release, m->release, e);
	if (r >= 0)
		ui_message(m->ui, "release %u is published in %s/update/www", m->release, m->config->path);
	return r;
}

static int nothing_to_build(const struct mix *m, struct err *e)
{
	return err_set(e, -ERR_NO, "nothing to build: release %u is what the lock and the bundles say", m->previous);
}

/* The release stays as it is; what explains it does not. */
static int renew_debuginfo(struct mix *m, const struct bundle_set *set, struct lock *l, struct err *e)
{
	struct release_trees *trees = NULL;
	const uint32_t next = m->release;

	m->release = m->previous;
	int r = fetch_packages(m, l, e);
	if (r >= 0)
		r = populate(m, set, l, &trees, e);
	if (r >= 0)
		r = debuginfo_collect(m, set, l, trees, e);
	if (r >= 0)
		r = debuginfo_publish(m, e);
	m->release = next;
	release_trees_free(trees);
	return r;
}

static void add_stale_kernels(const struct mix *m, struct strv *stale)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = m->config->kernel_config ? kernel_profile_names(m->config, &names, NULL) : 0;
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		struct kernel_state state = {0};
		if (kernel_state(m->config, names.items[i], &state, NULL) >= 0 && state.stale)
			strv_take(stale, xasprintf("limpid-kernel-%s", names.items[i]));
		free(state.version);
	}
}

/* Part of the summary: packages that were to be optimised, and are not. No release fails because recipes cannot be read. */
static void warn_of_stale(const struct mix *m)
{
	_cleanup_(strv_free) struct strv names = {0}, stale = {0};

	int r = recipe_names(m->config, &names, NULL);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_(recipe_freep) struct recipe *recipe = NULL;
		struct package_state state = {0};
		if (recipe_get(m->config, names.items[i], &recipe, NULL) >= 0 &&
		    package_state(m, recipe, &state, NULL) >= 0 && state.stale)
			strv_add(&stale, names.items[i]);
		free(state.version);
	}
	add_stale_kernels(m, &stale);
	if (!stale.n)
		return;
	_cleanup_free_ char *list = strv_join(&stale, " ");
	ui_warn(m->ui, "%zu packages are built without their profiles, which are stale: %s", stale.n, list);
}

static int build_all(struct mix *m, const struct build_opts *o, struct err *e)
{
	struct bundle_set set = {0};
	struct lock *l = NULL;
	struct digest stamp;

	int r = collect(m, &set, e);
	if (r >= 0)
		r = get_lock(m, &set, &l, e);
	if (r >= 0)
		r = stamp_inputs(m, &set, l, &stamp, e);
	if (r >= 0 && m->previous && stamp_is(m, m->previous, &stamp) && !o->minversion) {
		if (!debuginfo_is_current(m, m->previous, l))
			r = renew_debuginfo(m, &set, l, e);
		r = r < 0 ? r : nothing_to_build(m, e);
	}
	if (r >= 0 && m->release <= m->previous)
		m->release = m->previous + RELEASE_STEP;
	if (r >= 0)
		r = build_bundles(m, &set, l, e);
	lock_free(l);
	bundle_set_free(&set);
	if (r >= 0)
		r = build_tree(m, o, e);
	if (r == 1)
		r = nothing_to_build(m, e);
	if (r >= 0 && !o->skip_packs && m->previous)
		r = build_deltas(m, o, m->release, true, true, e);
	if (r >= 0)
		warn_of_stale(m);
	return r < 0 ? r : announce(m, o, true, e);
}

static int build_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	_cleanup_(mix_closep) struct mix *m = NULL;

	(void)args;
	int r = mix_open(context, MIX_WRITE | MIX_CACHE | MIX_STORE, &m, e);
	if (r < 0)
		return r;
	take_format(m, opts);
	return build_all(m, opts, e);
}

static int build_bundles_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	_cleanup_(mix_closep) struct mix *m = NULL;
	struct bundle_set set = {0};
	struct lock *l = NULL;

	(void)opts;
	(void)args;
	int r = mix_open(context, MIX_WRITE | MIX_CACHE | MIX_STORE, &m, e);
	if (r >= 0)
		r = collect(m, &set, e);
	if (r >= 0)
		r = get_lock(m, &set, &l, e);
	if (r >= 0)
		r = build_bundles(m, &set, l, e);
	if (r >= 0)
		ui_message(m->ui, "release %u: %zu bundles of %zu packages", m->release, set.n, l->n_packages);
	lock_free(l);
	bundle_set_free(&set);
	return r;
}

static int build_update_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	_cleanup_(mix_closep) struct mix *m = NULL;
	const struct build_opts *o = opts;

	(void)args;
	int r = mix_open(context, MIX_WRITE | MIX_CACHE | MIX_STORE, &m, e);
	if (r < 0)
		return r;
	take_format(m, o);
	/* published already: it is made again and compared, against the release that it was made against */
	if (m->previous == m->release) {
		struct release *published = NULL;
		r = release_load(m, m->release, &published, e);
		if (r < 0)
			return r;
		m->previous = published->mom->previous;
		release_free(published);
	}
	r = build_tree(m, o, e);
	if (r == 1)
		return nothing_to_build(m, e);
	return r < 0 ? r : announce(m, o, o->increment, e);
}

static int delta_run(void *context, const struct build_opts *o, bool packs, bool manifests, struct err *e)
{
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(context, MIX_WRITE | MIX_CACHE | MIX_STORE, &m, e);
	if (r < 0)
		return r;
	const uint32_t to = o->to ? o->to : m->previous;
	if (to == 0)
		return err_set(e, -ERR_NO, "no release is published yet");
	return build_deltas(m, o, to, packs, manifests, e);
}

static int build_delta_packs_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	(void)args;
	return delta_run(context, opts, true, false, e);
}

static int build_delta_manifests_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	(void)args;
	return delta_run(context, opts, false, true, e);
}

static int build_validate_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	_cleanup_(mix_closep) struct mix *m = NULL;
	const struct build_opts *o = opts;

	(void)args;
	int r = mix_open(context, MIX_CACHE | MIX_STORE, &m, e);
	if (r < 0)
		return r;
	const uint32_t to = o->to ? o->to : m->previous;
	if (to == 0)
		return err_set(e, -ERR_NO, "no release is published yet");
	return validate(m, to, o->quick, e);
}

/* NOLINTBEGIN(bugprone-macro-parentheses): the arguments are initializers */
#define BUILD(variable, words, text, table, fn)                                                                        \
	const struct command variable = {                                                                              \
		.name = words,                                                                                         \
		.args = "",                                                                                            \
		.summary = text,                                                                                       \
		.opts = table,                                                                                         \
		.opts_size = sizeof(struct build_opts),                                                                \
		.opts_default = &build_defaults,                                                                       \
		.run = fn,                                                                                             \
	}

BUILD(cmd_build, "build", "build and publish the next release, with deltas", build_options, build_run);
BUILD(cmd_build_bundles, "build bundles", "only: packages to the trees of a release", NULL, build_bundles_run);
BUILD(cmd_build_update, "build update", "only: trees to a published release", update_options, build_update_run);
BUILD(cmd_build_delta_packs, "build delta-packs", "only: packs from older releases", delta_options,
      build_delta_packs_run);
BUILD(cmd_build_delta_manifests, "build delta-manifests", "only: deltas of manifests", delta_options,
      build_delta_manifests_run);
BUILD(cmd_build_validate, "build validate", "check a published release", validate_options, build_validate_run);
/* NOLINTEND(bugprone-macro-parentheses) */
