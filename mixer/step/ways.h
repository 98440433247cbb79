/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct err;
struct mix;

/*
 * The ways that clients go from release to release, by update files (update(5)). From a release they take the file that leads to the newest; from nothing, as for an installation,
 * it is one with all objects of a release, "update-from-0".
 */
struct way_step {
	uint32_t from, to; /* from 0: of nothing */
	uint64_t bytes;    /* of the file */
};

/* The files of all releases up to this one, by from and then to; the caller frees them. */
int ways_list(const struct mix *m, uint32_t to, struct way_step **steps, size_t *n, struct err *e);

/* The step that clients take from there; NULL: there is none. */
const struct way_step *ways_next(const struct way_step *steps, size_t n, uint32_t from);

/* Those from nothing to this release, as clients take them; *n 0: there is no such way. The caller frees them. */
int ways_from_nothing(const struct mix *m, uint32_t to, struct way_step **way, size_t *n, struct err *e);

/* Write what tells clients of them, "<to>/updates". */
int ways_publish(const struct mix *m, uint32_t to, struct err *e);

/* Where a mix publishes no classic files: see that there is a way from nothing to this release, and none that is much longer than all of its content. */
int ways_complete(const struct mix *m, uint32_t to, struct err *e);
