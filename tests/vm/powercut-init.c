/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The first program of powercut's guest (static, alone in an initrd). It mounts the disk /dev/vda and runs swupd in it; what the kernel's
 * command line says comes as environment:
 *
 *     fs=TYPE         of the disk
 *     host=NAME       its root is this subvolume, with those of the machine beside it
 *     mode=update     swupd update from the tree on /dev/vdb; the file /.mark of the disk gets a block "powercut: begin" before and
 *                     "powercut: done" after a success, past all caches, so that the recording of writes shows when that was
 *     mode=recover    what a boot does after a loss of power; then the disk is unmounted
 *     noise=MS        another program writes and syncs a file of its own, this often: whatever swupd has done so far gets to the disk
 *     option=WORD     of 'swupd update'
 *     recover=WORD    the command of swupd that a boot runs
 *     NOSYNC=WHAT     fsync, syncfs or all of these do nothing in swupd (/nosync.so of the initrd): the test must find that
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK 4096

static _Noreturn void end(const char *what)
{
	if (what)
		printf("powercut: %s: %m\n", what);
	fflush(stdout);
	usleep(100000); /* the console's last words */
	reboot(RB_AUTOBOOT);
	_exit(1);
}

static char **environment;

/* The whole "NAME=VALUE"; NULL when it is not there. */
static char *find(const char *name)
{
	size_t len = strlen(name);

	for (char **e = environment; *e; e++)
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return *e;
	return NULL;
}

static char *word(const char *name, char *otherwise)
{
	char *found = find(name);

	return found ? found + strlen(name) + 1 : otherwise;
}

static void mount_with(const char *what, const char *where, const char *type, unsigned long flags, const char *options)
{
	if (mkdir(where, 0755) < 0 && errno != EEXIST)
		end(where);
	if (mount(what, where, type, flags, options) < 0)
		end(where);
}

static void mount_at(const char *what, const char *where, const char *type, unsigned long flags)
{
	mount_with(what, where, type, flags, NULL);
}

/* What our initrd mounts before the system begins, and how it says so. */
static void mount_host(const char *root)
{
	static const char *const own[][2] = {
		{"subvol=/etc", "/disk/etc"},       {"subvol=/var", "/disk/var"}, {"subvol=/home", "/disk/home"},
		{"subvol=/roothome", "/disk/root"}, {"subvol=/srv", "/disk/srv"},
	};
	char options[256];

	snprintf(options, sizeof(options), "subvol=/%s", root);
	mount_with("/dev/vda", "/disk", "btrfs", 0, options);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		mount_with("/dev/vda", own[i][1], "btrfs", 0, own[i][0]);
}

static void say_chosen(const char *root)
{
	if (mkdir("/disk/run/limpid", 0755) < 0)
		end("/run/limpid");
	FILE *f = fopen("/disk/run/limpid/root", "we");
	if (!f || fprintf(f, "%s\n", root) < 0 || fclose(f) != 0)
		end("/run/limpid/root");
}

/* O_DIRECT: it is on its way to the disk at once, and nothing else is because of it. */
static void mark(const char *text)
{
	static char block[BLOCK] __attribute__((aligned(BLOCK)));
	int fd = open("/disk/.mark", O_WRONLY | O_DIRECT | O_CLOEXEC);

	memset(block, 0, sizeof(block));
	snprintf(block, sizeof(block), "powercut: %s", text);
	if (fd < 0 || pwrite(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
		end("/.mark");
	close(fd);
}

static void copy(const char *from, const char *to)
{
	char data[BLOCK];
	ssize_t n;
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

	if (in < 0 || out < 0)
		end(from);
	while ((n = read(in, data, sizeof(data))) > 0)
		if (write(out, data, (size_t)n) != n)
			end(to);
	close(in);
	close(out);
}

static pid_t noise(long every_ms)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	int fd = open("/disk/.noise", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	for (;;) {
		if (fd < 0 || write(fd, "noise\n", 6) != 6 || fsync(fd) < 0)
			_exit(1);
		usleep((useconds_t)every_ms * 1000);
	}
}

static int run(char *const argv[])
{
	char *nosync = find("NOSYNC");
	char *env[] = {"PATH=/usr/bin:/usr/sbin", nosync ? "LD_PRELOAD=/run/nosync.so" : NULL, nosync, NULL};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (chroot("/disk") < 0 || chdir("/") < 0)
			_exit(126);
		execve(argv[0], argv, env);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		end("swupd");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int update(void)
{
	char *argv[] = {"/usr/bin/swupd", "update", "-u", "file:///run/www", "-N", "--no-progress", NULL, NULL};
	pid_t other = 0;

	argv[6] = word("option", NULL);
	mount_at("/dev/vdb", "/disk/run/www", "ext4", MS_RDONLY);
	if (find("NOSYNC"))
		copy("/nosync.so", "/disk/run/nosync.so");
	sync();
	long every_ms = strtol(word("noise", "0"), NULL, 10);
	if (every_ms > 0)
		other = noise(every_ms);
	mark("begin");
	int status = run(argv);
	if (status == 0)
		mark("done");
	if (other > 0) {
		kill(other, SIGKILL);
		waitpid(other, NULL, 0);
	}
	sync();
	return status;
}

static int recover(void)
{
	char *argv[] = {"/usr/bin/swupd", word("recover", "clean"), "-N", "--no-progress", NULL};

	return run(argv);
}

int main(int argc, char *argv[], char *envp[])
{
	(void)argc;
	(void)argv;
	environment = envp;
	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_at("dev", "/dev", "devtmpfs", 0);
	const char *root = word("host", NULL);
	if (root)
		mount_host(root);
	else
		mount_at("/dev/vda", "/disk", word("fs", "ext4"), 0);
	mount_at("proc", "/disk/proc", "proc", 0);
	mount_at("dev", "/disk/dev", "devtmpfs", 0);
	mount_at("run", "/disk/run", "tmpfs", 0);
	if (root)
		say_chosen(root);
	int status = strcmp(word("mode", "update"), "recover") == 0 ? recover() : update();
	sync();
	printf("powercut: swupd exited with %d\n", status);
	end(NULL);
}
