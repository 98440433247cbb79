/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/definition.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/input/config.h"
#include "swupd/base/conf.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/content/file.h"

#define DEFINITION_MAX (1UL << 20) /* bytes: no one writes more by hand */
#define LOCAL_IMAGES   "local-images"
#define SUFFIX         ".image" /* the folder has programs and scripts, too */

static const char *const kind_names[IMAGE_KINDS] = {
	[IMAGE_KATA] = "kata",     [IMAGE_DAX_EROFS] = "dax-erofs", [IMAGE_DAX_EXT4] = "dax-ext4",
	[IMAGE_INITRD] = "initrd", [IMAGE_DISK] = "disk",           [IMAGE_OCI] = "oci",
	[IMAGE_TAR] = "tar",
};

static const char *const filesystem_names[] = {[FILESYSTEM_EROFS] = "erofs", [FILESYSTEM_EXT4] = "ext4"};
static const char *const agent_names[] = {[AGENT_SYSTEMD] = "systemd", [AGENT_INIT] = "init", [AGENT_NONE] = "none"};
static const char *const etc_names[] = {"empty", "factory"};
static const char *const bool_names[] = {"no", "yes"};

enum type {
	TYPE_KIND,
	TYPE_TEXT,
	TYPE_WORD,  /* "none": not given */
	TYPE_PATH,  /* absolute */
	TYPE_WORDS, /* each time the key stands there, more are added */
	TYPE_SIZE,  /* 40M */
	TYPE_CODEC,
	TYPE_FILESYSTEM,
	TYPE_AGENT,
	TYPE_BOOL,
	TYPE_ETC,
};

#define KIND(k)    (1U << (k))
#define ALL        (KIND(IMAGE_KINDS) - 1)
#define GUEST      (KIND(IMAGE_KATA) | KIND(IMAGE_DAX_EROFS) | KIND(IMAGE_DAX_EXT4) | KIND(IMAGE_INITRD))
#define BOOTS      (GUEST | KIND(IMAGE_DISK))
#define COMPRESSED (KIND(IMAGE_TAR) | KIND(IMAGE_INITRD) | KIND(IMAGE_OCI))
#define FIELD(f)   offsetof(struct image_definition, f)

/* All keys, in the order in which they are shown, and the kinds they mean something to. */
static const struct key {
	const char *name;
	size_t offset;
	enum type type;
	unsigned kinds;
} keys[] = {
	{"kind", FIELD(kind), TYPE_KIND, ALL},
	{"description", FIELD(description), TYPE_TEXT, ALL},
	{"bundles", FIELD(bundles), TYPE_WORDS, ALL},
	{"kernel", FIELD(kernel), TYPE_WORD, BOOTS},
	{"cmdline", FIELD(cmdline), TYPE_TEXT, BOOTS},
	{"initramfs", FIELD(initramfs), TYPE_WORD, KIND(IMAGE_INITRD) | KIND(IMAGE_DISK)},
	{"init", FIELD(init), TYPE_PATH, BOOTS},
	{"state", FIELD(state), TYPE_TEXT, BOOTS},
	{"etc", FIELD(factory), TYPE_ETC, ALL},
	{"budget", FIELD(budget), TYPE_SIZE, ALL},
	{"compressed-budget", FIELD(compressed_budget), TYPE_SIZE, ALL & ~KIND(IMAGE_OCI)},
	{"compress", FIELD(codec), TYPE_CODEC, COMPRESSED},
	{"filesystem", FIELD(filesystem), TYPE_FILESYSTEM, KIND(IMAGE_KATA)},
	{"dax-header", FIELD(dax_header), TYPE_BOOL, KIND(IMAGE_KATA)},
	{"verity", FIELD(verity), TYPE_BOOL, KIND(IMAGE_KATA)},
	{"agent", FIELD(agent), TYPE_AGENT, KIND(IMAGE_KATA)},
	{"size", FIELD(size), TYPE_SIZE, KIND(IMAGE_DISK)},
	{"command", FIELD(command), TYPE_WORDS, KIND(IMAGE_OCI)},
	{"labels", FIELD(labels), TYPE_WORDS, KIND(IMAGE_OCI)},
};

const char *image_kind_name(enum image_kind k)
{
	return kind_names[k];
}

void image_definition_free(struct image_definition *d)
{
	if (!d)
		return;
	free(d->name);
	free(d->path);
	free(d->description);
	strv_free(&d->bundles);
	free(d->kernel);
	free(d->cmdline);
	free(d->initramfs);
	free(d->init);
	free(d->state);
	strv_free(&d->command);
	strv_free(&d->labels);
	free(d);
}

/* --- values --------------------------------------------------------------------------------------------------------------- */

static int set_text(const struct key *k, char **field, const char *value, struct err *e)
{
	const bool none = k->type == TYPE_WORD && strcmp(value, "none") == 0;

	if (k->type != TYPE_TEXT && (!*value || strpbrk(value, " \t")))
		return err_set(e, -ERR_CONFIG, "%s is one word, not '%s'", k->name, value);
	if (k->type == TYPE_WORD && (strchr(value, '/') || value[0] == '.'))
		return err_set(e, -ERR_CONFIG, "%s is a name, not '%s'", k->name, value);
	if (k->type == TYPE_PATH && name_check(value, e) < 0)
		return err_in(e, err_as(e, -ERR_CONFIG), "%s", k->name);
	free(*field);
	*field = *value && !none ? xstrdup(value) : NULL;
	return 0;
}

static int set_choice(const struct key *k, const char *const *names, size_t n, const char *value, size_t *out,
		      struct err *e)
{
	_cleanup_(buf_free) struct buf list = {0};

	for (*out = 0; *out < n; ++*out)
		if (strcmp(value, names[*out]) == 0)
			return 0;
	for (size_t i = 0; i < n; i++)
		buf_printf(&list, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", names[i]);
	return err_set(e, -ERR_CONFIG, "%s is %s, not '%s'", k->name, list.data, value);
}

/* 40M: a number and K, M or G for powers of 1024 */
static int set_size(const struct key *k, uint64_t *field, const char *value, struct err *e)
{
	static const char units[] = "KMG";
	const size_t len = strlen(value);
	const char *unit = len ? strchr(units, value[len - 1]) : NULL;
	const unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;
	uint64_t n;

	if (text_u64_n(value, len - (shift ? 1 : 0), 1, UINT64_MAX >> (shift + 1), &n) < 0)
		return err_set(e, -ERR_CONFIG, "%s is a size like 40M, not '%s'", k->name, value);
	*field = n << shift;
	return 0;
}

static int set_codec(const struct key *k, enum codec *field, const char *value, struct err *e)
{
	static const enum codec codecs[] = {CODEC_NONE, CODEC_GZIP, CODEC_ZSTD};
	static const char *const names[] = {"none", "gzip", "zstd"};
	size_t i;

	int r = set_choice(k, names, ARRAY_LEN(names), value, &i, e);
	if (r >= 0)
		*field = codecs[i];
	return r;
}

static int set_value(const struct key *k, struct image_definition *d, const char *value, struct err *e)
{
	void *field = (char *)d + k->offset;
	size_t i = 0;
	int r = 0;

	switch (k->type) {
	case TYPE_KIND:
		r = set_choice(k, kind_names, ARRAY_LEN(kind_names), value, &i, e);
		d->kind = (enum image_kind)i;
		d->codec = d->kind == IMAGE_OCI ? CODEC_GZIP : COMPRESSED & KIND(i) ? CODEC_ZSTD : CODEC_NONE;
		return r;
	case TYPE_TEXT:
	case TYPE_WORD:
	case TYPE_PATH:
		return set_text(k, field, value, e);
	case TYPE_WORDS:
		strv_split(field, value, " \t");
		return 0;
	case TYPE_SIZE:
		return set_size(k, field, value, e);
	case TYPE_CODEC:
		return set_codec(k, field, value, e);
	case TYPE_FILESYSTEM:
		r = set_choice(k, filesystem_names, ARRAY_LEN(filesystem_names), value, &i, e);
		d->filesystem = (enum image_filesystem)i;
		return r;
	case TYPE_AGENT:
		r = set_choice(k, agent_names, ARRAY_LEN(agent_names), value, &i, e);
		d->agent = (enum image_agent)i;
		return r;
	case TYPE_BOOL:
		r = set_choice(k, bool_names, ARRAY_LEN(bool_names), value, &i, e);
		*(bool *)field = i == 1;
		return r;
	case TYPE_ETC:
		r = set_choice(k, etc_names, ARRAY_LEN(etc_names), value, &i, e);
		d->factory = i == 1;
		return r;
	}
	return 0;
}

/* --- the file ------------------------------------------------------------------------------------------------------------- */

struct parsing {
	struct image_definition *d;
	bool given[ARRAY_LEN(keys)]; /* the first is 'kind' */
};

static int on_key(void *arg, const char *section, const char *name, const char *value, struct err *e)
{
	struct parsing *p = arg;

	if (*section)
		return err_set(e, -ERR_CONFIG, "an image has no section [%s]", section);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct key *k = &keys[i];
		if (strcmp(k->name, name) != 0)
			continue;
		/* what a key means depends on the kind, so that comes first: an error can then name its line */
		if (k->type != TYPE_KIND && !p->given[0])
			return err_set(e, -ERR_CONFIG, "'kind' must be the first key");
		if (p->given[i] && k->type != TYPE_WORDS)
			return err_set(e, -ERR_CONFIG, "%s is given twice", name);
		if (k->type != TYPE_KIND && !(k->kinds & KIND(p->d->kind)))
			return err_set(e, -ERR_CONFIG, "an image of kind %s has no key '%s'", kind_names[p->d->kind],
				       name);
		p->given[i] = true;
		return set_value(k, p->d, value, e);
	}
	return err_hint(e, err_set(e, -ERR_CONFIG, "no such key: '%s'", name), "image(5) has all of them");
}

static int check(const struct image_definition *d, bool has_kind, struct err *e)
{
	if (!has_kind)
		return err_set(e, -ERR_CONFIG, "the key 'kind' is missing");
	if (d->bundles.n == 0)
		return err_set(e, -ERR_CONFIG, "the key 'bundles' is missing");
	for (size_t i = 0; i < d->bundles.n; i++)
		if (bundle_name_check(d->bundles.items[i], e) < 0)
			return err_in(e, err_as(e, -ERR_CONFIG), "bundles");
	for (size_t i = 0; i < d->labels.n; i++)
		if (!strchr(d->labels.items[i], '=') || d->labels.items[i][0] == '=')
			return err_set(e, -ERR_CONFIG, "labels: '%s' is not KEY=VALUE", d->labels.items[i]);
	return 0;
}

int image_definition_parse(const char *text, size_t len, const char *name, const char *path,
			   struct image_definition **out, struct err *e)
{
	_cleanup_(image_definition_freep) struct image_definition *d = xcalloc(1, sizeof(*d));
	struct parsing p = {.d = d};

	*d = (struct image_definition){.name = xstrdup(name), .path = xstrdup(path), .dax_header = true};
	int r = conf_parse(text, len, path, on_key, &p, e);
	if (r < 0)
		return r;
	r = check(d, p.given[0], e);
	if (r < 0)
		return err_in(e, r, "%s", path);
	if (!d->description)
		d->description = xstrdup("");
	*out = take(d);
	return 0;
}

static char *format_value(const struct key *k, const struct image_definition *d)
{
	const void *field = (const char *)d + k->offset;
	const uint64_t *size = field;
	char *const *text = field;

	switch (k->type) {
	case TYPE_KIND:
		return xstrdup(kind_names[d->kind]);
	case TYPE_TEXT:
	case TYPE_PATH:
		return *text && **text ? xstrdup(*text) : NULL;
	case TYPE_WORD:
		return xstrdup(*text ? *text : "none");
	case TYPE_WORDS:
		return ((const struct strv *)field)->n ? strv_join(field, " ") : NULL;
	case TYPE_SIZE:
		return !*size                ? NULL
		       : *size % (1UL << 20) ? xasprintf("%llu", (unsigned long long)*size)
					     : xasprintf("%lluM", (unsigned long long)*size >> 20);
	case TYPE_CODEC:
		return xstrdup(codec_name(d->codec));
	case TYPE_FILESYSTEM:
		return xstrdup(filesystem_names[d->filesystem]);
	case TYPE_AGENT:
		return xstrdup(agent_names[d->agent]);
	case TYPE_BOOL:
		return xstrdup(bool_names[*(const bool *)field]);
	case TYPE_ETC:
		return xstrdup(etc_names[d->factory]);
	}
	return NULL;
}

void image_definition_format(const struct image_definition *d, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!(keys[i].kinds & KIND(d->kind)))
			continue;
		_cleanup_free_ char *value = format_value(&keys[i], d);
		if (value)
			buf_printf(out, "%s = %s\n", keys[i].name, value);
	}
}

/* --- the folders ---------------------------------------------------------------------------------------------------------- */

static int add_names(int base, const char *path, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv all = {0};
	_cleanup_close_ int dir = openat(base, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 && errno == ENOENT)
		return 0;
	if (dir < 0)
		return err_errno(e, "%s", path);
	int r = fs_list(dir, ".", &all, e);
	for (size_t i = 0; r >= 0 && i < all.n; i++)
		if (all.items[i][0] != '.' && text_ends(all.items[i], SUFFIX))
			strv_take(out, xstrndup(all.items[i], strlen(all.items[i]) - strlen(SUFFIX)));
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

int image_definition_names(const struct config *c, struct strv *out, struct err *e)
{
	int r = add_names(c->dir, LOCAL_IMAGES, out, e);

	if (r >= 0)
		r = add_names(AT_FDCWD, c->images_dir, out, e);
	strv_sort_unique(out);
	return r;
}

static int no_such_image(const struct config *c, const char *name, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = image_definition_names(c, &names, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *list = strv_join(&names, ", ");
	r = err_set(e, -ERR_CONFIG, "no image is named '%s'", name);
	return names.n ? err_hint(e, r, "there are %s", list)
		       : err_hint(e, r,
				  "definitions are looked for in '%s/" LOCAL_IMAGES
				  "' and '%s' ('images' in mixer.conf)",
				  c->path, c->images_dir);
}

int image_definition_load(const struct config *c, const char *name, struct image_definition **out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *local = xasprintf("%s/" LOCAL_IMAGES "/%s" SUFFIX, c->path, name);
	_cleanup_free_ char *path = xasprintf("%s/%s" SUFFIX, c->images_dir, name);

	int r = image_definition_names(c, &names, e);
	if (r >= 0 && !strv_has(&names, name))
		return no_such_image(c, name, e);
	const char *from = fs_exists(AT_FDCWD, local) ? local : path;
	if (r >= 0)
		r = fs_load(AT_FDCWD, from, DEFINITION_MAX, &text, e);
	return r < 0 ? r : image_definition_parse(text.data, text.len, name, from, out, e);
}
