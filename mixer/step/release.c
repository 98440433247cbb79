/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/release.h"

#include <string.h>

#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/manifest.h"

char *release_new_path(uint32_t number)
{
	return xasprintf("update/www/.new-%u", number);
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int release_list(const struct mix *m, struct release_numbers *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	*out = (struct release_numbers){0};
	int r = fs_list(m->config->dir, "update/www", &names, e);
	if (r < 0)
		return r;
	out->items = xcalloc(names.n + 1, sizeof(*out->items));
	for (size_t i = 0; i < names.n; i++)
		if (text_u32(names.items[i], 1, INT32_MAX, &out->items[out->n]) == 0)
			out->n++;
	qsort(out->items, out->n, sizeof(*out->items), by_number);
	return 0;
}

void release_numbers_clear(struct release_numbers *x)
{
	freep(&x->items);
	*x = (struct release_numbers){0};
}

void release_free(struct release *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		manifest_free(r->bundles[i]);
	free(r->bundles);
	manifest_free(r->mom);
	free(r);
}

struct manifest *release_find(const struct release *r, const char *bundle)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->mom->entries[i].name, bundle) == 0)
			return r->bundles[i];
	return NULL;
}

static int load_manifest(const struct mix *m, const char *path, bool mom, uint32_t release, struct manifest **out,
			 struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(m->config->dir, path, MANIFEST_MAX, &text, e);
	if (r >= 0)
		r = manifest_parse(text.data, text.len, mom, release, out, e);
	return r < 0 ? err_in(e, r, "%s/%s", m->config->path, path) : 0;
}

static int load(const struct mix *m, uint32_t number, const char *dir, struct release **out, struct err *e)
{
	_cleanup_(release_freep) struct release *r = xcalloc(1, sizeof(*r));
	_cleanup_free_ char *mom = xasprintf("%s/Manifest.MoM", dir);

	int result = load_manifest(m, mom, true, number, &r->mom, e);
	if (result < 0)
		return result;
	r->bundles = xcalloc(r->mom->n_entries, sizeof(*r->bundles));
	for (size_t i = 0; i < r->mom->n_entries; i++) {
		const struct entry *x = &r->mom->entries[i];
		_cleanup_free_ char *path = x->release == number
						    ? xasprintf("%s/Manifest.%s", dir, x->name)
						    : xasprintf("update/www/%u/Manifest.%s", x->release, x->name);
		result = load_manifest(m, path, false, x->release, &r->bundles[i], e);
		if (result < 0)
			return result;
		r->n++;
	}
	*out = take(r);
	return 0;
}

bool release_is_whole(const struct mix *m, uint32_t number)
{
	_cleanup_free_ char *mom = xasprintf("update/www/%u/Manifest.MoM", number),
			    *mark = xasprintf("update/www/%u/" RELEASE_MARK, number);

	return number && fs_exists(m->config->dir, mom) && fs_exists(m->config->dir, mark);
}

int release_load_mom(const struct mix *m, uint32_t number, struct manifest **out, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("update/www/%u/Manifest.MoM", number);

	return load_manifest(m, path, true, number, out, e);
}

int release_load_bundle(const struct mix *m, const struct entry *line, struct manifest **out, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("update/www/%u/Manifest.%s", line->release, line->name);
	_cleanup_(buf_free) struct buf text = {0};
	struct digest real;

	int r = fs_load(m->config->dir, path, MANIFEST_MAX, &text, e);
	if (r < 0)
		return r;
	manifest_hash(text.data, text.len, &real);
	if (!digest_equal(&real, &line->hash))
		return err_set(e, -ERR_DIGEST, "%s is not what the MoM lists", path);
	r = manifest_parse(text.data, text.len, false, line->release, out, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

int release_load(const struct mix *m, uint32_t number, struct release **out, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("update/www/%u", number);

	return load(m, number, dir, out, e);
}

struct release *release_none(void)
{
	struct release *r = xcalloc(1, sizeof(*r));

	r->mom = manifest_new();
	return r;
}

int release_load_new(const struct mix *m, struct release **out, struct err *e)
{
	_cleanup_free_ char *dir = release_new_path(m->release);

	return load(m, m->release, dir, out, e);
}
