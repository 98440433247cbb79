/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct buf;
struct diff_streams;
struct err;
struct mix;
struct update_record;
struct update_section;

/*
 * What sections of update files (update_file.h) are made of and where both lie in the cache, made by jobs (job.h):
 *
 *     diffs/xx/<from>-<to>   varints, a version and how long each stream of the difference is, then the streams; compressed
 *     sections/xx/<digest>   varints: of each stream its codec, its length, the stored length; of each record, how much of each stream it takes;
 *                            then the stored streams. The digest is of what the section is made of, in its order: objects and differences.
 */

/* Make, apply and compare. */
int diff_checked(const struct buf *old, const struct buf *new, struct diff_streams *out, struct err *e);

/* The table of one that a job has made: of s, whose n records say how much they take. Then what is stored of it, written behind what to has. */
int section_load(const struct mix *m, const char *file, struct update_section *s, struct update_record *records,
		 struct err *e);
int section_copy(const struct mix *m, const char *file, const struct update_section *s, int to, struct err *e);
