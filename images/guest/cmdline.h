/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel's command line as the kernel reads it: words between blanks; in double quotes blanks are part of the word, which
 * may stand around the value or the whole word: name="a b", "name=a b". There is no escape.
 *
 * The value of a name, of its last word when there are several; "" when the word is the name alone. NULL: there is none. The
 * caller frees it.
 */
char *cmdline_get(const char *line, const char *name);
