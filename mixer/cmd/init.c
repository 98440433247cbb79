/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define KEY_NAME  "private.pem"
#define CERT_NAME "Swupd_Root.pem"
#define KEY_YEARS 10

struct init_opts {
	struct strv bundles;
	const char *content_url, *key_type;
	uint32_t format, mix_version;
	bool no_key;
};

static const struct opt init_options[] = {
	{0, "bundles", OPT_LIST, offsetof(struct init_opts, bundles), "DIRS", "folders of bundle definitions", 0, 0},
	{0, "content-url", OPT_STRING, offsetof(struct init_opts, content_url), "URL", "where clients find releases", 0,
	 0},
	{0, "format", OPT_U32, offsetof(struct init_opts, format), "N", "format of the releases (30)", 1, 999999},
	{0, "mix-version", OPT_U32, offsetof(struct init_opts, mix_version), "N", "number of the first release (10)", 1,
	 0},
	{0, "key-type", OPT_STRING, offsetof(struct init_opts, key_type), "ecdsa|rsa", "kind of the new key (ecdsa)", 0,
	 0},
	{0, "no-key", OPT_FLAG, offsetof(struct init_opts, no_key), NULL, "make no key and certificate", 0, 0},
	{0},
};

static const struct init_opts init_defaults = {.mix_version = 10, .key_type = "ecdsa"};

/* Put "key = value" in the place of the template's "#key = …" */
static void set_line(struct buf *text, const char *key, const char *value)
{
	_cleanup_free_ char *line = xasprintf("\n#%s =", key);
	struct buf out = {0};

	const char *at = strstr(text->data, line) + 1, *end = strchr(at, '\n');
	buf_add(&out, text->data, (size_t)(at - text->data));
	buf_printf(&out, "%s = %s%s", key, value, end);
	buf_free(text);
	*text = out;
}

static int config_text(const struct init_opts *o, struct buf *out, struct err *e)
{
	_cleanup_(strv_free) struct strv folders = {0};

	buf_puts(out, config_template);
	for (size_t i = 0; i < o->bundles.n; i++) {
		char *path = path_absolute(NULL, o->bundles.items[i]);
		strv_take(&folders, path);
		if (!fs_exists(AT_FDCWD, path))
			return err_set(e, -ERR_USAGE, "--bundles: there is no '%s'", path);
		if (strpbrk(path, " \t"))
			return err_set(e, -ERR_USAGE, "--bundles: mixer.conf cannot hold blanks, as in '%s'", path);
	}
	if (folders.n) {
		_cleanup_free_ char *all = strv_join(&folders, " ");
		set_line(out, "bundles", all);
	}
	if (o->content_url)
		set_line(out, "content-url", o->content_url);
	if (o->format) {
		_cleanup_free_ char *format = xasprintf("%u", o->format);
		set_line(out, "format", format);
	}
	return 0;
}

static int create_key(struct ui *ui, int dir, const char *type, struct err *e)
{
	enum key_type kind = strcmp(type, "rsa") == 0 ? KEY_RSA_4096 : KEY_ECDSA_P256;

	int r = signature_create_key(dir, KEY_NAME, CERT_NAME, kind, "Limpid", KEY_YEARS, time(NULL), e);
	if (r == -EEXIST) {
		err_clear(e);
		ui_message(ui, "the key that is there, " KEY_NAME " with " CERT_NAME ", stays");
		return 0;
	}
	return r;
}

/* Everything but mixer.conf, which comes last: it tells that the workspace is whole */
static int write_workspace(struct session *s, const char *path, int dir, const struct init_opts *o, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(strv_free) struct strv bundles = {0};
	_cleanup_(config_freep) struct config *c = NULL;

	int r = config_text(o, &text, e);
	if (r < 0)
		return r;
	int again = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	if (again < 0)
		return err_errno(e, "%s", path);
	r = config_parse(text.data, text.len, "mixer.conf", again, path, &c, e);
	if (r >= 0)
		r = fs_mkdirs(dir, "local-bundles", 0755, e);
	if (r >= 0)
		r = fs_mkdirs(dir, "local-debs", 0755, e);
	if (r >= 0 && !o->no_key)
		r = create_key(&s->ui, dir, o->key_type, e);
	strv_add(&bundles, "os-core");
	strv_add(&bundles, "os-core-update");
	if (r >= 0 && !fs_exists(dir, "mixbundles"))
		r = mixbundles_save(c, &bundles, e);
	const struct mix_state state = {.release = o->mix_version, .format = c ? c->format : 0};
	if (r >= 0 && !fs_exists(dir, "mixer.state"))
		r = mix_state_save(c, &state, e);
	return r < 0 ? r : fs_save(dir, "mixer.conf", text.data, text.len, 0644, e);
}

static int init_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct init_opts *o = opts;
	_cleanup_free_ char *path = path_absolute(NULL, args->n ? args->items[0] : s->workspace);

	if (strcmp(o->key_type, "rsa") != 0 && strcmp(o->key_type, "ecdsa") != 0)
		return err_set(e, -ERR_USAGE, "--key-type: '%s' is neither 'ecdsa' nor 'rsa'", o->key_type);
	_cleanup_close_ int dir = fs_make_dir(AT_FDCWD, path, 0755, e);
	if (dir < 0)
		return dir;
	if (fs_exists(dir, "mixer.conf")) {
		ui_message(&s->ui, "'%s' is a workspace already; nothing was changed", path);
		return 0;
	}
	int r = write_workspace(s, path, dir, o, e);
	if (r < 0)
		return err_in(e, r, "cannot make the workspace '%s'", path);
	ui_message(&s->ui, "made the workspace '%s'; look at its mixer.conf, then 'mixer lock' and 'mixer build'",
		   path);
	return 0;
}

const struct command cmd_init = {
	.name = "init",
	.args = "[DIR]",
	.summary = "make a workspace: configuration, key, folders",
	.args_max = 1,
	.opts = init_options,
	.opts_size = sizeof(struct init_opts),
	.opts_default = &init_defaults,
	.run = init_run,
};
