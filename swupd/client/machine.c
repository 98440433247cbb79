/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/client/boot_update.h"
#include "swupd/client/catalog.h"
#include "swupd/client/commit.h"
#include "swupd/client/fetch.h"
#include "swupd/client/history.h"
#include "swupd/client/install.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/trust.h"
#include "swupd/client/update_head.h"
#include "swupd/client/url.h"
#include "swupd/content/file.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/signature.h"

#define HOST_STATE "/" INSTALLED_STATE
#define LOCK_NAME  "swupd_lock" /* the predecessor's */

char *os_release_value(const char *text, const char *key)
{
	const char *pos = text, *end = text + strlen(text), *line;
	const size_t key_len = strlen(key);
	char *found = NULL;
	size_t len;

	while (text_line(&pos, end, &line, &len, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		const char *s = text_trim(copy);
		if (!text_starts(s, key) || s[key_len] != '=')
			continue;
		s += key_len + 1;
		freep(&found);
		found = *s == '"' || *s == '\'' ? xstrndup(s + 1, strcspn(s + 1, "\"'")) : xstrdup(s);
	}
	return found;
}

uint32_t os_release_version(const char *text)
{
	_cleanup_free_ char *value = os_release_value(text, "VERSION_ID");
	uint32_t release = 0;

	return value && text_u32(value, 1, INT32_MAX, &release) >= 0 ? release : 0;
}

int machine_read_release(struct machine *m, struct err *e)
{
	static const char *const places[] = {INSTALLED_OS_RELEASE, "etc/os-release"};

	m->release = 0;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		_cleanup_(buf_free) struct buf text = {0};
		_cleanup_close_ int fd = fs_open_beneath(m->root, places[i], O_RDONLY | O_NONBLOCK, 0, NULL);
		if (fd < 0)
			continue;
		int r = fs_load_fd(fd, places[i], SMALL_TEXT_MAX, &text, e);
		if (r < 0)
			return r;
		m->release = os_release_version(text.data);
		break;
	}
	return 0;
}

int machine_bundles(const struct machine *m, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	_cleanup_close_ int dir = fs_open_beneath(m->root, INSTALLED_BUNDLES, O_RDONLY | O_DIRECTORY, 0, NULL);
	int r = dir < 0 ? 0 : fs_list(dir, ".", &names, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < names.n; i++) {
		struct stat st;
		/* by lstat, not d_type: some file systems do not tell it */
		if (names.items[i][0] != '.' && bundle_name_check(names.items[i], NULL) >= 0 &&
		    fstatat(dir, names.items[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			strv_add(out, names.items[i]);
	}
	/* a mix may have a base of its own; one that tells of no bundle has the usual one */
	if (out->n == 0)
		strv_add(out, "os-core");
	strv_sort_unique(out);
	return 0;
}

int machine_open_data(const struct machine *m, const char *name, int flags)
{
	_cleanup_free_ char *path = xasprintf(INSTALLED_STATE "/%s", name);

	return m->data >= 0 ? openat(m->data, name, flags | O_NOFOLLOW | O_CLOEXEC)
			    : fs_open_beneath(m->root, path, flags, 0, NULL);
}

int machine_tracked(const struct machine *m, struct strv *out, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	_cleanup_close_ int dir = machine_open_data(m, "bundles", O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return 0;
	int r = fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (bundle_name_check(names.items[i], NULL) >= 0)
			strv_add(out, names.items[i]);
	return r;
}

/* Make path below root, following no link, and open it. */
static int make_dir_beneath(int root, const char *path, struct err *e)
{
	_cleanup_free_ char *part = xstrdup(path);

	for (char *slash = part; slash;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		const char *base;
		_cleanup_close_ int dir = fs_open_parent(root, part, &base, e);
		if (dir < 0)
			return dir;
		if (mkdirat(dir, base, 0755) < 0 && errno != EEXIST)
			return err_errno(e, "cannot make the directory %s", part);
		if (slash)
			*slash = '/';
	}
	return fs_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0, e);
}

static int check_state_dir(const char *path, const char *option, struct err *e)
{
	static const char *const refused[] = {"/", "/var", "/usr"};

	if (*path != '/')
		return err_set(e, -ERR_USAGE, "%s: '%s' is not an absolute path", option, path);
	_cleanup_free_ char *clean = xstrdup(path);
	for (size_t len = strlen(clean); len > 1 && clean[len - 1] == '/';)
		clean[--len] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (strcmp(clean, refused[i]) == 0)
			return err_set(e, -ERR_USAGE, "%s: '%s' cannot be a state directory", option, path);
	return 0;
}

/* A link in another's root would lead what we write and sweep to outside of it. */
static int check_state(const struct machine *m, struct err *e)
{
	static const char *const dirs[] = {"bundles", "trust"};
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (fstatat(m->data, dirs[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
			return err_hint(e,
					err_set(e, -ERR_PATH, "'%s' in the data directory is not a directory", dirs[i]),
					"remove it");
	return 0;
}

static int open_private(int dirfd, const char *path, struct err *e)
{
	struct stat st;
	_cleanup_close_ int fd = fs_make_dir(dirfd, path, 0755, e);

	if (fd < 0)
		return fd;
	/* files in it become root's programs: nobody else may write there */
	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s", path);
	if (geteuid() == 0 && st.st_uid != 0)
		return err_hint(e, err_set(e, -EPERM, "the state directory %s does not belong to root", path),
				"chown root '%s'", path);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && fchmod(fd, st.st_mode & 0755) < 0)
		return err_errno(e, "%s", path);
	return take_fd(&fd);
}

/* When nothing is tracked yet, everything that is installed counts as asked for. */
static int fill_tracked(const struct machine *m, struct err *e)
{
	_cleanup_(strv_free) struct strv tracked = {0}, installed = {0};

	int r = fs_mkdirs(m->data, "bundles", 0755, e);
	if (r >= 0)
		r = machine_tracked(m, &tracked, e);
	if (r < 0 || tracked.n > 0 || m->release == 0)
		return r;
	r = machine_bundles(m, &installed, e);
	for (size_t i = 0; r >= 0 && i < installed.n; i++) {
		_cleanup_free_ char *name = xasprintf("bundles/%s", installed.items[i]);
		r = fs_save_cache(m->data, name, "", 0, 0600, e);
	}
	return r;
}

static int open_state(struct machine *m, struct err *e)
{
	const struct client_options *o = m->opts;
	const char *data = o->datadir ? o->datadir : o->statedir;
	const char *cache = o->cachedir ? o->cachedir : o->statedir ? o->statedir : HOST_STATE;
	int r = data ? check_state_dir(data, o->datadir ? "--datadir" : "--statedir", e) : 0;

	if (r >= 0)
		r = check_state_dir(cache, o->cachedir ? "--cachedir" : "--statedir", e);
	if (r < 0)
		return r;
	/* below another root no link of its is followed; on the running system /var may well be one */
	if (!data && strcmp(m->path, "/") != 0)
		m->data = make_dir_beneath(m->root, INSTALLED_STATE, e);
	else
		m->data = open_private(AT_FDCWD, data ? data : HOST_STATE, e);
	r = m->data < 0 ? m->data : check_state(m, e);
	if (r < 0)
		return r;
	m->cache = open_private(AT_FDCWD, cache, e);
	return m->cache < 0 ? m->cache : 0;
}

/* The first line of a small file below a root, without blanks around; NULL when it is not there or empty. */
static char *read_word(int root, const char *path)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_close_ int fd = fs_open_beneath(root, path, O_RDONLY | O_NONBLOCK, 0, NULL);

	if (fd < 0 || fs_load_fd(fd, path, SMALL_TEXT_MAX, &text, NULL) < 0)
		return NULL;
	text.data[strcspn(text.data, "\n")] = '\0';
	const char *word = text_trim(text.data);
	return *word ? xstrdup(word) : NULL;
}

char *machine_installed_format(const struct machine *m)
{
	return read_word(m->root, INSTALLED_DEFAULTS "/format");
}

/* spec/swupd-format.md section 8: the prefix first, then the host. */
static char *read_setting(const struct machine *m, const char *const *paths)
{
	_cleanup_close_ int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (const char *const *path = paths; *path; path++) {
		char *word = read_word(m->root, *path);
		if (word)
			return word;
	}
	for (const char *const *path = paths; host >= 0 && *path; path++) {
		char *word = text_starts(*path, "etc/") ? NULL : read_word(host, *path);
		if (word)
			return word;
	}
	return NULL;
}

static char *read_url(const struct machine *m, const char *const *settings)
{
	_cleanup_free_ char *source = read_setting(m, settings);

	return source ? url_normal(source) : NULL;
}

/* An option (given: its value, or NULL) names the only source; a mirror of the user's has that of the release behind it. */
static void find_urls(const struct machine *m, const char *given, const char *const *mirror, const char *const *release,
		      char **url, char **origin)
{
	*url = given ? url_normal(given) : read_url(m, mirror);
	char *usual = given ? NULL : read_url(m, release);
	if (!*url)
		*url = take(usual);
	else if (usual && strcmp(*url, usual) != 0)
		*origin = take(usual);
	free(usual);
}

static int no_server(struct err *e)
{
	return err_hint(e, err_set(e, -ERR_USAGE, "it is not known where releases come from"),
			"give --url=URL, or install a release that has %s/contenturl", INSTALLED_DEFAULTS);
}

static int find_server(struct machine *m, struct err *e)
{
	static const char *const content[] = {INSTALLED_DEFAULTS "/contenturl", NULL};
	static const char *const version[] = {INSTALLED_DEFAULTS "/versionurl", NULL};
	static const char *const content_mirror[] = {"etc/swupd/mirror_contenturl", NULL};
	static const char *const version_mirror[] = {"etc/swupd/mirror_versionurl", NULL};
	static const char *const format[] = {INSTALLED_DEFAULTS "/format", NULL};
	const struct client_options *o = m->opts;
	const char *c = o->contenturl ? o->contenturl : o->url, *v = o->versionurl ? o->versionurl : o->url;

	find_urls(m, c, content_mirror, content, &m->content_url, &m->content_origin);
	find_urls(m, v, version_mirror, version, &m->version_url, &m->version_origin);
	m->format_text = o->format ? xstrdup(o->format) : read_setting(m, format);
	if (!m->format_text)
		m->format_text = xasprintf("%u", FORMAT_DEFAULT);
	if (strcmp(m->format_text, "staging") != 0 && text_u32(m->format_text, 1, INT32_MAX, &m->format) < 0)
		return err_set(e, -ERR_USAGE, "the format is 'staging' or a positive number, not '%s'", m->format_text);
	return 0;
}

/* The lock is held: what is half written here was left by a run that was killed. */
static int sweep_state(const struct machine *m, struct err *e)
{
	static const char *const dirs[] = {".", "bundles", "trust", "bad"};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(dirs) && r >= 0; i++)
		r = fs_tmp_sweep(m->data, dirs[i], e);
	return r;
}

static int take_lock(struct machine *m, struct err *e)
{
	_cleanup_free_ char *pid = xasprintf("%d\n", (int)getpid());

	int r = m->lock = fs_lock(m->data, LOCK_NAME, pid, e);
	if (r == -ERR_LOCKED)
		return err_hint(e, r, "wait for the other swupd to end");
	if (r >= 0)
		r = sweep_state(m, e);
	if (r >= 0)
		r = install_recover(m, e);
	if (r > 0)
		ui_message(m->ui, "an interrupted run was completed");
	return r < 0 ? r : next_boot_settle(m, e);
}

/* A run that ended between its commit and the boot partition: not to be lost, but no reason not to do what is asked for. */
static void complete_boot(struct machine *m)
{
	struct err why = ERR_INIT;

	if (boot_complete(m, &why) < 0)
		ui_warn(m->ui, "%s", why.text);
	err_clear(&why);
}

static int open_root(struct machine *m, unsigned needs, struct err *e)
{
	const char *path = m->opts->path ? m->opts->path : "/";
	char canonical[PATH_MAX];

	if (needs & NEEDS_NEW_ROOT) {
		int r = fs_mkdirs(AT_FDCWD, path, 0755, e);
		if (r < 0)
			return r;
	}
	if (!realpath(path, canonical))
		return err_errno(e, "the root '%s'", path);
	m->path = xstrdup(canonical);
	m->root = fs_open_dir(AT_FDCWD, canonical, e);
	if (m->root < 0)
		return m->root;
	_cleanup_close_ int probe = fs_open_beneath(m->root, ".", O_PATH, 0, e);
	if (probe == -ENOSYS)
		return err_set(e, -ENOSYS, "this kernel is too old: openat2(2) is needed, Linux 5.6");
	return probe < 0 ? probe : 0;
}

/* The files and directories of these names; missing ones are passed over. */
static int copy_names(int from, const struct strv *names, int to, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < names->n && r >= 0; i++) {
		const char *name = names->items[i];
		struct stat st;
		if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode)) {
			r = fs_link_or_copy(from, name, to, name, e);
		} else if (S_ISDIR(st.st_mode)) {
			_cleanup_(strv_free) struct strv below = {0};
			_cleanup_close_ int dir = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			_cleanup_close_ int copy =
				dir < 0 ? err_errno(e, "cannot copy %s", name) : fs_make_dir(to, name, 0700, e);
			r = copy < 0 ? copy : fs_list(dir, ".", &below, e);
			if (r >= 0)
				r = copy_names(dir, &below, copy, e);
		}
	}
	return r;
}

/* A directory of a file system in memory that has no name anywhere. Returns the fd. */
static int open_memory(struct err *e)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	int mount = fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0
			    ? -1
			    : fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return mount < 0 ? err_errno(e, "cannot make a file system in memory") : mount;
}

static int open_rehearsal(struct machine *m, struct err *e)
{
	/* what is known; not what is to be done (boot-pending) */
	const char *const data_names[] = {"bundles", "trust", "seen", "version", "bad", "next-boot", HISTORY_NAME};
	const char *const cache_names[] = {"mom", "manifest"};
	_cleanup_(strv_free) struct strv of_data = {0}, of_cache = {0};
	const struct client_options *o = m->opts;
	const char *data = o->datadir ? o->datadir : o->statedir;
	const char *cache = o->cachedir ? o->cachedir : o->statedir ? o->statedir : HOST_STATE;

	if (fs_exists(m->root, JOURNAL_PATH))
		return err_hint(e, err_set(e, -ERR_RELEASE, "an interrupted run is half way between two releases"),
				"'swupd clean' completes it");
	for (size_t i = 0; i < ARRAY_LEN(data_names); i++)
		strv_add(&of_data, data_names[i]);
	for (size_t i = 0; i < ARRAY_LEN(cache_names); i++)
		strv_add(&of_cache, cache_names[i]);
	_cleanup_close_ int memory = open_memory(e);
	if (memory < 0)
		return memory;
	m->rehearsal = true;
	m->data = fs_make_dir(memory, "data", 0700, e);
	m->cache = m->data < 0 ? m->data : fs_make_dir(memory, "cache", 0700, e);
	if (m->cache < 0)
		return m->cache;
	_cleanup_close_ int from = data ? open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				   : strcmp(m->path, "/") != 0
					   ? fs_open_beneath(m->root, INSTALLED_STATE, O_RDONLY | O_DIRECTORY, 0, NULL)
					   : open(HOST_STATE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int from_cache = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = from < 0 ? 0 : copy_names(from, &of_data, m->data, e);
	return r < 0 || from_cache < 0 ? r : copy_names(from_cache, &of_cache, m->cache, e);
}

int machine_need(struct machine *m, unsigned needs, struct err *e)
{
	int r = 0;

	if ((needs & NEEDS_ROOT_USER) && geteuid() != 0)
		return err_set(e, -ERR_NOT_ROOT, "this must be run as root");
	if ((needs & NEEDS_SERVER) && (!m->content_url || !m->version_url))
		return no_server(e);
	if (needs & NEEDS_REHEARSAL)
		r = open_rehearsal(m, e);
	else if ((needs & (NEEDS_STATE | NEEDS_LOCK)) && m->data < 0)
		r = open_state(m, e);
	if (r >= 0 && (needs & NEEDS_LOCK))
		r = take_lock(m, e);
	if (r >= 0)
		r = machine_read_release(m, e);
	if (r >= 0 && (needs & NEEDS_LOCK))
		complete_boot(m);
	if (r >= 0 && (needs & (NEEDS_LOCK | NEEDS_REHEARSAL)))
		r = fill_tracked(m, e);
	if (r >= 0 && (needs & NEEDS_TRUST))
		r = trust_load(m, e);
	return r;
}

static int open_all(struct machine *m, unsigned needs, struct err *e)
{
	/* before a root is made */
	if ((needs & NEEDS_ROOT_USER) && geteuid() != 0)
		return machine_need(m, needs, e);
	int r = open_root(m, needs, e);
	if (r >= 0)
		r = find_server(m, e);
	return r < 0 ? r : machine_need(m, needs, e);
}

int machine_open(const struct client_options *opts, unsigned needs, struct ui *ui, struct machine **out, struct err *e)
{
	struct machine *m = xcalloc(1, sizeof(*m));

	m->opts = opts;
	m->ui = ui;
	m->root = m->data = m->cache = m->lock = -1;
	m->now = time(NULL);
	int r = open_all(m, needs, e);
	if (r < 0) {
		machine_close(m);
		return r;
	}
	*out = m;
	return 0;
}

void machine_close(struct machine *m)
{
	if (!m)
		return;
	fetch_free(m->fetch);
	update_head_free(m->update);
	anchors_free(m->anchors);
	trust_free(m->trust);
	closep(&m->lock);
	closep(&m->root);
	closep(&m->data);
	closep(&m->cache);
	free(m->path);
	free(m->content_url);
	free(m->version_url);
	free(m->content_origin);
	free(m->version_origin);
	free(m->format_text);
	free(m->whole_fault);
	free(m);
}
