/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct buf;
struct err;

struct proc {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
	const char *const *env;  /* NULL-terminated "NAME=value" list, or NULL for ours */
	int dirfd;               /* working directory, or AT_FDCWD */
	const void *input;       /* given on stdin; NULL: stdin is /dev/null */
	size_t input_len;
	struct buf *out;    /* stdout is added here; NULL: inherited */
	struct buf *errors; /* stderr is added here; NULL: inherited */
};

/*
 * Run a program and wait for it. Returns its exit status (0..255). Negative only if it could not be started (-ENOENT: not
 * installed; the text names it) or was killed by a signal (-ERR_CHILD).
 */
int proc_run(const struct proc *p, struct err *e);

/* The same, but any status other than 0 is -ERR_CHILD, with the last line that it wrote to stderr in the text. */
int proc_check(const struct proc *p, struct err *e);
