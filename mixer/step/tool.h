/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct mix;
struct tree;

/*
 * A few files are made by a program from what a whole release has: the indexes of kernel modules. The program is the release's own, so
 * that the same lock gives the same bytes wherever it is built: its loader and libraries are written out beside the input, nothing is installed. Only
 * where this machine cannot run it (another architecture), or the release has none, the machine's own is taken.
 */
struct tool {
	const char *program;     /* in the release: "/usr/bin/kmod" */
	const char *name;        /* that it is run under: "depmod" */
	const char *const *args; /* NULL-terminated; the tree is "." */
	const char *dir;         /* of the release, where its output lies: "/usr/lib/modules/<V>" */
	const char *prefix;      /* of the output's names there: "modules." */
};

/*
 * Run t over the files of input (sorted or not); what it makes is added to out, as plain files of root. full: the release, sorted. What was made is
 * cached under everything that went into it. -ENOENT: neither the release nor this machine has the program; -ERR_CHILD: it failed.
 */
int tool_run(const struct mix *m, const struct tool *t, const struct tree *full, const struct tree *input,
	     struct tree *out, struct err *e);
