/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct pipes {
	int in[2], out[2], err[2], report[2]; /* report: carries errno of a failed exec, closed by a good one */
};

static void close_pair(int p[2])
{
	closep(&p[0]);
	closep(&p[1]);
	p[0] = p[1] = -1;
}

static void pipes_close(struct pipes *p)
{
	close_pair(p->in);
	close_pair(p->out);
	close_pair(p->err);
	close_pair(p->report);
}

_Noreturn static void child(const struct proc *p, const struct pipes *pp)
{
	sigset_t none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	int in = p->input ? pp->in[0] : open("/dev/null", O_RDONLY);
	if (in < 0 || dup2(in, 0) < 0 || (p->out && dup2(pp->out[1], 1) < 0) ||
	    (p->errors && dup2(pp->err[1], 2) < 0) || (p->dirfd != AT_FDCWD && fchdir(p->dirfd) < 0))
		goto fail;
	if (p->env)
		execvpe(p->argv[0], (char *const *)p->argv, (char *const *)p->env);
	else
		execvp(p->argv[0], (char *const *)p->argv);
fail:;
	int reason = errno;
	(void)!write(pp->report[1], &reason, sizeof(reason));
	_exit(127);
}

/* Feed stdin and drain stdout and stderr until all are closed. */
static int converse(const struct proc *p, struct pipes *pp, struct err *e)
{
	const char *input = p->input;
	size_t left = p->input_len;

	if (p->input)
		(void)fcntl(pp->in[1], F_SETFL, O_NONBLOCK);
	while (pp->in[1] >= 0 || pp->out[0] >= 0 || pp->err[0] >= 0) {
		if (pp->in[1] >= 0 && left == 0) {
			closep(&pp->in[1]);
			pp->in[1] = -1;
			continue;
		}
		struct pollfd fds[3] = {{pp->in[1], POLLOUT, 0}, {pp->out[0], POLLIN, 0}, {pp->err[0], POLLIN, 0}};
		if (poll(fds, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_errno(e, "poll");
		}
		if (fds[0].revents) {
			ssize_t n = write(pp->in[1], input, left);
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				left = 0; /* it does not want to hear more (EPIPE); its status tells why */
			else if (n > 0) {
				input += n;
				left -= (size_t)n;
			}
		}
		for (int i = 1; i < 3; i++) {
			int *fd = i == 1 ? &pp->out[0] : &pp->err[0];
			struct buf *b = i == 1 ? p->out : p->errors;
			if (!fds[i].revents)
				continue;
			ssize_t n = read(*fd, buf_reserve(b, 65536), 65536);
			if (n > 0) {
				b->len += (size_t)n;
				b->data[b->len] = '\0';
			} else if (n == 0 || errno != EINTR) {
				closep(fd);
				*fd = -1;
			}
		}
	}
	return 0;
}

static int start(const struct proc *p, struct pipes *pp, pid_t *pid, struct err *e)
{
	if ((p->input && pipe2(pp->in, O_CLOEXEC) < 0) || (p->out && pipe2(pp->out, O_CLOEXEC) < 0) ||
	    (p->errors && pipe2(pp->err, O_CLOEXEC) < 0) || pipe2(pp->report, O_CLOEXEC) < 0)
		return err_errno(e, "pipe");
	*pid = fork();
	if (*pid < 0)
		return err_errno(e, "fork");
	if (*pid == 0)
		child(p, pp);
	closep(&pp->in[0]);
	closep(&pp->out[1]);
	closep(&pp->err[1]);
	closep(&pp->report[1]);
	pp->in[0] = pp->out[1] = pp->err[1] = pp->report[1] = -1;
	return 0;
}

int proc_run(const struct proc *p, struct err *e)
{
	_cleanup_(pipes_close) struct pipes pp = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	int reason = 0, status = 0;
	pid_t pid = -1;

	int r = start(p, &pp, &pid, e);
	if (r < 0)
		return err_in(e, r, "cannot run %s", p->argv[0]);
	sigaction(SIGPIPE, &ignore, &before);
	r = converse(p, &pp, e);
	sigaction(SIGPIPE, &before, NULL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return r;
	if (read(pp.report[0], &reason, sizeof(reason)) == (ssize_t)sizeof(reason)) {
		errno = reason;
		return err_errno(e, "cannot run %s", p->argv[0]);
	}
	if (WIFSIGNALED(status))
		return err_set(e, -ERR_CHILD, "%s was killed by signal %d", p->argv[0], WTERMSIG(status));
	return WEXITSTATUS(status);
}

int proc_check(const struct proc *p, struct err *e)
{
	_cleanup_(buf_free) struct buf own = {0};
	struct proc with = *p;

	if (!with.errors)
		with.errors = &own;
	int r = proc_run(&with, e);
	if (r <= 0)
		return r;
	const char *said = with.errors->data ? text_trim(with.errors->data) : "";
	const char *last = strrchr(said, '\n');
	return err_set(e, -ERR_CHILD, "%s ended with status %d%s%s", p->argv[0], r, *said ? ": " : "",
		       last ? last + 1 : said);
}
