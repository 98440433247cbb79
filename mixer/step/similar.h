/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct mix;
struct peers;
struct tree;

/*
 * For files of to that have no peer: the file of from with which they have most content in common, if that is a fifth of theirs or more, as where a file was renamed, split or
 * merged. Compared are samples: of all runs of 16 bytes those whose hash begins with 8 zero bits. Content that the store lacks is passed over.
 *
 * All of from is compared, for each older release of each new one, and is nearly the same each time: so the samples of larger files are kept in <cache>/samples/xx/<hash>.
 */
int similar_add(const struct mix *m, const struct tree *from, const struct tree *to, struct peers *p, struct err *e);
