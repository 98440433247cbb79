/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/step.h"

#include "swupd/base/err.h"
#include "swupd/base/text.h"

/* Every installed system has it; clients refuse a release without. */
#define BASE_BUNDLE "os-core"

int collect(const struct mix *m, struct bundle_set *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_(bundle_set_free) struct bundle_set set = {0};

	int r = mixbundles_load(m->config, &names, e);
	if (r >= 0)
		r = bundle_set_load(m->config, &names, false, &set, e);
	if (r < 0)
		return r;
	if (!bundle_set_find(&set, BASE_BUNDLE)) {
		r = err_set(e, -ERR_BUNDLE, "the mix has no bundle '" BASE_BUNDLE "', which every system needs");
		return err_hint(e, r, "'mixer bundle add " BASE_BUNDLE "'");
	}
	*out = set;
	set = (struct bundle_set){0};
	return 0;
}
