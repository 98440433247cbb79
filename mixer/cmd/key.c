/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/step/keys.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/freshness.h"
#include "swupd/content/layout.h"

#define DAY              86400
#define CERTIFICATE_DAYS 60 /* left for a change of keys, with people who sign elsewhere */
#define FRESHNESS_DAYS   7  /* left for somebody to look after the timer */

static void answer_lines(struct ui *ui, const char *text)
{
	const char *line;
	size_t len;

	for (const char *pos = text, *end = text + strlen(text); text_line(&pos, end, &line, &len, NULL);)
		ui_answer(ui, "%.*s", (int)len, line);
}

static int show_certificate(struct ui *ui, const struct mix *m, int64_t now, struct err *e)
{
	const char *name = m->config->signer.cert;
	_cleanup_(anchors_freep) struct anchors *a = NULL;
	_cleanup_(anchors_freep) struct anchors *later = NULL;
	_cleanup_(buf_free) struct buf pem = {0};
	struct err why = ERR_INIT;

	int r = fs_load(AT_FDCWD, name, SIGNATURE_MAX, &pem, e);
	if (r < 0)
		return err_in(e, r, "the mix's certificate");
	ui_answer(ui, "certificate %s", name);
	r = anchors_load(pem.data, pem.len, now, &a, &why);
	if (r == -ERR_EXPIRED) {
		ui_warn(ui, "%s", why.text);
		err_clear(&why);
		return 0;
	}
	if (r < 0) {
		err_move(e, &why);
		return err_in(e, r, "%s", name);
	}
	_cleanup_free_ char *text = anchors_describe(a);
	answer_lines(ui, text);
	if (anchors_load(pem.data, pem.len, now + (int64_t)CERTIFICATE_DAYS * DAY, &later, NULL) == -ERR_EXPIRED)
		ui_warn(ui, "the certificate expires within %d days: 'mixer key rotate' makes the next one",
			CERTIFICATE_DAYS);
	return 0;
}

static int show_root(struct ui *ui, const struct mix *m, struct err *e)
{
	_cleanup_(root_freep) struct root_keys *root = NULL;
	const uint32_t newest = keys_newest_root(m);
	uint32_t number;

	if (newest == 0) {
		ui_answer(ui, "no root file: the keys never changed");
	} else {
		int r = keys_load_root(m, newest, &root, e);
		if (r < 0)
			return r;
		_cleanup_free_ char *text = root_describe(root);
		answer_lines(ui, text);
	}
	switch (keys_pending(m, &number)) {
	case 1:
		ui_warn(ui, "root %" PRIu32 " waits in keys/%" PRIu32 ": 'mixer key publish' publishes it", number,
			number);
		break;
	case 2:
		ui_warn(ui, "the key of root %" PRIu32 " is not in use yet: 'mixer key publish' completes it", number);
		break;
	default:
		break;
	}
	return 0;
}

static int show_freshness(struct ui *ui, const struct mix *m, int64_t now, struct err *e)
{
	_cleanup_free_ char *name = layout_freshness(m->format), *path = xasprintf("update/www/%s", name);
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(freshness_clear) struct freshness f = {0};

	if (!fs_exists(m->config->dir, path)) {
		ui_answer(ui, "no freshness: no signed release is published");
		return 0;
	}
	int r = fs_load(m->config->dir, path, SMALL_TEXT_MAX, &text, e);
	if (r >= 0)
		r = freshness_parse(text.data, text.len, &f, NULL, NULL, e);
	if (r < 0)
		return err_in(e, r, "%s", path);
	_cleanup_free_ char *said = text_time(f.time), *until = text_time(f.expires);
	ui_answer(ui, "freshness: release %" PRIu32 " is the newest, said %s, until %s", f.release, said, until);
	if (f.expires < now)
		ui_warn(ui, "freshness has expired, so clients refuse to update: 'mixer freshen' renews it");
	else if (f.expires < now + (int64_t)FRESHNESS_DAYS * DAY)
		ui_warn(ui, "freshness expires within %d days: 'mixer freshen' renews it", FRESHNESS_DAYS);
	if (f.root < keys_newest_root(m))
		ui_warn(ui, "freshness is from before the newest root: 'mixer freshen' renews it");
	return 0;
}

static int show_run(void *context, void *opts __attribute__((unused)), const struct strv *args __attribute__((unused)),
		    struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;
	const int64_t now = (int64_t)time(NULL);

	int r = mix_open(s, 0, &m, e);
	if (r >= 0)
		r = show_certificate(&s->ui, m, now, e);
	if (r >= 0)
		r = show_root(&s->ui, m, e);
	return r < 0 ? r : show_freshness(&s->ui, m, now, e);
}

const struct command cmd_key_show = {
	.name = "key show",
	.args = "",
	.summary = "show who may sign releases, and until when",
	.run = show_run,
};

struct rotate_opts {
	struct strv root_certs;
	uint32_t threshold;
	const char *release_cert, *key_type;
};

static const struct rotate_opts rotate_defaults = {.key_type = "ecdsa"};

static const struct opt rotate_options[] = {
	{0, "root-cert", OPT_LIST, offsetof(struct rotate_opts, root_certs), "FILES", "certificates of new root keys",
	 0, 0},
	{0, "threshold", OPT_U32, offsetof(struct rotate_opts, threshold), "N", "so many root keys must sign", 1, 32},
	{0, "release-cert", OPT_STRING, offsetof(struct rotate_opts, release_cert), "FILE",
	 "make no release key: use the one of this", 0, 0},
	{0, "key-type", OPT_STRING, offsetof(struct rotate_opts, key_type), "ecdsa|rsa", "kind of the new key (ecdsa)",
	 0, 0},
	{0},
};

/* "no" with its text is the story of the run; what can be done about it belongs to it. */
static int publish_root(struct ui *ui, const struct mix *m, int64_t now, struct err *e)
{
	const uint32_t before = keys_newest_root(m);

	int r = keys_publish(m, now, e);
	if (r < 0)
		return r;
	const uint32_t newest = keys_newest_root(m);
	if (newest != before)
		ui_message(ui, "root %" PRIu32 " is published", newest);
	return 0;
}

static int change(struct session *s, const struct key_change *c, struct err *e)
{
	_cleanup_(mix_closep) struct mix *m = NULL;
	const int64_t now = (int64_t)time(NULL);
	uint32_t number;

	int r = mix_open(s, MIX_WRITE, &m, e);
	if (r >= 0)
		r = keys_prepare(m, c, now, &number, e);
	if (r < 0)
		return r;
	r = publish_root(&s->ui, m, now, e);
	if (r == -ERR_NO)
		ui_message(&s->ui,
			   "have keys/%" PRIu32 "/root signed by 'mixer key sign' where the other keys are, then "
			   "'mixer key publish'",
			   number);
	return r;
}

static int rotate_run(void *context, void *opts, const struct strv *args __attribute__((unused)), struct err *e)
{
	const struct rotate_opts *o = opts;
	const struct key_change c = {
		.type = strcmp(o->key_type, "rsa") == 0 ? KEY_RSA_4096 : KEY_ECDSA_P256,
		.release_cert = o->release_cert,
		.root_certs = &o->root_certs,
		.threshold = o->threshold,
	};

	if (strcmp(o->key_type, "rsa") != 0 && strcmp(o->key_type, "ecdsa") != 0)
		return err_set(e, -ERR_USAGE, "--key-type: '%s' is neither 'ecdsa' nor 'rsa'", o->key_type);
	return change(context, &c, e);
}

const struct command cmd_key_rotate = {
	.name = "key rotate",
	.args = "",
	.summary = "make a new release key and the root file that names it",
	.opts = rotate_options,
	.opts_size = sizeof(struct rotate_opts),
	.opts_default = &rotate_defaults,
	.run = rotate_run,
};

static int drop_run(void *context, void *opts __attribute__((unused)), const struct strv *args __attribute__((unused)),
		    struct err *e)
{
	return change(context, &(struct key_change){.drop = true}, e);
}

const struct command cmd_key_drop = {
	.name = "key drop",
	.args = "",
	.summary = "make a root file that names no old release key",
	.run = drop_run,
};

struct sign_opts {
	const char *certificate, *key, *command;
};

static const struct opt sign_options[] = {
	{0, "certificate", OPT_STRING, offsetof(struct sign_opts, certificate), "FILE", "of the key", 0, 0},
	{0, "key", OPT_STRING, offsetof(struct sign_opts, key), "FILE|URI", "the key", 0, 0},
	{0, "command", OPT_STRING, offsetof(struct sign_opts, command), "COMMAND", "or what signs with it", 0, 0},
	{0},
};

static int sign_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct session *s = context;
	const struct sign_opts *o = opts;
	const char *name = args->items[0];
	const struct signer signer = {.cert = o->certificate, .key = o->key, .command = o->command};
	_cleanup_(root_freep) struct root_keys *root = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	if (!o->certificate || !o->key == !o->command)
		return err_set(e, -ERR_USAGE, "--certificate and either --key or --command must be given");
	int r = fs_load(AT_FDCWD, name, SMALL_TEXT_MAX, &text, e);
	if (r >= 0)
		r = root_parse(text.data, text.len, &root, e);
	if (r >= 0)
		r = root_sign(&signer, &text, e);
	if (r >= 0)
		r = fs_save(AT_FDCWD, name, text.data, text.len, 0644, e);
	if (r < 0)
		return err_in(e, r, "cannot sign '%s'", name);
	_cleanup_free_ char *what = root_describe(root);
	answer_lines(&s->ui, what);
	return 0;
}

const struct command cmd_key_sign = {
	.name = "key sign",
	.args = "FILE",
	.summary = "sign a root file, needs no workspace",
	.args_min = 1,
	.args_max = 1,
	.opts = sign_options,
	.opts_size = sizeof(struct sign_opts),
	.run = sign_run,
};

static int publish_run(void *context, void *opts __attribute__((unused)),
		       const struct strv *args __attribute__((unused)), struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(s, MIX_WRITE, &m, e);
	return r < 0 ? r : publish_root(&s->ui, m, (int64_t)time(NULL), e);
}

const struct command cmd_key_publish = {
	.name = "key publish",
	.args = "",
	.summary = "publish the root file that waited for signatures",
	.run = publish_run,
};

static int freshen_run(void *context, void *opts __attribute__((unused)),
		       const struct strv *args __attribute__((unused)), struct err *e)
{
	struct session *s = context;
	_cleanup_(mix_closep) struct mix *m = NULL;

	int r = mix_open(s, MIX_WRITE, &m, e);
	if (r >= 0)
		r = keys_freshen(m, e);
	if (r >= 0)
		ui_message(&s->ui, "release %" PRIu32 " is still the newest", m->previous);
	return r;
}

const struct command cmd_freshen = {
	.name = "freshen",
	.args = "",
	.summary = "say anew that the newest release is the newest",
	.run = freshen_run,
};
