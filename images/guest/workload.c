/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * workload: runs what the runtime has given to this guest, tells it how that ended, and switches the guest off. A service of
 * PID 1, or PID 1 itself (limpid.init=/usr/lib/limpid/workload). What to run stands on the kernel's command line:
 *
 *     limpid.share=TAG        a directory of the host, over virtiofs or 9p; mounted at /run/limpid/share
 *     limpid.workload=PATH    an OCI bundle or its configuration (a .json file), run by crun; relative to the share. Without it: the
 *                             share itself. With it and without limpid.share: the share is 'limpid', unless PATH is absolute.
 *     limpid.exec="COMMAND"   instead: a command of the guest itself, by /bin/sh if it has characters that mean something to a shell
 *
 * Its terminal is the console; what the runtime and it say to each other stands in channel.h. Steps: read the command line; open the
 * console and the channel; mount the share; start; pass signals on until it ends; unmount; tell; switch off.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "images/guest/channel.h"
#include "images/guest/cmdline.h"
#include "images/guest/share.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define STATE "/run/limpid"
#define SHARE STATE "/share"
#define LOG   STATE "/crun.log"
#define MADE  STATE "/crun.pid"

/* What a shell would not take literally; a command without any of it is its words, as in make. */
#define SHELL_CHARACTERS "\"'\\`$&|;<>(){}[]*?~#=!\n"

struct workload {
	char *share;  /* tag; NULL: none */
	char *bundle; /* path of the OCI bundle; NULL: command is run */
	char *command;
	int console;
	struct channel channel;
	pid_t child;
	int status; /* of waitpid, when it has ended */
};

static void workload_free(struct workload *w)
{
	free(w->share);
	free(w->bundle);
	free(w->command);
	closep(&w->console);
	closep(&w->channel.fd);
}

/* Which share, which bundle, which command. */
static int workload_read(struct workload *w, struct err *e)
{
	_cleanup_(buf_free) struct buf line = {0};
	_cleanup_free_ char *path = NULL;
	int r = fs_load(AT_FDCWD, "/proc/cmdline", 65536, &line, e);

	if (r < 0)
		return r;
	w->share = cmdline_get(line.data, "limpid.share");
	w->command = cmdline_get(line.data, "limpid.exec");
	path = cmdline_get(line.data, "limpid.workload");
	if (path && w->command)
		return err_set(e, -ERR_USAGE, "limpid.exec and limpid.workload cannot both be given");
	if (w->command)
		return 0;
	if (path && *path == '/') {
		w->bundle = take(path);
		return 0;
	}
	if (!w->share || !*w->share) {
		freep(&w->share);
		w->share = xstrdup("limpid");
	}
	w->bundle = path && *path ? xasprintf(SHARE "/%s", path) : xstrdup(SHARE);
	return 0;
}

/* --- the guest when there is no systemd ----------------------------------------------------------------------------------- */

/* The first program, or the kernel, has mounted it. */
static bool is_mounted(const char *where)
{
	_cleanup_free_ char *parent = xasprintf("%s/..", where);
	struct stat a, b;

	return stat(where, &a) == 0 && stat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

/* What a container needs of a system. */
static int mounts_make(struct err *e)
{
	static const struct {
		const char *type, *where, *options;
		unsigned long flags;
	} mounts[] = {
		{"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=0755", MS_NOSUID},
		{"devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666", MS_NOSUID | MS_NOEXEC},
		{"cgroup2", "/sys/fs/cgroup", "nsdelegate", MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"tmpfs", "/run", "mode=0755,size=20%", MS_NOSUID | MS_NODEV},
		{"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV},
	};

	for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
		if (is_mounted(mounts[i].where))
			continue;
		/* not in the image: /dev is memory, the root of an initrd, too */
		(void)mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, mounts[i].flags, mounts[i].options) < 0)
			return err_errno(e, "cannot mount %s", mounts[i].where);
	}
	return 0;
}

/* --- the console ---------------------------------------------------------------------------------------------------------- */

/*
 * The last console of the kernel's command line, by its own name: /dev/console cannot be a controlling terminal. Output passes as it
 * is, without carriage returns: where it goes is a terminal, which knows better, or a file. The session is ours, not the workload's, whose
 * end would otherwise hang up the terminal.
 */
static int console_open(void)
{
	_cleanup_(buf_free) struct buf names = {0};
	_cleanup_free_ char *device = NULL;
	struct termios t;
	int fd = -1;

	if (fs_load(AT_FDCWD, "/sys/class/tty/console/active", 4096, &names, NULL) >= 0) {
		const char *blank = strrchr(text_trim(names.data), ' ');

		device = xasprintf("/dev/%s", blank ? blank + 1 : text_trim(names.data));
		fd = open(device, O_RDWR | O_NOCTTY | O_CLOEXEC);
	}
	if (fd < 0)
		fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && tcgetattr(fd, &t) == 0) {
		t.c_oflag &= ~(tcflag_t)OPOST;
		t.c_cflag |= CREAD | CLOCAL;
		(void)tcsetattr(fd, TCSANOW, &t);
		(void)setsid();
		(void)ioctl(fd, TIOCSCTTY, 1);
	}
	return fd;
}

/* --- start ---------------------------------------------------------------------------------------------------------------- */

static void crun_words(const struct workload *w, struct strv *argv)
{
	struct statfs root;

	strv_add(argv, "crun");
	strv_add(argv, "--log=file:" LOG);
	strv_add(argv, "--root=" STATE "/crun");
	/* the other one asks a bus that is not here */
	strv_add(argv, "--cgroup-manager=cgroupfs");
	strv_add(argv, "run");
	strv_add(argv, "--pid-file=" MADE);
	/* the first file system of an initrd cannot be exchanged for another */
	if (statfs("/", &root) == 0 && (root.f_type == RAMFS_MAGIC || root.f_type == TMPFS_MAGIC))
		strv_add(argv, "--no-pivot");
	if (text_ends(w->bundle, ".json")) {
		char *slash = strrchr(w->bundle, '/');

		strv_take(argv, xasprintf("--bundle=%.*s", (int)MAX(slash - w->bundle, 1), w->bundle));
		strv_take(argv, xasprintf("--config=%s", w->bundle));
	} else {
		strv_take(argv, xasprintf("--bundle=%s", w->bundle));
	}
	strv_add(argv, "workload");
}

static void command_words(const char *command, struct strv *argv)
{
	if (strpbrk(command, SHELL_CHARACTERS)) {
		strv_add(argv, "/bin/sh");
		strv_add(argv, "-c");
		strv_add(argv, command);
		return;
	}
	strv_split(argv, command, " \t");
}

/* The child's side: it is what the terminal talks to. Returns only when it cannot run the program; errno says why. */
static void child_run(const struct workload *w, char **argv)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", home[] = "HOME=/root",
	     term[] = "TERM=vt220";
	char *const env[] = {path, home, term, NULL};
	sigset_t none;

	/* signals are still blocked: SIGTTOU would stop who is not in the foreground yet */
	(void)setpgid(0, 0);
	(void)tcsetpgrp(w->console, getpid());
	sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(w->console, fd) < 0)
			return;
	(void)execvpe(argv[0], argv, env);
}

static int workload_start(struct workload *w, struct err *e)
{
	_cleanup_(strv_free) struct strv argv = {0};
	_cleanup_free_ char **words = NULL;
	int failure[2], error = 0;

	if (w->bundle && !fs_exists(AT_FDCWD, w->bundle))
		return err_set(e, -ENOENT, "there is no '%s'", w->bundle);
	if (w->bundle)
		crun_words(w, &argv);
	else
		command_words(w->command, &argv);
	if (argv.n == 0)
		return err_set(e, -ERR_USAGE, "limpid.exec is empty");
	words = xcalloc(argv.n + 1, sizeof(*words));
	memcpy(words, argv.items, argv.n * sizeof(*words));

	if (pipe2(failure, O_CLOEXEC) < 0)
		return err_errno(e, "pipe");
	w->child = fork();
	if (w->child == 0) {
		child_run(w, words);
		error = errno;
		(void)!write(failure[1], &error, sizeof(error));
		_exit(127);
	}
	close(failure[1]);
	ssize_t n = w->child < 0 ? -1 : read(failure[0], &error, sizeof(error));
	close(failure[0]);
	if (n == 0)
		return 0;
	if (w->child > 0) {
		(void)waitpid(w->child, NULL, 0);
		errno = error;
	}
	return err_errno(e, "cannot run '%s'", argv.items[0]);
}

/* --- until it ends -------------------------------------------------------------------------------------------------------- */

static void requests_do(struct workload *w)
{
	enum channel_request request;
	unsigned int n[2];

	while ((request = channel_next(&w->channel, n)) != CHANNEL_NONE) {
		if (request == CHANNEL_SIGNAL) {
			(void)kill(w->child, (int)n[0]);
		} else {
			struct winsize size = {.ws_row = (unsigned short)n[0], .ws_col = (unsigned short)n[1]};
			(void)ioctl(w->console, TIOCSWINSZ, &size);
		}
	}
}

/* Pass signals on, also those that the runtime sends, and reap what PID 1 inherits. Returns when the workload has ended. */
static void workload_wait(struct workload *w, const sigset_t *signals)
{
	siginfo_t info;

	for (;;) {
		requests_do(w);
		for (pid_t pid; (pid = waitpid(-1, &w->status, WNOHANG)) > 0;)
			if (pid == w->child)
				return;
		if (sigwaitinfo(signals, &info) > 0 && info.si_signo != SIGCHLD && info.si_signo != SIGIO)
			(void)kill(w->child, info.si_signo);
	}
}

/*
 * crun ends with 1 when it could not start the workload, as a workload may. But then its log says why; or there is no container, and it
 * has said why on the console.
 */
static int crun_verdict(const struct workload *w, struct err *e)
{
	_cleanup_(buf_free) struct buf log = {0};

	if (fs_load(AT_FDCWD, LOG, 65536, &log, NULL) >= 0 && *text_trim(log.data))
		return err_set(e, -ERR_CHILD, "crun: %s", text_trim(log.data));
	if (!fs_exists(AT_FDCWD, MADE))
		return err_set(e, -ERR_CHILD, "crun can make no container of '%s'", w->bundle);
	return 0;
}

/* Returns the workload's status as shells count it. */
static int workload_run(struct workload *w, const sigset_t *signals, struct err *e)
{
	int r = fs_mkdirs(AT_FDCWD, STATE, 0755, e);

	if (r >= 0 && w->share)
		r = share_mount(w->share, SHARE, e);
	if (r >= 0)
		r = workload_start(w, e);
	if (r < 0)
		return r;
	workload_wait(w, signals);
	if (WIFSIGNALED(w->status))
		return 128 + WTERMSIG(w->status);
	r = WEXITSTATUS(w->status) == 1 && w->bundle ? crun_verdict(w, e) : 0;
	return r < 0 ? r : WEXITSTATUS(w->status);
}

/* --- the end -------------------------------------------------------------------------------------------------------------- */

/* A machine without ACPI has nothing that could switch it off; what its hypervisor understands is a reset. */
static bool can_switch_off(void)
{
	return access("/sys/firmware/acpi", F_OK) == 0;
}

static void switch_off(void)
{
	sync();
	if (getpid() == 1)
		(void)reboot(can_switch_off() ? RB_POWER_OFF : RB_AUTOBOOT);
	else if (!can_switch_off())
		(void)kill(1,
			   SIGRTMIN + 15); /* systemd(1): as "systemctl reboot --force"; the unit has the other case */
}

int main(void)
{
	_cleanup_(workload_free) struct workload w = {.console = -1, .channel = CHANNEL_INIT};
	_cleanup_(err_clear) struct err e = ERR_INIT;
	sigset_t signals;
	int r;

	/* before anything can send them: sigwaitinfo() is where they are seen */
	sigfillset(&signals);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	r = getpid() == 1 ? mounts_make(&e) : 0;
	w.console = console_open();
	channel_open(&w.channel, CHANNEL_NAME);
	if (r >= 0)
		r = workload_read(&w, &e);
	if (r >= 0)
		r = workload_run(&w, &signals, &e);
	/* what it wrote is with the host before the host hears that it has ended */
	if (w.share && umount2(SHARE, 0) < 0 && errno != EINVAL)
		(void)umount2(SHARE, MNT_DETACH);
	if (r < 0)
		dprintf(w.console, "limpid: cannot run the workload: %s\n", e.text);
	bool told = r < 0 ? channel_tell(&w.channel, "failed %s", e.text) : channel_tell(&w.channel, "exited %d", r);
	if (r >= 0 && !told)
		dprintf(w.console, "limpid: the workload exited with status %d\n", r);
	switch_off();
	return r < 0;
}
