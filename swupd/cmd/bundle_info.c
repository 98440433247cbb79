/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/catalog.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/common.h"

struct bundle_info_opts {
	const char *version;
	bool dependencies, files;
};

static const struct opt bundle_info_options[] = {
	{'V', "version", OPT_STRING, offsetof(struct bundle_info_opts, version), "N", "in this release ('latest')", 0,
	 0},
	{0, "dependencies", OPT_FLAG, offsetof(struct bundle_info_opts, dependencies), NULL, "list what it includes", 0,
	 0},
	{0, "files", OPT_FLAG, offsetof(struct bundle_info_opts, files), NULL, "list its paths", 0, 0},
	{0},
};

static void print_dependencies(struct ui *ui, const struct catalog *c, const struct manifest *own)
{
	ui_answer(ui, "includes:");
	for (size_t i = 0; i < c->n; i++)
		if (c->manifests[i] != own)
			ui_answer(ui, "  %s", c->names[i]);
	for (size_t i = 0; i < own->n_also_add; i++)
		ui_answer(ui, "  %s (optional)", own->also_add[i]);
}

static void print_files(struct ui *ui, const struct catalog *c)
{
	struct files files;

	files_of(c, &files);
	ui_answer(ui, "files:");
	for (size_t i = 0; i < files.n; i++)
		if (files.items[i]->kind != KIND_NONE)
			ui_answer(ui, "  %s", files.items[i]->name);
	files_free(&files);
}

static int choose_release(struct machine *m, const struct bundle_info_opts *o, uint32_t *release, struct err *e)
{
	int r = parse_release(o->version, release, e);

	if (r >= 0 && o->version && *release == 0)
		r = catalog_newest(m, release, e);
	if (r >= 0 && *release == 0)
		*release = m->release;
	if (r >= 0 && *release == 0)
		r = err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", m->path);
	return r;
}

static int bundle_info_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	const struct bundle_info_opts *o = opts;
	_cleanup_(strv_free) struct strv wanted = {0}, installed = {0}, tracked = {0};
	struct manifest *mom = NULL;
	struct catalog *c = NULL;
	uint32_t release;

	strv_add(&wanted, args->items[0]);
	int r = choose_release(m, o, &release, e);
	if (r >= 0)
		r = catalog_mom(m, release, &mom, e);
	if (r >= 0)
		r = catalog_load(m, mom, &wanted, false, NULL, NULL, &c, e);
	if (r >= 0)
		r = machine_bundles(m, &installed, e);
	if (r >= 0)
		r = machine_tracked(m, &tracked, e);
	if (r < 0) {
		catalog_free(c);
		return r;
	}
	const struct manifest *own = catalog_find(c, args->items[0]);
	uint64_t all = 0;
	for (size_t i = 0; i < c->n; i++)
		all += c->manifests[i]->contentsize;
	_cleanup_free_ char *size = text_size(own->contentsize), *with = text_size(all);
	ui_answer(m->ui, "bundle: %s", args->items[0]);
	ui_answer(m->ui, "status: %s",
		  strv_has(&tracked, args->items[0])     ? "explicitly installed"
		  : strv_has(&installed, args->items[0]) ? "installed"
							 : "not installed");
	ui_answer(m->ui, "release: %u, last changed in %u", release, own->release);
	ui_answer(m->ui, "size: %s, %s with all that it includes", size, with);
	if (o->dependencies)
		print_dependencies(m->ui, c, own);
	if (o->files)
		print_files(m->ui, c);
	catalog_free(c);
	return 0;
}

const struct command cmd_bundle_info = {
	.name = "bundle-info",
	.args = "BUNDLE",
	.args_min = 1,
	.args_max = 1,
	.summary = "show what a bundle is",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_SERVER | NEEDS_TRUST,
	.opts = bundle_info_options,
	.opts_size = sizeof(struct bundle_info_opts),
	.run = bundle_info_run,
};
