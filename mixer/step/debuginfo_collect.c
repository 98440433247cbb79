/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/rules.h"
#include "mixer/step/debuginfo.h"
#include "mixer/step/debuginfo_elf.h"
#include "mixer/step/program.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/table.h"
#include "swupd/base/ui.h"
#include "swupd/base/work.h"

#define ELF_SMALLEST 52 /* bytes: the header of 32 bits */
#define SHOWN        5  /* files without a build-id that the error names; the others are notes */

/* A file that may be ELF. */
struct candidate {
	const struct node *node;
	struct debuginfo_elf elf;
	bool is_elf, is_known; /* known: from the list of the release before */
	char *damaged;
};

struct candidates {
	struct candidate *items;
	size_t n, cap;
};

struct collecting {
	const struct mix *m;
	const struct lock *lock;
	struct candidates files, debugs;
	struct table *by_id; /* debugs */
	struct table *known; /* hash → struct debuginfo_file of the release before */
	struct debuginfo *before, *out;
};

static void candidates_clear(struct candidates *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->items[i].damaged);
	free(c->items);
}

static void collecting_clear(struct collecting *c)
{
	candidates_clear(&c->files);
	candidates_clear(&c->debugs);
	table_free(c->by_id);
	table_free(c->known);
	debuginfo_free(c->before);
	debuginfo_free(c->out);
}

/* --- which files ------------------------------------------------------------------------------------------------------- */

/* Of equal files one, by the store's hash. */
static void add_candidates(struct candidates *c, const struct tree *t, bool debug)
{
	_cleanup_(table_freep) struct table *seen = table_new();

	for (size_t i = 0; i < t->n; i++) {
		const struct node *n = &t->nodes[i];
		if (n->attrs.kind != KIND_FILE || n->attrs.size < ELF_SMALLEST ||
		    text_starts(n->path, DEBUGINFO_FILES) != debug || text_starts(n->path, DEBUGINFO_SOURCES) ||
		    table_add(seen, &n->hash, sizeof(n->hash), (void *)n))
			continue;
		VEC_GROW(c->items, c->n, c->cap);
		c->items[c->n++] = (struct candidate){.node = n};
	}
}

static int read_one(const struct mix *m, struct candidate *x, struct err *e)
{
	struct err why = ERR_INIT;
	_cleanup_close_ int fd = store_get_fd(m->store, &x->node->hash, e);

	if (fd < 0)
		return err_in(e, fd, "%s", x->node->path);
	int r = debuginfo_elf_read(fd, &x->elf, &why);
	x->is_elf = r != 0;
	if (r < 0)
		x->damaged = xstrdup(why.text);
	err_clear(&why);
	return 0;
}

static int read_file(void *arg, size_t i, struct err *e)
{
	struct collecting *c = arg;
	struct candidate *x = &c->files.items[i];
	const struct debuginfo_file *known = table_find(c->known, &x->node->hash, sizeof(struct digest));

	progress_add(c->m->progress, 1);
	/* what explained itself, as content of a bundle may, has to be looked at again: the list does not say so */
	if (!known || !*known->id || !*known->package || strcmp(known->by, known->package) == 0)
		return read_one(c->m, x, e);
	x->is_elf = x->is_known = true;
	memcpy(x->elf.id, known->id, strlen(known->id) + 1);
	return 0;
}

static int read_debug(void *arg, size_t i, struct err *e)
{
	struct collecting *c = arg;

	progress_add(c->m->progress, 1);
	return read_one(c->m, &c->debugs.items[i], e);
}

static void load_known(struct collecting *c)
{
	c->known = table_new();
	/* what cannot be read is only read anew */
	if (!c->m->previous || debuginfo_load(c->m, c->m->previous, &c->before, NULL) < 0)
		return;
	for (size_t i = 0; i < c->before->n_files; i++)
		(void)table_add(c->known, &c->before->files[i].hash, sizeof(struct digest), &c->before->files[i]);
}

static int read_all(struct collecting *c, const struct release_trees *trees, struct err *e)
{
	load_known(c);
	add_candidates(&c->files, trees->full, false);
	add_candidates(&c->debugs, trees->debug, true);
	program_init();
	progress_stage(c->m->progress, "build-ids", c->files.n + c->debugs.n, false);
	int r = work_each(c->m->config->threads, c->files.n, read_file, c, e);
	return r < 0 ? r : work_each(c->m->config->threads, c->debugs.n, read_debug, c, e);
}

/* --- build-ids ---------------------------------------------------------------------------------------------------------- */

/* Objects for a linker become part of something; modules of the kernel run as they are. */
static bool is_program(const struct candidate *x)
{
	if (!x->is_elf)
		return false;
	return x->is_known || x->damaged || x->elf.type == ET_EXEC || x->elf.type == ET_DYN ||
	       (x->elf.type == ET_REL && text_ends(x->node->path, ".ko"));
}

static bool is_allowed(const struct bundle_set *set, const char *path)
{
	for (size_t i = 0; i < set->n; i++)
		for (size_t k = 0; k < set->items[i]->no_build_ids.n; k++)
			if (rules_match(set->items[i]->no_build_ids.items[k], path))
				return true;
	return false;
}

static int check_ids(const struct collecting *c, const struct bundle_set *set, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	size_t n = 0;

	for (size_t i = 0; i < c->files.n; i++) {
		const struct candidate *x = &c->files.items[i];
		if (!is_program(x) || *x->elf.id || is_allowed(set, x->node->path))
			continue;
		const char *why = x->damaged ? x->damaged : "no build-id";
		if (n++ < SHOWN)
			buf_printf(&text, "%s%s (%s): %s", n > 1 ? "; " : "", x->node->path, x->node->origin, why);
		ui_note(c->m->ui, "%s (%s): %s", x->node->path, x->node->origin, why);
	}
	if (n == 0)
		return 0;
	if (n > SHOWN)
		buf_printf(&text, "; and %zu more", n - SHOWN);
	return err_hint(
		e, err_set(e, -ERR_INCOMPLETE, "%s", text.data),
		"link with -Wl,--build-id; or 'no-build-id(PATH)' in a bundle says that it is known (bundle(5))");
}

/* --- what explains them ----------------------------------------------------------------------------------------------- */

static const struct locked_package *find_package(const struct collecting *c, const char *name, const char *suffix)
{
	_cleanup_free_ char *full = xasprintf("%s%s", name, suffix);

	return lock_find(c->lock, full);
}

/* Why nobody explains it. */
static const char *say_why(const struct collecting *c, const struct candidate *x)
{
	const char *name = x->node->origin;
	const struct locked_package *own = lock_find(c->lock, name), *debug = find_package(c, name, "-dbgsym");
	_cleanup_free_ char *text = NULL;

	debug = debug ? debug : find_package(c, name, "-dbg");
	if (!*x->elf.id)
		return "it has no build-id";
	if (!c->m->config->debuginfo)
		return "debuginfo = no in mixer.conf";
	if (!own)
		return "it comes from no package";
	if (debug)
		text = xasprintf("%s %s is of another build", debug->name, debug->version);
	else
		text = xasprintf("no repository has %s-dbgsym %s", name, own->version);
	return arena_strdup(c->out->arena, text);
}

/* The folder of texts that goes with a package; "": none. */
static const char *find_folder(const struct collecting *c, const char *package, const struct tree *debug)
{
	const struct locked_package *p = lock_find(c->lock, package);
	const struct locked_package *texts = p ? find_package(c, p->source, "-dbgsrc") : NULL;

	for (size_t i = 0; texts && i < debug->n; i++) {
		const struct node *n = &debug->nodes[i];
		if (n->attrs.kind != KIND_FILE || !text_starts(n->path, DEBUGINFO_SOURCES) ||
		    strcmp(n->origin, texts->name) != 0)
			continue;
		const char *folder = n->path + strlen(DEBUGINFO_SOURCES), *end = strchr(folder, '/');
		if (end)
			return arena_strndup(c->out->arena, folder, (size_t)(end - folder));
	}
	return "";
}

static void add_debug(struct collecting *c, struct table *added, const struct candidate *x, const struct tree *debug)
{
	struct debuginfo *d = c->out;
	const char *id = arena_strdup(d->arena, x->elf.id);

	if (table_add_str(added, id, (void *)id))
		return;
	VEC_GROW(d->debugs, d->n_debugs, d->cap_debugs);
	d->debugs[d->n_debugs++] = (struct debuginfo_debug){
		.id = id,
		.attrs = x->node->attrs,
		.hash = x->node->hash,
		.folder = find_folder(c, x->node->origin, debug),
	};
	/* what dwz has moved out is asked for by its own build-id */
	const struct candidate *alt = *x->elf.alt ? table_find_str(c->by_id, x->elf.alt) : NULL;
	if (alt && strcmp(alt->elf.id, x->elf.id) != 0)
		add_debug(c, added, alt, debug);
}

static const char *package_of(const struct candidate *x)
{
	return text_starts(x->node->origin, "bundle ") || strcmp(x->node->origin, "generated") == 0 ? ""
												    : x->node->origin;
}

static void add_file(struct collecting *c, struct table *added, const struct candidate *x, const struct tree *debug)
{
	struct debuginfo *d = c->out;
	const struct candidate *by = *x->elf.id ? table_find_str(c->by_id, x->elf.id) : NULL;

	if (!by && x->elf.has_debug && *x->elf.id && c->m->config->debuginfo)
		by = x;
	if (by)
		add_debug(c, added, by, debug);
	VEC_GROW(d->files, d->n_files, d->cap_files);
	d->files[d->n_files++] = (struct debuginfo_file){
		.id = arena_strdup(d->arena, x->elf.id),
		.attrs = x->node->attrs,
		.hash = x->node->hash,
		.by = by ? arena_strdup(d->arena, by->node->origin) : "",
		.package = arena_strdup(d->arena, package_of(x)),
		.path = arena_strdup(d->arena, x->node->path),
		.why = by ? "" : say_why(c, x),
	};
}

/* A kernel's image is no ELF file, but perf and crash ask for its symbols all the same. */
static bool is_kernel(const struct candidate *x)
{
	const char *slash = strrchr(x->node->path, '/');

	return slash && text_starts(slash + 1, "vmlinux");
}

static int compare_debugs(const void *a, const void *b)
{
	return strcmp(((const struct debuginfo_debug *)a)->id, ((const struct debuginfo_debug *)b)->id);
}

static bool is_used(const struct debuginfo *d, const char *folder, size_t len)
{
	for (size_t i = 0; i < d->n_debugs; i++)
		if (strlen(d->debugs[i].folder) == len && strncmp(d->debugs[i].folder, folder, len) == 0)
			return true;
	return false;
}

static void add_texts(struct collecting *c, const struct tree *debug)
{
	struct debuginfo *d = c->out;
	const char *last = NULL;

	for (size_t i = 0; i < debug->n; i++) {
		const struct node *n = &debug->nodes[i];
		if (n->attrs.kind != KIND_FILE || !text_starts(n->path, DEBUGINFO_SOURCES))
			continue;
		const char *folder = n->path + strlen(DEBUGINFO_SOURCES), *end = strchr(folder, '/');
		if (!end)
			continue;
		if (!last || strncmp(last, folder, (size_t)(end - folder)) != 0 || last[end - folder]) {
			if (!is_used(d, folder, (size_t)(end - folder)))
				continue;
			last = arena_strndup(d->arena, folder, (size_t)(end - folder));
		}
		VEC_GROW(d->texts, d->n_texts, d->cap_texts);
		d->texts[d->n_texts++] = (struct debuginfo_text){
			.folder = last,
			.attrs = n->attrs,
			.hash = n->hash,
			.path = arena_strdup(d->arena, end + 1),
		};
	}
}

static void explain(struct collecting *c, const struct tree *debug)
{
	_cleanup_(table_freep) struct table *added = table_new();

	for (size_t i = 0; c->m->config->debuginfo && i < c->debugs.n; i++) {
		const struct candidate *x = &c->debugs.items[i];
		if (x->is_elf && !x->damaged && *x->elf.id)
			(void)table_add_str(c->by_id, x->elf.id, (void *)x);
	}
	for (size_t i = 0; i < c->files.n; i++)
		if (is_program(&c->files.items[i]))
			add_file(c, added, &c->files.items[i], debug);
	for (size_t i = 0; i < c->debugs.n; i++) {
		const struct candidate *x = &c->debugs.items[i];
		if (is_kernel(x) && table_find_str(c->by_id, x->elf.id) == x)
			add_debug(c, added, x, debug);
	}
	if (c->out->n_debugs > 1)
		qsort(c->out->debugs, c->out->n_debugs, sizeof(*c->out->debugs), compare_debugs);
	add_texts(c, debug);
}

/* What explains the release, in one digest. */
static void make_input(const struct mix *m, const struct lock *l, struct digest *out)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_puts(&b, m->config->debuginfo ? "yes\n" : "no\n");
	for (size_t i = 0; i < l->n_packages; i++)
		if (debuginfo_is_package(l->packages[i].name))
			buf_add(&b, &l->packages[i].sha256, sizeof(struct digest));
	sha256_mem(b.data, b.len, out);
}

bool debuginfo_is_current(const struct mix *m, uint32_t release, const struct lock *l)
{
	_cleanup_free_ char *path = xasprintf("update/releases/%u/debuginfo", release);
	_cleanup_(debuginfo_freep) struct debuginfo *d = NULL;
	struct digest input;
	char head[256];
	const char *end = head;

	/* each run asks, and lists may be long: the digest stands in the second line */
	_cleanup_close_ int fd = openat(m->config->dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, head, sizeof(head));
	for (unsigned i = 0; i < 2 && end && len > 0; i++) {
		end = memchr(end, '\n', (size_t)(head + len - end));
		end = end ? end + 1 : NULL;
	}
	make_input(m, l, &input);
	return len > 0 && end && debuginfo_parse(head, (size_t)(end - head), &d, NULL) >= 0 &&
	       digest_equal(&d->input, &input);
}

int debuginfo_collect(const struct mix *m, const struct bundle_set *set, const struct lock *l,
		      const struct release_trees *trees, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("update/releases/%u/debuginfo", m->release);
	_cleanup_(collecting_clear) struct collecting c = {
		.m = m, .lock = l, .by_id = table_new(), .out = debuginfo_new()};
	_cleanup_(buf_free) struct buf text = {0};

	int r = read_all(&c, trees, e);
	if (r >= 0)
		r = check_ids(&c, set, e);
	if (r < 0)
		return err_in(e, r, "release %u", m->release);
	explain(&c, trees->debug);
	make_input(m, l, &c.out->input);
	debuginfo_format(c.out, &text);
	return fs_save(m->config->dir, path, text.data, text.len, 0644, e);
}
