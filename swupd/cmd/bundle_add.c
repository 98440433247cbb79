/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>

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

struct bundle_add_opts {
	bool skip_optional, skip_diskspace_check;
};

static const struct opt bundle_add_options[] = {
	{0, "skip-optional", OPT_FLAG, offsetof(struct bundle_add_opts, skip_optional), NULL,
	 "without the optional bundles", 0, 0},
	{0, "skip-diskspace-check", OPT_FLAG, offsetof(struct bundle_add_opts, skip_diskspace_check), NULL,
	 "do not check the free space first", 0, 0},
	{0},
};

/*
 * Sort the wanted names: those to add go to names, all that the release knows are marked as asked for. Returns how many it
 * does not know; they are warned of.
 */
static size_t sort_wanted(struct machine *m, const struct manifest *mom, const struct strv *wanted,
			  const struct strv *installed, struct strv *names, struct strv *mark)
{
	size_t unknown = 0;

	for (size_t i = 0; i < wanted->n; i++) {
		const char *name = wanted->items[i];
		if (!manifest_find(mom, name)) {
			ui_warn(m->ui, "release %u has no bundle '%s'", m->release, name);
			unknown++;
			continue;
		}
		strv_add(mark, name);
		if (strv_has(installed, name))
			ui_message(m->ui, "bundle '%s' is already installed", name);
		else
			strv_add(names, name);
	}
	return unknown;
}

static int add(struct machine *m, const struct bundle_add_opts *o, struct manifest *mom, const struct strv *names,
	       struct plan *p, struct err *e)
{
	_cleanup_(content_free) struct content old = {0}, new = {0};
	uint64_t files, bytes;

	progress_stage(m->progress, "load_manifests", 0, false);
	int r = catalog_installed(m, &old.catalog, e);
	if (r < 0) {
		manifest_free(mom);
		return r;
	}
	files_of(old.catalog, &old.files);
	r = catalog_load(m, mom, names, !o->skip_optional, NULL, NULL, &new.catalog, e);
	if (r < 0)
		return r;
	files_of(new.catalog, &new.files);
	r = plan_add(m, &old.files, &new.files, false, p, e);
	p->unchecked_space = o->skip_diskspace_check;
	if (r >= 0)
		r = apply(m, p, old.catalog, new.catalog, COMMIT_IN_PLACE, e);
	if (r < 0)
		return r;
	progress_end(m->progress);
	_cleanup_free_ char *list = strv_join(names, ", ");
	ui_message(m->ui, "added: %s (%zu paths)", list, p->n_changes);
	return clean_cache(m, false, false, &files, &bytes, e);
}

static int bundle_add_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	_cleanup_(strv_free) struct strv wanted = {0}, installed = {0}, names = {0};
	_cleanup_(plan_freep) struct plan *p = plan_new(m->release, m->release);
	struct manifest *mom = NULL;

	if (m->release == 0)
		return err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", m->path);
	int r = expand_bundles(m, args, &wanted, e);
	if (r >= 0)
		r = machine_bundles(m, &installed, e);
	if (r >= 0)
		r = catalog_mom(m, m->release, &mom, e);
	if (r < 0)
		return r;
	size_t unknown = sort_wanted(m, mom, &wanted, &installed, &names, &p->mark);
	if (names.n == 0) {
		manifest_free(mom);
		r = p->mark.n ? install(m, p, e) : 0;
	} else {
		r = add(m, opts, mom, &names, p, e);
	}
	if (r < 0)
		return err_in(e, r, "cannot add bundles");
	return unknown ? err_set(e, -ERR_BUNDLE, "%zu of %zu bundles do not exist", unknown, wanted.n) : 0;
}

const struct command cmd_bundle_add = {
	.name = "bundle-add",
	.args = "BUNDLE…",
	.args_min = 1,
	.args_max = UINT_MAX,
	.summary = "install bundles of the installed release",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK | NEEDS_SERVER | NEEDS_TRUST,
	.opts = bundle_add_options,
	.opts_size = sizeof(struct bundle_add_opts),
	.run = bundle_add_run,
};
