/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/post.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/boot_update.h"
#include "swupd/client/inuse.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/reboot.h"

#define PID_1          "PID 1 cannot be executed anew" /* why a reboot is needed */
#define REEXEC_MS      5000
#define REEXEC_POLL_MS 50L

/* what is run must not depend on the environment of the caller */
static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};

int post_run(const char *const *argv, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf own = {0};
	const struct proc p = {.argv = argv, .env = environment, .dirfd = AT_FDCWD, .out = out ? out : &own};

	return proc_check(&p, e);
}

static int action(struct machine *m, const char *const *argv, struct err *e)
{
	struct err own = ERR_INIT;

	ui_note(m->ui, "running %s", argv[0]);
	int r = post_run(argv, NULL, &own);
	if (r < 0) {
		/* the others are run all the same: the release is installed */
		ui_warn(m->ui, "%s", own.text);
		if (e && !e->text)
			err_move(e, &own);
		err_clear(&own);
	}
	return r;
}

static bool is_executable(int dirfd, const char *path)
{
	_cleanup_close_ int fd = fs_open_beneath(dirfd, path, O_PATH, 0, NULL);

	return fd >= 0 && faccessat(fd, "", X_OK, AT_EMPTY_PATH) == 0;
}

bool post_has_boot_manager(const struct machine *m)
{
	return is_executable(m->root, "usr/bin/clr-boot-manager");
}

static int update_boot(struct machine *m, const struct plan *p, struct err *e)
{
	_cleanup_free_ char *program =
		xasprintf("%s/usr/bin/clr-boot-manager", strcmp(m->path, "/") == 0 ? "" : m->path);
	const char *const here[] = {program, "update", NULL};
	const char *const there[] = {program, "update", "--path", m->path, NULL};

	if (!post_has_boot_manager(m))
		return boot_complete(m, e);
	return !p->boot ? 0 : action(m, strcmp(m->path, "/") == 0 ? here : there, e);
}

int post_reexec(struct machine *m, struct err *e)
{
	static const char *const argv[] = {"systemctl", "daemon-reexec", NULL};
	const struct timespec pause = {.tv_nsec = REEXEC_POLL_MS * 1000000};

	int r = action(m, argv, e);
	/* it takes a moment longer than the call */
	for (int i = 0; r >= 0 && i < REEXEC_MS / REEXEC_POLL_MS && inuse_by_init(m); i++)
		(void)nanosleep(&pause, NULL);
	if (r < 0 || inuse_by_init(m))
		reboot_say(m, PID_1);
	else
		reboot_settle(m, PID_1);
	return r;
}

/* Only on the running system: another root's services do not run. */
static int update_running(struct machine *m, const struct plan *p, struct err *e)
{
	const char *const ldconfig[] = {"ldconfig", NULL};
	const char *const reload[] = {"systemctl", "daemon-reload", NULL};
	const char *const triggers[] = {"systemctl", "restart", "update-triggers.target", NULL};
	const char *const triggers_later[] = {"systemctl", "restart", "--no-block", "update-triggers.target", NULL};
	const char *const restart[] = {"/usr/bin/clr-service-restart", NULL};
	int r = 0, first = 0;

	/* a stateless system has no cache: the loader looks into its built-in directories */
	if (access("/etc/ld.so.cache", F_OK) == 0)
		first = action(m, ldconfig, e);
	if (access("/run/systemd/system", F_OK) != 0)
		return first;
	r = p->systemd || inuse_by_init(m) ? post_reexec(m, e) : action(m, reload, e);
	first = first < 0 ? first : r;
	if (is_executable(m->root, "usr/bin/clr-service-restart")) {
		r = action(m, restart, e);
		first = first < 0 ? first : r;
	}
	if (fs_exists(m->root, "usr/lib/systemd/system/update-triggers.target")) {
		r = action(m, m->opts->wait_for_scripts ? triggers : triggers_later, e);
		first = first < 0 ? first : r;
	}
	return first;
}

int post_update(struct machine *m, const struct plan *p, struct err *e)
{
	/* a rollback does not say what changes */
	_cleanup_free_ char *reason = p->n_changes ? reboot_reason(p) : p->boot ? reboot_reason_exchanged(m) : NULL;
	int boot = 0, running = 0;

	if (reason)
		reboot_say(m, reason);
	if (m->opts->no_scripts || (p->n_changes == 0 && !p->boot))
		return 0;
	if (!m->opts->no_boot_update)
		boot = update_boot(m, p, e);
	if (strcmp(m->path, "/") == 0)
		running = update_running(m, p, e);
	const int r = boot < 0 ? boot : running;
	return r < 0 ? err_in(e, r, "release %u is installed, but an action after it did not work", m->release) : 0;
}
