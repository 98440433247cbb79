/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct err;

/* The paragraphs of "Field: value" lines that Debian's indexes and control files are made of: deb822(5). */
struct stanza_field {
	const char *name;
	size_t offset; /* of a char * in what is read into */
};

/*
 * Read one stanza at *pos (lines up to an empty one), in place: the fields of the table that it has point to their terminated values; of size bytes at
 * into all else is zero. Lines that begin with a blank go on with the field before; their line feeds stay, for dependencies they are blanks. end[0] is
 * the caller's, too. Returns 1, 0 at the end, -ERR_FORMAT.
 */
int stanza_next(char **pos, char *end, unsigned *line, const struct stanza_field *fields, size_t n, void *into,
		size_t size, struct err *e);

/* One word without what a lock or a URL could misread */
bool stanza_is_word(const char *s);

/* The name of a file below the archive's URI that leads nowhere else */
bool stanza_is_place(const char *s);
