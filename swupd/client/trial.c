/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/trial.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/client/machine.h"
#include "swupd/content/boot_entry.h"

/* rootflags=subvol=/NAME and subvol=NAME are the same */
static bool is_root_of(const struct boot_entry *b, const char *name)
{
	const char *subvolume = b->subvolume;

	if (!subvolume)
		return false;
	return strcmp(subvolume + (*subvolume == '/'), name) == 0;
}

static const struct boot_entry *find_entry(const struct boot_entry *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (is_root_of(&list[i], name))
			return &list[i];
	return NULL;
}

static int no_entry(const char *name, struct err *e)
{
	return err_set(e, -ERR_RELEASE, "the loader has no entry for the root '%s'", name);
}

/* Of the loader's entries. */
static int look_at_entries(struct trial *t, struct err *e)
{
	struct boot_entry *list = NULL;
	size_t n = 0;

	int r = boot_list(t->boot, &list, &n, e);
	for (size_t i = 0; r >= 0 && i < n && !t->tried; i++) {
		if (!list[i].counted || !list[i].subvolume || (list[i].left == 0 && !list[i].running))
			continue;
		t->tried = xstrdup(list[i].subvolume + (*list[i].subvolume == '/'));
		t->left = list[i].left;
		t->done = list[i].done;
	}
	boot_entries_free(list, n);
	return r < 0 ? r : 0;
}

static int look_at_links(struct trial *t, struct err *e)
{
	struct roots_choice c = {0};

	int r = roots_choice(&t->roots, &c, e);
	if (r < 0)
		return r;
	t->tried = take(c.tried);
	t->left = c.left;
	t->done = c.done;
	roots_choice_free(&c);
	return 0;
}

int trial_open(struct machine *m, struct trial *out, char **why, struct err *e)
{
	struct trial t = {.roots = {.top = -1}};

	int r = roots_open(m, &t.roots, why, e);
	if (r <= 0)
		return r;
	r = boot_open(m, &t.boot, e);
	if (r > 0) {
		r = look_at_entries(&t, e);
	} else if (r == 0 && fs_exists(m->root, ROOTS_CHOSEN)) {
		r = look_at_links(&t, e);
	} else if (r == 0) {
		*why = xstrdup("neither a loader's entry nor our initrd has chosen the root (rootflags=subvol= leaves "
			       "it no choice)");
		trial_close(&t);
		return 0;
	}
	if (r < 0) {
		trial_close(&t);
		return r;
	}
	*out = t;
	return 1;
}

void trial_close(struct trial *t)
{
	roots_close(&t->roots);
	if (t->boot)
		boot_close(t->boot);
	t->boot = NULL;
	free(take(t->tried));
}

bool trial_runs(const struct trial *t)
{
	return t->tried && strcmp(t->tried, t->roots.running) == 0;
}

bool trial_failed(const struct trial *t, const char *name, unsigned *done)
{
	struct boot_entry *list = NULL;
	size_t n = 0;
	bool failed = t->tried && strcmp(t->tried, name) == 0 && t->left == 0;

	if (failed)
		*done = t->done;
	if (failed || !t->boot || boot_list(t->boot, &list, &n, NULL) < 0)
		return failed;
	/* what the loader has given up is no trial any more */
	for (size_t i = 0; i < n; i++) {
		if (!list[i].counted || list[i].left != 0 || !is_root_of(&list[i], name))
			continue;
		failed = true;
		*done = list[i].done;
	}
	boot_entries_free(list, n);
	return failed;
}

/* With this entry of the loader: bless, bad or remove. */
static int change_entries(struct trial *t, const char *name, int change(struct boot *, const char *, struct err *),
			  struct err *e)
{
	struct boot_entry *list = NULL;
	size_t n = 0;

	int r = boot_list(t->boot, &list, &n, e);
	for (size_t i = 0; r >= 0 && i < n; i++)
		if (is_root_of(&list[i], name))
			r = change(t->boot, list[i].file, e);
	boot_entries_free(list, n);
	return r < 0 ? r : 0;
}

int trial_begin(struct trial *t, const char *name, uint32_t release, unsigned tries, struct err *e)
{
	int r;

	if (!t->boot) {
		r = roots_choose(&t->roots, name, tries, e);
	} else {
		_cleanup_close_ int tree = fs_open_beneath(t->roots.top, name, O_RDONLY | O_DIRECTORY, 0, e);
		r = tree < 0 ? tree : boot_add(t->boot, tree, release, name, tries, e);
	}
	if (r < 0)
		return r;
	free(t->tried);
	t->tried = xstrdup(name);
	t->left = tries;
	t->done = 0;
	return 0;
}

int trial_set_tries(struct trial *t, unsigned left, unsigned done, struct err *e)
{
	struct boot_entry *list = NULL;
	size_t n = 0, i = 0;

	if (!t->boot) {
		int r = roots_set_tries(&t->roots, left, done, e);
		if (r < 0)
			return r;
	} else {
		int r = boot_list(t->boot, &list, &n, e);
		if (r < 0)
			return r;
		while (i < n && (!list[i].counted || !is_root_of(&list[i], t->tried)))
			i++;
		r = i < n ? boot_set_tries(t->boot, list[i].file, left, done, e)
			  : err_set(e, -ENOENT, "the loader has no entry on trial for the root '%s'", t->tried);
		boot_entries_free(list, n);
		if (r < 0)
			return r;
	}
	t->left = left;
	t->done = done;
	return 0;
}

int trial_trace(struct trial *t, const char *name, const char **path, char **text, struct err *e)
{
	struct boot_entry *list = NULL;
	size_t n = 0;

	if (!t->boot) {
		*path = ROOTS_CHOSEN;
		*text = xasprintf("%s\n", name);
		return 0;
	}
	int r = boot_list(t->boot, &list, &n, e);
	if (r < 0)
		return r;
	const struct boot_entry *entry = find_entry(list, n, name);
	if (entry) {
		_cleanup_free_ char *plain = boot_name_plain(entry->file);
		*path = BOOT_SELECTED;
		*text = xasprintf("%s\n", plain);
	} else {
		r = no_entry(name, e);
	}
	boot_entries_free(list, n);
	return r < 0 ? r : 0;
}

int trial_accept(struct trial *t, struct err *e)
{
	int r = t->boot ? change_entries(t, t->roots.running, boot_bless, e) : 0;

	/* also where a loader chooses: who boots without it gets the same */
	if (r >= 0)
		r = roots_choose(&t->roots, t->roots.running, 0, e);
	if (r >= 0)
		free(take(t->tried));
	return r;
}

int trial_cancel(struct trial *t, struct err *e)
{
	if (!t->tried || trial_runs(t))
		return 0;
	int r = t->boot ? change_entries(t, t->tried, boot_remove, e) : roots_forget_trial(&t->roots, e);
	if (r >= 0)
		free(take(t->tried));
	return r;
}

int trial_go_back(struct trial *t, const char *name, uint32_t release, struct err *e)
{
	struct boot_entry *list = NULL;
	size_t n = 0;
	int r = 0;

	if (t->boot) {
		r = boot_list(t->boot, &list, &n, e);
		if (r >= 0 && !find_entry(list, n, name))
			r = no_entry(name, e);
		else if (r >= 0)
			r = change_entries(t, name, boot_bless, e);
		for (size_t i = 0; r >= 0 && i < n; i++)
			if (list[i].release > release ||
			    (is_root_of(&list[i], t->roots.running) && !is_root_of(&list[i], name)))
				r = boot_bad(t->boot, list[i].file, e);
		boot_entries_free(list, n);
	}
	return r < 0 ? r : roots_choose(&t->roots, name, 0, e);
}

/* --- names ---------------------------------------------------------------------------------------------------------------- */

/* How long is the part of a root's name that all roots of the machine share: without "-<release>[.<n>]"? */
static size_t base_length(const char *name)
{
	const char *dash = strrchr(name, '-');

	return dash && dash[1] && strspn(dash + 1, "0123456789.") == strlen(dash + 1) ? (size_t)(dash - name)
										      : strlen(name);
}

static bool is_ours(const struct trial *t, const char *name)
{
	size_t len = base_length(t->roots.running);

	return base_length(name) == len && strncmp(name, t->roots.running, len) == 0;
}

/* It runs, boots or is on trial. */
static int is_needed(const struct trial *t, const char *name, struct err *e)
{
	struct roots_choice c = {0};

	if (strcmp(name, t->roots.running) == 0 || (t->tried && strcmp(name, t->tried) == 0))
		return 1;
	int r = roots_choice(&t->roots, &c, e);
	if (r < 0)
		return r;
	r = c.good && strcmp(c.good, name) == 0;
	roots_choice_free(&c);
	if (r || !t->boot)
		return r;
	/* the first entry that is not counted is the loader's choice when no trial succeeds */
	struct boot_entry *list = NULL;
	size_t n = 0;
	r = boot_list(t->boot, &list, &n, e);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (list[i].counted)
			continue;
		r = is_root_of(&list[i], name);
		break;
	}
	boot_entries_free(list, n);
	return r;
}

static int remove_root(struct trial *t, const char *name, struct err *e)
{
	/* first what would boot it */
	int r = t->boot ? change_entries(t, name, boot_remove, e) : 0;

	return r < 0 ? r : roots_remove(&t->roots, name, e);
}

int trial_drop(struct trial *t, const char *name, struct err *e)
{
	if (!fs_exists(t->roots.top, name))
		return 0;
	int r = is_needed(t, name, e);
	return r != 0 ? r : remove_root(t, name, e);
}

int trial_name(struct trial *t, uint32_t release, char **out, struct err *e)
{
	int r = 1;

	for (unsigned i = 1; r > 0; i++) {
		const int len = (int)base_length(t->roots.running);
		_cleanup_free_ char *name = i == 1 ? xasprintf("%.*s-%u", len, t->roots.running, release)
						   : xasprintf("%.*s-%u.%u", len, t->roots.running, release, i);
		r = trial_drop(t, name, e);
		if (r == 0)
			*out = take(name);
	}
	return r;
}

static int has_room(const struct trial *t, unsigned percent, struct err *e)
{
	struct statvfs fs;

	if (fstatvfs(t->roots.top, &fs) < 0)
		return err_errno(e, "cannot tell how much is free");
	return fs.f_blocks == 0 || (double)fs.f_bavail * 100 >= (double)fs.f_blocks * percent;
}

int trial_prune(struct trial *t, unsigned keep, unsigned percent, struct err *e)
{
	struct root_info *list = NULL;
	size_t n = 0, kept = 0;

	int r = roots_list(&t->roots, &list, &n, e);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = is_ours(t, list[i].name) ? is_needed(t, list[i].name, e) : 1;
		if (r != 0)
			free(take(list[i].name));
		kept += r == 0;
	}
	/* by release: the oldest first */
	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (!list[i].name)
			continue;
		r = kept > keep ? 0 : has_room(t, percent, e);
		if (r != 0)
			break;
		r = remove_root(t, list[i].name, e);
		kept--;
	}
	roots_list_free(list, n);
	return r < 0 ? r : 0;
}

int trial_previous(const struct trial *t, uint32_t release, char **name, uint32_t *found, struct err *e)
{
	struct root_info *list = NULL;
	size_t n = 0;
	const uint32_t running = roots_release(&t->roots, t->roots.running);

	*name = NULL;
	int r = roots_list(&t->roots, &list, &n, e);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (!list[i].release || !is_ours(t, list[i].name) || strcmp(list[i].name, t->roots.running) == 0)
			continue;
		if (release ? list[i].release != release : list[i].release >= running)
			continue;
		free(*name);
		*name = xstrdup(list[i].name);
		*found = list[i].release;
	}
	roots_list_free(list, n);
	return r;
}
