/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mixer/step/toolroot_inside.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/*
 * The new root is mounted over /proc. It has to be mounted somewhere, and out of the sight of all others; a mount can be made private only at a mount point,
 * and where we run in a chroot / is none. /proc is one everywhere.
 */
#define PLACE "/proc"

#define TAIL_BYTES 2048 /* of what a failed program wrote, to look for its last lines */
#define TAIL_LINES 3

/* --- the plan ---------------------------------------------------------------------------------------------------------- */

void inside_plan_free(struct inside_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->steps[i].source);
		free(p->steps[i].target);
	}
	free(p->steps);
	*p = (struct inside_plan){0};
}

/* target: as seen inside */
static void add(struct inside_plan *p, enum step_kind kind, const char *source, const char *target)
{
	VEC_GROW(p->steps, p->n, p->cap);
	p->steps[p->n++] = (struct inside_step){
		.kind = kind,
		.source = source ? xstrdup(source) : NULL,
		.target = xasprintf(PLACE "%s", strcmp(target, "/") == 0 ? "" : target),
	};
}

static void add_devices(struct inside_plan *p)
{
	static const char *const devices[] = {"null", "zero", "full", "random", "urandom"};
	static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
					       {"/proc/self/fd/0", "/dev/stdin"},
					       {"/proc/self/fd/1", "/dev/stdout"},
					       {"/proc/self/fd/2", "/dev/stderr"}};

	add(p, STEP_TMPFS, "mode=755", "/dev");
	for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
		_cleanup_free_ char *path = xasprintf("/dev/%s", devices[i]);
		add(p, STEP_FILE, NULL, path);
		add(p, STEP_BIND, path, path);
	}
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		add(p, STEP_LINK, links[i][0], links[i][1]);
	add(p, STEP_DIR, NULL, "/dev/shm");
}

static const char *const memory[] = {"/mnt", "/run", "/tmp", "/var/tmp"};

/* Where a mount point can be made: the directory in memory that path is below, or NULL */
static const char *memory_above(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(memory); i++)
		if (text_starts(path, memory[i]) && path[strlen(memory[i])] == '/')
			return memory[i];
	return NULL;
}

static bool is_below(const char *path, const char *dir)
{
	const size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool has_dotdot(const char *path)
{
	for (const char *s = path; (s = strstr(s, "..")); s += 2)
		if ((s == path || s[-1] == '/') && (s[2] == '/' || s[2] == '\0'))
			return true;
	return false;
}

static int add_bind(struct inside_plan *p, const struct toolroot_bind *b, struct err *e)
{
	const char *above = memory_above(b->inside);
	struct stat st;

	if (b->inside[0] != '/' || has_dotdot(b->inside) || is_below(b->inside, "/proc") || is_below(b->inside, "/dev"))
		return err_set(e, -ERR_PATH, "nothing can be bound to '%s'", b->inside);
	if (is_below(b->host, "/proc"))
		return err_set(e, -ERR_PATH, "'%s' cannot be bound: it is below /proc", b->host);
	if (stat(b->host, &st) < 0)
		return err_errno(e, "'%s'", b->host);
	if (above) {
		for (const char *s = b->inside + strlen(above) + 1; (s = strchr(s, '/')); s++) {
			_cleanup_free_ char *parent = xstrndup(b->inside, (size_t)(s - b->inside));
			add(p, STEP_DIR, NULL, parent);
		}
		add(p, S_ISDIR(st.st_mode) ? STEP_DIR : STEP_FILE, NULL, b->inside);
	}
	add(p, STEP_BIND, b->host, b->inside);
	add(p, STEP_PRIVATE, NULL, b->inside);
	if (!b->writable)
		add(p, STEP_READONLY, NULL, b->inside);
	return 0;
}

int inside_plan_make(const char *root, const struct toolroot_job *job, struct inside_plan *out, struct err *e)
{
	_cleanup_(inside_plan_free) struct inside_plan p = {0};

	add(&p, STEP_PRIVATE, NULL, "/");
	add(&p, STEP_BIND, root, "/");
	add(&p, STEP_PRIVATE, NULL, "/"); /* what is bound from a shared mount is shared, too */
	add(&p, STEP_READONLY, NULL, "/");
	for (size_t i = 0; i < ARRAY_LEN(memory); i++)
		add(&p, STEP_TMPFS, strstr(memory[i], "tmp") ? "mode=1777" : "mode=755", memory[i]);
	add_devices(&p);
	add(&p, STEP_PROC, NULL, "/proc");
	for (size_t i = 0; i < job->n_binds; i++) {
		int r = add_bind(&p, &job->binds[i], e);
		if (r < 0)
			return r;
	}
	add(&p, STEP_ROOT, NULL, "/");
	add(&p, STEP_CHDIR, NULL, "/");
	free(p.steps[p.n - 1].target);
	p.steps[p.n - 1].target = xstrdup(job->dir ? job->dir : "/");
	*out = p;
	p = (struct inside_plan){0};
	return 0;
}

/* --- the processes ------------------------------------------------------------------------------------------------------ */

/*
 * Three of them: the outer one leaves our namespaces and writes the map of users; the first of the new ones (its end is the end of all others) makes
 * the root and waits; the third becomes the program. They tell what went wrong through a pipe.
 */
enum stage { STAGE_NAMESPACES, STAGE_USERS, STAGE_STEP, STAGE_EXEC, STAGE_SIGNAL };

struct report {
	enum stage stage;
	int code; /* errno, or the signal */
	size_t step;
};

struct start {
	const struct inside_plan *plan;
	char *const *candidates; /* absolute names of the program, NULL at the end */
	char *const *argv, *const *env;
	char uid_map[48], gid_map[48];
	int in, out, log, report;
};

_Noreturn static void fail(const struct start *s, enum stage stage, size_t step)
{
	const struct report r = {.stage = stage, .code = errno, .step = step};

	(void)!write(s->report, &r, sizeof(r));
	_exit(127);
}

static int do_step(const struct inside_step *s)
{
	struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};
	int fd;

	switch (s->kind) {
	case STEP_PRIVATE:
		return mount(NULL, s->target, NULL, MS_PRIVATE | MS_REC, NULL);
	case STEP_BIND:
		return mount(s->source, s->target, NULL, MS_BIND | MS_REC, NULL);
	case STEP_READONLY:
		return mount_setattr(AT_FDCWD, s->target, AT_RECURSIVE, &readonly, sizeof(readonly));
	case STEP_TMPFS:
		return mount("tmpfs", s->target, "tmpfs", MS_NOSUID | MS_NODEV, s->source);
	case STEP_PROC:
		return mount("proc", s->target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	case STEP_DIR:
		return mkdir(s->target, 0755) < 0 && errno != EEXIST ? -1 : 0;
	case STEP_FILE:
		fd = open(s->target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		return fd < 0 ? -1 : close(fd);
	case STEP_LINK:
		return symlink(s->source, s->target);
	case STEP_ROOT:
		return chroot(s->target);
	case STEP_CHDIR:
		return chdir(s->target);
	}
	return 0;
}

_Noreturn static void become_program(const struct start *s)
{
	sigset_t none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	umask(022);
	if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->log, 2) < 0)
		fail(s, STAGE_EXEC, 0);
	for (char *const *path = s->candidates; *path; path++) {
		execve(*path, s->argv, s->env);
		if (errno != ENOENT)
			break;
	}
	fail(s, STAGE_EXEC, 0);
}

/* The first process of its namespace, to which all orphans come */
_Noreturn static void first_inside(const struct start *s)
{
	int status = 0;
	pid_t ended;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)sethostname("limpid", strlen("limpid")); /* the builder's name is nobody's business */
	for (size_t i = 0; i < s->plan->n; i++)
		if (do_step(&s->plan->steps[i]) < 0)
			fail(s, STAGE_STEP, i);
	const pid_t program = fork();
	if (program < 0)
		fail(s, STAGE_EXEC, 0);
	if (program == 0)
		become_program(s);
	do {
		ended = wait(&status);
	} while (ended != program && (ended >= 0 || errno == EINTR));
	if (ended == program && WIFSIGNALED(status)) {
		errno = WTERMSIG(status);
		fail(s, STAGE_SIGNAL, 0);
	}
	_exit(WEXITSTATUS(status));
}

static int write_file(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	const bool whole = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	return close(fd) < 0 || !whole ? -1 : 0;
}

static int leave_namespaces(const struct start *s)
{
	const int all = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

	if (unshare(all) == 0)
		return 0;
	if (errno != EPERM)
		return -1;
	/* not root, or root without the right to: then as root of a namespace where nobody else is */
	if (unshare(all | CLONE_NEWUSER) < 0)
		return -1;
	if (write_file("/proc/self/setgroups", "deny") < 0 || write_file("/proc/self/uid_map", s->uid_map) < 0 ||
	    write_file("/proc/self/gid_map", s->gid_map) < 0)
		fail(s, STAGE_USERS, 0);
	return 0;
}

_Noreturn static void outer(const struct start *s)
{
	int status = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (leave_namespaces(s) < 0)
		fail(s, STAGE_NAMESPACES, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* again: with other rights it may have been forgotten */
	const pid_t first = fork();
	if (first < 0)
		fail(s, STAGE_NAMESPACES, 0);
	if (first == 0)
		first_inside(s);
	while (waitpid(first, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		errno = WTERMSIG(status);
		fail(s, STAGE_SIGNAL, 0);
	}
	_exit(WEXITSTATUS(status));
}

/* --- around them --------------------------------------------------------------------------------------------------------- */

static int memory_file(const char *name, const void *data, size_t len, struct err *e)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return err_errno(e, "memfd");
	int r = len ? fs_write_all(fd, data, len, e) : 0;
	if (r >= 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = err_errno(e, "memfd");
	return r < 0 ? r : take_fd(&fd);
}

/* The last lines that were written since begin, as one: "a; b; c" */
static char *last_lines(int log, off_t begin)
{
	char text[TAIL_BYTES + 1];
	const off_t end = lseek(log, 0, SEEK_END), from = MAX(begin, end - TAIL_BYTES);
	const ssize_t got = end > from ? pread(log, text, (size_t)(end - from), from) : 0;
	_cleanup_(strv_free) struct strv lines = {0}, last = {0};

	text[MAX(got, (ssize_t)0)] = '\0';
	strv_split(&lines, text, "\n\r");
	for (size_t i = lines.n > TAIL_LINES ? lines.n - TAIL_LINES : 0; i < lines.n; i++)
		strv_add(&last, text_trim(lines.items[i]));
	return strv_join(&last, "; ");
}

static const char *const step_words[] = {
	[STEP_PRIVATE] = "make private",
	[STEP_BIND] = "bind",
	[STEP_READONLY] = "make read-only",
	[STEP_TMPFS] = "mount a tmpfs at",
	[STEP_PROC] = "mount",
	[STEP_DIR] = "make",
	[STEP_FILE] = "make",
	[STEP_LINK] = "make",
	[STEP_ROOT] = "change the root to",
	[STEP_CHDIR] = "change to",
};

static int explain_report(const struct start *s, const struct report *r, struct err *e)
{
	const struct inside_step *step = r->stage == STAGE_STEP ? &s->plan->steps[r->step] : NULL;

	errno = r->code;
	switch (r->stage) {
	case STAGE_NAMESPACES:
		err_errno(e, "cannot make namespaces");
		return err_hint(e, -r->code,
				"run mixer as root, or allow users to make user namespaces: user_namespaces(7)");
	case STAGE_USERS:
		return err_errno(e, "cannot map the user into a namespace");
	case STAGE_STEP:
		return err_errno(e, "cannot %s '%s'%s%s", step_words[step->kind],
				 text_starts(step->target, PLACE "/") ? step->target + strlen(PLACE) : step->target,
				 step->kind == STEP_BIND ? ", from " : "", step->kind == STEP_BIND ? step->source : "");
	case STAGE_EXEC:
		if (r->code == ENOENT)
			return err_set(e, -ENOENT, "there is no program '%s'", s->argv[0]);
		return err_errno(e, "cannot run '%s'", s->argv[0]);
	case STAGE_SIGNAL:
		return err_set(e, -ERR_CHILD, "%s was killed by signal %d (%s)", s->argv[0], r->code,
			       sigdescr_np(r->code));
	}
	return -ERR_CHILD;
}

static int run(struct start *s, struct err *e)
{
	int pipes[2], status = 0;
	struct report report;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_errno(e, "pipe");
	_cleanup_close_ int from = pipes[0], to = pipes[1];
	s->report = to;
	const pid_t pid = fork();
	if (pid < 0)
		return err_errno(e, "fork");
	if (pid == 0)
		outer(s);
	closep(&to);
	to = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (read(from, &report, sizeof(report)) == (ssize_t)sizeof(report))
		return explain_report(s, &report, e);
	if (WIFSIGNALED(status))
		return err_set(e, -ERR_CHILD, "%s was killed by signal %d (%s)", s->argv[0], WTERMSIG(status),
			       sigdescr_np(WTERMSIG(status)));
	return WEXITSTATUS(status);
}

static void strings_of(const struct toolroot_job *job, struct strv *candidates, struct strv *env)
{
	const char *name = job->argv[0];

	if (strchr(name, '/')) {
		strv_add(candidates, name);
	} else {
		strv_take(candidates, xasprintf("/usr/sbin/%s", name));
		strv_take(candidates, xasprintf("/usr/bin/%s", name));
	}
	strv_add(env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	strv_add(env, "HOME=/root");
	strv_add(env, "LC_ALL=C.UTF-8");
	strv_add(env, "TZ=UTC");
	if (job->time)
		strv_take(env, xasprintf("SOURCE_DATE_EPOCH=%lld", (long long)job->time));
	for (size_t i = 0; job->env && job->env[i]; i++)
		strv_add(env, job->env[i]);
}

/* Strings as exec wants them; lent */
static char **terminated(const struct strv *v)
{
	char **list = xcalloc(v->n + 1, sizeof(*list));

	for (size_t i = 0; i < v->n; i++)
		list[i] = v->items[i];
	return list;
}

static int run_attached(const struct toolroot_job *job, struct start *s, struct err *e)
{
	s->in = STDIN_FILENO;
	s->out = STDOUT_FILENO;
	s->log = STDERR_FILENO;
	int r = run(s, e);
	return r <= 0 ? r : err_set(e, -ERR_CHILD, "%s ended with status %d", job->argv[0], r);
}

static int run_with_files(const struct toolroot_job *job, struct start *s, struct err *e)
{
	_cleanup_close_ int in = memory_file("input", job->input, job->input_len, e);
	_cleanup_close_ int out = in < 0 || !job->out ? -1 : memory_file("output", NULL, 0, e);
	_cleanup_close_ int log = !job->log ? memory_file("log", NULL, 0, e)
					    : open(job->log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (log < 0 && job->log)
		return err_errno(e, "'%s'", job->log);
	if (in < 0 || log < 0 || (job->out && out < 0))
		return -EIO;
	const off_t begin = lseek(log, 0, SEEK_END);
	s->in = in;
	s->out = job->out ? out : log;
	s->log = log;
	int r = run(s, e);
	if (r > 0 || r == -ERR_CHILD) {
		_cleanup_free_ char *last = last_lines(log, begin);
		if (r > 0)
			r = err_set(e, -ERR_CHILD, "%s ended with status %d", job->argv[0], r);
		if (*last)
			r = err_set(e, r, "%s: %s", e && e->text ? e->text : job->argv[0], last);
		return job->log ? err_hint(e, r, "all that it said is in '%s'", job->log) : r;
	}
	if (r >= 0 && job->out && lseek(out, 0, SEEK_SET) < 0)
		r = err_errno(e, "output");
	return r < 0 || !job->out ? r : fs_load_fd(out, "output", SIZE_MAX / 2, job->out, e);
}

int toolroot_run(const struct toolroot *t, const struct toolroot_job *job, struct err *e)
{
	_cleanup_(inside_plan_free) struct inside_plan plan = {0};
	_cleanup_(strv_free) struct strv candidates = {0}, env = {0};

	int r = inside_plan_make(t->path, job, &plan, e);
	if (r >= 0) {
		strings_of(job, &candidates, &env);
		_cleanup_free_ char **candidate_list = terminated(&candidates), **env_list = terminated(&env);
		struct start s = {
			.plan = &plan,
			.candidates = candidate_list,
			.argv = (char *const *)job->argv,
			.env = env_list,
		};
		snprintf(s.uid_map, sizeof(s.uid_map), "0 %u 1\n", geteuid());
		snprintf(s.gid_map, sizeof(s.gid_map), "0 %u 1\n", getegid());
		r = job->attached ? run_attached(job, &s, e) : run_with_files(job, &s, e);
	}
	return r < 0 ? err_in(e, r, "tools '%s'", t->set) : 0;
}
