/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "mixer/step/debuginfo.h"
#include "mixer/step/debuginfo_elf.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"

#define FIRST  "limpid-debuginfo 2"
#define BEFORE "limpid-debuginfo 1\n" /* without attributes */

struct debuginfo *debuginfo_new(void)
{
	struct debuginfo *d = xcalloc(1, sizeof(*d));

	d->arena = arena_new();
	return d;
}

void debuginfo_free(struct debuginfo *d)
{
	if (!d)
		return;
	free(d->files);
	free(d->debugs);
	free(d->texts);
	arena_free(d->arena);
	free(d);
}

/* The next word; "-" is none. NULL: there is no more. */
static const char *word(char **rest)
{
	const char *w = strsep(rest, "\t");

	return w && strcmp(w, "-") == 0 ? "" : w;
}

/* It becomes part of a path. */
static bool is_id(const char *id)
{
	const size_t len = strlen(id);

	return len % 2 == 0 && len < BUILD_ID_TEXT && strspn(id, "0123456789abcdef") == len;
}

static bool is_folder(const char *s)
{
	return s[0] != '.' && !strchr(s, '/');
}

static bool is_below(const char *path)
{
	_cleanup_free_ char *absolute = xasprintf("/%s", path);

	return name_check(absolute, NULL) >= 0;
}

struct words {
	const char *first, *w[4];
	struct attrs attrs;
	struct digest hash;
};

static int parse_attrs(char **rest, struct attrs *out, struct err *e)
{
	const char *mode = word(rest), *uid = word(rest), *gid = word(rest), *size = word(rest);

	*out = (struct attrs){.kind = KIND_FILE};
	if (!size || text_mode(mode, &out->mode) < 0 || text_u32(uid, 0, UINT32_MAX, &out->uid) < 0 ||
	    text_u32(gid, 0, UINT32_MAX, &out->gid) < 0 || text_u64(size, 0, INT64_MAX, &out->size) < 0)
		return err_set(e, -ERR_FORMAT, "'%s %s %s %s' is no mode, user, group and size", mode ? mode : "",
			       uid ? uid : "", gid ? gid : "", size ? size : "");
	return 0;
}

/* FIRST MODE UID GID SIZE HASH and n more */
static int split(char *rest, size_t n, struct words *out, struct err *e)
{
	out->first = word(&rest);
	int r = parse_attrs(&rest, &out->attrs, e);
	if (r < 0)
		return r;
	const char *hash = word(&rest);
	bool whole = hash != NULL;

	for (size_t i = 0; i < n; i++) {
		out->w[i] = word(&rest);
		whole = whole && out->w[i];
	}
	if (!whole || rest)
		return err_set(e, -ERR_FORMAT, "it must have %zu words", n + 7);
	if (strlen(hash) != DIGEST_HEX - 1 || digest_parse(hash, &out->hash) < 0)
		return err_set(e, -ERR_FORMAT, "'%s' is no hash", hash);
	return 0;
}

static int parse_file(struct debuginfo *d, char *rest, struct err *e)
{
	struct words x = {0};

	int r = split(rest, 4, &x, e);
	if (r < 0)
		return r;
	if (!is_id(x.first) || (*x.w[0] && !*x.first))
		return err_set(e, -ERR_FORMAT, "'%s' is no build-id", x.first);
	VEC_GROW(d->files, d->n_files, d->cap_files);
	d->files[d->n_files++] = (struct debuginfo_file){.id = x.first,
							 .attrs = x.attrs,
							 .hash = x.hash,
							 .by = x.w[0],
							 .package = x.w[1],
							 .path = x.w[2],
							 .why = x.w[3]};
	return 0;
}

static int parse_debug(struct debuginfo *d, char *rest, struct err *e)
{
	struct words x = {0};

	int r = split(rest, 1, &x, e);
	if (r < 0)
		return r;
	if (!*x.first || !is_id(x.first) || !is_folder(x.w[0]))
		return err_set(e, -ERR_FORMAT, "'%s' is no build-id with '%s' as the folder of its sources", x.first,
			       x.w[0]);
	VEC_GROW(d->debugs, d->n_debugs, d->cap_debugs);
	d->debugs[d->n_debugs++] =
		(struct debuginfo_debug){.id = x.first, .attrs = x.attrs, .hash = x.hash, .folder = x.w[0]};
	return 0;
}

static int parse_text(struct debuginfo *d, char *rest, struct err *e)
{
	struct words x = {0};

	int r = split(rest, 1, &x, e);
	if (r < 0)
		return r;
	if (!*x.first || !is_folder(x.first) || !is_below(x.w[0]))
		return err_set(e, -ERR_FORMAT, "'%s' is no name of a source", x.w[0]);
	VEC_GROW(d->texts, d->n_texts, d->cap_texts);
	d->texts[d->n_texts++] =
		(struct debuginfo_text){.folder = x.first, .attrs = x.attrs, .hash = x.hash, .path = x.w[0]};
	return 0;
}

static int parse_line(struct debuginfo *d, char *line, struct err *e)
{
	char *rest = line;
	const char *what = word(&rest);

	if (!rest)
		return err_set(e, -ERR_FORMAT, "it has one word");
	if (strcmp(what, "input") == 0)
		return strlen(rest) == DIGEST_HEX - 1 && digest_parse(rest, &d->input) >= 0
			       ? 0
			       : err_set(e, -ERR_FORMAT, "'%s' is no digest", rest);
	if (strcmp(what, "file") == 0)
		return parse_file(d, rest, e);
	if (strcmp(what, "debug") == 0)
		return parse_debug(d, rest, e);
	if (strcmp(what, "text") == 0)
		return parse_text(d, rest, e);
	return err_set(e, -ERR_FORMAT, "'%s' is none of input, file, debug, text", what);
}

int debuginfo_parse(const char *text, size_t len, struct debuginfo **out, struct err *e)
{
	_cleanup_(debuginfo_freep) struct debuginfo *d = debuginfo_new();
	const char *pos = text, *line;
	bool complete = true;
	size_t n;

	if (len == 0)
		return err_set(e, -ERR_FORMAT, "it is empty");
	for (unsigned number = 1; text_line(&pos, text + len, &line, &n, &complete); number++) {
		char *copy = arena_strndup(d->arena, line, n);
		int r = 0;
		if (memchr(line, '\0', n) || !complete)
			r = err_set(e, -ERR_FORMAT, "the line is damaged or cut off");
		else if (number > 1)
			r = parse_line(d, copy, e);
		else if (strcmp(copy, FIRST) != 0)
			r = err_set(e, -ERR_FORMAT, "it does not begin with '" FIRST "'");
		if (r < 0)
			return err_in(e, r, "line %u", number);
	}
	*out = take(d);
	return 0;
}

static const char *shown(const char *w)
{
	return *w ? w : "-";
}

static void add_attrs(const struct attrs *a, const struct digest *hash, struct buf *out)
{
	char hex[DIGEST_HEX];

	digest_format(hash, hex);
	buf_printf(out, "\t%o\t%u\t%u\t%llu\t%s", a->mode, a->uid, a->gid, (unsigned long long)a->size, hex);
}

void debuginfo_format(const struct debuginfo *d, struct buf *out)
{
	char hex[DIGEST_HEX];

	digest_format(&d->input, hex);
	buf_printf(out, FIRST "\ninput\t%s\n", hex);
	for (size_t i = 0; i < d->n_files; i++) {
		const struct debuginfo_file *f = &d->files[i];
		buf_printf(out, "file\t%s", shown(f->id));
		add_attrs(&f->attrs, &f->hash, out);
		buf_printf(out, "\t%s\t%s\t%s\t%s\n", shown(f->by), shown(f->package), f->path, shown(f->why));
	}
	for (size_t i = 0; i < d->n_debugs; i++) {
		const struct debuginfo_debug *x = &d->debugs[i];
		buf_printf(out, "debug\t%s", x->id);
		add_attrs(&x->attrs, &x->hash, out);
		buf_printf(out, "\t%s\n", shown(x->folder));
	}
	for (size_t i = 0; i < d->n_texts; i++) {
		const struct debuginfo_text *x = &d->texts[i];
		buf_printf(out, "text\t%s", x->folder);
		add_attrs(&x->attrs, &x->hash, out);
		buf_printf(out, "\t%s\n", x->path);
	}
}

int debuginfo_load(const struct mix *m, uint32_t release, struct debuginfo **out, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("update/releases/%u/debuginfo", release);
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(m->config->dir, path, DEBUGINFO_LIST_MAX, &text, e);
	if (r >= 0 && text.len >= strlen(BEFORE) && memcmp(text.data, BEFORE, strlen(BEFORE)) == 0)
		r = err_set(e, -ENOENT, "it was made by an older mixer");
	if (r >= 0)
		r = debuginfo_parse(text.data, text.len, out, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

size_t debuginfo_folder_end(const struct debuginfo *d, size_t i)
{
	const char *folder = d->texts[i].folder;

	while (++i < d->n_texts && strcmp(d->texts[i].folder, folder) == 0)
		;
	return i;
}

char *debuginfo_folder(const struct debuginfo_text *texts, size_t n)
{
	_cleanup_(buf_free) struct buf all = {0};
	struct digest d;
	char hex[DIGEST_HEX];

	for (size_t i = 0; i < n; i++) {
		digest_format(&texts[i].hash, hex);
		buf_printf(&all, "%s %s\n", hex, texts[i].path);
	}
	sha256_mem(all.data, all.len, &d);
	digest_format(&d, hex);
	return xasprintf("source/%s", hex);
}

int debuginfo_needs(const struct mix *m, uint32_t release, struct strv *out, struct err *e)
{
	_cleanup_(debuginfo_freep) struct debuginfo *d = NULL;
	struct err own = ERR_INIT;

	int r = debuginfo_load(m, release, &d, &own);
	if (!d) {
		err_move(r == -ENOENT ? NULL : e, &own);
		return r == -ENOENT ? 0 : r;
	}
	for (size_t i = 0; i < d->n_debugs; i++)
		strv_take(out, xasprintf("buildid/%s", d->debugs[i].id));
	for (size_t i = 0, end; i < d->n_texts; i = end) {
		end = debuginfo_folder_end(d, i);
		strv_take(out, debuginfo_folder(&d->texts[i], end - i));
	}
	return 1;
}

int debuginfo_each(const struct debuginfo *d, debuginfo_each_fn *each, void *arg, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < d->n_debugs; i++) {
		_cleanup_free_ char *path = xasprintf("buildid/%s/debuginfo", d->debugs[i].id);
		r = each(arg, path, &d->debugs[i].attrs, &d->debugs[i].hash, e);
	}
	/* the program itself, where somebody could do something with it: who looks at a core has perhaps no copy of the release */
	for (size_t i = 0; r >= 0 && i < d->n_files; i++) {
		_cleanup_free_ char *path = xasprintf("buildid/%s/executable", d->files[i].id);
		if (*d->files[i].by)
			r = each(arg, path, &d->files[i].attrs, &d->files[i].hash, e);
	}
	for (size_t i = 0, end; r >= 0 && i < d->n_texts; i = end) {
		end = debuginfo_folder_end(d, i);
		_cleanup_free_ char *folder = debuginfo_folder(&d->texts[i], end - i);
		for (size_t k = i; r >= 0 && k < end; k++) {
			_cleanup_free_ char *path = xasprintf("%s/%s", folder, d->texts[k].path);
			r = each(arg, path, &d->texts[k].attrs, &d->texts[k].hash, e);
		}
	}
	return r;
}
