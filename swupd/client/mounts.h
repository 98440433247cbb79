/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;
struct strv;

/* The mount points below root (canonical path; not root itself), as absolute names inside it, from /proc/self/mountinfo. */
int mounts_below(const char *root, struct strv *out, struct err *e);

/* The same from a mountinfo text (proc(5)); for tests. */
void mounts_parse(const char *text, const char *root, struct strv *out);

/* What is mounted at this canonical path, as the kernel names it ("/dev/vda2"). 1: *source, which the caller frees; 0: it is no mount point. */
int mounts_source(const char *path, char **source, struct err *e);
