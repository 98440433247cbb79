/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/content/freshness.h"

struct err;
struct machine;
struct root_keys;

/* The highest that was seen, verified, of a format. */
struct seen {
	uint32_t release; /* 0: nothing yet */
	int64_t time;     /* of a freshness statement */
	bool freshness;   /* the tree had such statements */
};

/* Who may sign, and what they were last heard to say: struct machine's. Between trust_load and machine_close. */
struct trust {
	struct root_keys *root; /* newest that was adopted; NULL: the certificates are the anchors */
	struct freshness fresh; /* verified in this run; release 0: none */
};
void trust_free(struct trust *t);

/*
 * Walk from our root keys to root number newest of the tree (freshness.h), keeping each in <data>/trust/root, and take the release keys of the last one as
 * m->anchors. With --certpath they are not kept: what is trusted by one command line must not outlive it. -ERR_SIGNATURE: no such way.
 */
int trust_learn(struct machine *m, uint32_t newest, struct err *e);

/* Is there any key to verify with? -ERR_EXPIRED: all that we know of have expired. */
int trust_ready(const struct machine *m, struct err *e);

/* signature_verify with m->anchors. */
int trust_verify(const struct machine *m, const void *data, size_t len, const void *sig, size_t sig_len, struct err *e);

/*
 * <data>/seen, a line for each format:
 *
 *     format 30 release 20 time 1763700000 freshness 1
 *
 * Of the machine's format; all zero when there is none.
 */
int seen_load(const struct machine *m, struct seen *out, struct err *e);

/* -ERR_STALE when now is behind before. */
int seen_check(const struct machine *m, const struct seen *before, const struct seen *now, struct err *e);

/* Remember what is higher in now (which must be verified), durably. */
int seen_save(const struct machine *m, const struct seen *now, struct err *e);
