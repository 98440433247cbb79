/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inject [-n NUMBER] [-e ERROR [-a]] [-x] [-o FILE] COMMAND [ARGUMENT…]: runs the command and lets it fail at one of the system calls that change
 * something on disk. They are counted from 1, over all its threads and children, in the order in which they are made.
 *
 *     -n NUMBER   that call is not made: the command is killed instead
 *     -e ERROR    or the call fails: ENOSPC, EIO, EROFS, ENOMEM
 *     -a          so does every one after it
 *     -x          besides, the file system cannot exchange two names: such calls fail with EINVAL, and are not counted
 *     -o FILE     a line for each call that came by: "NAME PATH", before one that was prevented "! "
 *
 * The exit status is the command's; 128 and the signal's number when one ended it; 125: it could not be run so.
 *
 * Counted is what makes, names, moves, removes, fills, cuts, marks or syncs a file; openat and openat2 when they make or cut one; ioctl
 * when it is a clone of content or one of the file system's own; writes to anything but files (terminals, pipes, sockets) are not.
 * A seccomp filter stops the command at these calls only: the others cost nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
#error "registers are those of x86-64"
#endif

/* What decides whether a call changes something, and which of its arguments names it. */
enum kind { AT, PATH, FD, WRITE, OPEN, OPEN2, IOCTL, NOTHING };

static const struct call {
	int number;
	enum kind kind;
	const char *name;
} calls[] = {
	{SYS_openat, OPEN, "openat"},
	{SYS_openat2, OPEN2, "openat2"},
	{SYS_open, OPEN, "open"},
	{SYS_creat, PATH, "creat"},
	{SYS_mkdir, PATH, "mkdir"},
	{SYS_mkdirat, AT, "mkdirat"},
	{SYS_mknodat, AT, "mknodat"},
	{SYS_symlink, PATH, "symlink"},
	{SYS_symlinkat, PATH, "symlinkat"},
	{SYS_link, PATH, "link"},
	{SYS_linkat, AT, "linkat"},
	{SYS_rename, PATH, "rename"},
	{SYS_renameat, AT, "renameat"},
	{SYS_renameat2, AT, "renameat2"},
	{SYS_unlink, PATH, "unlink"},
	{SYS_unlinkat, AT, "unlinkat"},
	{SYS_rmdir, PATH, "rmdir"},
	{SYS_chmod, PATH, "chmod"},
	{SYS_fchmod, FD, "fchmod"},
	{SYS_fchmodat, AT, "fchmodat"},
	{SYS_chown, PATH, "chown"},
	{SYS_lchown, PATH, "lchown"},
	{SYS_fchown, FD, "fchown"},
	{SYS_fchownat, AT, "fchownat"},
	{SYS_utimensat, AT, "utimensat"},
	{SYS_truncate, PATH, "truncate"},
	{SYS_ftruncate, FD, "ftruncate"},
	{SYS_fallocate, FD, "fallocate"},
	{SYS_write, WRITE, "write"},
	{SYS_writev, WRITE, "writev"},
	{SYS_pwrite64, WRITE, "pwrite64"},
	{SYS_pwritev, WRITE, "pwritev"},
	{SYS_sendfile, WRITE, "sendfile"},
	{SYS_copy_file_range, NOTHING, "copy_file_range"},
	{SYS_setxattr, PATH, "setxattr"},
	{SYS_lsetxattr, PATH, "lsetxattr"},
	{SYS_fsetxattr, FD, "fsetxattr"},
	{SYS_removexattr, PATH, "removexattr"},
	{SYS_lremovexattr, PATH, "lremovexattr"},
	{SYS_fremovexattr, FD, "fremovexattr"},
	{SYS_ioctl, IOCTL, "ioctl"},
	{SYS_fsync, FD, "fsync"},
	{SYS_fdatasync, FD, "fdatasync"},
	{SYS_syncfs, FD, "syncfs"},
	{SYS_sync_file_range, FD, "sync_file_range"},
	{SYS_sync, NOTHING, "sync"},
};

enum { CALLS = sizeof(calls) / sizeof(*calls), BTRFS_IOCTL = 0x94 };

static const struct {
	const char *name;
	int number;
} errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EROFS", EROFS}, {"ENOMEM", ENOMEM}};

static _Noreturn void die(const char *what)
{
	perror(what);
	_exit(125);
}

/* Stop at the calls of the table. The kernel refuses a filter without privileges unless the program gives up gaining new ones. */
static void filter(void)
{
	struct sock_filter code[2 * CALLS + 4];
	size_t n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < CALLS; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {.len = n, .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		die("inject: seccomp");
}

/* Up to size bytes of the process's memory: a text may end earlier, where a page ends. */
static ssize_t memory(pid_t pid, uint64_t address, void *buffer, size_t size)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/mem", pid);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, buffer, size, (off_t)address);
	if (fd >= 0)
		close(fd);
	return n;
}

/* What a descriptor is: "/path", or "pipe:[1]" and the like. */
static void descriptor(pid_t pid, uint64_t fd, char path[PATH_MAX])
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", pid, (int)fd);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	path[n < 0 ? 0 : n] = '\0';
}

static bool is_file(pid_t pid, uint64_t fd)
{
	char link[64];
	struct stat st;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", pid, (int)fd);
	return stat(link, &st) == 0 && S_ISREG(st.st_mode);
}

static bool changes(const struct call *call, pid_t pid, const struct user_regs_struct *r)
{
	struct open_how how;
	uint64_t flags = call->number == SYS_open ? r->rsi : r->rdx;

	switch (call->kind) {
	case WRITE:
		return is_file(pid, r->rdi);
	case OPEN2:
		if (memory(pid, r->rdx, &how, sizeof(how)) < (ssize_t)sizeof(how))
			return false;
		flags = how.flags;
		/* fall through */
	case OPEN:
		return flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE;
	case IOCTL:
		return r->rsi == FS_IOC_SETFLAGS || _IOC_TYPE(r->rsi) == BTRFS_IOCTL;
	default:
		return true;
	}
}

static void report(FILE *out, bool prevented, const struct call *call, pid_t pid, const struct user_regs_struct *r)
{
	char path[PATH_MAX] = "", text[PATH_MAX] = "";
	uint64_t name = call->kind == PATH ? r->rdi : r->rsi;

	if (call->kind == AT || call->kind == PATH || call->kind == OPEN || call->kind == OPEN2) {
		ssize_t n = name ? memory(pid, name, text, sizeof(text) - 1) : 0;
		text[n < 0 ? 0 : n] = '\0';
	}
	if (call->kind != PATH && call->kind != NOTHING && *text != '/')
		descriptor(pid, r->rdi, path);
	fprintf(out, "%s%s %s%s%s\n", prevented ? "! " : "", call->name, path, *path && *text ? "/" : "", text);
}

struct plan {
	long number; /* 0: none */
	int error;   /* 0: killed */
	bool all, no_exchange;
	FILE *out;
	long seen;
	pid_t child;
};

/* A call without a number is skipped, and returns what is in the register. */
static void refuse(pid_t pid, struct user_regs_struct *r, int error)
{
	r->orig_rax = (unsigned long long)-1;
	r->rax = (unsigned long long)-error;
	if (ptrace(PTRACE_SETREGS, pid, NULL, r) != 0)
		die("inject: registers");
}

/* A process stands before one of the calls. False: it was to be killed, and is. */
static bool stopped(struct plan *plan, pid_t pid)
{
	struct user_regs_struct r;
	const struct call *call = calls;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &r) != 0)
		return true; /* it is being killed */
	while (call < calls + CALLS && call->number != (int)r.orig_rax)
		call++;
	if (call == calls + CALLS || !changes(call, pid, &r))
		return true;
	if (plan->no_exchange && call->number == SYS_renameat2 && r.r8 & RENAME_EXCHANGE) {
		refuse(pid, &r, EINVAL);
		return true;
	}
	plan->seen++;
	bool prevented = plan->number && (plan->seen == plan->number || (plan->all && plan->seen > plan->number));
	if (plan->out)
		report(plan->out, prevented, call, pid, &r);
	if (!prevented)
		return true;
	if (!plan->error) {
		kill(plan->child, SIGKILL);
		return false;
	}
	refuse(pid, &r, plan->error);
	return true;
}

/* Until all are gone; the status is that of the child. */
static int follow(struct plan *plan)
{
	int status, result = 125;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status)) {
			if (pid == plan->child)
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			continue;
		}
		int event = status >> 16, signal = event ? 0 : WSTOPSIG(status);
		if (event == PTRACE_EVENT_SECCOMP && !stopped(plan, pid))
			continue;
		(void)ptrace(PTRACE_CONT, pid, NULL, signal);
	}
	return result;
}

int main(int argc, char **argv)
{
	struct plan plan = {0};
	int option, gate[2];
	char byte;

	while ((option = getopt(argc, argv, "+n:e:axo:")) != -1) { // NOLINT(concurrency-mt-unsafe): there is one thread
		switch (option) {
		case 'n':
			plan.number = strtol(optarg, NULL, 10);
			break;
		case 'e':
			for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
				if (strcmp(errors[i].name, optarg) == 0)
					plan.error = errors[i].number;
			if (!plan.error) {
				fprintf(stderr, "inject: there is no error '%s'\n", optarg);
				return 125;
			}
			break;
		case 'a':
			plan.all = true;
			break;
		case 'x':
			plan.no_exchange = true;
			break;
		case 'o':
			plan.out = fopen(optarg, "we");
			if (!plan.out)
				die(optarg);
			break;
		default:
			return 125;
		}
	}
	if (optind == argc || pipe(gate) != 0) {
		fprintf(stderr, "inject: which command?\n");
		return 125;
	}
	plan.child = fork();
	if (plan.child < 0)
		die("inject: fork");
	if (plan.child == 0) {
		/* not before the other one holds us */
		close(gate[1]);
		if (read(gate[0], &byte, 1) < 0)
			die("inject: pipe");
		close(gate[0]);
		filter();
		execvp(argv[optind], argv + optind);
		die(argv[optind]);
	}
	close(gate[0]);
	if (ptrace(PTRACE_SEIZE, plan.child, NULL,
		   PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			   PTRACE_O_EXITKILL) != 0)
		die("inject: ptrace");
	close(gate[1]);
	int status = follow(&plan);
	if (plan.out && fclose(plan.out) != 0)
		die("inject: report");
	return status;
}
