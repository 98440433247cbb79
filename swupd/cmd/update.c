/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/apply.h"
#include "swupd/client/bad.h"
#include "swupd/client/boot_update.h"
#include "swupd/client/catalog.h"
#include "swupd/client/machine.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/post.h"
#include "swupd/client/rehearse.h"
#include "swupd/client/restart.h"
#include "swupd/client/soft_reboot.h"
#include "swupd/client/update_head.h"
#include "swupd/cmd/cmd.h"
#include "swupd/cmd/common.h"

struct update_opts {
	const char *version;
	bool status, keepcache, download, in_place, next_boot, live;
	struct restart_options after;
	bool dry_run;
};

static const struct opt update_options[] = {
	{'V', "version", OPT_STRING, offsetof(struct update_opts, version), "N", "to this release ('latest')", 0, 0},
	{'m', "manifest", OPT_STRING, offsetof(struct update_opts, version), "N", NULL, 0, 0},
	{'s', "status", OPT_FLAG, offsetof(struct update_opts, status), NULL, "only say whether there is a newer one",
	 0, 0},
	{'k', "keepcache", OPT_FLAG, offsetof(struct update_opts, keepcache), NULL, "do not clean the cache afterwards",
	 0, 0},
	{0, "download", OPT_FLAG, offsetof(struct update_opts, download), NULL, "fetch everything, but change nothing",
	 0, 0},
	{0, "in-place", OPT_FLAG, offsetof(struct update_opts, in_place), NULL, "file by file, not by exchange of /usr",
	 0, 0},
	{0, "next-boot", OPT_FLAG, offsetof(struct update_opts, next_boot), NULL,
	 "in a snapshot of the root, which boots next", 0, 0},
	{0, "live", OPT_FLAG, offsetof(struct update_opts, live), NULL, "the running system, whatever is configured", 0,
	 0},
	{0, "restart", OPT_FLAG, offsetof(struct update_opts, after.services), NULL,
	 "restart services that use replaced files", 0, 0},
	{0, "soft-reboot", OPT_FLAG, offsetof(struct update_opts, after.userspace), NULL,
	 "restart all of userspace afterwards", 0, 0},
	{0, "dry-run", OPT_FLAG, offsetof(struct update_opts, dry_run), NULL, "only say what would be done", 0, 0},
	{0},
};

static int note_downloaded(const struct machine *m, uint32_t release, struct err *e)
{
	_cleanup_free_ char *text = xasprintf("%" PRIu32 "\n", release);

	return fs_save_cache(m->cache, DOWNLOADED, text, strlen(text), 0644, e);
}

/* No server answers, but a release was downloaded: that is the newest that can be had. Of wanted only that. */
static bool is_downloaded(const struct machine *m, int r, uint32_t wanted, uint32_t *release)
{
	_cleanup_(buf_free) struct buf text = {0};

	if ((r != -ERR_CONNECT && r != -ERR_TLS && r != -ERR_DOWNLOAD) ||
	    fs_load(m->cache, DOWNLOADED, 32, &text, NULL) < 0)
		return false;
	return text_u32(text_trim(text.data), m->release + 1, INT32_MAX, release) == 0 &&
	       (!wanted || wanted == *release);
}

/* The release to go to; m->release when there is nothing to do. */
static int choose_target(struct machine *m, const struct update_opts *o, uint32_t *target, struct err *e)
{
	uint32_t wanted = 0, newest;
	int r = parse_release(o->version, &wanted, e);

	if (r < 0)
		return r;
	if (wanted && wanted < m->release)
		return err_hint(e,
				err_set(e, -ERR_USAGE, "release %u is older than the installed %u", wanted, m->release),
				"'swupd repair --force --version=%u' goes back", wanted);
	r = catalog_newest(m, &newest, e);
	if (wanted && (r == -ERR_STALE || r == -ERR_EXPIRED)) {
		/* a mirror that is out of date has it all the same; its MoM is verified as any */
		ui_warn(m->ui, "%s", e->text);
		err_clear(e);
		newest = wanted;
	} else if (is_downloaded(m, r, wanted, &newest)) {
		ui_warn(m->ui, "%s; going on with release %" PRIu32 ", which is downloaded", e->text, newest);
		err_clear(e);
		m->offline = true;
	} else if (r < 0) {
		return r;
	}
	*target = wanted && wanted < newest ? wanted : newest;
	if (*target < m->release)
		*target = m->release;
	return 0;
}

/* What remains of the installed bundles, and what is forgotten because the release has dropped it. */
static int follow_bundles(struct machine *m, const struct strv *installed, const struct strv *missing,
			  struct strv *unmark)
{
	for (size_t i = 0; i < missing->n; i++) {
		if (!strv_has(installed, missing->items[i]))
			continue;
		ui_message(m->ui, "bundle '%s' is no longer part of the OS and is removed", missing->items[i]);
		strv_add(unmark, missing->items[i]);
	}
	return 0;
}

static int load_target(struct machine *m, uint32_t target, const struct content *old, struct content *new,
		       struct strv *unmark, struct err *e)
{
	_cleanup_(strv_free) struct strv installed = {0}, missing = {0};
	struct manifest *mom = NULL;

	int r = update_head_fetch(m, target, old->catalog, e);
	if (r >= 0)
		r = catalog_mom(m, target, &mom, e);
	if (r >= 0)
		r = machine_bundles(m, &installed, e);
	if (r >= 0)
		r = catalog_load(m, mom, &installed, false, old->catalog, &missing, &new->catalog, e);
	if (r < 0)
		return r;
	files_of(new->catalog, &new->files);
	return follow_bundles(m, &installed, &missing, unmark);
}

/* --live and --in-place are there for a configuration that says next_boot. */
static enum commit commit_of(const struct update_opts *o)
{
	if (o->download)
		return COMMIT_DOWNLOAD;
	if (o->in_place)
		return COMMIT_IN_PLACE;
	return o->next_boot && !o->live ? COMMIT_NEXT_BOOT : COMMIT_BY_EXCHANGE;
}

static int update_to(struct machine *m, const struct update_opts *o, uint32_t target, struct err *e)
{
	_cleanup_(content_free) struct content old = {0}, new = {0};
	_cleanup_(plan_freep) struct plan *p = plan_new(m->release, target);
	const enum commit how = commit_of(o);
	uint64_t files, bytes;

	if (!o->dry_run)
		ui_message(m->ui, "updating from release %u to %u", m->release, target);
	progress_stage(m->progress, "load_manifests", 0, false);
	int r = catalog_installed(m, &old.catalog, e);
	if (r == -ERR_MOM)
		return err_hint(e, r, "'swupd repair --picky --version=%u' goes by what is on the disk", target);
	if (r < 0)
		return r;
	files_of(old.catalog, &old.files);
	r = load_target(m, target, &old, &new, &p->unmark, e);
	if (r >= 0)
		r = plan_update(m, &old.files, &new.files, p, e);
	if (r >= 0 && how == COMMIT_NEXT_BOOT && o->after.userspace)
		r = soft_reboot_check_plan(p, e);
	if (r >= 0)
		r = (o->dry_run ? rehearse : apply)(m, p, old.catalog, new.catalog, how, e);
	if (r < 0)
		return m->release == target ? r : err_in(e, r, "cannot update to release %u", target);
	if (o->dry_run)
		return 0;
	progress_end(m->progress);
	ui_message(m->ui,
		   how == COMMIT_DOWNLOAD    ? "release %u is downloaded: %zu paths to change"
		   : how == COMMIT_NEXT_BOOT ? "release %u is prepared for the next boot: %zu paths changed"
					     : "release %u is installed: %zu paths changed",
		   target, p->n_changes);
	/* it was named, and works */
	if (how != COMMIT_DOWNLOAD && how != COMMIT_NEXT_BOOT)
		r = bad_forget(m, target, e);
	if (r < 0)
		return r;
	if (o->download)
		return note_downloaded(m, target, e);
	(void)unlinkat(m->cache, DOWNLOADED, 0);
	if (o->keepcache)
		return 0;
	return clean_cache(m, false, false, &files, &bytes, e);
}

/*
 * A release that ends a format (spec/swupd-format.md section 1.3) installs the next format's number: then go on from there, as the program that
 * it brought.
 */
static int go_on_in_new_format(struct machine *m, const char *format_before, bool named, struct err *e)
{
	_cleanup_free_ char *format = machine_installed_format(m);

	if (!format || !format_before || strcmp(format, format_before) == 0 || named || m->opts->format)
		return 0;
	uint32_t state = m->release;
	int r = machine_read_release(m, e);
	if (r < 0)
		return r;
	if (m->release < state)
		return err_set(e, -ERR_RELEASE, "os-release says %u after an update to %u", m->release, state);
	ui_message(m->ui, "the format is now %s: looking for releases of it", format);
	free(m->format_text);
	m->format_text = take(format);
	return text_u32(m->format_text, 1, INT32_MAX, &m->format) < 0
		       ? err_set(e, -ERR_FORMAT, "the new format '%s' is not a number", m->format_text)
		       : 1;
}

/* What this machine already knows of the release. 1: there is nothing to do. */
static int check_known(struct machine *m, const struct update_opts *o, bool named, uint32_t target, struct err *e)
{
	_cleanup_free_ char *bad = bad_reason(m, target);
	_cleanup_(next_boot_pending_clear) struct next_boot_pending p = {0};

	if (bad && !named)
		return err_hint(e,
				err_set(e, -ERR_RELEASE,
					"release %u is the newest, but it is known not to work here: %s", target, bad),
				"wait for the next one; 'swupd update --version=%u' tries it again", target);
	const bool pending = next_boot_pending(m, &p) > 0;
	/* a soft reboot takes what is there, however it is committed otherwise */
	const bool soft = o->after.userspace && commit_of(o) == COMMIT_BY_EXCHANGE && !o->live;
	if (!pending || p.to != target || (commit_of(o) != COMMIT_NEXT_BOOT && !soft))
		return 0;
	ui_message(m->ui,
		   o->after.userspace ? "release %u is already prepared"
				      : "release %u is already prepared: it boots next",
		   target);
	return 1;
}

/* 1: the release is prepared for the next boot. */
static int update_all(struct machine *m, const struct update_opts *o, struct err *e)
{
	uint32_t target = 0;

	for (;;) {
		int r = m->release ? choose_target(m, o, &target, e)
				   : err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", m->path);
		if (r < 0)
			return r;
		if (o->status) {
			ui_answer(m->ui,
				  target > m->release ? "installed: %u, newest: %u" : "installed: %u, the newest",
				  m->release, target);
			return target > m->release ? 0 : -ERR_NO;
		}
		if (target == m->release) {
			ui_message(m->ui, "release %u is already the newest", m->release);
			r = o->keepcache ? 0 : clean_downloads(m, e);
			return r < 0 ? r : boot_complete(m, e);
		}
		const bool named = o->version && strcmp(o->version, "latest") != 0;
		r = check_known(m, o, named, target, e);
		if (r != 0)
			return r;
		_cleanup_free_ char *format = machine_installed_format(m);
		r = update_to(m, o, target, e);
		const enum commit how = commit_of(o);
		if (r < 0 || o->dry_run || how == COMMIT_DOWNLOAD || how == COMMIT_NEXT_BOOT)
			return r < 0 ? r : how == COMMIT_NEXT_BOOT && !o->dry_run;
		r = go_on_in_new_format(m, format, named, e);
		if (r <= 0)
			return r;
	}
}

static int update_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	const struct update_opts *o = opts;

	(void)args;
	const bool change = !o->status && !o->dry_run && !o->download;
	if ((o->after.services && (!change || commit_of(o) == COMMIT_NEXT_BOOT)) || (o->after.userspace && !change))
		return err_set(e, -ERR_USAGE, "--restart and --soft-reboot go with an update that is made now");
	int r = restart_check(m, &o->after, e);
	if (r >= 0 && o->after.userspace && commit_of(o) == COMMIT_NEXT_BOOT)
		r = soft_reboot_check(m, e);
	if (r >= 0)
		r = machine_need(m, (o->dry_run ? NEEDS_REHEARSAL : NEEDS_STATE | NEEDS_LOCK) | NEEDS_TRUST, e);
	const uint32_t before = m->release;
	if (r < 0)
		return r;
	r = restart_follow(m, &o->after, before, update_all(m, o, e), e);
	return r > 0 && o->after.userspace ? soft_reboot_prepared(m, e) : MIN(r, 0);
}

const struct command cmd_update = {
	.name = "update",
	.args = "",
	.summary = "bring this system to the newest release",
	.needs = NEEDS_ROOT_USER | NEEDS_SERVER, /* and more, by its options */
	.opts = update_options,
	.opts_size = sizeof(struct update_opts),
	.run = update_run,
};
