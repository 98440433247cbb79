/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swupd/content/root.h"
#include "swupd/content/signature.h"

struct err;
struct mix;
struct strv;

/*
 * The keys of a mix: root(5) for what clients see, mixer(8) "KEYS" for what people do. <workspace>/keys/<N>/ is what root N brought:
 *
 *     root                           root N; it waits here until enough have signed
 *     Swupd_Root.pem private.pem     the release key that is used from root N on; 1: the one that the mix began with. Not there when root N only dropped old
 *                                    keys; no private.pem when the key is kept elsewhere
 *     root-<i>.pem                   certificates of the root keys of N
 *
 * [sign] of mixer.conf goes on naming the same files: they are replaced when the root is published. What is in keys/ is never overwritten.
 */

/* The number of the newest root file that is published; 0: none. */
uint32_t keys_newest_root(const struct mix *m);

/* That of a published root file. */
int keys_load_root(const struct mix *m, uint32_t number, struct root_keys **out, struct err *e);

/* Who may sign releases: the release keys of the newest root file, or the mix's certificate. -ERR_EXPIRED: none is valid at now. */
int keys_anchors(const struct mix *m, int64_t now, struct anchors **out, struct err *e);

struct key_change {
	bool drop;          /* make no new release key, list only the one in use */
	enum key_type type; /* of the new release key */
	const char
		*release_cert; /* use this certificate, whose key is elsewhere, instead of a new one; NULL: make one */
	const struct strv *root_certs; /* new root keys; empty: as before */
	uint32_t threshold;            /* 0: as before, of new root keys 1 */
};

/*
 * Make the next root file, signed with the keys that are here, and leave it in keys/<N>/; before the first, also root 1, which says what holds already.
 * Nothing that clients see changes. -ERR_CONFLICT: the change before is not complete; -ERR_NO: there is nothing to drop.
 */
int keys_prepare(const struct mix *m, const struct key_change *c, int64_t now, uint32_t *number, struct err *e);

/*
 * Publish the root file that waits, if any, and complete what a killed run left: releases are signed by the key in use from then on
 * (Manifest.MoM.sig; the tar keeps the first signature), the new key comes into use, freshness names the new root. -ERR_NO: not enough have signed yet.
 */
int keys_publish(const struct mix *m, int64_t now, struct err *e);

/* Is a root file waiting (1), or published without that its key is in use (2)? number: which. 0: neither. */
int keys_pending(const struct mix *m, uint32_t *number);

/*
 * Say again, as of now, which release is the newest: of every format, for there are machines that have to come along. -ERR_NO: there is none;
 * -ERR_CONFLICT: it is not signed.
 */
int keys_freshen(const struct mix *m, struct err *e);
