/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/image/image.h"
#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/json.h"
#include "swupd/base/text.h"

#define CHUNK   (64UL << 10)
#define FACTORY "/usr/share/factory/etc"
#define INSIDE  "/mnt/work" /* where a tool sees job->work */

/* --- what a job says ------------------------------------------------------------------------------------------------------ */

void image_output(struct image_job *job, const char *name)
{
	strv_add(&job->outputs, name);
}

static void say(struct image_job *job, const char *key, const char *value)
{
	strv_take(&job->say, xasprintf("\"%s\": %s", key, value));
}

void image_say_text(struct image_job *job, const char *key, const char *value)
{
	_cleanup_(buf_free) struct buf b = {0};

	json_string(&b, value);
	say(job, key, b.data);
}

void image_say_number(struct image_job *job, const char *key, uint64_t value)
{
	_cleanup_free_ char *text = xasprintf("%llu", (unsigned long long)value);

	say(job, key, text);
}

void image_say_bool(struct image_job *job, const char *key, bool value)
{
	say(job, key, value ? "true" : "false");
}

void image_root(struct image_job *job, const char *device, const char *type, const char *flags)
{
	_cleanup_free_ char *words =
		xasprintf("root=%s rootfstype=%s%s%s ro", device, type, flags ? " rootflags=" : "", flags ? flags : "");

	image_cmdline(job, words);
	image_say_text(job, "root", device);
	image_say_text(job, "root-type", type);
	image_say_text(job, "root-flags", flags ? flags : "");
}

void image_cmdline(struct image_job *job, const char *words)
{
	char *both = job->cmdline ? xasprintf("%s %s", job->cmdline, words) : xstrdup(words);

	free(job->cmdline);
	job->cmdline = both;
}

char *image_all_cmdline(const struct image_job *job)
{
	const struct image_definition *d = job->definition;
	_cleanup_(strv_free) struct strv words = {0};

	if (job->cmdline)
		strv_add(&words, job->cmdline);
	if (d->cmdline)
		strv_add(&words, d->cmdline);
	if (d->state)
		strv_take(&words, xasprintf("limpid.state=%s", d->state));
	return strv_join(&words, " ");
}

/* --- identifiers ---------------------------------------------------------------------------------------------------------- */

void image_id(const struct image_job *job, const char *label, struct digest *out)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_add(&b, job->identity.bytes, sizeof(job->identity.bytes));
	buf_puts(&b, job->definition->name);
	buf_putc(&b, '\0');
	buf_puts(&b, label);
	sha256_mem(b.data, b.len, out);
}

void image_uuid(const struct image_job *job, const char *label, char out[UUID_TEXT])
{
	struct digest d;
	char hex[33];

	image_id(job, label, &d);
	d.bytes[6] = (uint8_t)(0x80 | (d.bytes[6] & 0x0f));
	d.bytes[8] = (uint8_t)(0x80 | (d.bytes[8] & 0x3f));
	text_hex(d.bytes, 16, hex);
	snprintf(out, UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

/* --- the root as a tree --------------------------------------------------------------------------------------------------- */

struct tree *image_tree_copy(const struct tree *t)
{
	struct tree *copy = tree_new();

	for (size_t i = 0; i < t->n; i++)
		(void)tree_add(copy, &t->nodes[i]);
	return copy;
}

/* While it is being added to, a tree is not sorted. */
static struct node *find(const struct tree *t, const char *path)
{
	for (size_t i = t->n; i-- > 0;)
		if (strcmp(t->nodes[i].path, path) == 0)
			return &t->nodes[i];
	return NULL;
}

static void put(struct tree *t, const struct node *n)
{
	struct node *old = find(t, n->path);

	if (old) {
		*old = t->nodes[--t->n];
		(void)tree_add(t, n);
		return;
	}
	for (const char *slash = strchr(n->path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *parent = xstrndup(n->path, (size_t)(slash - n->path));
		if (!find(t, parent))
			image_tree_dir(t, parent, 0755);
	}
	(void)tree_add(t, n);
}

int image_tree_file(const struct image_job *job, struct tree *t, const char *path, uint32_t mode, const void *data,
		    size_t len, struct err *e)
{
	struct node n = {.path = path, .attrs = {.kind = KIND_FILE, .mode = mode, .size = len}, .origin = "image"};

	int r = store_put(job->m->store, &n.attrs, data, &n.hash, e);
	if (r < 0)
		return err_in(e, r, "%s", path);
	put(t, &n);
	return 0;
}

void image_tree_link(struct tree *t, const char *path, const char *target)
{
	struct node n = {
		.path = path, .attrs = {.kind = KIND_LINK, .size = strlen(target)}, .link = target, .origin = "image"};

	file_hash_mem(&n.attrs, target, strlen(target), &n.hash);
	put(t, &n);
}

void image_tree_dir(struct tree *t, const char *path, uint32_t mode)
{
	struct node n = {.path = path, .attrs = {.kind = KIND_DIR, .mode = mode}, .origin = "image"};

	file_hash_mem(&n.attrs, "", 0, &n.hash);
	put(t, &n);
}

void image_tree_end(struct tree *t)
{
	tree_sort(t);
}

void image_tree_factory(struct tree *t)
{
	const size_t n = t->n;

	for (size_t i = 0; i < n; i++) {
		struct node node = t->nodes[i];
		if (!text_starts(node.path, FACTORY "/"))
			continue;
		_cleanup_free_ char *path = xasprintf("/etc%s", node.path + strlen(FACTORY));
		node.path = path;
		if (!find(t, path))
			(void)tree_add(t, &node);
	}
	tree_sort(t);
}

int image_tree_load(const struct image_job *job, const struct tree *t, const char *path, struct buf *out, struct err *e)
{
	const struct node *n = find(t, path);

	if (!n || n->attrs.kind != KIND_FILE)
		return err_set(e, -ENOENT, "the image has no file '%s'", path);
	return object_content(job->m, n, out, e);
}

/* --- files ---------------------------------------------------------------------------------------------------------------- */

int image_create(const struct image_job *job, const char *name, struct err *e)
{
	int fd = openat(job->work, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	return fd < 0 ? err_errno(e, "%s", name) : fd;
}

static bool is_zero(const char *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

int image_paste(const struct image_job *job, const char *from, int fd, uint64_t offset, struct err *e)
{
	_cleanup_close_ int in = openat(job->work, from, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *chunk = xmalloc(CHUNK);
	uint64_t at = 0;
	ssize_t n;

	if (in < 0)
		return err_errno(e, "%s", from);
	while ((n = pread(in, chunk, CHUNK, (off_t)at)) > 0) {
		int r = is_zero(chunk, (size_t)n) ? 0 : fs_write_at(fd, offset + at, chunk, (size_t)n, e);
		if (r < 0)
			return err_in(e, r, "%s", from);
		at += (uint64_t)n;
	}
	if (n < 0)
		return err_errno(e, "%s", from);
	const off_t end = lseek(fd, 0, SEEK_END);
	if (end < 0 || ((uint64_t)end < offset + at && ftruncate(fd, (off_t)(offset + at)) < 0))
		return err_errno(e, "%s", from);
	return 0;
}

/* --- programs ------------------------------------------------------------------------------------------------------------- */

int image_run(const struct image_job *job, const char *const *argv, const char *const *env,
	      const struct toolroot_bind *binds, size_t n, struct buf *out, struct err *e)
{
	_cleanup_free_ struct toolroot_bind *all = xcalloc(n + 1, sizeof(*all));

	all[0] = (struct toolroot_bind){.host = job->work_path, .inside = INSIDE, .writable = true};
	for (size_t i = 0; i < n; i++)
		all[i + 1] = binds[i];
	const struct toolroot_job run = {
		.argv = argv,
		.env = env,
		.binds = all,
		.n_binds = n + 1,
		.dir = INSIDE,
		.out = out,
		.time = job->time,
	};
	struct err own = ERR_INIT;
	int r = toolroot_run(job->tools, &run, &own);
	if (r == -ERR_CHILD && own.text && strstr(own.text, "No space left"))
		r = err_as(&own, -ERR_SPACE);
	err_move(e, &own);
	return r;
}

int image_compress(const struct image_job *job, enum codec codec, const char *from, const char *to, struct err *e)
{
	/* the window of level 19 is 8 MiB, which a kernel can unpack */
	const char *gzip[] = {"sh", "-c", "exec gzip -9n <\"$1\" >\"$2\"", "gzip", from, to, NULL};
	const char *zstd[] = {"zstd", "-19", "-q", "-T0", "--no-check", from, "-o", to, NULL};

	if (codec == CODEC_NONE)
		return renameat(job->work, from, job->work, to) < 0 ? err_errno(e, "%s", to) : 0;
	return image_run(job, codec == CODEC_GZIP ? gzip : zstd, NULL, NULL, 0, NULL, e);
}
