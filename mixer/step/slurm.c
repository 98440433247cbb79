/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mixer/input/config.h"
#include "mixer/step/job.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

#define TASK_MIN                                                                                                       \
	(4UL << 20)     /* bytes; the best compression takes some seconds for them, starting a task less than one */
#define TASKS_MAX   256 /* of one list, about: Slurm's MaxArraySize is 1001 by default */
#define MEMORY_MIN  (256UL << 20) /* what needs less is not told apart */
#define MEMORY_OWN  (32UL << 20)  /* of mixer itself, with a task's list */
#define LOG_MAX     (1UL << 20)
#define ROUNDS      3
#define LOST_MS     300000L /* so long Slurm may not answer while it works: its controller is restarted, too */
#define POLL_MS     100
#define POLL_MAX_MS 5000

/* Nothing comes after these (squeue(1), "JOB STATE CODES"); all others still wait, run or end. */
static const char *const ended[] = {"BOOT_FAIL", "CANCELLED", "COMPLETED",     "DEADLINE",  "FAILED",
				    "NODE_FAIL", "TIMEOUT",   "OUT_OF_MEMORY", "PREEMPTED", "REVOKED"};

struct task {
	struct job **jobs; /* a run of those to do */
	size_t n;
	uint64_t cost, memory;
	bool ended;
};

struct slurm {
	const struct mix *m;
	char id[17];
	char *name; /* of our arrays */
	char *dir;  /* of the tasks, in the cache */
	char *path; /* the same, absolute */
	char *program;
	struct job **jobs; /* to do */
	size_t n;
	struct task *tasks; /* number 1 is the first */
	size_t n_tasks, cap;
	struct strv arrays; /* Slurm's numbers of them */
	struct strv nodes;  /* of each task that ran */
	char *failed;       /* how the first of those that did ended; NULL: none */
	pid_t watcher;
	int pipe; /* to it; -1: there is none */
};

static void slurm_clear(struct slurm *s)
{
	free(s->name);
	free(s->dir);
	free(s->path);
	free(s->program);
	free(s->jobs);
	free(s->tasks);
	strv_free(&s->arrays);
	strv_free(&s->nodes);
	free(s->failed);
}

/* -- the end of this process -- */

/*
 * Arrays go on when mixer is gone, so another process waits for that, in a session of its own, where no interrupt from the terminal reaches it: at the
 * end of what it reads mixer is gone or has given up, and it cancels them; a byte says that all is well.
 */
_Noreturn static void watch(const struct slurm *s, int fd)
{
	char c;

	(void)setsid();
	if (dup2(fd, 3) < 0)
		_exit(1);
	/* nobody must wait for a lock or the end of an output that only this process still holds */
	(void)close_range(4, ~0U, 0);
	int null = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3; i++)
		(void)dup2(null, i);
	ssize_t n = read(3, &c, 1);
	if (n == 0)
		(void)execlp("scancel", "scancel", "--name", s->name, (char *)NULL);
	_exit(n == 1 ? 0 : 1);
}

static int watcher_start(struct slurm *s, struct err *e)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, "pipe");
	s->watcher = fork();
	if (s->watcher == 0) {
		(void)close(fds[1]);
		watch(s, fds[0]);
	}
	(void)close(fds[0]);
	s->pipe = fds[1];
	if (s->watcher > 0)
		return 0;
	closep(&s->pipe);
	s->pipe = -1;
	return err_errno(e, "fork");
}

static void watcher_end(struct slurm *s, bool cancel)
{
	if (s->pipe < 0)
		return;
	if (!cancel)
		(void)!write(s->pipe, "", 1);
	closep(&s->pipe);
	s->pipe = -1;
	while (waitpid(s->watcher, NULL, 0) < 0 && errno == EINTR)
		;
}

/* -- tasks -- */

static uint64_t cost_of(const struct job *j)
{
	return j->size + 4096;
}

/* What a task is given: powers of two, so that there are few arrays. */
static uint64_t memory_for(uint64_t need)
{
	uint64_t memory = MEMORY_MIN;

	while (memory < need + MEMORY_OWN)
		memory *= 2;
	return memory;
}

static void cut_tasks(struct slurm *s)
{
	uint64_t all = 0;

	for (size_t i = 0; i < s->n; i++)
		all += cost_of(s->jobs[i]);
	const uint64_t share = MAX(all / TASKS_MAX, TASK_MIN);
	s->n_tasks = 0;
	for (size_t i = 0; i < s->n; i++) {
		const uint64_t memory = memory_for(s->jobs[i]->memory);
		struct task *last = s->n_tasks ? &s->tasks[s->n_tasks - 1] : NULL;
		if (!last || last->cost >= share || last->memory != memory) {
			VEC_GROW(s->tasks, s->n_tasks, s->cap);
			last = &s->tasks[s->n_tasks++];
			*last = (struct task){.jobs = &s->jobs[i], .memory = memory};
		}
		last->n++;
		last->cost += cost_of(s->jobs[i]);
	}
}

static int write_tasks(const struct slurm *s, struct err *e)
{
	static const char run[] = "#!/bin/sh\n"
				  "# what each task of a build runs: run MIXER CACHE FOLDER\n"
				  "echo \"node $SLURMD_NODENAME\"\n"
				  "exec \"$1\" --cache=\"$2\" --no-progress job run \"$3/$SLURM_ARRAY_TASK_ID\"\n";

	int r = fs_remove_tree(s->m->cache, s->dir, e);
	if (r >= 0)
		r = fs_mkdirs(s->m->cache, s->dir, 0755, e);
	_cleanup_close_ int dir = r < 0 ? -1 : fs_open_dir(s->m->cache, s->dir, e);
	r = r < 0 ? r : dir < 0 ? dir : fs_save_cache(dir, "run", run, strlen(run), 0755, e);
	for (size_t i = 0; r >= 0 && i < s->n_tasks; i++) {
		_cleanup_free_ char *name = xasprintf("%zu", i + 1);
		_cleanup_(buf_free) struct buf text = {0};
		jobs_format(s->m, s->tasks[i].jobs, s->tasks[i].n, &text);
		r = fs_save_cache(dir, name, text.data, text.len, 0644, e);
	}
	return r;
}

/* -- Slurm's programs -- */

static int ask(const char *const *argv, struct buf *out, struct err *e)
{
	const struct proc p = {.argv = argv, .dirfd = AT_FDCWD, .out = out};

	return proc_check(&p, e);
}

/* What a run that was killed together with its watcher left may still be there. And Slurm is asked for the first time. */
static int cancel_old(const struct slurm *s, struct err *e)
{
	const char *const argv[] = {"scancel", "--name", s->name, NULL};
	_cleanup_(buf_free) struct buf out = {0};

	int r = ask(argv, &out, e);
	if (r == -ERR_CHILD)
		r = err_as(e, -ERR_CONNECT);
	return r < 0 ? err_hint(e, err_in(e, r, "cannot use Slurm"), "--executor=threads builds without it") : 0;
}

/* The array of tasks first to end. */
static int submit(struct slurm *s, size_t first, size_t end, struct err *e)
{
	_cleanup_free_ char *array = xasprintf("--array=%zu-%zu", first + 1, end);
	_cleanup_free_ char *memory = xasprintf("--mem=%" PRIu64 "M", s->tasks[first].memory >> 20);
	_cleanup_free_ char *name = xasprintf("--job-name=%s", s->name), *dir = xasprintf("--chdir=%s", s->path);
	_cleanup_free_ char *run = xasprintf("%s/run", s->path);
	/* no requeue: what was lost with a node goes out again at once, and Slurm would wait with it */
	const char *const argv[] = {"sbatch",
				    "--parsable",
				    name,
				    array,
				    memory,
				    dir,
				    "--ntasks=1",
				    "--cpus-per-task=1",
				    "--no-requeue",
				    "--output=%a.log",
				    "--open-mode=append",
				    run,
				    s->program,
				    s->m->config->cache,
				    s->path,
				    NULL};
	_cleanup_(buf_free) struct buf out = {0};

	int r = ask(argv, &out, e);
	if (r >= 0 && out.len == 0)
		r = err_set(e, -ERR_CHILD, "sbatch gave no number");
	if (r < 0)
		return r;
	out.data[strcspn(out.data, ";\n")] = '\0'; /* "1234;cluster" */
	strv_add(&s->arrays, out.data);
	ui_note(s->m->ui, "Slurm: array %s, tasks %zu to %zu with %" PRIu64 " MiB each", out.data, first + 1, end,
		s->tasks[first].memory >> 20);
	return 0;
}

/* One array of each size of memory. It is an error when Slurm takes none of them. */
static int submit_all(struct slurm *s, struct err *e)
{
	for (size_t first = 0, end; first < s->n_tasks; first = end) {
		_cleanup_(err_clear) struct err own = ERR_INIT;
		end = first + 1;
		while (end < s->n_tasks && s->tasks[end].memory == s->tasks[first].memory)
			end++;
		int r = submit(s, first, end, &own);
		if (r >= 0)
			continue;
		if (end == s->n_tasks && s->arrays.n == 0) {
			err_move(e, &own);
			return err_hint(e, err_in(e, err_as(e, -ERR_CONNECT), "Slurm takes no jobs"),
					"SBATCH_PARTITION and the like choose where they run, sbatch(1); "
					"--executor=threads builds without Slurm");
		}
		ui_warn(s->m->ui, "Slurm takes no jobs with %" PRIu64 " MiB: %s", s->tasks[first].memory >> 20,
			own.text);
		for (; first < end; first++)
			s->tasks[first].ended = true;
	}
	return 0;
}

/* -- waiting -- */

static void task_ended(struct slurm *s, uint32_t number, const char *state)
{
	struct task *t = &s->tasks[number - 1];

	t->ended = true;
	for (size_t i = 0; i < t->n; i++) {
		progress_add(s->m->progress, t->jobs[i]->size);
		t->jobs[i]->told = true;
	}
	if (strcmp(state, "COMPLETED") != 0 && !s->failed)
		s->failed = xasprintf("%u: %s", number, state);
}

/* A line of squeue: array, number of the task, state, why it is in that. 1: it waits or runs, 0: it has ended, or is none of ours. */
static int read_state(struct slurm *s, const char *line, struct strv *reasons, bool *running, struct err *e)
{
	_cleanup_(strv_free) struct strv words = {0};
	uint32_t number;

	strv_split(&words, line, " ");
	if (words.n < 4 || !strv_has(&s->arrays, words.items[0]) ||
	    text_u32(words.items[1], 1, (uint32_t)s->n_tasks, &number) < 0)
		return 0;
	const char *state = words.items[2];
	if (strcmp(state, "CANCELLED") == 0)
		return err_hint(e, err_set(e, -ERR_CANCELLED, "Slurm's array %s was cancelled", words.items[0]),
				"what was made is kept; the same command goes on from there");
	for (size_t i = 0; i < ARRAY_LEN(ended); i++) {
		if (strcmp(state, ended[i]) != 0)
			continue;
		if (!s->tasks[number - 1].ended)
			task_ended(s, number, state);
		return 0;
	}
	*running |= strcmp(state, "PENDING") != 0;
	if (!strv_has(reasons, words.items[3]))
		strv_add(reasons, words.items[3]);
	return 1;
}

/* 1 when tasks wait or run, 0 when none does. */
static int look(struct slurm *s, struct strv *reasons, bool *running, struct err *e)
{
	const char *const argv[] = {"squeue", "--noheader",           "--array", "--states=all", "--name",
				    s->name,  "--format=%F %K %T %r", NULL};
	_cleanup_(buf_free) struct buf out = {0};

	const char *pos, *line;
	bool left = false;
	size_t n;

	int r = ask(argv, &out, e);
	pos = out.data;
	while (r >= 0 && pos && text_line(&pos, out.data + out.len, &line, &n, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		r = read_state(s, copy, reasons, running, e);
		left |= r > 0;
	}
	return r < 0 ? r : left;
}

static bool all_done(const struct slurm *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!job_done(s->m, s->jobs[i]))
			return false;
	return true;
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until no task waits or runs any more. 1: Slurm is not heard of for too long. */
static int wait_for_tasks(struct slurm *s, struct err *e)
{
	_cleanup_free_ char *told = NULL;
	int64_t heard = now_ms(), ran = heard;
	bool lost = false;

	for (int ms = POLL_MS;; ms = MIN(ms + ms / 4, POLL_MAX_MS)) {
		_cleanup_(err_clear) struct err own = ERR_INIT;
		_cleanup_(strv_free) struct strv reasons = {0};
		bool running = false;
		(void)nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
		int r = look(s, &reasons, &running, &own);
		if (r == 0)
			return 0;
		if (r == -ERR_CANCELLED) {
			err_move(e, &own);
			return r;
		}
		if (r < 0) {
			if (!lost)
				ui_warn(s->m->ui, "Slurm does not answer: %s", own.text);
			lost = true;
			if (all_done(s) || now_ms() - heard > LOST_MS)
				return 1;
			continue;
		}
		lost = false;
		heard = now_ms();
		if (running)
			ran = heard;
		_cleanup_free_ char *why = strv_join(&reasons, ", ");
		if (heard - ran > 30000 && (!told || strcmp(told, why) != 0)) {
			ui_message(s->m->ui, "Slurm runs no task now: %s", why);
			free(told);
			told = take(why);
		}
	}
}

/* -- rounds -- */

static size_t count_missing(struct slurm *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!job_done(s->m, s->jobs[i]))
			s->jobs[n++] = s->jobs[i];
	return s->n = n;
}

/* "node NAME" stands first in each log. */
static void read_nodes(struct slurm *s)
{
	for (size_t i = 0; i < s->n_tasks; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%zu.log", s->dir, i + 1);
		_cleanup_(buf_free) struct buf text = {0};
		if (fs_load(s->m->cache, path, LOG_MAX, &text, NULL) < 0 || !text_starts(text.data, "node "))
			continue;
		text.data[strcspn(text.data, "\n")] = '\0';
		strv_add(&s->nodes, text.data + strlen("node "));
	}
}

static void tell(struct slurm *s, size_t before)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_(buf_free) struct buf text = {0};

	for (size_t i = 0; i < s->nodes.n; i++)
		strv_add(&names, s->nodes.items[i]);
	strv_sort_unique(&names);
	for (size_t i = 0; i < names.n; i++) {
		size_t n = 0;
		for (size_t k = 0; k < s->nodes.n; k++)
			n += strcmp(s->nodes.items[k], names.items[i]) == 0;
		buf_printf(&text, "%s%s %zu", i ? ", " : "", names.items[i], n);
	}
	ui_note(s->m->ui, "Slurm did %zu of %zu jobs; tasks by node: %s", before - s->n, before,
		text.data ? text.data : "none");
	if (s->n)
		ui_warn(s->m->ui, "Slurm left %zu of %zu jobs undone%s%s; the logs are in %s", s->n, before,
			s->failed ? ", task " : "", s->failed ? s->failed : "", s->path);
}

static int round_trip(struct slurm *s, struct err *e)
{
	strv_free(&s->arrays);
	free(take(s->failed));
	int r = write_tasks(s, e);
	if (r >= 0)
		r = watcher_start(s, e);
	if (r >= 0)
		r = submit_all(s, e);
	if (r >= 0)
		r = wait_for_tasks(s, e);
	watcher_end(s, r != 0);
	if (r >= 0)
		read_nodes(s);
	return r;
}

/* Of this machine and workspace: there is one run at a time. */
static int name_all(struct slurm *s, struct err *e)
{
	_cleanup_(buf_free) struct buf key = {0};
	char host[256] = "", program[4096];
	struct digest d;

	(void)gethostname(host, sizeof(host) - 1);
	buf_printf(&key, "%s\n%s", host, s->m->config->path);
	sha256_mem(key.data, key.len, &d);
	text_hex(d.bytes, 8, s->id);
	s->name = xasprintf("mixer-%s", s->id);
	s->dir = xasprintf("jobs/%s", s->id);
	s->path = xasprintf("%s/%s", s->m->config->cache, s->dir);
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program));
	if (n < 0 || n == (ssize_t)sizeof(program))
		return err_errno(e, "/proc/self/exe");
	s->program = xstrndup(program, (size_t)n);
	return 0;
}

static int run_rounds(struct slurm *s, struct err *e)
{
	size_t before = s->n, last = 0;

	int r = cancel_old(s, e);
	for (int i = 0; r >= 0 && i < ROUNDS && s->n && s->n != last; i++) {
		last = s->n;
		r = round_trip(s, e);
		(void)count_missing(s);
		if (r >= 0)
			tell(s, before);
		cut_tasks(s);
	}
	if (r >= 0 && s->n == 0)
		r = fs_remove_tree(s->m->cache, s->dir, e);
	return MIN(r, 0);
}

int slurm_run(const struct mix *m, struct job *jobs, size_t n, struct err *e)
{
	_cleanup_(slurm_clear) struct slurm s = {.m = m, .n = n, .pipe = -1};

	s.jobs = xcalloc(n, sizeof(struct job *));
	for (size_t i = 0; i < n; i++)
		s.jobs[i] = &jobs[i];
	if (count_missing(&s) == 0)
		return 0;
	cut_tasks(&s);
	/* one machine can do that as well as another */
	if (s.n_tasks == 1)
		return 0;
	int r = name_all(&s, e);
	return r < 0 ? r : run_rounds(&s, e);
}
