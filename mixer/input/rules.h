/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"

struct err;

/*
 * convert.rules(5): what happens to single paths of packages. A line each, '#' begins a comment; the first rule that matches a path decides:
 *
 *     drop PATH             is not shipped
 *     comment-only DIR/     a file is not shipped when it holds nothing but comments, blank lines and [section] headings;
 *                           otherwise the following rules decide
 *     expand PATH           a compressed file (.gz, .xz, .zst, .bz2) is shipped as what it holds, without that end of its name; otherwise the following
 *                           rules decide
 *     move FROM TO          is shipped as TO
 *     link PATH TARGET      is shipped as this symbolic link
 *     copy PATH             (asked apart) this file of /etc gets a copy of the factory's, not a link to it
 *
 * A PATH that ends in '/' is the directory and all below; '*' stands for any characters but '/'.
 */
enum rule_action { RULE_KEEP, RULE_DROP, RULE_COMMENT_ONLY, RULE_EXPAND, RULE_MOVE, RULE_LINK };

struct rules;
int rules_parse(const char *text, size_t len, const char *file, struct rules **out,
		struct err *e); /* -ERR_FORMAT with FILE:LINE */
void rules_free(struct rules *r);
DEFINE_CLEANUP(struct rules *, rules_free);

/*
 * What to do with an absolute path: the first rule that matches at or after *at (begin with 0; it is moved behind the rule, to go on when a comment-only
 * rule turns out not to apply). *to: the new name (RULE_MOVE) or the link's target (RULE_LINK); the caller frees it.
 */
enum rule_action rules_find(const struct rules *r, const char *path, size_t *at, char **to);
bool rules_copy(const struct rules *r, const char *path);

/* Does a PATH of these rules match path? */
bool rules_match(const char *pattern, const char *path);

/* Of the text: results of a conversion are cached under it. */
const struct digest *rules_digest(const struct rules *r);
