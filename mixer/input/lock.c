/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/lock.h"

#include <stdlib.h>
#include <string.h>

#include "mixer/input/config.h"
#include "mixer/input/stanza.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"

#define LOCK_NAME  "mixer.lock"
#define TOOLS_NAME "tools.lock"
#define LOCK_FIRST "limpid-lock 1"
#define LOCK_MAX   (64UL << 20) /* bytes: 60000 packages of 300 bytes, three times */
#define ID_MAX     999          /* SYS_UID_MAX of Debian */
#define ID_MIN     100

struct lock *lock_new(void)
{
	struct lock *l = xcalloc(1, sizeof(*l));

	l->arena = arena_new();
	return l;
}

void lock_free(struct lock *l)
{
	if (!l)
		return;
	free(l->archives);
	free(l->packages);
	free(l->bundles);
	free(l->ids);
	free(l->source.files);
	arena_free(l->arena);
	free(l);
}

/* Split at single blanks into exactly n fields, in place; the last takes the rest of the line. False: there are fewer. */
static bool split(char *line, char **fields, size_t n)
{
	char *s = line;

	for (size_t i = 0; i < n; i++) {
		fields[i] = s;
		char *blank = i + 1 < n ? strchr(s, ' ') : s + strlen(s);
		if (!blank || blank == s)
			return false;
		if (*blank)
			*blank++ = '\0';
		s = blank;
	}
	return true;
}

static int too_short(const char *line, size_t n, struct err *e)
{
	return err_set(e, -ERR_FORMAT, "'%s' must have %zu words", line, n);
}

static int parse_digest(const char *hex, struct digest *out, struct err *e)
{
	if (strlen(hex) != DIGEST_HEX - 1 || digest_parse(hex, out) < 0)
		return err_set(e, -ERR_FORMAT, "'%s' is no SHA-256", hex);
	return 0;
}

static int parse_time(struct lock *l, char *line, struct err *e)
{
	char *f[2];
	uint64_t t;

	if (!split(line, f, 2))
		return too_short(line, 2, e);
	if (text_u64(f[1], 0, INT64_MAX, &t) < 0)
		return err_set(e, -ERR_FORMAT, "'%s' is no time", f[1]);
	l->time = (int64_t)t;
	return 0;
}

static int parse_input(struct lock *l, char *line, struct err *e)
{
	char *f[2];

	if (!split(line, f, 2))
		return too_short(line, 2, e);
	return parse_digest(f[1], &l->input, e);
}

static int parse_archive(struct lock *l, char *line, struct err *e)
{
	struct locked_archive a;
	char *f[5];

	if (!split(line, f, 5))
		return too_short(line, 5, e);
	int r = parse_digest(f[3], &a.inrelease, e);
	if (r < 0)
		return r;
	a.name = f[1];
	a.suite = f[2];
	a.date = f[4];
	VEC_GROW(l->archives, l->n_archives, l->cap_archives);
	l->archives[l->n_archives++] = a;
	return 0;
}

static int parse_package(struct lock *l, char *line, struct err *e)
{
	struct locked_package p;
	char *f[10];

	if (!split(line, f, 10))
		return too_short(line, 10, e);
	int r = parse_digest(f[4], &p.sha256, e);
	if (r < 0)
		return r;
	if (text_u64(f[5], 1, INT64_MAX, &p.size) < 0)
		return err_set(e, -ERR_FORMAT, "'%s' is no size of a package", f[5]);
	/* it becomes part of a URL or of a path below a directory of ours */
	if (f[9][0] == '/' || text_starts(f[9], "../") || strstr(f[9], "/../"))
		return err_set(e, -ERR_FORMAT, "'%s' is no name of a package's file", f[9]);
	p.name = f[1];
	p.version = f[2];
	p.arch = f[3];
	p.repository = f[6];
	p.source = f[7];
	p.source_version = f[8];
	p.file = f[9];
	VEC_GROW(l->packages, l->n_packages, l->cap_packages);
	l->packages[l->n_packages++] = p;
	return 0;
}

static int parse_bundle(struct lock *l, char *line, struct err *e)
{
	struct locked_bundle b = {0};
	size_t words = 1;
	char *f[3];

	for (const char *s = line; *s; s++)
		words += *s == ' ';
	if (words < 2 || !split(line, f, MIN(words, (size_t)3)))
		return err_set(e, -ERR_FORMAT, "a bundle without a name");
	b.name = f[1];
	b.packages = arena_alloc(l->arena, words * sizeof(*b.packages));
	for (char *s = words > 2 ? f[2] : NULL, *blank; s; s = blank) {
		blank = strchr(s, ' ');
		if (blank)
			*blank++ = '\0';
		if (!*s)
			return err_set(e, -ERR_FORMAT, "bundle %s has a package without a name", b.name);
		b.packages[b.n_packages++] = s;
	}
	VEC_GROW(l->bundles, l->n_bundles, l->cap_bundles);
	l->bundles[l->n_bundles++] = b;
	return 0;
}

static int parse_id(struct lock *l, char *line, struct err *e)
{
	struct locked_id id;
	char *f[4];

	if (!split(line, f, 4))
		return too_short(line, 4, e);
	if ((strcmp(f[1], "user") != 0 && strcmp(f[1], "group") != 0) || text_u32(f[3], 0, UINT32_MAX - 1, &id.id) < 0)
		return err_set(e, -ERR_FORMAT, "'%s %s %s' is no 'user NAME NUMBER' or 'group NAME NUMBER'", f[1], f[2],
			       f[3]);
	id.kind = f[1];
	id.name = f[2];
	VEC_GROW(l->ids, l->n_ids, l->cap_ids);
	l->ids[l->n_ids++] = id;
	return 0;
}

static int parse_source(struct lock *l, char *line, struct err *e)
{
	char *f[5];

	if (!split(line, f, 5))
		return too_short(line, 5, e);
	if (l->source.name)
		return err_set(e, -ERR_FORMAT, "there are two sources");
	if (!stanza_is_place(f[4]))
		return err_set(e, -ERR_FORMAT, "'%s' is no folder of an archive", f[4]);
	/* they become names of files */
	if (strchr(f[1], '/') || strchr(f[2], '/'))
		return err_set(e, -ERR_FORMAT, "'%s %s' is no source", f[1], f[2]);
	l->source.name = f[1];
	l->source.version = f[2];
	l->source.repository = f[3];
	l->source.directory = f[4];
	return 0;
}

static int parse_file(struct lock *l, char *line, struct err *e)
{
	struct locked_source *s = &l->source;
	struct source_file file;
	char *f[4];

	if (!split(line, f, 4))
		return too_short(line, 4, e);
	int r = parse_digest(f[1], &file.sha256, e);
	if (r < 0)
		return r;
	if (text_u64(f[2], 1, INT64_MAX, &file.size) < 0)
		return err_set(e, -ERR_FORMAT, "'%s' is no size of a file", f[2]);
	if (!stanza_is_word(f[3]) || strchr(f[3], '/') || f[3][0] == '.')
		return err_set(e, -ERR_FORMAT, "'%s' is no name of a source's file", f[3]);
	file.name = f[3];
	VEC_GROW(s->files, s->n_files, s->cap_files);
	s->files[s->n_files++] = file;
	return 0;
}

static int parse_line(struct lock *l, char *line, struct err *e)
{
	static const struct {
		const char *word;
		int (*parse)(struct lock *l, char *line, struct err *e);
	} words[] = {{"time ", parse_time},       {"input ", parse_input},   {"archive ", parse_archive},
		     {"package ", parse_package}, {"bundle ", parse_bundle}, {"id ", parse_id},
		     {"source ", parse_source},   {"file ", parse_file}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (text_starts(line, words[i].word))
			return words[i].parse(l, line, e);
	return err_set(e, -ERR_FORMAT, "'%s' is no line of a lock", line);
}

static int compare_archives(const void *a, const void *b)
{
	return strcmp(((const struct locked_archive *)a)->name, ((const struct locked_archive *)b)->name);
}

static int compare_packages(const void *a, const void *b)
{
	return strcmp(((const struct locked_package *)a)->name, ((const struct locked_package *)b)->name);
}

static int compare_bundles(const void *a, const void *b)
{
	return strcmp(((const struct locked_bundle *)a)->name, ((const struct locked_bundle *)b)->name);
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct source_file *)a)->name, ((const struct source_file *)b)->name);
}

static int compare_ids(const void *a, const void *b)
{
	const struct locked_id *x = a, *y = b;
	int r = strcmp(x->kind, y->kind);

	return r ? r : strcmp(x->name, y->name);
}

/* qsort wants a pointer even for nothing */
static void sort_list(void *items, size_t n, size_t size, int (*compare)(const void *, const void *))
{
	if (n > 1)
		qsort(items, n, size, compare);
}

static void sort(const struct lock *l)
{
	sort_list(l->archives, l->n_archives, sizeof(*l->archives), compare_archives);
	sort_list(l->packages, l->n_packages, sizeof(*l->packages), compare_packages);
	sort_list(l->bundles, l->n_bundles, sizeof(*l->bundles), compare_bundles);
	sort_list(l->ids, l->n_ids, sizeof(*l->ids), compare_ids);
	sort_list(l->source.files, l->source.n_files, sizeof(*l->source.files), compare_files);
	for (size_t i = 0; i < l->n_bundles; i++)
		sort_list(l->bundles[i].packages, l->bundles[i].n_packages, sizeof(char *), text_compare);
}

/* Each name once, and every package of a bundle must be locked: later steps rely on it. */
static int check(const struct lock *l, struct err *e)
{
	if (!l->source.name != !l->source.n_files)
		return err_set(e, -ERR_FORMAT, "a source has files, and files a source");
	for (size_t i = 1; i < l->n_packages; i++)
		if (compare_packages(&l->packages[i - 1], &l->packages[i]) == 0)
			return err_set(e, -ERR_FORMAT, "package %s is locked twice", l->packages[i].name);
	for (size_t i = 1; i < l->n_ids; i++)
		if (compare_ids(&l->ids[i - 1], &l->ids[i]) == 0)
			return err_set(e, -ERR_FORMAT, "%s %s has two numbers", l->ids[i].kind, l->ids[i].name);
	for (size_t i = 0; i < l->n_bundles; i++) {
		const struct locked_bundle *b = &l->bundles[i];
		if (i && compare_bundles(b - 1, b) == 0)
			return err_set(e, -ERR_FORMAT, "bundle %s is there twice", b->name);
		for (size_t k = 0; k < b->n_packages; k++)
			if (!lock_find(l, b->packages[k]))
				return err_set(e, -ERR_FORMAT, "bundle %s has package %s, which is not locked", b->name,
					       b->packages[k]);
	}
	return 0;
}

int lock_parse(const char *text, size_t len, struct lock **out, struct err *e)
{
	_cleanup_(lock_freep) struct lock *l = lock_new();
	const char *pos = text, *line;
	bool complete = true;
	size_t n;

	for (unsigned number = 1; text_line(&pos, text + len, &line, &n, &complete); number++) {
		char *copy = arena_strndup(l->arena, line, n);
		int r = 0;
		if (memchr(line, '\0', n) || !complete)
			r = err_set(e, -ERR_FORMAT, "the line is damaged or cut off");
		else if (number == 1)
			r = strcmp(copy, LOCK_FIRST) == 0
				    ? 0
				    : err_set(e, -ERR_FORMAT, "does not begin with '" LOCK_FIRST "'");
		else if (*copy && *copy != '#')
			r = parse_line(l, copy, e);
		if (r < 0)
			return err_in(e, r, "line %u", number);
	}
	if (len == 0)
		return err_set(e, -ERR_FORMAT, "it is empty");
	sort(l);
	int r = check(l, e);
	if (r < 0)
		return r;
	*out = take(l);
	return 0;
}

void lock_format(const struct lock *l, struct buf *out)
{
	char hex[DIGEST_HEX];

	sort(l);
	digest_format(&l->input, hex);
	buf_printf(out, LOCK_FIRST "\ntime %lld\ninput %s\n", (long long)l->time, hex);
	for (size_t i = 0; i < l->n_archives; i++) {
		const struct locked_archive *a = &l->archives[i];
		digest_format(&a->inrelease, hex);
		buf_printf(out, "archive %s %s %s %s\n", a->name, a->suite, hex, a->date);
	}
	if (l->source.name)
		buf_printf(out, "source %s %s %s %s\n", l->source.name, l->source.version, l->source.repository,
			   l->source.directory);
	for (size_t i = 0; i < l->source.n_files; i++) {
		const struct source_file *f = &l->source.files[i];
		digest_format(&f->sha256, hex);
		buf_printf(out, "file %s %llu %s\n", hex, (unsigned long long)f->size, f->name);
	}
	for (size_t i = 0; i < l->n_packages; i++) {
		const struct locked_package *p = &l->packages[i];
		digest_format(&p->sha256, hex);
		buf_printf(out, "package %s %s %s %s %llu %s %s %s %s\n", p->name, p->version, p->arch, hex,
			   (unsigned long long)p->size, p->repository, p->source, p->source_version, p->file);
	}
	for (size_t i = 0; i < l->n_bundles; i++) {
		const struct locked_bundle *b = &l->bundles[i];
		buf_printf(out, "bundle %s", b->name);
		for (size_t k = 0; k < b->n_packages; k++)
			buf_printf(out, " %s", b->packages[k]);
		buf_putc(out, '\n');
	}
	for (size_t i = 0; i < l->n_ids; i++)
		buf_printf(out, "id %s %s %u\n", l->ids[i].kind, l->ids[i].name, l->ids[i].id);
}

static int load(const struct config *c, const char *name, const char *command, struct lock **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(c->dir, name, LOCK_MAX, &text, e);
	if (r == -ENOENT) {
		r = err_set(e, r, "there is no %s yet", name);
		return err_hint(e, r, "'%s' makes it", command);
	}
	if (r < 0)
		return r;
	r = lock_parse(text.data, text.len, out, e);
	return r < 0 ? err_in(e, r, "%s", name) : r;
}

static int save(const struct config *c, const char *name, const struct lock *l, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	lock_format(l, &text);
	return fs_save(c->dir, name, text.data, text.len, 0644, e);
}

int lock_load(const struct config *c, struct lock **out, struct err *e)
{
	return load(c, LOCK_NAME, "mixer lock", out, e);
}

int lock_save(const struct config *c, struct lock *l, struct err *e)
{
	return save(c, LOCK_NAME, l, e);
}

int lock_load_tools(const struct config *c, struct lock **out, struct err *e)
{
	return load(c, TOOLS_NAME, "mixer tools lock", out, e);
}

int lock_save_tools(const struct config *c, const struct lock *l, struct err *e)
{
	return save(c, TOOLS_NAME, l, e);
}

int lock_load_recipe(const struct config *c, const char *name, struct lock **out, struct err *e)
{
	_cleanup_free_ char *file = xasprintf(LOCK_RECIPES "/%s", name),
			    *command = xasprintf("mixer package lock %s", name);

	int r = load(c, file, command, out, e);
	if (r >= 0 && !(*out)->source.name) {
		lock_free(take(*out));
		r = err_set(e, -ERR_FORMAT, "%s: it has no source", file);
	}
	return r;
}

bool lock_has_recipe(const struct config *c, const char *name)
{
	_cleanup_free_ char *file = xasprintf(LOCK_RECIPES "/%s", name);

	return fs_exists(c->dir, file);
}

int lock_save_recipe(const struct config *c, const char *name, const struct lock *l, struct err *e)
{
	_cleanup_free_ char *file = xasprintf(LOCK_RECIPES "/%s", name);

	int r = fs_mkdirs(c->dir, LOCK_RECIPES, 0755, e);
	return r < 0 ? r : save(c, file, l, e);
}

const struct locked_package *lock_find(const struct lock *l, const char *name)
{
	const struct locked_package key = {.name = name};

	return l->n_packages ? bsearch(&key, l->packages, l->n_packages, sizeof(key), compare_packages) : NULL;
}

const struct locked_bundle *lock_find_bundle(const struct lock *l, const char *name)
{
	const struct locked_bundle key = {.name = name};

	return l->n_bundles ? bsearch(&key, l->bundles, l->n_bundles, sizeof(key), compare_bundles) : NULL;
}

bool lock_is_shipped(const struct lock *l, const char *name)
{
	for (size_t i = 0; i < l->n_bundles; i++) {
		const struct locked_bundle *b = &l->bundles[i];
		if (b->n_packages && bsearch(&name, b->packages, b->n_packages, sizeof(*b->packages), text_compare))
			return true;
	}
	return false;
}

int lock_id(struct lock *l, const char *kind, const char *name, uint32_t *out, struct err *e)
{
	bool taken[ID_MAX + 1] = {false}, taken_by_kind[ID_MAX + 1] = {false};
	uint32_t wish = 0;

	for (size_t i = 0; i < l->n_ids; i++) {
		const struct locked_id *id = &l->ids[i];
		bool same_kind = strcmp(id->kind, kind) == 0, same_name = strcmp(id->name, name) == 0;
		if (same_kind && same_name) {
			*out = id->id;
			return 0;
		}
		if (same_name)
			wish = id->id;
		if (id->id <= ID_MAX) {
			taken[id->id] = true;
			taken_by_kind[id->id] |= same_kind;
		}
	}
	if (wish < ID_MIN || wish > ID_MAX || taken_by_kind[wish])
		for (wish = ID_MAX; wish >= ID_MIN && taken[wish]; wish--)
			;
	if (wish < ID_MIN)
		return err_set(e, -ERR_LIMIT, "no number from %d to %d is left for %s '%s'", ID_MIN, ID_MAX, kind,
			       name);
	VEC_GROW(l->ids, l->n_ids, l->cap_ids);
	l->ids[l->n_ids++] = (struct locked_id){
		.kind = strcmp(kind, "user") == 0 ? "user" : "group",
		.name = arena_strdup(l->arena, name),
		.id = wish,
	};
	*out = wish;
	return 0;
}
