/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * first: the first program of a guest (/usr/sbin/init of its image, or init= of its kernel). It gives a root that cannot be
 * written to what PID 1 needs to write, then runs PID 1 in its own place. limpid-guest(7) describes it. On the kernel's command line:
 *
 *     limpid.state=overlay        /etc is the release's default, /usr/share/factory/etc, with changes in memory; /var is memory
 *     limpid.state=empty          /etc and /var are empty and memory: systemd-sysusers and systemd-tmpfiles fill them
 *     limpid.state=/dev/NAME      /etc and /var are on that ext4, btrfs or xfs, in its folders "etc" and "var"
 *     limpid.state=LABEL=NAME     the same, found by its label
 *     limpid.state=none           the root's own are as they should be
 *     limpid.reset                those of the device become empty first: factory reset
 *     limpid.init=PATH            is run instead of systemd
 *
 * Without limpid.state: overlay where the root is read-only or memory itself, else none; so it does no harm in front of any PID 1.
 * What cannot be done ends the guest, after a line on the console that says what.
 *
 * It is in the way of each start and in the memory of each guest, so it stands alone: no libc, 16 KB, a dozen system calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/reboot.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>

#define SYSTEMD    "/usr/lib/systemd/systemd"
#define FACTORY    "/usr/share/factory/etc"
#define STATE      "/run/limpid/state"
#define GONE       STATE "/.limpid-gone" /* what a reset has put aside and not removed yet */
#define DEVICE_MS  5000                  /* a device that is not there yet has this long to appear */
#define PAUSE_MS   10
#define DEPTH_MAX  200 /* of folders that a reset removes */
#define BTRFS_NAME 256

#ifndef __x86_64__
#error "system calls are those of x86-64"
#endif

/* --- system calls ------------------------------------------------------------------------------------------------------ */

static long call(long number, long a, long b, long c, long d, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

static int sys_mount(const char *source, const char *where, const char *type, unsigned long flags, const char *data)
{
	return (int)call(SYS_mount, (long)source, (long)where, (long)type, (long)flags, (long)data);
}

static int sys_open(int dir, const char *path, int flags, int mode)
{
	return (int)call(SYS_openat, dir, (long)path, flags | O_CLOEXEC, mode, 0);
}

static void sys_close(int fd)
{
	(void)call(SYS_close, fd, 0, 0, 0, 0);
}

static int sys_mkdir(const char *path, int mode)
{
	return (int)call(SYS_mkdir, (long)path, mode, 0, 0, 0);
}

static int sys_stat(const char *path, struct stat *st)
{
	return (int)call(SYS_newfstatat, AT_FDCWD, (long)path, (long)st, 0, 0);
}

static long sys_pread(int fd, void *to, size_t len, off_t at)
{
	return call(SYS_pread64, fd, (long)to, (long)len, at, 0);
}

static void pause_ms(long ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)call(SYS_nanosleep, (long)&t, 0, 0, 0, 0);
}

/* --- texts ------------------------------------------------------------------------------------------------------------- */

/* The compiler may call these, too. */
void *memset(void *to, int byte, size_t len);
void *memset(void *to, int byte, size_t len)
{
	for (char *p = to; len--;)
		*p++ = (char)byte;
	return to;
}

static size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static bool bytes_equal(const void *a, const void *b, size_t len)
{
	const char *x = a, *y = b;

	while (len && *x++ == *y++)
		len--;
	return len == 0;
}

/* What follows prefix in s; NULL: s begins otherwise. */
static const char *text_after(const char *s, const char *prefix)
{
	const size_t n = text_length(prefix);

	return bytes_equal(s, prefix, n) ? s + n : NULL;
}

static bool text_equal(const char *a, const char *b)
{
	return bytes_equal(a, b, text_length(a) + 1);
}

/* A line that grows; what does not fit is left out. */
struct line {
	char text[512];
	size_t len;
};

static void line_add(struct line *l, const char *s)
{
	while (*s && l->len < sizeof(l->text) - 1)
		l->text[l->len++] = *s++;
	l->text[l->len] = '\0';
}

static void line_number(struct line *l, unsigned n)
{
	char digits[12], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	line_add(l, p);
}

static const char *error_name(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return "not permitted";
	case ENOENT:
		return "no such file";
	case ENXIO:
	case ENODEV:
		return "no such device or file system";
	case EINVAL:
		return "not a file system that the kernel knows, or not with these options";
	case ENOTDIR:
		return "not a directory";
	case ENOEXEC:
		return "not a program";
	case ENOMEM:
		return "not enough memory";
	case ENOSPC:
		return "no room";
	case EROFS:
		return "read-only";
	case EIO:
		return "I/O error";
	case EUCLEAN:
		return "the file system is damaged";
	case ETIMEDOUT:
		return "it did not appear";
	default:
		return NULL;
	}
}

static void say(struct line *l)
{
	/* the kernel gives PID 1 its console; when it could not, there is the console of the mounted /dev */
	int fd = sys_open(AT_FDCWD, "/dev/console", O_WRONLY | O_NOCTTY, 0);

	line_add(l, "\n");
	(void)call(SYS_write, fd < 0 ? 2 : fd, (long)l->text, (long)l->len, 0, 0);
	if (fd >= 0)
		sys_close(fd);
}

/* "first: cannot WHAT WHICH: ERROR" */
static void complain(const char *what, const char *which, int error)
{
	const char *name = error_name(-error);
	struct line l = {.len = 0};

	line_add(&l, "first: cannot ");
	line_add(&l, what);
	if (which)
		line_add(&l, which);
	if (error) {
		line_add(&l, ": ");
		line_add(&l, name ? name : "error ");
		if (!name)
			line_number(&l, (unsigned)-error);
	}
	say(&l);
}

/* The end of the guest: a guest that hangs is one that its runtime waits for. */
static void __attribute__((noreturn)) give_up(void)
{
	struct stat st;
	/* without ACPI a machine cannot be switched off, and the kernel would halt for ever; a reset ends a guest as well */
	const int how =
		sys_stat("/sys/firmware/acpi", &st) == 0 ? (int)LINUX_REBOOT_CMD_POWER_OFF : LINUX_REBOOT_CMD_RESTART;

	(void)call(SYS_sync, 0, 0, 0, 0, 0);
	(void)call(SYS_reboot, (int)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, how, 0, 0);
	(void)call(SYS_exit_group, 1, 0, 0, 0, 0);
	__builtin_unreachable();
}

static void __attribute__((noreturn)) refuse(const char *what, const char *which)
{
	complain(what, which, 0);
	give_up();
}

static void need(int r, const char *what, const char *which)
{
	if (r >= 0)
		return;
	complain(what, which, r);
	give_up();
}

/* --- the command line -------------------------------------------------------------------------------------------------- */

struct options {
	const char *state, *init; /* NULL: not given */
	bool reset;
	char text[4096]; /* x86-64's kernel has 2048 */
};

/* The kernel's quotes: they join words, and are not part of them. */
static char *next_word(char **pos)
{
	char *p = *pos, *out, *word;
	bool quoted = false;

	while (*p == ' ' || *p == '\n')
		p++;
	word = out = p;
	for (; *p && (quoted || (*p != ' ' && *p != '\n')); p++) {
		if (*p == '"')
			quoted = !quoted;
		else
			*out++ = *p;
	}
	*pos = *p ? p + 1 : p;
	*out = '\0';
	return word == out && !*p ? NULL : word;
}

static void read_options(struct options *o)
{
	const int fd = sys_open(AT_FDCWD, "/proc/cmdline", O_RDONLY, 0);
	char *pos = o->text, *word;
	const char *value;

	need(fd, "open ", "/proc/cmdline");
	const long n = sys_pread(fd, o->text, sizeof(o->text) - 1, 0);
	need((int)n, "read ", "/proc/cmdline");
	o->text[n] = '\0';
	sys_close(fd);
	while ((word = next_word(&pos))) {
		if ((value = text_after(word, "limpid.state=")))
			o->state = value;
		else if ((value = text_after(word, "limpid.init=")))
			o->init = value;
		else if (text_equal(word, "limpid.reset"))
			o->reset = true;
	}
}

/* --- file systems in memory ---------------------------------------------------------------------------------------------- */

/* A directory that somebody before us, an initrd or a container manager, has mounted something on. */
static bool is_mounted(const char *path)
{
	struct stat root = {0}, st = {0};

	return sys_stat("/", &root) == 0 && sys_stat(path, &st) == 0 && root.st_dev != st.st_dev;
}

static void mount_new(const char *type, const char *where, unsigned long flags, const char *data)
{
	if (!is_mounted(where))
		need(sys_mount(type, where, type, flags, data), "mount ", where);
}

/* With the options that systemd would give them: it leaves alone what is there. */
static void mount_kernel(void)
{
	mount_new("proc", "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	mount_new("sysfs", "/sys", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	mount_new("devtmpfs", "/dev", MS_NOSUID, "mode=0755,size=4m,nr_inodes=64k");
	mount_new("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755,size=20%,nr_inodes=800k");
}

/* Empty: it was set up and nobody has given it a name; PID 1 makes one. Without this file it would take each start for the first of a new machine. */
static void make_machine_id(void)
{
	const int fd = sys_open(AT_FDCWD, "/etc/machine-id", O_WRONLY | O_CREAT | O_NOCTTY, 0444);

	need(fd, "make ", "/etc/machine-id");
	sys_close(fd);
}

/* What systemd makes in /etc after an update is in the factory already: as of the time that it compares, that of /usr. */
static void make_updated(void)
{
	static const char path[] = "/etc/.updated";
	const int fd = sys_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_NOCTTY, 0644);
	struct stat usr;

	need(fd, "make ", path);
	need(sys_stat("/usr", &usr), "look at ", "/usr");
	const struct timespec times[2] = {usr.st_mtim, usr.st_mtim};
	need((int)call(SYS_utimensat, fd, 0, (long)times, 0, 0), "set the time of ", path);
	sys_close(fd);
}

/* Its changes lie in a memory file system below it, which nobody sees any more. */
static void mount_overlay(void)
{
	need(sys_mkdir("/etc/upper", 0755), "make ", "/etc/upper");
	need(sys_mkdir("/etc/work", 0755), "make ", "/etc/work");
	need(sys_mount("overlay", "/etc", "overlay", MS_NOSUID | MS_NODEV,
		       "lowerdir=" FACTORY ",upperdir=/etc/upper,workdir=/etc/work"),
	     "put memory over ", FACTORY);
	make_updated();
}

/* What programs take for granted, where no systemd-tmpfiles runs. */
static void fill_var(void)
{
	static const char *const dirs[] = {"/var/cache", "/var/lib", "/var/log", "/var/spool"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		need(sys_mkdir(dirs[i], 0755), "make ", dirs[i]);
	need(sys_mkdir("/var/tmp", 01777), "make ", "/var/tmp");
	need((int)call(SYS_symlink, (long)"../run", (long)"/var/run", 0, 0, 0), "make ", "/var/run");
	need((int)call(SYS_symlink, (long)"../run/lock", (long)"/var/lock", 0, 0, 0), "make ", "/var/lock");
}

static void state_memory(bool factory)
{
	mount_new("tmpfs", "/etc", MS_NOSUID | MS_NODEV, "mode=0755,size=10%");
	mount_new("tmpfs", "/var", MS_NOSUID | MS_NODEV, "mode=0755,size=50%");
	if (factory) {
		mount_overlay();
		fill_var();
	}
}

/* --- a file system on a device --------------------------------------------------------------------------------------------- */

struct kind {
	const char *name, *magic;
	size_t magic_len;
	off_t magic_at, label_at;
	size_t label_len;
};

static const struct kind kinds[] = {
	{"ext4", "\x53\xef", 2, 1024 + 56, 1024 + 120, 16},
	{"btrfs", "_BHRfS_M", 8, 65536 + 64, 65536 + 299, BTRFS_NAME},
	{"xfs", "XFSB", 4, 0, 108, 12},
};

/* NULL: it is none that we know, or there is no such device. */
static const struct kind *probe(const char *device, char label[static BTRFS_NAME + 1])
{
	const int fd = sys_open(AT_FDCWD, device, O_RDONLY, 0);
	const struct kind *found = NULL;
	char magic[8];

	if (fd < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds) && !found; i++) {
		const struct kind *k = &kinds[i];
		if (sys_pread(fd, magic, k->magic_len, k->magic_at) != (long)k->magic_len ||
		    !bytes_equal(magic, k->magic, k->magic_len) ||
		    sys_pread(fd, label, k->label_len, k->label_at) != (long)k->label_len)
			continue;
		label[k->label_len] = '\0';
		found = k;
	}
	sys_close(fd);
	return found;
}

struct entry { /* of getdents64(2) */
	uint64_t inode;
	int64_t next;
	unsigned short len;
	unsigned char type;
	char name[];
};

static bool is_dots(const char *name)
{
	return text_equal(name, ".") || text_equal(name, "..");
}

/* The device that has this label, as a path. */
static const struct kind *find_label(const char *label, struct line *device)
{
	_Alignas(struct entry) char list[2048] = {0};
	char has[BTRFS_NAME + 1];
	const struct kind *k;
	const int dir = sys_open(AT_FDCWD, "/sys/class/block", O_RDONLY | O_DIRECTORY, 0);
	long n;

	while (dir >= 0 && (n = call(SYS_getdents64, dir, (long)list, sizeof(list), 0, 0)) > 0) {
		for (long at = 0; at < n;) {
			const struct entry *x = (const struct entry *)(list + at);
			at += x->len;
			if (is_dots(x->name))
				continue;
			device->len = 0;
			line_add(device, "/dev/");
			line_add(device, x->name);
			k = probe(device->text, has);
			if (!k || !text_equal(has, label))
				continue;
			sys_close(dir);
			return k;
		}
	}
	if (dir >= 0)
		sys_close(dir);
	return NULL;
}

static void mount_device(const char *state)
{
	const char *label = text_after(state, "LABEL=");
	char ignored[BTRFS_NAME + 1];
	const struct kind *k = NULL;
	struct line device = {.len = 0};

	line_add(&device, state);
	for (long waited = 0; !k && waited < DEVICE_MS; waited += PAUSE_MS) {
		if (waited)
			pause_ms(PAUSE_MS);
		k = label ? find_label(label, &device) : probe(state, ignored);
	}
	if (!k) {
		struct stat st;
		const bool there = !label && sys_stat(state, &st) == 0;
		need(there ? -EINVAL : -ETIMEDOUT, "use limpid.state=", state);
	}
	(void)sys_mkdir("/run/limpid", 0700);
	need(sys_mkdir(STATE, 0700), "make ", STATE);
	need(sys_mount(device.text, STATE, k->name, MS_NOSUID | MS_NODEV, NULL), "mount ", device.text);
}

static int remove_below(int dir, unsigned depth)
{
	_Alignas(struct entry) char list[2048] = {0};
	long n;
	int r = 0;

	/* names go while they are read; what that skips is read in the next round */
	while (r >= 0 && (n = call(SYS_getdents64, dir, (long)list, sizeof(list), 0, 0)) > 0) {
		unsigned removed = 0;
		for (long at = 0; at < n && r >= 0;) {
			const struct entry *x = (const struct entry *)(list + at);
			at += x->len;
			if (is_dots(x->name))
				continue;
			removed++;
			r = (int)call(SYS_unlinkat, dir, (long)x->name, 0, 0, 0);
			if (r != -EISDIR)
				continue;
			const int below = sys_open(dir, x->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
			if (below < 0)
				return below;
			r = depth ? remove_below(below, depth - 1) : -ELOOP;
			sys_close(below);
			if (r >= 0)
				r = (int)call(SYS_unlinkat, dir, (long)x->name, AT_REMOVEDIR, 0, 0);
		}
		if (removed)
			(void)call(SYS_lseek, dir, 0, 0 /* SEEK_SET */, 0, 0);
	}
	return r;
}

/* A rename is whole or not at all, also when power fails; what it put aside is removed then and, if that was cut short, at the next start. */
static void reset_state(bool reset)
{
	static const char *const moves[][2] = {{STATE "/etc", GONE "/etc"}, {STATE "/var", GONE "/var"}};
	int dir = sys_open(AT_FDCWD, GONE, O_RDONLY | O_DIRECTORY, 0), r;

	if (dir < 0 && !reset)
		return;
	if (dir >= 0 && (r = remove_below(dir, DEPTH_MAX)) < 0)
		complain("remove ", GONE, r);
	if (reset) {
		(void)sys_mkdir(GONE, 0700);
		for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++) {
			r = (int)call(SYS_rename, (long)moves[i][0], (long)moves[i][1], 0, 0, 0);
			need(r == -ENOENT ? 0 : r, "reset ", moves[i][0]);
		}
		if (dir < 0)
			dir = sys_open(AT_FDCWD, GONE, O_RDONLY | O_DIRECTORY, 0);
		need(dir, "open ", GONE);
		if ((r = remove_below(dir, DEPTH_MAX)) < 0)
			complain("remove ", GONE, r);
	}
	sys_close(dir);
	(void)call(SYS_rmdir, (long)GONE, 0, 0, 0, 0);
}

static void state_device(const struct options *o)
{
	static const char *const binds[][2] = {{STATE "/etc", "/etc"}, {STATE "/var", "/var"}};

	mount_device(o->state);
	reset_state(o->reset);
	for (size_t i = 0; i < sizeof(binds) / sizeof(*binds); i++) {
		const int r = sys_mkdir(binds[i][0], 0755);
		need(r == -EEXIST ? 0 : r, "make ", binds[i][0]);
		need(sys_mount(binds[i][0], binds[i][1], NULL, MS_BIND, NULL), "mount ", binds[i][1]);
	}
}

/* --- in order ------------------------------------------------------------------------------------------------------------ */

static const char *default_state(void)
{
	struct statfs fs = {0};

	need((int)call(SYS_statfs, (long)"/", (long)&fs, 0, 0, 0), "look at ", "/");
	const bool memory = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
	return memory || (fs.f_flags & 1 /* ST_RDONLY */) ? "overlay" : "none";
}

static void prepare_state(struct options *o)
{
	if (!o->state || !*o->state)
		o->state = default_state();
	if (text_equal(o->state, "none"))
		return;
	if (text_equal(o->state, "overlay") || text_equal(o->state, "empty"))
		state_memory(text_equal(o->state, "overlay"));
	else if (text_after(o->state, "LABEL=") || text_after(o->state, "/dev/"))
		state_device(o);
	else
		refuse("understand limpid.state=", o->state);
	make_machine_id();
	/* root's home: keys of a credential, histories of shells */
	mount_new("tmpfs", "/root", MS_NOSUID | MS_NODEV, "mode=0700,size=10%");
	/* PID 1 would start a program for it */
	mount_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777,size=50%,nr_inodes=1m");
}

/* stack: of a new program: the number of arguments, them, NULL, the environment, NULL */
void __attribute__((noreturn, used)) first(long *stack);
void __attribute__((noreturn, used)) first(long *stack)
{
	char **argv = (char **)(stack + 1), **envp = argv + *stack + 1;
	struct options o;

	if (call(SYS_getpid, 0, 0, 0, 0, 0) != 1) {
		struct line l = {.len = 0};
		line_add(&l, "first: only the kernel runs this, as PID 1\n");
		(void)call(SYS_write, 2, (long)l.text, (long)l.len, 0, 0);
		(void)call(SYS_exit_group, 2, 0, 0, 0, 0);
	}
	o.state = o.init = NULL;
	o.reset = false;
	(void)call(SYS_umask, 0, 0, 0, 0, 0);
	mount_kernel();
	read_options(&o);
	prepare_state(&o);
	(void)call(SYS_umask, 022, 0, 0, 0, 0);
	const char *init = o.init && *o.init ? o.init : SYSTEMD;
	char *name[] = {(char *)init, NULL};
	if (*stack > 0)
		argv[0] = (char *)init;
	else
		argv = name;
	/* does nothing; who counts a guest's instructions (tests/vm/count.c) sees where PID 1 begins */
	__asm__ volatile("xchg %bx,%bx");
	complain("run ", init, (int)call(SYS_execve, (long)init, (long)argv, (long)envp, 0, 0));
	give_up();
}

/* The stack is as the kernel left it, aligned for a call. */
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall first\n");
