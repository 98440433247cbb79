/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/cmd/cmd.h"
#include "mixer/cmd/mix.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/keys.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/machine.h"
#include "swupd/client/mirror.h"
#include "swupd/content/format.h"
#include "swupd/content/needs.h"

#define STATE    ".mirror" /* in the copy: what we have seen, downloads under way */
#define PARALLEL 15
#define RETRIES  3
#define DELAY_S  10

struct mirror_opts {
	struct strv releases;
	const char *from, *certificate;
	uint32_t format;
	bool allow_insecure_http, debuginfo;
};

static const struct opt mirror_options[] = {
	{0, "releases", OPT_LIST, offsetof(struct mirror_opts, releases), "A,B…", "besides the newest", 0, 0},
	{0, "from", OPT_STRING, offsetof(struct mirror_opts, from), "URL", "of a tree (of this mix)", 0, 0},
	{0, "certificate", OPT_STRING, offsetof(struct mirror_opts, certificate), "FILE",
	 "that the tree is verified with", 0, 0},
	{0, "format", OPT_U32, offsetof(struct mirror_opts, format), "N", "of the newest (as configured)", 1, 999999},
	{0, "allow-insecure-http", OPT_FLAG, offsetof(struct mirror_opts, allow_insecure_http), NULL,
	 "accept http:// addresses", 0, 0},
	{0, "debuginfo", OPT_FLAG, offsetof(struct mirror_opts, debuginfo), NULL, "their debug information, too", 0, 0},
	{0},
};

/* What was not said, the mix says. */
struct source {
	char *url, *certificate;
	uint32_t format;
};

static void source_clear(struct source *s)
{
	free(s->url);
	free(s->certificate);
}

static int find_source(struct session *session, const struct mirror_opts *o, struct source *s, struct err *e)
{
	_cleanup_(mix_closep) struct mix *m = NULL;

	s->url = o->from ? xstrdup(o->from) : NULL;
	s->certificate = o->certificate ? xstrdup(o->certificate) : NULL;
	s->format = o->format ? o->format : FORMAT_DEFAULT;
	if (s->url && s->certificate)
		return 0;
	int r = mix_open(session, 0, &m, e);
	if (r < 0)
		return err_hint(e, r, "without a workspace --from and --certificate say what is copied");
	if (!s->url)
		s->url = xasprintf("%s/update/www", m->config->path);
	/* once keys have changed, today's certificate is none that a machine can begin with */
	const uint32_t root = keys_newest_root(m);
	if (!s->certificate)
		s->certificate = root ? xasprintf("%s/update/www/version/root/%u", m->config->path, root)
				      : xstrdup(m->config->signer.cert);
	if (!o->format)
		s->format = m->format;
	return 0;
}

/* -- debug information -- */

struct list {
	struct debuginfo *debuginfo;
	uint32_t release;
};

struct lists {
	struct list *items; /* of releases that have one */
	size_t n, cap;
};

static void lists_clear(struct lists *l)
{
	for (size_t i = 0; i < l->n; i++)
		debuginfo_free(l->items[i].debuginfo);
	free(l->items);
}

struct adding {
	struct needs *needs;
	uint32_t release;
};

static int add_file(void *arg, const char *name, const struct attrs *attrs, const struct digest *hash,
		    struct err *e __attribute__((unused)))
{
	const struct adding *a = arg;
	_cleanup_free_ char *path = xasprintf("debuginfo/%s", name);

	needs_add_other(a->needs, a->release, path, attrs, hash);
	return 0;
}

static int add_debuginfo(void *arg, uint32_t release, const char *text, size_t len, struct needs *n, struct err *e)
{
	struct lists *l = arg;
	struct adding a = {n, release};
	struct debuginfo *d = NULL;

	int r = debuginfo_parse(text, len, &d, e);
	if (r < 0)
		return r;
	VEC_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = (struct list){d, release};
	return debuginfo_each(d, add_file, &a, e);
}

/* A list comes when all that it names is there. */
static int finish_debuginfo(void *arg, int target, struct err *e)
{
	const struct lists *l = arg;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < l->n; i++) {
		const struct debuginfo *d = l->items[i].debuginfo;
		_cleanup_close_ int root = d->n_debugs ? fs_make_dir(target, "debuginfo", 0755, e) : -1;
		if (d->n_debugs)
			r = root < 0 ? root : debuginfo_link(d, root, e);
		if (r >= 0)
			r = debuginfo_save_index(d, target, l->items[i].release, e);
	}
	return r;
}

static int copy_to(struct session *session, const struct mirror_opts *o, const struct source *s, int target,
		   const char *path, struct err *e)
{
	_cleanup_free_ char *state = xasprintf("%s/" STATE, path), *data = xasprintf("%s/data", state),
			    *cache = xasprintf("%s/cache", state), *format = xasprintf("%u", s->format);
	_cleanup_(strv_free) struct strv releases = {0};
	const struct client_options options = {
		.path = state, /* an empty root: nothing of this machine matters */
		.url = s->url,
		.format = format,
		.datadir = data,
		.cachedir = cache,
		.certpath = s->certificate,
		.max_parallel_downloads = PARALLEL,
		.max_retries = RETRIES,
		.retry_delay = DELAY_S,
		.allow_insecure_http = o->allow_insecure_http,
	};
	struct machine *m = NULL;
	_cleanup_(lists_clear) struct lists lists = {0};
	const struct mirror_more debuginfo = {
		.what = "debug information",
		.list = DEBUGINFO_LIST,
		.list_max = DEBUGINFO_LIST_MAX,
		.add = add_debuginfo,
		.finish = finish_debuginfo,
		.arg = &lists,
	};

	for (size_t i = 0; i < o->releases.n; i++)
		if (strcmp(o->releases.items[i], "newest") != 0)
			strv_add(&releases, o->releases.items[i]);
	int r = machine_open(&options, NEEDS_NEW_ROOT | NEEDS_STATE | NEEDS_SERVER | NEEDS_TRUST, &session->ui, &m, e);
	if (r < 0)
		return r;
	m->progress = session->progress;
	_cleanup_close_ int lock = fs_lock(m->data, "lock", "mixer mirror\n", e);
	r = lock < 0 ? lock : mirror(m, &releases, o->debuginfo ? &debuginfo : NULL, target, e);
	machine_close(m);
	return r;
}

static int mirror_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	_cleanup_(source_clear) struct source s = {0};
	const struct mirror_opts *o = opts;
	char path[PATH_MAX];

	int r = find_source(context, o, &s, e);
	if (r < 0)
		return r;
	_cleanup_close_ int target = fs_make_dir(AT_FDCWD, args->items[0], 0755, e);
	if (target < 0)
		return target;
	if (!realpath(args->items[0], path))
		return err_errno(e, "'%s'", args->items[0]);
	return copy_to(context, o, &s, target, path, e);
}

const struct command cmd_mirror = {
	.name = "mirror",
	.args = "DIR",
	.summary = "copy what some releases need from a published tree",
	.args_min = 1,
	.args_max = 1,
	.opts = mirror_options,
	.opts_size = sizeof(struct mirror_opts),
	.run = mirror_run,
};
