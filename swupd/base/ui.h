/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * What the user sees. stdout is the answer, stderr the story. The library only reports events into a struct progress; a struct ui draws
 * them: a redrawn line on a terminal, a line per stage otherwise, or JSON.
 */
enum ui_level { UI_QUIET, UI_MESSAGE, UI_NOTE, UI_DEBUG };

struct ui {
	const char *program; /* "swupd": before errors and warnings */
	enum ui_level level;
	bool json; /* --json-output: the stream of spec/swupd-client-behaviour.md section 3, with real JSON strings */
	bool no_progress;
	bool tty;       /* stderr is a terminal */
	bool json_open; /* "start" was written */
	bool line_open; /* a progress line is on the terminal */
};

void ui_init(struct ui *u, const char *program);
void ui_answer(struct ui *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* stdout, always */
void ui_message(struct ui *u, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* unless --quiet */
void ui_note(struct ui *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));    /* --verbose */
void ui_debug(struct ui *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* --debug */
void ui_warn(struct ui *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct err;
void ui_error(struct ui *u, const struct err *e); /* "swupd: text", then "hint: …"; only main calls it */
void ui_json_start(struct ui *u, const char *section);
void ui_json_end(struct ui *u, const char *section, int status);

/*
 * Progress of one run, passed down to what takes long; every function here accepts NULL. Calls may come from any thread.
 * Amounts are bytes where the stage moves bytes, else things.
 */
struct progress;
struct progress *progress_new(struct ui *u, unsigned stages); /* stages: how many the run will have, 0: unknown */
void progress_free(struct progress *p);
void progress_stage(struct progress *p, const char *name, uint64_t total, bool bytes); /* ends the stage before */
void progress_add(struct progress *p, uint64_t amount);
void progress_total(struct progress *p, uint64_t more); /* the total turns out larger */
void progress_end(struct progress *p);
void progress_print_times(struct progress *p); /* a line of the story for each stage that ended: seconds and its name */
