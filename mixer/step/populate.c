/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/deb.h"
#include "mixer/input/rules.h"
#include "mixer/step/cached_tree.h"
#include "mixer/step/content_tree.h"
#include "mixer/step/convert.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/derive.h"
#include "mixer/step/gather.h"
#include "mixer/step/generate.h"
#include "mixer/step/initramfs.h"
#include "mixer/step/notices.h"
#include "mixer/step/step.h"
#include "mixer/step/sysusers.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/layout.h"

#define RULES_MAX        (4UL << 20)
#define PACKAGE_TREE_MAX (512UL << 20)

/* --- packages ---------------------------------------------------------------------------------------------------------- */

struct packages {
	const struct mix *m;
	const struct lock *lock;
	const struct rules *rules;
	struct tree **trees; /* of lock->packages, in their order */
	struct tree **notices;
	bool *shipped; /* in a bundle; else only its debug information is of use */
};

/* What was made of this .deb by these rules: everything about it is a function of both. */
static char *package_key(const struct packages *p, const struct locked_package *package)
{
	_cleanup_(buf_free) struct buf key = {0};
	char hex[DIGEST_HEX];
	struct digest d;

	buf_printf(&key, "%d %s", CONVERT_VERSION, package->name);
	buf_add(&key, &package->sha256, sizeof(package->sha256));
	if (p->shipped[package - p->lock->packages])
		buf_add(&key, rules_digest(p->rules), sizeof(struct digest));
	else
		buf_puts(&key, "debug");
	sha256_mem(key.data, key.len, &d);
	digest_format(&d, hex);
	return xasprintf("packages/%.2s/%s", hex, hex);
}

static bool is_debug(const char *path)
{
	return text_starts(path, DEBUGINFO_FILES) || text_starts(path, DEBUGINFO_SOURCES);
}

/* Nothing of it is installed, so no rule has to say anything about what else it has. */
static void select_debug(const struct tree *raw, struct tree *out)
{
	for (size_t i = 0; i < raw->n; i++)
		if (is_debug(raw->nodes[i].path))
			tree_add(out, &raw->nodes[i]);
	tree_sort(out);
}

/* Unpack and convert. */
static int make_anew(struct packages *p, size_t i, struct err *e)
{
	const struct locked_package *package = &p->lock->packages[i];
	_cleanup_(tree_freep) struct tree *raw = NULL;
	char hex[DIGEST_HEX];

	digest_format(&package->sha256, hex);
	_cleanup_free_ char *file = xasprintf("debs/%s.deb", hex);
	_cleanup_close_ int fd = openat(p->m->cache, file, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? err_errno(e, "%s", file) : deb_unpack(fd, package->name, p->m->store, &raw, e);
	if (r < 0 || !raw)
		return err_in(e, r, "package %s %s", package->name, package->version);
	p->notices[i] = tree_new();
	if (!p->shipped[i]) {
		p->trees[i] = tree_new();
		select_debug(raw, p->trees[i]);
		return 0;
	}
	notices_select(raw, package->name, p->notices[i]);
	return convert_package(p->rules, p->m->store, package->name, raw, &p->trees[i], e);
}

static int make_package(void *arg, size_t i, struct err *e)
{
	struct packages *p = arg;
	const struct locked_package *package = &p->lock->packages[i];
	_cleanup_free_ char *key = package_key(p, package), *notices_key = xasprintf("%s.notices", key);

	p->trees[i] = cached_tree_load(p->m, key, PACKAGE_TREE_MAX);
	p->notices[i] = cached_tree_load(p->m, notices_key, PACKAGE_TREE_MAX);
	progress_add(p->m->progress, package->size);
	if (p->trees[i] && p->notices[i])
		return 0;
	tree_free(take(p->trees[i]));
	tree_free(take(p->notices[i]));
	int r = make_anew(p, i, e);
	if (r >= 0)
		r = cached_tree_save(p->m, notices_key, p->notices[i], e);
	return r < 0 ? r : cached_tree_save(p->m, key, p->trees[i], e);
}

static void packages_free(struct packages *p)
{
	for (size_t i = 0; p->trees && i < p->lock->n_packages; i++)
		tree_free(p->trees[i]);
	for (size_t i = 0; p->notices && i < p->lock->n_packages; i++)
		tree_free(p->notices[i]);
	free(p->trees);
	free(p->notices);
	free(p->shipped);
}

static int load_rules(const struct mix *m, struct rules **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	const char *file = m->config->rules_file;

	if (!file)
		return 0;
	int r = fs_load(AT_FDCWD, file, RULES_MAX, &text, e);
	return r < 0 ? r : rules_parse(text.data, text.len, file, out, e);
}

/* --- bundles ----------------------------------------------------------------------------------------------------------- */

/* What one bundle brings besides packages. */
struct extras {
	struct strv includes;                    /* all, also indirect */
	struct tree *content, *generated, *late; /* late: made of what all bundles bring */
	struct tree *initrds;                    /* and these of all that, late included */
};

static struct tree *package_tree(const struct packages *p, const char *name)
{
	const struct locked_package *found = lock_find(p->lock, name);

	return found ? p->trees[found - p->lock->packages] : NULL;
}

#define CORE "os-core"

/*
 * Where an OS begins: os-core, and every other bundle that lists base-files itself (a guest of another kind). It gets what makes a tree an OS. Without any
 * of these in the mix, what builds on nothing has to do.
 */
static bool is_base(const struct bundle_set *set, const struct bundle *b)
{
	if (strcmp(b->name, CORE) == 0 || strv_has(&b->packages, "base-files"))
		return true;
	for (size_t i = 0; i < set->n; i++)
		if (strcmp(set->items[i]->name, CORE) == 0 || strv_has(&set->items[i]->packages, "base-files"))
			return false;
	return b->includes.n == 0 && !b->alone;
}

/* Who does not say on what he builds, builds on os-core. */
static bool core_is_meant(const struct bundle_set *set, const struct bundle *b)
{
	_cleanup_(strv_free) struct strv all = {0};

	if (b->alone || is_base(set, b) || !bundle_set_find(set, CORE))
		return false;
	bundle_set_includes(set, b, &all);
	for (size_t i = 0; i < all.n; i++) {
		const struct bundle *other = bundle_set_find(set, all.items[i]);
		if (other && is_base(set, other))
			return false;
	}
	return true;
}

static bool any_matches(const struct strv *patterns, const char *path)
{
	for (size_t i = 0; i < patterns->n; i++)
		if (rules_match(patterns->items[i], path))
			return true;
	return false;
}

/* Does b say of this package's file that it is not shipped? */
static bool is_dropped(const struct bundle *b, const char *path)
{
	return any_matches(&b->drops, path) && !any_matches(&b->keeps, path);
}

/*
 * What a bundle drops of a package must not come back with a bundle that includes it and needs the same package: so its word counts there, too. Other
 * bundles have the whole package.
 */
static void offer_package(const struct bundle_set *set, const struct bundle *b, const struct strv *includes,
			  const struct lock *l, const char *package, const struct tree *t, struct bundle_offers *offers)
{
	_cleanup_free_ const struct bundle **droppers = xcalloc(includes->n + 1, sizeof(*droppers));
	size_t n = 0;

	for (size_t i = 0; i <= includes->n; i++) {
		const struct bundle *x = i < includes->n ? bundle_set_find(set, includes->items[i]) : b;
		const struct locked_bundle *locked = x && x->drops.n > 0 ? lock_find_bundle(l, x->name) : NULL;
		bool has = false;
		for (size_t k = 0; locked && k < locked->n_packages && !has; k++)
			has = strcmp(locked->packages[k], package) == 0;
		if (has)
			droppers[n++] = x;
	}
	for (size_t i = 0; i < t->n; i++) {
		bool dropped = false;
		for (size_t k = 0; k < n && !dropped; k++)
			dropped = is_dropped(droppers[k], t->nodes[i].path);
		if (!dropped)
			offers_add_node(offers, &t->nodes[i], RANK_PACKAGE);
	}
}

static int gather_bundle(const struct mix *m, const struct bundle_set *set, const struct bundle *b, struct packages *p,
			 struct lock *l, struct extras *x, struct bundle_offers *offers, struct err *e)
{
	const struct locked_bundle *locked = lock_find_bundle(l, b->name);
	_cleanup_free_ char *mark = xasprintf("/" INSTALLED_BUNDLES "/%s", b->name);
	int r = generate_file(m, x->generated, mark, "", 0, e);

	bundle_set_includes(set, b, &x->includes);
	if (core_is_meant(set, b))
		strv_add(&x->includes, CORE);
	offers->bundle = b->name;
	offers->includes = &x->includes;
	for (size_t i = 0; locked && i < locked->n_packages; i++) {
		struct tree *t = package_tree(p, locked->packages[i]);
		if (!t)
			return err_set(e, -ERR_FORMAT, "mixer.lock: bundle '%s' has package '%s', which is not locked",
				       b->name, locked->packages[i]);
		offer_package(set, b, &x->includes, l, locked->packages[i], t, offers);
	}
	for (size_t i = 0; r >= 0 && i < b->contents.n; i++)
		r = content_tree_load(b->contents.items[i], b->name, m->store, x->content, e);
	if (r >= 0)
		r = sysusers_pin(x->content, l, m->store, e);
	if (r >= 0)
		r = generate_factory_lines(m, p->rules, b->name, x->content, x->generated, e);
	if (r >= 0 && is_base(set, b))
		r = generate_base(m, l->time, x->generated, e);
	if (r >= 0 && m->config->update_bundle && strcmp(b->name, m->config->update_bundle) == 0)
		r = generate_update(m, x->generated, e);
	offers_add(offers, x->content, RANK_CONTENT);
	offers_add(offers, x->generated, RANK_GENERATED);
	return r < 0 ? err_in(e, r, "bundle '%s'", b->name) : 0;
}

/* Direct includes that the set has, os-core first. */
static void copy_names(const struct bundle_set *set, const struct strv *names, bool core_first, struct strv *out)
{
	if (core_first)
		strv_add(out, CORE);
	for (size_t i = 0; i < names->n; i++)
		if (bundle_set_find(set, names->items[i]) && !strv_has(out, names->items[i]))
			strv_add(out, names->items[i]);
}

static int gather_again(size_t n, struct bundle_offers *offers, struct tree **full, struct tree **trees, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		tree_free(trees[i]);
		trees[i] = NULL;
	}
	tree_free(*full);
	*full = NULL;
	return gather(offers, n, full, trees, e);
}

/* Once more for initrds: they need to see what was made of the whole release. */
static int gather_initrds(const struct mix *m, const struct bundle_set *set, int64_t time, struct extras *x,
			  struct bundle_offers *offers, struct tree **full, struct tree **trees, struct err *e)
{
	_cleanup_free_ struct tree **made = xcalloc(set->n, sizeof(struct tree *));
	_cleanup_free_ const struct strv **includes = xcalloc(set->n, sizeof(*includes));
	bool any = false;

	for (size_t i = 0; i < set->n; i++) {
		made[i] = x[i].initrds;
		includes[i] = &x[i].includes;
		any |= set->items[i]->initrds.n > 0;
	}
	int r = any ? initramfs_of_bundles(m, set, time, includes, trees, made, e) : 0;
	if (r < 0 || !any)
		return r;
	for (size_t i = 0; i < set->n; i++)
		offers_add(&offers[i], made[i], RANK_GENERATED);
	return gather_again(set->n, offers, full, trees, e);
}

/* Twice: what is made of a whole release needs to see one. */
static int gather_twice(const struct mix *m, const struct rules *rules, size_t n, struct extras *x,
			struct bundle_offers *offers, struct tree **full, struct tree **trees, struct err *e)
{
	_cleanup_free_ struct tree **late = xcalloc(n, sizeof(struct tree *));
	bool more = false;

	int r = gather(offers, n, full, trees, e);
	for (size_t i = 0; i < n; i++)
		late[i] = x[i].late;
	if (r >= 0)
		r = derive(m, rules, *full, trees, n, late, e);
	for (size_t i = 0; i < n; i++) {
		offers_add(&offers[i], late[i], RANK_GENERATED);
		more |= late[i]->n > 0;
	}
	return r < 0 || !more ? r : gather_again(n, offers, full, trees, e);
}

static int gather_all(const struct mix *m, const struct bundle_set *set, struct packages *p, struct lock *l,
		      struct extras *x, struct bundle_offers *offers, struct release_trees *out, struct err *e)
{
	_cleanup_free_ struct tree **trees = xcalloc(set->n, sizeof(struct tree *));
	int r = 0;

	for (size_t i = 0; r >= 0 && i < set->n; i++)
		r = gather_bundle(m, set, set->items[i], p, l, &x[i], &offers[i], e);
	if (r >= 0)
		r = gather_twice(m, p->rules, set->n, x, offers, &out->full, trees, e);
	if (r >= 0)
		r = gather_initrds(m, set, l->time, x, offers, &out->full, trees, e);
	out->time = l->time;
	out->bundles = xcalloc(set->n, sizeof(*out->bundles));
	for (size_t i = 0; i < set->n; i++) {
		const struct bundle *b = set->items[i];
		struct bundle_tree *t = &out->bundles[out->n++];
		t->name = xstrdup(b->name);
		t->tree = trees[i];
		t->experimental = strcmp(b->status, "Experimental") == 0;
		copy_names(set, &b->includes, core_is_meant(set, b) || strv_has(&b->includes, CORE), &t->includes);
		copy_names(set, &b->also_add, false, &t->also_add);
		for (size_t k = 0; k < b->unexports.n; k++)
			strv_add(&t->unexports, b->unexports.items[k]);
	}
	return r;
}

/* Users without a number get theirs in the order of packages, so that the lock is the same on every machine. */
static int pin_packages(const struct packages *p, struct lock *l, struct err *e)
{
	for (size_t i = 0; i < l->n_packages; i++) {
		if (!p->shipped[i])
			continue;
		int r = sysusers_pin(p->trees[i], l, p->m->store, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static struct tree *all_notices(const struct packages *p)
{
	struct tree *all = tree_new();

	for (size_t i = 0; i < p->lock->n_packages; i++)
		for (size_t k = 0; k < p->notices[i]->n; k++)
			tree_add(all, &p->notices[i]->nodes[k]);
	tree_sort(all);
	return all;
}

static struct tree *all_debug(const struct packages *p)
{
	struct tree *all = tree_new();

	for (size_t i = 0; i < p->lock->n_packages; i++) {
		const struct tree *t = p->trees[i];
		for (size_t k = 0; debuginfo_is_package(p->lock->packages[i].name) && k < t->n; k++)
			if (is_debug(t->nodes[k].path))
				tree_add(all, &t->nodes[k]);
	}
	tree_sort(all);
	return all;
}

int populate(const struct mix *m, const struct bundle_set *set, struct lock *l, struct release_trees **out,
	     struct err *e)
{
	_cleanup_(packages_free) struct packages p = {.m = m,
						      .lock = l,
						      .trees = xcalloc(l->n_packages, sizeof(struct tree *)),
						      .notices = xcalloc(l->n_packages, sizeof(struct tree *)),
						      .shipped = xcalloc(l->n_packages, sizeof(bool))};
	_cleanup_(rules_freep) struct rules *rules = NULL;
	struct release_trees *result = xcalloc(1, sizeof(*result));
	struct bundle_offers *offers = xcalloc(set->n, sizeof(*offers));
	struct extras *x = xcalloc(set->n, sizeof(*x));
	uint64_t bytes = 0;

	for (size_t i = 0; i < set->n; i++)
		x[i] = (struct extras){
			.content = tree_new(), .generated = tree_new(), .late = tree_new(), .initrds = tree_new()};
	for (size_t i = 0; i < l->n_packages; i++) {
		bytes += l->packages[i].size;
		p.shipped[i] = lock_is_shipped(l, l->packages[i].name);
	}
	progress_stage(m->progress, "populate", bytes, true);
	int r = load_rules(m, &rules, e);
	p.rules = rules;
	if (r >= 0)
		r = work_each(m->config->threads, l->n_packages, make_package, &p, e);
	if (r >= 0)
		r = pin_packages(&p, l, e);
	if (r >= 0)
		r = gather_all(m, set, &p, l, x, offers, result, e);
	if (r >= 0)
		result->notices = all_notices(&p);
	if (r >= 0)
		result->debug = all_debug(&p);
	for (size_t i = 0; i < set->n; i++) {
		strv_free(&x[i].includes);
		tree_free(x[i].content);
		tree_free(x[i].generated);
		tree_free(x[i].late);
		tree_free(x[i].initrds);
		offers_free(&offers[i]);
	}
	free(x);
	free(offers);
	if (r < 0) {
		release_trees_free(result);
		return r;
	}
	*out = result;
	return 0;
}
