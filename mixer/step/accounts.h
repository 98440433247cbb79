/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>

#include "swupd/base/mem.h"

struct buf;
struct err;

/*
 * The files of users and groups that systemd-sysusers would make of sysusers.d(5), made once for the release instead of at each start: passwd(5), group(5),
 * shadow(5) and gshadow(5). Numbers must be in the texts: sysusers_pin has put them there. Sorted by number, so that the next release's differ by what is
 * new.
 */
struct accounts;
struct accounts *accounts_new(void);
void accounts_free(struct accounts *a);
DEFINE_CLEANUP(struct accounts *, accounts_free);

/*
 * Take in one file of sysusers.d, in the order of their names: the first line for a name counts. What cannot be known here is left to systemd-sysusers:
 * accounts numbered by the owner of a file, and members of groups that nobody declares. -ERR_FORMAT with "NAME:LINE".
 */
int accounts_add(struct accounts *a, const char *name, const char *text, size_t len, struct err *e);

enum accounts_file { ACCOUNTS_PASSWD, ACCOUNTS_GROUP, ACCOUNTS_SHADOW, ACCOUNTS_GSHADOW, ACCOUNTS_FILES };

/* -ERR_CONFLICT: two users, or two groups, of one number. */
int accounts_check(const struct accounts *a, struct err *e);
void accounts_format(const struct accounts *a, enum accounts_file file, struct buf *out);
