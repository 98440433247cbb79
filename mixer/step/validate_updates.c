/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/diff.h"
#include "mixer/step/release.h"
#include "mixer/step/release_index.h"
#include "mixer/step/step.h"
#include "mixer/step/validating.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/update_file.h"

#define WWW "update/www/"

/* Where an update file is read. */
struct checking {
	struct validating *v;
	const char *path;
	struct update_index index;
	struct release_index old, new;
	struct table *seen; /* digests of new that it brings */
	const struct indexed *now;
	struct file_hash *hash;
	struct attrs attrs;
	struct buf base, link;
};

static void checking_clear(struct checking *c)
{
	update_index_clear(&c->index);
	release_index_clear(&c->old);
	release_index_clear(&c->new);
	table_free(c->seen);
	if (c->hash)
		file_hash_free(c->hash);
	buf_free(&c->base);
	buf_free(&c->link);
}

/* The one whose hash begins like that. */
static const struct indexed *find(const struct checking *c, const struct release_index *x, const struct digest *prefix)
{
	return release_index_find(x, prefix, c->index.prefix);
}

static int load_base(struct checking *c, const struct indexed *x)
{
	if (!x->manifest)
		return store_load(c->v->m->store, &x->hash, SIZE_MAX / 2, &c->base, NULL);
	_cleanup_free_ char *path = xasprintf(WWW "%s", x->manifest);
	return fs_load(c->v->m->config->dir, path, MANIFEST_MAX, &c->base, NULL);
}

static int begin(void *arg, const struct update_record *r, struct view *base, struct err *e __attribute__((unused)))
{
	struct checking *c = arg;
	const bool has_base = update_has_base(r);
	const struct indexed *from = has_base ? find(c, &c->old, &r->from) : NULL;

	c->base.len = c->link.len = 0;
	c->now = find(c, &c->new, &r->hash);
	if (!c->now)
		finding(c->v, "%s has something that release %u has not", c->path, c->index.to);
	else
		(void)table_add(c->seen, &c->now->hash, sizeof(struct digest), (void *)c->now);
	if (c->now && has_base && !from && c->old.n)
		finding(c->v, "%s makes %s from something that release %u has not", c->path, c->now->name,
			c->index.from);
	/* of a release whose content is no longer in the cache only the form can be checked */
	if (!c->now || (has_base && (!from || load_base(c, from) < 0)))
		return 0;
	c->attrs = *r->shape;
	c->attrs.size = c->attrs.kind == KIND_DIR ? 0 : r->size;
	c->hash = file_hash_new(&c->attrs);
	*base = VIEW_OF((const uint8_t *)c->base.data, c->base.len);
	return 1;
}

static int add_bytes(void *arg, const void *data, size_t len, struct err *e __attribute__((unused)))
{
	struct checking *c = arg;

	file_hash_add(c->hash, data, len);
	return 0;
}

static int end(void *arg, const struct update_record *r __attribute__((unused)), int result, struct err *e)
{
	struct checking *c = arg;
	struct digest real;

	file_hash_end(c->hash, &real);
	file_hash_free(take(c->hash));
	if (result < 0)
		finding(c->v, "%s: %s: %s", c->path, c->now->name, e->text);
	else if (!digest_equal(&real, &c->now->hash))
		finding(c->v, "%s has something else for %s", c->path, c->now->name);
	return 0;
}

/* What clients of the old release have to fetch is in it. */
static void report_missing(const struct checking *c, const struct release *old)
{
	const struct release *new = c->v->release;
	const char *first = NULL;
	size_t n = 0;

	for (size_t i = 0; i < new->n; i++) {
		const struct manifest *was = release_find(old, new->mom->entries[i].name);
		if (!was || was->release >= new->bundles[i]->release)
			continue;
		_cleanup_(table_freep) struct table *before = manifest_index(was);
		for (size_t k = 0; k < new->bundles[i]->n_entries; k++) {
			const struct entry *x = &new->bundles[i]->entries[k];
			if (!diff_brings(x, was->release, before) || table_find(c->seen, &x->hash, sizeof(x->hash)))
				continue;
			first = first ? first : x->name;
			n++;
		}
	}
	if (n)
		finding(c->v, n == 1 ? "%s lacks %s" : "%s lacks %s and %zu more", c->path, first, n - 1);
}

static int check_sections(struct checking *c, int fd, struct err *e)
{
	const struct update_target target = {.begin = begin, .write = add_bytes, .end = end, .arg = c, .scratch = -1};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < c->index.n_sections; i++)
		r = update_read(&c->index, i, fd, c->index.sections[i].at, &target, e);
	return r;
}

static int check_file(struct validating *v, const char *name, uint32_t from, struct err *e)
{
	_cleanup_free_ char *path = layout_release_file(v->release->mom->release, name),
			    *below = xasprintf(WWW "%s", path);
	_cleanup_(checking_clear) struct checking c = {.v = v, .path = path, .seen = table_new()};
	_cleanup_close_ int fd = openat(v->m->config->dir, below, O_RDONLY | O_CLOEXEC);
	_cleanup_(release_freep) struct release *old = NULL;
	struct err why = ERR_INIT;

	int r = fd < 0 ? err_errno(&why, "cannot be opened") : update_load(fd, UPDATE_MEMORY, &c.index, &why);
	if (r >= 0 && (c.index.from != from || c.index.to != v->release->mom->release))
		r = err_set(&why, -ERR_FORMAT, "it is of other releases");
	if (r >= 0) {
		r = release_index_fill(v->m, v->release, &c.new, e);
		/* an old release may be gone */
		if (r >= 0 && release_load(v->m, from, &old, NULL) >= 0)
			r = release_index_fill(v->m, old, &c.old, e);
		if (r < 0)
			return r;
		r = check_sections(&c, fd, &why);
	}
	if (r < 0)
		finding(v, "%s: %s", path, why.text);
	else if (old)
		report_missing(&c, old);
	err_clear(&why);
	return 0;
}

int validate_updates(struct validating *v, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf(WWW "%u", v->release->mom->release);
	_cleanup_(strv_free) struct strv names = {0};
	uint32_t from;

	if (v->quick)
		return 0;
	int r = fs_list(v->m->config->dir, dir, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (text_starts(names.items[i], LAYOUT_UPDATE) &&
		    text_u32(names.items[i] + strlen(LAYOUT_UPDATE), 0, INT32_MAX, &from) == 0)
			r = check_file(v, names.items[i], from, e);
	if (r >= 0 && strv_has(&names, "manifests"))
		r = check_file(v, "manifests", v->release->mom->release, e);
	return r;
}
