/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

struct err;
struct journal;
struct journal_step;
struct machine;
struct strv;

/*
 * The way back from what a journal does outside of usr. What it will replace or remove is saved in usr/.swupd/next, and the steps that
 * restore it, in the reverse order, go to usr/.swupd/back: usr is about to be exchanged and takes both along.
 */
int back_save(const struct machine *m, const struct journal *j, struct err *e);

/* Load the journal that leads back to tree, with each object that lies on another file system than its target copied beside that. */
int back_load(const struct machine *m, const char *tree, struct journal **out, struct err *e);

/* The reverse of a step that marks or unmarks a bundle, where these are marked now; false: it changes nothing. */
bool back_of_mark(const struct journal_step *s, const struct strv *tracked, struct journal_step *back);
