/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "mixer/input/config.h"
#include "mixer/input/tree.h"
#include "mixer/step/job.h"
#include "mixer/step/step.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* What is accepted has another text at most, which is that of the same tree. */
static void try_tree(const char *text, size_t len)
{
	_cleanup_(tree_freep) struct tree *t = NULL, *same = NULL;
	_cleanup_(buf_free) struct buf once = {0}, twice = {0};

	if (tree_parse(text, len, &t, NULL) < 0)
		return;
	for (size_t i = 0; i < t->n; i++)
		FUZZ_CHECK(t->nodes[i].path[0] == '/' &&
			   (t->nodes[i].attrs.kind == KIND_LINK) == (t->nodes[i].link != NULL));
	tree_format(t, &once);
	FUZZ_CHECK(tree_parse(once.data, once.len, &same, NULL) >= 0 && same->n == t->n);
	tree_format(same, &twice);
	FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	/* not whole */
	FUZZ_CHECK(tree_parse(once.data, once.len - 1, &same, NULL) < 0);
}

static void format(struct job_list *l, struct config *c, struct buf *out)
{
	const struct mix m = {.config = c};
	size_t n;
	struct job *jobs = job_list_jobs(l, &n);
	_cleanup_free_ struct job **each = xcalloc(n + 1, sizeof(struct job *));

	for (size_t i = 0; i < n; i++)
		each[i] = &jobs[i];
	jobs_format(&m, each, n, out);
}

static void try_jobs(const char *text, size_t len)
{
	_cleanup_(job_list_freep) struct job_list *l = NULL, *same = NULL, *cut = NULL;
	_cleanup_(buf_free) struct buf once = {0}, twice = {0};
	struct config c = {.dir = -1}, other = {.dir = -1};

	if (jobs_parse(text, len, &c, &l, NULL) < 0)
		return;
	FUZZ_CHECK(c.level >= 0 && c.level <= 22 && *codec_name(c.codec));
	format(l, &c, &once);
	FUZZ_CHECK(jobs_parse(once.data, once.len, &other, &same, NULL) >= 0);
	format(same, &other, &twice);
	FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	/* not whole */
	FUZZ_CHECK(jobs_parse(once.data, once.len - 1, &other, &cut, NULL) < 0);
}

/* The input is a list of jobs, or the tree that is its end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* an exact copy: the parsers must not look behind the end */
	_cleanup_free_ char *copy = xmemdup(data, size);

	try_tree(copy, size);
	try_jobs(copy, size);
	return 0;
}
