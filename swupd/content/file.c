/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/file.h"

#include <string.h>
#include <sys/stat.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define SHOWN_MAX 200 /* of a bad name, in a message */

int attrs_from_stat(const struct stat *st, struct attrs *out, struct err *e)
{
	struct attrs a = {.mode = st->st_mode & 07777, .uid = st->st_uid, .gid = st->st_gid};

	if (S_ISREG(st->st_mode)) {
		a.kind = KIND_FILE;
		a.size = (uint64_t)st->st_size;
	} else if (S_ISDIR(st->st_mode)) {
		a.kind = KIND_DIR;
	} else if (S_ISLNK(st->st_mode)) {
		a.kind = KIND_LINK;
		a.mode = 0;
		a.size = (uint64_t)st->st_size;
	} else {
		return err_set(e, -ERR_FORMAT, "not a file, directory or symbolic link");
	}
	*out = a;
	return 0;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static int bad_name(const char *name, int code, const char *why, struct err *e)
{
	_cleanup_free_ char *shown = xstrndup(name, SHOWN_MAX);

	for (char *s = shown; *s; s++)
		if (is_control(*s))
			*s = '?';
	return err_set(e, code, "the name '%s%s' %s", shown, strlen(name) > SHOWN_MAX ? "…" : "", why);
}

int name_check(const char *name, struct err *e)
{
	const char *s = name;

	if (*s != '/')
		return bad_name(name, -ERR_PATH, "is not absolute", e);
	while (*s == '/') {
		const char *part = ++s;
		for (; *s && *s != '/'; s++)
			if (is_control(*s))
				return bad_name(name, -ERR_PATH, "has a control character", e);
		if (s == part)
			return bad_name(name, -ERR_PATH, "has an empty component", e);
		if (part[0] == '.' && (s - part == 1 || (s - part == 2 && part[1] == '.')))
			return bad_name(name, -ERR_PATH, "has a '.' or '..' component", e);
	}
	if (s - name > NAME_LIMIT)
		return bad_name(name, -ERR_PATH, "is too long", e);
	return 0;
}

int bundle_name_check(const char *name, struct err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+.";

	if (!*name)
		return err_set(e, -ERR_BUNDLE, "a bundle's name cannot be empty");
	if (name[strspn(name, allowed)])
		return bad_name(name, -ERR_BUNDLE, "has a character that a bundle's name cannot have", e);
	if (*name == '.' || *name == '-')
		return bad_name(name, -ERR_BUNDLE, "begins with '.' or '-'", e);
	/* Manifest.MoM and Manifest.full are no bundles' manifests */
	if (strcmp(name, "MoM") == 0 || strcmp(name, "full") == 0)
		return bad_name(name, -ERR_BUNDLE, "is reserved", e);
	if (strlen(name) > BUNDLE_NAME_LIMIT)
		return bad_name(name, -ERR_BUNDLE, "is too long", e);
	return 0;
}

static bool is_below(const char *name, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(name, dir, len) == 0 && name[len] == '/';
}

static bool is_or_below(const char *name, const char *dir)
{
	return strcmp(name, dir) == 0 || is_below(name, dir);
}

bool name_is_state(const char *name)
{
	static const char *const dirs[] = {"/etc", "/var", "/home", "/root", "/srv",  "/run",
					   "/tmp", "/dev", "/proc", "/sys",  "/data", "/lost+found"};

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (is_below(name, dirs[i]))
			return true;
	return is_below(name, "/usr/src") && !is_or_below(name, "/usr/src/debug") &&
	       !is_or_below(name, "/usr/src/kernel");
}

bool name_is_boot(const char *name)
{
	return is_below(name, "/boot") || is_below(name, "/usr/lib/modules") || is_below(name, "/usr/lib/kernel") ||
	       is_below(name, "/usr/lib/systemd/boot");
}
