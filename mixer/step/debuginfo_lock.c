/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "mixer/input/bundle.h"
#include "mixer/input/lock.h"
#include "mixer/input/package.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/solve.h"
#include "mixer/step/step.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

static const char *const suffixes[] = {"-dbgsym", "-dbg", "-dbgsrc"};
#define SOURCES "-dbgsrc"

/* The end of a debug package's name; NULL: it is none. */
static const char *find_suffix(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (text_ends(name, suffixes[i]) && strlen(name) > strlen(suffixes[i]))
			return name + strlen(name) - strlen(suffixes[i]);
	return NULL;
}

bool debuginfo_is_package(const char *name)
{
	return find_suffix(name) != NULL;
}

/* While debug packages are chosen. */
struct choosing {
	const struct lock *lock;
	const struct drop_list *drops;
	struct table *sources; /* "NAME VERSION" → the first locked package of it */
	struct table *chosen;  /* name → package */
};

/* What is locked that p explains; NULL: nothing. */
static const struct locked_package *find_explained(const struct choosing *c, const struct package *p)
{
	const char *end = find_suffix(p->name);

	if (!end)
		return NULL;
	_cleanup_free_ char *base = xstrndup(p->name, (size_t)(end - p->name));
	if (strcmp(end, SOURCES) == 0) {
		_cleanup_free_ char *source = xasprintf("%s %s", base, p->source_version);
		return table_find_str(c->sources, source);
	}
	const struct locked_package *x = lock_find(c->lock, base);
	return x && strcmp(x->version, p->version) == 0 && strcmp(x->arch, p->arch) == 0 ? x : NULL;
}

/* Of two repositories that have one the order is that of all packages: the higher priority, then the first. */
static void choose(struct choosing *c, const struct package_list *all)
{
	/* of one source several versions may be locked: Debian's packages for all architectures beside those of an older rebuild */
	for (size_t i = 0; i < c->lock->n_packages; i++) {
		struct locked_package *p = &c->lock->packages[i];
		_cleanup_free_ char *source = xasprintf("%s %s", p->source, p->source_version);
		(void)table_add_str(c->sources, arena_strdup(c->lock->arena, source), p);
	}
	for (size_t i = 0; i < all->n; i++) {
		const struct package *p = &all->items[i], *other;
		const struct locked_package *explained = find_explained(c, p);
		if (!explained || (c->drops && drop_list_has(c->drops, p->name, strlen(p->name), explained->name)))
			continue;
		other = table_add_str(c->chosen, p->name, (void *)p);
		if (other && p->priority > other->priority)
			(void)table_set_str(c->chosen, p->name, (void *)p);
	}
}

static const struct locked_bundle *explained_bundle(const struct lock *l, const struct bundle *b)
{
	return b->explains ? lock_find_bundle(l, b->explains) : NULL;
}

static bool has_package(const struct locked_bundle *b, const char *name)
{
	return b->n_packages && bsearch(&name, b->packages, b->n_packages, sizeof(*b->packages), text_compare);
}

/* Does the bundle have something that the debug package explains? */
static bool is_explained(const struct lock *l, const struct locked_bundle *b, const struct locked_package *debug)
{
	const char *end = find_suffix(debug->name);

	if (!end)
		return false;
	_cleanup_free_ char *base = xstrndup(debug->name, (size_t)(end - debug->name));
	if (strcmp(end, SOURCES) != 0)
		return has_package(b, base);
	for (size_t i = 0; i < b->n_packages; i++)
		if (strcmp(lock_find(l, b->packages[i])->source, base) == 0)
			return true;
	return false;
}

static void fill_bundle(const struct mix *m, const struct lock *l, const struct locked_bundle *of,
			struct locked_bundle *b)
{
	b->packages = arena_alloc(l->arena, (l->n_packages + 1) * sizeof(*b->packages));
	b->n_packages = 0;
	for (size_t i = 0; i < l->n_packages; i++)
		if (is_explained(l, of, &l->packages[i]))
			b->packages[b->n_packages++] = l->packages[i].name;
	if (b->n_packages == 0)
		ui_warn(m->ui, "bundle '%s' is empty: no repository has debug packages of what '%s' has", b->name,
			of->name);
}

void debuginfo_lock(const struct mix *m, const struct package_list *all, const struct drop_list *drops,
		    const struct bundle_set *set, struct lock *l)
{
	_cleanup_(table_freep) struct table *sources = table_new(), *chosen = table_new();
	struct choosing c = {.lock = l, .drops = drops, .sources = sources, .chosen = chosen};
	_cleanup_(buf_free) struct buf sorted = {0};
	const size_t before = l->n_packages;

	choose(&c, all);
	/* the table's keys are in all, so that adding does not matter to it; what is locked already stays */
	for (size_t i = 0; i < all->n; i++) {
		const struct package *p = &all->items[i];
		bool locked = false;
		if (table_find_str(chosen, p->name) != p)
			continue;
		for (size_t k = 0; k < before && !locked; k++)
			locked = strcmp(l->packages[k].name, p->name) == 0;
		if (!locked)
			lock_package(p, l);
	}
	lock_format(l, &sorted); /* sorts */
	for (size_t i = 0; i < set->n; i++) {
		const struct locked_bundle *of = explained_bundle(l, set->items[i]);
		if (of)
			fill_bundle(m, l, of, (struct locked_bundle *)lock_find_bundle(l, set->items[i]->name));
	}
}
