/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "mixer/step/between.h"
#include "mixer/step/deltas.h"
#include "mixer/step/diff.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"

#define WWW "update/www/"

struct pair {
	const struct entry *from, *to; /* of the two MoMs */
};

struct diffing {
	const struct mix *m;
	struct pair *pairs;
	size_t n, cap;
};

static int load(const struct mix *m, const struct entry *line, struct buf *out, struct err *e)
{
	_cleanup_free_ char *name = layout_manifest_plain(line->release, line->name), *path = xasprintf(WWW "%s", name);
	struct digest real;

	int r = fs_load(m->config->dir, path, MANIFEST_MAX, out, e);
	if (r < 0)
		return r;
	manifest_hash(out->data, out->len, &real);
	if (!digest_equal(&real, &line->hash))
		return err_set(e, -ERR_DIGEST, "%s is not what the MoM lists", path);
	return 0;
}

/* Against what the client fetches without it. */
static bool is_worth_it(const struct mix *m, const struct entry *to, size_t size)
{
	_cleanup_free_ char *name = layout_manifest(to->release, to->name), *path = xasprintf(WWW "%s", name);
	struct stat st;

	return fstatat(m->config->dir, path, &st, 0) < 0 || size < (size_t)st.st_size;
}

static int diff_one(void *arg, size_t i, struct err *e)
{
	const struct diffing *d = arg;
	const struct pair *p = &d->pairs[i];
	/* the client hashes what it makes with the attributes of the delta, and the MoM is about such a file */
	struct attrs attrs = {.kind = KIND_FILE, .mode = 0644};
	_cleanup_free_ char *name = layout_manifest_delta(p->to->release, p->to->name, p->from->release);
	_cleanup_free_ char *path = xasprintf(WWW "%s", name);
	_cleanup_(buf_free) struct buf old = {0}, new = {0}, delta = {0};

	progress_add(d->m->progress, 1);
	if (fs_exists(d->m->config->dir, path))
		return 0;
	int r = load(d->m, p->from, &old, e);
	if (r >= 0)
		r = load(d->m, p->to, &new, e);
	attrs.size = new.len;
	if (r >= 0)
		r = delta_make_checked(&old, &new, &attrs, &delta, e);
	if (r < 0)
		return err_in(e, r, "manifest of '%s'", p->to->name);
	if (r == 1 || !is_worth_it(d->m, p->to, delta.len))
		return 0;
	return fs_save(d->m->config->dir, path, delta.data, delta.len, 0644, e);
}

int diff_manifests(const struct between *b, struct err *e)
{
	const struct release *old = b->from, *new = b->to;
	struct diffing d = {.m = b->m};

	for (size_t i = 0; i < new->n; i++) {
		const struct entry *line = &new->mom->entries[i], *was = manifest_find(old->mom, line->name);
		if (!was || was->release >= line->release)
			continue;
		VEC_GROW(d.pairs, d.n, d.cap);
		d.pairs[d.n++] = (struct pair){was, line};
	}
	progress_stage(b->m->progress, "manifests", d.n, false);
	int r = work_each(b->m->config->threads, d.n, diff_one, &d, e);
	free(d.pairs);
	return r < 0 ? err_in(e, r, "cannot make deltas of manifests from release %u to %u", old->mom->release,
			      new->mom->release)
		     : 0;
}
