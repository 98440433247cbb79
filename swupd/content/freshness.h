/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/content/digest.h"
#include "swupd/content/root.h"
#include "swupd/content/signature.h"
#include "swupd/content/ways.h"

struct buf;
struct err;

/*
 * freshness(5): one small signed file per format that says which release is the newest, when that was said and until
 * when it may be believed. It replaces latest + latest.sig for our client (one request, and a mirror cannot freeze or
 * roll back unnoticed).
 *
 *     FRESHNESS\t2\n
 *     format:\t30\n
 *     release:\t20\n
 *     time:\t1763700000\n        seconds since 1970, when it was signed
 *     expires:\t1766292000\n
 *     root:\t1\n                 the newest root file; 0: the tree has none
 *     mom:\t<64 hex>\n           file hash of that release's MoM (as a 0644 root:root file)
 *     updates:\t<64 hex>\n       file hash of the list of all ways to that release (ways.h)
 *     update:\t10 937 20721\n   head and bytes of the update file that leads there from release 10, where that is the way; any number of lines, from low to high
 *     \n
 *     -----BEGIN CMS-----\n … base64 of a detached DER signature over all bytes before … -----END CMS-----\n
 *
 * Where there is no list, the first line says FRESHNESS\t1, and those of updates are missing.
 *
 * A client walks from what it trusts to that statement so. It has root N (the higher of the one that it adopted and the
 * one that its release brought, INSTALLED_ROOT), or (N = 0) only the installed certificates.
 *
 *     freshness_parse(text, …, &f, …)                   unverified: f.root = M only tells what to fetch, and how far
 *     for n = N+1 … M:                                  none when M <= N
 *             fetch layout_root(n), root_parse(…, &next)
 *             n == 1 ? root_verify_first(next, anchors) : root_verify(cur, next)
 *             save next durably, then cur = next        a verified root is final, whatever fails later
 *     root_anchors(cur, now, &release_keys)             N = M = 0: the installed certificates stay the anchors
 *     freshness_read(text, …, format, release_keys, now, &f)
 *     f.root < N, or f.release or f.time behind the highest seen: -ERR_STALE
 *
 * A root that is missing or wrong ends the walk with an error: whoever forged a high M gains nothing. Neither can a
 * file be used before freshness_read returned 0. latest, latest.sig and MoM signatures are verified with the same
 * release_keys.
 */
struct freshness {
	uint32_t format, release, root;
	int64_t time, expires;
	struct digest mom;
	bool has_updates; /* what follows is said */
	struct digest updates;
	struct ways direct; /* sorted by from */
};
void freshness_clear(struct freshness *f);

#define FRESHNESS_AHEAD_MAX 86400 /* seconds that time may be ahead of our clock; the predecessor allowed as much */

/*
 * Parse without verifying: root tells which keys to learn first. signed_len: how many bytes of text the signature
 * covers; the signature (DER) is added to sig. Both may be NULL. Only when it returns 0 there is something in out to be cleared. -ERR_FORMAT: not of exactly that form, the message
 * names the line; -ERR_LIMIT: larger than SMALL_TEXT_MAX.
 */
int freshness_parse(const char *text, size_t len, struct freshness *out, size_t *signed_len, struct buf *sig,
		    struct err *e);

/*
 * Parse and verify against the anchors. format: the one it was asked for; another is -ERR_FORMAT (a mirror may exchange
 * files). -ERR_SIGNATURE, -ERR_EXPIRED (expires < now, or the signer's certificate), -ERR_CLOCK (time is over
 * FRESHNESS_AHEAD_MAX ahead of now).
 */
int freshness_read(const char *text, size_t len, uint32_t format, const struct anchors *a, int64_t now,
		   struct freshness *out, struct err *e);

/* The signed part of the text, added to out. */
void freshness_format(const struct freshness *f, struct buf *out);

/*
 * Sign; the text is added to out. -ERR_EXPIRED: s->cert is not valid at f->time, so nobody would believe it. A
 * statement that freshness_parse would refuse (expires before time, no release) is -EINVAL.
 */
int freshness_write(const struct freshness *f, const struct signer *s, struct buf *out, struct err *e);
