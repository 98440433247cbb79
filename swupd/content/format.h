/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Format numbers: who can read a release (spec/swupd-format.md section 1.3). */
#define FORMAT_DEFAULT      30 /* what mixer writes unless told otherwise */
#define FORMAT_MINVERSION   26 /* from here manifests may have minversion: */
#define FORMAT_EXPERIMENTAL 27 /* from here the MoM may have the 'e' status */
#define FORMAT_ALSO_ADD     29 /* from here manifests may have also-add: */

/* Limits on what a server may make us hold in memory. */
#define MANIFEST_MAX         (512UL << 20)    /* bytes of one manifest: 4 M entries of 120 bytes */
#define MANIFEST_ENTRIES_MAX 4000000UL        /* the predecessor's limit */
#define CONTENTSIZE_MAX      2000000000000ULL /* the predecessor's limit: 2 TB */
#define DELTA_RESULT_MAX     (512UL << 20)    /* bytes of a file made from a delta, the predecessor's limit */
#define SIGNATURE_MAX        (1UL << 20)
#define SMALL_TEXT_MAX       (64UL << 10) /* latest, format, freshness */
