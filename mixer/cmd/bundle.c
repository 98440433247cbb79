/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define LOCAL_BUNDLES  "local-bundles"
#define DEFINITION_MAX (1UL << 20)

/* mixbundles, of which there may be none yet */
static int load_names(const struct config *c, struct strv *out, struct err *e)
{
	int r = mixbundles_load(c, out, e);

	if (r == -ERR_CONFIG && !fs_exists(c->dir, "mixbundles")) {
		err_clear(e);
		return 0;
	}
	return r;
}

static void print_bundle(struct ui *ui, const struct config *c, const char *name, const char *remark)
{
	struct bundle *b = NULL;

	/* with --quiet the bare names: what scripts read */
	if (ui->level == UI_QUIET) {
		ui_answer(ui, "%s", name);
		return;
	}
	/* a definition that cannot be read is still there; 'bundle validate' says what is wrong */
	(void)bundle_load(c, name, &b, NULL);
	const char *description = b ? b->description : "(cannot be read)";
	if (*description || *remark)
		ui_answer(ui, "%-24s%s%s", name, description, remark);
	else
		ui_answer(ui, "%s", name);
	bundle_free(b);
}

struct list_opts {
	bool tree;
};

static const struct opt list_options[] = {
	{0, "tree", OPT_FLAG, offsetof(struct list_opts, tree), NULL, "show what includes what", 0, 0},
	{0},
};

/* seen: what was shown with its includes already; it is not repeated below others, so that circles end, too. */
static void print_tree(struct ui *ui, const struct bundle_set *set, const char *name, const char *how, unsigned depth,
		       struct strv *seen)
{
	const struct bundle *b = bundle_set_find(set, name);
	bool again = strv_has(seen, name), has_more = b && (b->includes.n || b->also_add.n);

	ui_answer(ui, "%*s%s%s%s", (int)(4 * depth), "", name, how, again && has_more ? " …" : "");
	if (!b || again)
		return;
	strv_add(seen, name);
	for (size_t i = 0; i < b->includes.n; i++)
		print_tree(ui, set, b->includes.items[i], "", depth + 1, seen);
	for (size_t i = 0; i < b->also_add.n; i++)
		print_tree(ui, set, b->also_add.items[i], " (also)", depth + 1, seen);
}

static int list_mix(struct ui *ui, const struct config *c, bool tree, struct err *e)
{
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(strv_free) struct strv names = {0}, seen = {0};

	int r = load_names(c, &names, e);
	if (r >= 0)
		r = bundle_set_load(c, &names, false, &set, e);
	if (r < 0)
		return r;
	for (size_t i = 0; tree && i < names.n; i++)
		print_tree(ui, &set, names.items[i], "", 0, &seen);
	for (size_t i = 0; !tree && i < set.n; i++)
		print_bundle(ui, c, set.items[i]->name,
			     strv_has(&names, set.items[i]->name) ? "" : " (by another bundle)");
	return 0;
}

static int list_folders(struct ui *ui, const struct config *c, bool local, bool tree, struct err *e)
{
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(strv_free) struct strv names = {0}, seen = {0};

	/* local-bundles is the first folder, whatever is configured */
	for (size_t i = local ? 0 : 1; i < (local ? 1 : c->bundle_dirs.n); i++) {
		int r = bundle_names(c->bundle_dirs.items[i], &names, e);
		if (r < 0)
			return r;
	}
	strv_sort_unique(&names);
	if (tree) {
		int r = bundle_set_load(c, &names, false, &set, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < names.n; i++) {
		if (tree)
			print_tree(ui, &set, names.items[i], "", 0, &seen);
		else
			print_bundle(ui, c, names.items[i], "");
	}
	return 0;
}

static int list_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct list_opts *o = opts;
	const char *which = args->n ? args->items[0] : "mix";
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(s, 0, &m, e);
	if (r < 0)
		return r;
	if (strcmp(which, "mix") == 0)
		return list_mix(&s->ui, m->config, o->tree, e);
	if (strcmp(which, "local") == 0 || strcmp(which, "upstream") == 0)
		return list_folders(&s->ui, m->config, which[0] == 'l', o->tree, e);
	return err_set(e, -ERR_USAGE, "'%s' is none of 'mix', 'local', 'upstream'", which);
}

const struct command cmd_bundle_list = {
	.name = "bundle list",
	.args = "[mix|local|upstream]",
	.summary = "list the bundles of the mix, or definitions",
	.args_max = 1,
	.opts = list_options,
	.opts_size = sizeof(struct list_opts),
	.run = list_run,
};

static int add_names(struct session *s, const struct config *c, const struct strv *args, struct err *e)
{
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(strv_free) struct strv names = {0};
	size_t added = 0;

	int r = load_names(c, &names, e);
	if (r >= 0) /* every definition that they need must be there */
		r = bundle_set_load(c, args, false, &set, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < args->n; i++) {
		if (strv_has(&names, args->items[i])) {
			ui_message(&s->ui, "'%s' is in the mix already", args->items[i]);
			continue;
		}
		strv_add(&names, args->items[i]);
		added++;
	}
	return added ? mixbundles_save(c, &names, e) : 0;
}

static int add_run(void *context, void *opts __attribute__((unused)), const struct strv *args, struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(s, MIX_WRITE, &m, e);
	return r < 0 ? r : add_names(s, m->config, args, e);
}

const struct command cmd_bundle_add = {
	.name = "bundle add",
	.args = "BUNDLE…",
	.summary = "put bundles into the mix",
	.args_min = 1,
	.args_max = UINT_MAX,
	.run = add_run,
};

struct remove_opts {
	bool local;
};

static const struct opt remove_options[] = {
	{0, "local", OPT_FLAG, offsetof(struct remove_opts, local), NULL, "delete the local definition, too", 0, 0},
	{0},
};

/* Who is still in the mix and brings name back */
static void note_includers(struct ui *ui, const struct config *c, const struct strv *names, const char *name)
{
	_cleanup_(bundle_set_free) struct bundle_set set = {0};

	if (bundle_set_load(c, names, false, &set, NULL) < 0)
		return;
	const char *first = NULL;
	size_t n = 0;
	for (size_t i = 0; i < set.n; i++)
		if (strv_has(&set.items[i]->includes, name) || strv_has(&set.items[i]->also_add, name)) {
			first = n++ ? first : set.items[i]->name;
		}
	if (n == 1)
		ui_message(ui, "'%s' stays part of the mix: '%s' brings it", name, first);
	else if (n > 1)
		ui_message(ui, "'%s' stays part of the mix: '%s' and %zu others bring it", name, first, n - 1);
}

static int remove_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct remove_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(strv_free) struct strv names = {0}, left = {0};

	int r = mix_open(s, MIX_WRITE, &m, e);
	if (r >= 0)
		r = load_names(m->config, &names, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_free_ char *file = xasprintf(LOCAL_BUNDLES "/%s", args->items[i]);
		bool is_local = o->local && bundle_name_valid(args->items[i]) && fs_exists(m->config->dir, file);
		if (!strv_has(&names, args->items[i]) && !is_local)
			return err_set(e, -ERR_BUNDLE, "'%s' is not in the mix", args->items[i]);
	}
	for (size_t i = 0; i < names.n; i++)
		if (!strv_has(args, names.items[i]))
			strv_add(&left, names.items[i]);
	if (left.n != names.n)
		r = mixbundles_save(m->config, &left, e);
	for (size_t i = 0; r >= 0 && i < args->n; i++) {
		_cleanup_free_ char *file = xasprintf(LOCAL_BUNDLES "/%s", args->items[i]);
		if (o->local && unlinkat(m->config->dir, file, 0) < 0 && errno != ENOENT)
			return err_errno(e, "cannot delete %s", file);
		note_includers(&s->ui, m->config, &left, args->items[i]);
	}
	return r;
}

const struct command cmd_bundle_remove = {
	.name = "bundle remove",
	.args = "BUNDLE…",
	.summary = "take bundles out of the mix",
	.args_min = 1,
	.args_max = UINT_MAX,
	.opts = remove_options,
	.opts_size = sizeof(struct remove_opts),
	.run = remove_run,
};

struct create_opts {
	bool add;
};

static const struct opt create_options[] = {
	{0, "add", OPT_FLAG, offsetof(struct create_opts, add), NULL, "put them into the mix, too", 0, 0},
	{0},
};

static void template_text(const char *name, struct buf *out)
{
	buf_printf(out,
		   "# [TITLE]: %s\n"
		   "# [DESCRIPTION]: \n"
		   "# [STATUS]: Active\n"
		   "# [CAPABILITIES]: \n"
		   "# [MAINTAINER]: \n"
		   "\n"
		   "# What it needs from other bundles, then its own packages, one a line: bundle(5).\n"
		   "include(os-core)\n",
		   name);
}

/* A copy elsewhere: content(overlay/x) is seen from the definition's folder, so it becomes absolute. */
static int copy_definition(const char *folder, const char *name, struct buf *out, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	_cleanup_(buf_free) struct buf text = {0};
	const char *line;
	size_t n;

	int r = fs_load(AT_FDCWD, path, DEFINITION_MAX, &text, e);
	if (r < 0)
		return r;
	for (const char *pos = text.data; text_line(&pos, text.data + text.len, &line, &n, NULL);) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		const char *s = text_trim(copy);
		if (text_starts(s, "content(") && s[strlen("content(")] != '/')
			buf_printf(out, "content(%s/%s\n", folder, s + strlen("content("));
		else
			buf_printf(out, "%.*s\n", (int)n, line);
	}
	return 0;
}

static int create_one(struct ui *ui, const struct config *c, const char *name, struct err *e)
{
	_cleanup_free_ char *file = xasprintf(LOCAL_BUNDLES "/%s", name);
	_cleanup_(buf_free) struct buf text = {0};
	int r = 0;

	if (!bundle_name_valid(name))
		return err_set(e, -ERR_USAGE, "'%s' is no name for a bundle: letters, digits and - _ + .", name);
	if (fs_exists(c->dir, file)) {
		ui_answer(ui, "%s/%s is there", c->path, file);
		return 0;
	}
	const char *folder = bundle_folder(c, name);
	if (folder)
		r = copy_definition(folder, name, &text, e);
	else
		template_text(name, &text);
	if (r >= 0)
		r = fs_mkdirs(c->dir, LOCAL_BUNDLES, 0755, e);
	if (r >= 0)
		r = fs_save(c->dir, file, text.data, text.len, 0644, e);
	if (r < 0)
		return r;
	ui_answer(ui, folder ? "%s/%s: a copy of %s/%s, which it hides" : "%s/%s: a new definition", c->path, file,
		  folder, name);
	return 0;
}

static int create_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct create_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(s, MIX_WRITE, &m, e);
	for (size_t i = 0; r >= 0 && i < args->n; i++)
		r = create_one(&s->ui, m->config, args->items[i], e);
	return r >= 0 && o->add ? add_names(s, m->config, args, e) : r;
}

const struct command cmd_bundle_create = {
	.name = "bundle create",
	.args = "BUNDLE…",
	.summary = "begin own definitions, or copies of others",
	.args_min = 1,
	.args_max = UINT_MAX,
	.opts = create_options,
	.opts_size = sizeof(struct create_opts),
	.run = create_run,
};

const struct command cmd_bundle_edit = {
	.name = "bundle edit",
	.args = "BUNDLE…",
	.summary = "the same as 'bundle create'",
	.args_min = 1,
	.args_max = UINT_MAX,
	.opts = create_options,
	.opts_size = sizeof(struct create_opts),
	.run = create_run,
};

struct validate_opts {
	bool strict;
};

static const struct opt validate_options[] = {
	{0, "strict", OPT_FLAG, offsetof(struct validate_opts, strict), NULL, "all headers must be there", 0, 0},
	{0},
};

/* What is wrong with one bundle or with what it needs; 0: nothing. */
static int validate_one(const struct config *c, const char *name, bool strict, struct err *e)
{
	const struct strv names = {.items = (char *[]){(char *)name}, .n = 1};
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	struct stat st;

	int r = bundle_set_load(c, &names, strict, &set, e);
	if (r < 0)
		return r;
	const struct bundle *b = bundle_set_find(&set, name);
	for (size_t i = 0; i < b->contents.n; i++)
		if (stat(b->contents.items[i], &st) < 0 || !S_ISDIR(st.st_mode))
			return err_set(e, -ERR_BUNDLE, "%s: content(%s) is no directory", b->file,
				       b->contents.items[i]);
	return 0;
}

static int validate_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct validate_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(strv_free) struct strv names = {0};
	size_t wrong = 0;

	int r = mix_open(s, 0, &m, e);
	for (size_t i = 0; r >= 0 && i < args->n; i++)
		strv_add(&names, args->items[i]);
	for (size_t i = 0; r >= 0 && args->n == 0 && i < m->config->bundle_dirs.n; i++)
		r = bundle_names(m->config->bundle_dirs.items[i], &names, e);
	if (r < 0)
		return r;
	strv_sort_unique(&names);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_(err_clear) struct err found = ERR_INIT;
		if (validate_one(m->config, names.items[i], o->strict, &found) >= 0)
			continue;
		wrong++;
		ui_answer(&s->ui, "%s", found.text);
	}
	if (wrong)
		return err_set(e, -ERR_INCOMPLETE, "%zu of %zu bundles cannot be used", wrong, names.n);
	ui_message(&s->ui, "%zu bundles are in order", names.n);
	return 0;
}

const struct command cmd_bundle_validate = {
	.name = "bundle validate",
	.args = "[BUNDLE…]",
	.summary = "check definitions: these, or all that there are",
	.args_max = UINT_MAX,
	.opts = validate_options,
	.opts_size = sizeof(struct validate_opts),
	.run = validate_run,
};
