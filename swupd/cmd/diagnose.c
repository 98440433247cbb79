/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/cmd/diagnose.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/client/apply.h"
#include "swupd/client/catalog.h"
#include "swupd/client/machine.h"
#include "swupd/client/post.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/common.h"

#define FIELD(name) offsetof(struct diagnose_opts, name)
const struct opt verify_options[] = {
	{'f', "fix", OPT_FLAG, FIELD(fix), NULL, "repair what is found", 0, 0},
	{'i', "install", OPT_FLAG, FIELD(install), NULL, "install into an empty root", 0, 0},
	{'V', "version", OPT_STRING, FIELD(version), "N", "compare with this release", 0, 0},
	{'m', "manifest", OPT_STRING, FIELD(version), "N", NULL, 0, 0},
	{'x', "force", OPT_FLAG, FIELD(force), NULL, "also with another format or release", 0, 0},
	{'q', "quick", OPT_FLAG, FIELD(quick), NULL, "only look for missing files", 0, 0},
	{'B', "bundles", OPT_LIST, FIELD(bundles), "A,B…", "only these bundles", 0, 0},
	{'Y', "picky", OPT_FLAG, FIELD(picky), NULL, "also files that are in no manifest", 0, 0},
	{'X', "picky-tree", OPT_STRING, FIELD(picky_tree), "DIR", "where to look for those (/usr)", 0, 0},
	{'w', "picky-whitelist", OPT_STRING, FIELD(picky_whitelist), "REGEX", "paths that are not looked at", 0, 0},
	{0, "extra-files-only", OPT_FLAG, FIELD(extra_files_only), NULL, "only files that are in no manifest", 0, 0},
	{0, "file", OPT_STRING, FIELD(file), "PATH", "only this path and what is below", 0, 0},
	{0},
};
#define DIAGNOSE_OPTIONS (verify_options + 2) /* all but --fix and --install */

struct finding {
	char *name;
	enum difference kind;
};

struct findings {
	struct finding *items;
	size_t n, cap;
	size_t count[4];
	bool fix;
};

static void findings_free(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->items[i].name);
	free(f->items);
}

static int collect_finding(void *arg, enum difference kind, const char *name)
{
	struct findings *f = arg;

	VEC_GROW(f->items, f->n, f->cap);
	f->items[f->n++] = (struct finding){.name = xstrdup(name), .kind = kind};
	f->count[kind]++;
	return f->fix;
}

static void print_findings(struct machine *m, const struct findings *f, bool fixed)
{
	static const char *const what[] = {"Missing file", "Hash mismatch for file", "File that should be deleted",
					   "Extra file"};
	const char *good[] = {" -> fixed", " -> fixed", " -> deleted", " -> deleted"};
	const char *bad[] = {" -> not fixed", " -> not fixed", " -> not deleted", " -> not deleted"};

	for (size_t i = 0; i < f->n; i++) {
		enum difference kind = f->items[i].kind;
		ui_message(m->ui, "-> %s: %s%s%s", what[kind], strcmp(m->path, "/") == 0 ? "" : m->path,
			   f->items[i].name,
			   !f->fix ? ""
			   : fixed ? good[kind]
				   : bad[kind]);
	}
	if (f->count[DIFFERENCE_MISSING])
		ui_message(m->ui, "%zu files were missing", f->count[DIFFERENCE_MISSING]);
	if (f->count[DIFFERENCE_CHANGED])
		ui_message(m->ui, "%zu files did not match", f->count[DIFFERENCE_CHANGED]);
	if (f->count[DIFFERENCE_DELETED_PRESENT] + f->count[DIFFERENCE_EXTRA])
		ui_message(m->ui, "%zu files should not be there",
			   f->count[DIFFERENCE_DELETED_PRESENT] + f->count[DIFFERENCE_EXTRA]);
}

static int check_options(const struct diagnose_opts *o, struct err *e)
{
	if (o->quick && (o->picky || o->extra_files_only))
		return err_set(e, -ERR_USAGE, "--quick goes neither with --picky nor with --extra-files-only");
	if (o->picky && o->extra_files_only)
		return err_set(e, -ERR_USAGE, "--picky and --extra-files-only exclude each other");
	if (o->bundles.n && (o->picky || o->extra_files_only))
		return err_set(e, -ERR_USAGE, "--bundles goes neither with --picky nor with --extra-files-only");
	if (o->file && *o->file != '/')
		return err_set(e, -ERR_USAGE, "--file: '%s' is not an absolute path", o->file);
	return 0;
}

/* Which release, which bundles, which files. */
static int load_wanted(struct machine *m, const struct diagnose_opts *o, bool fix, uint32_t *release, struct content *c,
		       struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0}, missing = {0};
	struct manifest *mom = NULL;

	int r = parse_release(o->version, release, e);
	if (r >= 0 && o->version && *release == 0)
		r = err_set(e, -ERR_USAGE, "--version needs a number here");
	if (r < 0)
		return r;
	if (*release == 0)
		*release = m->release;
	if (*release == 0)
		return err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", m->path);
	if (fix && *release != m->release && !o->force && !o->picky)
		return err_hint(e, err_set(e, -ERR_USAGE, "release %u is installed, not %u", m->release, *release),
				"--force or --picky repairs to another release");
	for (size_t i = 0; i < o->bundles.n; i++)
		strv_add(&names, o->bundles.items[i]);
	if (names.n == 0)
		r = machine_bundles(m, &names, e);
	if (r >= 0)
		r = catalog_mom(m, *release, &mom, e);
	if (r < 0)
		return r;
	if (m->format && mom->format != m->format && !o->force) {
		r = err_hint(
			e,
			err_set(e, -ERR_MANIFEST, "release %u has format %u, not %u", *release, mom->format, m->format),
			"--force goes on all the same");
		manifest_free(mom);
		return r;
	}
	r = catalog_load(m, mom, &names, false, NULL, o->force ? &missing : NULL, &c->catalog, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < missing.n; i++)
		ui_warn(m->ui, "release %u has no bundle '%s'", *release, missing.items[i]);
	/* with other bundles' names the includes are not meant; installed ones are all there anyway */
	catalog_keep(c->catalog, &names);
	files_of(c->catalog, &c->files);
	return 0;
}

int diagnose(struct machine *m, const struct diagnose_opts *o, bool fix, struct err *e)
{
	_cleanup_(findings_free) struct findings f = {.fix = fix};
	_cleanup_(content_free) struct content c = {0};
	const struct check_options how = {
		.quick = o->quick,
		.picky = o->picky,
		.extra_only = o->extra_files_only,
		.picky_tree = o->picky_tree,
		.picky_whitelist = o->picky_whitelist,
		.file = o->file,
	};
	uint64_t files, bytes;
	uint32_t release;

	int r = check_options(o, e);
	if (r >= 0) {
		progress_stage(m->progress, "load_manifests", 0, false);
		r = load_wanted(m, o, fix, &release, &c, e);
	}
	if (r < 0)
		return r;
	ui_message(m->ui, fix ? "repairing release %u in %s" : "comparing release %u with %s", release, m->path);
	_cleanup_(plan_freep) struct plan *p = plan_new(m->release, release);
	r = plan_check(m, &c.files, &how, collect_finding, &f, p, e);
	if (r >= 0 && fix && f.n)
		r = apply(m, p, NULL, c.catalog, COMMIT_IN_PLACE, e);
	progress_end(m->progress);
	print_findings(m, &f, r >= 0);
	if (r < 0)
		return r;
	if (f.n == 0)
		ui_message(m->ui, "nothing is wrong: %zu paths", c.files.n);
	if (fix)
		return clean_cache(m, false, false, &files, &bytes, e);
	return f.n ? -ERR_NO : 0;
}

static int diagnose_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	(void)args;
	return diagnose(context, opts, false, e);
}

static int repair_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	(void)args;
	return diagnose(context, opts, true, e);
}

const struct command cmd_diagnose = {
	.name = "diagnose",
	.args = "",
	.summary = "compare the system with its release",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK | NEEDS_SERVER | NEEDS_TRUST,
	.opts = DIAGNOSE_OPTIONS,
	.opts_size = sizeof(struct diagnose_opts),
	.run = diagnose_run,
};

const struct command cmd_repair = {
	.name = "repair",
	.args = "",
	.summary = "make the system what its release says",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK | NEEDS_SERVER | NEEDS_TRUST,
	.opts = DIAGNOSE_OPTIONS,
	.opts_size = sizeof(struct diagnose_opts),
	.run = repair_run,
};
