/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/debuginfo.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/json.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/layout.h"

#define WWW "update/www"
/* from buildid/<id>/source/usr/src/debug to the tree's debuginfo/ */
#define UP "../../../../../../"

struct publishing {
	const struct mix *m;
	int root;          /* of the tree's debuginfo/ */
	uint64_t n, bytes; /* that were not there */
};

/* A build-id and the name of a folder say all of a content, so that what has its size is there. */
static int place(void *arg, const char *path, const struct attrs *attrs, const struct digest *hash, struct err *e)
{
	struct publishing *p = arg;
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct stat st;

	progress_add(p->m->progress, 1);
	if (fstatat(p->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size == attrs->size)
		return 0;
	int r = fs_mkdirs(p->root, dir, 0755, e);
	if (r >= 0)
		r = store_link(p->m->store, hash, p->root, path, e);
	if (r == -ENOENT)
		return err_hint(e, r, "'mixer build bundles' brings it back into the cache");
	p->n++;
	p->bytes += attrs->size;
	return r;
}

/* All files of one build have the same texts: a link, not a copy for each of them. */
static int link_folder(int root, const struct debuginfo_debug *x, const char *name, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("buildid/%s/source" DEBUGINFO_SOURCES, x->id);
	_cleanup_free_ char *path = xasprintf("%s%s", dir, x->folder), *target = xasprintf(UP "%s", name);
	_cleanup_free_ char *new = xasprintf("%s.new", dir);
	char now[256];

	const ssize_t len = readlinkat(root, path, now, sizeof(now));
	if (len == (ssize_t)strlen(target) && memcmp(now, target, (size_t)len) == 0)
		return 0;
	int r = fs_mkdirs(root, dir, 0755, e);
	(void)unlinkat(root, new, 0);
	if (r >= 0 && (symlinkat(target, root, new) < 0 || renameat(root, new, root, path) < 0))
		r = err_errno(e, "%s", path);
	return r;
}

int debuginfo_link(const struct debuginfo *d, int root, struct err *e)
{
	int r = 0;

	for (size_t i = 0, end; r >= 0 && i < d->n_texts; i = end) {
		end = debuginfo_folder_end(d, i);
		_cleanup_free_ char *name = debuginfo_folder(&d->texts[i], end - i);
		for (size_t k = 0; r >= 0 && k < d->n_debugs; k++)
			if (strcmp(d->debugs[k].folder, d->texts[i].folder) == 0)
				r = link_folder(root, &d->debugs[k], name, e);
	}
	return r;
}

/* --- the index ----------------------------------------------------------------------------------------------------------- */

static void add_word(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, ", \"%s\": ", key);
	json_string(out, value);
}

static void add_json(const struct debuginfo *d, uint32_t release, struct buf *out)
{
	buf_printf(out, "{\n  \"release\": %u,\n  \"files\": [", release);
	for (size_t i = 0; i < d->n_files; i++) {
		const struct debuginfo_file *f = &d->files[i];
		buf_printf(out, "%s\n    {\"path\": ", i ? "," : "");
		json_string(out, f->path);
		add_word(out, "package", f->package);
		add_word(out, "build_id", f->id);
		buf_printf(out, ", \"bytes\": %llu, \"covered\": %s", (unsigned long long)f->attrs.size,
			   *f->by ? "true" : "false");
		add_word(out, *f->by ? "by" : "why", *f->by ? f->by : f->why);
		buf_putc(out, '}');
	}
	buf_puts(out, "\n  ]\n}\n");
}

static int save_text(int dir, uint32_t release, const char *name, const struct buf *text, struct err *e)
{
	_cleanup_free_ char *path = layout_release_file(release, name);

	return fs_save(dir, path, text->data, text->len, 0644, e);
}

int debuginfo_save_index(const struct debuginfo *d, int www, uint32_t release, struct err *e)
{
	_cleanup_(buf_free) struct buf json = {0}, list = {0};

	add_json(d, release, &json);
	debuginfo_format(d, &list);
	int r = save_text(www, release, "debuginfo.json", &json, e);
	/* who has the list has all that it names */
	return r < 0 ? r : save_text(www, release, DEBUGINFO_LIST, &list, e);
}

static size_t count(const struct debuginfo *d)
{
	size_t n = d->n_debugs + d->n_texts;

	for (size_t i = 0; i < d->n_files; i++)
		n += *d->files[i].by != '\0';
	return n;
}

int debuginfo_publish(const struct mix *m, struct err *e)
{
	_cleanup_(debuginfo_freep) struct debuginfo *d = NULL;
	struct publishing p = {.m = m, .root = -1};
	_cleanup_close_ int www = fs_make_dir(m->config->dir, WWW, 0755, e);

	if (www < 0)
		return www;
	int r = debuginfo_load(m, m->release, &d, e);
	if (r == -ENOENT) {
		err_clear(e);
		return 0; /* populated by a mixer that did not look */
	}
	if (r < 0)
		return r;
	if (d->n_debugs) {
		_cleanup_close_ int root = p.root = fs_make_dir(www, "debuginfo", 0755, e);
		progress_stage(m->progress, "debug information", count(d), false);
		r = root < 0 ? root : debuginfo_each(d, place, &p, e);
		if (r >= 0)
			r = debuginfo_link(d, root, e);
		if (r >= 0 && p.n && syncfs(root) < 0)
			r = err_errno(e, "debuginfo");
	}
	if (r >= 0)
		r = debuginfo_save_index(d, www, m->release, e);
	if (r < 0)
		return err_in(e, r, "cannot publish the debug information of release %u", m->release);
	_cleanup_free_ char *size = text_size(p.bytes);
	if (p.n)
		ui_message(m->ui, "debug information: %llu files, %s", (unsigned long long)p.n, size);
	return 0;
}
