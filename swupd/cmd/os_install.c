/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/client/apply.h"
#include "swupd/client/catalog.h"
#include "swupd/client/machine.h"
#include "swupd/client/post.h"
#include "swupd/client/stage.h"
#include "swupd/client/update_head.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/common.h"
#include "swupd/cmd/os_install.h"

static const struct opt os_install_options[] = {
	{'V', "version", OPT_STRING, offsetof(struct os_install_opts, version), "N", "this release, not the newest", 0,
	 0},
	{'x', "force", OPT_FLAG, offsetof(struct os_install_opts, force), NULL, "also into a root that is not empty", 0,
	 0},
	{'B', "bundles", OPT_LIST, offsetof(struct os_install_opts, bundles), "A,B…",
	 "these and what they include, not os-core", 0, 0},
	{'s', "statedir-cache", OPT_STRING, offsetof(struct os_install_opts, statedir_cache), "DIR",
	 "a cache to look into before the server", 0, 0},
	{0, "download", OPT_FLAG, offsetof(struct os_install_opts, download), NULL,
	 "fetch everything, but install nothing", 0, 0},
	{0, "skip-optional", OPT_FLAG, offsetof(struct os_install_opts, skip_optional), NULL,
	 "without the optional bundles", 0, 0},
	{0},
};

static int check_empty(struct machine *m, const struct os_install_opts *o, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	if (o->force)
		return 0;
	int r = fs_list(m->root, "usr", &names, NULL);
	/* an interrupted or --download run leaves its staged objects */
	if (r == -ENOENT || (r >= 0 && (names.n == 0 || (names.n == 1 && strcmp(names.items[0], ".swupd") == 0))))
		return 0;
	return err_hint(e, err_set(e, -EEXIST, "cannot install into %s: it has a usr already", m->path),
			"give another directory, or --force");
}

/* Take what another cache has of manifests; every use of them verifies them. */
static int use_part(struct machine *m, const char *part, int from, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = fs_list(from, ".", &names, e);
	_cleanup_close_ int to = r < 0 ? r : fs_make_dir(m->cache, part, 0755, e);
	r = to;
	for (size_t i = 0; i < names.n && r >= 0; i++) {
		const char *name = names.items[i];
		struct stat st;
		if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && !fs_exists(to, name))
			r = fs_link_or_copy(from, name, to, name, e);
	}
	return r;
}

static int use_cache(struct machine *m, const char *path, struct err *e)
{
	static const char *const parts[] = {"mom", "manifest"};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts) && r >= 0; i++) {
		_cleanup_free_ char *dir = xasprintf("%s/%s", path, parts[i]);
		_cleanup_close_ int from = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (from >= 0)
			r = use_part(m, parts[i], from, e);
	}
	return r;
}

static int load_release(struct machine *m, const struct os_install_opts *o, uint32_t release, struct content *new,
			struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct manifest *mom = NULL;

	progress_stage(m->progress, "load_manifests", 0, false);
	int r = expand_bundles(m, &o->bundles, &names, e);
	if (names.n == 0)
		strv_add(&names, "os-core");
	if (r >= 0)
		r = update_head_fetch_whole(m, release, true, e);
	if (r >= 0)
		r = catalog_mom(m, release, &mom, e);
	if (r >= 0 && m->format && mom->format != m->format && !o->force) {
		r = err_hint(
			e,
			err_set(e, -ERR_MANIFEST, "release %u has format %u, not %u", release, mom->format, m->format),
			"--format=%u", mom->format);
		manifest_free(mom);
	}
	if (r >= 0)
		r = catalog_load(m, mom, &names, !o->skip_optional, NULL, NULL, &new->catalog, e);
	if (r >= 0)
		files_of(new->catalog, &new->files);
	return r;
}

int os_install(struct machine *m, const struct os_install_opts *o, struct err *e)
{
	_cleanup_(content_free) struct content new = {0};
	uint32_t release, newest;
	uint64_t files, bytes;

	int r = check_empty(m, o, e);
	if (r >= 0)
		r = parse_release(o->version, &release, e);
	if (r >= 0 && o->statedir_cache)
		r = use_cache(m, o->statedir_cache, e);
	if (r >= 0 && release == 0) {
		r = catalog_newest(m, &newest, e);
		release = newest;
	}
	if (r < 0)
		return r;
	ui_message(m->ui, "installing release %u into %s", release, m->path);
	_cleanup_(plan_freep) struct plan *p = plan_new(0, release);
	r = load_release(m, o, release, &new, e);
	if (r >= 0)
		r = plan_add(m, NULL, &new.files, true, p, e);
	for (size_t i = 0; r >= 0 && i < o->bundles.n; i++)
		strv_add(&p->mark, o->bundles.items[i]);
	strv_sort_unique(&p->mark);
	if (r >= 0)
		r = fs_mkdirs(m->root, "usr", 0755, e);
	if (r >= 0)
		r = apply(m, p, NULL, new.catalog, o->download ? COMMIT_DOWNLOAD : COMMIT_IN_PLACE, e);
	if (r < 0)
		return err_in(e, r, "cannot install release %u", release);
	progress_end(m->progress);
	ui_message(m->ui, o->download ? "release %u is downloaded" : "release %u is installed in %s", release, m->path);
	return o->download ? 0 : clean_cache(m, false, false, &files, &bytes, e);
}

static int os_install_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	(void)args; /* main made the argument the root */
	return os_install(context, opts, e);
}

const struct command cmd_os_install = {
	.name = "os-install",
	.args = "[DIR]",
	.args_max = 1,
	.summary = "install a release into an empty directory",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE | NEEDS_LOCK | NEEDS_SERVER | NEEDS_TRUST | NEEDS_NEW_ROOT,
	.opts = os_install_options,
	.opts_size = sizeof(struct os_install_opts),
	.run = os_install_run,
};
