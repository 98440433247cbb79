/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swupd/content/update_file.h"

struct catalog;
struct err;
struct machine;

/*
 * The beginning of an update file (update_file.h): what it has, and the manifests of its release, by one request. Neither its absence nor anything in it fails an update:
 * what it did not bring, others do.
 *
 * freshness(5) says whether the newest release has one from ours, and its size. Not every release has one from every older one: "<release>/updates" tells the way by several (ways.h).
 */
struct update_head {
	uint32_t from, to; /* releases */
	struct update_index index;
	char *path;     /* on the server */
	uint64_t bytes; /* of all of it, as was signed; 0: not known */
	uint64_t first; /* bytes that are asked for at once */
	int fd;         /* its first bytes */
	uint64_t have;  /* so many */
	bool left;      /* some of them by an interrupted run */
	bool cheaper;   /* of the last one: it leads from nothing, though others lead here from our release */
	struct update_head
		*before; /* of the file that leads to where this begins; NULL: that is the installed release */
};

/*
 * Ask for the one that leads from the installed release, whose catalog is old, to another, or for those that do; or, where those cost more or there are none, for those from nothing. If
 * the server has them, m->update is set, and its MoM and manifests are in the cache, where catalog_mom()
 * and catalog_load() find them. Fails only for our own disk.
 */
int update_head_fetch(struct machine *m, uint32_t to, const struct catalog *old, struct err *e);

/*
 * The same for those that lead there from nothing, by way of all objects of some release. Trees with classic files have none. manifests: of interest too.
 */
int update_head_fetch_whole(struct machine *m, uint32_t to, bool manifests, struct err *e);

/* An update by ways from our release has no more requests, if sizes are signed, there are at most WAYS_STEPS_FEW files, and the smaller ones are not large. */
#define UPDATE_REQUESTS 8

/* All of it is here, or comes with its first bytes. */
bool update_head_is_all(const struct update_head *h);

/* The manifests of a release, from one file that has all of them, into the cache. Its failure costs requests, no more. */
void update_head_fetch_manifests(struct machine *m, uint32_t release);

/* It leads from nothing. */
bool update_head_is_whole(const struct update_head *h);

/* Name of the bytes from at on while they are fetched: what an interrupted run left is of the same file. The caller frees it. */
char *update_head_part(const struct update_head *h, uint64_t at);

/*
 * Put what is here of it from at on, in the head or under another name of an interrupted run, where the fetch of that part goes on from. Its failure costs bytes, no more. True: it is
 * what a run left, which may have been damaged since.
 */
bool update_head_begin_part(const struct update_head *h, int dir, uint64_t at);
void update_head_free(struct update_head *h);
