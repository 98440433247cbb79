/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/client/catalog.h"
#include "swupd/client/exchange.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/client/stage.h"
#include "swupd/content/layout.h"

struct plan *plan_new(uint32_t from, uint32_t to)
{
	struct plan *p = xcalloc(1, sizeof(*p));

	p->from = from;
	p->to = to;
	return p;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	strv_free(&p->mark);
	strv_free(&p->unmark);
	strv_free(&p->names);
	free(p->changes);
	free(p);
}

static void add_change(struct plan *p, const char *name, const struct entry *want, const char *bundle)
{
	VEC_GROW(p->changes, p->n_changes, p->cap_changes);
	p->changes[p->n_changes++] = (struct change){.name = name, .want = want, .bundle = bundle};
	if (name_is_boot(name))
		p->boot = true;
	if (strcmp(name, "/usr/lib/systemd/systemd") == 0)
		p->systemd = true;
}

void plan_put(struct plan *p, const struct entry *want, const char *bundle)
{
	add_change(p, want->name, want, bundle);
	if (want->size != SIZE_UNKNOWN)
		p->bytes += want->size;
}

void plan_remove(struct plan *p, const char *name)
{
	add_change(p, name, NULL, NULL);
}

void plan_remove_copy(struct plan *p, const char *name)
{
	strv_add(&p->names, name);
	plan_remove(p, p->names.items[p->names.n - 1]);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->name, ((const struct change *)b)->name);
}

static void plan_sort(struct plan *p)
{
	if (p->n_changes)
		qsort(p->changes, p->n_changes, sizeof(*p->changes), by_name);
}

const struct change *plan_find(const struct plan *p, const char *name)
{
	const struct change key = {.name = name};

	return p->n_changes ? bsearch(&key, p->changes, p->n_changes, sizeof(*p->changes), by_name) : NULL;
}

/* What no update touches, whatever a manifest says of it. */
struct untouchable {
	struct strv mounts;
};

static bool is_untouchable(const struct untouchable *u, const char *name)
{
	return name_is_state(name) || strv_has(&u->mounts, name);
}

static void untouchable_free(struct untouchable *u)
{
	strv_free(&u->mounts);
}

static bool is_present(const struct entry *x)
{
	return x && (x->status == STATUS_PRESENT || x->status == STATUS_EXPERIMENTAL);
}

int entry_on_disk(struct fs_parent *parent, const struct entry *want)
{
	const char *base;
	struct digest found;

	const int dir = fs_parent_open(parent, want->name + 1, &base, NULL);
	if (dir == -ENOENT || dir == -ENOTDIR)
		return DISK_MISSING;
	if (dir < 0)
		return DISK_DIFFERENT;
	int r = file_hash_at(dir, base, NULL, &found, NULL);
	if (r == -ENOENT)
		return DISK_MISSING;
	return r >= 0 && digest_equal(&found, &want->hash) ? DISK_SAME : DISK_DIFFERENT;
}

/* Whatever is below a file or link can never be placed, and our own place is not content. */
static int check_above(const struct table *planned, const char *name, struct err *e)
{
	_cleanup_free_ char *path = xstrdup(name);
	static const char *const ours[] = {"/" STAGE_PARENT, "/" TREE_NEXT, "/" TREE_OLD, "/" TREE_GONE};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		const size_t len = strlen(ours[i]);
		if (strncmp(name, ours[i], len) == 0 && (name[len] == '\0' || name[len] == '/'))
			return err_set(e, -ERR_CONFLICT, "cannot place '%s': it is where swupd works", name);
	}
	for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
		*slash = '\0';
		const struct entry *above = table_find_str(planned, path);
		if (above && above->kind != KIND_DIR)
			return err_set(e, -ERR_CONFLICT, "cannot place '%s': in the same release '%s' is no directory",
				       name, path);
	}
	return 0;
}

/* A parent can be missing on disk because a user removed it or put a link there. */
int plan_complete(const struct machine *m, const struct files *new, struct plan *p, struct err *e)
{
	_cleanup_(fs_parent_close) struct fs_parent there = FS_PARENT_OF(m->root);
	_cleanup_(table_freep) struct table *planned = table_new();
	size_t n = p->n_changes;

	for (size_t i = 0; i < n; i++)
		if (p->changes[i].want)
			(void)table_add_str(planned, p->changes[i].name, (void *)p->changes[i].want);
	for (size_t i = 0; i < p->n_changes; i++) {
		if (!p->changes[i].want)
			continue;
		const char *name = p->changes[i].name, *slash = strrchr(name, '/'), *base;
		int r = check_above(planned, name, e);
		if (r < 0)
			return r;
		_cleanup_free_ char *parent = xstrndup(name, (size_t)(slash - name));
		if (!*parent || table_find_str(planned, parent))
			continue;
		if (fs_parent_open(&there, name + 1, &base, NULL) >= 0)
			continue;
		size_t at = files_at(new, parent);
		if (at == SIZE_MAX || !is_present(new->items[at]) || new->items[at]->kind != KIND_DIR)
			return err_set(e, -ERR_NOT_LISTED,
				       "cannot place '%s': its directory is neither there nor in any manifest", name);
		(void)table_add_str(planned, new->items[at]->name, (void *)new->items[at]);
		plan_put(p, new->items[at], new->bundles[at]);
	}
	plan_sort(p);
	return 0;
}

static int begin(const struct machine *m, struct untouchable *u, struct err *e)
{
	return mounts_below(m->path, &u->mounts, e);
}

/* Does a path that is in both releases need to be placed? */
static bool needs_update(struct fs_parent *parent, const struct entry *old, const struct entry *new)
{
	if (!is_present(old))
		return entry_on_disk(parent, new) != DISK_SAME;
	if (old->kind != new->kind || !digest_equal(&old->hash, &new->hash))
		return true;
	/* the same content, stamped anew: the builder wants it looked at (minversion) */
	return old->release != new->release &&entry_on_disk(parent, new) != DISK_SAME;
}

int plan_update(const struct machine *m, const struct files *old, const struct files *new, struct plan *p,
		struct err *e)
{
	_cleanup_(untouchable_free) struct untouchable u = {0};
	_cleanup_(fs_parent_close) struct fs_parent parent = FS_PARENT_OF(m->root);
	size_t i = 0, j = 0;

	int r = begin(m, &u, e);
	if (r < 0)
		return r;
	p->old = old;
	while (i < old->n || j < new->n) {
		const int order = i == old->n ? 1 : j == new->n ? -1 : strcmp(old->items[i]->name, new->items[j]->name);
		const char *name = order < 0 ? old->items[i]->name : new->items[j]->name;
		const struct entry *was = order <= 0 ? old->items[i++] : NULL;
		const struct entry *is = order >= 0 ? new->items[j++] : NULL;
		if (is_untouchable(&u, name))
			continue;
		if (is_present(is)) {
			if (needs_update(&parent, was, is))
				plan_put(p, is, new->bundles[j - 1]);
		} else if (is_present(was) && !name_is_boot(name) && !(is && is->status == STATUS_GHOSTED)) {
			plan_remove(p, name);
		}
	}
	return plan_complete(m, new, p, e);
}

int plan_add(const struct machine *m, const struct files *old, const struct files *new, bool state, struct plan *p,
	     struct err *e)
{
	_cleanup_(untouchable_free) struct untouchable u = {0};
	_cleanup_(fs_parent_close) struct fs_parent parent = FS_PARENT_OF(m->root);

	int r = begin(m, &u, e);
	if (r < 0)
		return r;
	p->old = old;
	for (size_t i = 0; i < new->n; i++) {
		const struct entry *want = new->items[i];
		const struct entry *was = old ? files_find(old, want->name) : NULL;
		if (!is_present(want) || (is_present(was) && digest_equal(&was->hash, &want->hash)))
			continue;
		if (state ? strv_has(&u.mounts, want->name) : is_untouchable(&u, want->name))
			continue;
		if (entry_on_disk(&parent, want) != DISK_SAME)
			plan_put(p, want, new->bundles[i]);
	}
	return plan_complete(m, new, p, e);
}

int plan_drop(const struct machine *m, const struct files *old, const struct files *new, struct plan *p, struct err *e)
{
	_cleanup_(untouchable_free) struct untouchable u = {0};

	int r = begin(m, &u, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < old->n; i++) {
		const char *name = old->items[i]->name;
		if (is_present(old->items[i]) && !is_present(files_find(new, name)) && !is_untouchable(&u, name))
			plan_remove(p, name);
	}
	plan_sort(p);
	return 0;
}
