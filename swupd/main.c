/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/config.h"
#include "swupd/client/machine.h"
#include "swupd/cmd/cmd.h"

/* autoupdate, mirror, search-file and 3rd-party have their place here when they come */
static const struct command *const commands[] = {
	&cmd_info,        &cmd_check_update, &cmd_update,   &cmd_bundle_add, &cmd_bundle_remove,
	&cmd_bundle_list, &cmd_bundle_info,  &cmd_diagnose, &cmd_repair,     &cmd_os_install,
	&cmd_rollback,    &cmd_restart,      &cmd_history,  &cmd_recover,    &cmd_health,
	&cmd_accept,      &cmd_clean,        &cmd_hashdump, &cmd_verify,     NULL,
};

#define GLOBAL(field) offsetof(struct client_options, field)
static const struct opt global_options[] = {
	{'h', "help", OPT_FLAG, GLOBAL(help), NULL, "show this help", 0, 0},
	{'p', "path", OPT_STRING, GLOBAL(path), "DIR", "root of the managed system (/)", 0, 0},
	{'u', "url", OPT_STRING, GLOBAL(url), "URL", "where versions and content are", 0, 0},
	{'c', "contenturl", OPT_STRING, GLOBAL(contenturl), "URL", "where content is", 0, 0},
	{'v', "versionurl", OPT_STRING, GLOBAL(versionurl), "URL", "where versions are", 0, 0},
	{'P', "port", OPT_U32, GLOBAL(port), "N", "port of both", 1, 65535},
	{'F', "format", OPT_STRING, GLOBAL(format), "N", "format of the release ('staging' or a number)", 0, 0},
	{'S', "statedir", OPT_STRING, GLOBAL(statedir), "DIR", "data and cache directory", 0, 0},
	{'K', "cachedir", OPT_STRING, GLOBAL(cachedir), "DIR", "cache directory", 0, 0},
	{'Z', "datadir", OPT_STRING, GLOBAL(datadir), "DIR", "data directory", 0, 0},
	{'C', "certpath", OPT_STRING, GLOBAL(certpath), "FILE", "certificate that releases are checked with", 0, 0},
	{'W', "max-parallel-downloads", OPT_U32, GLOBAL(max_parallel_downloads), "N", "transfers at once (15)", 1, 256},
	{'r', "max-retries", OPT_U32, GLOBAL(max_retries), "N", "tries after a failed transfer (3)", 0, 1000},
	{'d', "retry-delay", OPT_U32, GLOBAL(retry_delay), "S", "seconds before the first of them (10)", 0, 60},
	{0, "tries", OPT_U32, GLOBAL(tries), "N", "boots to accept the next release in (3)", 1, 100},
	{0, "keep-roots", OPT_U32, GLOBAL(keep_roots), "N", "old roots to keep (2)", 0, 1000},
	{0, "roots-free", OPT_U32, GLOBAL(roots_free), "N", "percent of the disk to keep free of them (10)", 0, 90},
	{'n', "nosigcheck", OPT_FLAG, GLOBAL(nosigcheck), NULL, "check no signature at all (dangerous)", 0, 0},
	{0, "nosigcheck-latest", OPT_FLAG, GLOBAL(nosigcheck_latest), NULL, "do not check who says what is newest", 0,
	 0},
	{'I', "ignore-time", OPT_FLAG, GLOBAL(ignore_time), NULL, "do not check the system clock", 0, 0},
	{'t', "time", OPT_FLAG, GLOBAL(time), NULL, "say how long each stage took", 0, 0},
	{'N', "no-scripts", OPT_FLAG, GLOBAL(no_scripts), NULL, "no actions after a change, no boot update", 0, 0},
	{0, "boot", OPT_STRING, GLOBAL(boot), "DIR", "where the boot partition is mounted", 0, 0},
	{'b', "no-boot-update", OPT_FLAG, GLOBAL(no_boot_update), NULL, "leave the boot partition alone", 0, 0},
	{'j', "json-output", OPT_FLAG, GLOBAL(json_output), NULL, "all output as JSON on stdout", 0, 0},
	{'y', "yes", OPT_FLAG, GLOBAL(yes), NULL, "answer every question with yes", 0, 0},
	{0, "assume", OPT_STRING, GLOBAL(assume), "yes|no", "answer every question so", 0, 0},
	{0, "allow-insecure-http", OPT_FLAG, GLOBAL(allow_insecure_http), NULL, "accept http:// addresses", 0, 0},
	{0, "quiet", OPT_FLAG, GLOBAL(quiet), NULL, "only answers and errors", 0, 0},
	{0, "verbose", OPT_FLAG, GLOBAL(verbose), NULL, "say more", 0, 0},
	{0, "debug", OPT_FLAG, GLOBAL(debug), NULL, "say everything", 0, 0},
	{0, "no-progress", OPT_FLAG, GLOBAL(no_progress), NULL, "no progress output", 0, 0},
	{0, "wait-for-scripts", OPT_FLAG, GLOBAL(wait_for_scripts), NULL, "wait for the actions after a change", 0, 0},
	{0},
};

static const struct client_options global_defaults = {
	.max_parallel_downloads = 15,
	.max_retries = 3,
	.retry_delay = 10,
	.tries = 3,
	.keep_roots = 2,
	.roots_free = 10,
};

/* Exit statuses are the predecessor's (spec/swupd-client-behaviour.md section 2); what it had no number for begins at 40. */
static const struct {
	int code, status;
} statuses[] = {
	{ERR_NO, 1},         {ERR_NOT_ROOT, 1},    {ERR_DIGEST, 1},     {ERR_REQUIRED, 2},       {ERR_BUNDLE, 3},
	{ERR_MOM, 4},        {EROFS, 7},           {ERR_LOCKED, 9},     {ERR_NOT_INSTALLED, 13}, {ERR_MANIFEST, 14},
	{ERR_USAGE, 15},     {ERR_CONNECT, 16},    {ERR_DOWNLOAD, 17},  {ERR_MISSING, 17},       {ERR_RELEASE, 20},
	{ERR_SIGNATURE, 21}, {ERR_EXPIRED, 21},    {ERR_STALE, 21},     {ERR_CLOCK, 22},         {ERR_TLS, 24},
	{ERR_SPACE, 25},     {ENOSPC, 25},         {EDQUOT, 25},        {ERR_NOT_LISTED, 26},    {ERR_CHILD, 28},
	{ENOMEM, 34},        {ERR_INCOMPLETE, 35}, {ERR_FORMAT, 40},    {ERR_LIMIT, 40},         {ERR_PATH, 41},
	{ERR_CONFLICT, 42},  {ERR_CONFIG, 43},     {ERR_CANCELLED, 44},
};

static int status_of(int result)
{
	if (result >= 0)
		return result;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (statuses[i].code == -result)
			return statuses[i].status;
	return 32; /* "cannot write file": whatever else the kernel refused */
}

static void print_commands(void)
{
	printf("usage: swupd COMMAND [OPTION…] [ARGUMENT…]\n\n");
	for (const struct command *const *c = commands; *c; c++)
		printf("  %-16s%s\n", (*c)->name, (*c)->summary);
	printf("\n'swupd COMMAND --help' lists the options of a command, swupd(8) explains them.\n");
}

static void print_help(const struct command *c)
{
	printf("usage: swupd %s [OPTION…]%s%s\n%s\n", c->name, *c->args ? " " : "", c->args, c->summary);
	if (c->opts) {
		printf("\n");
		opt_print(stdout, c->opts);
	}
	printf("\nof every command:\n");
	opt_print(stdout, global_options);
}

static int check_arguments(const struct command *c, const struct client_options *o, const struct strv *args,
			   struct err *e)
{
	if (args->n < c->args_min)
		return err_set(e, -ERR_USAGE, "'%s' needs %s", c->name, c->args);
	if (args->n > c->args_max)
		return err_set(e, -ERR_USAGE, "'%s' does not know what to do with '%s'", c->name,
			       args->items[c->args_max]);
	if (o->assume && strcmp(o->assume, "yes") != 0 && strcmp(o->assume, "no") != 0 && strcmp(o->assume, "y") != 0 &&
	    strcmp(o->assume, "n") != 0)
		return err_set(e, -ERR_USAGE, "--assume: '%s' is neither 'yes' nor 'no'", o->assume);
	return 0;
}

/* 'os-install DIR' is 'os-install --path=DIR'. */
static int take_root(const struct command *c, struct client_options *o, const struct strv *args, struct err *e)
{
	if (!(c->needs & NEEDS_NEW_ROOT) || args->n == 0)
		return 0;
	if (o->path)
		return err_set(e, -ERR_USAGE, "the root is given twice: '%s' and '%s'", o->path, args->items[0]);
	o->path = args->items[0];
	return 0;
}

static int run(const struct command *c, const struct client_options *o, void *opts, const struct strv *args,
	       struct ui *ui, struct err *e)
{
	struct machine *m = NULL;

	int r = machine_open(o, c->needs, ui, &m, e);
	if (r < 0)
		return r;
	m->command = c->name;
	m->progress = progress_new(ui, 0);
	r = c->run(m, opts, args, e);
	progress_end(m->progress);
	if (o->time)
		progress_print_times(m->progress);
	progress_free(m->progress);
	m->progress = NULL;
	machine_close(m);
	return r;
}

static void hint_usage(const struct command *c, struct err *e)
{
	if (!e->hint)
		err_hint(e, -ERR_USAGE, "'swupd %s --help' lists the options", c->name);
}

static int run_command(const struct command *c, int argc, char **argv, struct ui *ui, struct err *e)
{
	struct client_options o = global_defaults;
	void *opts = xcalloc(1, MAX(c->opts_size, (size_t)1));
	const struct opt_table tables[] = {{c->opts, opts}, {global_options, &o}};
	struct arena *arena = arena_new();
	_cleanup_(strv_free) struct strv args = {0};

	if (c->opts_default)
		memcpy(opts, c->opts_default, c->opts_size);
	int r = client_config_load(tables, ARRAY_LEN(tables), c->name, arena, ui, e);
	if (r >= 0)
		r = opt_parse(tables, ARRAY_LEN(tables), argc, argv, &args, e);
	if (r >= 0 && o.help) {
		print_help(c);
		r = 0;
	} else if (r >= 0) {
		ui->json = o.json_output;
		ui->no_progress = o.no_progress;
		ui->level = o.debug ? UI_DEBUG : o.verbose ? UI_NOTE : o.quiet ? UI_QUIET : UI_MESSAGE;
		ui_json_start(ui, c->name);
		r = check_arguments(c, &o, &args, e);
		if (r >= 0)
			r = take_root(c, &o, &args, e);
		if (r >= 0)
			r = run(c, &o, opts, &args, ui, e);
		/* "no" is an answer, not an error */
		if (r == -ERR_USAGE)
			hint_usage(c, e);
		if (r < 0 && !(r == -ERR_NO && !e->text))
			ui_error(ui, e);
		ui_json_end(ui, c->name, status_of(r));
		err_clear(e);
	}
	if (c->opts)
		opt_free(c->opts, opts);
	free(opts);
	arena_free(arena);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct ui ui;
	int used, r;

	ui_init(&ui, "swupd");
	umask(022);
	/* files in memory go back to the system when they are freed: 35 MiB for a small guest's update, 42 without */
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 20); /* NOLINT(concurrency-mt-unsafe): no other thread yet */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		print_commands();
		return 0;
	}
	if (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0) {
		printf("swupd (Limpid) " LIMPID_VERSION "\n");
		return 0;
	}
	const struct command *c = command_find(commands, argc - 1, argv + 1, &used);
	if (!c)
		r = err_hint(&e, err_set(&e, -ERR_USAGE, "'%s' is not a command", argv[1]),
			     "'swupd --help' lists them");
	else
		r = run_command(c, argc - used, argv + used, &ui, &e);
	if (r == -ERR_USAGE && c && e.text)
		hint_usage(c, &e);
	if (r < 0 && e.text)
		ui_error(&ui, &e);
	err_clear(&e);
	return status_of(r);
}
