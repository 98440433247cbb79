/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/machine.h"
#include "swupd/client/next_boot.h"
#include "swupd/cmd/cmd.h"

#define TIMED_OUT 124 /* timeout(1) */

struct health_opts {
	uint32_t timeout;
};

static const struct opt health_options[] = {
	{0, "timeout", OPT_U32, offsetof(struct health_opts, timeout), "S", "seconds that a check may take (60)", 1,
	 3600},
	{0},
};

static const struct health_opts health_defaults = {.timeout = 60};

/* Of one name the machine's own counts; a link to /dev/null there means none. */
static const char *const folders[] = {"/etc/swupd/health.d", "/usr/share/defaults/swupd/health.d"};

static int list_checks(struct strv *names, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		int r = fs_list(AT_FDCWD, folders[i], names, e);
		if (r == -ENOENT)
			err_clear(e);
		else if (r < 0)
			return r;
	}
	strv_sort_unique(names);
	return 0;
}

/* The program of that name; NULL: there is none to run. The caller frees it. */
static char *find_check(const char *name)
{
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", folders[i], name);
		if (stat(path, &st) < 0)
			continue;
		return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? take(path) : NULL;
	}
	return NULL;
}

static const char *last_line(struct buf *text)
{
	const char *line = text->len ? text_trim(text->data) : "";
	const char *end = strrchr(line, '\n');

	return end ? end + 1 : line;
}

/* 0: healthy; -ERR_CHILD: not, and e says why. */
static int run_check(struct machine *m, const char *path, uint32_t timeout, struct err *e)
{
	_cleanup_(buf_free) struct buf out = {0}, errors = {0};
	_cleanup_free_ char *seconds = xasprintf("%u", timeout), *release = xasprintf("SWUPD_RELEASE=%u", m->release);
	const char *const argv[] = {"timeout", "--kill-after=5", seconds, path, NULL};
	const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", release, NULL};
	const struct proc p = {.argv = argv, .env = env, .dirfd = AT_FDCWD, .out = &out, .errors = &errors};

	ui_note(m->ui, "running %s", path);
	int r = proc_run(&p, e);
	if (r <= 0)
		return r;
	if (r == TIMED_OUT)
		return err_set(e, -ERR_CHILD, "%s took longer than %u seconds", path, timeout);
	const char *said = last_line(errors.len ? &errors : &out);
	return err_set(e, -ERR_CHILD, "%s ended with %d%s%s", path, r, *said ? ": " : "", said);
}

static int health_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	const struct health_opts *o = opts;
	struct machine *m = context;
	_cleanup_(strv_free) struct strv names = {0};
	size_t n = 0;

	(void)args;
	if (strcmp(m->path, "/") != 0)
		return err_set(e, -ERR_USAGE, "checks are of the running system, not of %s", m->path);
	int r = list_checks(&names, e);
	for (size_t i = 0; i < names.n && r >= 0; i++) {
		_cleanup_free_ char *path = find_check(names.items[i]);
		if (!path)
			continue;
		r = run_check(m, path, o->timeout, e);
		n++;
	}
	if (r >= 0) {
		ui_message(m->ui, "release %u is well: %zu checks", m->release, n);
		return 0;
	}
	struct err why = ERR_INIT;
	if (next_boot_refuse(m, e->text, &why) < 0)
		ui_warn(m->ui, "%s", why.text);
	err_clear(&why);
	return err_in(e, r, "release %u is not well", m->release);
}

const struct command cmd_health = {
	.name = "health",
	.args = "",
	.summary = "run the health checks of this machine",
	.needs = NEEDS_ROOT_USER | NEEDS_STATE,
	.opts = health_options,
	.opts_size = sizeof(struct health_opts),
	.opts_default = &health_defaults,
	.run = health_run,
};
