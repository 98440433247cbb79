/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct mix;
struct strv;

/*
 * Which older releases get update files (update(5)) to a new one, and are kept by gc.
 *
 * Each of the last 'cover' before it; and, up to 'cover-days' before it, the last one of each eight numbers of the same forty, of those of the same day, of each day of the same week, of each
 * week of the same four weeks, of those of the same sixteen weeks, and of each sixteen weeks:
 *
 *     weeks      |---------------- 16 ---------------|- 4 -|- 4 -|1|1|now
 *     covered                                        x     x     x x xxx
 *
 * Whoever is the last of a span is covered until one is that of the next longer span, to which it then has a step. So nobody whose mix has a release a day needs more than four, of up
 * to twelve a day six, and one more for each year beyond cover-days; and there are at most 6, 3, 3 and, in a year, 4 of them, and one for each four releases of the day.
 *
 * Spans are counted from 1970, not from the new release, and each is made of shorter ones: who was left out once will not be needed later, whatever gc has removed meanwhile.
 *
 * All others go by way of releases that came after them (ways.h).
 */
struct published {
	uint32_t release, format;
	int64_t time; /* of its MoM */
	bool trees;   /* update/releases has it: update files can be made from it */
	bool covered;
};

struct history {
	struct published *items; /* the newest first */
	size_t n, cap;
	bool every_way; /* nobody may be left without a way */
};
void history_clear(struct history *h);

/*
 * A release and those before it, as each says which one it followed; where that is gone, the next older one that is there. Those to cover are marked: by the policy of the mix, or
 * (previous not COVER_BY_POLICY) so many before it.
 */
#define COVER_BY_POLICY UINT32_MAX
int coverage_load(const struct mix *m, uint32_t to, uint32_t previous, struct history *out, struct err *e);

/* The marks alone, by policy. */
void coverage_choose(struct history *h, uint32_t cover, uint32_t days);

/*
 * From which releases update files are to be made to the first of the history, as numbers: of those to cover, the ones whose clients can read it and whose trees are there; and by
 * the mix's policy any other from which no way would lead to it.
 */
int coverage_sources(const struct mix *m, const struct history *h, struct strv *out, struct err *e);

/* Bytes of what was published for clients that go from one release to another: the update file, packs and deltas of manifests. */
struct coverage_cost {
	uint64_t update, classic;
};
int coverage_measure(const struct mix *m, uint32_t from, uint32_t to, struct coverage_cost *out, struct err *e);
