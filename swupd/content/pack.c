/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/pack.h"

#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/delta.h"
#include "swupd/content/tar.h"

#define STAGED "staged/"
#define DELTA  "delta/"

struct pack {
	struct tar *tar;
};

int pack_open(int fd, struct pack **out, struct err *e)
{
	struct tar *t;
	int r = tar_open(fd, &t, e);

	if (r < 0)
		return err_in(e, r, "pack");
	struct pack *p = xmalloc(sizeof(*p));
	p->tar = t;
	*out = p;
	return 0;
}

void pack_close(struct pack *p)
{
	if (!p)
		return;
	tar_close(p->tar);
	free(p);
}

static bool parse_object(const struct tar_member *t, struct pack_member *m)
{
	const char *hex = t->name + strlen(STAGED);

	if (!text_starts(t->name, STAGED) || t->attrs.kind == KIND_NONE || digest_parse(hex, &m->hash) < 0)
		return false;
	const char *rest = hex + DIGEST_HEX - 1;
	if (*rest && !(t->attrs.kind == KIND_DIR && strcmp(rest, "/") == 0))
		return false;
	m->attrs = t->attrs;
	m->link = t->link;
	return true;
}

static bool parse_delta(const struct tar_member *t, struct pack_member *m)
{
	if (!text_starts(t->name, DELTA) || t->attrs.kind != KIND_FILE ||
	    delta_name_parse(t->name + strlen(DELTA), &m->from, &m->hash) < 0)
		return false;
	m->is_delta = true;
	m->attrs = (struct attrs){.kind = KIND_FILE, .size = t->attrs.size};
	return true;
}

int pack_next(struct pack *p, struct pack_member *m, struct err *e)
{
	struct tar_member t;
	int r;

	while ((r = tar_next(p->tar, &t, e)) > 0) {
		struct pack_member found = {0};
		if (parse_object(&t, &found) || parse_delta(&t, &found)) {
			*m = found;
			return 1;
		}
	}
	return r < 0 ? err_in(e, r, "pack") : 0;
}

int pack_read(struct pack *p, void *data, size_t len, struct err *e)
{
	int r = tar_read(p->tar, data, len, e);

	return r < 0 ? err_in(e, r, "pack") : r;
}

int pack_read_source(void *pack, void *data, size_t len, struct err *e)
{
	return pack_read(pack, data, len, e);
}

int pack_part_add(struct buf *part, const char *name, const struct attrs *a, const void *content, struct err *e)
{
	if (a->kind != KIND_FILE && a->kind != KIND_DIR && a->kind != KIND_LINK)
		return err_set(e, -ERR_FORMAT, "pack: %s is neither a file, a directory nor a link", name);
	tar_add(part, name, a, content);
	return 0;
}

int pack_part_begin(struct buf *part, struct err *e)
{
	const struct attrs a = {.kind = KIND_DIR, .mode = 0700};
	int r = pack_part_add(part, "delta", &a, NULL, e);

	return r < 0 ? r : pack_part_add(part, "staged", &a, NULL, e);
}

void pack_part_end(struct buf *part)
{
	tar_end(part);
}

char *pack_object_name(const struct digest *d)
{
	char hex[DIGEST_HEX];

	digest_format(d, hex);
	return xasprintf(STAGED "%s", hex);
}

char *pack_delta_name(const struct digest *from, const struct digest *to)
{
	char from_hex[DIGEST_HEX], to_hex[DIGEST_HEX];

	digest_format(from, from_hex);
	digest_format(to, to_hex);
	return xasprintf(DELTA "10-20-%s-%s", from_hex, to_hex);
}
