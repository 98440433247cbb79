/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct buf;
struct err;
struct rules;
struct store;
struct tree;

/*
 * The stateless conversion of one package (DESIGN.md section 4): from the files as Debian has them to what a release has.
 *
 * - /bin, /sbin, /lib and /lib64 are names of their namesakes in /usr
 * - convert.rules decide about single paths
 * - what is then below /etc becomes /usr/share/factory/etc/…, with a line in /usr/lib/tmpfiles.d/zz-<package>.conf that links or copies it into an
 *   empty /etc (zz: of two lines for a path the first file's wins, and others know better)
 * - directories of /var, /root, /srv … become lines of the same file; files there a factory copy
 * - nothing outside of /usr is left but links in the root; files of /boot, /opt and the like that no rule moves are -ERR_PATH
 *
 * raw: sorted or not. *out: sorted, each path once. Changed and new texts are put into the store. The result depends on nothing else, so it can be cached.
 */
int convert_package(const struct rules *rules, struct store *s, const char *name, const struct tree *raw,
		    struct tree **out, struct err *e);

/*
 * Lines of tmpfiles.d that bring files which t has below the factory's /etc to /etc; for what no package brought. who: for the first line's comment.
 * Nothing is added when there is none.
 */
void convert_factory_lines(const struct rules *rules, const char *who, const struct tree *t, struct buf *out);

/* Raised whenever the same input gives another result. */
#define CONVERT_VERSION 3

#define FACTORY "/usr/share/factory"
