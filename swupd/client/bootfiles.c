/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/bootfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/boot_partition.h"
#include "swupd/client/boot_source.h"
#include "swupd/client/boot_table.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/stage.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"

#define OWN_BLOCKS  4 /* of an entry, its first name, and new folders */
#define CMDLINE_MAX (1UL << 20)
#define CHUNK       (64UL << 10)

struct boot {
	struct machine *m; /* lent */
	char *id;          /* os-release's */
	int fd;
	char *path; /* for messages */
	char *selected; /* what the loader started, or a soft reboot instead of it, as boot_name_plain; NULL: it did not tell */
	char *cmdline;    /* of the running kernel, without its initrds; NULL: it tells nothing of this root */
	struct strv with; /* these initrds */
	struct boot_table table;
	struct strv keep; /* paths that the entry to come will name */
};

/* --- what there is -------------------------------------------------------------------------------------------------------- */

/* How many words, when these are the first ones of the other: loaders add some at the end. 0: they are not */
static size_t begins_with_words(const char *all, const char *first)
{
	_cleanup_(strv_free) struct strv a = {0}, f = {0};

	strv_split(&a, all, " \t\n");
	strv_split(&f, first ? first : "", " \t\n");
	if (f.n > a.n)
		return 0;
	for (size_t i = 0; i < f.n; i++)
		if (strcmp(a.items[i], f.items[i]) != 0)
			return 0;
	return f.n;
}

static bool same_list(const struct strv *a, const struct strv *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcasecmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

/* How well does it fit to what runs? 0: not at all */
static size_t fits(const struct boot *b, const struct boot_item *i)
{
	if (b->selected) {
		_cleanup_free_ char *plain = boot_name_plain(i->file);
		return strcasecmp(plain, b->selected) == 0;
	}
	/* who passes initrds otherwise does not name them there */
	if (!b->cmdline || (b->with.n && !same_list(&b->with, &i->text.initrds)))
		return 0;
	return begins_with_words(b->cmdline, i->text.options);
}

static int load(struct boot *b, struct err *e)
{
	size_t best = 1;

	int r = boot_table_load(b->fd, b->id, &b->table, e);
	if (r < 0)
		return err_in(e, r, "boot partition %s", b->path);
	for (size_t i = 0; i < b->table.n_ours; i++)
		best = MAX(best, fits(b, &b->table.items[i]));
	for (size_t i = 0; i < b->table.n_ours; i++)
		b->table.items[i].running = fits(b, &b->table.items[i]) == best;
	return 0;
}

/* The running kernel's command line: systemd-boot puts initrds before what the entry says, with the other slash */
static void read_cmdline(struct boot *b)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(strv_free) struct strv words = {0}, rest = {0};

	if (fs_load(AT_FDCWD, "/proc/cmdline", CMDLINE_MAX, &text, NULL) < 0 || !text.data)
		return;
	strv_split(&words, text.data, " \t\n");
	for (size_t i = 0; i < words.n; i++) {
		if (!text_starts(words.items[i], "initrd=")) {
			strv_add(&rest, words.items[i]);
			continue;
		}
		char *path = words.items[i] + strlen("initrd=");
		for (char *c = strchr(path, '\\'); c; c = strchr(c, '\\'))
			*c = '/';
		strv_add(&b->with, path);
	}
	b->cmdline = strv_join(&rest, " ");
}

static void read_running(struct boot *b)
{
	_cleanup_(buf_free) struct buf text = {0};

	/* another root does not run */
	if (strcmp(b->m->path, "/") != 0)
		return;
	/* what the loader and the kernel's command line tell is then of a root before */
	if (fs_load(b->m->root, BOOT_SELECTED, SMALL_TEXT_MAX, &text, NULL) >= 0 && text.len) {
		b->selected = xstrdup(text_trim(text.data));
		return;
	}
	_cleanup_free_ char *selected = boot_loader_variable("LoaderEntrySelected");
	if (selected)
		b->selected = boot_name_plain(selected);
	else
		read_cmdline(b);
}

/* os-release's ID: it becomes part of names */
static char *read_id(const struct boot_source *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	_cleanup_free_ char *text = boot_source_text(s, "/" INSTALLED_OS_RELEASE);
	_cleanup_free_ char *id = text ? os_release_value(text, "ID") : NULL;

	return id && *id && *id != '.' && !id[strspn(id, allowed)] ? take(id) : NULL;
}

void boot_close(struct boot *b)
{
	boot_table_clear(&b->table);
	closep(&b->fd);
	free(b->id);
	free(b->path);
	free(b->selected);
	free(b->cmdline);
	strv_free(&b->with);
	strv_free(&b->keep);
	free(b);
}

int boot_open(struct machine *m, struct boot **out, struct err *e)
{
	const struct boot_source here = {.tree = m->root, .staged = -1};
	_cleanup_(boot_closep) struct boot *b = xcalloc(1, sizeof(*b));

	b->m = m;
	b->fd = -1;
	b->id = read_id(&here);
	int r = b->id ? boot_partition_open(m, b->id, &b->fd, &b->path, e) : 0;
	if (r <= 0)
		return r;
	read_running(b);
	r = load(b, e);
	if (r < 0)
		return r;
	if (b->table.n_ours == 0 && m->opts->boot) {
		r = err_set(e, -ERR_CONFIG, "%s/" BOOT_ENTRIES " has no entry '%s-RELEASE.conf' of ours", b->path,
			    b->id);
		return err_hint(e, r, "--no-boot-update leaves the boot partition alone");
	}
	if (b->table.n_ours == 0) {
		ui_note(m->ui, "%s: its entries are of others, and left alone", b->path);
		return 0;
	}
	*out = take(b);
	return 1;
}

/* --- which are kept ------------------------------------------------------------------------------------------------------- */

/* The newest one, of another release, that is not on trial; NULL: none */
static const struct boot_item *last_good(const struct boot *b, uint32_t other_than)
{
	for (size_t i = 0; i < b->table.n_ours; i++)
		if (!b->table.items[i].name.counted && b->table.items[i].name.release != other_than)
			return &b->table.items[i];
	return NULL;
}

/* The one that runs, or is taken for it */
static const struct boot_item *model(const struct boot *b)
{
	for (size_t i = 0; i < b->table.n_ours; i++)
		if (b->table.items[i].running)
			return &b->table.items[i];
	const struct boot_item *good = last_good(b, 0);
	return good ? good : &b->table.items[0];
}

static bool is_older(const struct boot_item *i, const struct boot_item *good)
{
	return good && i != good && i->name.release < good->name.release;
}

/* May i go when release has no room? */
static bool may_go(const struct boot *b, const struct boot_item *i, uint32_t release)
{
	return !i->running && i != model(b) && i->name.release != release &&
	       (is_older(i, last_good(b, release)) || boot_item_is_bad(i));
}

/* --- what is to be there -------------------------------------------------------------------------------------------------- */

struct part {
	int fd;         /* of the release's file; -1: it has none */
	uint64_t bytes; /* on the partition, in whole blocks; 0: it is there */
	uint64_t size;
};

struct wish {
	const char *subvolume;
	struct boot_name name;
	char *file; /* the entry's name */
	struct boot_text text;
	struct buf raw; /* its text */
	struct part linux_, initrd;
};

static void wish_clear(struct wish *w)
{
	free(w->file);
	boot_text_clear(&w->text);
	buf_free(&w->raw);
	closep(&w->linux_.fd);
	closep(&w->initrd.fd);
}

/* Is what lies at path what fd has? 1: yes */
static int is_same(const struct boot *b, int fd, uint64_t size, const char *path, struct err *e)
{
	_cleanup_free_ char *x = xmalloc(CHUNK), *y = xmalloc(CHUNK);
	struct stat st;

	_cleanup_close_ int other = fs_open_beneath(b->fd, path + strspn(path, "/"), O_RDONLY | O_NONBLOCK, 0, e);
	if (other == -ENOENT || other == -ENOTDIR || other == -ERR_PATH) {
		err_clear(e);
		return 0;
	}
	if (other < 0 || fstat(other, &st) < 0)
		return other < 0 ? other : err_errno(e, "%s%s", b->path, path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return 0;
	/* what the device has, not what memory remembers of it */
	(void)posix_fadvise(other, 0, 0, POSIX_FADV_DONTNEED);
	for (uint64_t at = 0; at < size;) {
		const ssize_t a = pread(fd, x, CHUNK, (off_t)at), c = pread(other, y, CHUNK, (off_t)at);
		if (a < 0 || c < 0)
			return err_errno(e, "%s%s", b->path, path);
		if (a == 0 || a != c || memcmp(x, y, (size_t)a) != 0)
			return 0;
		at += (uint64_t)a;
	}
	return 1;
}

/* A path among those that our entries have for a kernel, or for an initrd, with the same content. 1: found */
static int find_same(const struct boot *b, const struct part *p, bool initrd, char **out, struct err *e)
{
	for (size_t i = 0; i < b->table.n_ours; i++) {
		const struct boot_text *t = &b->table.items[i].text;
		const size_t n = initrd ? t->initrds.n : 1;
		for (size_t k = 0; k < n; k++) {
			const char *path = initrd ? t->initrds.items[k] : t->linux_;
			int r = boot_path_is_ours(path, b->id) ? is_same(b, p->fd, p->size, path, e) : 0;
			if (r > 0)
				*out = xstrdup(path);
			if (r != 0)
				return r;
		}
	}
	return 0;
}

/* A name that no entry has */
static char *free_path(const struct boot *b, uint32_t release, const char *base)
{
	char *path = xasprintf("/%s/%u/%s", b->id, release, base);

	for (unsigned n = 1; boot_table_names(&b->table, path) || (b->table.unsure && fs_exists(b->fd, path + 1));
	     n++) {
		free(path);
		path = xasprintf("/%s/%u/%s-%u", b->id, release, base, n);
	}
	return path;
}

/* Where it lies or is to lie */
static int place_part(const struct boot *b, struct part *p, uint32_t release, const char *base, char **path,
		      struct err *e)
{
	struct statvfs fs;
	struct stat st;

	if (fstat(p->fd, &st) < 0 || fstatvfs(b->fd, &fs) < 0)
		return err_errno(e, "%s", base);
	p->size = (uint64_t)st.st_size;
	if (p->size == 0)
		return err_set(e, -ERR_FORMAT, "the %s of release %u is empty", base, release);
	int r = find_same(b, p, strcmp(base, "initrd") == 0, path, e);
	if (r != 0)
		return r < 0 ? r : 0;
	*path = free_path(b, release, base);
	p->bytes = (p->size + fs.f_frsize - 1) / fs.f_frsize * fs.f_frsize;
	return 0;
}

/* Which of its kernels? 1: *out; 0: it has none */
static int choose_kernel(const struct boot_source *s, const struct boot_item *like, uint32_t release, char **out,
			 struct err *e)
{
	_cleanup_(strv_free) struct strv kernels = {0};

	int r = boot_source_kernels(s, &kernels, e);
	if (r < 0 || kernels.n == 0)
		return r;
	if (like->text.kernel && strv_has(&kernels, like->text.kernel)) {
		*out = xstrdup(like->text.kernel);
	} else if (kernels.n == 1) {
		*out = xstrdup(kernels.items[0]);
	} else {
		_cleanup_free_ char *list = strv_join(&kernels, " ");
		r = err_set(e, -ERR_CONFIG,
			    "which kernel of release %u is to be started: %s? " BOOT_ENTRIES "/%s does not tell",
			    release, list, like->file);
		return err_hint(e, r, "'# kernel NAME' in that file does, or the removal of the bundles of others");
	}
	return 1;
}

/* The release's initrd, or the one that the kernel is started with now */
static int choose_initrd(const struct boot *b, const struct boot_source *s, const struct boot_item *like,
			 struct wish *w, struct err *e)
{
	_cleanup_free_ char *source = xasprintf("/usr/lib/kernel/%s/initrd", w->text.kernel), *path = NULL;

	w->initrd.fd = boot_source_open(s, source, e);
	if (w->initrd.fd < 0 && w->initrd.fd != -ENOENT)
		return w->initrd.fd;
	/* what is not ours (microcode) stays in any case */
	for (size_t i = 0; i < like->text.initrds.n; i++)
		if (w->initrd.fd < 0 || !boot_path_is_ours(like->text.initrds.items[i], b->id))
			strv_add(&w->text.initrds, like->text.initrds.items[i]);
	if (w->initrd.fd < 0) {
		if (!w->text.initrds.n || strcmp(w->text.linux_, like->text.linux_) == 0 ||
		    !boot_source_has_modules(s, w->text.kernel))
			return 0;
		int r = err_set(e, -ERR_CONFIG,
				"release %u has modules for its kernel '%s', but no initrd with them (%s)",
				w->name.release, w->text.kernel, source);
		return err_hint(
			e, r,
			"its builder adds initrd() to the kernel's bundle; --no-boot-update keeps the old kernel");
	}
	int r = place_part(b, &w->initrd, w->name.release, "initrd", &path, e);
	if (r >= 0)
		strv_take(&w->text.initrds, take(path));
	return r;
}

static char *read_title(const struct boot *b, const struct boot_source *s, uint32_t release)
{
	_cleanup_free_ char *text = boot_source_text(s, "/" INSTALLED_OS_RELEASE);
	_cleanup_free_ char *name = text ? os_release_value(text, "NAME") : NULL;

	return xasprintf("%s %u", name && *name ? name : b->id, release);
}

/* 1: w is all that is to be there; 0: the release has no kernel */
static int make_wish(struct boot *b, const struct boot_source *s, struct wish *w, struct err *e)
{
	const struct boot_item *like = model(b);
	const char *options = like->text.options ? like->text.options : "";

	int r = choose_kernel(s, like, w->name.release, &w->text.kernel, e);
	if (r <= 0)
		return r;
	_cleanup_free_ char *path = xasprintf("/usr/lib/kernel/%s/bzImage", w->text.kernel);
	w->linux_.fd = boot_source_open(s, path, e);
	r = w->linux_.fd < 0 ? w->linux_.fd : place_part(b, &w->linux_, w->name.release, "linux", &w->text.linux_, e);
	if (r >= 0)
		r = choose_initrd(b, s, like, w, e);
	if (r < 0)
		return r;
	w->text.title = read_title(b, s, w->name.release);
	w->text.version = w->name.release;
	w->text.sort_key = xstrdup(b->id);
	w->text.options = w->subvolume ? boot_options_with_subvolume(options, w->subvolume) : xstrdup(options);
	w->file = boot_name_format(&w->name, b->id);
	boot_text_format(&w->text, &w->raw);
	/* what is shared must not go with the entry that it is shared with */
	if (!w->linux_.bytes)
		strv_add(&b->keep, w->text.linux_);
	for (size_t i = 0; i + (w->initrd.bytes > 0) < w->text.initrds.n; i++)
		strv_add(&b->keep, w->text.initrds.items[i]);
	return 1;
}

/* Has an entry of this release exactly this text? */
static struct boot_item *find_wished(const struct boot *b, const struct wish *w)
{
	for (size_t i = 0; i < b->table.n_ours; i++) {
		struct boot_item *item = &b->table.items[i];
		if (item->name.release == w->name.release && item->raw.len == w->raw.len &&
		    memcmp(item->raw.data, w->raw.data, w->raw.len) == 0)
			return item;
	}
	return NULL;
}

/* --- room ----------------------------------------------------------------------------------------------------------------- */

/* What there is now and, with the entries that are gone, would be free */
static int count_room(const struct boot *b, const struct wish *w, struct boot_room *room, struct err *e)
{
	_cleanup_(strv_free) struct strv unnamed = {0};
	uint64_t bytes;
	struct statvfs fs;

	int r = boot_table_unnamed(&b->table, &b->keep, &unnamed, &bytes, e);
	if (r < 0)
		return r;
	if (fstatvfs(b->fd, &fs) < 0)
		return err_errno(e, "%s", b->path);
	room->need = w->linux_.bytes + w->initrd.bytes + OWN_BLOCKS * fs.f_frsize;
	room->have = (uint64_t)fs.f_bavail * fs.f_frsize + bytes;
	return 0;
}

static int check_room(const struct boot *b, const struct wish *w, struct boot_room *room, struct err *e)
{
	int r = count_room(b, w, room, e);

	if (r < 0 || room->need <= room->have)
		return r;
	_cleanup_free_ char *need = text_size(room->need), *have = text_size(room->have);
	r = err_set(e, -ERR_SPACE,
		    "the kernel of release %u takes %s on the boot partition %s, but only %s can be had there",
		    w->name.release, need, b->path, have);
	return err_hint(e, r, "remove what is not needed there; the entries that run and that were good are kept");
}

static int check_writable(const struct boot *b, struct err *e)
{
	struct statvfs fs;

	if (fstatvfs(b->fd, &fs) < 0)
		return err_errno(e, "%s", b->path);
	if (!(fs.f_flag & ST_RDONLY))
		return 0;
	return err_hint(
		e, err_set(e, -EROFS, "the boot partition %s is read-only", b->path),
		"'mount -o remount,rw %s'; the kernel makes it read-only when it finds damage: fsck.vfat mends that",
		b->path);
}

/* Names that we would need, but others have */
static int check_names(const struct boot *b, const struct wish *w, struct err *e)
{
	_cleanup_free_ char *entry = xasprintf(BOOT_ENTRIES "/%s", w->file),
			    *dir = xasprintf("%s/%u", b->id, w->name.release);
	struct stat st;

	if (fs_exists(b->fd, entry) && !boot_table_find(&b->table, w->file))
		return err_hint(e, err_set(e, -EEXIST, "%s/%s is there, but not ours", b->path, entry), "remove it");
	if (fstatat(b->fd, b->id, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		return err_hint(e, err_set(e, -ENOTDIR, "%s/%s is not a directory", b->path, b->id), "remove it");
	if (fstatat(b->fd, dir, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		return err_hint(e, err_set(e, -ENOTDIR, "%s/%s is not a directory", b->path, dir), "remove it");
	return 0;
}

int boot_check(struct boot *b, int tree, const struct plan *p, uint32_t release, struct boot_room *room, struct err *e)
{
	_cleanup_(wish_clear) struct wish w = {
		.name = {.release = release}, .linux_ = {.fd = -1}, .initrd = {.fd = -1}};
	_cleanup_close_ int staged = p ? stage_open(b->m, e) : -1;
	const struct boot_source s = {.tree = tree, .plan = p, .staged = staged};
	struct boot_room own = {0};

	if (p && staged < 0)
		return staged;
	if (room)
		*room = (struct boot_room){0};
	strv_free(&b->keep);
	int r = load(b, e);
	if (r >= 0)
		r = make_wish(b, &s, &w, e);
	if (r <= 0 || find_wished(b, &w))
		return r < 0 ? r : 0;
	for (size_t i = 0; i < b->table.n_ours; i++)
		b->table.items[i].gone = may_go(b, &b->table.items[i], release);
	r = check_writable(b, e);
	if (r >= 0)
		r = check_names(b, &w, e);
	return r < 0 ? r : check_room(b, &w, room ? room : &own, e);
}

/* Is it the kernel or initrd of that profile; NULL: of any? */
static bool is_boot_file(const char *name, const char *kernel)
{
	static const char folder[] = "/usr/lib/kernel/";
	const char *at = text_starts(name, folder) ? name + strlen(folder) : NULL;
	const char *base = at ? strchr(at, '/') : NULL;

	if (!base || (strcmp(base, "/bzImage") != 0 && strcmp(base, "/initrd") != 0))
		return false;
	return !kernel || (strlen(kernel) == (size_t)(base - at) && strncmp(at, kernel, (size_t)(base - at)) == 0);
}

int boot_estimate(struct boot *b, const struct plan *p, struct boot_room *room, struct err *e)
{
	struct wish w = {.name = {.release = p->to}, .linux_ = {.fd = -1}, .initrd = {.fd = -1}};

	strv_free(&b->keep);
	int r = load(b, e);
	if (r < 0)
		return r;
	const char *kernel = model(b)->text.kernel;
	for (size_t i = 0; i < p->n_changes; i++) {
		const struct entry *want = p->changes[i].want;
		if (want && want->kind == KIND_FILE && want->size != SIZE_UNKNOWN && is_boot_file(want->name, kernel))
			w.linux_.bytes += want->size;
	}
	if (w.linux_.bytes == 0)
		return 0;
	for (size_t i = 0; i < b->table.n_ours; i++)
		b->table.items[i].gone = may_go(b, &b->table.items[i], p->to);
	r = count_room(b, &w, room, e);
	return r < 0 ? r : 1;
}

/* --- changes, each of them durable ---------------------------------------------------------------------------------------- */

static int sync_all(const struct boot *b, struct err *e)
{
	return syncfs(b->fd) < 0 ? err_errno(e, "%s", b->path) : 0;
}

static int open_entries(const struct boot *b, struct err *e)
{
	return fs_open_beneath(b->fd, BOOT_ENTRIES, O_RDONLY | O_DIRECTORY, 0, e);
}

/* to is not there: FAT would lose it, if the power went while it is replaced */
static int rename_entry(const struct boot *b, const char *from, const char *to, struct err *e)
{
	_cleanup_close_ int dir = open_entries(b, e);

	if (dir < 0)
		return dir;
	if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) < 0)
		return err_errno(e, "%s/" BOOT_ENTRIES ": cannot rename %s to %s", b->path, from, to);
	if (fsync(dir) < 0)
		return err_errno(e, "%s/" BOOT_ENTRIES, b->path);
	ui_note(b->m->ui, "%s: entry %s", b->path, to);
	return sync_all(b, e);
}

/* Our files that nobody names, and folders that are empty then */
static int sweep_files(struct boot *b, struct err *e)
{
	_cleanup_(strv_free) struct strv paths = {0};
	uint64_t bytes;

	int r = boot_table_unnamed(&b->table, &b->keep, &paths, &bytes, e);
	for (size_t i = 0; r >= 0 && i < paths.n; i++) {
		const char *path = paths.items[i] + 1;
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
		if (unlinkat(b->fd, path, 0) < 0 && errno != ENOENT)
			r = err_errno(e, "%s/%s", b->path, path);
		(void)unlinkat(b->fd, dir, AT_REMOVEDIR);
	}
	return r < 0 || paths.n == 0 ? r : sync_all(b, e);
}

/* What a run that was killed had begun: names that only we make and no loader reads */
static int sweep_begun(struct boot *b, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = open_entries(b, e);
	struct boot_name name;

	int r = dir < 0 ? dir : fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *file = xstrdup(names.items[i]);
		if (!text_ends(file, ".new"))
			continue;
		file[strlen(file) - strlen(".new")] = '\0';
		_cleanup_free_ char *entry = xasprintf("%s.conf", file);
		if (boot_name_parse(entry, b->id, &name) && unlinkat(dir, names.items[i], 0) < 0)
			r = err_errno(e, "%s/" BOOT_ENTRIES "/%s", b->path, names.items[i]);
	}
	return r < 0 ? r : sweep_files(b, e);
}

static int remove_entry(struct boot *b, const char *file, struct err *e)
{
	_cleanup_close_ int dir = open_entries(b, e);

	if (dir < 0)
		return dir;
	if (unlinkat(dir, file, 0) < 0 && errno != ENOENT)
		return err_errno(e, "%s/" BOOT_ENTRIES "/%s", b->path, file);
	ui_note(b->m->ui, "%s: entry %s is removed", b->path, file);
	/* before its files */
	int r = sync_all(b, e);
	if (r >= 0)
		r = load(b, e);
	return r < 0 ? r : sweep_files(b, e);
}

/* Give it this name's counters; a name that is taken by another entry gets a number of tries more. */
static int rename_counters(struct boot *b, const char *file, struct boot_name name, struct err *e)
{
	_cleanup_free_ char *to = boot_name_format(&name, b->id);

	if (strcasecmp(to, file) == 0)
		return 0;
	while (name.counted && boot_table_find(&b->table, to)) {
		name.done++;
		free(to);
		to = boot_name_format(&name, b->id);
	}
	int r = rename_entry(b, file, to, e);
	return r < 0 ? r : load(b, e);
}

static int put_last(struct boot *b, const char *file, struct boot_name name, struct err *e)
{
	const struct boot_name bad = {
		.release = name.release,
		.counted = true,
		.done = name.counted && name.left + name.done ? name.left + name.done : 1,
	};

	return name.counted && name.left == 0 ? 0 : rename_counters(b, file, bad, e);
}

/* --- adding --------------------------------------------------------------------------------------------------------------- */

static int make_dirs(const struct boot *b, const char *path, struct err *e)
{
	_cleanup_free_ char *dir = xstrndup(path + 1, (size_t)(strrchr(path, '/') - path - 1));

	if ((mkdirat(b->fd, b->id, 0755) < 0 && errno != EEXIST) || (mkdirat(b->fd, dir, 0755) < 0 && errno != EEXIST))
		return err_errno(e, "%s/%s", b->path, dir);
	return fs_open_beneath(b->fd, dir, O_RDONLY | O_DIRECTORY, 0, e);
}

static int write_part(const struct boot *b, const struct part *p, const char *path, struct err *e)
{
	const char *base = strrchr(path, '/') + 1;
	_cleanup_close_ int dir = make_dirs(b, path, e);
	if (dir < 0)
		return dir;
	_cleanup_close_ int out = fs_open_beneath(dir, base, O_WRONLY | O_CREAT | O_EXCL, 0644, e);
	if (out < 0)
		return out;
	if (lseek(p->fd, 0, SEEK_SET) < 0)
		return err_errno(e, "%s", base);
	int r = fs_copy_fd(p->fd, out, p->size, e);
	if (r >= 0 && (fsync(out) < 0 || fsync(dir) < 0))
		r = err_errno(e, "cannot write");
	if (r >= 0)
		r = sync_all(b, e);
	if (r >= 0)
		r = is_same(b, p->fd, p->size, path, e);
	if (r == 0)
		r = err_hint(e, err_set(e, -EIO, "it is not read back as it was written"),
			     "the boot partition is damaged: fsck.vfat, or another disk");
	return r < 0 ? err_in(e, r, "%s%s", b->path, path) : 0;
}

/* The entry under a name that no loader reads */
static int write_begun(const struct boot *b, const struct wish *w, const char *begun, struct err *e)
{
	_cleanup_(buf_free) struct buf back = {0};
	_cleanup_close_ int dir = open_entries(b, e);
	if (dir < 0)
		return dir;
	_cleanup_close_ int fd = fs_open_beneath(dir, begun, O_RDWR | O_CREAT | O_EXCL, 0644, e);
	int r = fd < 0 ? fd : fs_write_all(fd, w->raw.data, w->raw.len, e);
	if (r >= 0 && (fsync(fd) < 0 || fsync(dir) < 0))
		r = err_errno(e, "cannot write");
	if (r >= 0)
		r = sync_all(b, e);
	if (r < 0)
		return err_in(e, r, "%s/" BOOT_ENTRIES "/%s", b->path, begun);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, "%s", begun);
	r = fs_load_fd(fd, begun, SMALL_TEXT_MAX, &back, e);
	if (r >= 0 && (back.len != w->raw.len || memcmp(back.data, w->raw.data, back.len) != 0))
		r = err_set(e, -EIO, "%s/" BOOT_ENTRIES "/%s is not read back as it was written", b->path, begun);
	return r;
}

static int make_room(struct boot *b, const struct wish *w, struct err *e)
{
	struct boot_room room = {0};

	int r = count_room(b, w, &room, e);
	/* from the end: bad ones, then the oldest */
	while (r >= 0 && room.need > room.have) {
		size_t i = b->table.n_ours;
		while (i > 0 && !may_go(b, &b->table.items[i - 1], w->name.release))
			i--;
		if (i == 0)
			return check_room(b, w, &room, e);
		_cleanup_free_ char *file = xstrdup(b->table.items[i - 1].file);
		r = remove_entry(b, file, e);
		if (r >= 0)
			r = count_room(b, w, &room, e);
	}
	return r;
}

/* The name is to be free: an entry that has it is put last for the moment. */
static int free_name(struct boot *b, const char *wanted, struct err *e)
{
	const struct boot_item *item = boot_table_find(&b->table, wanted);

	if (!item)
		return 0;
	_cleanup_free_ char *file = xstrdup(item->file);
	if (!boot_item_is_bad(item))
		return put_last(b, file, item->name, e);
	struct boot_name name = item->name;
	name.done++;
	return rename_counters(b, file, name, e);
}

static int write_all(struct boot *b, const struct wish *w, struct err *e)
{
	_cleanup_free_ char *begun = xasprintf("%s-%u.new", b->id, w->name.release);

	int r = make_room(b, w, e);
	if (r >= 0 && w->linux_.bytes)
		r = write_part(b, &w->linux_, w->text.linux_, e);
	if (r >= 0 && w->initrd.bytes)
		r = write_part(b, &w->initrd, w->text.initrds.items[w->text.initrds.n - 1], e);
	if (r >= 0)
		r = write_begun(b, w, begun, e);
	if (r >= 0)
		r = free_name(b, w->file, e);
	if (r >= 0)
		r = rename_entry(b, begun, w->file, e);
	return r;
}

/* Entries that the new one makes needless: one at a time, for each changes the table. 1: one was found */
static int settle_one(struct boot *b, const struct wish *w, const char *subvolume, struct err *e)
{
	const struct boot_item *good = last_good(b, w->name.release);

	for (size_t i = 0; i < b->table.n_ours; i++) {
		const struct boot_item *item = &b->table.items[i];
		const bool same_root = boot_same_subvolume(item->subvolume, subvolume);
		const bool twice = item->name.release == w->name.release && strcasecmp(item->file, w->file) != 0;
		const bool old = same_root && is_older(item, good) && item->name.release < w->name.release;
		const bool newer = same_root && item->name.release > w->name.release && !w->name.counted;
		_cleanup_free_ char *file = xstrdup(item->file);
		int r = 0;
		if ((twice || old) && !item->running)
			r = remove_entry(b, file, e);
		else if (newer && !boot_item_is_bad(item))
			r = put_last(b, file, item->name, e);
		else
			continue;
		return r < 0 ? r : 1;
	}
	return 0;
}

static int add(struct boot *b, const struct boot_source *s, struct wish *w, struct err *e)
{
	bool changed = false;

	int r = check_writable(b, NULL) < 0 ? 0 : sweep_begun(b, e);
	if (r >= 0)
		r = make_wish(b, s, w, e);
	if (r <= 0)
		return r;
	const struct boot_item *there = find_wished(b, w);
	if (!there || strcasecmp(there->file, w->file) != 0) {
		_cleanup_free_ char *file = there ? xstrdup(there->file) : NULL;
		changed = true;
		r = check_writable(b, e);
		if (r >= 0)
			r = check_names(b, w, e);
		if (r >= 0)
			r = there ? free_name(b, w->file, e) : write_all(b, w, e);
		if (r >= 0 && there)
			r = rename_entry(b, file, w->file, e);
		if (r >= 0)
			r = load(b, e);
		if (r < 0)
			return r;
	}
	_cleanup_free_ char *subvolume = boot_options_subvolume(w->text.options);
	while ((r = settle_one(b, w, subvolume, e)) > 0)
		changed = true;
	return r < 0 ? r : changed;
}

int boot_add(struct boot *b, int tree, uint32_t release, const char *subvolume, unsigned tries, struct err *e)
{
	const struct boot_source s = {.tree = tree, .staged = -1};
	_cleanup_(wish_clear) struct wish w = {
		.subvolume = subvolume,
		.name = {.release = release, .counted = tries > 0, .left = tries},
		.linux_ = {.fd = -1},
		.initrd = {.fd = -1},
	};

	strv_free(&b->keep);
	int r = load(b, e);
	if (r >= 0)
		r = add(b, &s, &w, e);
	strv_free(&b->keep);
	if (r < 0) {
		/* what was begun is in the way of the next try; if it cannot be removed, that one says so */
		if (load(b, NULL) >= 0)
			(void)sweep_begun(b, NULL);
		return err_in(e, r, "cannot bring release %u to the boot partition", release);
	}
	return r;
}

/* --- entries -------------------------------------------------------------------------------------------------------------- */

void boot_entries_free(struct boot_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(entries[i].file);
		free(entries[i].subvolume);
	}
	free(entries);
}

int boot_list(struct boot *b, struct boot_entry **out, size_t *n, struct err *e)
{
	int r = load(b, e);

	if (r < 0)
		return r;
	struct boot_entry *entries = xcalloc(MAX(b->table.n_ours, (size_t)1), sizeof(*entries));
	for (size_t i = 0; i < b->table.n_ours; i++) {
		const struct boot_item *item = &b->table.items[i];
		entries[i] = (struct boot_entry){
			.file = xstrdup(item->file),
			.release = item->name.release,
			.subvolume = item->subvolume ? xstrdup(item->subvolume) : NULL,
			.left = item->name.left,
			.done = item->name.done,
			.counted = item->name.counted,
			.running = item->running,
		};
	}
	*out = entries;
	*n = b->table.n_ours;
	return 0;
}

static int find_entry(struct boot *b, const char *file, const struct boot_item **out, struct err *e)
{
	int r = load(b, e);

	if (r < 0)
		return r;
	*out = boot_table_find(&b->table, file);
	return *out ? check_writable(b, e)
		    : err_set(e, -ENOENT, "there is no entry %s/" BOOT_ENTRIES "/%s", b->path, file);
}

int boot_bless(struct boot *b, const char *file, struct err *e)
{
	const struct boot_item *item;

	int r = find_entry(b, file, &item, e);
	if (r < 0 || !item->name.counted)
		return r;
	const struct boot_name good = {.release = item->name.release};
	_cleanup_free_ char *from = xstrdup(item->file), *to = boot_name_format(&good, b->id);
	/* one of the same release that was good before gives up its name */
	r = free_name(b, to, e);
	return r < 0 ? r : rename_counters(b, from, good, e);
}

int boot_set_tries(struct boot *b, const char *file, unsigned left, unsigned done, struct err *e)
{
	const struct boot_item *item;

	int r = find_entry(b, file, &item, e);
	if (r < 0)
		return r;
	const struct boot_name name = {.release = item->name.release, .counted = true, .left = left, .done = done};
	_cleanup_free_ char *from = xstrdup(item->file);
	return rename_counters(b, from, name, e);
}

int boot_bad(struct boot *b, const char *file, struct err *e)
{
	const struct boot_item *item;

	int r = find_entry(b, file, &item, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *from = xstrdup(item->file);
	return put_last(b, from, item->name, e);
}

int boot_remove(struct boot *b, const char *file, struct err *e)
{
	const struct boot_item *item;

	int r = find_entry(b, file, &item, e);
	if (r < 0)
		return r;
	if (item->running)
		return err_set(e, -EBUSY, "entry %s runs", file);
	if (b->table.n_ours == 1)
		return err_set(e, -EBUSY, "entry %s is the last that is left", file);
	_cleanup_free_ char *name = xstrdup(item->file);
	return remove_entry(b, name, e);
}
