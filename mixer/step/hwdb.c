/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/hwdb.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "swupd/base/table.h"
#include "swupd/base/text.h"

#define HEADER_SIZE 80
#define NODE_SIZE   24
#define CHILD_SIZE  16
#define VALUE_SIZE  32

struct value {
	const char *key, *text, *source;
	uint32_t line;
	uint16_t priority;
};

struct place {
	const char *prefix; /* behind the letter that leads here */
	struct place **children;
	size_t n_children, cap_children; /* by letter */
	struct value *values;
	size_t n_values, cap_values; /* by key */
	unsigned char letter;
};

struct hwdb {
	struct arena *arena;
	struct place *root;
	uint16_t sources;
};

static struct place *place_new(struct hwdb *h, unsigned char letter, const char *prefix)
{
	struct place *p = xcalloc(1, sizeof(*p));

	p->letter = letter;
	p->prefix = arena_strdup(h->arena, prefix);
	return p;
}

static void place_free(struct place *p)
{
	for (size_t i = 0; i < p->n_children; i++)
		place_free(p->children[i]);
	free(p->children);
	free(p->values);
	free(p);
}

struct hwdb *hwdb_new(void)
{
	struct hwdb *h = xcalloc(1, sizeof(*h));

	h->arena = arena_new();
	h->root = place_new(h, 0, "");
	return h;
}

void hwdb_free(struct hwdb *h)
{
	if (!h)
		return;
	place_free(h->root);
	arena_free(h->arena);
	free(h);
}

/* Where the child with this letter is, or belongs. */
static size_t child_index(const struct place *p, unsigned char letter)
{
	size_t i = 0;

	while (i < p->n_children && p->children[i]->letter < letter)
		i++;
	return i;
}

static void child_insert(struct place *p, size_t at, struct place *child)
{
	VEC_GROW(p->children, p->n_children, p->cap_children);
	memmove(&p->children[at + 1], &p->children[at], (p->n_children - at) * sizeof(struct place *));
	p->children[at] = child;
	p->n_children++;
}

static void value_set(struct place *p, const struct value *v)
{
	size_t i = 0;

	while (i < p->n_values && strcmp(p->values[i].key, v->key) < 0)
		i++;
	if (i == p->n_values || strcmp(p->values[i].key, v->key) != 0) {
		VEC_GROW(p->values, p->n_values, p->cap_values);
		memmove(&p->values[i + 1], &p->values[i], (p->n_values - i) * sizeof(struct value));
		p->n_values++;
	}
	p->values[i] = *v;
}

/* The tree's first len bytes of the prefix stay, the rest moves into a child. */
static void split(struct hwdb *h, struct place *p, size_t len)
{
	struct place *rest = place_new(h, (unsigned char)p->prefix[len], p->prefix + len + 1);
	struct place moved = *p;

	*p = (struct place){.letter = moved.letter, .prefix = arena_strndup(h->arena, moved.prefix, len)};
	rest->children = moved.children;
	rest->n_children = moved.n_children;
	rest->cap_children = moved.cap_children;
	rest->values = moved.values;
	rest->n_values = moved.n_values;
	rest->cap_values = moved.cap_values;
	child_insert(p, 0, rest);
}

static void insert(struct hwdb *h, const char *pattern, const struct value *v)
{
	struct place *p = h->root;

	for (;;) {
		size_t len = 0;
		while (p->prefix[len] && p->prefix[len] == pattern[len])
			len++;
		if (p->prefix[len])
			split(h, p, len);
		pattern += len;
		if (!*pattern)
			break;
		const unsigned char letter = (unsigned char)*pattern++;
		const size_t at = child_index(p, letter);
		if (at == p->n_children || p->children[at]->letter != letter)
			child_insert(p, at, place_new(h, letter, pattern));
		p = p->children[at];
	}
	value_set(p, v);
}

/* " KEY=VALUE" with any number of blanks before it; the key is kept with one. */
static void add_property(struct hwdb *h, const struct strv *patterns, char *line, const char *source, uint32_t number)
{
	char *equals = strchr(line, '=');

	if (!equals)
		return;
	*equals = '\0';
	while ((line[0] == ' ' || line[0] == '\t') && (line[1] == ' ' || line[1] == '\t'))
		line++;
	if (line[1] == '\0')
		return;
	const struct value v = {
		.key = arena_strdup(h->arena, line),
		.text = arena_strdup(h->arena, equals + 1),
		.source = source,
		.line = number,
		.priority = h->sources,
	};
	for (size_t i = 0; i < patterns->n; i++)
		insert(h, patterns->items[i], &v);
}

void hwdb_add(struct hwdb *h, const char *name, const char *text, size_t len)
{
	const char *source = arena_strdup(h->arena, name), *pos = text, *start;
	_cleanup_(strv_free) struct strv patterns = {0};
	bool in_data = false;
	size_t n;

	h->sources++;
	for (uint32_t number = 1; text_line(&pos, text + len, &start, &n, NULL); number++) {
		_cleanup_free_ char *line = xstrndup(start, n);
		if (*line == '#')
			continue;
		line[strcspn(line, "#")] = '\0';
		for (size_t end = strlen(line); end && strchr(" \t\r\v\f", line[end - 1]);)
			line[--end] = '\0';
		const bool property = *line == ' ';
		if (!*line || (in_data && !property)) {
			/* the record ends; one that runs on without an empty line does so by mistake, and what follows is none */
			strv_free(&patterns);
			in_data = false;
		} else if (property && patterns.n) {
			in_data = true;
			add_property(h, &patterns, line, source, number);
		} else if (!property) {
			strv_add(&patterns, line);
		}
	}
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

struct writer {
	struct buf nodes, strings;
	struct table *known; /* string → uint64_t, its offset in the file */
	struct arena *arena;
	uint64_t strings_at;
};

static void put(struct buf *b, uint64_t x, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		buf_putc(b, (char)(x >> (8 * i)));
}

static uint64_t string_at(struct writer *w, const char *s)
{
	uint64_t *at = table_find_str(w->known, s);

	if (!at) {
		at = arena_alloc(w->arena, sizeof(*at));
		*at = w->strings_at + w->strings.len;
		(void)table_add_str(w->known, s, at);
		buf_add(&w->strings, s, strlen(s) + 1);
	}
	return *at;
}

static uint64_t size_of(const struct place *p)
{
	uint64_t size = NODE_SIZE + CHILD_SIZE * p->n_children + VALUE_SIZE * p->n_values;

	for (size_t i = 0; i < p->n_children; i++)
		size += size_of(p->children[i]);
	return size;
}

/* Returns the place's offset. */
static uint64_t put_place(struct writer *w, const struct place *p)
{
	_cleanup_free_ uint64_t *children = xcalloc(p->n_children + 1, sizeof(*children));

	for (size_t i = 0; i < p->n_children; i++)
		children[i] = put_place(w, p->children[i]);
	const uint64_t at = HEADER_SIZE + w->nodes.len;
	put(&w->nodes, string_at(w, p->prefix), 8);
	put(&w->nodes, p->n_children, 8);
	put(&w->nodes, p->n_values, 8);
	for (size_t i = 0; i < p->n_children; i++) {
		put(&w->nodes, p->children[i]->letter, 8);
		put(&w->nodes, children[i], 8);
	}
	for (size_t i = 0; i < p->n_values; i++) {
		const struct value *v = &p->values[i];
		put(&w->nodes, string_at(w, v->key), 8);
		put(&w->nodes, string_at(w, v->text), 8);
		put(&w->nodes, string_at(w, v->source), 8);
		put(&w->nodes, v->line, 4);
		put(&w->nodes, v->priority, 4);
	}
	return at;
}

void hwdb_format(const struct hwdb *h, struct buf *out)
{
	const uint64_t nodes = size_of(h->root);
	struct writer w = {.known = table_new(), .arena = arena_new(), .strings_at = HEADER_SIZE + nodes};

	(void)string_at(&w, "");
	const uint64_t root = put_place(&w, h->root);
	buf_add(out, "KSLPHHRH", 8);
	put(out, 0, 8); /* no version of any tool: it would change nothing that is read */
	put(out, HEADER_SIZE + nodes + w.strings.len, 8);
	put(out, HEADER_SIZE, 8);
	put(out, NODE_SIZE, 8);
	put(out, CHILD_SIZE, 8);
	put(out, VALUE_SIZE, 8);
	put(out, root, 8);
	put(out, nodes, 8);
	put(out, w.strings.len, 8);
	buf_add(out, w.nodes.data, w.nodes.len);
	buf_add(out, w.strings.data, w.strings.len);
	buf_free(&w.nodes);
	buf_free(&w.strings);
	table_free(w.known);
	arena_free(w.arena);
}
