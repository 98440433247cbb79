/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct err;
struct machine;

/*
 * Releases that did not work on this machine: <data>/bad/<release> holds one line that says why. They are not installed again unless named; one
 * that is named, and works, is forgotten.
 */
int bad_add(const struct machine *m, uint32_t release, const char *reason, struct err *e);
int bad_forget(const struct machine *m, uint32_t release, struct err *e);

/* Why; NULL: it is not known to be bad. The caller frees it. */
char *bad_reason(const struct machine *m, uint32_t release);

/* All of them, ascending; the caller frees *out. */
int bad_list(const struct machine *m, uint32_t **out, size_t *n, struct err *e);
