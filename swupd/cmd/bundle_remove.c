/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/apply.h"
#include "swupd/client/catalog.h"
#include "swupd/client/install.h"
#include "swupd/client/machine.h"
#include "swupd/client/post.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/common.h"

struct bundle_remove_opts {
	bool force, recursive, orphans;
};

static const struct opt bundle_remove_options[] = {
	{'x', "force", OPT_FLAG, offsetof(struct bundle_remove_opts, force), NULL, "also those that need it", 0, 0},
	{'R', "recursive", OPT_FLAG, offsetof(struct bundle_remove_opts, recursive), NULL, "also what only it needed",
	 0, 0},
	{0, "orphans", OPT_FLAG, offsetof(struct bundle_remove_opts, orphans), NULL, "what nobody asked for or needs",
	 0, 0},
	{0},
};

static void without(const struct strv *all, const struct strv *gone, struct strv *out)
{
	for (size_t i = 0; i < all->n; i++)
		if (!strv_has(gone, all->items[i]))
			strv_add(out, all->items[i]);
}

/* One wanted name: may it go? Its dependants go with it when forced. */
static int take_out(struct machine *m, const struct bundle_remove_opts *o, const struct catalog *c, const char *name,
		    const struct strv *wanted, struct strv *gone, struct err *e)
{
	_cleanup_(strv_free) struct strv needing = {0};

	if (strcmp(name, "os-core") == 0)
		return err_set(e, -ERR_REQUIRED, "bundle 'os-core' cannot be removed");
	if (!catalog_find(c, name)) {
		if (!manifest_find(c->mom, name))
			return err_set(e, -ERR_BUNDLE, "release %u has no bundle '%s'", m->release, name);
		return err_set(e, -ERR_NOT_INSTALLED, "bundle '%s' is not installed", name);
	}
	bundles_needing(c, name, &needing);
	for (size_t i = 0; i < needing.n; i++) {
		if (!o->force && !strv_has(wanted, needing.items[i])) {
			_cleanup_free_ char *list = strv_join(&needing, ", ");
			return err_hint(e, err_set(e, -ERR_REQUIRED, "bundle '%s' is needed by %s", name, list),
					"remove these, too, or give --force");
		}
		if (!strv_has(gone, needing.items[i]))
			strv_add(gone, needing.items[i]);
	}
	if (!strv_has(gone, name))
		strv_add(gone, name);
	return 0;
}

/* What was needed by what goes, if nobody else needs it or asked for it. */
static void take_out_dependencies(const struct catalog *c, const struct strv *tracked, struct strv *gone)
{
	_cleanup_(strv_free) struct strv before = {0}, orphans = {0};

	/* bundles that were orphans before are not ours to remove */
	bundles_orphaned(c, tracked, &before);
	for (size_t i = 0; i < gone->n; i++)
		strv_add(&orphans, gone->items[i]);
	bundles_orphaned(c, tracked, &orphans);
	for (size_t i = 0; i < orphans.n; i++)
		if (!strv_has(gone, orphans.items[i]) && !strv_has(&before, orphans.items[i]))
			strv_add(gone, orphans.items[i]);
}

static int remove_bundles(struct machine *m, struct content *old, const struct strv *gone, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = plan_new(m->release, m->release);
	_cleanup_(strv_free) struct strv all = {0}, stay = {0};
	struct catalog kept = *old->catalog;
	struct files files;
	uint64_t n, bytes;

	for (size_t i = 0; i < old->catalog->n; i++)
		strv_add(&all, old->catalog->names[i]);
	without(&all, gone, &stay);
	/* a view of the same catalog with fewer bundles */
	kept.names = xcalloc(kept.n, sizeof(*kept.names));
	kept.manifests = xcalloc(kept.n, sizeof(*kept.manifests));
	kept.n = 0;
	for (size_t i = 0; i < old->catalog->n; i++) {
		if (!strv_has(&stay, old->catalog->names[i]))
			continue;
		kept.names[kept.n] = old->catalog->names[i];
		kept.manifests[kept.n++] = old->catalog->manifests[i];
	}
	files_of(&kept, &files);
	int r = plan_drop(m, &old->files, &files, p, e);
	for (size_t i = 0; i < gone->n; i++)
		strv_add(&p->unmark, gone->items[i]);
	progress_end(m->progress);
	if (r >= 0)
		r = install(m, p, e);
	if (r >= 0)
		r = post_update(m, p, e);
	if (r >= 0) {
		_cleanup_free_ char *list = strv_join(gone, ", ");
		ui_message(m->ui, "removed: %s (%zu paths)", list, p->n_changes);
		r = clean_cache(m, false, false, &n, &bytes, e);
	}
	files_free(&files);
	free(kept.names);
	free(kept.manifests);
	return r;
}

static int bundle_remove_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	const struct bundle_remove_opts *o = opts;
	_cleanup_(content_free) struct content old = {0};
	_cleanup_(strv_free) struct strv wanted = {0}, tracked = {0}, gone = {0};
	int r = 0;

	if (o->orphans && (args->n || o->force || o->recursive))
		return err_set(e, -ERR_USAGE, "--orphans goes with no other option and no bundle");
	if (!o->orphans && args->n == 0)
		return err_set(e, -ERR_USAGE, "'bundle-remove' needs BUNDLE…");
	progress_stage(m->progress, "load_manifests", 0, false);
	r = catalog_installed(m, &old.catalog, e);
	if (r >= 0)
		r = machine_tracked(m, &tracked, e);
	if (r >= 0)
		r = expand_bundles(m, args, &wanted, e);
	if (r < 0)
		return r;
	files_of(old.catalog, &old.files);
	for (size_t i = 0; i < wanted.n; i++) {
		r = take_out(m, o, old.catalog, wanted.items[i], &wanted, &gone, e);
		if (r < 0)
			return err_in(e, r, "cannot remove bundles");
	}
	if (o->orphans)
		bundles_orphaned(old.catalog, &tracked, &gone);
	else if (o->recursive)
		take_out_dependencies(old.catalog, &tracked, &gone);
	if (gone.n == 0) {
		ui_message(m->ui, "there is nothing to remove");
		return 0;
	}
	return remove_bundles(m, &old, &gone, e);
}

const struct command cmd_bundle_remove = {
	.name = "bundle-remove",
	.args = "BUNDLE…",
	.args_max = UINT_MAX,
	.summary = "remove bundles",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK | NEEDS_SERVER | NEEDS_TRUST,
	.opts = bundle_remove_options,
	.opts_size = sizeof(struct bundle_remove_opts),
	.run = bundle_remove_run,
};
