/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/universe.h"

#include <string.h>

#include <solv/evr.h>
#include <solv/repo.h>

#include "mixer/input/bundle.h"
#include "mixer/input/lock.h"
#include "mixer/input/package.h"
#include "swupd/base/err.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

void universe_free(struct universe *u)
{
	if (!u)
		return;
	pool_free(u->pool);
	free(u->packages);
	free(u->kept);
	free(u);
}

int universe_compare_versions(const char *a, const char *b)
{
	Pool *pool = pool_create();

	pool_setdisttype(pool, DISTTYPE_DEB);
	int r = pool_evrcmp_str(pool, a, b, EVRCMP_COMPARE);
	pool_free(pool);
	return r;
}

const struct package *universe_package(const struct universe *u, Id solvable)
{
	size_t i = (size_t)(solvable - u->first);

	return solvable >= u->first && i < u->n ? u->packages[i] : NULL;
}

/* What is known of a name while candidates are chosen */
struct name {
	uint32_t priority; /* the highest of the repositories that have it */
	size_t last;       /* the candidate added last, to walk back from */
};

static bool is_kept(const struct world *w, const struct package *p)
{
	const struct locked_package *l = w->keep ? lock_find(w->keep, p->name) : NULL;

	return l && digest_equal(&l->sha256, &p->sha256) && strcmp(l->version, p->version) == 0;
}

/* before: for each candidate the one of the same name that was added before it, SIZE_MAX: none */
static bool is_known(const struct universe *u, const size_t *before, size_t last, const struct package *p)
{
	for (size_t i = last; i != SIZE_MAX; i = before[i])
		if (strcmp(u->packages[i]->version, p->version) == 0)
			return true;
	return false;
}

static void choose_candidates(struct universe *u)
{
	const struct package_list *all = u->world->packages;
	_cleanup_(table_freep) struct table *names = table_new();
	struct arena *arena = arena_new();
	size_t *before = xcalloc(all->n, sizeof(*before));

	u->packages = xcalloc(all->n, sizeof(*u->packages));
	u->kept = xcalloc(all->n, sizeof(*u->kept));
	for (size_t i = 0; i < all->n; i++) {
		struct name *name = table_find_str(names, all->items[i].name);
		if (!name) {
			name = arena_alloc(arena, sizeof(*name));
			*name = (struct name){.priority = all->items[i].priority, .last = SIZE_MAX};
			table_add_str(names, all->items[i].name, name);
		}
		name->priority = MAX(name->priority, all->items[i].priority);
	}
	/* what is kept comes first, so that it hides its equals from other repositories */
	for (int kept = 1; kept >= 0; kept--)
		for (size_t i = 0; i < all->n; i++) {
			const struct package *p = &all->items[i];
			struct name *name = table_find_str(names, p->name);
			if (is_kept(u->world, p) != kept || (!kept && p->priority < name->priority) ||
			    is_known(u, before, name->last, p))
				continue;
			before[u->n] = name->last;
			name->last = u->n;
			u->kept[u->n] = kept;
			u->packages[u->n++] = p;
		}
	free(before);
	arena_free(arena);
}

/* A missing Debian revision is the revision 0 (policy.debian, section 5.6.12); for libsolv it is lower */
static Id version_id(Pool *pool, const char *version, size_t len)
{
	if (len > 2 && version[len - 2] == '-' && version[len - 1] == '0')
		len -= 2;
	return pool_strn2id(pool, version, (unsigned)len, 1);
}

static Id any_id(Pool *pool, const char *name, size_t len, const char *qualifier, size_t qualifier_len)
{
	_cleanup_free_ char *both = xasprintf("%.*s:%.*s", (int)len, name, (int)qualifier_len, qualifier);

	return pool_str2id(pool, both, 1);
}

static int relation_flags(enum relation r)
{
	static const int flags[] = {[EARLIER] = REL_LT, [EARLIER_EQUAL] = REL_LT | REL_EQ,
				    [EQUAL] = REL_EQ,   [LATER_EQUAL] = REL_GT | REL_EQ,
				    [LATER] = REL_GT,   [ANY_VERSION] = 0};

	return flags[r];
}

static bool equals(const char *s, size_t len, const char *with)
{
	return strlen(with) == len && memcmp(s, with, len) == 0;
}

/*
 * All packages are of one architecture, so its qualifier says nothing, another's is a name that nobody has, and "any" is a name that a package
 * with Multi-Arch: allowed has besides its own. A conflict with "any" is one with whatever has the name.
 */
static Id dependency_id(const struct universe *u, const struct dependency *d, bool negative)
{
	Pool *pool = u->pool;
	bool plain = d->qualifier_len == 0 || equals(d->qualifier, d->qualifier_len, u->world->architecture) ||
		     equals(d->qualifier, d->qualifier_len, "native") ||
		     (negative && equals(d->qualifier, d->qualifier_len, "any"));
	Id id = plain ? pool_strn2id(pool, d->name, (unsigned)d->name_len, 1)
		      : any_id(pool, d->name, d->name_len, d->qualifier, d->qualifier_len);

	if (d->relation == ANY_VERSION)
		return id;
	return pool_rel2id(pool, id, version_id(pool, d->version, d->version_len), relation_flags(d->relation), 1);
}

/* Depends and Pre-Depends. Alternatives become a | (b | c), so that the first is taken off easily. */
static int add_requires(const struct universe *u, Solvable *s, const struct package *p, const char *field,
			struct err *e)
{
	_cleanup_(queue_free) Queue group;
	struct dependency d;
	bool dropped = false;
	int r;

	queue_init(&group);
	while ((r = dependency_next(&field, &d, e)) > 0) {
		dropped |= drop_list_has(u->world->drops, d.name, d.name_len, p->name);
		queue_push(&group, dependency_id(u, &d, false));
		if (d.more)
			continue;
		Id dep = queue_pop(&group);
		while (group.count)
			dep = pool_rel2id(u->pool, queue_pop(&group), dep, REL_OR, 1);
		if (!dropped)
		s->requires = repo_addid_dep(s->repo, s->requires, dep, 0);
		dropped = false;
	}
	return r;
}

static int add_conflicts(const struct universe *u, Solvable *s, const char *field, struct err *e)
{
	struct dependency d;
	int r;

	while ((r = dependency_next(&field, &d, e)) > 0)
		s->conflicts = repo_addid_dep(s->repo, s->conflicts, dependency_id(u, &d, true), 0);
	return r;
}

static int add_provides(const struct universe *u, Solvable *s, const struct package *p, struct err *e)
{
	const char *field = p->provides;
	struct dependency d;
	int r;

	s->provides = repo_addid_dep(s->repo, s->provides, pool_rel2id(u->pool, s->name, s->evr, REL_EQ, 1), 0);
	if (p->multiarch_allowed) {
		Id any = any_id(u->pool, p->name, strlen(p->name), "any", 3);
		s->provides = repo_addid_dep(s->repo, s->provides, pool_rel2id(u->pool, any, s->evr, REL_EQ, 1), 0);
	}
	while ((r = dependency_next(&field, &d, e)) > 0)
		s->provides = repo_addid_dep(s->repo, s->provides, dependency_id(u, &d, false), 0);
	return r;
}

static int add_solvable(const struct universe *u, Repo *repo, const struct package *p, struct err *e)
{
	Solvable *s = pool_id2solvable(u->pool, repo_add_solvable(repo));

	s->name = pool_str2id(u->pool, p->name, 1);
	s->evr = version_id(u->pool, p->version, strlen(p->version));
	s->arch = pool_str2id(u->pool, p->arch, 1);
	int r = add_provides(u, s, p, e);
	if (r >= 0)
		r = add_requires(u, s, p, p->pre_depends, e);
	if (r >= 0)
		r = add_requires(u, s, p, p->depends, e);
	if (r >= 0)
		r = add_conflicts(u, s, p->conflicts, e);
	if (r >= 0)
		r = add_conflicts(u, s, p->breaks, e);
	return r < 0 ? err_in(e, r, "package '%s' %s of repository '%s'", p->name, p->version, p->repository) : 0;
}

int universe_new(const struct world *w, struct universe **out, struct err *e)
{
	_cleanup_(universe_freep) struct universe *u = xcalloc(1, sizeof(*u));

	u->world = w;
	u->pool = pool_create();
	if (pool_setdisttype(u->pool, DISTTYPE_DEB) < 0)
		return err_set(e, -ENOSYS, "this libsolv does not know Debian's versions");
	Repo *repo = repo_create(u->pool, "all");
	u->first = u->pool->nsolvables;
	choose_candidates(u);
	for (size_t i = 0; i < u->n; i++) {
		int r = add_solvable(u, repo, u->packages[i], e);
		if (r < 0)
			return r;
	}
	pool_createwhatprovides(u->pool);
	*out = take(u);
	return 0;
}

Id alternative_take(const struct universe *u, Id *dep)
{
	Id id = *dep;

	if (ISRELDEP(id)) {
		const Reldep *rel = GETRELDEP(u->pool, id);
		if (rel->flags == REL_OR) {
			*dep = rel->evr;
			return rel->name;
		}
	}
	*dep = 0;
	return id;
}

Id alternative_name(const struct universe *u, Id alternative)
{
	return ISRELDEP(alternative) ? GETRELDEP(u->pool, alternative)->name : alternative;
}

bool candidate_is_called(const struct universe *u, Id candidate, Id name)
{
	return pool_id2solvable(u->pool, candidate)->name == name;
}

Id wish_find(const struct universe *u, const char *name)
{
	Id id = pool_str2id(u->pool, name, 0);

	return id && *pool_whatprovides_ptr(u->pool, id) ? id : 0;
}

void dependency_format(const struct universe *u, Id dep, struct buf *out)
{
	static const char *const relations[] = {
		[REL_LT] = "<<",          [REL_LT | REL_EQ] = "<=", [REL_EQ] = "=",
		[REL_GT | REL_EQ] = ">=", [REL_GT] = ">>",          [REL_LT | REL_GT | REL_EQ] = "any"};

	for (Id alternative; dep && (alternative = alternative_take(u, &dep));) {
		buf_puts(out, pool_id2str(u->pool, alternative_name(u, alternative)));
		if (ISRELDEP(alternative)) {
			const Reldep *rel = GETRELDEP(u->pool, alternative);
			buf_printf(out, " (%s %s)", relations[rel->flags & 7], pool_id2str(u->pool, rel->evr));
		}
		if (dep)
			buf_puts(out, " | ");
	}
}

int candidate_compare(const struct universe *u, Id name, Id a, Id b)
{
	const struct package *x = universe_package(u, a), *y = universe_package(u, b);
	bool called = candidate_is_called(u, a, name), kept = u->kept[a - u->first];

	if (called != candidate_is_called(u, b, name))
		return called ? -1 : 1;
	if (kept != u->kept[b - u->first])
		return kept ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	int r = strcmp(x->name, y->name);
	if (r == 0)
		r = -pool_evrcmp(u->pool, pool_id2solvable(u->pool, a)->evr, pool_id2solvable(u->pool, b)->evr,
				 EVRCMP_COMPARE);
	return r ? r : (a > b) - (a < b);
}
