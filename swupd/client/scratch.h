/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct err;

/*
 * A directory in the cache to download into that no other run uses meanwhile: the cache may be shared by the runs of several roots, and what
 * they fetch has the same names. It is "download", where what an interrupted run left is gone on with; while another run has that, it is one of
 * our own, "download-<pid>-<number>", which is gone afterwards.
 */
struct scratch {
	int cache, fd; /* lent; open until scratch_close */
	char *name;    /* of our own; NULL: "download" */
};
#define SCRATCH_INIT                                                                                                   \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}

#define SCRATCH_SHARED "download"

int scratch_open(int cache, struct scratch *out, struct err *e);
void scratch_close(struct scratch *s);

/* Is name in the cache such a directory, and used by no run? *fd holds it until it is closed. */
bool scratch_is_left(int cache, const char *name, int *fd);
