/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct err;
struct mix;
struct strv;

/*
 * Remove what no release needs that is kept. Kept are
 *
 *     the newest, and any that a build has made but not announced
 *     those that coverage.h says
 *     those that 'keep' of mixer.conf, and this call, name
 *     what latest names in any format, and where one format followed another, the last of the one and the first of the other: who comes from there goes through both
 *
 * Of the others the lists stay (MoM and manifests) for cover-days: machines that have them still have to leave them.
 *
 * A kept release stays whole: what it needs lies in directories of older releases, too (needs.h), and so do the steps of the ways to it from any release whose lists stay, or from none.
 * What is to go is known before anything is removed; the lists of ways are rewritten first, then a release loses its mark (release.h) before anything else. So a run that is killed leaves kept
 * releases whole and no half of another that counts as one, and the next run ends the work.
 *
 * Tells what goes, and what stays and why. dry_run: only tells.
 */
int gc_releases(const struct mix *m, const struct strv *keep, bool dry_run, struct err *e);

/*
 * Remove from the cache what no build has used for cache-days, of this mix or another; but for what the kept releases' trees and the locks name. The cache may be shared: who used something
 * is not known, only when. Nothing is lost by it but time.
 */
int gc_cache(const struct mix *m, bool dry_run, struct err *e);
