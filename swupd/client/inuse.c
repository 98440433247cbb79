/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/inuse.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/client/clone.h"
#include "swupd/client/exchange.h"
#include "swupd/client/machine.h"

#define MAPS_MAX                                                                                                       \
	(64UL << 20) /* the kernel's limit of mappings (vm.max_map_count, at most some 10^5 in use) with their names */
#define DELETED " (deleted)"

/* How long what becomes the program of a service is waited for, all of them together: milliseconds where nothing blocks it */
#define BECOMES_MS      1000L
#define BECOMES_POLL_MS 10L

/* How a mount namespace names this root: what is before "/usr" in the names of its files. */
struct space {
	ino_t ns;
	char *prefix; /* "" where it is the root; NULL: this root is not in it, as far as its processes tell */
};

struct walk {
	const struct machine *m;
	int proc;
	bool snapshots; /* usr is a subvolume: the same file has another device in each tree */
	ino_t own_ns;
	struct stat root;
	struct space *spaces;
	size_t n_spaces, cap_spaces;
	long waited_ms;
	struct arena *arena;
	struct table *seen; /* "namespace inode path" → seen_same or seen_other: libraries are in many processes */
};

static char seen_same[1], seen_other[1];

void inuse_free(struct inuse *u)
{
	for (size_t i = 0; i < u->n; i++) {
		free(u->items[i].name);
		free(u->items[i].unit);
		free(u->items[i].file);
	}
	free(u->items);
	*u = (struct inuse){0};
}

bool inuse_same(const struct stat *a, const struct stat *b, bool snapshots)
{
	if (a->st_ino != b->st_ino)
		return false;
	if (a->st_dev == b->st_dev)
		return true;
	/* a snapshot has the same inodes under another device; btrfs gives no number twice, what was changed since has another time */
	return snapshots && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool inuse_map_line(char *line, const char **range, ino_t *inode, const char **path)
{
	char *field[6], *s = line;

	/* range permissions offset device inode path: blanks in the path are its own */
	for (size_t i = 0; i < 5; i++) {
		field[i] = s;
		s += strcspn(s, " ");
		if (!*s)
			return false;
		*s++ = '\0';
	}
	field[5] = s + strspn(s, " ");
	uint64_t number;
	if (*field[5] != '/' || text_u64(field[4], 1, UINT64_MAX, &number) < 0)
		return false;
	*range = field[0];
	*inode = (ino_t)number;
	*path = field[5];
	return true;
}

static bool is_unit(const char *name)
{
	static const char *const kinds[] = {".service", ".scope", ".socket", ".mount", ".swap"};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (text_ends(name, kinds[i]) && strlen(name) > strlen(kinds[i]))
			return true;
	return false;
}

char *inuse_unit(const char *cgroup)
{
	const char *pos = cgroup, *end = cgroup + strlen(cgroup), *line;
	size_t len;

	while (text_line(&pos, end, &line, &len, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		_cleanup_(strv_free) struct strv parts = {0};
		char *path = strstr(copy, ":/");
		/* cgroup2, or systemd's own hierarchy of before */
		if (!path || (!text_starts(copy, "0::/") && !strstr(copy, ":name=systemd:/")))
			continue;
		strv_split(&parts, path + 1, "/");
		size_t i = 0;
		while (i < parts.n && text_ends(parts.items[i], ".slice"))
			i++;
		/* a name that begins with '_' is one that would be taken for another of the kernel's files */
		if (i < parts.n && is_unit(parts.items[i]))
			return xstrdup(parts.items[i] + (parts.items[i][0] == '_'));
	}
	return NULL;
}

static char *read_text(int dir, const char *name)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (fs_load(dir, name, MAPS_MAX, &text, NULL) < 0 || !text.data)
		return xstrdup("");
	return xstrdup(text.data);
}

/* The name below usr that a path in the namespace has or had: the caller frees it; NULL: it is not of this root's usr. */
static char *name_in_usr(const char *prefix, const char *path)
{
	static const char *const trees[] = {"/usr/", "/" TREE_OLD "/", "/" TREE_GONE "/", "/" TREE_NEXT "/"};
	static const char *const users[] = {"local/", "src/"};
	size_t len = strlen(prefix);

	if (strncmp(path, prefix, len) != 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
		if (!text_starts(path + len, trees[i]))
			continue;
		const char *name = path + len + strlen(trees[i]);
		for (size_t k = 0; k < ARRAY_LEN(users); k++)
			if (text_starts(name, users[k]))
				return NULL;
		size_t n = strlen(name);
		if (text_ends(name, DELETED))
			n -= strlen(DELETED);
		return xstrndup(name, n);
	}
	return NULL;
}

/* Is what the link in the process' directory leads to another file than usr has under this name? */
static bool is_other(const struct walk *w, int dir, const char *link, const char *name, ino_t inode)
{
	_cleanup_free_ char *path = xasprintf("usr/%s", name);
	const char *base;
	struct stat have, want;

	bool told = fstatat(dir, link, &have, 0) == 0;
	if (!told && errno != EPERM && errno != EACCES)
		return false; /* the mapping or the process is gone */
	_cleanup_close_ int parent = fs_open_parent(w->m->root, path, &base, NULL);
	if (parent < 0 || fstatat(parent, base, &want, AT_SYMLINK_NOFOLLOW) < 0)
		return true;
	/* in a user namespace the kernel shows no files that are mapped: only their inodes' numbers are known */
	return told ? !inuse_same(&have, &want, w->snapshots) : inode != want.st_ino;
}

static bool is_other_once(struct walk *w, int dir, ino_t ns, const char *range, ino_t inode, const char *path,
			  const char *name)
{
	_cleanup_free_ char *key = xasprintf("%llu %llu %s", (unsigned long long)ns, (unsigned long long)inode, path);
	const char *before = table_find_str(w->seen, key);

	if (before)
		return before == seen_other;
	_cleanup_free_ char *link = xasprintf("map_files/%s", range);
	const bool other = is_other(w, dir, link, name, inode);
	(void)table_add_str(w->seen, arena_strdup(w->arena, key), other ? seen_other : seen_same);
	return other;
}

/* The first file that dir, a directory in /proc, maps and usr does not have; the caller frees the name. NULL: none. */
static char *find_other(struct walk *w, int dir, ino_t ns, const char *prefix)
{
	_cleanup_free_ char *maps = read_text(dir, "maps");
	char exe[PATH_MAX];
	char *save = NULL;

	for (char *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *range, *path;
		ino_t inode;
		if (!inuse_map_line(line, &range, &inode, &path))
			continue;
		_cleanup_free_ char *name = name_in_usr(prefix, path);
		if (name && is_other_once(w, dir, ns, range, inode, path, name))
			return xasprintf("/usr/%s", name);
	}
	/* a program need not map itself any more */
	ssize_t len = readlinkat(dir, "exe", exe, sizeof(exe) - 1);
	if (len < 0)
		return NULL;
	exe[len] = '\0';
	_cleanup_free_ char *name = name_in_usr(prefix, exe);
	return name && is_other(w, dir, "exe", name, 0) ? xasprintf("/usr/%s", name) : NULL;
}

static int open_process(const struct walk *w, const char *pid)
{
	return openat(w->proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static ino_t namespace_of(int dir)
{
	struct stat st;

	return fstatat(dir, "ns/mnt", &st, 0) == 0 ? st.st_ino : 0;
}

static struct space *space_get(struct walk *w, ino_t ns)
{
	for (size_t i = 0; i < w->n_spaces; i++)
		if (w->spaces[i].ns == ns)
			return &w->spaces[i];
	VEC_GROW(w->spaces, w->n_spaces, w->cap_spaces);
	w->spaces[w->n_spaces] = (struct space){.ns = ns};
	return &w->spaces[w->n_spaces++];
}

/* In another mount namespace a process whose root is ours tells how that is named there; others in it may have changed their root. */
static void learn_space(struct walk *w, int dir, ino_t ns)
{
	struct space *s = space_get(w, ns);
	char root[PATH_MAX];
	struct stat st;

	if (s->prefix || fstatat(dir, "root", &st, 0) < 0 || st.st_dev != w->root.st_dev || st.st_ino != w->root.st_ino)
		return;
	ssize_t len = readlinkat(dir, "root", root, sizeof(root) - 1);
	if (len < 0)
		return;
	root[len] = '\0';
	s->prefix = xstrdup(strcmp(root, "/") == 0 ? "" : root);
}

/* A process whose first thread has ended is only seen in the others. */
static char *find_in_threads(struct walk *w, int dir, const char *pid, ino_t ns, const char *prefix)
{
	_cleanup_(strv_free) struct strv threads = {0};
	char *file = NULL;

	if (fs_list(dir, "task", &threads, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < threads.n && !file; i++) {
		_cleanup_close_ int thread =
			strcmp(threads.items[i], pid) == 0 ? -1 : open_process(w, threads.items[i]);
		if (thread >= 0)
			file = find_other(w, thread, ns ? ns : namespace_of(thread), prefix);
	}
	return file;
}

/* The first file that the process or one of its threads has, see find_other() */
static char *find_in_process(struct walk *w, int dir, const char *pid, ino_t ns, const char *prefix)
{
	char *file = find_other(w, dir, ns, prefix);

	return file ? file : find_in_threads(w, dir, pid, ns, prefix);
}

/*
 * Is it still the service manager's own program on its way to the one of a service? User managers and what they leave beside them ("(sd-pam)") are that
 * program, too, and stay.
 */
static bool becomes_service(int dir, const char *pid, const char *unit)
{
	char exe[PATH_MAX];
	ssize_t len = readlinkat(dir, "exe", exe, sizeof(exe) - 1);

	if (len < 0 || strcmp(pid, "1") == 0 || !unit || text_starts(unit, "user@"))
		return false;
	exe[len] = '\0';
	if (text_ends(exe, DELETED))
		exe[len - (ssize_t)strlen(DELETED)] = '\0';
	return text_ends(exe, "/systemd/systemd-executor") || text_ends(exe, "/systemd/systemd");
}

static void look_at(struct walk *w, const char *pid, struct inuse *out)
{
	const struct timespec pause = {.tv_nsec = BECOMES_POLL_MS * 1000000};
	_cleanup_close_ int dir = open_process(w, pid);
	uint32_t number;

	if (dir < 0 || text_u32(pid, 1, INT32_MAX, &number) < 0)
		return;
	const ino_t ns = namespace_of(dir);
	const char *prefix = ns ? space_get(w, ns)->prefix : space_get(w, w->own_ns)->prefix;
	if (!prefix)
		return;
	_cleanup_free_ char *file = find_in_process(w, dir, pid, ns, prefix);
	if (!file)
		return;
	_cleanup_free_ char *cgroup = read_text(dir, "cgroup");
	_cleanup_free_ char *unit = inuse_unit(cgroup);
	if (becomes_service(dir, pid, unit)) {
		while (w->waited_ms < BECOMES_MS && becomes_service(dir, pid, unit)) {
			(void)nanosleep(&pause, NULL);
			w->waited_ms += BECOMES_POLL_MS;
		}
		free(take(file));
		file = find_in_process(w, dir, pid, ns, prefix);
		if (!file)
			return;
	}
	char *name = read_text(dir, "comm");
	name[strcspn(name, "\n")] = '\0';
	VEC_GROW(out->items, out->n, out->cap);
	out->items[out->n++] =
		(struct inuse_process){.pid = (pid_t)number, .name = name, .unit = take(unit), .file = take(file)};
}

static int by_unit(const void *a, const void *b)
{
	const struct inuse_process *x = a, *y = b;
	int order = strcmp(x->unit ? x->unit : "", y->unit ? y->unit : "");

	return order ? order : (x->pid > y->pid) - (x->pid < y->pid);
}

static void walk_end(struct walk *w)
{
	for (size_t i = 0; i < w->n_spaces; i++)
		free(w->spaces[i].prefix);
	free(w->spaces);
	table_free(w->seen);
	arena_free(w->arena);
	closep(&w->proc);
}

static int walk_begin(struct walk *w, const struct machine *m, struct err *e)
{
	*w = (struct walk){.m = m, .arena = arena_new(), .seen = table_new()};
	w->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int self = w->proc < 0 ? -1 : openat(w->proc, "self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self < 0)
		return err_hint(e, err_errno(e, "/proc"), "mount /proc: without it processes cannot be seen");
	if (fstat(m->root, &w->root) < 0)
		return err_errno(e, "%s", m->path);
	w->snapshots = clone_is_subvolume(m->root, "usr");
	w->own_ns = namespace_of(self);
	space_get(w, w->own_ns)->prefix = xstrdup(strcmp(m->path, "/") == 0 ? "" : m->path);
	return 0;
}

int inuse_find(const struct machine *m, struct inuse *out, struct err *e)
{
	_cleanup_free_ char *own = xasprintf("%d", (int)getpid());
	_cleanup_(walk_end) struct walk w = {.proc = -1};
	_cleanup_(strv_free) struct strv names = {0};

	int r = walk_begin(&w, m, e);
	if (r >= 0)
		r = fs_list(w.proc, ".", &names, e);
	if (r < 0)
		return err_in(e, r, "cannot tell which processes use replaced files");
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_close_ int dir =
			isdigit((unsigned char)names.items[i][0]) ? open_process(&w, names.items[i]) : -1;
		const ino_t ns = dir < 0 ? 0 : namespace_of(dir);
		if (ns && ns != w.own_ns)
			learn_space(&w, dir, ns);
	}
	for (size_t i = 0; i < names.n; i++)
		if (isdigit((unsigned char)names.items[i][0]) && strcmp(names.items[i], own) != 0)
			look_at(&w, names.items[i], out);
	if (out->n)
		qsort(out->items, out->n, sizeof(*out->items), by_unit);
	return 0;
}

bool inuse_by_init(const struct machine *m)
{
	_cleanup_(walk_end) struct walk w = {.proc = -1};
	_cleanup_(inuse_free) struct inuse found = {0};

	if (walk_begin(&w, m, NULL) >= 0)
		look_at(&w, "1", &found);
	return found.n > 0;
}
