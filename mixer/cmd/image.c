/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/image/definition.h"
#include "mixer/image/make.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static void print_size(struct ui *ui, const struct image_made *made, const char *remark)
{
	_cleanup_free_ char *size = text_size(made->bytes);

	ui_answer(ui, "%s  %s%s", made->path, size, remark);
}

/* --- list ----------------------------------------------------------------------------------------------------------------- */

static int list_run(void *context, void *opts __attribute__((unused)), const struct strv *args __attribute__((unused)),
		    struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(strv_free) struct strv names = {0};

	int r = mix_open(s, 0, &m, e);
	if (r >= 0)
		r = image_definition_names(m->config, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_(image_definition_freep) struct image_definition *d = NULL;
		/* one that is wrong is still there; 'image show' says what is wrong */
		if (s->ui.level == UI_QUIET)
			ui_answer(&s->ui, "%s", names.items[i]);
		else if (image_definition_load(m->config, names.items[i], &d, NULL) >= 0)
			ui_answer(&s->ui, "%-16s%-11s%s", d->name, image_kind_name(d->kind), d->description);
		else
			ui_answer(&s->ui, "%-16s(cannot be read)", names.items[i]);
	}
	return r;
}

const struct command cmd_image_list = {
	.name = "image list",
	.args = "",
	.summary = "list the images that can be made",
	.run = list_run,
};

/* --- show ----------------------------------------------------------------------------------------------------------------- */

struct image_opts {
	uint32_t release;
	bool force;
};

static int show_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct image_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(image_definition_freep) struct image_definition *d = NULL;
	_cleanup_(image_made_clear) struct image_made made = {0};
	_cleanup_(buf_free) struct buf text = {0};

	int r = mix_open(s, 0, &m, e);
	if (r >= 0)
		r = image_definition_load(m->config, args->items[0], &d, e);
	if (r < 0)
		return r;
	image_definition_format(d, &text);
	text.data[text.len - 1] = '\0'; /* the answer ends its line itself */
	ui_answer(&s->ui, "# %s\n%s", d->path, text.data);
	const uint32_t release = o->release ? o->release : m->previous;
	if (image_find_made(m, release, d->name, &made))
		print_size(&s->ui, &made, "");
	else if (release)
		ui_answer(&s->ui, "# not made for release %u", release);
	return 0;
}

static const struct opt show_options[] = {
	{0, "release", OPT_U32, offsetof(struct image_opts, release), "V", "of this release (the newest)", 1, 0},
	{0},
};

const struct command cmd_image_show = {
	.name = "image show",
	.args = "NAME",
	.summary = "show how an image is defined, and its size",
	.args_min = 1,
	.args_max = 1,
	.opts = show_options,
	.opts_size = sizeof(struct image_opts),
	.run = show_run,
};

/* --- image ---------------------------------------------------------------------------------------------------------------- */

/* Before the first one is made, all definitions are read: a mistake in the last one costs no time. */
static int load_all(const struct mix *m, const struct strv *names, struct image_definition **out, struct err *e)
{
	for (size_t i = 0; i < names->n; i++) {
		int r = image_definition_load(m->config, names->items[i], &out[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_all(struct session *s, struct mix *m, const struct image_opts *o, struct image_definition *const *list,
		    size_t n, struct err *e)
{
	_cleanup_(image_maker_closep) struct image_maker *k = NULL;

	int r = image_maker_open(m, o->release ? o->release : m->previous, &k, e);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		_cleanup_(image_made_clear) struct image_made made = {0};
		r = image_make(k, list[i], o->force, &made, e);
		if (r >= 0)
			print_size(&s->ui, &made, r > 0 ? " (as it was)" : "");
	}
	return r < 0 ? r : 0;
}

static int image_run_command(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct image_opts *o = opts;
	_cleanup_(mix_closep) struct mix *m = NULL;
	_cleanup_(strv_free) struct strv names = {0};

	int r = mix_open(s, MIX_WRITE | MIX_STORE, &m, e);
	if (r >= 0 && args->n == 1 && strcmp(args->items[0], "all") == 0)
		r = image_definition_names(m->config, &names, e);
	else
		for (size_t i = 0; i < args->n; i++)
			strv_add(&names, args->items[i]);
	if (r < 0)
		return r;
	if (!o->release && !m->previous)
		return err_hint(e, err_set(e, -ERR_RELEASE, "no release is published yet, and images are made of one"),
				"'mixer build' makes and publishes one");
	struct image_definition **list = xcalloc(names.n + 1, sizeof(struct image_definition *));
	r = load_all(m, &names, list, e);
	if (r >= 0)
		r = make_all(s, m, o, list, names.n, e);
	for (size_t i = 0; i < names.n; i++)
		image_definition_free(list[i]);
	free(list);
	return r;
}

static const struct opt image_options[] = {
	{0, "release", OPT_U32, offsetof(struct image_opts, release), "V", "of this release (the newest)", 1, 0},
	{'f', "force", OPT_FLAG, offsetof(struct image_opts, force), NULL, "make it even if nothing has changed", 0, 0},
	{0},
};

const struct command cmd_image = {
	.name = "image",
	.args = "NAME…|all",
	.summary = "make images of a published release",
	.args_min = 1,
	.args_max = UINT_MAX,
	.opts = image_options,
	.opts_size = sizeof(struct image_opts),
	.run = image_run_command,
};
