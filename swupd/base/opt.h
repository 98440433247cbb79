/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct strv;

enum opt_kind {
	OPT_FLAG,   /* bool: set to true */
	OPT_STRING, /* const char *: lent from argv (or from the configuration file) */
	OPT_U32,    /* uint32_t: within min..max */
	OPT_LIST,   /* struct strv: split at commas, added */
};

/* One option is one line of a table that ends with a zero line. Parsing, --help and shell completion all read it. */
struct opt {
	char short_name;       /* 0: none */
	const char *long_name; /* without "--" */
	enum opt_kind kind;
	size_t offset;     /* of the field in the struct that the table fills */
	const char *arg;   /* name of the argument in --help; NULL for OPT_FLAG */
	const char *help;  /* NULL: accepted but not shown (an old name) */
	uint32_t min, max; /* OPT_U32; max 0: UINT32_MAX */
};

struct opt_table {
	const struct opt *opts;
	void *into;
};

/*
 * Parse argv[1..argc) against the tables (the first that knows an option gets it). Options and arguments may be mixed; "--" ends
 * the options. The rest is added to args. -ERR_USAGE names the wrong word.
 */
int opt_parse(const struct opt_table *tables, size_t n, int argc, char *const *argv, struct strv *args, struct err *e);

/* Set one option by its long name, as a configuration file does. Flags take "true" or "false". -ENOENT: no such option. */
int opt_set(const struct opt_table *tables, size_t n, const char *long_name, const char *value, struct err *e);

void opt_print(FILE *to, const struct opt *opts);  /* one line each, within 80 columns */
void opt_free(const struct opt *opts, void *into); /* the lists in it */

/*
 * A command declares what it needs; main provides it and runs it. The list of commands is an array of pointers, NULL last. A name may
 * have two words ("bundle add").
 */
struct command {
	const char *name;
	const char *args;            /* "BUNDLE...", "" for none */
	const char *summary;         /* what it does, one line, lower case */
	unsigned needs;              /* bits that the program defines */
	unsigned args_min, args_max; /* how many arguments; max UINT_MAX: any number */
	const struct opt *opts;      /* may be NULL */
	size_t opts_size;
	const void *opts_default; /* may be NULL: all zero */
	/* context is what the program provides; opts is the filled struct of opts_size. 0 or positive: exit status. */
	int (*run)(void *context, void *opts, const struct strv *args, struct err *e);
};

/*
 * Find the command that argv begins with (argv[0] is its first word); *used is set to the number of words in its name. NULL: none.
 */
const struct command *command_find(const struct command *const *list, int argc, char *const *argv, int *used);
