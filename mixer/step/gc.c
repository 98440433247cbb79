/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/gc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/coverage.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "mixer/step/ways.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/needs.h"
#include "swupd/content/pack.h"
#include "swupd/content/ways.h"

#define WWW      "update/www"
#define RELEASES "update/releases"
#define IMAGES   "update/images"

/* A release that is published, or was: then only its lists are there. */
struct candidate {
	struct manifest *mom;
	bool is_whole;
	const char *why; /* it stays; NULL: it goes */
};

struct total {
	uint64_t files, bytes;
};

struct collecting {
	const struct mix *m;
	struct release_numbers numbers;
	struct candidate *releases; /* from low to high */
	size_t n;
	struct needs *needs;
	struct ways steps;   /* all that there are */
	struct ways kept;    /* those that are needed */
	struct strv victims; /* files and empty directories below the workspace, in the order in which they go */
	struct total all;
};

static void collecting_clear(struct collecting *c)
{
	for (size_t i = 0; i < c->n; i++)
		manifest_free(c->releases[i].mom);
	free(c->releases);
	release_numbers_clear(&c->numbers);
	strv_free(&c->victims);
	ways_clear(&c->steps);
	ways_clear(&c->kept);
	needs_free(c->needs);
}

/* -- what stays -- */

static struct candidate *find(struct collecting *c, uint32_t release)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->releases[i].mom->release == release && c->releases[i].is_whole)
			return &c->releases[i];
	return NULL;
}

static bool stays(struct collecting *c, uint32_t release)
{
	const struct candidate *x = find(c, release);

	return x && x->why;
}

static void keep(struct candidate *x, const char *why)
{
	if (x && !x->why)
		x->why = why;
}

static int list_releases(struct collecting *c, struct err *e)
{
	int r = release_list(c->m, &c->numbers, e);
	c->releases = xcalloc(c->numbers.n + 1, sizeof(*c->releases));
	for (size_t i = 0; r >= 0 && i < c->numbers.n; i++) {
		const uint32_t release = c->numbers.items[i];
		_cleanup_free_ char *mom = xasprintf(WWW "/%u/Manifest.MoM", release);
		if (!fs_exists(c->m->config->dir, mom))
			continue;
		r = release_load_mom(c->m, release, &c->releases[c->n].mom, e);
		if (r >= 0)
			c->releases[c->n++].is_whole = release_is_whole(c->m, release);
	}
	return r;
}

static int keep_covered(struct collecting *c, struct err *e)
{
	_cleanup_(history_clear) struct history h = {0};

	int r = coverage_load(c->m, c->m->previous, COVER_BY_POLICY, &h, e);
	for (size_t i = 1; r >= 0 && i < h.n; i++)
		if (h.items[i].covered)
			keep(find(c, h.items[i].release), "covered");
	return r;
}

static int keep_named(struct collecting *c, const struct strv *list, struct err *e)
{
	for (size_t i = 0; i < list->n; i++) {
		uint32_t release;
		struct candidate *x = text_u32(list->items[i], 1, INT32_MAX, &release) < 0 ? NULL : find(c, release);
		if (!x)
			return err_hint(e,
					err_set(e, -ERR_RELEASE, "release %s is to be kept, but it is not published",
						list->items[i]),
					"nothing was removed");
		keep(x, "named");
	}
	return 0;
}

/* What clients are told to go to. */
static int keep_latest(struct collecting *c, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0}, paths = {0};

	strv_take(&paths, layout_latest_version());
	int r = fs_exists(c->m->config->dir, WWW "/version") ? fs_list(c->m->config->dir, WWW "/version", &names, e)
							     : 0;
	for (size_t i = 0; i < names.n; i++)
		if (text_starts(names.items[i], "format"))
			strv_take(&paths, xasprintf("version/%s/latest", names.items[i]));
	for (size_t i = 0; r >= 0 && i < paths.n; i++) {
		_cleanup_free_ char *path = xasprintf(WWW "/%s", paths.items[i]);
		_cleanup_(buf_free) struct buf text = {0};
		uint32_t release;
		if (!fs_exists(c->m->config->dir, path))
			continue;
		r = fs_load(c->m->config->dir, path, SMALL_TEXT_MAX, &text, e);
		if (r >= 0 && text_u32(text_trim(text.data), 1, INT32_MAX, &release) == 0)
			keep(find(c, release), "the newest of its format");
	}
	return r;
}

/* The last of each format, and the first of each but the oldest. */
static void keep_format_ends(struct collecting *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const uint32_t format = c->releases[i].mom->format;
		bool last = c->releases[i].is_whole, first = last, older = false;
		for (size_t k = 0; k < c->n; k++) {
			const uint32_t other = c->releases[k].mom->format;
			if (!c->releases[k].is_whole)
				continue;
			last = last && !(other == format && k > i);
			first = first && !(other == format && k < i);
			older = older || other < format;
		}
		if (last)
			keep(&c->releases[i], "the last of its format");
		if (first && older)
			keep(&c->releases[i], "the first of its format");
	}
}

static int choose(struct collecting *c, const struct strv *named, struct err *e)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->releases[i].mom->release >= c->m->previous && c->releases[i].is_whole)
			keep(&c->releases[i],
			     c->releases[i].mom->release == c->m->previous ? "the newest" : "not announced yet");
	int r = keep_covered(c, e);
	if (r >= 0)
		r = keep_named(c, &c->m->config->keep, e);
	if (r >= 0)
		r = keep_named(c, named, e);
	if (r >= 0)
		r = keep_latest(c, e);
	keep_format_ends(c);
	return r;
}

/* -- what they need -- */

static int mark_release(struct collecting *c, const struct manifest *mom, struct err *e)
{
	int r = 0;

	needs_add_mom(c->needs, mom);
	for (size_t i = 0; r >= 0 && i < mom->n_entries; i++) {
		_cleanup_(manifest_freep) struct manifest *bundle = NULL;
		const struct entry *line = &mom->entries[i];
		if (needs_has_bundle(c->needs, line))
			continue;
		r = release_load_bundle(c->m, line, &bundle, e);
		if (r >= 0)
			needs_add_bundle(c->needs, mom->release, line, bundle);
	}
	return r < 0 ? err_hint(e, err_in(e, r, "release %u is not whole", mom->release), "nothing was removed") : 0;
}

/* The steps from one release to another, each with its file. */
static void mark_way(struct collecting *c, const struct ways *chosen, uint32_t from, uint32_t to)
{
	_cleanup_(ways_clear) struct ways way = {0};

	ways_follow(chosen, from, to, &way);
	for (size_t i = 0; i < way.n; i++) {
		const struct way_step *step = &way.items[i];
		_cleanup_free_ char *path = layout_update(step->to, step->from);
		if (needs_find(c->needs, path))
			continue;
		needs_add_update(c->needs, step->from, step->to);
		ways_add(&c->kept, step->from, step->to, step->bytes);
	}
}

/* A machine with a release that goes can leave it for as long as the policy looks back. */
static bool must_be_left(struct collecting *c, const struct candidate *x)
{
	const int64_t since =
		find(c, c->m->previous)->mom->timestamp - (int64_t)c->m->config->cover_days * INT64_C(86400);

	return !x->why && x->mom->timestamp >= since;
}

static void mark_ways(struct collecting *c)
{
	for (size_t i = 0; i < c->n; i++) {
		_cleanup_(ways_clear) struct ways chosen = {0};
		const struct candidate *to = &c->releases[i];
		if (!to->why)
			continue;
		ways_choose(&c->steps, to->mom->release, &chosen);
		mark_way(c, &chosen, 0, to->mom->release);
		for (size_t k = 0; k < i; k++) {
			const struct candidate *from = &c->releases[k];
			if (from->why)
				needs_add_classic(c->needs, from->mom, to->mom);
			if (from->why || must_be_left(c, from))
				mark_way(c, &chosen, from->mom->release, to->mom->release);
		}
	}
}

static void mark_lists(struct collecting *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (must_be_left(c, &c->releases[i]))
			needs_add_lists(c->needs, c->releases[i].mom);
}

static int mark(struct collecting *c, struct err *e)
{
	int r = ways_list(c->m, INT32_MAX, &c->steps, e);

	for (size_t i = 0; r >= 0 && i < c->n; i++)
		if (c->releases[i].why)
			r = mark_release(c, c->releases[i].mom, e);
	if (r >= 0) {
		mark_ways(c);
		mark_lists(c);
	}
	return r;
}

/* -- what goes -- */

static void add_victim(struct collecting *c, char *path, const struct stat *st, struct total *t)
{
	strv_take(&c->victims, path);
	if (S_ISDIR(st->st_mode))
		return;
	t->files++;
	t->bytes += (uint64_t)st->st_size;
}

/* All below, then itself. Returns 1. */
static int sweep_tree(struct collecting *c, char *path, struct total *t, struct err *e)
{
	_cleanup_free_ char *own = path;
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;
	int r = 0;

	if (fstatat(c->m->config->dir, own, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "%s", own);
	if (S_ISDIR(st.st_mode))
		r = fs_list(c->m->config->dir, own, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		r = sweep_tree(c, xasprintf("%s/%s", own, names.items[i]), t, e);
	if (r >= 0)
		add_victim(c, take(own), &st, t);
	return r < 0 ? r : 1;
}

/* Between an object that some release has and one that lies beside it. Nobody but the predecessor's tools asks for them, so none is needed by itself. */
static bool is_needed_delta(const struct collecting *c, uint32_t release, const char *name)
{
	struct digest from, to;
	const char *dash = strrchr(name, '-');

	if (!text_starts(name, "10-20-") || !dash || dash - name != 6 + DIGEST_HEX - 1)
		return false;
	_cleanup_free_ char *first = xstrndup(name + 6, DIGEST_HEX - 1);
	if (digest_parse(first, &from) < 0 || digest_parse(dash + 1, &to) < 0)
		return false;
	_cleanup_free_ char *fullfile = layout_fullfile(release, &to);
	return needs_find(c->needs, fullfile) && needs_has_object(c->needs, &from);
}

/* What we publish in the folder of a release. Other files that lie there go with it, but not before. */
static bool is_ours(const char *name)
{
	return text_starts(name, "Manifest.") || text_starts(name, "Manifest-") || text_starts(name, "pack-") ||
	       text_starts(name, LAYOUT_UPDATE) || text_starts(name, ".new.");
}

struct folder {
	uint32_t release;
	bool stays;
	struct total goes, left; /* left: of a release that goes, what others need */
};

/* files or delta. 1: nothing is left in it */
static int sweep_below(struct collecting *c, struct folder *f, const char *sub, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf(WWW "/%u/%s", f->release, sub);
	_cleanup_(strv_free) struct strv names = {0};
	const bool deltas = strcmp(sub, "delta") == 0;
	size_t left = 0;

	int r = fs_list(c->m->config->dir, dir, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *name = xasprintf("%u/%s/%s", f->release, sub, names.items[i]);
		char *path = xasprintf(WWW "/%s", name);
		struct stat st;
		const bool needed =
			deltas ? is_needed_delta(c, f->release, names.items[i]) : needs_find(c->needs, name) != NULL;
		if (fstatat(c->m->config->dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			r = err_errno(e, "%s", path);
			free(path);
		} else if (needed) {
			left++;
			f->left.files++;
			f->left.bytes += (uint64_t)st.st_size;
			free(path);
		} else {
			add_victim(c, path, &st, &f->goes);
		}
	}
	return r < 0 ? r : left == 0;
}

/* 1: it goes, 0: it stays */
static int sweep_name(struct collecting *c, struct folder *f, const char *name, struct err *e)
{
	_cleanup_free_ char *below = layout_release_file(f->release, name), *path = xasprintf(WWW "/%s", below);
	struct stat st;
	int r = 1;

	if (fstatat(c->m->config->dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "%s", path);
	if (S_ISDIR(st.st_mode)) {
		if (strcmp(name, "files") != 0 && strcmp(name, "delta") != 0)
			return f->stays ? 0 : sweep_tree(c, take(path), &f->goes, e);
		r = sweep_below(c, f, name, e);
	} else if (needs_find(c->needs, below)) {
		f->left.files++;
		f->left.bytes += (uint64_t)st.st_size;
		return 0;
	} else if (f->stays && !is_ours(name)) {
		return 0;
	}
	if (r > 0)
		add_victim(c, take(path), &st, &f->goes);
	return r;
}

/* Without it, it is no release: that goes first. */
static void put_mark_first(struct strv *names)
{
	for (size_t i = 1; i < names->n; i++) {
		char *mark = names->items[i];
		if (strcmp(mark, RELEASE_MARK) != 0)
			continue;
		memmove(names->items + 1, names->items, i * sizeof(*names->items));
		names->items[0] = mark;
	}
}

static int sweep_folder(struct collecting *c, struct folder *f, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf(WWW "/%u", f->release);
	_cleanup_(strv_free) struct strv names = {0};
	bool empty = true;
	struct stat st;

	int r = fs_list(c->m->config->dir, dir, &names, e);
	put_mark_first(&names);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		r = sweep_name(c, f, names.items[i], e);
		empty = empty && r > 0;
	}
	if (r >= 0 && empty && fstatat(c->m->config->dir, dir, &st, AT_SYMLINK_NOFOLLOW) == 0)
		add_victim(c, take(dir), &st, &f->goes);
	return r < 0 ? r : 0;
}

static void say_folder(const struct collecting *c, const struct folder *f)
{
	_cleanup_free_ char *goes = text_size(f->goes.bytes), *left = text_size(f->left.bytes);

	if (f->stays && f->goes.files)
		ui_answer(c->m->ui, "release %u: %llu files for clients of releases that go, %s", f->release,
			  (unsigned long long)f->goes.files, goes);
	if (f->stays || !f->goes.files)
		return;
	if (f->left.files)
		ui_answer(c->m->ui, "release %u goes: %llu files, %s; its lists and what others need: %llu files, %s",
			  f->release, (unsigned long long)f->goes.files, goes, (unsigned long long)f->left.files, left);
	else
		ui_answer(c->m->ui, "release %u goes: %llu files, %s", f->release, (unsigned long long)f->goes.files,
			  goes);
}

static void add_total(struct total *to, const struct total *t)
{
	to->files += t->files;
	to->bytes += t->bytes;
}

static int sweep_www(struct collecting *c, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < c->numbers.n; i++) {
		struct folder f = {.release = c->numbers.items[i]};
		f.stays = stays(c, f.release);
		r = sweep_folder(c, &f, e);
		if (r >= 0)
			say_folder(c, &f);
		add_total(&c->all, &f.goes);
	}
	return r;
}

/* A folder for each release: trees, images. What is above the newest is being made. */
static int sweep_beside(struct collecting *c, const char *dir, const char *what, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct total t = {0};
	uint32_t release;

	if (!fs_exists(c->m->config->dir, dir))
		return 0;
	int r = fs_list(c->m->config->dir, dir, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (text_u32(names.items[i], 1, c->m->previous, &release) == 0 && !stays(c, release))
			r = sweep_tree(c, xasprintf("%s/%s", dir, names.items[i]), &t, e);
	if (r >= 0 && t.files) {
		_cleanup_free_ char *size = text_size(t.bytes);
		ui_answer(c->m->ui, "%s of releases that go: %llu files, %s", what, (unsigned long long)t.files, size);
	}
	add_total(&c->all, &t);
	return r;
}

/* 0: a kept release does not say what it needs */
static int list_debuginfo(struct collecting *c, struct strv *needed, struct err *e)
{
	int r = 1;

	for (size_t i = 0; r > 0 && i < c->n; i++) {
		const uint32_t release = c->releases[i].mom->release;
		_cleanup_free_ char *index = xasprintf(WWW "/%u/debuginfo.json", release);
		if (!c->releases[i].why || !fs_exists(c->m->config->dir, index))
			continue;
		r = debuginfo_needs(c->m, release, needed, e);
		if (r == 0)
			ui_message(c->m->ui, "update/releases/%u is not there any more: all debug information stays",
				   release);
	}
	strv_sort_unique(needed);
	return r;
}

/* Build-ids and sources of no release that stays. */
static int sweep_debuginfo(struct collecting *c, struct err *e)
{
	static const char *const kinds[] = {"buildid", "source"};
	_cleanup_(strv_free) struct strv needed = {0};
	struct total t = {0};

	int r = list_debuginfo(c, &needed, e);
	if (r <= 0)
		return r;
	for (size_t k = 0; r >= 0 && k < ARRAY_LEN(kinds); k++) {
		_cleanup_free_ char *dir = xasprintf(WWW "/debuginfo/%s", kinds[k]);
		_cleanup_(strv_free) struct strv names = {0};
		if (!fs_exists(c->m->config->dir, dir))
			continue;
		r = fs_list(c->m->config->dir, dir, &names, e);
		for (size_t i = 0; r >= 0 && i < names.n; i++) {
			_cleanup_free_ char *name = xasprintf("%s/%s", kinds[k], names.items[i]);
			const char *key = name;
			if (needed.n == 0 || !bsearch(&key, needed.items, needed.n, sizeof(char *), text_compare))
				r = sweep_tree(c, xasprintf(WWW "/debuginfo/%s", name), &t, e);
		}
	}
	if (r >= 0 && t.files) {
		_cleanup_free_ char *size = text_size(t.bytes);
		ui_answer(c->m->ui, "debug information of releases that go: %llu files, %s",
			  (unsigned long long)t.files, size);
	}
	add_total(&c->all, &t);
	return r;
}

/* -- done -- */

static int save_ways(const struct collecting *c, uint32_t release, struct err *e)
{
	_cleanup_free_ char *name = layout_updates(release), *path = xasprintf(WWW "/%s", name);
	_cleanup_(ways_clear) struct ways chosen = {0};

	if (!fs_exists(c->m->config->dir, path))
		return 0;
	ways_choose(&c->kept, release, &chosen);
	int r = ways_save(c->m, release, &chosen, e);
	return r < 0 ? r : publish_renewed(c->m, release, e);
}

static int remove_victims(const struct collecting *c, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < c->n; i++)
		if (c->releases[i].why)
			r = save_ways(c, c->releases[i].mom->release, e);
	progress_stage(c->m->progress, "remove", c->victims.n, false);
	for (size_t i = 0; r >= 0 && i < c->victims.n; i++) {
		const char *path = c->victims.items[i];
		progress_add(c->m->progress, 1);
		if (unlinkat(c->m->config->dir, path, 0) == 0 || errno == ENOENT)
			continue;
		/* a folder into which somebody has put something meanwhile stays */
		if (errno != EISDIR || (unlinkat(c->m->config->dir, path, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY))
			r = err_errno(e, "cannot remove %s", path);
	}
	progress_end(c->m->progress);
	return r;
}

static void say_kept(const struct collecting *c)
{
	for (size_t i = c->n; i-- > 0;)
		if (c->releases[i].why) {
			_cleanup_free_ char *made = text_time(c->releases[i].mom->timestamp);
			ui_answer(c->m->ui, "release %u stays: %s, of %.10s", c->releases[i].mom->release,
				  c->releases[i].why, made);
		}
}

static int collect_garbage(struct collecting *c, const struct strv *named, bool dry_run, struct err *e)
{
	int r = list_releases(c, e);

	if (r >= 0 && !find(c, c->m->previous))
		r = err_set(e, -ERR_RELEASE, "release %u, the newest, is not in '%s/" WWW "'", c->m->previous,
			    c->m->config->path);
	if (r >= 0)
		r = choose(c, named, e);
	if (r >= 0)
		r = mark(c, e);
	if (r < 0)
		return r;
	say_kept(c);
	r = sweep_www(c, e);
	if (r >= 0)
		r = sweep_beside(c, RELEASES, "trees", e);
	if (r >= 0)
		r = sweep_beside(c, IMAGES, "images", e);
	if (r >= 0)
		r = sweep_debuginfo(c, e);
	if (r >= 0 && !dry_run)
		r = remove_victims(c, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *size = text_size(c->all.bytes);
	ui_answer(c->m->ui, dry_run ? "to be removed: %llu files, %s" : "removed: %llu files, %s",
		  (unsigned long long)c->all.files, size);
	return 0;
}

int gc_releases(const struct mix *m, const struct strv *keep_too, bool dry_run, struct err *e)
{
	_cleanup_(collecting_clear) struct collecting c = {.m = m, .needs = needs_new()};

	if (m->previous == 0)
		return err_set(e, -ERR_NO, "no release is published yet");
	int r = collect_garbage(&c, keep_too, dry_run, e);
	return r < 0 ? err_in(e, r, "cannot tidy up the releases") : 0;
}
