/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/config.h"
#include "mixer/input/lock.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/json.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

/* ELF files that count together. */
struct sum {
	const char *name, *why;               /* why: of missing ones */
	const struct locked_package *package; /* of a source: one of its packages */
	uint64_t files, bytes, covered_files, covered;
};

struct sums {
	struct sum *items;
	size_t n, cap;
};

static void add_file(struct sum *s, const struct debuginfo_file *f)
{
	s->files++;
	s->bytes += f->attrs.size;
	s->covered_files += *f->by != '\0';
	s->covered += *f->by ? f->attrs.size : 0;
}

static struct sum *add_sum(struct sums *s, const char *name, const char *why)
{
	VEC_GROW(s->items, s->n, s->cap);
	s->items[s->n] = (struct sum){.name = name, .why = why};
	return &s->items[s->n++];
}

/* Worst first: by bytes that nothing explains. */
static int by_missing(const void *a, const void *b)
{
	const struct sum *x = a, *y = b;
	const uint64_t p = x->bytes - x->covered, q = y->bytes - y->covered;

	return p != q ? (p < q) - (p > q) : strcmp(x->name, y->name);
}

static void sort(struct sums *s)
{
	if (s->n > 1)
		qsort(s->items, s->n, sizeof(*s->items), by_missing);
}

/* From hashes of the store to the files that d has; the caller frees it. */
static struct table *files_by_hash(const struct debuginfo *d)
{
	struct table *t = table_new();

	for (size_t i = 0; i < d->n_files; i++)
		(void)table_add(t, &d->files[i].hash, sizeof(struct digest), &d->files[i]);
	return t;
}

/* Of each bundle by itself, without what it includes. */
static void sum_bundles(const struct debuginfo *d, const struct release_trees *trees, struct sums *out)
{
	_cleanup_(table_freep) struct table *by_hash = files_by_hash(d);

	for (size_t i = 0; i < trees->n; i++) {
		const struct tree *t = trees->bundles[i].tree;
		struct sum s = {.name = trees->bundles[i].name};
		for (size_t k = 0; k < t->n; k++) {
			const struct debuginfo_file *f = table_find(by_hash, &t->nodes[k].hash, sizeof(struct digest));
			if (f)
				add_file(&s, f);
		}
		if (s.files)
			*add_sum(out, s.name, NULL) = s;
	}
	sort(out);
}

static int by_package(const void *a, const void *b)
{
	const struct debuginfo_file *x = *(const struct debuginfo_file *const *)a,
				    *y = *(const struct debuginfo_file *const *)b;
	int r = strcmp(x->package, y->package);

	return r ? r : strcmp(x->why, y->why);
}

/* What is missing, a line for each package and reason. */
static void sum_missing(const struct debuginfo *d, struct sums *out)
{
	_cleanup_free_ const struct debuginfo_file **missing = xcalloc(d->n_files + 1, sizeof(*missing));
	size_t n = 0;

	for (size_t i = 0; i < d->n_files; i++)
		if (!*d->files[i].by)
			missing[n++] = &d->files[i];
	if (n > 1)
		qsort(missing, n, sizeof(*missing), by_package);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || by_package(&missing[i - 1], &missing[i]) != 0)
			(void)add_sum(out, missing[i]->package, missing[i]->why);
		add_file(&out->items[out->n - 1], missing[i]);
	}
	sort(out);
}

static double percent(const struct sum *s)
{
	return s->bytes ? 100.0 * (double)s->covered / (double)s->bytes : 100.0;
}

static void answer_text(struct ui *ui, uint32_t release, const struct sum *all, const struct sums *bundles,
			const struct sums *missing)
{
	_cleanup_free_ char *size = text_size(all->bytes);

	ui_answer(ui, "release %u: debug information of %.1f %% of %s in %llu ELF files", release, percent(all), size,
		  (unsigned long long)all->files);
	for (size_t i = 0; i < bundles->n; i++) {
		_cleanup_free_ char *of = text_size(bundles->items[i].bytes);
		ui_answer(ui, "bundle %-24s %5.1f %% of %s", bundles->items[i].name, percent(&bundles->items[i]), of);
	}
	for (size_t i = 0; i < missing->n; i++) {
		const struct sum *s = &missing->items[i];
		_cleanup_free_ char *of = text_size(s->bytes);
		ui_answer(ui, "missing %-23s %10s: %s", *s->name ? s->name : "(no package)", of, s->why);
	}
}

static void add_sums(struct buf *out, const char *key, const struct sums *sums)
{
	buf_printf(out, ", \"%s\": [", key);
	for (size_t i = 0; i < sums->n; i++) {
		const struct sum *s = &sums->items[i];
		buf_printf(out, "%s{\"name\": ", i ? ", " : "");
		json_string(out, s->name);
		buf_printf(out, ", \"files\": %llu, \"bytes\": %llu, \"covered_files\": %llu, \"covered_bytes\": %llu",
			   (unsigned long long)s->files, (unsigned long long)s->bytes,
			   (unsigned long long)s->covered_files, (unsigned long long)s->covered);
		if (s->why) {
			buf_puts(out, ", \"why\": ");
			json_string(out, s->why);
		}
		buf_putc(out, '}');
	}
	buf_putc(out, ']');
}

static void answer_json(struct ui *ui, uint32_t release, const struct sum *all, const struct sums *bundles,
			const struct sums *missing)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_printf(&b,
		   "{\"release\": %u, \"percent\": %.1f, \"files\": %llu, \"bytes\": %llu, \"covered_files\": %llu, "
		   "\"covered_bytes\": %llu",
		   release, percent(all), (unsigned long long)all->files, (unsigned long long)all->bytes,
		   (unsigned long long)all->covered_files, (unsigned long long)all->covered);
	add_sums(&b, "bundles", bundles);
	add_sums(&b, "missing", missing);
	buf_putc(&b, '}');
	ui_answer(ui, "%s", b.data);
}

static int load(const struct mix *m, uint32_t release, struct debuginfo **d, struct release_trees **trees,
		struct err *e)
{
	int r = debuginfo_load(m, release, d, e);

	if (r == -ENOENT) {
		(void)err_set(e, -ERR_RELEASE, "release %u: nobody has looked at its ELF files, or they are gone",
			      release);
		(void)err_hint(e, -ERR_RELEASE, "'mixer build' does so for each release that it makes");
		return -ERR_RELEASE;
	}
	return r < 0 ? r : release_trees_load(m, release, trees, e);
}

int debuginfo_status(const struct mix *m, uint32_t release, bool json, struct err *e)
{
	_cleanup_(debuginfo_freep) struct debuginfo *d = NULL;
	struct release_trees *trees = NULL;
	struct sums bundles = {0}, missing = {0};
	struct sum all = {0};

	int r = load(m, release, &d, &trees, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d->n_files; i++)
		add_file(&all, &d->files[i]);
	sum_bundles(d, trees, &bundles);
	sum_missing(d, &missing);
	(json ? answer_json : answer_text)(m->ui, release, &all, &bundles, &missing);
	free(bundles.items);
	free(missing.items);
	release_trees_free(trees);
	return 0;
}

/* wanted[i]: bundle i is one of names, or all of them are meant, or one of those includes it. */
static int mark_bundles(const struct release_trees *trees, const struct strv *names, bool *wanted, struct err *e)
{
	for (size_t i = 0; i < names->n; i++) {
		const struct bundle_tree *b = release_trees_find(trees, names->items[i]);
		if (!b)
			return err_set(e, -ERR_BUNDLE, "the release has no bundle '%s'", names->items[i]);
		wanted[b - trees->bundles] = true;
		release_trees_reach(trees, (size_t)(b - trees->bundles), wanted);
	}
	for (size_t i = 0; names->n == 0 && i < trees->n; i++)
		wanted[i] = true;
	return 0;
}

static struct sum *find_sum(const struct sums *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->items[i].name, name) == 0)
			return &s->items[i];
	return NULL;
}

/* Of an archive: own packages are not Debian's to rebuild, and with a rebuild that does not help another would not. */
static const struct locked_package *package_of(const struct mix *m, const struct lock *l, const char *name)
{
	const struct locked_package *p = lock_find(l, name);
	const struct repository *from = p ? config_repository(m->config, p->repository) : NULL;

	return from && from->kind == REPOSITORY_DEBIAN ? p : NULL;
}

/* The files of a tree that nothing explains, each once, by source package; of each source, one package. */
static void sum_sources(const struct mix *m, const struct tree *t, const struct table *by_hash, const struct lock *l,
			struct table *seen, struct sums *out)
{
	for (size_t i = 0; i < t->n; i++) {
		struct debuginfo_file *f = table_find(by_hash, &t->nodes[i].hash, sizeof(struct digest));
		const struct locked_package *p = f && !*f->by ? package_of(m, l, f->package) : NULL;
		if (!p || table_add(seen, &f->hash, sizeof(struct digest), f))
			continue;
		struct sum *s = find_sum(out, p->source);
		if (!s)
			s = add_sum(out, p->source, NULL);
		s->package = p;
		add_file(s, f);
	}
}

int debuginfo_missing(const struct mix *m, uint32_t release, const struct strv *bundles, const struct lock *l,
		      struct missing *out, struct err *e)
{
	_cleanup_(debuginfo_freep) struct debuginfo *d = NULL;
	_cleanup_(table_freep) struct table *by_hash = NULL, *seen = table_new();
	_cleanup_free_ bool *wanted = NULL;
	struct release_trees *trees = NULL;
	struct sums sums = {0};

	int r = load(m, release, &d, &trees, e);
	if (r < 0)
		return r;
	by_hash = files_by_hash(d);
	wanted = xcalloc(trees->n + 1, sizeof(*wanted));
	r = mark_bundles(trees, bundles, wanted, e);
	for (size_t i = 0; r >= 0 && i < trees->n; i++)
		if (wanted[i])
			sum_sources(m, trees->bundles[i].tree, by_hash, l, seen, &sums);
	sort(&sums);
	out->items = xcalloc(sums.n + 1, sizeof(*out->items));
	for (out->n = 0; out->n < sums.n; out->n++)
		out->items[out->n] = sums.items[out->n].package;
	free(sums.items);
	release_trees_free(trees);
	return r;
}
