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
#include "swupd/client/machine.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/common.h"

struct bundle_list_opts {
	bool all, status, orphans;
	const char *has_dep, *deps;
};

static const struct opt bundle_list_options[] = {
	{'a', "all", OPT_FLAG, offsetof(struct bundle_list_opts, all), NULL, "all that the release has", 0, 0},
	{'D', "has-dep", OPT_STRING, offsetof(struct bundle_list_opts, has_dep), "BUNDLE", "those that include it", 0,
	 0},
	{0, "deps", OPT_STRING, offsetof(struct bundle_list_opts, deps), "BUNDLE", "those that it includes", 0, 0},
	{0, "status", OPT_FLAG, offsetof(struct bundle_list_opts, status), NULL, "say how each is installed", 0, 0},
	{0, "orphans", OPT_FLAG, offsetof(struct bundle_list_opts, orphans), NULL,
	 "installed, but not asked for or needed", 0, 0},
	{0},
};

struct listing {
	struct machine *m;
	const struct bundle_list_opts *o;
	struct strv installed, tracked;
};

static void listing_free(struct listing *l)
{
	strv_free(&l->installed);
	strv_free(&l->tracked);
}

static void print(const struct listing *l, const char *name, bool experimental)
{
	const char *how = "";

	if (l->o->status && strv_has(&l->tracked, name))
		how = " (explicitly installed)";
	else if (l->o->status && strv_has(&l->installed, name))
		how = " (installed)";
	/* with --quiet the bare names: what scripts read */
	if (l->m->ui->level == UI_QUIET)
		ui_answer(l->m->ui, "%s", name);
	else
		ui_answer(l->m->ui, "%s%s%s", name, experimental ? " (experimental)" : "", how);
}

static void print_all(const struct listing *l, const struct strv *names, const struct manifest *mom)
{
	for (size_t i = 0; i < names->n; i++) {
		const struct entry *x = mom ? manifest_find(mom, names->items[i]) : NULL;
		print(l, names->items[i], x && x->status == STATUS_EXPERIMENTAL);
	}
}

static int list_release(struct listing *l, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct manifest *mom = NULL;

	int r = catalog_mom(l->m, l->m->release, &mom, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < mom->n_entries; i++)
		strv_add(&names, mom->entries[i].name);
	strv_sort_unique(&names);
	print_all(l, &names, mom);
	manifest_free(mom);
	return 0;
}

/* Every bundle of the release, for questions that are about all of them. */
static int load_everything(struct machine *m, struct catalog **out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct manifest *mom = NULL;

	int r = catalog_mom(m, m->release, &mom, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < mom->n_entries; i++)
		strv_add(&names, mom->entries[i].name);
	return catalog_load(m, mom, &names, false, NULL, NULL, out, e);
}

static int list_needing(struct listing *l, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct catalog *c = NULL;

	int r = l->o->all ? load_everything(l->m, &c, e) : catalog_installed(l->m, &c, e);
	if (r < 0)
		return r;
	if (!manifest_find(c->mom, l->o->has_dep))
		r = err_set(e, -ERR_BUNDLE, "release %u has no bundle '%s'", l->m->release, l->o->has_dep);
	else
		bundles_needing(c, l->o->has_dep, &names);
	if (r >= 0)
		print_all(l, &names, c->mom);
	catalog_free(c);
	return r < 0 ? r : 0;
}

static int list_needed(struct listing *l, struct err *e)
{
	_cleanup_(strv_free) struct strv wanted = {0}, names = {0};
	struct manifest *mom = NULL;
	struct catalog *c = NULL;

	int r = catalog_mom(l->m, l->m->release, &mom, e);
	if (r < 0)
		return r;
	strv_add(&wanted, l->o->deps);
	r = catalog_load(l->m, mom, &wanted, false, NULL, NULL, &c, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->names[i], l->o->deps) != 0)
			strv_add(&names, c->names[i]);
	strv_sort_unique(&names);
	print_all(l, &names, c->mom);
	catalog_free(c);
	return 0;
}

static int list_orphans(struct listing *l, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct catalog *c = NULL;

	int r = catalog_installed(l->m, &c, e);
	if (r < 0)
		return r;
	bundles_orphaned(c, &l->tracked, &names);
	strv_sort_unique(&names);
	print_all(l, &names, c->mom);
	catalog_free(c);
	return 0;
}

static int bundle_list_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	_cleanup_(listing_free) struct listing l = {.m = context, .o = opts};
	const struct bundle_list_opts *o = opts;

	(void)args;
	if ((o->has_dep != NULL) + (o->deps != NULL) + o->orphans > 1)
		return err_set(e, -ERR_USAGE, "--has-dep, --deps and --orphans exclude each other");
	int r = machine_bundles(l.m, &l.installed, e);
	if (r >= 0)
		r = machine_tracked(l.m, &l.tracked, e);
	if (r < 0)
		return r;
	const bool remote = o->all || o->has_dep || o->deps || o->orphans;
	if (remote && l.m->release == 0)
		return err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", l.m->path);
	if (remote) {
		r = machine_need(l.m, NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_SERVER | NEEDS_TRUST, e);
		if (r < 0)
			return r;
	}
	if (o->has_dep)
		return list_needing(&l, e);
	if (o->deps)
		return list_needed(&l, e);
	if (o->orphans)
		return list_orphans(&l, e);
	if (o->all)
		return list_release(&l, e);
	print_all(&l, &l.installed, NULL);
	return 0;
}

const struct command cmd_bundle_list = {
	.name = "bundle-list",
	.args = "",
	.summary = "list bundles",
	.needs = 0,
	.opts = bundle_list_options,
	.opts_size = sizeof(struct bundle_list_opts),
	.run = bundle_list_run,
};
