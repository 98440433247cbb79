/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct err;

/*
 * Mount what the host shares under this tag at a directory, which is made: over virtiofs, else over 9p. -ENOENT: the host shares
 * nothing of this name; the text lists what it does.
 */
int share_mount(const char *tag, const char *where, struct err *e);
