/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/layout.h"

#include <inttypes.h>

#include "swupd/base/mem.h"

char *layout_latest(uint32_t format)
{
	return xasprintf("version/format%" PRIu32 "/latest", format);
}

char *layout_latest_version(void)
{
	return xstrdup("version/latest_version");
}

char *layout_freshness(uint32_t format)
{
	return xasprintf("version/format%" PRIu32 "/freshness", format);
}

char *layout_root(uint32_t number)
{
	return xasprintf("version/root/%" PRIu32, number);
}

char *layout_release_file(uint32_t release, const char *name)
{
	return xasprintf("%" PRIu32 "/%s", release, name);
}

char *layout_mom(uint32_t release)
{
	return layout_manifest(release, "MoM");
}

char *layout_mom_signature(uint32_t release)
{
	return xasprintf("%" PRIu32 "/Manifest.MoM.sig", release);
}

char *layout_manifest(uint32_t release, const char *bundle)
{
	return xasprintf("%" PRIu32 "/Manifest.%s.tar", release, bundle);
}

char *layout_manifest_plain(uint32_t release, const char *bundle)
{
	return xasprintf("%" PRIu32 "/Manifest.%s", release, bundle);
}

char *layout_manifest_delta(uint32_t release, const char *bundle, uint32_t from)
{
	return xasprintf("%" PRIu32 "/Manifest-%s-delta-from-%" PRIu32, release, bundle, from);
}

char *layout_fullfile(uint32_t release, const struct digest *hash)
{
	char hex[DIGEST_HEX];

	digest_format(hash, hex);
	return xasprintf("%" PRIu32 "/files/%s.tar", release, hex);
}

char *layout_pack(uint32_t release, const char *bundle, uint32_t from)
{
	return xasprintf("%" PRIu32 "/pack-%s-from-%" PRIu32 ".tar", release, bundle, from);
}

char *layout_manifests(uint32_t release)
{
	return layout_release_file(release, "manifests");
}

char *layout_updates(uint32_t release)
{
	return layout_release_file(release, "updates");
}

char *layout_update(uint32_t release, uint32_t from)
{
	return xasprintf("%" PRIu32 "/" LAYOUT_UPDATE "%" PRIu32, release, from);
}

char *layout_delta(uint32_t release, const struct digest *from, const struct digest *to)
{
	char from_hex[DIGEST_HEX], to_hex[DIGEST_HEX];

	digest_format(from, from_hex);
	digest_format(to, to_hex);
	/* the predecessor's builder puts these two constants before each pair; its client skips them (section 6.1) */
	return xasprintf("%" PRIu32 "/delta/10-20-%s-%s", release, from_hex, to_hex);
}
