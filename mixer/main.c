/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static const struct command *const commands[] = {
	&cmd_init,
	&cmd_bundle_list,
	&cmd_bundle_add,
	&cmd_bundle_remove,
	&cmd_bundle_create,
	&cmd_bundle_edit,
	&cmd_bundle_validate,
	&cmd_lock,
	&cmd_kernel_build,
	&cmd_kernel_list,
	&cmd_profile_record,
	&cmd_profile_import,
	&cmd_profile_merge,
	&cmd_profile_show,
	&cmd_profile_export,
	&cmd_package_build,
	&cmd_package_list,
	&cmd_package_lock,
	&cmd_tools_list,
	&cmd_tools_lock,
	&cmd_tools_run,
	&cmd_build,
	&cmd_build_bundles,
	&cmd_build_update,
	&cmd_build_delta_packs,
	&cmd_build_delta_manifests,
	&cmd_build_validate,
	&cmd_job_run,
	&cmd_image,
	&cmd_image_list,
	&cmd_image_show,
	&cmd_debuginfo_build,
	&cmd_debuginfo_status,
	&cmd_freshen,
	&cmd_gc,
	&cmd_mirror,
	&cmd_key_show,
	&cmd_key_rotate,
	&cmd_key_drop,
	&cmd_key_sign,
	&cmd_key_publish,
	&cmd_versions,
	&cmd_versions_update,
	NULL,
};

struct global_opts {
	struct session session;
	bool quiet, verbose, debug, json_output, no_progress, help;
};

#define GLOBAL(field) offsetof(struct global_opts, field)
static const struct opt global_options[] = {
	{'C', "workspace", OPT_STRING, GLOBAL(session.workspace), "DIR", "the workspace (.)", 0, 0},
	{0, "cache", OPT_STRING, GLOBAL(session.cache), "DIR", "what can be made again (as configured)", 0, 0},
	{0, "threads", OPT_U32, GLOBAL(session.threads), "N", "things done at once (one per processor)", 0, 256},
	{0, "executor", OPT_STRING, GLOBAL(session.executor), "NAME", "threads or slurm does the heavy part", 0, 0},
	{'q', "quiet", OPT_FLAG, GLOBAL(quiet), NULL, "only answers and errors", 0, 0},
	{'v', "verbose", OPT_FLAG, GLOBAL(verbose), NULL, "say more", 0, 0},
	{0, "debug", OPT_FLAG, GLOBAL(debug), NULL, "say everything", 0, 0},
	{'j', "json-output", OPT_FLAG, GLOBAL(json_output), NULL, "all output as JSON on stdout", 0, 0},
	{0, "no-progress", OPT_FLAG, GLOBAL(no_progress), NULL, "no progress output", 0, 0},
	{'h', "help", OPT_FLAG, GLOBAL(help), NULL, "show this help", 0, 0},
	{0},
};

/* What an error means for who called us */
static int status_of(int result)
{
	if (result >= 0)
		return result;
	switch (-result) {
	case ERR_USAGE:
		return 2;
	case ERR_NO:
		return 3;
	default:
		return 1;
	}
}

/* Is word the first of several of this command's name? */
static bool is_group(const struct command *c, const char *word)
{
	const size_t len = strlen(word);

	return strncmp(c->name, word, len) == 0 && c->name[len] == ' ';
}

/* group: only commands that begin with this word; NULL: all */
static void print_commands(const char *group)
{
	printf("usage: mixer COMMAND [OPTION…] [ARGUMENT…]\n\n");
	for (const struct command *const *c = commands; *c; c++)
		if (!group || is_group(*c, group))
			printf("  %-24s%s\n", (*c)->name, (*c)->summary);
	printf("\n'mixer COMMAND --help' lists the options of a command, mixer(8) explains them.\n");
}

static bool wants_help(const char *argument)
{
	return strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0;
}

/* No command begins with these words: 'kernel' and 'kernel --help' ask which of them there are. */
static int no_command(int n, char *const *words, struct err *e)
{
	struct ui ui;
	bool grouped = false;

	for (const struct command *const *c = commands; *c && n > 0; c++)
		grouped |= is_group(*c, words[0]);
	if (grouped && n > 1 && wants_help(words[1])) {
		print_commands(words[0]);
		return 0;
	}
	ui_init(&ui, "mixer");
	err_set(e, -ERR_USAGE, n > 0 ? "'%s%s%s' is not a command" : "a command is missing", n > 0 ? words[0] : "",
		n > 1 ? " " : "", n > 1 ? words[1] : "");
	err_hint(e, -ERR_USAGE, "'mixer %s%s--help' lists them", grouped ? words[0] : "", grouped ? " " : "");
	ui_error(&ui, e);
	return -ERR_USAGE;
}

static void print_help(const struct command *c)
{
	printf("usage: mixer %s [OPTION…]%s%s\n%s\n", c->name, *c->args ? " " : "", c->args, c->summary);
	if (c->opts) {
		printf("\n");
		opt_print(stdout, c->opts);
	}
	printf("\nof every command:\n");
	opt_print(stdout, global_options);
}

static int check_arguments(const struct command *c, const struct strv *args, struct err *e)
{
	if (args->n < c->args_min)
		return err_set(e, -ERR_USAGE, "'%s' needs %s", c->name, c->args);
	if (args->n > c->args_max)
		return err_set(e, -ERR_USAGE, "'%s' does not know what to do with '%s'", c->name,
			       args->items[c->args_max]);
	return 0;
}

static int run(const struct command *c, struct session *s, void *opts, const struct strv *args, struct err *e)
{
	ui_json_start(&s->ui, c->name);
	int r = check_arguments(c, args, e);
	if (r >= 0) {
		s->progress = progress_new(&s->ui, 0);
		r = c->run(s, opts, args, e);
		progress_free(s->progress);
	}
	/* "no" is an answer, not an error */
	if (r == -ERR_NO && e->text)
		ui_message(&s->ui, "%s", e->text);
	else if (r < 0 && r != -ERR_NO)
		ui_error(&s->ui, e);
	ui_json_end(&s->ui, c->name, status_of(r));
	return r;
}

static int run_command(const struct command *c, int argc, char **argv, struct err *e)
{
	struct global_opts g = {.session = {.workspace = "."}};
	void *opts = xcalloc(1, MAX(c->opts_size, (size_t)1));
	const struct opt_table tables[] = {{c->opts, opts}, {global_options, &g}};
	_cleanup_(strv_free) struct strv args = {0};
	struct ui *ui = &g.session.ui;

	if (c->opts_default)
		memcpy(opts, c->opts_default, c->opts_size);
	ui_init(ui, "mixer");
	int r = opt_parse(tables, ARRAY_LEN(tables), argc, argv, &args, e);
	if (r < 0) {
		ui_error(ui, e);
		fprintf(stderr, "hint: 'mixer %s --help' lists the options\n", c->name);
	} else if (g.help) {
		print_help(c);
	} else {
		ui->json = g.json_output;
		ui->no_progress = g.no_progress;
		ui->level = g.debug ? UI_DEBUG : g.verbose ? UI_NOTE : g.quiet ? UI_QUIET : UI_MESSAGE;
		r = run(c, &g.session, opts, &args, e);
	}
	if (c->opts)
		opt_free(c->opts, opts);
	free(opts);
	return r;
}

/* Where the command's first word is: global options may stand before it. */
static int first_word(int argc, char *const *argv)
{
	int i = 1;

	while (i < argc && argv[i][0] == '-') {
		const struct opt *o = global_options;
		while (o->long_name && !(argv[i][1] == o->short_name && !argv[i][2]) &&
		       !(argv[i][1] == '-' && strcmp(argv[i] + 2, o->long_name) == 0))
			o++;
		i += o->long_name && o->kind != OPT_FLAG ? 2 : 1;
	}
	return i;
}

/* argv without the words of the command's name. */
static char **without_words(int argc, char **argv, int first, int used)
{
	char **rest = xcalloc((size_t)argc + 1, sizeof(*rest));

	memcpy(rest, argv, (size_t)first * sizeof(*rest));
	memcpy(rest + first, argv + first + used, (size_t)(argc - first - used) * sizeof(*rest));
	return rest;
}

int main(int argc, char **argv)
{
	_cleanup_(err_clear) struct err e = ERR_INIT;
	int first = first_word(argc, argv), used = 0;

	umask(022);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("mixer (Limpid) " LIMPID_VERSION "\n");
		return 0;
	}
	if (argc < 2 || wants_help(argv[1])) {
		print_commands(NULL);
		return 0;
	}
	const struct command *c = command_find(commands, argc - first, argv + first, &used);
	if (!c)
		return status_of(no_command(argc - first, argv + first, &e));
	_cleanup_free_ char **rest = without_words(argc, argv, first, used);
	return status_of(run_command(c, argc - used, rest, &e));
}
