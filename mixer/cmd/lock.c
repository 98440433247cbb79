/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define STATUS_NO 3

struct lock_opts {
	bool keep;
	struct strv repositories;
};

static const struct opt lock_options[] = {
	{'k', "keep", OPT_FLAG, offsetof(struct lock_opts, keep), NULL, "stay with locked versions where possible", 0,
	 0},
	{0, "repositories", OPT_LIST, offsetof(struct lock_opts, repositories), "NAMES",
	 "use only these, separated by commas", 0, 0},
	{0},
};

struct changes {
	size_t changed, added, removed, bundles;
};

static void compare_packages(struct ui *ui, const struct lock *old, const struct lock *new, struct changes *n)
{
	for (size_t i = 0; i < new->n_packages; i++) {
		const struct locked_package *p = &new->packages[i], *was = lock_find(old, p->name);
		if (!was) {
			n->added++;
			ui_answer(ui, "added    %s %s (%s)", p->name, p->version, p->repository);
		} else if (strcmp(was->version, p->version) != 0) {
			n->changed++;
			ui_answer(ui, "changed  %s %s → %s (%s)", p->name, was->version, p->version, p->repository);
		} else if (!digest_equal(&was->sha256, &p->sha256) || strcmp(was->repository, p->repository) != 0) {
			n->changed++;
			ui_answer(ui, "changed  %s %s, rebuilt or from elsewhere (%s → %s)", p->name, p->version,
				  was->repository, p->repository);
		}
	}
	for (size_t i = 0; i < old->n_packages; i++)
		if (!lock_find(new, old->packages[i].name)) {
			n->removed++;
			ui_answer(ui, "removed  %s %s", old->packages[i].name, old->packages[i].version);
		}
}

/* The packages that a has and b has not, each with sign before it */
static void add_missing(const struct locked_bundle *a, const struct locked_bundle *b, char sign, struct buf *out)
{
	for (size_t i = 0, k = 0; a && i < a->n_packages; i++) {
		while (b && k < b->n_packages && strcmp(b->packages[k], a->packages[i]) < 0)
			k++;
		if (!b || k == b->n_packages || strcmp(b->packages[k], a->packages[i]) != 0)
			buf_printf(out, " %c%s", sign, a->packages[i]);
	}
}

static void compare_bundles(struct ui *ui, const struct lock *old, const struct lock *new, struct changes *n)
{
	for (size_t i = 0; i < new->n_bundles; i++) {
		const struct locked_bundle *b = &new->bundles[i], *was = lock_find_bundle(old, b->name);
		_cleanup_(buf_free) struct buf text = {0};
		add_missing(b, was, '+', &text);
		add_missing(was, b, '-', &text);
		if (was && !text.len)
			continue;
		n->bundles++;
		if (was)
			ui_note(ui, "bundle %s:%s", b->name, text.data);
		else
			ui_answer(ui, "bundle   %s is new, with %zu packages", b->name, b->n_packages);
	}
	for (size_t i = 0; i < old->n_bundles; i++)
		if (!lock_find_bundle(new, old->bundles[i].name)) {
			n->bundles++;
			ui_answer(ui, "bundle   %s is gone", old->bundles[i].name);
		}
}

bool lock_report(struct ui *ui, const struct lock *old, const struct lock *new)
{
	struct changes n = {0};
	uint64_t bytes = 0;

	compare_packages(ui, old, new, &n);
	compare_bundles(ui, old, new, &n);
	for (size_t i = 0; i < new->n_packages; i++)
		bytes += new->packages[i].size;
	_cleanup_free_ char *size = text_size(bytes);
	ui_message(ui, "%zu packages (%s) in %zu bundles: %zu changed, %zu added, %zu removed", new->n_packages, size,
		   new->n_bundles, n.changed, n.added, n.removed);
	return n.changed || n.added || n.removed || n.bundles || !digest_equal(&old->input, &new->input);
}

static int load_old(const struct mix *m, struct lock **out, struct err *e)
{
	int r = lock_load(m->config, out, e);

	if (r == -ENOENT) {
		err_clear(e);
		*out = lock_new();
		return 0;
	}
	return r;
}

static int lock_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	struct session *s = context;
	const struct lock_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(lock_freep) struct lock *old = NULL, *new = NULL;

	int r = mix_open(s, MIX_WRITE | MIX_CACHE, &m, e);
	if (r >= 0)
		r = collect(m, &set, e);
	if (r >= 0)
		r = load_old(m, &old, e);
	if (r >= 0)
		r = resolve(m, &set, &o->repositories, o->keep, old, &new, e);
	if (r < 0)
		return r;
	if (!lock_report(&s->ui, old, new)) {
		ui_message(&s->ui, "mixer.lock stays as it is");
		return STATUS_NO;
	}
	return lock_save(m->config, new, e);
}

const struct command cmd_lock = {
	.name = "lock",
	.args = "",
	.summary = "choose packages for all bundles, write mixer.lock",
	.opts = lock_options,
	.opts_size = sizeof(struct lock_opts),
	.run = lock_run,
};
