/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/boot_partition.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/machine.h"
#include "swupd/content/boot_entry.h"

#define EFI_FIRMWARE  "/sys/firmware/efi"
#define LOADER_VENDOR "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
#define VARIABLE_MAX  4096
#define ATTRIBUTES    4 /* bytes before an EFI variable's value in efivarfs */

/* --- mounts that nobody sees ---------------------------------------------------------------------------------------------- */

struct mount_option {
	const char *key, *value;
};

/* A new mount, in no tree of mounts: it goes with the last fd. Returns the fd of its root. */
static int mount_detached(const char *type, const struct mount_option *options, struct err *e)
{
	_cleanup_close_ int context = fsopen(type, FSOPEN_CLOEXEC);

	if (context < 0)
		return err_errno(e, "file system '%s'", type);
	for (const struct mount_option *o = options; o->key; o++)
		if (fsconfig(context, FSCONFIG_SET_STRING, o->key, o->value, 0) < 0)
			return err_errno(e, "%s=%s", o->key, o->value);
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(e, "cannot mount a file system '%s'", type);
	int fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? err_errno(e, "cannot mount a file system '%s'", type) : fd;
}

/* --- what the loader says ------------------------------------------------------------------------------------------------- */

static int open_variables(void)
{
	static const struct mount_option none = {0};
	int fd = open(EFI_FIRMWARE "/efivars", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(strv_free) struct strv names = {0};

	if (fd >= 0 && fs_list(fd, ".", &names, NULL) >= 0 && names.n > 0)
		return fd;
	closep(&fd);
	return access(EFI_FIRMWARE, F_OK) == 0 ? mount_detached("efivarfs", &none, NULL) : -ENOENT;
}

char *boot_loader_variable(const char *name)
{
	_cleanup_free_ char *file = xasprintf("%s-" LOADER_VENDOR, name);
	_cleanup_(buf_free) struct buf raw = {0}, text = {0};
	_cleanup_close_ int dir = open_variables();

	if (dir < 0 || fs_load(dir, file, VARIABLE_MAX, &raw, NULL) < 0)
		return NULL;
	/* UTF-16, little-endian, ends in a zero */
	for (size_t i = ATTRIBUTES; i + 1 < raw.len; i += 2) {
		if (!raw.data[i] && !raw.data[i + 1])
			break;
		const bool ascii = !raw.data[i + 1] && raw.data[i] >= ' ' && raw.data[i] < 0x7f;
		buf_add(&text, ascii ? &raw.data[i] : "?", 1);
	}
	return text.len ? take(text.data) : NULL;
}

/* --- where it is ---------------------------------------------------------------------------------------------------------- */

/* 1: entries of this id; 0: none */
static int has_entry(int fd, const char *id, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct boot_name name;

	_cleanup_close_ int dir = fs_open_beneath(fd, BOOT_ENTRIES, O_RDONLY | O_DIRECTORY, 0, e);
	if (dir == -ENOENT || dir == -ENOTDIR || dir == -ERR_PATH) {
		err_clear(e);
		return 0;
	}
	int r = dir < 0 ? dir : fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++)
		if (boot_name_parse(names.items[i], id, &name))
			return 1;
	return r < 0 ? r : 0;
}

static char *name_below(const struct machine *m, const char *path)
{
	return xasprintf("%s/%s", strcmp(m->path, "/") == 0 ? "" : m->path, path + strspn(path, "/"));
}

static int open_named(const struct machine *m, const char *dir, int *fd, char **path, struct err *e)
{
	_cleanup_free_ char *name = name_below(m, dir);
	_cleanup_close_ int opened = fs_open_beneath(m->root, dir + strspn(dir, "/"), O_RDONLY | O_DIRECTORY, 0, e);

	if (opened < 0)
		return err_hint(e, err_as(e, -ERR_CONFIG), "--boot names the boot partition's mount point");
	*fd = take_fd(&opened);
	*path = take(name);
	return 1;
}

static int open_mounted(const struct machine *m, const char *id, int *fd, char **path, struct err *e)
{
	static const char *const places[] = {"efi", "boot", "boot/efi"};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		/* an automount is mounted by this */
		_cleanup_close_ int dir = fs_open_beneath(m->root, places[i], O_RDONLY | O_DIRECTORY, 0, NULL);
		struct statfs fs;
		if (dir < 0 || fstatfs(dir, &fs) < 0 || fs.f_type != MSDOS_SUPER_MAGIC)
			continue;
		int r = has_entry(dir, id, e);
		if (r < 0)
			return err_in(e, r, "boot partition /%s", places[i]);
		if (r > 0) {
			*fd = take_fd(&dir);
			*path = name_below(m, places[i]);
			return 1;
		}
	}
	return 0;
}

/* The partition that the loader came from */
static int open_unmounted(const char *id, int *fd, char **path, struct err *e)
{
	_cleanup_free_ char *uuid = boot_loader_variable("LoaderDevicePartUUID"), *device = NULL;

	for (char *c = uuid; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (!uuid || uuid[strspn(uuid, "0123456789abcdef-")])
		return 0;
	device = xasprintf("/dev/disk/by-partuuid/%s", uuid);
	const struct mount_option options[] = {{"source", device}, {"umask", "0077"}, {0}};
	_cleanup_close_ int opened = mount_detached("vfat", options, e);
	if (opened < 0)
		return err_hint(e, err_in(e, opened, "boot partition %s", device),
				"mount it at /efi, or leave it alone with --no-boot-update");
	int r = has_entry(opened, id, e);
	if (r > 0) {
		*fd = take_fd(&opened);
		*path = take(device);
	}
	return r;
}

int boot_partition_open(const struct machine *m, const char *id, int *fd, char **path, struct err *e)
{
	if (m->opts->boot)
		return open_named(m, m->opts->boot, fd, path, e);
	int r = open_mounted(m, id, fd, path, e);
	return r != 0 || strcmp(m->path, "/") != 0 ? r : open_unmounted(id, fd, path, e);
}
