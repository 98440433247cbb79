/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/bundle.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mixer/input/config.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/table.h"

#define DEFINITION_MAX   (1UL << 20) /* bytes: the largest known one has 12 KB */
#define BUNDLE_DEBUGINFO "-debuginfo"
#define MIXBUNDLES_NAME  "mixbundles"
#define NAME_CHARS       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+."

static bool is_name(const char *s)
{
	return *s && strspn(s, NAME_CHARS) == strlen(s);
}

bool bundle_name_valid(const char *name)
{
	return is_name(name) && name[0] != '.' && strcmp(name, "MoM") != 0 && strcmp(name, "full") != 0 &&
	       !text_ends(name, ".drop") && !text_ends(name, ".rules") && !text_ends(name, ".md");
}

void bundle_free(struct bundle *b)
{
	if (!b)
		return;
	free(b->name);
	free(b->title);
	free(b->description);
	free(b->status);
	free(b->capabilities);
	free(b->maintainer);
	strv_free(&b->includes);
	strv_free(&b->also_add);
	strv_free(&b->packages);
	strv_free(&b->contents);
	strv_free(&b->unexports);
	strv_free(&b->drops);
	strv_free(&b->keeps);
	strv_free(&b->initrds);
	strv_free(&b->no_build_ids);
	free(b->explains);
	free(b->file);
	free(b);
}

static void add_once(struct strv *v, const char *s)
{
	if (!strv_has(v, s))
		strv_add(v, s);
}

/* "# [TITLE]: os-core": the text of the header, or of no header that we know (NULL). s begins behind the '#'. */
static char **find_header(struct bundle *b, char *s, char **value)
{
	struct {
		const char *key;
		char **field;
	} headers[] = {{"TITLE", &b->title},
		       {"DESCRIPTION", &b->description},
		       {"STATUS", &b->status},
		       {"CAPABILITIES", &b->capabilities},
		       {"MAINTAINER", &b->maintainer}};

	s = text_trim(s);
	char *end = s[0] == '[' ? strchr(s, ']') : NULL;
	if (!end || end[1] != ':')
		return NULL;
	*end = '\0';
	*value = text_trim(end + 2);
	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		if (strcmp(s + 1, headers[i].key) == 0)
			return headers[i].field;
	return NULL;
}

static int add_path(struct strv *v, const char *folder, const char *path, struct err *e)
{
	if (!*path)
		return err_set(e, -ERR_FORMAT, "a path is missing between the parentheses");
	if (!folder && path[0] != '/')
		return err_set(e, -ERR_FORMAT, "'%s' must be an absolute path", path);
	strv_take(v, path_absolute(folder, path));
	return 0;
}

static int parse_directive(struct bundle *b, const char *folder, char *s, char *open, struct err *e)
{
	size_t len = strlen(s);

	if (s[len - 1] != ')')
		return err_set(e, -ERR_FORMAT, "'%s' must end in ')'", s);
	s[len - 1] = '\0';
	*open = '\0';
	const char *arg = text_trim(open + 1);
	if (strcmp(s, "alone") == 0) {
		b->alone = true;
		return *arg ? err_set(e, -ERR_FORMAT, "alone() takes nothing, not '%s'", arg) : 0;
	}
	if (strcmp(s, "initrd") == 0) {
		if (!bundle_name_valid(arg))
			return err_set(e, -ERR_FORMAT, "'%s' is no name of a configuration", arg);
		add_once(&b->initrds, arg);
		return 0;
	}
	if (strcmp(s, "content") == 0)
		return add_path(&b->contents, folder, arg, e);
	if (strcmp(s, "un-export") == 0)
		return add_path(&b->unexports, NULL, arg, e);
	if (strcmp(s, "drop") == 0 || strcmp(s, "keep") == 0)
		return add_path(*s == 'd' ? &b->drops : &b->keeps, NULL, arg, e);
	if (strcmp(s, "no-build-id") == 0)
		return add_path(&b->no_build_ids, NULL, arg, e);
	bool include = strcmp(s, "include") == 0;
	if (!include && strcmp(s, "also-add") != 0)
		return err_set(e, -ERR_FORMAT,
			       "'%s()' is none of include(), also-add(), alone(), content(), initrd(), drop(), keep(), "
			       "no-build-id(), un-export()",
			       s);
	if (!bundle_name_valid(arg))
		return err_set(e, -ERR_FORMAT, "'%s' is no name of a bundle", arg);
	add_once(include ? &b->includes : &b->also_add, arg);
	return 0;
}

static int parse_line(struct bundle *b, const char *folder, char *line, struct err *e)
{
	char *s = text_trim(line), *comment = strchr(s, '#'), *value;

	if (comment == s) {
		char **header = find_header(b, s + 1, &value);
		if (header) {
			free(*header);
			*header = xstrdup(value);
		}
		return 0;
	}
	if (comment) {
		*comment = '\0';
		s = text_trim(s);
	}
	if (!*s)
		return 0;
	char *open = strchr(s, '(');
	if (open)
		return parse_directive(b, folder, s, open, e);
	if (!is_name(s))
		return err_set(e, -ERR_FORMAT, "'%s' is neither a package nor a directive", s);
	add_once(&b->packages, s);
	return 0;
}

static int check_headers(const struct bundle *b, struct err *e)
{
	const char *const headers[][2] = {{"TITLE", b->title},
					  {"DESCRIPTION", b->description},
					  {"STATUS", b->status},
					  {"CAPABILITIES", b->capabilities},
					  {"MAINTAINER", b->maintainer}};

	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		if (!*headers[i][1])
			return err_set(e, -ERR_FORMAT, "the header '# [%s]: …' is missing or empty", headers[i][0]);
	if (strcmp(b->title, b->name) != 0)
		return err_set(e, -ERR_FORMAT, "TITLE is '%s', but the bundle's name is '%s'", b->title, b->name);
	return 0;
}

/* What is included needs no also-add */
static void drop_included(struct bundle *b)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->also_add.n; i++) {
		if (strv_has(&b->includes, b->also_add.items[i]))
			free(b->also_add.items[i]);
		else
			b->also_add.items[kept++] = b->also_add.items[i];
	}
	b->also_add.n = kept;
}

int bundle_parse(const char *text, size_t len, const char *name, const char *file, bool strict, struct bundle **out,
		 struct err *e)
{
	_cleanup_(bundle_freep) struct bundle *b = xcalloc(1, sizeof(*b));
	const char *pos = text, *line, *slash = strrchr(file, '/');
	_cleanup_free_ char *folder = slash ? xstrndup(file, (size_t)(slash - file)) : xstrdup(".");
	size_t n;

	b->name = xstrdup(name);
	b->file = xstrdup(file);
	b->title = xstrdup("");
	b->description = xstrdup("");
	b->status = xstrdup("");
	b->capabilities = xstrdup("");
	b->maintainer = xstrdup("");
	for (unsigned number = 1; text_line(&pos, text + len, &line, &n, NULL); number++) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		int r = memchr(line, '\0', n) ? err_set(e, -ERR_FORMAT, "the line has a NUL byte")
					      : parse_line(b, folder, copy, e);
		if (r < 0)
			return err_in(e, r, "%s:%u", file, number);
	}
	drop_included(b);
	if (b->alone && b->includes.n)
		return err_set(e, -ERR_FORMAT, "%s: it is alone() and includes '%s'", file, b->includes.items[0]);
	int r = strict ? check_headers(b, e) : 0;
	if (r < 0)
		return err_in(e, r, "%s", file);
	*out = take(b);
	return 0;
}

const char *bundle_folder(const struct config *c, const char *name)
{
	struct stat st;

	for (size_t i = 0; i < c->bundle_dirs.n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", c->bundle_dirs.items[i], name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
			return c->bundle_dirs.items[i];
	}
	return NULL;
}

/* NAME-debuginfo, where NAME is defined and this is not: what explains the packages of NAME, which resolve finds (step/debuginfo.h). NULL: it is no such name. */
static char *find_explained(const struct config *c, const char *name)
{
	_cleanup_free_ char *base =
		text_ends(name, BUNDLE_DEBUGINFO) ? xstrndup(name, strlen(name) - strlen(BUNDLE_DEBUGINFO)) : NULL;

	return base && bundle_name_valid(base) && bundle_folder(c, base) ? take(base) : NULL;
}

static int load(const struct config *c, const char *name, bool strict, struct bundle **out, struct err *e);

static int make_explaining(const struct config *c, const char *name, const char *base, bool strict, struct bundle **out,
			   struct err *e)
{
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	struct bundle *of = NULL;

	int r = load(c, base, strict, &of, e);
	if (!of)
		return r;
	_cleanup_free_ char *text = xasprintf("# [TITLE]: %s\n"
					      "# [DESCRIPTION]: Debug information of %s\n"
					      "# [STATUS]: %s\n"
					      "# [CAPABILITIES]: Debug it without a network\n"
					      "# [MAINTAINER]: %s\n"
					      "include(%s)\n",
					      name, base, of->status, of->maintainer, base);
	r = bundle_parse(text, strlen(text), name, of->file, false, &b, e);
	if (r >= 0 && b) {
		b->explains = xstrdup(base);
		b->alone = of->alone; /* then so is what includes it */
		*out = take(b);
	}
	bundle_free(of);
	return r;
}

static int load(const struct config *c, const char *name, bool strict, struct bundle **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	const char *folder = bundle_name_valid(name) ? bundle_folder(c, name) : NULL;
	_cleanup_free_ char *base = folder || !bundle_name_valid(name) ? NULL : find_explained(c, name);

	if (base)
		return make_explaining(c, name, base, strict, out, e);

	if (!folder) {
		err_set(e, -ERR_BUNDLE, "there is no definition of bundle '%s'", name);
		return -ERR_BUNDLE;
	}
	_cleanup_free_ char *file = xasprintf("%s/%s", folder, name);
	int r = fs_load(AT_FDCWD, file, DEFINITION_MAX, &text, e);
	return r < 0 ? r : bundle_parse(text.data, text.len, name, file, strict, out, e);
}

int bundle_load(const struct config *c, const char *name, struct bundle **out, struct err *e)
{
	return load(c, name, false, out, e);
}

int bundle_names(const char *folder, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv all = {0};
	struct stat st;

	int r = fs_list(AT_FDCWD, folder, &all, e);
	if (r == -ENOENT)
		err_clear(e);
	else if (r < 0)
		return r;
	for (size_t i = 0; i < all.n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", folder, all.items[i]);
		if (bundle_name_valid(all.items[i]) && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			strv_add(out, all.items[i]);
	}
	return 0;
}

void bundle_set_free(struct bundle_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		bundle_free(s->items[i]);
	free(s->items);
	*s = (struct bundle_set){0};
}

static int compare(const void *a, const void *b)
{
	return strcmp((*(struct bundle *const *)a)->name, (*(struct bundle *const *)b)->name);
}

struct bundle *bundle_set_find(const struct bundle_set *s, const char *name)
{
	const struct bundle key = {.name = (char *)name}, *key_address = &key;
	struct bundle **found = s->n ? bsearch(&key_address, s->items, s->n, sizeof(*s->items), compare) : NULL;

	return found ? *found : NULL;
}

/* A bundle that is still to be loaded, and the one that wants it (NULL: the mix itself) */
struct wanted {
	const char *name;
	const struct bundle *by;
};

struct wanted_list {
	struct wanted *items;
	size_t n, cap;
};

static void want(struct wanted_list *l, const struct strv *names, const struct bundle *by)
{
	for (size_t i = 0; i < names->n; i++) {
		VEC_GROW(l->items, l->n, l->cap);
		l->items[l->n++] = (struct wanted){names->items[i], by};
	}
}

static int wanted_error(const struct wanted *w, int r, struct err *e)
{
	if (r != -ERR_BUNDLE)
		return r;
	if (w->by)
		r = err_in(e, r, "%s: bundle '%s' wants '%s'", w->by->file, w->by->name, w->name);
	return err_hint(e, r,
			"'mixer bundle list upstream' shows what there is, 'mixer bundle create %s' begins a new one",
			w->name);
}

static struct bundle_set take_set(struct bundle_set *s)
{
	struct bundle_set taken = *s;

	*s = (struct bundle_set){0};
	return taken;
}

int bundle_set_load(const struct config *c, const struct strv *names, bool strict, struct bundle_set *out,
		    struct err *e)
{
	_cleanup_(bundle_set_free) struct bundle_set set = {0};
	_cleanup_(table_freep) struct table *known = table_new();
	struct wanted_list todo = {0};
	int r = 0;

	want(&todo, names, NULL);
	for (size_t i = 0; i < todo.n && r >= 0; i++) {
		struct wanted w = todo.items[i];
		struct bundle *b = NULL;
		if (table_find_str(known, w.name))
			continue;
		r = load(c, w.name, strict, &b, e);
		if (!b) {
			r = wanted_error(&w, r, e);
			break;
		}
		VEC_GROW(set.items, set.n, set.cap);
		set.items[set.n++] = b;
		table_add_str(known, b->name, b);
		want(&todo, &b->includes, b);
		want(&todo, &b->also_add, b);
	}
	free(todo.items);
	if (r < 0)
		return r;
	if (set.n)
		qsort(set.items, set.n, sizeof(*set.items), compare);
	*out = take_set(&set);
	return 0;
}

void bundle_set_includes(const struct bundle_set *s, const struct bundle *b, struct strv *out)
{
	_cleanup_(strv_free) struct strv found = {0};

	for (size_t i = 0; i < b->includes.n; i++)
		add_once(&found, b->includes.items[i]);
	for (size_t i = 0; i < found.n; i++) {
		const struct bundle *next = bundle_set_find(s, found.items[i]);
		for (size_t k = 0; next && k < next->includes.n; k++)
			add_once(&found, next->includes.items[k]);
	}
	for (size_t i = 0; i < found.n; i++)
		if (strcmp(found.items[i], b->name) != 0)
			strv_add(out, found.items[i]);
}

int mixbundles_load(const struct config *c, struct strv *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	const char *line;
	size_t n;

	int r = fs_load(c->dir, MIXBUNDLES_NAME, DEFINITION_MAX, &text, e);
	if (r == -ENOENT) {
		r = err_set(e, -ERR_CONFIG, "'%s' has no " MIXBUNDLES_NAME, c->path);
		return err_hint(e, r, "'mixer bundle add NAME' makes it");
	}
	if (r < 0)
		return r;
	const char *pos = text.data;
	for (unsigned number = 1; text_line(&pos, text.data + text.len, &line, &n, NULL); number++) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		copy[strcspn(copy, "#")] = '\0';
		const char *name = text_trim(copy);
		if (*name && !bundle_name_valid(name))
			return err_set(e, -ERR_CONFIG, MIXBUNDLES_NAME ":%u: '%s' is no name of a bundle", number,
				       name);
		if (*name)
			strv_add(out, name);
	}
	strv_sort_unique(out);
	return 0;
}

int mixbundles_save(const struct config *c, const struct strv *names, struct err *e)
{
	_cleanup_(strv_free) struct strv sorted = {0};
	_cleanup_(buf_free) struct buf text = {0};

	for (size_t i = 0; i < names->n; i++)
		strv_add(&sorted, names->items[i]);
	strv_sort_unique(&sorted);
	buf_puts(&text, "");
	for (size_t i = 0; i < sorted.n; i++)
		buf_printf(&text, "%s\n", sorted.items[i]);
	return fs_save(c->dir, MIXBUNDLES_NAME, text.data, text.len, 0644, e);
}
