/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;
struct mix;
struct strv;

/*
 * Check a published release against itself: signatures, manifests, files, packs; and whether its programs have the libraries and interpreters they name. Findings are
 * printed, a line each. quick: without unpacking files and packs. -ERR_INCOMPLETE: there are findings.
 */
int validate(const struct mix *m, uint32_t release, bool quick, struct err *e);

/* The same, but findings are added to a list, sorted, and are no error. */
int validate_list(const struct mix *m, uint32_t release, bool quick, struct strv *findings, struct err *e);
