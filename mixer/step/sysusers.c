/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/sysusers.h"

#include <string.h>

#include "mixer/input/lock.h"
#include "mixer/input/tree.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define SYSUSERS_MAX (1UL << 20)

/* A blank-separated word of [*pos, end). */
static bool next_word(const char **pos, const char *end, const char **word, size_t *len)
{
	while (*pos < end && (**pos == ' ' || **pos == '\t'))
		(*pos)++;
	*word = *pos;
	while (*pos < end && **pos != ' ' && **pos != '\t')
		(*pos)++;
	*len = (size_t)(*pos - *word);
	return *len > 0;
}

/* sysusers.d(5): "u name ID …", "u! name ID …", "g name ID"; ID "-" or "-:group" asks for any free number */
static int pin_line(const char *line, size_t len, struct lock *l, struct buf *out, struct err *e)
{
	const char *pos = line, *end = line + len, *type, *name, *id;
	size_t type_len, name_len, id_len;
	uint32_t number;

	if (!next_word(&pos, end, &type, &type_len) || (*type != 'u' && *type != 'g') ||
	    (type_len > 1 && !(type_len == 2 && type[1] == '!')) || !next_word(&pos, end, &name, &name_len) ||
	    !next_word(&pos, end, &id, &id_len) || *id != '-' || (id_len > 1 && id[1] != ':')) {
		buf_add(out, line, len);
		return 0;
	}
	_cleanup_free_ char *who = xstrndup(name, name_len);
	int r = lock_id(l, *type == 'u' ? "user" : "group", who, &number, e);
	if (r < 0)
		return r;
	buf_add(out, line, (size_t)(id - line));
	buf_printf(out, "%u", number);
	buf_add(out, id + 1, (size_t)(end - id - 1));
	return 1;
}

int sysusers_pin_text(const char *text, size_t len, struct lock *l, struct buf *out, struct err *e)
{
	const char *pos = text, *line;
	bool complete, changed = false;
	size_t n;

	while (text_line(&pos, text + len, &line, &n, &complete)) {
		int r = pin_line(line, n, l, out, e);
		if (r < 0)
			return r;
		changed |= r > 0;
		if (complete)
			buf_putc(out, '\n');
	}
	return changed;
}

int sysusers_pin(struct tree *t, struct lock *l, struct store *s, struct err *e)
{
	for (size_t i = 0; i < t->n; i++) {
		struct node *n = &t->nodes[i];
		_cleanup_(buf_free) struct buf text = {0}, pinned = {0};
		if (n->attrs.kind != KIND_FILE || !text_starts(n->path, "/usr/lib/sysusers.d/") ||
		    !text_ends(n->path, ".conf"))
			continue;
		int r = store_load(s, &n->hash, SYSUSERS_MAX, &text, e);
		if (r >= 0)
			r = sysusers_pin_text(text.data, text.len, l, &pinned, e);
		if (r > 0) {
			n->attrs.size = pinned.len;
			r = store_put(s, &n->attrs, pinned.data, &n->hash, e);
		}
		if (r < 0)
			return err_in(e, r, "%s: %s", n->origin, n->path);
	}
	return 0;
}
