/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct buf;
struct err;

/*
 * A pack: a tar of "staged/<hash>" objects and "delta/10-20-<from>-<to>" deltas (spec/swupd-format.md section 5), compressed. Nothing in it is trusted.
 *
 * Reading: members in the order of the file; those of other names or types are skipped.
 */
struct pack;

struct pack_member {
	bool is_delta;
	struct digest hash; /* of the object, or of the delta's result */
	struct digest from; /* is_delta: of the file it applies to */
	struct attrs attrs; /* of an object, as the tar says; of a delta only size */
	const char *link;   /* target of a link; lent until the next call */
};

int pack_open(int fd, struct pack **out, struct err *e); /* fd is lent until pack_close */
void pack_close(struct pack *p);
DEFINE_CLEANUP(struct pack *, pack_close);
int pack_next(struct pack *p, struct pack_member *m, struct err *e);     /* 1 item, 0 end, negative failure */
int pack_read(struct pack *p, void *data, size_t len, struct err *e);    /* bytes of the member read, 0 at its end */
int pack_read_source(void *pack, void *data, size_t len, struct err *e); /* the same, for who reads from any source */

/*
 * Writing: a pack is a sequence of independently compressed parts, so that a part whose members did not change since the last release is copied, not compressed
 * again. A part holds whole tar members.
 *
 *     pack = part(directories) part(members…) … part(end of archive)
 *
 * pack_part_add adds one member to the uncompressed text of a part.
 */
int pack_part_add(struct buf *part, const char *name, const struct attrs *a, const void *content, struct err *e);
int pack_part_begin(struct buf *part, struct err *e); /* the two directory members */
void pack_part_end(struct buf *part);                 /* the end of the archive */
char *pack_object_name(const struct digest *d);
char *pack_delta_name(const struct digest *from, const struct digest *to);
