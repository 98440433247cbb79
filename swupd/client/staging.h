/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/text.h"
#include "swupd/content/digest.h"
#include "swupd/content/manifest.h"

struct catalog;
struct err;
struct machine;
struct plan;
struct table;

/* What stage.c and its ways of getting an object share: stage_local.c, stage_pack.c, stage_fullfile.c. Nobody else includes this. */

enum want_state {
	WANT_MISSING,
	WANT_BUSY, /* some thread is making it */
	WANT_HAVE,
};

/* An object that the plan needs, once. */
struct want {
	const struct entry
		*entry;        /* one of those with this hash: says where its fullfile lies, and names it in messages */
	uint64_t size_max;     /* bytes; what is larger cannot be it */
	enum want_state state; /* under the lock */
	bool promised;         /* a pack that is fetched should have it */
	bool bad;              /* its fullfile had other content */
};

struct staging {
	struct machine *m;
	const struct plan *plan;
	const struct catalog *old, *new;
	struct want *wants;
	size_t n;
	struct table *by_hash;          /* digest bytes → struct want */
	const struct entry **installed; /* of plan->old, sorted by hash: where the same content may lie */
	size_t n_installed;
	bool rehearsal;        /* stage_measure(): wants are settled as they would be, nothing is made; dir may be -1 */
	int dir;               /* STAGE_DIR */
	int download;          /* a directory in the cache, ours for this run */
	pthread_mutex_t lock;  /* of states and notes */
	pthread_mutex_t large; /* held while a delta of large files is applied, or a difference of many pieces */
	size_t missing;
	bool was_full;     /* some way was given up for want of room */
	char *damage;      /* what is wrong with the way from nothing; NULL: nothing that is known */
	struct strv notes; /* of threads; said by the main one */
};

/* The object of this hash, if it is needed and nobody has or makes it: it is the caller's to make, and to settle. NULL: not needed. */
struct want *want_claim(struct staging *s, const struct digest *hash);
void want_settle(struct staging *s, struct want *w, bool have);

/* A text for people, from any thread; takes it. stage_say_notes: to be called by the main thread. */
void stage_note(struct staging *s, char *text);
void stage_say_notes(struct staging *s);

/* Our own disk does not take more: no other way of getting an object would help. */
bool stage_is_fatal(int r);

/*
 * A transfer of what brings many objects failed. True: the other ways are to be tried, also when the disk is full: it may have been endless, and they take less at a time.
 */
bool stage_falls_through(struct staging *s, int r);

/* Bytes; nothing in a bundle, nor all of it together, is larger. UINT64_MAX: its manifest does not tell. */
uint64_t stage_bundle_max(const struct manifest *m);

/* The installed entries whose hash begins with these bytes of hash: *n of them from the returned one on. */
const struct entry *const *installed_find(const struct staging *s, const struct digest *hash, unsigned bytes,
					  size_t *n);

/* In this order; each leaves what it could not get as WANT_MISSING. */
int stage_reuse(struct staging *s, struct err *e);  /* what an interrupted run left, hashed again */
int stage_known(struct staging *s, struct err *e);  /* directories and empty files of usual attributes, made */
int stage_copy(struct staging *s, struct err *e);   /* what is installed under some name */
int stage_update(struct staging *s, struct err *e); /* sections of the update file */
/* Bytes of that still to fetch; *transit: that lie in the cache at a time; what it should bring is promised. */
uint64_t stage_update_measure(struct staging *s, uint64_t *transit);
int stage_packs(struct staging *s, struct err *e); /* with deltas */
size_t stage_choose(struct staging *s);            /* how many packs that would be; what they should have is promised */
int stage_fullfiles(struct staging *s, struct err *e); /* all the rest, or an error */
