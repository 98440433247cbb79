/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/derive.h"

#include <stdbool.h>
#include <string.h>

#include "mixer/step/accounts.h"
#include "mixer/step/convert.h"
#include "mixer/step/generate.h"
#include "mixer/step/hwdb.h"
#include "mixer/step/step.h"
#include "mixer/step/tool.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define CERTIFICATES    "/usr/share/ca-certificates/"
#define CERTIFICATE_MAX (1UL << 20)
#define MODULES         "/usr/lib/modules/"
#define HWDB            "/usr/lib/udev/hwdb.d/"
#define HWDB_MAX        (64UL << 20) /* bytes: all vendors of the world have 9 MB */
#define SYSUSERS        "/usr/lib/sysusers.d/"
#define SYSUSERS_MAX    (1UL << 20)
#define SHADOW_GID      42 /* base-passwd's: unix_chkpwd(8) of Debian has this group */
#define DEPMOD_CONF     "usr/lib/depmod.d"

struct derivation {
	const struct mix *m;
	const struct rules *rules;
	const struct tree *full;
	struct tree *const *bundles;
	struct tree *const *late;
	size_t n;
};

/* A file below dir (with '/' at its end) whose name has kind in it. */
static bool is_kind(const struct node *n, const char *dir, const char *kind)
{
	return n->attrs.kind == KIND_FILE && text_starts(n->path, dir) && strstr(strrchr(n->path, '/'), kind);
}

static struct tree *select_kind(const struct tree *from, const char *dir, const char *kind)
{
	struct tree *t = tree_new();

	for (size_t i = 0; i < from->n; i++)
		if (is_kind(&from->nodes[i], dir, kind))
			tree_add(t, &from->nodes[i]);
	return t;
}

/* To all bundles that have something of this kind. */
static void give(const struct derivation *d, const char *dir, const char *kind, const struct tree *made)
{
	for (size_t i = 0; i < d->n; i++) {
		bool has = false;
		for (size_t k = 0; !has && k < d->bundles[i]->n; k++)
			has = is_kind(&d->bundles[i]->nodes[k], dir, kind);
		for (size_t k = 0; has && k < made->n; k++)
			tree_add(d->late[i], &made->nodes[k]);
	}
}

static int derive_certificates(const struct derivation *d, struct err *e)
{
	_cleanup_(tree_freep) struct tree *certificates = select_kind(d->full, CERTIFICATES, ".crt");
	_cleanup_(tree_freep) struct tree *made = tree_new();
	_cleanup_(buf_free) struct buf all = {0};

	if (certificates->n == 0)
		return 0;
	for (size_t i = 0; i < certificates->n; i++) {
		const struct node *n = &certificates->nodes[i];
		_cleanup_(buf_free) struct buf text = {0};
		int r = store_load(d->m->store, &n->hash, CERTIFICATE_MAX, &text, e);
		if (r < 0)
			return err_in(e, r, "%s", n->path);
		buf_add(&all, text.data, text.len);
		if (text.len && text.data[text.len - 1] != '\n')
			buf_putc(&all, '\n');
	}
	int r = generate_file(d->m, made, FACTORY "/etc/ssl/certs/ca-certificates.crt", all.data, all.len, e);
	/* no bundle can have this name */
	if (r >= 0)
		r = generate_factory_lines(d->m, d->rules, "full", made, made, e);
	if (r >= 0)
		give(d, CERTIFICATES, ".crt", made);
	return r;
}

static int derive_hwdb(const struct derivation *d, struct err *e)
{
	_cleanup_(tree_freep) struct tree *sources = select_kind(d->full, HWDB, ".hwdb");
	_cleanup_(tree_freep) struct tree *made = tree_new();
	_cleanup_(hwdb_freep) struct hwdb *h = hwdb_new();
	_cleanup_(buf_free) struct buf all = {0};

	if (sources->n == 0)
		return 0;
	for (size_t i = 0; i < sources->n; i++) {
		const struct node *n = &sources->nodes[i];
		_cleanup_(buf_free) struct buf text = {0};
		int r = store_load(d->m->store, &n->hash, HWDB_MAX, &text, e);
		if (r < 0)
			return err_in(e, r, "%s", n->path);
		hwdb_add(h, n->path, text.data, text.len);
	}
	hwdb_format(h, &all);
	int r = generate_file(d->m, made, "/usr/lib/udev/hwdb.bin", all.data, all.len, e);
	if (r >= 0)
		give(d, HWDB, ".hwdb", made);
	return r;
}

static int add_account_file(const struct derivation *d, const struct accounts *a, enum accounts_file file,
			    struct tree *made, struct err *e)
{
	static const char *const names[ACCOUNTS_FILES] = {"passwd", "group", "shadow", "gshadow"};
	const bool secret = file == ACCOUNTS_SHADOW || file == ACCOUNTS_GSHADOW;
	_cleanup_free_ char *path = xasprintf(FACTORY "/etc/%s", names[file]);
	_cleanup_(buf_free) struct buf text = {0};
	struct node n = {
		.path = path,
		.origin = "generated",
		.attrs = {.kind = KIND_FILE, .mode = secret ? 0640 : 0644, .gid = secret ? SHADOW_GID : 0},
	};

	buf_puts(&text, "");
	accounts_format(a, file, &text);
	n.attrs.size = text.len;
	int r = store_put(d->m->store, &n.attrs, text.data, &n.hash, e);
	if (r >= 0)
		tree_add(made, &n);
	return r;
}

/* For an /etc that is made of the factory as it is. Where it is filled at start, systemd-sysusers comes first, so no line of tmpfiles.d brings these. */
static int derive_accounts(const struct derivation *d, struct err *e)
{
	_cleanup_(tree_freep) struct tree *sources = select_kind(d->full, SYSUSERS, ".conf"), *made = tree_new();
	_cleanup_(accounts_freep) struct accounts *a = accounts_new();
	int r = 0;

	if (sources->n == 0)
		return 0;
	for (size_t i = 0; r >= 0 && i < sources->n; i++) {
		const struct node *n = &sources->nodes[i];
		_cleanup_(buf_free) struct buf text = {0};
		r = store_load(d->m->store, &n->hash, SYSUSERS_MAX, &text, e);
		if (r < 0)
			return err_in(e, r, "%s", n->path);
		r = accounts_add(a, n->path, text.data, text.len, e);
	}
	if (r >= 0)
		r = accounts_check(a, e);
	for (enum accounts_file f = ACCOUNTS_PASSWD; r >= 0 && f < ACCOUNTS_FILES; f++)
		r = add_account_file(d, a, f, made, e);
	if (r >= 0)
		give(d, SYSUSERS, ".conf", made);
	return r;
}

/* All of one kernel's files, not modules alone: modules.order and modules.builtin count, too. And depmod's configuration, in a directory that must be there. */
static struct tree *depmod_input(const struct tree *full, const char *dir)
{
	struct node conf = {.path = "/" DEPMOD_CONF, .origin = "generated", .attrs = {.kind = KIND_DIR, .mode = 0755}};
	struct tree *t = tree_new();

	file_hash_mem(&conf.attrs, NULL, 0, &conf.hash);
	tree_add(t, &conf);
	for (size_t i = 0; i < full->n; i++) {
		const struct node *n = &full->nodes[i];
		if (n->attrs.kind == KIND_FILE &&
		    (text_starts(n->path, dir) || text_starts(n->path, "/" DEPMOD_CONF "/")))
			tree_add(t, n);
	}
	return t;
}

static int derive_modules(const struct derivation *d, const char *version, struct err *e)
{
	/* -C: this machine's configuration is no input */
	const char *const args[] = {"-b", ".", "-C", DEPMOD_CONF, version, NULL};
	_cleanup_free_ char *dir = xasprintf(MODULES "%s", version), *below = xasprintf("%s/", dir);
	const struct tool tool = {
		.program = "/usr/bin/kmod",
		.name = "depmod",
		.args = args,
		.dir = dir,
		.prefix = "modules.",
	};
	_cleanup_(tree_freep) struct tree *input = depmod_input(d->full, below), *made = tree_new();

	int r = tool_run(d->m, &tool, d->full, input, made, e);
	if (r < 0)
		return err_in(e, r, "kernel modules %s", version);
	give(d, below, ".ko", made);
	return 0;
}

int derive(const struct mix *m, const struct rules *rules, const struct tree *full, struct tree *const *bundles,
	   size_t n, struct tree *const *late, struct err *e)
{
	const struct derivation d = {.m = m, .rules = rules, .full = full, .bundles = bundles, .late = late, .n = n};
	_cleanup_(strv_free) struct strv versions = {0};

	int r = derive_certificates(&d, e);
	if (r >= 0)
		r = derive_hwdb(&d, e);
	if (r >= 0)
		r = derive_accounts(&d, e);
	for (size_t i = 0; i < full->n; i++) {
		const char *version = full->nodes[i].path + strlen(MODULES);
		if (is_kind(&full->nodes[i], MODULES, ".ko") && strchr(version, '/'))
			strv_take(&versions, xstrndup(version, strcspn(version, "/")));
	}
	strv_sort_unique(&versions);
	for (size_t i = 0; r >= 0 && i < versions.n; i++)
		r = derive_modules(&d, versions.items[i], e);
	return r;
}
