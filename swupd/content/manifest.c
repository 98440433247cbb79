/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"

/*
 *     MANIFEST\t<format>\n                 always first
 *     version:\t<release>\n
 *     previous:\t<release>\n
 *     minversion:\t<release>\n             from format 26, unless 0
 *     filecount:\t<lines of the body>\n
 *     timestamp:\t<seconds since 1970>\n
 *     contentsize:\t<bytes>\n
 *     includes:\t<bundle>\n                any number
 *     also-add:\t<bundle>\n                any number, from format 29
 *     attached:\t<sha256> <bytes> <name>\n any number   | ours: to the predecessor unknown keys,
 *     sizes:\t<bytes> <bytes> …\n          any number   | which it ignores
 *     \n
 *     <type><status><variant><misc>\t<hash>\t<release>\t<name>\n  for each entry
 */

#define RELEASE_MAX    INT32_MAX /* the predecessor's client has an int */
#define INCLUDES_LIMIT 10000     /* the largest mix of the predecessors had 1200 bundles */
#define ATTACHED_LIMIT 1000
#define SIZES_LINE_MAX 4000 /* the predecessor reads lines into 8192 bytes */

/* An entry's columns: flags [0, 4), TAB, hash [5, 69), TAB, release from 70, TAB, name */
#define AT_HASH      5
#define AT_RELEASE   70
#define ENTRY_LENGTH 73 /* of the shortest */

static const char kinds[] = {
	[KIND_NONE] = '.', [KIND_FILE] = 'F', [KIND_DIR] = 'D', [KIND_LINK] = 'L', [KIND_BUNDLE] = 'M'};
static const char statuses[] = {
	[STATUS_PRESENT] = '.', [STATUS_DELETED] = 'd', [STATUS_GHOSTED] = 'g', [STATUS_EXPERIMENTAL] = 'e'};
static const char variants[] = ".acdefghijklmnopqrtuvwxyzABDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#^*";

struct manifest *manifest_new(void)
{
	struct arena *a = arena_new();
	struct manifest *m = arena_alloc(a, sizeof(*m));

	*m = (struct manifest){.arena = a};
	return m;
}

void manifest_free(struct manifest *m)
{
	if (m)
		arena_free(m->arena);
}

enum key {
	KEY_VERSION,
	KEY_PREVIOUS,
	KEY_MINVERSION,
	KEY_FILECOUNT,
	KEY_TIMESTAMP,
	KEY_CONTENTSIZE,
	KEY_INCLUDES, /* from here a key may come more than once */
	KEY_ALSO_ADD,
	KEY_ATTACHED,
	KEY_SIZES,
};

static const char *const keys[] = {
	[KEY_VERSION] = "version:",     [KEY_PREVIOUS] = "previous:",   [KEY_MINVERSION] = "minversion:",
	[KEY_FILECOUNT] = "filecount:", [KEY_TIMESTAMP] = "timestamp:", [KEY_CONTENTSIZE] = "contentsize:",
	[KEY_INCLUDES] = "includes:",   [KEY_ALSO_ADD] = "also-add:",   [KEY_ATTACHED] = "attached:",
	[KEY_SIZES] = "sizes:",
};

struct parser {
	struct manifest *m;
	const char *pos, *end;
	const char *line; /* the current one, without its '\n' */
	size_t len, number;
	bool mom;
	unsigned seen; /* bit per enum key */
	uint64_t filecount;
	size_t body; /* lines of the body so far */

	/* vectors, moved into the arena at the end */
	const char **includes, **also_add;
	struct attached *attached;
	size_t n_includes, cap_includes, n_also_add, cap_also_add, n_attached, cap_attached;
	uint64_t *sizes;
	size_t n_sizes, cap_sizes;

	struct table *names; /* to the first entry of that name */
	uint32_t *next;      /* per entry: the next of the same name, 0: none */
};

static void parser_end(struct parser *p)
{
	manifest_free(p->m);
	free(p->includes);
	free(p->also_add);
	free(p->attached);
	free(p->sizes);
	table_free(p->names);
	free(p->next);
}

static int bad_line(const struct parser *p, const char *why, struct err *e)
{
	return err_set(e, -ERR_FORMAT, "line %zu: %s", p->number, why);
}

/* What fails by its own words is in this line, and is a matter of form */
static int in_line(const struct parser *p, int r, struct err *e)
{
	if (r >= 0)
		return r;
	err_as(e, -ERR_FORMAT);
	return err_in(e, -ERR_FORMAT, "line %zu", p->number);
}

static int next_line(struct parser *p, struct err *e)
{
	bool complete;

	if (!text_line(&p->pos, p->end, &p->line, &p->len, &complete))
		return 0;
	p->number++;
	return complete ? 1 : bad_line(p, "the last line does not end", e);
}

static int take_number(const struct parser *p, const char *what, const char *s, size_t len, uint64_t min, uint64_t max,
		       uint64_t *out, struct err *e)
{
	if (text_u64_n(s, len, min, max, out) < 0)
		return err_set(e, -ERR_FORMAT, "line %zu: %s is not a number from %" PRIu64 " to %" PRIu64, p->number,
			       what, min, max);
	return 0;
}

static int take_release(const struct parser *p, const char *what, const char *s, size_t len, uint32_t min, uint32_t max,
			uint32_t *out, struct err *e)
{
	uint64_t n = 0;
	int r = take_number(p, what, s, len, min, max, &n, e);

	if (r == 0)
		*out = (uint32_t)n;
	return r;
}

static int take_include(struct parser *p, const char *s, size_t len, const char ***list, size_t *n, size_t *cap,
			struct err *e)
{
	const char *name = arena_strndup(p->m->arena, s, len);
	int r = in_line(p, bundle_name_check(name, e), e);

	if (r < 0)
		return r;
	if (*n >= INCLUDES_LIMIT)
		return bad_line(p, "too many included bundles", e);
	VEC_GROW(*list, *n, *cap);
	(*list)[(*n)++] = name;
	return 0;
}

static int attached_name_check(const char *name, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("/%s", name);

	if (strchr(name, '/'))
		return err_set(e, -ERR_PATH, "an attached file's name has a '/'");
	return name_check(path, e);
}

/* "<64 hex> <bytes> <name>" */
static int take_attached(struct parser *p, const char *s, size_t len, struct err *e)
{
	const char *size = s + 65, *end = s + len, *space;
	struct attached a;

	if (len < 65 || s[64] != ' ' || digest_parse(s, &a.sha256) < 0 ||
	    !(space = memchr(size, ' ', (size_t)(end - size))))
		return bad_line(p, "attached: wants a digest, a size and a name", e);
	int r = take_number(p, "the attached file's size", size, (size_t)(space - size), 0, INT64_MAX, &a.size, e);
	if (r < 0)
		return r;
	a.name = arena_strndup(p->m->arena, space + 1, (size_t)(end - space - 1));
	r = in_line(p, attached_name_check(a.name, e), e);
	if (r < 0)
		return r;
	if (p->n_attached >= ATTACHED_LIMIT)
		return bad_line(p, "too many attached files", e);
	VEC_GROW(p->attached, p->n_attached, p->cap_attached);
	p->attached[p->n_attached++] = a;
	return 0;
}

/* "<bytes> <bytes> …"; "-" is an unknown one */
static int take_sizes(struct parser *p, const char *s, size_t len, struct err *e)
{
	for (const char *end = s + len, *space; s <= end; s = space + 1) {
		uint64_t size = SIZE_UNKNOWN;
		space = memchr(s, ' ', (size_t)(end - s));
		if (!space)
			space = end;
		if (space - s != 1 || *s != '-') {
			int r = take_number(p, "a size", s, (size_t)(space - s), 0, INT64_MAX, &size, e);
			if (r < 0)
				return r;
		}
		if (p->n_sizes >= MANIFEST_ENTRIES_MAX)
			return bad_line(p, "too many sizes", e);
		VEC_GROW(p->sizes, p->n_sizes, p->cap_sizes);
		p->sizes[p->n_sizes++] = size;
	}
	return 0;
}

static int take_key(struct parser *p, enum key key, const char *s, size_t len, struct err *e)
{
	struct manifest *m = p->m;
	uint64_t n = 0;
	int r = 0;

	if (key < KEY_INCLUDES && p->seen & 1U << key)
		return bad_line(p, "this key was there before", e);
	p->seen |= 1U << key;
	switch (key) {
	case KEY_VERSION:
		return take_release(p, "version", s, len, 1, RELEASE_MAX, &m->release, e);
	case KEY_PREVIOUS:
		return take_release(p, "previous", s, len, 0, RELEASE_MAX, &m->previous, e);
	case KEY_MINVERSION:
		return take_release(p, "minversion", s, len, 0, RELEASE_MAX, &m->minversion, e);
	case KEY_FILECOUNT:
		return take_number(p, "filecount", s, len, 0, MANIFEST_ENTRIES_MAX, &p->filecount, e);
	case KEY_TIMESTAMP:
		r = take_number(p, "timestamp", s, len, 0, INT64_MAX, &n, e);
		m->timestamp = (int64_t)n;
		return r;
	case KEY_CONTENTSIZE:
		return take_number(p, "contentsize", s, len, 0, CONTENTSIZE_MAX, &m->contentsize, e);
	case KEY_INCLUDES:
		return take_include(p, s, len, &p->includes, &p->n_includes, &p->cap_includes, e);
	case KEY_ALSO_ADD:
		return take_include(p, s, len, &p->also_add, &p->n_also_add, &p->cap_also_add, e);
	case KEY_ATTACHED:
		return take_attached(p, s, len, e);
	case KEY_SIZES:
		return take_sizes(p, s, len, e);
	}
	return 0;
}

static int parse_header_line(struct parser *p, struct err *e)
{
	const char *tab = memchr(p->line, '\t', p->len);

	if (!tab)
		return bad_line(p, "a line of the header has no TAB", e);
	size_t key_len = (size_t)(tab - p->line);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strlen(keys[i]) == key_len && memcmp(keys[i], p->line, key_len) == 0)
			return take_key(p, (enum key)i, tab + 1, p->len - key_len - 1, e);
	return 0; /* a key of a later format */
}

static int parse_header(struct parser *p, uint32_t release, struct err *e)
{
	static const char magic[] = "MANIFEST\t";
	const size_t magic_len = sizeof(magic) - 1;

	int r = next_line(p, e);
	if (r < 0)
		return r;
	if (r == 0 || p->len < magic_len || memcmp(p->line, magic, magic_len) != 0)
		return err_set(e, -ERR_FORMAT, "not a manifest");
	r = take_release(p, "the format", p->line + magic_len, p->len - magic_len, 1, RELEASE_MAX, &p->m->format, e);
	while (r >= 0) {
		r = next_line(p, e);
		if (r == 0)
			return err_set(e, -ERR_FORMAT, "it ends within the header");
		if (r > 0 && p->len == 0)
			break;
		if (r > 0)
			r = parse_header_line(p, e);
	}
	if (r < 0)
		return r;
	if (p->m->release == 0)
		return err_set(e, -ERR_FORMAT, "it does not tell its version");
	if (release && p->m->release != release)
		return err_set(e, -ERR_FORMAT, "it is of release %" PRIu32 ", not %" PRIu32, p->m->release, release);
	return 0;
}

static int find_letter(const char *letters, size_t n, char c)
{
	const char *at = memchr(letters, c, n);

	return at ? (int)(at - letters) : -1;
}

/* The four letters. 1: an entry, 0: one of no meaning, to be left out. */
static int parse_flags(const struct parser *p, struct entry *x, struct err *e)
{
	const char *f = p->line;
	int kind = find_letter(kinds, sizeof(kinds), f[0]);
	int status = find_letter(statuses, sizeof(statuses), f[1]);
	/* b (boot), s (state), C (configuration) are of formats before there were variants */
	int variant = strchr("bsC", f[2]) ? 0 : find_letter(variants, sizeof(variants) - 1, f[2]);

	if (f[0] == 'I') /* a list of bundles that is no more */
		return 0;
	if (kind < 0 || (kind == KIND_BUNDLE && !p->mom))
		return bad_line(p, "unknown type", e);
	if (status < 0 || (status == STATUS_EXPERIMENTAL && !p->mom))
		return bad_line(p, "unknown status", e);
	if (variant < 0)
		return bad_line(p, "unknown variant", e);
	if (!strchr(".xrm", f[3])) /* r (renamed) and m (of a local mix) mean nothing any more */
		return bad_line(p, "unknown fourth flag", e);
	if (status == STATUS_DELETED || status == STATUS_GHOSTED) {
		if (p->mom) /* a bundle that is not in the MoM is gone, too */
			return 0;
		kind = KIND_NONE;
	} else if (kind == KIND_NONE) {
		return bad_line(p, "a path that is present has no type", e);
	} else if (p->mom && kind != KIND_BUNDLE) {
		return bad_line(p, "a path among the bundles", e);
	}
	if (variant > VARIANT_MAX)
		return 0;
	x->kind = (enum file_kind)kind;
	x->status = (enum file_status)status;
	x->variant = (uint8_t)variant;
	x->exported = f[3] == 'x';
	return 1;
}

/* 1: taken into *x, 0: to be left out */
static int parse_entry(struct parser *p, struct entry *x, struct err *e)
{
	const char *end = p->line + p->len, *tab;
	*x = (struct entry){0};

	if (p->len == 0)
		return bad_line(p, "an empty line", e);
	if (p->len < ENTRY_LENGTH || p->line[AT_HASH - 1] != '\t' || p->line[AT_RELEASE - 1] != '\t' ||
	    !(tab = memchr(p->line + AT_RELEASE, '\t', (size_t)(end - p->line - AT_RELEASE))))
		return bad_line(p, "not four flags, a hash, a release and a name", e);
	if (digest_parse(p->line + AT_HASH, &x->hash) < 0)
		return bad_line(p, "the hash is not 64 lower-case hexadecimal digits", e);
	int r = take_release(p, "the release", p->line + AT_RELEASE, (size_t)(tab - p->line - AT_RELEASE), 1,
			     p->m->release, &x->release, e);
	if (r < 0)
		return r;
	int keep = parse_flags(p, x, e);
	if (keep <= 0)
		return keep;
	if (digest_equal(&x->hash, &digest_zero) != (x->kind == KIND_NONE))
		return bad_line(p, "the hash must be zero exactly for what is deleted", e);
	x->name = arena_strndup(p->m->arena, tab + 1, (size_t)(end - tab - 1));
	r = in_line(p, p->mom ? bundle_name_check(x->name, e) : name_check(x->name, e), e);
	if (r < 0)
		return r;
	x->size = x->kind == KIND_NONE || x->kind == KIND_DIR ? 0 : SIZE_UNKNOWN;
	if (p->n_sizes && p->body <= p->n_sizes && x->size == SIZE_UNKNOWN)
		x->size = p->sizes[p->body - 1];
	return 1;
}

/* Entry i of a name and variant: 1 the first, 0 the same again, negative: another one */
static int check_duplicate(struct parser *p, size_t i, struct err *e)
{
	struct entry *all = p->m->entries, *x = &all[i];
	struct entry *other = table_add_str(p->names, x->name, x);

	if (!other)
		return 1;
	for (;;) {
		uint32_t *next = &p->next[other - all];
		if (other->variant == x->variant) {
			if (digest_equal(&other->hash, &x->hash) && other->status == x->status)
				return 0;
			return bad_line(p, "this name was there before, with another hash", e);
		}
		if (*next == 0) {
			*next = (uint32_t)i;
			return 1;
		}
		other = &all[*next];
	}
}

static int parse_body(struct parser *p, struct err *e)
{
	struct manifest *m = p->m;
	size_t lines = 0;
	int r;

	for (const char *s = p->pos; s < p->end && (s = memchr(s, '\n', (size_t)(p->end - s))); s++)
		lines++;
	if (lines > MANIFEST_ENTRIES_MAX)
		return err_set(e, -ERR_LIMIT, "more than %lu entries", MANIFEST_ENTRIES_MAX);
	if (p->seen & 1U << KEY_SIZES && p->n_sizes != lines)
		return err_set(e, -ERR_FORMAT, "there are %zu sizes, but %zu entries", p->n_sizes, lines);
	m->entries = arena_alloc(m->arena, lines * sizeof(*m->entries)); /* those that are dropped waste their place */
	p->names = table_new();
	p->next = xcalloc(lines, sizeof(*p->next));
	while ((r = next_line(p, e)) > 0) {
		p->body++;
		r = parse_entry(p, &m->entries[m->n_entries], e);
		if (r > 0)
			r = check_duplicate(p, m->n_entries, e);
		if (r < 0)
			return r;
		m->n_entries += (size_t)r;
	}
	return r;
}

/*
 * A count tells a list that was cut short. With variants the predecessor's builder counts what it found below its roots of variants
 * too, but writes no lines for links and directories there: then the count may be above.
 */
static int check_filecount(const struct parser *p, struct err *e)
{
	bool above = false;

	if (!(p->seen & 1U << KEY_FILECOUNT) || p->filecount == p->body)
		return 0;
	for (size_t i = 0; i < p->m->n_entries && p->filecount > p->body && !above; i++)
		above = p->m->entries[i].variant != 0;
	if (above)
		return 0;
	return err_set(e, -ERR_FORMAT, "filecount is %" PRIu64 ", but there are %zu entries", p->filecount, p->body);
}

static void *into_arena(struct arena *a, const void *data, size_t size)
{
	return size ? memcpy(arena_alloc(a, size), data, size) : NULL;
}

int manifest_parse(const char *text, size_t len, bool mom, uint32_t release, struct manifest **out, struct err *e)
{
	_cleanup_(parser_end) struct parser p = {.m = manifest_new(), .pos = text, .end = text + len, .mom = mom};
	struct manifest *m = p.m;

	if (len > MANIFEST_MAX)
		return err_set(e, -ERR_LIMIT, "larger than %lu bytes", MANIFEST_MAX);
	if (memchr(text, '\0', len) || memchr(text, '\r', len))
		return err_set(e, -ERR_FORMAT, "it has a NUL or carriage return");
	int r = parse_header(&p, release, e);
	if (r >= 0)
		r = parse_body(&p, e);
	if (r >= 0)
		r = check_filecount(&p, e);
	if (r < 0)
		return r;
	m->includes = into_arena(m->arena, p.includes, p.n_includes * sizeof(*p.includes));
	m->n_includes = p.n_includes;
	m->also_add = into_arena(m->arena, p.also_add, p.n_also_add * sizeof(*p.also_add));
	m->n_also_add = p.n_also_add;
	m->attached = into_arena(m->arena, p.attached, p.n_attached * sizeof(*p.attached));
	m->n_attached = p.n_attached;
	*out = take(p.m);
	return 0;
}

static bool has_sizes(const struct manifest *m)
{
	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].kind != KIND_NONE && m->entries[i].kind != KIND_DIR &&
		    m->entries[i].size != SIZE_UNKNOWN)
			return true;
	return false;
}

static void format_sizes(const struct manifest *m, struct buf *out)
{
	size_t used = 0; /* of the line */

	for (size_t i = 0; i < m->n_entries; i++) {
		const struct entry *x = &m->entries[i];
		char number[24] = "-";
		if (x->kind == KIND_NONE || x->kind == KIND_DIR)
			strcpy(number, "0");
		else if (x->size != SIZE_UNKNOWN)
			snprintf(number, sizeof(number), "%" PRIu64, x->size);
		size_t len = strlen(number) + 1;
		if (used == 0 || used + len > SIZES_LINE_MAX) {
			buf_puts(out, used ? "\n" : "");
			buf_puts(out, keys[KEY_SIZES]);
			used = strlen(keys[KEY_SIZES]);
			buf_putc(out, '\t');
		} else {
			buf_putc(out, ' ');
		}
		buf_puts(out, number);
		used += len;
	}
	buf_putc(out, '\n');
}

static void format_header(const struct manifest *m, struct buf *out)
{
	char hex[DIGEST_HEX];

	buf_printf(out, "MANIFEST\t%" PRIu32 "\n", m->format);
	buf_printf(out, "%s\t%" PRIu32 "\n", keys[KEY_VERSION], m->release);
	buf_printf(out, "%s\t%" PRIu32 "\n", keys[KEY_PREVIOUS], m->previous);
	if (m->format >= FORMAT_MINVERSION && m->minversion)
		buf_printf(out, "%s\t%" PRIu32 "\n", keys[KEY_MINVERSION], m->minversion);
	buf_printf(out, "%s\t%zu\n", keys[KEY_FILECOUNT], m->n_entries);
	buf_printf(out, "%s\t%" PRId64 "\n", keys[KEY_TIMESTAMP], m->timestamp);
	buf_printf(out, "%s\t%" PRIu64 "\n", keys[KEY_CONTENTSIZE], m->contentsize);
	for (size_t i = 0; i < m->n_includes; i++)
		buf_printf(out, "%s\t%s\n", keys[KEY_INCLUDES], m->includes[i]);
	for (size_t i = 0; m->format >= FORMAT_ALSO_ADD && i < m->n_also_add; i++)
		buf_printf(out, "%s\t%s\n", keys[KEY_ALSO_ADD], m->also_add[i]);
	for (size_t i = 0; i < m->n_attached; i++) {
		digest_format(&m->attached[i].sha256, hex);
		buf_printf(out, "%s\t%s %" PRIu64 " %s\n", keys[KEY_ATTACHED], hex, m->attached[i].size,
			   m->attached[i].name);
	}
	if (has_sizes(m))
		format_sizes(m, out);
	buf_putc(out, '\n');
}

/* Without printf: it takes most of the time of a large manifest */
static void format_entry(const struct entry *x, struct buf *out)
{
	char line[AT_RELEASE] = {kinds[x->kind], statuses[x->status], variants[x->variant], x->exported ? 'x' : '.',
				 '\t'};
	char digits[16];
	size_t at = sizeof(digits);

	digest_format(&x->hash, line + AT_HASH);
	line[AT_RELEASE - 1] = '\t';
	digits[--at] = '\t';
	for (uint32_t n = x->release; n || digits[at] == '\t'; n /= 10)
		digits[--at] = (char)('0' + n % 10);
	buf_add(out, line, sizeof(line));
	buf_add(out, digits + at, sizeof(digits) - at);
	buf_puts(out, x->name);
	buf_putc(out, '\n');
}

void manifest_format(const struct manifest *m, struct buf *out)
{
	format_header(m, out);
	for (size_t i = 0; i < m->n_entries; i++)
		format_entry(&m->entries[i], out);
}

/* The text's order is by release and name; the rest makes it one order, whatever it was before */
static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->release != y->release)
		return x->release < y->release ? -1 : 1;
	int r = strcmp(x->name, y->name);
	if (r == 0)
		r = (int)x->variant - (int)y->variant;
	return r ? r : memcmp(&x->hash, &y->hash, sizeof(x->hash));
}

void manifest_sort(struct manifest *m)
{
	if (m->n_entries)
		qsort(m->entries, m->n_entries, sizeof(*m->entries), compare_entries);
}

struct table *manifest_index(const struct manifest *m)
{
	struct table *t = table_new();

	for (size_t i = 0; i < m->n_entries; i++)
		table_add_str(t, m->entries[i].name, &m->entries[i]);
	return t;
}

const struct entry *manifest_find(const struct manifest *m, const char *name)
{
	for (size_t i = 0; i < m->n_entries; i++)
		if (strcmp(m->entries[i].name, name) == 0)
			return &m->entries[i];
	return NULL;
}

void manifest_hash(const void *text, size_t len, struct digest *out)
{
	const struct attrs a = {.kind = KIND_FILE, .mode = 0644, .size = len};

	file_hash_mem(&a, text, len, out);
}
