/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "swupd/content/digest.h"

/*
 * layout(5): where things lie on the web server, relative to its root. Each returns a string the caller frees.
 */
char *layout_latest(uint32_t format);                          /* version/format30/latest; its signature: + ".sig" */
char *layout_latest_version(void);                             /* version/latest_version */
char *layout_freshness(uint32_t format);                       /* version/format30/freshness */
char *layout_root(uint32_t number);                            /* version/root/2 */
char *layout_release_file(uint32_t release, const char *name); /* 20/name: format, SBOM, lock */
char *layout_mom(uint32_t release);                            /* 20/Manifest.MoM.tar */
char *layout_mom_signature(uint32_t release);                  /* 20/Manifest.MoM.sig */
char *layout_manifest(uint32_t release, const char *bundle);   /* 20/Manifest.os-core.tar */
char *layout_manifest_plain(uint32_t release, const char *bundle); /* 20/Manifest.os-core */
char *layout_manifest_delta(uint32_t release, const char *bundle, uint32_t from);
char *layout_fullfile(uint32_t release, const struct digest *hash);     /* 20/files/<hash>.tar */
char *layout_pack(uint32_t release, const char *bundle, uint32_t from); /* from 0: all of it */
char *layout_manifests(uint32_t release);                               /* 20/manifests */
char *layout_updates(uint32_t release);                                 /* 20/updates */
#define LAYOUT_UPDATE "update-from-"
char *layout_update(uint32_t release, uint32_t from); /* 20/update-from-10 */
char *layout_delta(uint32_t release, const struct digest *from,
		   const struct digest *to); /* 20/delta/10-20-<from>-<to> */

/* Where things lie on an installed system, relative to its root. */
#define INSTALLED_OS_RELEASE   "usr/lib/os-release"
#define INSTALLED_BUNDLES      "usr/share/clear/bundles" /* an empty file per installed bundle */
#define INSTALLED_VERSION      "usr/share/clear/version"
#define INSTALLED_VERSIONSTAMP "usr/share/clear/versionstamp"
#define INSTALLED_CERTIFICATE  "usr/share/clear/update-ca/Swupd_Root.pem"
#define INSTALLED_ROOT         "usr/share/clear/update-ca/root" /* the root file, when the tree has them */
#define INSTALLED_DEFAULTS     "usr/share/defaults/swupd"       /* contenturl versionurl format config */
#define INSTALLED_STATE        "var/lib/swupd"
