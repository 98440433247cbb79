/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/deltas.h"
#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "tests/unit/mixed.h"
#include "tests/unit/test.h"

static struct node add_object(struct mixed *x, const char *path, const char *content, size_t len)
{
	struct node n = {.path = path, .attrs = {.kind = KIND_FILE, .mode = 0640, .size = len}, .origin = "test"};
	struct err e = ERR_INIT;

	assert_ok(store_put(x->m.store, &n.attrs, content, &n.hash, &e), &e);
	return n;
}

/* One job of each kind; the part has the delta of the first, the section the difference of the second. */
struct five {
	struct node old, new, link;
	struct member members[9];
	struct job jobs[5];
	char *delta, *diff;
};

static void five_begin(struct five *f, struct mixed *x)
{
	_cleanup_free_ char *noise = mixed_noise(20000, 1);
	struct err e = ERR_INIT;

	f->old = add_object(x, "/usr/a", noise, 20000);
	noise[10000] ^= 1;
	f->new = add_object(x, "/usr/b", noise, 20000);
	f->link = (struct node){
		.path = "/usr/l", .attrs = {.kind = KIND_LINK, .size = 4}, .link = "to a", .origin = "test"};
	file_hash_mem(&f->link.attrs, "to a", 4, &f->link.hash);
	f->delta = delta_file(&delta_classic, &f->old.hash, &f->new.hash);
	f->diff = delta_file(job_diff.delta, &f->old.hash, &f->new.hash);
	f->members[0] = f->members[2] = (struct member){.node = &f->old, .size = 20000};
	f->members[1] = f->members[3] = (struct member){.node = &f->new, .size = 20000};
	f->members[4] = (struct member){.from = f->old.hash, .to = f->new.hash, .file = f->delta};
	f->members[5] = f->members[6] = (struct member){.node = &f->link, .size = 4};
	f->members[7] = (struct member){.from = f->old.hash, .to = f->new.hash, .file = f->diff};
	f->members[8] = (struct member){.node = &f->link, .size = 4};
	f->jobs[0] = (struct job){.kind = &job_delta, .members = f->members, .n = 2};
	f->jobs[1] = (struct job){.kind = &job_diff, .members = f->members + 2, .n = 2};
	f->jobs[2] = (struct job){.kind = &job_part, .members = f->members + 3, .n = 3};
	f->jobs[3] = (struct job){.kind = &job_fullfile, .members = f->members + 6, .n = 1};
	f->jobs[4] = (struct job){.kind = &job_section, .members = f->members + 7, .n = 2};
	for (size_t i = 0; i < ARRAY_LEN(f->jobs); i++)
		assert_ok(job_name(&x->m, &f->jobs[i], &e), &e);
}

static void five_end(struct five *f)
{
	for (size_t i = 0; i < ARRAY_LEN(f->jobs); i++)
		free(f->jobs[i].file);
	free(f->delta);
	free(f->diff);
}

static void format_one(const struct mixed *x, struct job *j, struct buf *out)
{
	jobs_format(&x->m, (struct job *const[]){j}, 1, out);
}

/* Each as another process does it that knows the cache alone. */
TEST(jobs_of_a_list_make_the_files_that_the_jobs_make)
{
	struct mixed x;
	struct five f;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	five_begin(&f, &x);
	for (size_t i = 0; i < ARRAY_LEN(f.jobs); i++) {
		_cleanup_(job_list_freep) struct job_list *l = NULL;
		_cleanup_(buf_free) struct buf text = {0}, made = {0}, want = {0};
		struct config c = {.dir = -1, .threads = 1};
		const struct mix other = {.config = &c, .ui = &x.ui, .cache = x.m.cache, .store = x.m.store};
		/* jobs_run puts its jobs into another order: one at a time */
		struct job j = f.jobs[i];
		format_one(&x, &j, &text);
		assert_false(job_done(&x.m, &j));
		assert_ok(jobs_parse(text.data, text.len, &c, &l, &e), &e);
		assert_ok(job_list_run(&other, l, &e), &e);
		assert_int_equal(c.codec, CODEC_ZSTD);
		assert_int_equal(c.level, 3);
		assert_ok(fs_load(x.m.cache, j.file, 1 << 20, &made, &e), &e);
		assert_int_equal(unlinkat(x.m.cache, j.file, 0), 0);
		assert_ok(jobs_run(&x.m, &j, 1, &e), &e);
		assert_ok(fs_load(x.m.cache, j.file, 1 << 20, &want, &e), &e);
		assert_int_equal(made.len, want.len);
		assert_memory_equal(made.data, want.data, want.len);
	}
	five_end(&f);
	mixed_end(&x);
}

TEST(jobs_that_are_done_are_not_done_again)
{
	struct mixed x;
	struct five f;
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	mixed_begin(&x);
	five_begin(&f, &x);
	assert_ok(fs_save_cache(x.m.cache, f.jobs[3].file, "kept", 4, 0644, &e), &e);
	assert_ok(jobs_run(&x.m, &f.jobs[3], 1, &e), &e);
	assert_ok(fs_load(x.m.cache, f.jobs[3].file, 100, &text, &e), &e);
	assert_string_equal(text.data, "kept");
	five_end(&f);
	mixed_end(&x);
}

TEST(a_list_of_jobs_that_is_none_or_not_whole_is_refused)
{
	struct mixed x;
	struct five f;
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct config c = {.dir = -1};
	struct job_list *l = NULL;

	mixed_begin(&x);
	five_begin(&f, &x);
	format_one(&x, &f.jobs[0], &text);
	for (size_t len = 0; len < text.len; len++)
		assert_int_equal(jobs_parse(text.data, len, &c, &l, NULL), -ERR_FORMAT);
	static const char *const bad[] = {
		"limpid-jobs 2 zstd 3 0\nlimpid-tree 1 0\n",
		"limpid-jobs 1 lzma 3 0\nlimpid-tree 1 0\n",
		"limpid-jobs 1 zstd 99 0\nlimpid-tree 1 0\n",
		"limpid-jobs 1 zstd 3 1\nfullfile\nlimpid-tree 1 0\n",
		"limpid-jobs 1 zstd 3 1\nexec 00\nlimpid-tree 1 0\n",
		"limpid-jobs 1 zstd 3 1\nfullfile /etc/passwd\nlimpid-tree 1 0\n",
		"limpid-jobs 1 zstd 3 1\n"
		"fullfile 0000000000000000000000000000000000000000000000000000000000000000\nlimpid-tree 1 0\n",
		"limpid-jobs 1 zstd 3 1\n"
		"delta 0000000000000000000000000000000000000000000000000000000000000000-"
		"0000000000000000000000000000000000000000000000000000000000000000\nlimpid-tree 1 0\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(jobs_parse(bad[i], strlen(bad[i]), &c, &l, &e), -ERR_FORMAT);
	err_clear(&e);
	five_end(&f);
	mixed_end(&x);
}
