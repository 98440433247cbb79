/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/generate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/convert.h"
#include "mixer/step/keys.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"

int generate_file(const struct mix *m, struct tree *out, const char *path, const void *text, size_t len, struct err *e)
{
	struct node n = {.path = path, .origin = "generated", .attrs = {.kind = KIND_FILE, .mode = 0644, .size = len}};

	int r = store_put(m->store, &n.attrs, text, &n.hash, e);
	if (r >= 0)
		tree_add(out, &n);
	return r;
}

static int generate_text(const struct mix *m, struct tree *out, const char *path, const char *text, struct err *e)
{
	return generate_file(m, out, path, text, strlen(text), e);
}

static void add_dir(struct tree *out, const char *path, uint32_t mode)
{
	struct node n = {.path = path, .origin = "generated", .attrs = {.kind = KIND_DIR, .mode = mode}};

	file_hash_mem(&n.attrs, NULL, 0, &n.hash);
	tree_add(out, &n);
}

static void add_link(struct tree *out, const char *path, const char *target)
{
	struct node n = {
		.path = path,
		.origin = "generated",
		.attrs = {.kind = KIND_LINK, .size = strlen(target)},
		.link = target,
	};

	file_hash_mem(&n.attrs, target, strlen(target), &n.hash);
	tree_add(out, &n);
}

static void add_skeleton(struct tree *out)
{
	static const struct {
		const char *path;
		uint32_t mode;
	} dirs[] = {
		{"/boot", 0755},      {"/dev", 0755},      {"/etc", 0755},  {"/home", 0755},    {"/mnt", 0755},
		{"/opt", 0755},       {"/proc", 0755},     {"/root", 0700}, {"/run", 0755},     {"/srv", 0755},
		{"/sys", 0755},       {"/tmp", 01777},     {"/usr", 0755},  {"/usr/bin", 0755}, {"/usr/lib", 0755},
		{"/usr/lib64", 0755}, {"/usr/sbin", 0755}, {"/var", 0755},
	};
	static const char *const links[][2] = {
		{"/bin", "usr/bin"}, {"/lib", "usr/lib"}, {"/lib64", "usr/lib64"}, {"/sbin", "usr/sbin"}};

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		add_dir(out, dirs[i].path, dirs[i].mode);
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		add_link(out, links[i][0], links[i][1]);
}

/* os-release(5): within double quotes a shell would read these */
static char *shell_quoted(const char *text)
{
	struct buf b = {0};

	buf_putc(&b, '"');
	for (; *text; text++) {
		if (strchr("\"\\$`", *text))
			buf_putc(&b, '\\');
		buf_putc(&b, *text);
	}
	buf_putc(&b, '"');
	return b.data;
}

int generate_base(const struct mix *m, int64_t time, struct tree *out, struct err *e)
{
	const struct config *c = m->config;
	_cleanup_free_ char *name = shell_quoted(c->name);
	_cleanup_free_ char *version = xasprintf("%u", m->release);
	_cleanup_free_ char *stamp = xasprintf("%lld", (long long)time);
	/* ID_LIKE: programs ask it whose conventions hold */
	_cleanup_free_ char *pretty = xasprintf("%s %s", c->name, version);
	_cleanup_free_ char *pretty_quoted = shell_quoted(pretty);
	_cleanup_free_ char *os_release = xasprintf("NAME=%s\nID=%s\nID_LIKE=debian\nVERSION=\"%s\"\nVERSION_ID=%s\n"
						    "BUILD_ID=%s\nPRETTY_NAME=%s\n",
						    name, c->id, version, version, stamp, pretty_quoted);

	add_skeleton(out);
	int r = generate_text(m, out, "/" INSTALLED_OS_RELEASE, os_release, e);
	if (r >= 0)
		r = generate_text(m, out, "/" INSTALLED_VERSION, version, e);
	if (r >= 0)
		r = generate_text(m, out, "/" INSTALLED_VERSIONSTAMP, stamp, e);
	return r;
}

/* The root file with the highest number that is published, if any. */
static int add_root_file(const struct mix *m, struct tree *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	const uint32_t newest = keys_newest_root(m);

	if (newest == 0)
		return 0;
	_cleanup_free_ char *path = xasprintf("update/www/version/root/%u", newest);
	int r = fs_load(m->config->dir, path, SMALL_TEXT_MAX, &text, e);
	return r < 0 ? r : generate_file(m, out, "/" INSTALLED_ROOT, text.data, text.len, e);
}

int generate_update(const struct mix *m, struct tree *out, struct err *e)
{
	const struct config *c = m->config;
	const char *version_url = c->version_url ? c->version_url : c->content_url;
	_cleanup_free_ char *format = xasprintf("%u", m->format);
	_cleanup_(buf_free) struct buf cert = {0};
	int r = generate_text(m, out, "/" INSTALLED_DEFAULTS "/format", format, e);

	if (r >= 0 && c->content_url)
		r = generate_text(m, out, "/" INSTALLED_DEFAULTS "/contenturl", c->content_url, e);
	if (r >= 0 && version_url)
		r = generate_text(m, out, "/" INSTALLED_DEFAULTS "/versionurl", version_url, e);
	if (r >= 0 && c->signer.cert && faccessat(AT_FDCWD, c->signer.cert, R_OK, 0) == 0) {
		r = fs_load(AT_FDCWD, c->signer.cert, SMALL_TEXT_MAX, &cert, e);
		if (r >= 0)
			r = generate_file(m, out, "/" INSTALLED_CERTIFICATE, cert.data, cert.len, e);
	}
	return r < 0 ? r : add_root_file(m, out, e);
}

int generate_factory_lines(const struct mix *m, const struct rules *rules, const char *bundle, const struct tree *t,
			   struct tree *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *path = xasprintf("/usr/lib/tmpfiles.d/zz-bundle-%s.conf", bundle);

	convert_factory_lines(rules, bundle, t, &text);
	return text.len ? generate_file(m, out, path, text.data, text.len, e) : 0;
}
