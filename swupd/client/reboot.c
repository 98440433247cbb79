/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/reboot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/clone.h"
#include "swupd/client/exchange.h"
#include "swupd/client/inuse.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"

#define KERNEL 1U

/* What a path below /usr/lib or /boot that begins so belongs to. */
static const struct part {
	const char *name, *prefix;
	unsigned bit;
} parts[] = {
	{"the kernel", "/usr/lib/kernel/", KERNEL},
	{"the kernel", "/usr/lib/modules/", KERNEL},
	{"the kernel", "/boot/", KERNEL},
	{"the initrd", "/usr/lib/initrd", 2},
	{"the boot loader", "/usr/lib/systemd/boot/", 4},
};

/* kernel-install's scripts and settings lie among the kernels. */
#define KERNEL_INSTALL "install."

static unsigned bit_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (text_starts(name, parts[i].prefix))
			return text_starts(name, "/usr/lib/kernel/" KERNEL_INSTALL) ? 0 : parts[i].bit;
	return 0;
}

static char *say(unsigned bits)
{
	_cleanup_(buf_free) struct buf text = {0};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!(bits & parts[i].bit))
			continue;
		bits &= ~parts[i].bit;
		buf_printf(&text, "%s%s", text.len ? ", " : "", parts[i].name);
	}
	return text.len ? xasprintf("%s changed", text.data) : NULL;
}

static unsigned bits_of(const struct plan *p)
{
	unsigned bits = 0;

	for (size_t i = 0; i < p->n_changes; i++)
		bits |= bit_of(p->changes[i].name);
	return bits;
}

char *reboot_reason(const struct plan *p)
{
	return say(bits_of(p));
}

bool reboot_brings_kernel(const struct plan *p)
{
	return bits_of(p) & KERNEL;
}

/* Do the two trees, one of which is a clone of the other with changes, differ at or below this name? */
static bool differ(int a, int b, const char *name, bool snapshots)
{
	_cleanup_(strv_free) struct strv in_a = {0}, in_b = {0};
	struct stat x, y;

	const bool has_a = fstatat(a, name, &x, AT_SYMLINK_NOFOLLOW) == 0,
		   has_b = fstatat(b, name, &y, AT_SYMLINK_NOFOLLOW) == 0;
	if (!has_a || !has_b)
		return has_a != has_b;
	if (!S_ISDIR(x.st_mode) || !S_ISDIR(y.st_mode))
		return !inuse_same(&x, &y, snapshots);
	_cleanup_close_ int dir_a = openat(a, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int dir_b = openat(b, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_a < 0 || dir_b < 0 || fs_list(dir_a, ".", &in_a, NULL) < 0 || fs_list(dir_b, ".", &in_b, NULL) < 0)
		return true;
	if (in_a.n != in_b.n)
		return true;
	for (size_t i = 0; i < in_a.n; i++)
		if (strcmp(in_a.items[i], in_b.items[i]) != 0 || differ(dir_a, dir_b, in_a.items[i], snapshots))
			return true;
	return false;
}

/* The names in dir of both trees, absolute. */
static void list_both(int usr, int old, const char *dir, struct strv *out)
{
	const int trees[] = {usr, old};

	for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
		_cleanup_(strv_free) struct strv names = {0};
		_cleanup_close_ int fd = fs_open_beneath(trees[i], dir, O_RDONLY | O_DIRECTORY, 0, NULL);
		if (fd < 0 || fs_list(fd, ".", &names, NULL) < 0)
			continue;
		for (size_t k = 0; k < names.n; k++)
			strv_take(out, xasprintf("/usr/%s/%s", dir, names.items[k]));
	}
	strv_sort_unique(out);
}

static unsigned bits_between(int usr, int old, bool snapshots)
{
	static const char *const dirs[] = {"lib", "lib/kernel", "lib/modules", "lib/systemd/boot"};
	unsigned bits = 0;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		_cleanup_(strv_free) struct strv names = {0};
		list_both(usr, old, dirs[i], &names);
		for (size_t k = 0; k < names.n; k++) {
			const unsigned bit = bit_of(names.items[k]);
			if (bit & ~bits && differ(usr, old, names.items[k] + strlen("/usr/"), snapshots))
				bits |= bit;
		}
	}
	return bits;
}

char *reboot_reason_exchanged(const struct machine *m)
{
	_cleanup_close_ int usr = fs_open_beneath(m->root, "usr", O_RDONLY | O_DIRECTORY, 0, NULL);
	_cleanup_close_ int old = fs_open_beneath(m->root, TREE_OLD, O_RDONLY | O_DIRECTORY, 0, NULL);

	return usr >= 0 && old >= 0 ? say(bits_between(usr, old, clone_is_subvolume(m->root, "usr"))) : NULL;
}

bool reboot_other_kernel(const struct machine *m, int root)
{
	_cleanup_close_ int usr = fs_open_beneath(m->root, "usr", O_RDONLY | O_DIRECTORY, 0, NULL);
	_cleanup_close_ int other = fs_open_beneath(root, "usr", O_RDONLY | O_DIRECTORY, 0, NULL);

	return usr < 0 || other < 0 || bits_between(usr, other, true) & KERNEL;
}

void reboot_reasons(const struct machine *m, struct strv *out)
{
	_cleanup_(buf_free) struct buf text = {0};

	if (strcmp(m->path, "/") == 0 && fs_load(AT_FDCWD, REBOOT_PATH, UINT16_MAX, &text, NULL) >= 0 && text.data)
		strv_split(out, text.data, "\n");
}

bool reboot_kernel_noted(const struct machine *m)
{
	_cleanup_(strv_free) struct strv reasons = {0};
	bool noted = false;

	reboot_reasons(m, &reasons);
	/* as say() writes it: the kernel comes first */
	for (size_t i = 0; i < reasons.n; i++)
		noted |= text_starts(reasons.items[i], parts[0].name);
	return noted;
}

/* Where it cannot be noted there is a warning. */
static void save_reasons(struct machine *m, const struct strv *reasons)
{
	_cleanup_free_ char *dir = xstrndup(REBOOT_PATH, (size_t)(strrchr(REBOOT_PATH, '/') - REBOOT_PATH));
	_cleanup_free_ char *lines = strv_join(reasons, "\n"), *text = xasprintf("%s\n", lines);
	struct err why = ERR_INIT;

	int r = fs_mkdirs(AT_FDCWD, dir, 0755, &why);
	if (r >= 0 && reasons->n)
		r = fs_save(AT_FDCWD, REBOOT_PATH, text, strlen(text), 0644, &why);
	else if (r >= 0 && unlink(REBOOT_PATH) < 0 && errno != ENOENT)
		r = err_errno(&why, REBOOT_PATH);
	if (r < 0)
		ui_warn(m->ui, "cannot note whether a reboot is needed: %s", why.text);
	err_clear(&why);
}

void reboot_say(struct machine *m, const char *reason)
{
	_cleanup_(strv_free) struct strv reasons = {0};

	/* another root is booted anyway, to be used */
	if (strcmp(m->path, "/") != 0)
		return;
	ui_answer(m->ui, "a reboot is needed: %s", reason);
	reboot_reasons(m, &reasons);
	if (strv_has(&reasons, reason))
		return;
	strv_add(&reasons, reason);
	save_reasons(m, &reasons);
}

void reboot_settle(struct machine *m, const char *reason)
{
	_cleanup_(strv_free) struct strv reasons = {0}, left = {0};

	reboot_reasons(m, &reasons);
	for (size_t i = 0; i < reasons.n; i++)
		if (strcmp(reasons.items[i], reason) != 0)
			strv_add(&left, reasons.items[i]);
	if (left.n < reasons.n)
		save_reasons(m, &left);
}
