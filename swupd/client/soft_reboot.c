/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/soft_reboot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/deadline.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/client/next_boot.h"
#include "swupd/client/post.h"
#include "swupd/client/reboot.h"
#include "swupd/client/restart.h"
#include "swupd/client/trial.h"
#include "swupd/content/format.h"

#define CMDLINE_MAX   (1UL << 20)
#define DEADLINE      600 /* as initramfs/, and JobTimeoutSec= of swupd-accept.service */
#define DEADLINE_MAX  (24 * 3600)
#define PANIC_PATH    "/proc/sys/kernel/panic"
#define PANIC_SECONDS "10\n"
#define ACCEPT_UNIT   "/usr/lib/systemd/system/swupd-accept.service"

/* --- may it be? ----------------------------------------------------------------------------------------------------------- */

/* A release is not accepted, for the loader too, without its initrd having been started. */
static int other_kernel(struct err *e, const char *what)
{
	return err_hint(e, err_set(e, -ERR_USAGE, "a soft reboot keeps kernel and initrd, and %s", what),
			"without --soft-reboot the release is there after the next reboot");
}

int soft_reboot_check(const struct machine *m, struct err *e)
{
	struct stat own, init;

	if (stat("/proc/self/ns/mnt", &own) < 0 || stat("/proc/1/ns/mnt", &init) < 0)
		return err_errno(e, "cannot tell whether PID 1 sees what is mounted here");
	if (own.st_dev != init.st_dev || own.st_ino != init.st_ino)
		return err_hint(
			e,
			err_set(e, -ERR_USAGE,
				"a soft reboot cannot be made here: PID 1 does not see what is mounted here"),
			"run swupd where mounts are not private (PrivateMounts=, ProtectSystem= and their like)");
	return reboot_kernel_noted(m) ? other_kernel(e, "the running ones are not the installed ones") : 0;
}

int soft_reboot_check_plan(const struct plan *p, struct err *e)
{
	return reboot_brings_kernel(p) ? other_kernel(e, "the release has others") : 0;
}

int soft_reboot_check_root(const struct machine *m, const struct roots *r, const char *name, struct err *e)
{
	_cleanup_close_ int root = fs_open_beneath(r->top, name, O_RDONLY | O_DIRECTORY, 0, e);

	if (root < 0)
		return root;
	return reboot_other_kernel(m, root) ? other_kernel(e, "the release has others") : 0;
}

/* --- mounts --------------------------------------------------------------------------------------------------------------- */

/* rootflags= without what names a subvolume, each word with a comma before it */
static void add_flags(struct buf *options, const char *flags)
{
	_cleanup_(strv_free) struct strv words = {0};

	strv_split(&words, flags, ",");
	for (size_t i = 0; i < words.n; i++)
		if (!text_starts(words.items[i], "subvol=") && !text_starts(words.items[i], "subvolid="))
			buf_printf(options, ",%s", words.items[i]);
}

void soft_reboot_words(const char *cmdline, const char *name, char **options, uint32_t *deadline)
{
	static const char root_flags[] = "rootflags=", seconds[] = "limpid.deadline=";
	_cleanup_(strv_free) struct strv words = {0};
	_cleanup_(buf_free) struct buf text = {0};
	const char *flags = "";
	bool writable = false;

	*deadline = DEADLINE;
	strv_split(&words, cmdline, " \t\n");
	for (size_t i = 0; i < words.n; i++) {
		const char *word = words.items[i];
		if (strcmp(word, "rw") == 0 || strcmp(word, "ro") == 0)
			writable = word[1] == 'w';
		else if (text_starts(word, root_flags))
			flags = word + strlen(root_flags);
		else if (text_starts(word, seconds))
			(void)text_u32(word + strlen(seconds), 1, DEADLINE_MAX, deadline);
	}
	buf_printf(&text, "subvol=/%s,%s", name, writable ? "rw" : "ro");
	add_flags(&text, flags);
	*options = take(text.data);
}

static int mount_subvolume(const char *device, const char *options, const char *place, struct err *e)
{
	const char *const argv[] = {"mount", "-t", "btrfs", "-o", options, device, place, NULL};

	return post_run(argv, NULL, e);
}

static void unmount(void)
{
	(void)umount2(SOFT_REBOOT_ROOT, MNT_DETACH | UMOUNT_NOFOLLOW);
	/* systemctl reboot would take what is there for a root to enter */
	(void)rmdir(SOFT_REBOOT_ROOT);
}

/* Nobody else has prepared something there; what a run that was killed has mounted goes. */
static int clear_place(const char *device, struct err *e)
{
	for (;;) {
		_cleanup_free_ char *source = NULL;
		int r = mounts_source(SOFT_REBOOT_ROOT, &source, e);
		if (r <= 0)
			return r;
		if (strcmp(source, device) != 0)
			return err_hint(e,
					err_set(e, -EBUSY,
						"there is something else mounted at " SOFT_REBOOT_ROOT ": %s", source),
					"'systemctl soft-reboot' enters that");
		if (umount2(SOFT_REBOOT_ROOT, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return err_errno(e, "cannot unmount " SOFT_REBOOT_ROOT);
	}
}

static int mount_own(const struct roots *roots, const char *device, struct err *e)
{
	for (size_t i = 0; i < ROOTS_OWN_N; i++) {
		_cleanup_free_ char *options = xasprintf("subvol=/%s", roots_own[i].name);
		_cleanup_free_ char *place = xasprintf(SOFT_REBOOT_ROOT "/%s", roots_own[i].place);
		if (!fs_exists(roots->top, roots_own[i].name))
			continue;
		int r = mount_subvolume(device, options, place, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int mount_root(const struct machine *m, const struct roots *roots, const char *options, struct err *e)
{
	_cleanup_free_ char *device = NULL;

	int r = mounts_source(m->path, &device, e);
	if (r == 0)
		return err_set(e, -ENOENT, "%s is not a mount point", m->path);
	if (r > 0)
		r = clear_place(device, e);
	if (r < 0)
		return r;
	if (mkdir(SOFT_REBOOT_ROOT, 0755) < 0 && errno != EEXIST)
		return err_errno(e, SOFT_REBOOT_ROOT);
	r = mount_subvolume(device, options, SOFT_REBOOT_ROOT, e);
	if (r >= 0)
		r = mount_own(roots, device, e);
	if (r < 0)
		unmount();
	return r;
}

/* --- signs in /run -------------------------------------------------------------------------------------------------------- */

/* A small file that gets another content for a while. */
struct sign {
	const char *path; /* below / */
	struct buf before;
	bool existed;
};

static void sign_free(struct sign *s)
{
	buf_free(&s->before);
}

static int sign_set(int root, const char *path, const char *text, struct sign *s, struct err *e)
{
	s->existed = fs_load(root, path, SMALL_TEXT_MAX, &s->before, NULL) >= 0;
	int r = fs_mkdirs(root, "run/limpid", 0755, e);
	if (r >= 0)
		r = fs_save(root, path, text, strlen(text), 0644, e);
	if (r >= 0)
		s->path = path;
	return r;
}

static void sign_reset(int root, struct sign *s)
{
	if (s->path && s->existed)
		(void)fs_save(root, s->path, s->before.data ? s->before.data : "", s->before.len, 0644, NULL);
	else if (s->path)
		(void)unlinkat(root, s->path, 0);
}

/* Best effort, as in the initrd: the deadline is there as well. */
static void set_panic(const char *seconds)
{
	_cleanup_close_ int fd = open(PANIC_PATH, O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)fs_write_all(fd, seconds, strlen(seconds), NULL);
}

static int wish_for_accept(int root, struct err *e)
{
	_cleanup_free_ char *dir =
		xstrndup(ROOTS_ACCEPT_LINK, (size_t)(strrchr(ROOTS_ACCEPT_LINK, '/') - ROOTS_ACCEPT_LINK));

	int r = fs_mkdirs(root, dir, 0755, e);
	if (r >= 0 && symlinkat(ACCEPT_UNIT, root, ROOTS_ACCEPT_LINK) < 0 && errno != EEXIST)
		r = err_errno(e, "/" ROOTS_ACCEPT_LINK);
	return r;
}

/* --- entering ------------------------------------------------------------------------------------------------------------- */

/* With the root in its place, and told in /run */
static int go(struct machine *m, struct trial *t, const char *name, struct err *e)
{
	_cleanup_(sign_free) struct sign chosen = {0};
	_cleanup_free_ char *trace = NULL;
	const char *path = NULL;

	int r = trial_trace(t, name, &path, &trace, e);
	if (r >= 0)
		r = sign_set(m->root, path, trace, &chosen, e);
	if (r >= 0)
		r = restart_userspace(m, e);
	if (r < 0)
		sign_reset(m->root, &chosen);
	return r;
}

/* The same of a root on trial */
static int go_on_trial(struct machine *m, struct trial *t, uint32_t deadline, struct err *e)
{
	_cleanup_(sign_free) struct sign trial = {0};
	_cleanup_(buf_free) struct buf panic = {0};
	const unsigned left = t->left, done = t->done;

	int r = trial_set_tries(t, left - 1, done + 1, e);
	if (r < 0)
		return r;
	(void)fs_load(AT_FDCWD, PANIC_PATH, SMALL_TEXT_MAX, &panic, NULL);
	r = sign_set(m->root, ROOTS_TRIAL, "", &trial, e);
	if (r >= 0)
		r = wish_for_accept(m->root, e);
	if (r >= 0) {
		set_panic(PANIC_SECONDS);
		deadline_start(m, deadline);
		r = go(m, t, t->tried, e);
	}
	if (r >= 0)
		return r;
	deadline_end(m);
	if (panic.len)
		set_panic(panic.data);
	(void)unlinkat(m->root, ROOTS_ACCEPT_LINK, 0);
	sign_reset(m->root, &trial);
	(void)trial_set_tries(t, left, done, NULL);
	return r;
}

static int enter(struct machine *m, struct trial *t, const char *name, bool on_trial, struct err *e)
{
	_cleanup_(buf_free) struct buf cmdline = {0};
	_cleanup_free_ char *options = NULL;
	uint32_t deadline;

	/* who prepared it may not have had this in mind */
	int r = soft_reboot_check(m, e);
	if (r >= 0)
		r = soft_reboot_check_root(m, &t->roots, name, e);
	if (r >= 0)
		r = fs_load(AT_FDCWD, "/proc/cmdline", CMDLINE_MAX, &cmdline, e);
	if (r < 0)
		return r;
	soft_reboot_words(cmdline.data ? cmdline.data : "", name, &options, &deadline);
	r = mount_root(m, &t->roots, options, e);
	if (r < 0)
		return r;
	r = on_trial ? go_on_trial(m, t, deadline, e) : go(m, t, name, e);
	if (r < 0)
		unmount();
	return r;
}

static int open_trial(struct machine *m, struct trial *t, struct err *e)
{
	_cleanup_free_ char *why = NULL;
	int r = trial_open(m, t, &why, e);

	return r == 0 ? err_set(e, -ERR_USAGE, "no other root can be entered here: %s", why) : r;
}

int soft_reboot_prepared(struct machine *m, struct err *e)
{
	_cleanup_(next_boot_pending_clear) struct next_boot_pending p = {0};
	struct trial t;

	if (next_boot_pending(m, &p) <= 0)
		return err_set(e, -ERR_RELEASE, "no release is prepared for the next boot");
	int r = open_trial(m, &t, e);
	if (r >= 0) {
		if (!t.tried || strcmp(t.tried, p.root) != 0 || trial_runs(&t) || t.left == 0)
			r = err_set(e, -ERR_RELEASE, "it is not what boots next");
		else
			r = enter(m, &t, p.root, true, e);
		trial_close(&t);
	}
	return r < 0 ? err_in(e, r, "release %u is prepared for the next boot, and not entered now", p.to) : 0;
}

int soft_reboot_good(struct machine *m, const char *name, struct err *e)
{
	struct trial t;

	int r = open_trial(m, &t, e);
	if (r >= 0) {
		r = enter(m, &t, name, false, e);
		trial_close(&t);
	}
	return r < 0 ? err_in(e, r, "the root '%s' boots next, and is not entered now", name) : 0;
}
