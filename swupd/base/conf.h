/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct err;

/*
 * Text configuration:
 *
 *     # comment
 *     [section]          or [section name], as in [repository security]
 *     key = value        blanks around both are dropped; a value may be empty
 *
 * One call of fn for each key; section is "" before the first heading. A negative result of fn ends the reading; the text
 * of its error gets "FILE:LINE: " before it.
 */
typedef int conf_fn(void *arg, const char *section, const char *key, const char *value, struct err *e);

/* text[0..len) is read as name (for messages). -ERR_CONFIG: a line of no known form. */
int conf_parse(const char *text, size_t len, const char *name, conf_fn *fn, void *arg, struct err *e);

/* The first line of comment that is not the licence's, "" when there is none: what such a text is of. The caller frees it. */
char *conf_title(const char *text, size_t len);
