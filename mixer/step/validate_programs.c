/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "mixer/step/objects.h"
#include "mixer/step/program.h"
#include "mixer/step/release.h"
#include "mixer/step/restore.h"
#include "mixer/step/step.h"
#include "mixer/step/validating.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"
#include "swupd/content/manifest.h"

/*
 * Does each bundle, with what it includes, have what its programs name? A library is looked for where ld.so does on a system without configuration:
 * the file's own run path, /usr/lib/<triplet>, /usr/lib. Names are matched, not symbols.
 */

#define LINKS_MAX 40 /* the kernel's limit */

struct checking {
	struct validating *v;
	struct release_trees *trees;
	struct objects *objects;
	const struct node **files; /* of each hash one */
	struct program *programs;  /* of files[i] */
	size_t n, cap;
	struct table *by_hash;  /* digest → program, which says anything */
	struct table **indexes; /* of each bundle's manifest */
};

/* What a system with one bundle has: it and all that it includes, as numbers. */
struct view {
	const struct checking *c;
	size_t *bundles;
	size_t n;
};

static const struct entry *view_find(const struct view *w, const char *path)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct entry *x = table_find_str(w->c->indexes[w->bundles[i]], path);
		if (x && x->kind != KIND_NONE)
			return x;
	}
	return NULL;
}

static void view_add(struct view *w, const char *name)
{
	const struct release *r = w->c->v->release;

	for (size_t b = 0; b < r->n; b++) {
		if (strcmp(r->mom->entries[b].name, name) != 0)
			continue;
		for (size_t i = 0; i < w->n; i++)
			if (w->bundles[i] == b)
				return;
		w->bundles[w->n++] = b;
		for (size_t i = 0; i < r->bundles[b]->n_includes; i++)
			view_add(w, r->bundles[b]->includes[i]);
		return;
	}
}

static void drop_last(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
}

/* /etc and the like are made on the machine; what is there is not ours to say. */
static bool is_outside(const char *path)
{
	_cleanup_free_ char *below = xasprintf("%s/x", path);

	return name_is_state(path) || name_is_state(below);
}

enum found { FOUND, NOWHERE, OUTSIDE };

/* Follow all links. *out: what is at the end, when it is FOUND. */
static enum found follow(const struct view *w, const char *path, const struct entry **out)
{
	_cleanup_free_ char *rest = xstrdup(path), *at = xstrdup("");
	const struct entry *x = NULL;
	char *pos = rest;

	for (int links = 0; pos && links <= LINKS_MAX;) {
		const char *word = strsep(&pos, "/");
		if (*word == '\0' || strcmp(word, ".") == 0)
			continue;
		if (strcmp(word, "..") == 0) {
			drop_last(at);
			continue;
		}
		char *next = xasprintf("%s/%s", at, word);
		free(at);
		at = next;
		if (is_outside(at))
			return OUTSIDE;
		x = view_find(w, at);
		if (!x || x->kind != KIND_LINK)
			continue;
		const struct node *n = objects_find(w->c->objects, &x->hash);
		if (!n || !n->link)
			return NOWHERE;
		char *then = xasprintf("%s/%s", n->link, pos ? pos : "");
		free(rest);
		rest = pos = then;
		links++;
		if (*n->link == '/')
			*at = '\0';
		else
			drop_last(at);
	}
	x = pos ? NULL : view_find(w, at);
	if (!x && (pos || *at))
		return NOWHERE;
	*out = x;
	return FOUND;
}

/* Is a library for this machine there? */
static bool has_library(const struct view *w, const struct program *p, const char *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	const struct entry *x = NULL;

	enum found f = follow(w, path, &x);
	if (f != FOUND)
		return f == OUTSIDE;
	const struct program *found = x ? table_find(w->c->by_hash, &x->hash, sizeof(x->hash)) : NULL;
	return found && found->kind == PROGRAM_ELF && found->machine == p->machine && found->wide == p->wide;
}

/* ld.so(8), "Dynamic string tokens" */
static char *expand(const char *folder, const char *origin, const struct program *p)
{
	const char *triplet = program_triplet(p);
	_cleanup_free_ char *lib = xasprintf("lib/%s", triplet ? triplet : "");
	const struct {
		const char *token, *value;
	} tokens[] = {{"${ORIGIN}", origin}, {"$ORIGIN", origin}, {"${LIB}", lib}, {"$LIB", lib}};
	_cleanup_(buf_free) struct buf out = {0};

	while (*folder) {
		size_t i = 0;
		while (i < ARRAY_LEN(tokens) && !text_starts(folder, tokens[i].token))
			i++;
		if (i < ARRAY_LEN(tokens)) {
			buf_puts(&out, tokens[i].value);
			folder += strlen(tokens[i].token);
		} else {
			buf_putc(&out, *folder++);
		}
	}
	buf_puts(&out, "");
	return take(out.data);
}

/* Anywhere in the view: something else may have loaded it before. */
static const char *find_name(const struct view *w, const char *name)
{
	_cleanup_free_ char *end = xasprintf("/%s", name);

	for (size_t i = 0; i < w->n; i++) {
		const struct manifest *m = w->c->v->release->bundles[w->bundles[i]];
		for (size_t k = 0; k < m->n_entries; k++)
			if (m->entries[k].kind != KIND_NONE && text_ends(m->entries[k].name, end))
				return m->entries[k].name;
	}
	return NULL;
}

static void check_needed(const struct view *w, const char *bundle, const struct entry *x, const struct program *p,
			 const char *needed)
{
	_cleanup_free_ char *origin = xstrdup(x->name);
	const char *triplet = program_triplet(p);
	_cleanup_free_ char *machine = triplet ? xasprintf("/usr/lib/%s", triplet) : NULL;

	drop_last(origin);
	/* a path is taken as it is */
	if (strchr(needed, '/') && has_library(w, p, "", needed))
		return;
	for (size_t i = 0; i < p->folders.n; i++) {
		_cleanup_free_ char *folder = expand(p->folders.items[i], origin, p);
		if (has_library(w, p, folder, needed))
			return;
	}
	if ((machine && has_library(w, p, machine, needed)) || has_library(w, p, "/usr/lib", needed) ||
	    has_library(w, p, "/usr/lib64", needed))
		return;
	const char *elsewhere = find_name(w, needed);
	if (elsewhere)
		note(w->c->v, "%s: %s needs %s, which is only in %s", bundle, x->name, needed, elsewhere);
	else
		finding(w->c->v, "%s: %s needs %s, which is not there", bundle, x->name, needed);
}

static void check_path(const struct view *w, const char *bundle, const struct entry *x, const char *path)
{
	const struct entry *end;

	if (follow(w, path, &end) == NOWHERE)
		finding(w->c->v, "%s: %s is run by %s, which is not there", bundle, x->name, path);
}

/* env looks in PATH; what is run without one is in /usr/bin or /usr/sbin */
static void check_command(const struct view *w, const char *bundle, const struct entry *x, const char *command)
{
	_cleanup_free_ char *bin = xasprintf("/usr/bin/%s", command), *sbin = xasprintf("/usr/sbin/%s", command);
	const struct entry *end;

	if (strchr(command, '/'))
		check_path(w, bundle, x, command);
	else if (follow(w, bin, &end) == NOWHERE && follow(w, sbin, &end) == NOWHERE)
		finding(w->c->v, "%s: %s is run by %s, which is not there", bundle, x->name, bin);
}

/* A module of a library that is also a program (Python's do so for tests of their own): it is there for those who import it. */
static bool is_module(const char *path)
{
	return (text_starts(path, "/usr/lib/") || text_starts(path, "/usr/share/")) &&
	       (text_ends(path, ".py") || text_ends(path, ".pm"));
}

/* A script that nobody may execute is read by something else; documentation has examples of all kinds. */
static bool is_run(const struct program *p, const char *path, const struct attrs *a)
{
	if (text_starts(path, "/usr/share/doc/"))
		return false;
	return p->kind != PROGRAM_SCRIPT || ((a->mode & 0111) && !is_module(path));
}

static void check_file(const struct view *w, const char *bundle, const struct entry *x, const struct node *n)
{
	const struct program *p = table_find(w->c->by_hash, &x->hash, sizeof(x->hash));

	if (!p || !is_run(p, x->name, &n->attrs))
		return;
	if (p->interpreter)
		check_path(w, bundle, x, p->interpreter);
	if (p->command)
		check_command(w, bundle, x, p->command);
	for (size_t i = 0; i < p->needed.n; i++)
		check_needed(w, bundle, x, p, p->needed.items[i]);
}

static int check_bundle(void *arg, size_t i, struct err *e)
{
	const struct checking *c = arg;
	const struct release *r = c->v->release;
	const char *name = r->mom->entries[i].name;
	struct view w = {.c = c, .bundles = xcalloc(r->n, sizeof(*w.bundles))};
	const struct entry *end;

	(void)e;
	progress_add(c->v->m->progress, 1);
	view_add(&w, name);
	for (size_t k = 0; k < r->bundles[i]->n_entries; k++) {
		const struct entry *x = &r->bundles[i]->entries[k];
		const struct node *n = x->kind == KIND_NONE ? NULL : objects_find(c->objects, &x->hash);
		if (!n)
			continue;
		if (x->kind == KIND_FILE)
			check_file(&w, name, x, n);
		else if (x->kind == KIND_LINK && follow(&w, x->name, &end) == NOWHERE)
			finding(c->v, "%s: %s leads to %s, which is not there", name, x->name, n->link);
	}
	free(w.bundles);
	return 0;
}

static int read_one(void *arg, size_t i, struct err *e)
{
	struct checking *c = arg;
	struct err why = ERR_INIT;
	int fd = store_get_fd(c->v->m->store, &c->files[i]->hash, e);

	progress_add(c->v->m->progress, 1);
	if (fd < 0)
		return err_in(e, fd, "%s", c->files[i]->path);
	if (program_read(fd, &c->programs[i], &why) < 0)
		finding(c->v, "%s: %s", c->files[i]->path, why.text);
	closep(&fd);
	err_clear(&why);
	return 0;
}

static int read_programs(struct checking *c, struct err *e)
{
	const struct tree *full = c->trees->full;
	_cleanup_(table_freep) struct table *seen = table_new();

	for (size_t i = 0; i < full->n; i++) {
		const struct node *n = &full->nodes[i];
		if (n->attrs.kind != KIND_FILE || table_add(seen, &n->hash, sizeof(n->hash), (void *)n))
			continue;
		VEC_GROW(c->files, c->n, c->cap);
		c->files[c->n++] = n;
	}
	int r = restore_content(c->v->m, c->files, c->n, &c->v->release, 1, e);
	if (r < 0)
		return r;
	program_init();
	c->programs = xcalloc(c->n, sizeof(*c->programs));
	progress_stage(c->v->m->progress, "read programs", c->n, false);
	r = work_each(c->v->m->config->threads, c->n, read_one, c, e);
	c->by_hash = table_new();
	for (size_t i = 0; i < c->n; i++)
		if (c->programs[i].kind != PROGRAM_NONE)
			(void)table_add(c->by_hash, &c->files[i]->hash, sizeof(struct digest), &c->programs[i]);
	return r;
}

static void checking_clear(struct checking *c)
{
	for (size_t i = 0; c->indexes && i < c->v->release->n; i++)
		table_free(c->indexes[i]);
	for (size_t i = 0; c->programs && i < c->n; i++)
		program_clear(&c->programs[i]);
	free(c->indexes);
	free(c->programs);
	free(c->files);
	table_free(c->by_hash);
	objects_free(c->objects);
	release_trees_free(c->trees);
}

int validate_programs(struct validating *v, struct err *e)
{
	_cleanup_(checking_clear) struct checking c = {.v = v, .objects = objects_new()};
	const uint32_t number = v->release->mom->release;
	_cleanup_free_ char *index = xasprintf("update/releases/%u/bundles", number);

	if (!fs_exists(v->m->config->dir, index)) {
		ui_message(v->m->ui, "update/releases/%u is not there any more: programs are not checked", number);
		return 0;
	}
	int r = release_trees_load(v->m, number, &c.trees, e);
	if (r < 0)
		return r;
	objects_add(c.objects, c.trees->full);
	r = read_programs(&c, e);
	if (r < 0)
		return r;
	c.indexes = xcalloc(v->release->n, sizeof(struct table *));
	for (size_t i = 0; i < v->release->n; i++)
		c.indexes[i] = manifest_index(v->release->bundles[i]);
	progress_stage(v->m->progress, "check programs", v->release->n, false);
	return work_each(v->m->config->threads, v->release->n, check_bundle, &c, e);
}
