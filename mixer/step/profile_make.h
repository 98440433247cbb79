/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mixer/step/profile_files.h"

struct debug_files;
struct err;
struct profile;
struct strv;
struct ui;

/* From a recording to a profile by line. */
struct profile_job {
	const char *recording; /* file: of the plugin, of 'perf script', or perf.data, which perf reads */
	struct elf_set *files; /* that it may be of */
	const struct strv
		*only; /* of these paths (patterns of fnmatch(3)); empty: of all that have debug information */
	const struct debug_files *debug;
	const char *source;   /* "bzip2 1.0.8-6", or "-" */
	const char *workload; /* its script; NULL: not known */
	int64_t time;         /* when it was recorded */
};

/*
 * *out: the caller frees it. It says to ui how much of what was executed is known. -ERR_FORMAT: not a recording; -ERR_MISSING: nothing that ran is of these files, or none of
 * them has debug information; -ENOENT: there is no perf.
 */
int profile_make(const struct profile_job *job, struct ui *ui, struct profile **out, struct err *e);

/*
 * Merge profiles: in[0..n). Those of the newest build count in full; each older build's, by the time they were recorded, permille of the one after it. *out: the caller
 * frees it.
 */
int profile_merge(struct profile *const *in, size_t n, uint32_t permille, struct profile **out, struct err *e);
