/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/conf.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/content/format.h"

#define CONFIG_NAME     "mixer.conf"
#define STATE_NAME      "mixer.state"
#define CONFIG_MAX      (1UL << 20) /* bytes: no one writes more by hand */
#define DEFAULT_BUNDLES "/usr/share/limpid/bundles"
#define DEFAULT_IMAGES  "/usr/share/limpid/images"
#define DEFAULT_KEYRING "/usr/share/keyrings/debian-archive-keyring.gpg"
#define SYSTEM_CACHE    "/var/cache/limpid"
#define PRIORITY        500
#define FIRST_RELEASE   10
#define ZSTD_USUAL      14 /* of 60 MB that change in a server, 16 takes 8.9 instead of 4.6 s and makes 3 % less */

/* Used when mixer.conf has no [repository] at all; the template shows the same lines. */
#define DEFAULT_REPOSITORIES                                                                                           \
	"[repository debian]\n"                                                                                        \
	"suite = trixie\n"                                                                                             \
	"\n"                                                                                                           \
	"[repository updates]\n"                                                                                       \
	"suite = trixie-updates\n"                                                                                     \
	"\n"                                                                                                           \
	"[repository security]\n"                                                                                      \
	"suite = trixie-security\n"                                                                                    \
	"\n"                                                                                                           \
	"# Last: only what no other has, such as the source of newer kernels.\n"                                       \
	"[repository backports]\n"                                                                                     \
	"suite = trixie-backports\n"                                                                                   \
	"priority = 100\n"                                                                                             \
	"\n"                                                                                                           \
	"[repository local]\n"                                                                                         \
	"path = local-debs\n"                                                                                          \
	"priority = 900\n"

const char config_template[] =
	"# Configuration of a mix: mixer.conf(5). A line that begins with '#' is a comment; those with a key show its "
	"default.\n"
	"# Relative paths are taken from the folder of this file.\n"
	"\n"
	"[mix]\n"
	"# Name of the operating system for people and for programs, in its os-release.\n"
	"#name = Limpid\n"
	"#id = limpid\n"
	"\n"
	"# Who can read the releases: clients have one format number and update only within it.\n"
	"#format = 30\n"
	"\n"
	"# Debian's name of the machine that releases run on.\n"
	"#architecture = amd64\n"
	"\n"
	"# Folders with bundle definitions, searched in this order after local-bundles.\n"
	"#bundles = /usr/share/limpid/bundles\n"
	"\n"
	"# Which dependencies not to follow, and how packages become stateless: packages.drop and convert.rules of the "
	"first\n"
	"# folder of bundles that has them.\n"
	"#drop-file =\n"
	"#rules-file =\n"
	"\n"
	"# Profiles of kernels that 'mixer kernel build' makes: the folder kernel-config beside the first folder of "
	"bundles\n"
	"# that has it beside.\n"
	"#kernel-config =\n"
	"\n"
	"# The folder with definitions of images, behind local-images: by default 'images' beside the first folder of "
	"bundles\n"
	"# that has it beside.\n"
	"#images =\n"
	"\n"
	"# The bundle that receives the URLs below, the format and the certificate: clients update from there.\n"
	"#update-bundle = os-core-update\n"
	"\n"
	"# What can be made again: downloaded packages, compressed content. One cache serves any number of mixes.\n"
	"# The default for other users than root is limpid in their own cache folder.\n"
	"#cache = /var/cache/limpid\n"
	"\n"
	"# 'mixer gc --cache' leaves there what was used in so many days.\n"
	"#cache-days = 30\n"
	"\n"
	"# How many things to do at once; 0: as many as there are processors.\n"
	"#threads = 0\n"
	"\n"
	"# How many MiB of memory those may take together that compress and compare; 0: 512 for each thread, at most "
	"half of the machine's.\n"
	"#memory = 0\n"
	"\n"
	"# Who compresses and compares: threads, or slurm, whose nodes share the cache with this machine (mixer(8)).\n"
	"#executor = threads\n"
	"\n"
	"[publish]\n"
	"# Where clients will find update/www. The default is this workspace itself, which is enough to try it on one "
	"machine.\n"
	"#content-url = file://WORKSPACE/update/www\n"
	"# Where they look for the newest release; the same place unless told.\n"
	"#version-url =\n"
	"\n"
	"# Compression of files and packs: zstd, xz, gzip, bzip2 or none. Level 0 is the best that the codec usually "
	"gives.\n"
	"#compression = zstd\n"
	"#level = 14\n"
	"\n"
	"# For how many days clients may trust that a published release is the newest.\n"
	"#freshness-days = 30\n"
	"\n"
	"# Publish packs and deltas for clients of swupd's first generation, too.\n"
	"#classic = yes\n"
	"\n"
	"# Publish debug information of what is in a release, for gdb and perf: what local-debs and the repositories "
	"have of it.\n"
	"#debuginfo = yes\n"
	"\n"
	"# Clients update by one file from each of so many releases before, and, up to so many days, from the last one "
	"of each\n"
	"# day, week, 4 and 16 weeks, the longer the older. From others they go by way of these. 'mixer gc' keeps the "
	"same.\n"
	"#cover = 3\n"
	"#cover-days = 365\n"
	"# Releases that 'mixer gc' never removes.\n"
	"#keep =\n"
	"\n"
	"[sign]\n"
	"# The certificate that clients trust and its key: a file, or a URI like pkcs11:… that OpenSSL understands.\n"
	"#certificate = Swupd_Root.pem\n"
	"#key = private.pem\n"
	"# Instead of a key, a program that gets data on stdin and writes the CMS signature (DER) to stdout.\n"
	"#command =\n"
	"\n"
	"# Where packages come from. A repository is a Debian archive:\n"
	"#   suite =                 trixie, trixie-security…\n"
	"#   components = main       several are separated by blanks\n"
	"#   uri = apt               of the archive; apt: the one that this machine's apt uses\n"
	"#   keyring = /usr/share/keyrings/debian-archive-keyring.gpg\n"
	"# or a directory:\n"
	"#   path =                  of .deb files\n"
	"# A package is taken from the repository with the highest priority that has it, and there in its newest "
	"version.\n"
	"#   priority = 500\n"
	"# One that only has debug packages (NAME-dbgsym) of what the others have:\n"
	"#   debug = no\n"
	"# The five below are also used when none is given.\n" DEFAULT_REPOSITORIES;

enum kind { STRING, WORD, PATH, PATHS, WORDS, RELEASES, NUMBER, BOOL, CODEC, KEY, EXECUTOR };

/* A key of the file and where its value goes: in struct config, or in struct repository for section "repository" */
struct key {
	const char *section, *name;
	enum kind kind;
	size_t offset;
	uint32_t min, max; /* NUMBER */
};

#define CONFIG(section, name, kind, field)                                                                             \
	{                                                                                                              \
		section, name, kind, offsetof(struct config, field), 0, 0                                              \
	}
#define CONFIG_NUMBER(section, name, field, min, max)                                                                  \
	{                                                                                                              \
		section, name, NUMBER, offsetof(struct config, field), min, max                                        \
	}
#define REPOSITORY(name, kind, field)                                                                                  \
	{                                                                                                              \
		"repository", name, kind, offsetof(struct repository, field), 0, 0                                     \
	}

static const struct key keys[] = {
	CONFIG("mix", "name", STRING, name),
	CONFIG("mix", "id", WORD, id),
	CONFIG_NUMBER("mix", "format", format, 1, 999999),
	CONFIG("mix", "architecture", WORD, architecture),
	CONFIG("mix", "bundles", PATHS, bundle_dirs),
	CONFIG("mix", "drop-file", PATH, drop_file),
	CONFIG("mix", "rules-file", PATH, rules_file),
	CONFIG("mix", "kernel-config", PATH, kernel_config),
	CONFIG("mix", "images", PATH, images_dir),
	CONFIG("mix", "update-bundle", WORD, update_bundle),
	CONFIG("mix", "cache", PATH, cache),
	CONFIG_NUMBER("mix", "cache-days", cache_days, 0, 36500),
	CONFIG_NUMBER("mix", "threads", threads, 0, 256),
	CONFIG_NUMBER("mix", "memory", memory, 0, 1 << 24),
	CONFIG("mix", "executor", EXECUTOR, executor),
	CONFIG("publish", "content-url", STRING, content_url),
	CONFIG("publish", "version-url", STRING, version_url),
	CONFIG("publish", "compression", CODEC, codec),
	CONFIG_NUMBER("publish", "level", level, 0, 22),
	CONFIG_NUMBER("publish", "freshness-days", freshness_days, 1, 3650),
	CONFIG("publish", "classic", BOOL, classic),
	CONFIG("publish", "debuginfo", BOOL, debuginfo),
	CONFIG_NUMBER("publish", "cover", cover, 0, 1000),
	CONFIG_NUMBER("publish", "cover-days", cover_days, 0, 36500),
	CONFIG("publish", "keep", RELEASES, keep),
	CONFIG("sign", "certificate", PATH, signer.cert),
	CONFIG("sign", "key", KEY, signer.key),
	CONFIG("sign", "command", STRING, signer.command),
	REPOSITORY("uri", STRING, uri),
	REPOSITORY("suite", WORD, suite),
	REPOSITORY("components", WORDS, components),
	REPOSITORY("keyring", PATH, keyring),
	REPOSITORY("path", PATH, path),
	REPOSITORY("debug", BOOL, debug),
	{"repository", "priority", NUMBER, offsetof(struct repository, priority), 0, 100000},
};

char *path_absolute(const char *base, const char *path)
{
	if (path[0] == '/')
		return xstrdup(path);
	_cleanup_free_ char *here = base ? xstrdup(base) : getcwd(NULL, 0);
	return xasprintf("%s/%s", here ? here : "", path);
}

static bool is_word(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._+-/", *s))
			return false;
	return true;
}

int executor_parse(const char *name, enum executor *out)
{
	if (strcmp(name, "threads") != 0 && strcmp(name, "slurm") != 0)
		return -EINVAL;
	*out = name[0] == 's' ? EXECUTOR_SLURM : EXECUTOR_THREADS;
	return 0;
}

static void set_text(char **field, char *value)
{
	free(*field);
	*field = value;
}

static int set_bool(bool *field, const char *key, const char *value, struct err *e)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
		return err_set(e, -ERR_CONFIG, "%s is 'yes' or 'no', not '%s'", key, value);
	*field = value[0] == 'y';
	return 0;
}

static void set_list(struct strv *field, const char *base, const char *value)
{
	_cleanup_(strv_free) struct strv words = {0};

	strv_free(field);
	strv_split(&words, value, " \t");
	for (size_t i = 0; i < words.n; i++)
		strv_take(field, base ? path_absolute(base, words.items[i]) : xstrdup(words.items[i]));
}

static int check_releases(const char *key, const struct strv *list, struct err *e)
{
	uint32_t release;

	for (size_t i = 0; i < list->n; i++)
		if (text_u32(list->items[i], 1, INT32_MAX, &release) < 0)
			return err_set(e, -ERR_CONFIG, "%s has numbers of releases, not '%s'", key, list->items[i]);
	return 0;
}

static int set_key(const struct key *k, void *into, const char *base, const char *value, struct err *e)
{
	void *field = (char *)into + k->offset;

	switch (k->kind) {
	case WORD:
		if (!is_word(value))
			return err_set(e, -ERR_CONFIG, "%s must be one word of letters, digits and . _ + - /, not '%s'",
				       k->name, value);
		/* fall through */
	case STRING:
		set_text(field, xstrdup(value));
		return 0;
	case PATH:
		set_text(field, *value ? path_absolute(base, value) : NULL);
		return 0;
	case KEY:
		/* "pkcs11:object=x" is a name for OpenSSL, not a file */
		set_text(field, !*value ? NULL : strchr(value, ':') ? xstrdup(value) : path_absolute(base, value));
		return 0;
	case PATHS:
		set_list(field, base, value);
		return 0;
	case WORDS:
		set_list(field, NULL, value);
		return 0;
	case RELEASES:
		set_list(field, NULL, value);
		return check_releases(k->name, field, e);
	case NUMBER:
		if (text_u32(value, k->min, k->max, field) < 0)
			return err_set(e, -ERR_CONFIG, "%s must be a number from %u to %u, not '%s'", k->name, k->min,
				       k->max, value);
		return 0;
	case BOOL:
		return set_bool(field, k->name, value, e);
	case CODEC:
		if (codec_parse(value, field) < 0)
			return err_set(e, -ERR_CONFIG, "%s is zstd, xz, gzip, bzip2 or none, not '%s'", k->name, value);
		return 0;
	case EXECUTOR:
		if (executor_parse(value, field) < 0)
			return err_set(e, -ERR_CONFIG, "%s is threads or slurm, not '%s'", k->name, value);
		return 0;
	}
	return 0;
}

const struct repository *config_repository(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_repositories; i++)
		if (strcmp(c->repositories[i].name, name) == 0)
			return &c->repositories[i];
	return NULL;
}

static int get_repository(struct config *c, const char *name, struct repository **out, struct err *e)
{
	const struct repository *known = config_repository(c, name);

	if (known) {
		*out = &c->repositories[known - c->repositories];
		return 0;
	}
	if (!is_word(name) || strchr(name, '/'))
		return err_set(e, -ERR_CONFIG, "'%s' is no name for a repository", name);
	c->repositories = xreallocarray(c->repositories, c->n_repositories + 1, sizeof(*c->repositories));
	*out = &c->repositories[c->n_repositories++];
	**out = (struct repository){.name = xstrdup(name), .priority = PRIORITY};
	return 0;
}

static int on_key(void *arg, const char *section, const char *name, const char *value, struct err *e)
{
	struct config *c = arg;
	struct repository *repository = NULL;
	bool known_section = false;

	if (text_starts(section, "repository ")) {
		int r = get_repository(c, section + strlen("repository "), &repository, e);
		if (r < 0)
			return r;
		section = "repository";
	} else if (strcmp(section, "repository") == 0) {
		section = "repository without a name";
	}
	for (const struct key *k = keys; k < keys + ARRAY_LEN(keys); k++) {
		if (strcmp(k->section, section) != 0)
			continue;
		known_section = true;
		if (strcmp(k->name, name) == 0)
			return set_key(k, repository ? (void *)repository : c, c->path, value, e);
	}
	if (!*section)
		return err_set(e, -ERR_CONFIG, "'%s' stands before the first [section]", name);
	if (!known_section)
		return err_set(e, -ERR_CONFIG,
			       "no such section: [%s] (there are [mix], [publish], [sign], [repository NAME])",
			       section);
	return err_set(e, -ERR_CONFIG, "section [%s] has no key '%s'", section, name);
}

static int check_repository(struct repository *r, struct err *e)
{
	if (r->path && r->suite)
		return err_set(e, -ERR_CONFIG,
			       "repository '%s' has both 'suite' and 'path': it is an archive or a directory", r->name);
	if (!r->path && !r->suite)
		return err_set(e, -ERR_CONFIG,
			       "repository '%s' has neither 'suite' (of a Debian archive) nor 'path' (of a "
			       "directory of .deb files)",
			       r->name);
	r->kind = r->path ? REPOSITORY_DIRECTORY : REPOSITORY_DEBIAN;
	if (r->kind == REPOSITORY_DIRECTORY)
		return 0;
	if (!r->uri)
		r->uri = xstrdup("apt");
	if (strcmp(r->uri, "apt") != 0 && !strstr(r->uri, "://"))
		return err_set(e, -ERR_CONFIG, "repository '%s': uri is 'apt' or a URL, not '%s'", r->name, r->uri);
	if (!r->keyring)
		r->keyring = xstrdup(DEFAULT_KEYRING);
	if (r->components.n == 0)
		strv_add(&r->components, "main");
	for (size_t i = 0; i < r->components.n; i++)
		if (!is_word(r->components.items[i]))
			return err_set(e, -ERR_CONFIG, "repository '%s': '%s' is no component", r->name,
				       r->components.items[i]);
	return 0;
}

static int check(struct config *c, struct err *e)
{
	if (c->level < 0)
		c->level = c->codec == CODEC_ZSTD ? ZSTD_USUAL : 0;
	if (c->codec != CODEC_ZSTD && c->level > 9)
		return err_set(e, -ERR_CONFIG, "level %d: only zstd has levels above 9", c->level);
	if (!c->signer.cert)
		return err_set(e, -ERR_CONFIG, "[sign] needs a certificate");
	if (!c->signer.key && !c->signer.command)
		return err_set(e, -ERR_CONFIG, "[sign] needs a key or a command");
	for (size_t i = 0; i < c->n_repositories; i++) {
		int r = check_repository(&c->repositories[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static char *default_cache(void)
{
	const char *xdg = getenv("XDG_CACHE_HOME"); /* NOLINT(concurrency-mt-unsafe): nobody calls setenv */
	const char *home = getenv("HOME");          /* NOLINT(concurrency-mt-unsafe) */

	if (geteuid() != 0 && xdg && xdg[0] == '/')
		return xasprintf("%s/limpid", xdg);
	if (geteuid() != 0 && home && home[0] == '/')
		return xasprintf("%s/.cache/limpid", home);
	return xstrdup(SYSTEM_CACHE);
}

static char *find_in_dirs(const struct strv *dirs, const char *name)
{
	for (size_t i = 0; i < dirs->n; i++) {
		char *path = xasprintf("%s/%s", dirs->items[i], name);
		if (fs_exists(AT_FDCWD, path))
			return path;
		free(path);
	}
	return NULL;
}

/* What depends on other keys gets its default only now; local-bundles comes first whatever 'bundles' says. */
static void complete(struct config *c)
{
	_cleanup_(strv_free) struct strv given = c->bundle_dirs;

	c->bundle_dirs = (struct strv){0};
	strv_take(&c->bundle_dirs, xasprintf("%s/local-bundles", c->path));
	for (size_t i = 0; i < given.n; i++)
		strv_add(&c->bundle_dirs, given.items[i]);
	if (given.n == 0)
		strv_add(&c->bundle_dirs, DEFAULT_BUNDLES);
	if (!c->drop_file)
		c->drop_file = find_in_dirs(&c->bundle_dirs, "packages.drop");
	if (!c->rules_file)
		c->rules_file = find_in_dirs(&c->bundle_dirs, "convert.rules");
	if (!c->kernel_config) {
		_cleanup_free_ char *found = find_in_dirs(&c->bundle_dirs, "../kernel-config");
		c->kernel_config = found ? realpath(found, NULL) : NULL;
	}
	if (!c->images_dir) {
		_cleanup_free_ char *found = find_in_dirs(&c->bundle_dirs, "../images");
		c->images_dir = found ? realpath(found, NULL) : xstrdup(DEFAULT_IMAGES);
	}
	if (!c->cache)
		c->cache = default_cache();
	if (!c->content_url || !*c->content_url)
		set_text(&c->content_url, xasprintf("file://%s/update/www", c->path));
	if (!c->version_url || !*c->version_url)
		set_text(&c->version_url, xstrdup(c->content_url));
	if (c->signer.command && !*c->signer.command)
		set_text((char **)&c->signer.command, NULL);
	if (c->signer.command)
		set_text((char **)&c->signer.key, NULL); /* a key is the default, a command was asked for */
}

int config_parse(const char *text, size_t len, const char *file, int dir, const char *path, struct config **out,
		 struct err *e)
{
	_cleanup_(config_freep) struct config *c = xcalloc(1, sizeof(*c));

	*c = (struct config){
		.dir = dir,
		.path = xstrdup(path),
		.name = xstrdup("Limpid"),
		.id = xstrdup("limpid"),
		.format = FORMAT_DEFAULT,
		.architecture = xstrdup("amd64"),
		.update_bundle = xstrdup("os-core-update"),
		.signer = {.cert = xasprintf("%s/Swupd_Root.pem", path), .key = xasprintf("%s/private.pem", path)},
		.codec = CODEC_ZSTD,
		.level = -1,
		.freshness_days = 30,
		.cover = 3,
		.cover_days = 365,
		.cache_days = 30,
		.classic = true,
		.debuginfo = true,
	};
	int r = conf_parse(text, len, file, on_key, c, e);
	if (r < 0)
		return r;
	if (c->n_repositories == 0) {
		r = conf_parse(DEFAULT_REPOSITORIES, strlen(DEFAULT_REPOSITORIES), "default", on_key, c, e);
		if (r < 0)
			return r;
	}
	complete(c);
	r = check(c, e);
	if (r < 0)
		return err_in(e, r, "%s", file);
	*out = take(c);
	return 0;
}

int config_load(const char *path, struct config **out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *real = realpath(path, NULL);
	_cleanup_close_ int dir = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (dir < 0)
		return err_errno(e, "workspace '%s'", path);
	int r = fs_load(dir, CONFIG_NAME, CONFIG_MAX, &text, e);
	if (r == -ENOENT) {
		r = err_set(e, -ERR_CONFIG, "'%s' is no workspace: it has no " CONFIG_NAME, path);
		return err_hint(e, r, "'mixer init' makes one; -C DIR names another");
	}
	if (r < 0)
		return r;
	_cleanup_free_ char *file = xasprintf("%s/" CONFIG_NAME, path);
	const char *shown = strcmp(path, ".") == 0 ? CONFIG_NAME : file;
	return config_parse(text.data, text.len, shown, take_fd(&dir), real, out, e);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	closep(&c->dir);
	for (size_t i = 0; i < c->n_repositories; i++) {
		struct repository *r = &c->repositories[i];
		free(r->name);
		free(r->uri);
		free(r->suite);
		strv_free(&r->components);
		free(r->keyring);
		free(r->path);
	}
	free(c->repositories);
	free(c->path);
	free(c->name);
	free(c->id);
	free(c->content_url);
	free(c->version_url);
	free(c->architecture);
	strv_free(&c->bundle_dirs);
	free(c->drop_file);
	free(c->rules_file);
	free(c->kernel_config);
	free(c->images_dir);
	strv_free(&c->keep);
	free(c->update_bundle);
	free(c->cache);
	free((char *)c->signer.cert);
	free((char *)c->signer.key);
	free((char *)c->signer.command);
	free(c);
}

static int on_state(void *arg, const char *section, const char *name, const char *value, struct err *e)
{
	struct mix_state *s = arg;
	uint32_t *field = strcmp(name, "release") == 0    ? &s->release
			  : strcmp(name, "previous") == 0 ? &s->previous
			  : strcmp(name, "format") == 0   ? &s->format
							  : NULL;

	if (*section || !field)
		return err_set(e, -ERR_CONFIG, "no such key: '%s'", name);
	if (text_u32(value, 0, UINT32_MAX, field) < 0)
		return err_set(e, -ERR_CONFIG, "%s: '%s' is not a number", name, value);
	return 0;
}

int mix_state_load(const struct config *c, struct mix_state *out, struct err *e)
{
	struct mix_state s = {.release = FIRST_RELEASE, .format = c->format};
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(c->dir, STATE_NAME, CONFIG_MAX, &text, e);
	if (r == -ENOENT)
		err_clear(e); /* a workspace that has not built yet */
	else if (r >= 0)
		r = conf_parse(text.data, text.len, STATE_NAME, on_state, &s, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (s.release == 0 || s.release < s.previous)
		return err_set(e, -ERR_CONFIG, STATE_NAME ": release %u cannot be below the previous one, %u",
			       s.release, s.previous);
	*out = s;
	return 0;
}

int mix_state_save(const struct config *c, const struct mix_state *s, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_printf(&b,
		   "# written by mixer: the release to build next, the one published last (0: none) and its format\n"
		   "release = %u\nprevious = %u\nformat = %u\n",
		   s->release, s->previous, s->format);
	return fs_save(c->dir, STATE_NAME, b.data, b.len, 0644, e);
}
