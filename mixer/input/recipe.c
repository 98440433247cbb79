/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/recipe.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "mixer/input/bundle.h"
#include "mixer/input/config.h"
#include "mixer/input/lock.h"
#include "swupd/base/conf.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"

#define RECIPE_MAX (1UL << 20) /* bytes */
#define LOCAL      "local-recipes"
#define SPDX       "SPDX-License-Identifier"

void recipe_free(struct recipe *r)
{
	if (!r)
		return;
	free(r->name);
	free(r->title);
	free(r->folder);
	free(r->source);
	free(r->flags);
	strv_free(&r->patches);
	strv_free(&r->profiles);
	free(r->workload);
	strv_free(&r->bundles);
	free(r->reason);
	free(r);
}

static int set_compiler(struct recipe *r, const char *value, struct err *e)
{
	const bool clang = strcmp(value, "clang") == 0;

	if (!clang && strcmp(value, "gcc") != 0)
		return err_set(e, -ERR_CONFIG, "compiler is 'gcc' or 'clang', not '%s'", value);
	r->compiler = clang ? COMPILER_CLANG : COMPILER_GCC;
	return 0;
}

static int set_switch(const char *key, bool *out, const char *value, struct err *e)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
		return err_set(e, -ERR_CONFIG, "%s is 'yes' or 'no', not '%s'", key, value);
	*out = value[0] == 'y';
	return 0;
}

static int set_check(struct recipe *r, const char *value, struct err *e)
{
	return set_switch("check", &r->check, value, e);
}

static int set_docs(struct recipe *r, const char *value, struct err *e)
{
	return set_switch("docs", &r->docs, value, e);
}

static int set_source(struct recipe *r, const char *value, struct err *e)
{
	if (!bundle_name_valid(value))
		return err_set(e, -ERR_CONFIG, "'%s' is no name of a source package", value);
	free(r->source);
	r->source = xstrdup(value);
	return 0;
}

/* It is given to a compiler by a shell's variable, and by make's. */
static int set_flags(struct recipe *r, const char *value, struct err *e)
{
	if (strpbrk(value, "$`\"'\\;&|<>()#"))
		return err_set(e, -ERR_CONFIG, "flags cannot hold what a shell or make would read, as in '%s'", value);
	free(r->flags);
	r->flags = xstrdup(value);
	return 0;
}

static int check_file(const struct recipe *r, const char *name, const char *hint, struct err *e)
{
	struct stat st;

	if (!*name || strchr(name, '/'))
		return err_set(e, -ERR_CONFIG, "'%s' is no name of a file", name);
	if (!r->folder)
		return 0;
	_cleanup_free_ char *path = xasprintf("%s/%s", r->folder, hint);
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	int result = err_set(e, -ERR_CONFIG, "there is no file '%s'", path);
	return err_hint(e, result, "recipe(5) says where the files of a recipe lie");
}

static int set_patches(struct recipe *r, const char *value, struct err *e)
{
	int result = 0;

	strv_free(&r->patches);
	strv_split(&r->patches, value, " \t");
	for (size_t i = 0; result >= 0 && i < r->patches.n; i++) {
		_cleanup_free_ char *place = xasprintf("patches/%s", r->patches.items[i]);
		result = check_file(r, r->patches.items[i], place, e);
	}
	return result;
}

static int set_workload(struct recipe *r, const char *value, struct err *e)
{
	_cleanup_free_ char *place = xasprintf("%s.workload", value);

	free(r->workload);
	r->workload = xstrdup(value);
	return check_file(r, value, place, e);
}

static int set_profiles(struct recipe *r, const char *value, struct err *e)
{
	strv_free(&r->profiles);
	strv_split(&r->profiles, value, " \t");
	for (size_t i = 0; i < r->profiles.n; i++)
		if (!bundle_name_valid(r->profiles.items[i]))
			return err_set(e, -ERR_CONFIG, "'%s' is no name of a build profile", r->profiles.items[i]);
	return 0;
}

static int set_bundles(struct recipe *r, const char *value, struct err *e)
{
	strv_free(&r->bundles);
	strv_split(&r->bundles, value, " \t");
	for (size_t i = 0; i < r->bundles.n; i++)
		if (!bundle_name_valid(r->bundles.items[i]))
			return err_set(e, -ERR_CONFIG, "'%s' is no name of a bundle", r->bundles.items[i]);
	return 0;
}

static int set_reason(struct recipe *r, const char *value, struct err *e __attribute__((unused)))
{
	free(r->reason);
	r->reason = xstrdup(value);
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct recipe *r, const char *value, struct err *e);
} keys[] = {
	{"source", set_source},     {"compiler", set_compiler}, {"flags", set_flags}, {"patches", set_patches},
	{"profiles", set_profiles}, {"check", set_check},       {"docs", set_docs},   {"workload", set_workload},
	{"bundles", set_bundles},   {"reason", set_reason},
};

static int unknown_key(const char *key, struct err *e)
{
	_cleanup_(buf_free) struct buf known = {0};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		buf_printf(&known, "%s%s", i ? ", " : "", keys[i].name);
	int r = err_set(e, -ERR_CONFIG, "a recipe has no key '%s'", key);
	return err_hint(e, r, "there are %s: recipe(5)", known.data);
}

static int on_key(void *arg, const char *section, const char *key, const char *value, struct err *e)
{
	if (*section)
		return err_set(e, -ERR_CONFIG, "a recipe has no sections, as [%s]", section);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(key, keys[i].name) == 0)
			return keys[i].set(arg, value, e);
	return unknown_key(key, e);
}

int recipe_parse(const char *text, size_t len, const char *name, const char *folder, struct recipe **out, struct err *e)
{
	_cleanup_(recipe_freep) struct recipe *r = xcalloc(1, sizeof(*r));
	_cleanup_free_ char *file = folder ? xasprintf("%s/%s", folder, name) : xstrdup(name);

	r->name = xstrdup(name);
	r->title = conf_title(text, len);
	r->folder = folder ? xstrdup(folder) : NULL;
	r->source = xstrdup(name);
	r->flags = xstrdup("");
	r->reason = xstrdup("");
	int result = conf_parse(text, len, file, on_key, r, e);
	if (result < 0)
		return result;
	*out = take(r);
	return 0;
}

/* --- folders ------------------------------------------------------------------------------------------------------------- */

/* local-recipes, then recipes/ of each folder of bundles; i from 0; NULL at the end */
static char *folder_at(const struct config *c, size_t i)
{
	if (i == 0)
		return xasprintf("%s/" LOCAL, c->path);
	return i <= c->bundle_dirs.n ? xasprintf("%s/recipes", c->bundle_dirs.items[i - 1]) : NULL;
}

/* The folder that has a file called so */
static char *folder_of(const struct config *c, const char *name)
{
	char *folder;

	for (size_t i = 0; (folder = folder_at(c, i)); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
		struct stat st;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
			return folder;
		free(folder);
	}
	return NULL;
}

char *recipe_file(const struct config *c, const char *name)
{
	_cleanup_free_ char *folder = folder_of(c, name);

	return folder ? xasprintf("%s/%s", folder, name) : NULL;
}

/* What else lies in a folder of recipes is no recipe. */
static bool is_recipe(const char *name)
{
	return bundle_name_valid(name) && strcmp(name, "build") != 0 && strcmp(name, "patches") != 0 &&
	       !text_ends(name, ".workload") && !text_ends(name, ".profile");
}

/* folder: where it lies; NULL: nowhere */
static int load_from(const char *folder, const char *name, struct recipe **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (!folder) {
		(void)err_set(e, -ERR_CONFIG, "there is no recipe '%s'", name);
		(void)err_hint(e, -ERR_CONFIG, "'mixer package list' shows what recipes there are");
		return -ERR_CONFIG;
	}
	_cleanup_free_ char *file = xasprintf("%s/%s", folder, name);
	int r = fs_load(AT_FDCWD, file, RECIPE_MAX, &text, e);
	return r < 0 ? r : recipe_parse(text.data, text.len, name, folder, out, e);
}

int recipe_load(const struct config *c, const char *name, struct recipe **out, struct err *e)
{
	_cleanup_free_ char *folder = is_recipe(name) ? folder_of(c, name) : NULL;

	return load_from(folder, name, out, e);
}

int recipe_get(const struct config *c, const char *name, struct recipe **out, struct err *e)
{
	_cleanup_free_ char *folder = is_recipe(name) ? folder_of(c, name) : NULL;

	return !folder && is_recipe(name) ? recipe_parse("", 0, name, NULL, out, e) : load_from(folder, name, out, e);
}

/* Those that are files */
static int file_names(const struct config *c, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv files = {0};
	int r = 0;

	for (size_t i = 0; r >= 0; i++) {
		_cleanup_free_ char *folder = folder_at(c, i);
		if (!folder)
			break;
		r = bundle_names(folder, &files, e);
	}
	for (size_t i = 0; r >= 0 && i < files.n; i++)
		if (is_recipe(files.items[i]))
			strv_add(out, files.items[i]);
	strv_sort_unique(out);
	return r;
}

/* Does it build the source as Debian does? */
static bool is_plain(const struct recipe *r)
{
	return r->patches.n == 0 && r->profiles.n == 0 && !*r->flags;
}

/* The best of these recipes for a source; *locked: it is in use. NULL: there is none. */
static const char *best_of(const struct config *c, const struct strv *names, const char *source, bool *locked)
{
	const char *best = NULL;
	int rank = 0;

	for (size_t i = 0; i < names->n; i++) {
		_cleanup_(recipe_freep) struct recipe *r = NULL;
		if (recipe_load(c, names->items[i], &r, NULL) < 0 || strcmp(r->source, source) != 0)
			continue;
		const int mine = lock_has_recipe(c, r->name)    ? 3
				 : strcmp(r->name, source) == 0 ? 2
				 : is_plain(r)                  ? 1
								: 0;
		if (mine > rank) {
			best = names->items[i];
			rank = mine;
		}
	}
	*locked = rank == 3;
	return best;
}

char *recipe_of_source(const struct config *c, const char *source)
{
	_cleanup_(strv_free) struct strv names = {0};
	bool locked;

	if (file_names(c, &names, NULL) < 0)
		return xstrdup(source);
	const char *best = best_of(c, &names, source, &locked);
	return xstrdup(best && (locked || !lock_has_recipe(c, source)) ? best : source);
}

/* Sources that were locked without a recipe, unless one builds them meanwhile */
static int add_plain(const struct config *c, const struct strv *files, struct strv *out, struct err *e)
{
	_cleanup_free_ char *folder = xasprintf("%s/" LOCK_RECIPES, c->path);
	_cleanup_(strv_free) struct strv locks = {0};

	int r = bundle_names(folder, &locks, e);
	for (size_t i = 0; r >= 0 && i < locks.n; i++) {
		_cleanup_(lock_freep) struct lock *l = NULL;
		bool locked;
		if (!is_recipe(locks.items[i]) || lock_load_recipe(c, locks.items[i], &l, NULL) < 0 ||
		    strcmp(l->source.name, locks.items[i]) != 0)
			continue;
		(void)best_of(c, files, locks.items[i], &locked);
		if (!locked)
			strv_add(out, locks.items[i]);
	}
	return r;
}

int recipe_names(const struct config *c, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv files = {0};

	int r = file_names(c, &files, e);
	for (size_t i = 0; r >= 0 && i < files.n; i++)
		strv_add(out, files.items[i]);
	if (r >= 0)
		r = add_plain(c, &files, out, e);
	strv_sort_unique(out);
	return r < 0 ? r : 0;
}

void recipe_build_profiles(const struct recipe *r, struct strv *out)
{
	if (!r->docs)
		strv_add(out, "nodoc");
	if (!r->check)
		strv_add(out, "nocheck");
	for (size_t i = 0; i < r->profiles.n; i++)
		strv_add(out, r->profiles.items[i]);
	strv_sort_unique(out);
}
