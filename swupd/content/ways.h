/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/*
 * update(5), <release>/updates: which update files lead to a release, a line for each release from which one leads on:
 *
 *     <older release> TAB <newer release> TAB <head> TAB <bytes>
 *
 * freshness(5) of the newest release has its hash, and the lines that lead there in one step. Lists of other releases nobody signs: a line that leads nowhere costs a client a request.
 */
struct way_step {
	uint32_t from, to; /* from 0: of nothing, as for an installation */
	uint64_t bytes;    /* of the file; 0: not known */
	uint64_t head;     /* of those, up to its first object (update_head_size); 0: not known */
};

struct ways {
	struct way_step *items;
	size_t n, cap;
};

#define WAYS_STEPS_MAX 64 /* files one after the other: clients go no further */
#define WAYS_STEPS_FEW 6  /* so many a client can go by the requests that an update may have */

void ways_clear(struct ways *w);
void ways_add(struct ways *w, uint32_t from, uint32_t to, uint64_t bytes);
void ways_add_step(struct ways *w, const struct way_step *step);

/* The last two numbers may be missing, as in older lists. Lines of another form, and those that lead back or beyond to, are passed over. */
void ways_parse(const char *text, size_t len, uint32_t to, struct ways *out);

/*
 * Of all steps those that lead to a release: one from each release from which there is a way of at most WAYS_STEPS_MAX, the one of the way that costs the least: the bytes of its
 * files, and for each as much as its requests are worth. Of ways that cost the same, as where no bytes are known, that of the fewest steps, and among such the longest step.
 * Of more than WAYS_STEPS_FEW steps is a way only where no shorter one goes on as those after it do. Bytes never decide whether there is a way.
 *
 * From nothing it is the longest step that leads there: update(5) says when all objects are made once more, and then they are what is used. Sorted by from.
 */
void ways_choose(const struct ways *all, uint32_t to, struct ways *out);

/* The chosen step from this release; NULL: there is none. */
const struct way_step *ways_next(const struct ways *chosen, uint32_t from);

/* The chosen steps from one release to another, in the order in which they are gone, added to out; none: they do not lead there. */
void ways_follow(const struct ways *chosen, uint32_t from, uint32_t to, struct ways *out);

/* What a way costs, in bytes, as far as they are known: those of its files, and what its requests are worth. */
uint64_t ways_cost(const struct ways *way);

/* All bytes and heads are unknown. */
void ways_forget_sizes(struct ways *w);

void ways_format(const struct ways *chosen, struct buf *out);
