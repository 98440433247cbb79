/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/notices.h"

#include <stdbool.h>
#include <string.h>

#include "mixer/input/tree.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define DOC       "/usr/share/doc/"
#define LINKS_MAX 8 /* Debian's folders are one link deep */

void notices_select(const struct tree *raw, const char *package, struct tree *out)
{
	_cleanup_free_ char *folder = xasprintf(DOC "%s", package);
	_cleanup_free_ char *copyright = xasprintf("%s/copyright", folder);

	for (size_t i = 0; i < raw->n; i++) {
		const struct node *n = &raw->nodes[i];
		const bool own = strcmp(n->path, copyright) == 0 && n->attrs.kind != KIND_DIR;
		const bool linked = strcmp(n->path, folder) == 0 && n->attrs.kind == KIND_LINK;
		if (own || linked || (text_starts(n->path, NOTICES_COMMON) && n->attrs.kind == KIND_FILE))
			tree_add(out, n);
	}
	tree_sort(out);
}

/* The package that a folder's link ("gcc-14-base") or a file's ("../gcc-14-base/copyright") leads to. */
static char *linked_package(const char *link)
{
	if (text_starts(link, "../"))
		link += 3;
	else if (text_starts(link, DOC))
		link += strlen(DOC);
	return xstrndup(link, strcspn(link, "/"));
}

const struct node *notices_find(const struct tree *notices, const char *package)
{
	_cleanup_free_ char *name = xstrdup(package);

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		_cleanup_free_ char *folder = xasprintf(DOC "%s", name);
		_cleanup_free_ char *copyright = xasprintf("%s/copyright", folder);
		const struct node *n = tree_find(notices, copyright);
		if (!n)
			n = tree_find(notices, folder);
		if (!n || n->attrs.kind == KIND_FILE)
			return n;
		free(name);
		name = linked_package(n->link);
	}
	return NULL;
}
