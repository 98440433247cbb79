/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/cmd/common.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/alias.h"
#include "swupd/client/catalog.h"
#include "swupd/content/manifest.h"

int parse_release(const char *text, uint32_t *out, struct err *e)
{
	*out = 0;
	if (!text || strcmp(text, "latest") == 0)
		return 0;
	if (text_u32(text, 1, INT_MAX, out) < 0)
		return err_set(e, -ERR_USAGE, "'%s' is neither a release number nor 'latest'", text);
	return 0;
}

int expand_bundles(struct machine *m, const struct strv *args, struct strv *out, struct err *e)
{
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_(strv_free) struct strv names = {0};
		int r = alias_expand(m, args->items[i], &names, e);
		if (r < 0)
			return r;
		for (size_t k = 0; k < names.n; k++)
			if (!strv_has(out, names.items[k]))
				strv_add(out, names.items[k]);
	}
	return 0;
}

static bool includes_any(const struct manifest *m, const struct strv *names)
{
	for (size_t i = 0; i < m->n_includes; i++)
		if (strv_has(names, m->includes[i]))
			return true;
	return false;
}

void bundles_needing(const struct catalog *c, const char *name, struct strv *out)
{
	_cleanup_(strv_free) struct strv reached = {0};

	strv_add(&reached, name);
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < c->n; i++) {
			if (strv_has(&reached, c->names[i]) || !includes_any(c->manifests[i], &reached))
				continue;
			strv_add(&reached, c->names[i]);
			strv_add(out, c->names[i]);
			more = true;
		}
	}
	strv_sort_unique(out);
}

static bool is_needed(const struct catalog *c, const char *name, const struct strv *gone)
{
	for (size_t i = 0; i < c->n; i++) {
		if (strv_has(gone, c->names[i]))
			continue;
		for (size_t k = 0; k < c->manifests[i]->n_includes; k++)
			if (strcmp(c->manifests[i]->includes[k], name) == 0)
				return true;
	}
	return false;
}

void bundles_orphaned(const struct catalog *c, const struct strv *tracked, struct strv *gone)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < c->n; i++) {
			if (strcmp(c->names[i], "os-core") == 0 || strv_has(tracked, c->names[i]) ||
			    strv_has(gone, c->names[i]) || is_needed(c, c->names[i], gone))
				continue;
			strv_add(gone, c->names[i]);
			more = true;
		}
	}
}
