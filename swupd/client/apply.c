/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/apply.h"

#include <errno.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/client/boot_update.h"
#include "swupd/client/catalog.h"
#include "swupd/client/exchange.h"
#include "swupd/client/fetch.h"
#include "swupd/client/history.h"
#include "swupd/client/install.h"
#include "swupd/client/machine.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/post.h"
#include "swupd/client/stage.h"

void catalog_keep(struct catalog *c, const struct strv *names)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (strv_has(names, c->names[i])) {
			c->names[kept] = c->names[i];
			c->manifests[kept++] = c->manifests[i];
		} else {
			manifest_free(c->manifests[i]);
		}
	}
	c->n = kept;
}

int catalog_installed(struct machine *m, struct catalog **out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0}, missing = {0};
	struct manifest *mom = NULL;
	struct catalog *c = NULL;

	if (m->release == 0)
		return err_hint(e, err_set(e, -ERR_RELEASE, "cannot tell which release is installed in %s", m->path),
				"is there a usr/lib/os-release with a VERSION_ID?");
	int r = machine_bundles(m, &names, e);
	if (r >= 0)
		r = catalog_mom(m, m->release, &mom, e);
	if (r >= 0)
		r = catalog_load(m, mom, &names, false, NULL, &missing, &c, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < missing.n; i++)
		ui_warn(m->ui, "bundle '%s' is installed, but release %u does not list it", missing.items[i],
			m->release);
	catalog_keep(c, &names);
	*out = c;
	return 0;
}

void content_free(struct content *c)
{
	files_free(&c->files);
	catalog_free(c->catalog);
}

int apply(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new,
	  enum commit how, struct err *e)
{
	_cleanup_free_ char *why = NULL;
	int r = stage(m, p, old, new, e);

	if (m->fetch && fetch_leave(m->fetch, m->content_url, r, e)) {
		m->no_whole = 0;
		free(take(m->whole_fault));
		r = stage(m, p, old, new, e);
	}
	if (r < 0)
		history_add(m, m->command, "fetch", p->from, p->to, r, e);
	if (r < 0 || how == COMMIT_DOWNLOAD)
		return r;
	if (how == COMMIT_NEXT_BOOT)
		return next_boot(m, p, e);
	r = boot_prepare(m, p, e);
	if (r < 0)
		return r;
	r = how == COMMIT_BY_EXCHANGE ? exchange(m, p, &why, e) : install(m, p, e);
	if (why)
		ui_note(m->ui, "in place: %s", why);
	return r < 0 ? r : post_update(m, p, e);
}
