/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "mixer/input/profile.h"
#include "mixer/input/recording.h"
#include "swupd/base/text.h"

/* What it writes it reads, and that has the same bytes. */
static void profile(const char *text, size_t len)
{
	_cleanup_(profile_freep) struct profile *p = NULL, *again = NULL, *merged = profile_new();
	_cleanup_(buf_free) struct buf out = {0}, twice = {0}, gcc = {0};

	if (profile_parse(text, len, "p", &p, NULL) < 0)
		return;
	FUZZ_CHECK(profile_write_llvm(p, &out, NULL) >= 0);
	FUZZ_CHECK(profile_parse(out.data, out.len, "p", &again, NULL) >= 0);
	FUZZ_CHECK(profile_write_llvm(again, &twice, NULL) >= 0);
	FUZZ_CHECK(out.len == twice.len && memcmp(out.data, twice.data, out.len) == 0);
	FUZZ_CHECK(profile_write_gcc(p, len % 2 ? 12 : 14, &gcc, NULL) >= 0);
	profile_add_scaled(merged, p, 500, 1);
	profile_fold(merged);
	FUZZ_CHECK(merged->n_functions == p->n_functions);
	(void)profile_trim(merged, 10);
}

static void recording(const char *text, size_t len)
{
	_cleanup_(recording_freep) struct recording *r = NULL;

	if (recording_parse(text, len, "r", &r, NULL) < 0)
		return;
	for (size_t i = 0; i < r->n_calls; i++)
		FUZZ_CHECK(r->calls[i].from < r->n_blocks && r->calls[i].to < r->n_blocks);
	for (size_t i = 0; i < r->n_blocks; i++)
		FUZZ_CHECK(r->blocks[i].len && (!i || r->blocks[i - 1].vaddr <= r->blocks[i].vaddr));
}

static void perf(const char *text, size_t len)
{
	_cleanup_(perf_samples_freep) struct perf_samples *p = NULL;

	if (perf_parse(text, len, "t", &p, NULL) < 0)
		return;
	FUZZ_CHECK(p->samples);
	perf_add_build_ids(p, text, len);
	for (size_t i = 0; i < p->n_runs; i++)
		FUZZ_CHECK(p->runs[i].from <= p->runs[i].to && p->runs[i].count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (recording_is((const char *)data, size))
		recording((const char *)data, size);
	profile((const char *)data, size);
	perf((const char *)data, size);
	return 0;
}
