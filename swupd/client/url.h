/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where a published tree is, as users say it: https, http, file, or the absolute path of a directory or tar. In a path every character is itself; in a file URL, too, but "%" with two
 * hex digits is the byte that they say, so that names of sticks go with spaces as they are and with "%20".
 *
 * One spelling for all of these, which is a URL, without trailing slashes; otherwise URLs of no file stay as they are. The caller frees it.
 */
char *url_normal(const char *source);

/* The path that a file URL is of; NULL: it is of no file, or of another host's. The caller frees it. */
char *url_path(const char *url);
