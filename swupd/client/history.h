/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

struct err;
struct machine;
struct strv;

/*
 * What was done to this machine: <data>/history, oldest first, at most HISTORY_MAX lines of fields separated by tabs:
 *
 *     TIME\tCOMMAND\tHOW\tFROM\tTO\tRESULT       seconds since 1970; releases, 0: none; "done" or why not
 */
#define HISTORY_NAME "history"
#define HISTORY_MAX  200 /* lines; some 16 KiB */

/* Add a line. result < 0: e says why. Never fails what it tells of: a history that cannot be written is warned of. */
void history_add(struct machine *m, const char *command, const char *how, uint32_t from, uint32_t to, int result,
		 const struct err *e);

/* The lines, oldest first. None when there is no history. */
int history_load(const struct machine *m, struct strv *lines, struct err *e);
