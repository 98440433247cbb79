/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct arena;
struct err;
struct opt_table;
struct ui;

/*
 * The configuration files of the client: /usr/share/defaults/swupd/config, then /etc/swupd/config; later ones and the command line win. Sections [GLOBAL] (or
 * none) and [<command>], in any case; keys are long option names with '_' for '-'. Unknown keys are warned of. Strings live in arena.
 */
int client_config_load(const struct opt_table *tables, size_t n, const char *command, struct arena *arena,
		       struct ui *ui, struct err *e);

/* The same from a text; for tests. */
int client_config_parse(const char *text, size_t len, const char *name, const struct opt_table *tables, size_t n,
			const char *command, struct arena *arena, struct ui *ui, struct err *e);
