/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/deb.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "mixer/input/tree.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

#define CHUNK 65536

DEFINE_CLEANUP(struct archive *, archive_read_free);

/* data.tar is read from within the ar archive, a chunk at a time. */
struct nested {
	struct archive *outer;
	char chunk[CHUNK];
};

static la_ssize_t nested_read(struct archive *a, void *context, const void **data)
{
	struct nested *n = context;
	la_ssize_t got = archive_read_data(n->outer, n->chunk, sizeof(n->chunk));

	if (got < 0)
		archive_set_error(a, archive_errno(n->outer), "%s", archive_error_string(n->outer));
	*data = n->chunk;
	return got;
}

static int damaged(struct archive *a, struct err *e)
{
	const char *text = archive_error_string(a);

	return err_set(e, -ERR_FORMAT, "the package is damaged: %s", text ? text : "unknown error");
}

/* "./usr/bin/" → "/usr/bin"; NULL: the root itself */
static char *absolute_name(const char *name)
{
	if (text_starts(name, "./"))
		name += 2;
	name += strspn(name, "/");
	char *path = xasprintf("/%s", name);
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/';)
		path[--len] = '\0';
	if (strcmp(path, "/") == 0 || strcmp(path, "/.") == 0) {
		free(path);
		return NULL;
	}
	return path;
}

static int read_bytes(void *archive, void *to, size_t len, struct err *e)
{
	const la_ssize_t got = archive_read_data(archive, to, len);

	return got < 0 ? damaged(archive, e) : (int)got;
}

/* Numbers below 100 are Debian's fixed ones; the others differ from machine to machine, and in a package tell of the one that built it. */
#define FIXED_IDS 100
#define NOBODY    65534

static int read_owner(struct archive_entry *entry, struct attrs *a, struct err *e)
{
	const la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

	if (uid < 0 || gid < 0 || (uid >= FIXED_IDS && uid != NOBODY) || (gid >= FIXED_IDS && gid != NOBODY)) {
		int r = err_set(e, -ERR_FORMAT, "it belongs to user %lld, group %lld, who are not the same everywhere",
				(long long)uid, (long long)gid);
		return err_hint(e, r, "'dpkg-deb --root-owner-group' builds packages whose files are root's");
	}
	a->uid = (uint32_t)uid;
	a->gid = (uint32_t)gid;
	return 0;
}

/* Targets are written into lists, a line each. */
static bool is_printable(const char *link)
{
	for (; *link; link++)
		if ((unsigned char)*link < 0x20 || *link == 0x7f)
			return false;
	return true;
}

static int read_node(struct archive *a, struct archive_entry *entry, struct node *n, struct store *s, struct err *e)
{
	const char *link = archive_entry_symlink(entry);
	const mode_t type = archive_entry_filetype(entry);

	n->attrs = (struct attrs){.mode = (uint32_t)archive_entry_perm(entry) & 07777};
	int r = read_owner(entry, &n->attrs, e);
	if (r < 0)
		return r;
	if (type == AE_IFREG && archive_entry_size(entry) >= 0) {
		n->attrs.kind = KIND_FILE;
		n->attrs.size = (uint64_t)archive_entry_size(entry);
		return store_take(s, &n->attrs, read_bytes, a, &n->hash, e);
	}
	if (type == AE_IFDIR) {
		n->attrs.kind = KIND_DIR;
	} else if (type == AE_IFLNK && link && *link && is_printable(link)) {
		n->attrs.kind = KIND_LINK;
		n->attrs.mode = 0;
		n->attrs.size = strlen(link);
		n->link = link;
	} else {
		return err_set(e, -ERR_FORMAT, "neither a file nor a directory nor a symbolic link");
	}
	file_hash_mem(&n->attrs, n->link, (size_t)n->attrs.size, &n->hash);
	return 0;
}

static int read_entry(struct archive *a, struct archive_entry *entry, const char *origin, struct table *known,
		      struct tree *t, struct store *s, struct err *e)
{
	const char *name = archive_entry_pathname(entry), *hardlink = archive_entry_hardlink(entry);
	struct node n = {.origin = origin};

	if (!name)
		return err_set(e, -ERR_FORMAT, "a member has no name");
	_cleanup_free_ char *path = absolute_name(name);
	if (!path)
		return 0;
	int r = name_check(path, e);
	if (r < 0)
		return r;
	n.path = path;
	if (hardlink) {
		_cleanup_free_ char *target = absolute_name(hardlink);
		const size_t *at = target ? table_find_str(known, target) : NULL;
		if (!at)
			return err_set(e, -ERR_FORMAT, "%s: a hard link to '%s', which is not before it", path,
				       hardlink);
		n = t->nodes[*at];
		n.path = path;
	} else {
		r = read_node(a, entry, &n, s, e);
		if (r < 0)
			return err_in(e, r, "%s", path);
	}
	size_t *at = arena_alloc(t->arena, sizeof(*at));
	*at = t->n;
	(void)table_set_str(known, tree_add(t, &n)->path, at);
	return 0;
}

static int read_data(struct archive *outer, const char *origin, struct store *s, struct tree *t, struct err *e)
{
	_cleanup_(archive_read_freep) struct archive *a = archive_read_new();
	_cleanup_free_ struct nested *nested = xcalloc(1, sizeof(*nested));
	_cleanup_(table_freep) struct table *known = table_new();
	struct archive_entry *entry;
	int r;

	nested->outer = outer;
	/* by name, not all: the "all" of libarchive has filters that run programs */
	archive_read_support_filter_none(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_lzma(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_format_tar(a);
	if (archive_read_open(a, nested, NULL, nested_read, NULL) != ARCHIVE_OK)
		return damaged(a, e);
	/* a warning tells that a name is not in the charset of the locale; we want its bytes, and have them */
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		r = read_entry(a, entry, origin, known, t, s, e);
		if (r < 0)
			return r;
	}
	return r == ARCHIVE_EOF ? 0 : damaged(a, e);
}

int deb_unpack(int fd, const char *origin, struct store *s, struct tree **out, struct err *e)
{
	_cleanup_(archive_read_freep) struct archive *a = archive_read_new();
	_cleanup_(tree_freep) struct tree *t = tree_new();
	struct archive_entry *entry;
	int r;

	archive_read_support_format_ar(a);
	if (archive_read_open_fd(a, fd, CHUNK) != ARCHIVE_OK)
		return damaged(a, e);
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry);
		if (!name || !text_starts(name, "data.tar"))
			continue;
		r = read_data(a, origin, s, t, e);
		if (r < 0)
			return r;
		*out = take(t);
		return 0;
	}
	return r == ARCHIVE_EOF ? err_set(e, -ERR_FORMAT, "it has no data.tar") : damaged(a, e);
}
