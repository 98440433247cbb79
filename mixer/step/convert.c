/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/convert.h"

#include <string.h>

#include "mixer/input/rules.h"
#include "mixer/input/tree.h"
#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define COMMENTS_MAX (256UL << 10) /* a configuration file of nothing but comments is not larger */
#define EXPANDED_MAX (1UL << 30)

struct conversion {
	const struct rules *rules;
	struct store *store;
	const char *name;
	struct tree *out;
	struct strv lines; /* of tmpfiles.d */
};

/* The name in a merged /usr: "/lib/x" is "/usr/lib/x". The root's own links keep theirs. */
static char *merged_name(const struct node *n)
{
	static const char *const merged[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};

	for (size_t i = 0; i < ARRAY_LEN(merged); i++) {
		const size_t len = strlen(merged[i]);
		if (strncmp(n->path, merged[i], len) == 0 &&
		    (n->path[len] == '/' || (n->path[len] == '\0' && n->attrs.kind == KIND_DIR)))
			return xasprintf("/usr%s", n->path);
	}
	return xstrdup(n->path);
}

static bool is_comment(const char *line, size_t len)
{
	while (len && (*line == ' ' || *line == '\t' || *line == '\r')) {
		line++;
		len--;
	}
	return len == 0 || *line == '#' || *line == ';' || *line == '[';
}

/* 1: it holds nothing but comments. */
static int holds_only_comments(const struct conversion *c, const struct node *n, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	const char *pos, *line;
	size_t len;

	if (n->attrs.kind != KIND_FILE || n->attrs.size > COMMENTS_MAX)
		return 0;
	int r = store_load(c->store, &n->hash, COMMENTS_MAX, &text, e);
	if (r < 0)
		return r;
	pos = text.data;
	while (text_line(&pos, text.data + text.len, &line, &len, NULL))
		if (!is_comment(line, len))
			return 0;
	return 1;
}

/* 1: it was compressed; n and *path are what is in it. */
static int expand(struct conversion *c, struct node *n, char **path, struct err *e)
{
	static const char *const ends[] = {".gz", ".xz", ".zst", ".bz2"};
	_cleanup_(buf_free) struct buf stored = {0}, text = {0};
	size_t end = 0;

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (text_ends(*path, ends[i]))
			end = strlen(ends[i]);
	if (n->attrs.kind != KIND_FILE || !end)
		return 0;
	int r = store_load(c->store, &n->hash, EXPANDED_MAX, &stored, e);
	const enum codec codec = r < 0 ? CODEC_NONE : codec_detect(stored.data, stored.len);
	if (r >= 0 && codec == CODEC_NONE)
		return 0;
	if (r >= 0)
		r = decompress_mem(codec, stored.data, stored.len, EXPANDED_MAX, &text, e);
	n->attrs.size = text.len;
	if (r >= 0)
		r = store_put(c->store, &n->attrs, text.data, &n->hash, e);
	if (r < 0)
		return err_in(e, r, "%s", n->path);
	(*path)[strlen(*path) - end] = '\0';
	return 1;
}

/* A path as tmpfiles.d(5) wants it: specifiers and blanks escaped. */
static char *tmpfiles_path(const char *path)
{
	struct buf b = {0};

	for (; *path; path++) {
		if (*path == '%')
			buf_puts(&b, "%%");
		else if (*path == ' ' || *path == '\\' || *path == '"' || *path == '\'')
			buf_printf(&b, "\\x%02x", *path);
		else
			buf_putc(&b, *path);
	}
	return b.data;
}

static void add_line(struct conversion *c, const char *type, const char *path, const struct attrs *a,
		     const char *target)
{
	_cleanup_free_ char *where = tmpfiles_path(path);
	_cleanup_free_ char *what = target ? tmpfiles_path(target) : NULL;

	if (a)
		strv_take(&c->lines,
			  xasprintf("%s %s %04o %u %u - %s", type, where, a->mode, a->uid, a->gid, what ? what : "-"));
	else
		strv_take(&c->lines, xasprintf("%s %s - - - - %s", type, where, what ? what : "-"));
}

/* Directories that systemd's own var.conf makes; a second line for one is only noise in the journal. */
static bool is_made_by_systemd(const char *path)
{
	static const char *const made[] = {"/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/tmp"};

	for (size_t i = 0; i < ARRAY_LEN(made); i++)
		if (strcmp(path, made[i]) == 0)
			return true;
	return false;
}

static void add_parents(struct conversion *c, const char *path)
{
	static const struct attrs plain = {.kind = KIND_DIR, .mode = 0755};
	_cleanup_free_ char *parent = xstrdup(path);

	for (char *slash = strrchr(parent, '/'); slash && slash != parent; slash = strrchr(parent, '/')) {
		*slash = '\0';
		if (!strrchr(parent + 1, '/') || is_made_by_systemd(parent))
			return;
		/* a line of the package's own for the directory, with another owner, wins: see add_tmpfiles */
		add_line(c, "d", parent, &plain, NULL);
	}
}

static void ship(struct conversion *c, const struct node *n, const char *path)
{
	struct node copy = *n;

	copy.path = path;
	tree_add(c->out, &copy);
}

/* A file of the factory comes to its place in /etc as a link, so that the next release's is taken at once; or as a copy. */
static void add_factory_line(struct conversion *c, const char *path, const struct attrs *a)
{
	_cleanup_free_ char *factory = xasprintf(FACTORY "%s", path);
	_cleanup_(buf_free) struct buf up = {0};

	if (!text_starts(path, "/etc/") || rules_copy(c->rules, path)) {
		add_line(c, "C", path, a, factory);
		return;
	}
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/'))
		buf_puts(&up, "../");
	buf_puts(&up, factory + 1);
	add_line(c, "L", path, NULL, up.data);
}

/* A path outside of /usr that the running system has to find all the same. */
static void make_at_start(struct conversion *c, const struct node *n, const char *path)
{
	add_parents(c, path);
	if (n->attrs.kind == KIND_DIR) {
		add_line(c, "d", path, &n->attrs, NULL);
	} else if (n->attrs.kind == KIND_LINK) {
		add_line(c, "L", path, NULL, n->link);
	} else {
		_cleanup_free_ char *factory = xasprintf(FACTORY "%s", path);
		ship(c, n, factory);
		add_factory_line(c, path, &n->attrs);
	}
}

static bool is_top(const char *path)
{
	return strchr(path + 1, '/') == NULL;
}

/* /etc and /var are filled when a machine starts, also /root, /srv, /run and the like. Programs in /opt would be copied once and never updated. */
static bool is_filled_at_start(const char *path)
{
	static const char *const not [] = {"/boot/", "/dev/", "/opt/", "/proc/", "/sys/"};

	for (size_t i = 0; i < ARRAY_LEN(not ); i++)
		if (text_starts(path, not [i]))
			return false;
	return !is_top(path);
}

static int place_outside(struct conversion *c, const struct node *n, const char *path, struct err *e)
{
	if (is_filled_at_start(path))
		make_at_start(c, n, path);
	else if (n->attrs.kind != KIND_DIR)
		return err_hint(e,
				err_set(e, -ERR_PATH, "it has %s, and a release holds nothing outside of /usr", path),
				"'drop' or 'move' in convert.rules decides what becomes of it");
	/* directories of the root are those of the bundle that begins an OS */
	return 0;
}

static int convert_node(struct conversion *c, const struct node *n, struct err *e)
{
	_cleanup_free_ char *path = merged_name(n);
	struct node changed = *n;
	size_t at = 0;

	for (;;) {
		_cleanup_free_ char *to = NULL;
		enum rule_action action = rules_find(c->rules, path, &at, &to);
		if (action == RULE_DROP)
			return 0;
		if (action == RULE_COMMENT_ONLY) {
			int r = holds_only_comments(c, n, e);
			if (r != 0)
				return r < 0 ? err_in(e, r, "%s", n->path) : 0;
			continue;
		}
		if (action == RULE_EXPAND) {
			int r = expand(c, &changed, &path, e);
			if (r < 0)
				return r;
			if (r == 0)
				continue;
		}
		if (action == RULE_LINK) {
			changed.attrs = (struct attrs){.kind = KIND_LINK, .size = strlen(to)};
			changed.link = arena_strdup(c->out->arena, to);
			file_hash_mem(&changed.attrs, to, strlen(to), &changed.hash);
		} else if (action == RULE_MOVE) {
			free(path);
			path = take(to);
		}
		break;
	}
	if (!text_starts(path, "/usr/") && !(is_top(path) && changed.attrs.kind == KIND_LINK))
		return place_outside(c, &changed, path, e);
	ship(c, &changed, path);
	return 0;
}

/* Lines of one path: those for parents that were only assumed give way to the package's own. */
static void add_tmpfiles(struct conversion *c, struct buf *text)
{
	strv_sort_unique(&c->lines);
	buf_printf(text, "# what %s has outside of /usr\n", c->name);
	for (size_t i = 0; i < c->lines.n; i++) {
		const char *line = c->lines.items[i];
		_cleanup_(strv_free) struct strv words = {0};
		bool other = false;
		strv_split(&words, line, " ");
		if (strcmp(words.items[0], "d") == 0 && strcmp(words.items[2], "0755") == 0 &&
		    strcmp(words.items[3], "0") == 0 && strcmp(words.items[4], "0") == 0) {
			_cleanup_free_ char *prefix = xasprintf("d %s ", words.items[1]);
			for (size_t k = 0; k < c->lines.n; k++)
				other |= k != i && text_starts(c->lines.items[k], prefix);
		}
		if (!other)
			buf_printf(text, "%s\n", line);
	}
}

void convert_factory_lines(const struct rules *rules, const char *who, const struct tree *t, struct buf *out)
{
	struct conversion c = {.rules = rules, .name = who};

	for (size_t i = 0; i < t->n; i++) {
		const struct node *n = &t->nodes[i];
		if (!text_starts(n->path, FACTORY "/etc/") || n->attrs.kind == KIND_DIR)
			continue;
		const char *path = n->path + strlen(FACTORY);
		add_parents(&c, path);
		if (n->attrs.kind == KIND_LINK)
			add_line(&c, "L", path, NULL, n->link);
		else
			add_factory_line(&c, path, &n->attrs);
	}
	if (c.lines.n)
		add_tmpfiles(&c, out);
	strv_free(&c.lines);
}

/* Of a directory */
static bool is_default(const struct attrs *a)
{
	return a->mode == 0755 && a->uid == 0 && a->gid == 0;
}

/* Several names of one path became one: equal nodes are one, of directories the one that is not just the default counts. */
static int unite(struct conversion *c, struct err *e)
{
	struct tree *t = c->out;
	size_t kept = 0;

	tree_sort(t);
	for (size_t i = 0; i < t->n; i++) {
		struct node *last = kept ? &t->nodes[kept - 1] : NULL, *n = &t->nodes[i];
		if (!last || strcmp(last->path, n->path) != 0) {
			t->nodes[kept++] = *n;
			continue;
		}
		const bool dirs = last->attrs.kind == KIND_DIR && n->attrs.kind == KIND_DIR;
		if (digest_equal(&last->hash, &n->hash) && last->attrs.kind == n->attrs.kind)
			continue;
		if (dirs && !is_default(&n->attrs) && !is_default(&last->attrs))
			return err_set(e, -ERR_CONFLICT, "it has two different directories %s", last->path);
		if (!dirs)
			return err_set(e, -ERR_CONFLICT, "it has two different files for %s", last->path);
		if (is_default(&last->attrs))
			*last = *n;
	}
	t->n = kept;
	return 0;
}

int convert_package(const struct rules *rules, struct store *s, const char *name, const struct tree *raw,
		    struct tree **out, struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = tree_new();
	struct conversion c = {.rules = rules, .store = s, .name = name, .out = t};
	_cleanup_(buf_free) struct buf text = {0};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < raw->n; i++)
		r = convert_node(&c, &raw->nodes[i], e);
	if (r >= 0 && c.lines.n) {
		_cleanup_free_ char *path = xasprintf("/usr/lib/tmpfiles.d/zz-%s.conf", name);
		add_tmpfiles(&c, &text);
		struct node n = {
			.path = path, .origin = name, .attrs = {.kind = KIND_FILE, .mode = 0644, .size = text.len}};
		r = store_put(s, &n.attrs, text.data, &n.hash, e);
		if (r >= 0)
			tree_add(t, &n);
	}
	strv_free(&c.lines);
	if (r >= 0)
		r = unite(&c, e);
	if (r < 0)
		return err_in(e, r, "package %s", name);
	*out = take(t);
	return 0;
}
