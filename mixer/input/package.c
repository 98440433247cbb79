/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/package.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/input/stanza.h"
#include "swupd/base/err.h"
#include "swupd/base/text.h"

#define CONTROL_TAR_MAX                                                                                                \
	(64UL << 20)            /* bytes of control.tar.*: the largest in Debian has some MB of md5sums and templates */
#define CONTROL_MAX (4UL << 20) /* bytes of the control file itself */

struct package_list *package_list_new(void)
{
	struct package_list *l = xcalloc(1, sizeof(*l));

	l->arena = arena_new();
	return l;
}

void package_list_free(struct package_list *l)
{
	if (!l)
		return;
	free(l->items);
	arena_free(l->arena);
	free(l);
}

/* The fields of a stanza that we read */
struct stanza {
	char *package, *version, *architecture, *source, *depends, *pre_depends, *provides, *conflicts, *breaks,
		*multi_arch, *essential, *filename, *size, *sha256;
};

static const struct stanza_field fields[] = {
	{"Package", offsetof(struct stanza, package)},
	{"Version", offsetof(struct stanza, version)},
	{"Architecture", offsetof(struct stanza, architecture)},
	{"Source", offsetof(struct stanza, source)},
	{"Depends", offsetof(struct stanza, depends)},
	{"Pre-Depends", offsetof(struct stanza, pre_depends)},
	{"Provides", offsetof(struct stanza, provides)},
	{"Conflicts", offsetof(struct stanza, conflicts)},
	{"Breaks", offsetof(struct stanza, breaks)},
	{"Multi-Arch", offsetof(struct stanza, multi_arch)},
	{"Essential", offsetof(struct stanza, essential)},
	{"Filename", offsetof(struct stanza, filename)},
	{"Size", offsetof(struct stanza, size)},
	{"SHA256", offsetof(struct stanza, sha256)},
};

/* Source: bash (5.2-1), where the version is there only when it differs */
static void set_source(struct package *p, char *source)
{
	p->source = p->name;
	p->source_version = p->version;
	if (!source)
		return;
	char *open = strchr(source, '(');
	if (open) {
		char *end = strchr(open, ')');
		if (end)
			*end = '\0';
		*open = '\0';
		const char *version = text_trim(open + 1);
		if (stanza_is_word(version))
			p->source_version = version;
	}
	const char *name = text_trim(source);
	if (stanza_is_word(name))
		p->source = name;
}

static int stanza_to_package(const struct stanza *s, struct package *p, struct err *e)
{
	if (!stanza_is_word(s->package))
		return err_set(e, -ERR_FORMAT, "a stanza has no package name");
	if (!stanza_is_word(s->version))
		return err_set(e, -ERR_FORMAT, "package '%s' has no version", s->package);
	if (!stanza_is_word(s->architecture))
		return err_set(e, -ERR_FORMAT, "package '%s' has no architecture", s->package);
	*p = (struct package){
		.name = s->package,
		.version = s->version,
		.arch = s->architecture,
		.depends = s->depends ? s->depends : "",
		.pre_depends = s->pre_depends ? s->pre_depends : "",
		.provides = s->provides ? s->provides : "",
		.conflicts = s->conflicts ? s->conflicts : "",
		.breaks = s->breaks ? s->breaks : "",
		.multiarch_allowed = s->multi_arch && strcmp(s->multi_arch, "allowed") == 0,
		.essential = s->essential && strcmp(s->essential, "yes") == 0,
	};
	set_source(p, s->source);
	return 0;
}

/* What only an index has: where the file is and how to know it */
static int add_location(const struct stanza *s, struct package *p, struct err *e)
{
	const char *f = s->filename;

	if (!stanza_is_place(f))
		return err_set(e, -ERR_FORMAT, "package '%s' has no proper Filename", p->name);
	if (!s->size || text_u64(s->size, 1, INT64_MAX, &p->size) < 0)
		return err_set(e, -ERR_FORMAT, "package '%s' has no proper Size", p->name);
	if (!s->sha256 || strlen(s->sha256) != DIGEST_HEX - 1 || digest_parse(s->sha256, &p->sha256) < 0)
		return err_set(e, -ERR_FORMAT, "package '%s' has no proper SHA256", p->name);
	p->file = f;
	return 0;
}

static int next(char **pos, char *end, unsigned *line, struct stanza *out, struct err *e)
{
	return stanza_next(pos, end, line, fields, ARRAY_LEN(fields), out, sizeof(*out), e);
}

int packages_parse(const char *text, size_t len, const char *arch, const char *repository, uint32_t priority,
		   struct package_list *l, struct err *e)
{
	/* in place: an index has 60 MB, most of which are read as they lie there */
	char *copy = arena_strndup(l->arena, text, len), *pos = copy;
	const char *from = arena_strdup(l->arena, repository);
	unsigned line = 1;
	struct stanza s = {0};
	int r;

	while ((r = next(&pos, copy + len, &line, &s, e)) > 0) {
		struct package p = {.arch = ""};
		r = stanza_to_package(&s, &p, e);
		if (r < 0)
			return err_in(e, r, "before line %u", line);
		if (strcmp(p.arch, arch) != 0 && strcmp(p.arch, "all") != 0)
			continue;
		r = add_location(&s, &p, e);
		if (r < 0)
			return err_in(e, r, "before line %u", line);
		p.repository = from;
		p.priority = priority;
		VEC_GROW(l->items, l->n, l->cap);
		l->items[l->n++] = p;
	}
	return r;
}

DEFINE_CLEANUP(struct archive *, archive_read_free);

static int archive_error(struct archive *a, struct err *e)
{
	const char *text = archive_error_string(a);

	return err_set(e, -ERR_FORMAT, "%s", text ? text : "it is damaged");
}

static int read_entry(struct archive *a, size_t max, struct buf *out, struct err *e)
{
	for (;;) {
		if (out->len > max)
			return err_set(e, -ERR_LIMIT, "a member is larger than %zu bytes", max);
		ssize_t n = archive_read_data(a, buf_reserve(out, 65536), 65536);
		if (n < 0)
			return archive_error(a, e);
		if (n == 0)
			break;
		out->len += (size_t)n;
	}
	buf_add(out, "", 0);
	return 0;
}

/* The outer archive: ar with debian-binary, control.tar.*, data.tar.* */
static int read_control_tar(int fd, struct buf *tar, int64_t *time, struct err *e)
{
	_cleanup_(archive_read_freep) struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int r;

	archive_read_support_format_ar(a);
	if (archive_read_open_fd(a, fd, 65536) != ARCHIVE_OK)
		return archive_error(a, e);
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry);
		if (name && text_starts(name, "control.tar")) {
			*time = (int64_t)archive_entry_mtime(entry);
			return read_entry(a, CONTROL_TAR_MAX, tar, e);
		}
	}
	return r == ARCHIVE_EOF ? err_set(e, -ERR_FORMAT, "it has no control.tar") : archive_error(a, e);
}

static int read_control(const struct buf *tar, struct buf *control, struct err *e)
{
	_cleanup_(archive_read_freep) struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int r;

	archive_read_support_format_tar(a);
	/* those of deb(5), not all: for some libarchive runs programs */
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
	if (archive_read_open_memory(a, tar->data, tar->len) != ARCHIVE_OK)
		return archive_error(a, e);
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry);
		if (name && (strcmp(name, "./control") == 0 || strcmp(name, "control") == 0))
			return read_entry(a, CONTROL_MAX, control, e);
	}
	return r == ARCHIVE_EOF ? err_set(e, -ERR_FORMAT, "it has no control file") : archive_error(a, e);
}

static int load_control(int fd, struct buf *control, int64_t *time, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0};

	int r = read_control_tar(fd, &tar, time, e);
	return r < 0 ? r : read_control(&tar, control, e);
}

int package_control(int dirfd, const char *name, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	int64_t time;

	if (fd < 0)
		return err_errno(e, "%s", name);
	int r = load_control(fd, out, &time, e);
	return r < 0 ? err_in(e, r, "%s is no proper .deb", name) : 0;
}

static int load(int fd, struct package_list *l, struct package *p, struct err *e)
{
	_cleanup_(buf_free) struct buf control = {0};
	struct stanza s = {0};
	struct stat st;
	int64_t time = 0;
	unsigned line = 1;

	int r = load_control(fd, &control, &time, e);
	if (r < 0)
		return r;
	char *text = arena_strndup(l->arena, control.data, control.len), *pos = text;
	r = next(&pos, text + control.len, &line, &s, e);
	if (r == 0)
		r = err_set(e, -ERR_FORMAT, "its control file is empty");
	if (r >= 0)
		r = stanza_to_package(&s, p, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, "seek");
	p->size = (uint64_t)st.st_size;
	p->time = time;
	return sha256_fd(fd, &p->sha256, e);
}

int package_load(int dirfd, const char *name, const char *arch, const char *repository, uint32_t priority,
		 struct package_list *l, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	struct package p = {.arch = ""};

	if (fd < 0)
		return err_errno(e, "%s", name);
	int r = load(fd, l, &p, e);
	if (r < 0)
		return err_in(e, r, "%s is no proper .deb", name);
	if (strcmp(p.arch, arch) != 0 && strcmp(p.arch, "all") != 0)
		return 0;
	p.file = arena_strdup(l->arena, name);
	p.repository = arena_strdup(l->arena, repository);
	p.priority = priority;
	VEC_GROW(l->items, l->n, l->cap);
	l->items[l->n++] = p;
	return 1;
}
