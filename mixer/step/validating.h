/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "swupd/base/text.h"

struct digest;
struct err;
struct mix;
struct release;
struct table;

/*
 * The parts of validate(). A finding is something that is wrong with the release; an error, something that keeps us from looking. Findings come from any
 * thread, and are printed sorted.
 */
struct validating {
	const struct mix *m;
	const struct release *release;
	bool quick;
	pthread_mutex_t lock;
	struct strv findings, notes;
	struct table *
		on_the_way; /* objects that update files bring from nothing (ways.h), by hash: they need no fullfiles */
};

/* One sentence: what, and what is wrong with it. */
void finding(struct validating *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, of what may well be right: for --verbose. */
void note(struct validating *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Each returns 0 or an error; a release is loaded before all but the first. */
int validate_texts(struct validating *v, uint32_t release,
		   struct err *e); /* MoM, signature, manifests, what is attached */
int validate_ways(struct validating *v, struct err *e);
int validate_fullfiles(struct validating *v, struct err *e);
int validate_packs(struct validating *v, struct err *e); /* and deltas of manifests */
int validate_updates(struct validating *v, struct err *e);
int validate_programs(struct validating *v, struct err *e);
