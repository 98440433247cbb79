/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct err;

/*
 * An object is a file, directory or link with its final type, mode, owner and content, named by its file hash in hex, in a private directory
 * of ours. Its name exists only after its content was verified; whatever it came from (tar, pack, delta) is not trusted and gives it nothing but type, mode,
 * owner and bytes: no extended attributes, no times (see OBJECT_MTIME), no hard links.
 */
struct object;

/* Begin one of these attributes in dirfd (lent until commit or abort). link: its target, else NULL. */
int object_begin(int dirfd, const struct attrs *a, const char *link, struct object **out, struct err *e);

/* Add to a file's content. -ERR_DIGEST: beyond attrs.size, so that no more than that ever comes onto the disk. */
int object_write(struct object *o, const void *data, size_t len, struct err *e);

/*
 * Compare with want and give it its name, which it replaces. Takes the object in any case. -ERR_DIGEST: it is not want, or its size differs; nothing
 * remains. Other owners than the caller need root. No fsync is made.
 */
int object_commit(struct object *taken, const struct digest *want, struct err *e);
void object_abort(struct object *o);
DEFINE_CLEANUP(struct object *, object_abort);

/* Is it there? Trusts the directory: only object_commit makes names in it, and it is cleaned when it was not ours. */
bool object_exists(int dirfd, const struct digest *d);

/* The mtime that all content gets, in seconds: times are no content (section 3 of the spec), and equal objects must be equal. */
#define OBJECT_MTIME 0
