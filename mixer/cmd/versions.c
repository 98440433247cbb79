/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/input/inrelease.h"
#include "mixer/step/coverage.h"
#include "mixer/step/release.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static int print_lock(struct ui *ui, const struct mix *m, struct err *e)
{
	_cleanup_(lock_freep) struct lock *l = NULL;

	int r = lock_load(m->config, &l, e);
	if (r == -ENOENT) {
		err_clear(e);
		ui_answer(ui, "packages:       not locked yet");
		return 0;
	}
	if (r < 0)
		return r;
	_cleanup_free_ char *date = time_format(l->time);
	ui_answer(ui, "packages:       %zu, locked as of %s", l->n_packages, date);
	for (size_t i = 0; i < l->n_archives; i++)
		ui_answer(ui, "  %-14s%s of %s", l->archives[i].name, l->archives[i].suite, l->archives[i].date);
	return 0;
}

/* From which releases update files lead to the newest, and what they take. */
static int print_coverage(struct ui *ui, const struct mix *m, struct err *e)
{
	_cleanup_(history_clear) struct history h = {0};

	int r = coverage_load(m, m->previous, COVER_BY_POLICY, &h, e);
	for (size_t i = 1; r >= 0 && i < h.n; i++) {
		struct coverage_cost cost;
		r = coverage_measure(m, h.items[i].release, m->previous, &cost, e);
		if (r < 0 || !cost.update)
			continue;
		_cleanup_free_ char *update = text_size(cost.update), *classic = text_size(cost.classic);
		if (cost.classic)
			ui_answer(ui, "  from %-9u%s, and %s for clients of the first generation", h.items[i].release,
				  update, classic);
		else
			ui_answer(ui, "  from %-9u%s", h.items[i].release, update);
	}
	return r;
}

static int versions_run(void *context, void *opts __attribute__((unused)),
			const struct strv *args __attribute__((unused)), struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(s, 0, &m, e);
	if (r < 0)
		return r;
	ui_answer(&s->ui, "next release:   %u (format %u)", m->release, m->format);
	if (m->previous)
		ui_answer(&s->ui, "last published: %u", m->previous);
	else
		ui_answer(&s->ui, "last published: none");
	if (release_is_whole(m, m->previous))
		r = print_coverage(&s->ui, m, e);
	return r < 0 ? r : print_lock(&s->ui, m, e);
}

const struct command cmd_versions = {
	.name = "versions",
	.args = "",
	.summary = "show the numbers of releases and what is locked",
	.run = versions_run,
};

struct update_opts {
	uint32_t increment, mix_version;
};

static const struct opt update_options[] = {
	{0, "increment", OPT_U32, offsetof(struct update_opts, increment), "N", "add to the next release's number (10)",
	 1, 0},
	{0, "mix-version", OPT_U32, offsetof(struct update_opts, mix_version), "N", "the next release's number", 1, 0},
	{0},
};

static int update_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	struct session *s = context;
	const struct update_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	struct mix_state state;

	if (o->increment && o->mix_version)
		return err_set(e, -ERR_USAGE, "--increment and --mix-version exclude each other");
	int r = mix_open(s, MIX_WRITE, &m, e);
	if (r >= 0)
		r = mix_state_load(m->config, &state, e);
	if (r < 0)
		return r;
	uint32_t was = state.release, increment = o->increment ? o->increment : RELEASE_STEP;
	if (o->mix_version)
		state.release = o->mix_version;
	else if (__builtin_add_overflow(state.release, increment, &state.release))
		return err_set(e, -ERR_USAGE, "release %u and %u more is no number of a release", was, increment);
	if (state.release <= state.previous)
		return err_set(e, -ERR_USAGE, "release %u must be above %u, which is published", state.release,
			       state.previous);
	r = mix_state_save(m->config, &state, e);
	if (r < 0)
		return r;
	ui_message(&s->ui, "next release: %u → %u", was, state.release);
	return 0;
}

const struct command cmd_versions_update = {
	.name = "versions update",
	.args = "",
	.summary = "change the number of the next release",
	.opts = update_options,
	.opts_size = sizeof(struct update_opts),
	.run = update_run,
};
