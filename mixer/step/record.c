/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/record.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/image/definition.h"
#include "mixer/image/make.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/proc.h"
#include "swupd/base/ui.h"

#define SHARE "/run/limpid/share" /* where the guest sees what we share: limpid-workload(7) */
/* Without KVM a kernel measures its clocks in loops of 100 million instructions, which no other boot has. */
#define KNOWN_CLOCKS "tsc_early_khz=1000000 lpj=4000000 no_timer_check noapictimer"

/* One of our own files: beside the program where it was built, or below lib/limpid where it is installed. The caller frees it; NULL: it is missing. */
static char *helper_find(const char *name, struct err *e)
{
	static const char *const places[] = {"%s/%s", "%s/../lib/limpid/%s"};
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (n <= 0) {
		(void)err_errno(e, "/proc/self/exe");
		return NULL;
	}
	program[n] = '\0';
	*strrchr(program, '/') = '\0';
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		char *path = xasprintf(places[i], program, name);
		if (fs_exists(AT_FDCWD, path))
			return path;
		free(path);
	}
	err_set(e, -ENOENT, "there is no %s beside mixer in %s", name, program);
	(void)err_hint(e, -ENOENT, "'make all' builds it, 'make install' puts it into lib/limpid");
	return NULL;
}

static int image_build(const struct mix *m, const struct record_job *job, char **sidecar, struct err *e)
{
	_cleanup_(image_definition_freep) struct image_definition *d = NULL;
	_cleanup_(image_maker_closep) struct image_maker *k = NULL;
	_cleanup_(image_made_clear) struct image_made made = {0};

	int r = image_definition_load(m->config, job->image, &d, e);
	if (r < 0)
		return r;
	free(d->name);
	d->name = xasprintf("profile-%s", job->name);
	for (size_t i = 0; i < job->bundles->n; i++)
		if (!strv_has(&d->bundles, job->bundles->items[i]))
			strv_add(&d->bundles, job->bundles->items[i]);
	if (job->kernel) {
		free(d->kernel);
		d->kernel = xstrdup(job->kernel);
	}
	/* these are for what is shipped */
	d->budget = d->compressed_budget = 0;
	r = image_maker_open(m, job->release, &k, e);
	if (r >= 0)
		r = image_make(k, d, false, &made, e);
	if (r >= 0)
		*sidecar = xasprintf("%s/update/images/%u/%s.json", m->config->path, job->release, d->name);
	return r;
}

/* What the guest sees: the script, and the program that marks its beginning. */
static int share_fill(const struct record_job *job, const char *share, struct err *e)
{
	static const char *const names[] = {"workload", "mark"};
	_cleanup_free_ char *mark = helper_find("mark", e);

	if (!mark)
		return -ENOENT;
	const char *const from[] = {job->workload, mark};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", share, names[i]);
		_cleanup_close_ int in = open(from[i], O_RDONLY | O_CLOEXEC);
		_cleanup_close_ int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
		struct stat st;
		if (in < 0 || fstat(in, &st) < 0)
			return err_errno(e, "%s", from[i]);
		if (out < 0)
			return err_errno(e, "%s", path);
		int r = fs_copy_fd(in, out, (uint64_t)st.st_size, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* QEMU takes commas for ends of options. */
static void option_add(struct buf *b, const char *key, const char *value)
{
	buf_puts(b, key);
	for (; *value; value++) {
		buf_putc(b, *value);
		if (*value == ',')
			buf_putc(b, ',');
	}
}

static int guest_run(const struct mix *m, const struct record_job *job, const char *share, const char *sidecar,
		     struct err *e)
{
	_cleanup_free_ char *plugin = helper_find("record.so", e);
	_cleanup_(buf_free) struct buf option = {0};

	if (!plugin)
		return -ENOENT;
	option_add(&option, "", plugin);
	option_add(&option, ",out=", job->out);
	/* until both marks, or between them */
	buf_puts(&option, job->kernel ? ",kernel=on,until=2" : ",from=1,until=1");
	_cleanup_free_ char *run = xasprintf("%s/run", m->config->images_dir);
	_cleanup_free_ char *share_word = xasprintf("--share=%s", share);
	_cleanup_free_ char *memory = xasprintf("--memory=%u", job->memory);
	_cleanup_free_ char *timeout = xasprintf("--timeout=%u", job->timeout);
	const char *argv[] = {run,
			      "--accel=tcg",
			      memory,
			      timeout,
			      share_word,
			      job->kernel ? "--append=norandmaps nokaslr " KNOWN_CLOCKS : "--append=norandmaps nokaslr",
			      "--exec=" SHARE "/mark -r /bin/sh " SHARE "/workload; s=$?; " SHARE "/mark -r; exit $s",
			      sidecar,
			      "--",
			      "-plugin",
			      option.data,
			      job->kernel ? "-icount" : NULL,
			      "shift=0,sleep=off",
			      NULL};
	const struct proc p = {.argv = argv, .dirfd = AT_FDCWD};
	int r = proc_run(&p, e);
	if (r <= 0)
		return r;
	if (r == 124)
		err_set(e, -ERR_CHILD, "the guest was not done after %u seconds", job->timeout);
	else if (r == 125)
		err_set(e, -ERR_CHILD, "the guest did not run the workload");
	else
		err_set(e, -ERR_CHILD, "the workload %s ended with status %d", job->workload, r);
	return err_hint(e, -ERR_CHILD, "%s boots it without being watched: --exec='/bin/sh -i' %s", run, sidecar);
}

int record(const struct mix *m, const struct record_job *job, struct err *e)
{
	char share[] = "/tmp/limpid-record.XXXXXX";
	_cleanup_free_ char *sidecar = NULL;

	int r = image_build(m, job, &sidecar, e);
	if (r < 0)
		return r;
	if (!mkdtemp(share))
		return err_errno(e, "%s", share);
	r = share_fill(job, share, e);
	if (r >= 0)
		r = guest_run(m, job, share, sidecar, e);
	(void)fs_remove_tree(AT_FDCWD, share, NULL);
	return r;
}
