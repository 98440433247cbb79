/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/profile_make.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/profile.h"
#include "mixer/input/recording.h"
#include "mixer/step/symbolize.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/proc.h"
#include "swupd/base/ui.h"
#include "swupd/content/digest.h"

#define RECORDING_MAX (2UL << 30)
#define PERF_MAGIC    "PERFILE2"
#define SHOWN         5 /* files of other builds that are told one by one */

/* --- reading --------------------------------------------------------------------------------------------------------------- */

/* Run perf on a perf.data; argv has path somewhere. */
static int perf_run(const char *const *argv, const char *path, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf errors = {0};
	const struct proc p = {.argv = argv, .dirfd = AT_FDCWD, .out = out, .errors = &errors};

	int r = proc_check(&p, e);
	if (r == -ENOENT)
		return err_hint(e, r,
				"apt install linux-perf; or give the text that 'perf script -F pid,event,ip,brstack "
				"--show-mmap-events' writes elsewhere, of a recording with --buildid-mmap");
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

static int perf_data_read(const char *path, struct perf_samples **out, struct err *e)
{
	const char *const script[] = {"perf", "script", "-i", path, "-F", "pid,event,ip,brstack", "--show-mmap-events",
				      NULL};
	const char *const list[] = {"perf", "buildid-list", "-i", path, NULL};
	_cleanup_(buf_free) struct buf text = {0}, ids = {0};

	int r = perf_run(script, path, &text, e);
	if (r >= 0)
		r = perf_run(list, path, &ids, e);
	if (r >= 0)
		r = perf_parse(text.data ? text.data : "", text.len, path, out, e);
	if (r >= 0)
		perf_add_build_ids(*out, ids.data ? ids.data : "", ids.len);
	return r;
}

/* Which kind it is tell its first bytes. */
static int samples_read(const struct profile_job *job, struct attribution *a, const char **by, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(recording_freep) struct recording *recording = NULL;
	_cleanup_(perf_samples_freep) struct perf_samples *perf = NULL;

	int r = fs_load(AT_FDCWD, job->recording, RECORDING_MAX, &text, e);
	if (r < 0)
		return r;
	const char *data = text.data ? text.data : "";
	*by = "qemu";
	if (recording_is(data, text.len)) {
		r = recording_parse(data, text.len, job->recording, &recording, e);
		if (r >= 0)
			recording_attribute(recording, job->files, a);
		return r;
	}
	*by = "perf";
	const bool is_data = text.len >= strlen(PERF_MAGIC) && memcmp(data, PERF_MAGIC, strlen(PERF_MAGIC)) == 0;
	r = is_data ? perf_data_read(job->recording, &perf, e) : perf_parse(data, text.len, job->recording, &perf, e);
	if (r >= 0)
		perf_attribute(perf, job->files, a);
	return r;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void attribution_say(struct ui *ui, const struct attribution *a)
{
	const uint64_t user = a->known + a->ambiguous + a->unknown + a->lost;

	ui_message(ui,
		   "of what programs executed, %.1f %% is of files of the release, %.1f %% of several alike, %.1f %% "
		   "of others",
		   percent(a->known, user), percent(a->ambiguous, user), percent(a->unknown + a->lost, user));
	ui_message(ui, "programs executed %lu, the kernel %lu", user, a->known_kernel + a->kernel);
	if (a->known_kernel)
		ui_message(ui, "of what the kernel executed, %.1f %% is of its file in the release",
			   percent(a->known_kernel, a->known_kernel + a->kernel));
}

/* --- a profile ------------------------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct profile_job *job, const struct elf_file *f)
{
	for (size_t i = 0; i < job->only->n; i++)
		if (fnmatch(job->only->items[i], f->path, 0) == 0)
			return true;
	return job->only->n == 0;
}

/* What perf said of builds, or did not */
static void builds_say(const struct profile_job *job, struct ui *ui)
{
	const char *by_path = NULL;
	size_t n = 0;

	for (size_t i = 0; i < job->files->n; i++) {
		const struct elf_file *f = &job->files->files[i];
		if (!is_wanted(job, f))
			continue;
		if (f->other_id && n++ < SHOWN)
			ui_warn(ui, "%s: it is of another build of %s: build-id %s, in the release %s", job->recording,
				f->path, f->other_id, f->build_id ? f->build_id : "none");
		if (f->by_path && !by_path)
			by_path = f->path;
	}
	if (n > SHOWN)
		ui_warn(ui, "%s: it is of other builds of %zu more files", job->recording, n - SHOWN);
	if (by_path)
		ui_warn(ui,
			"%s: it does not say of which build %s is: it, and what else has no build-id, is told by its "
			"path "
			"alone ('perf record --buildid-mmap' records build-ids)",
			job->recording, by_path);
}

static uint64_t sampled(const struct elf_file *f)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < f->n_ranges; i++)
		sum += (f->ranges[i].end - f->ranges[i].start) * f->ranges[i].count;
	return sum;
}

static int workload_hash(const struct profile_job *job, char hex[DIGEST_HEX], struct err *e)
{
	_cleanup_close_ int fd = job->workload ? open(job->workload, O_RDONLY | O_CLOEXEC) : -1;
	struct digest d;

	snprintf(hex, DIGEST_HEX, "-");
	if (!job->workload)
		return 0;
	if (fd < 0)
		return err_errno(e, "%s", job->workload);
	int r = sha256_fd(fd, &d, e);
	if (r >= 0)
		digest_format(&d, hex);
	return r;
}

static int nothing_known(const struct profile_job *job, const struct elf_file *hottest, struct err *e)
{
	if (!hottest) {
		err_set(e, -ERR_MISSING, "%s: nothing that was executed is of %s", job->recording,
			job->only->n ? "the files that were asked for" : "files of this release");
		return err_hint(e, -ERR_MISSING,
				"the files must be those of the image that was recorded: --release or --root");
	}
	err_set(e, -ERR_MISSING, "there is no debug information of what was executed, as of %s (build-id %s)",
		hottest->path, hottest->build_id ? hottest->build_id : "none");
	return err_hint(e, -ERR_MISSING,
			"--debug=DIR: a root with usr/lib/debug/.build-id, or a directory of -dbgsym packages");
}

int profile_make(const struct profile_job *job, struct ui *ui, struct profile **out, struct err *e)
{
	_cleanup_(profile_freep) struct profile *p = profile_new();
	struct attribution a;
	char hex[DIGEST_HEX];
	const struct elf_file *hottest = NULL;
	const char *by = "-";
	bool done = false;

	int r = workload_hash(job, hex, e);
	if (r >= 0)
		r = samples_read(job, &a, &by, e);
	if (r < 0)
		return r;
	attribution_say(ui, &a);
	builds_say(job, ui);
	for (size_t i = 0; i < job->files->n; i++) {
		const struct elf_file *f = &job->files->files[i];
		struct symbolized s;
		if (!f->n_ranges || !is_wanted(job, f))
			continue;
		if (!hottest || sampled(f) > sampled(hottest))
			hottest = f;
		r = symbolize(job->files, i, job->debug, p, &s, e);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		ui_message(ui, "%s: lines are known of %.1f %% of what it executed", f->path,
			   percent(s.lines, s.sampled));
		char none[] = "00";
		struct profile_origin o = {.build_id = f->build_id ? f->build_id : none,
					   .source = (char *)job->source,
					   .recorded = job->time,
					   .workload = hex,
					   .by = (char *)by,
					   .weight = 1000};
		if (s.lines)
			profile_add_origin(p, &o);
		done |= s.lines != 0;
	}
	if (!done)
		return nothing_known(job, hottest, e);
	profile_fold(p);
	*out = take(p);
	return 0;
}

/* --- merging --------------------------------------------------------------------------------------------------------------- */

/* Its youngest recording. */
static int64_t time_of(const struct profile *p)
{
	int64_t time = INT64_MIN;

	for (size_t i = 0; i < p->n_origins; i++)
		time = MAX(time, p->origins[i].recorded);
	return time;
}

static int by_time(const void *a, const void *b)
{
	const struct profile *p = *(struct profile *const *)a, *q = *(struct profile *const *)b;
	int64_t s = time_of(p), t = time_of(q);

	return s != t ? (s > t ? -1 : 1) : 0;
}

/* Does p have a recording of the builds that the newest one in q was of? */
static bool same_build(const struct profile *p, const struct profile *q)
{
	for (size_t i = 0; i < p->n_origins; i++)
		for (size_t k = 0; k < q->n_origins; k++)
			if (p->origins[i].generation == 0 && q->origins[k].generation == 0 &&
			    strcmp(p->origins[i].build_id, q->origins[k].build_id) == 0)
				return true;
	return p->n_origins == 0 && q->n_origins == 0;
}

static int by_age(const void *a, const void *b)
{
	const struct profile_origin *o = a, *p = b;

	if (o->generation != p->generation)
		return o->generation < p->generation ? -1 : 1;
	if (o->recorded != p->recorded)
		return o->recorded > p->recorded ? -1 : 1;
	int r = strcmp(o->build_id, p->build_id);
	return r ? r : strcmp(o->workload, p->workload);
}

int profile_merge(struct profile *const *in, size_t n, uint32_t permille, struct profile **out, struct err *e)
{
	_cleanup_(profile_freep) struct profile *p = profile_new();
	_cleanup_free_ struct profile **sorted = xmemdup(in, n * sizeof(struct profile *));
	uint32_t weight = 1000, generation = 0;

	if (n == 0)
		return err_set(e, -ERR_USAGE, "there is nothing to merge");
	qsort(sorted, n, sizeof(*sorted), by_time);
	for (size_t i = 0; i < n; i++) {
		if (i && !same_build(sorted[i], sorted[i - 1])) {
			weight = (uint32_t)((uint64_t)weight * permille / 1000);
			generation++;
		}
		if (weight)
			profile_add_scaled(p, sorted[i], weight, generation);
	}
	if (p->n_origins)
		qsort(p->origins, p->n_origins, sizeof(*p->origins), by_age);
	profile_fold(p);
	*out = take(p);
	return 0;
}
