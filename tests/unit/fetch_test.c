/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/fetch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "tests/unit/server.h"
#include "tests/unit/test.h"

#define BIG 100000

static const struct fetch_options usual = {.parallel = 4, .retries = 3, .allow_http = true};

/* What became of each job; want_stop: done refuses to go on at the first one. */
struct outcome {
	int results[64];
	char *texts[64];
	size_t n;
	int stop;
};

static int on_done(void *arg, const struct fetch_job *job, int result, struct err *e)
{
	struct outcome *o = arg;
	size_t i = job->user ? *(size_t *)job->user : 0;

	o->results[i] = result;
	o->texts[i] = e->text ? xstrdup(e->text) : NULL;
	o->n++;
	return o->stop ? err_set(e, o->stop, "that is enough") : 0;
}

static void outcome_free(struct outcome *o)
{
	for (size_t i = 0; i < ARRAY_LEN(o->texts); i++)
		free(o->texts[i]);
}

static char *big_body(void)
{
	char *body = xmalloc(BIG);

	for (size_t i = 0; i < BIG; i++)
		body[i] = (char)(i * 7 + i / 251);
	return body;
}

/* Fetch one path into name "x" of dir; returns the job's result, with its text in e. */
static int fetch_one(const struct fetch_options *opts, const char *base, const char *path, uint64_t max, int dir,
		     struct err *e)
{
	struct fetch *f = NULL;
	_cleanup_(outcome_free) struct outcome o = {0};
	const struct fetch_job job = {.path = path, .name = "x", .max = max};

	f = fetch_new(opts);
	assert_ok(fetch_files(f, base, dir, &job, 1, on_done, &o, NULL, e), e);
	assert_int_equal(o.n, 1);
	fetch_free(f);
	return o.results[0] < 0 ? err_set(e, o.results[0], "%s", o.texts[0]) : 0;
}

static void assert_content(int dir, const char *name, const void *want, size_t len)
{
	_cleanup_(buf_free) struct buf text = {0};

	assert_int_equal(fs_load(dir, name, (size_t)2 * BIG, &text, NULL), 0);
	assert_int_equal(text.len, len);
	assert_memory_equal(text.data, want, len);
}

TEST(fetch_text_reads_from_http_and_from_a_directory)
{
	struct err e = ERR_INIT;
	struct fetch *f = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	char path[4096];
	uint64_t bytes, requests;

	int dir = test_dir(path, sizeof(path));
	assert_int_equal(fs_save(dir, "small", "hello", 5, 0644, NULL), 0);
	assert_int_equal(fs_save(dir, "empty", "", 0, 0644, NULL), 0);
	struct server *s = server_new(path);
	_cleanup_free_ char *local = xasprintf("file://%s", path);
	f = fetch_new(&usual);
	assert_ok(fetch_text(f, server_url(s), "small", 5, &text, &e), &e);
	assert_string_equal(text.data, "hello");
	assert_ok(fetch_text(f, local, "small", 5, &text, &e), &e);
	assert_string_equal(text.data, "hello");
	assert_ok(fetch_text(f, server_url(s), "empty", 5, &text, &e), &e);
	assert_int_equal(text.len, 0);
	assert_ok(fetch_text(f, local, "empty", 5, &text, &e), &e);
	assert_int_equal(text.len, 0);
	fetch_count(f, &bytes, &requests);
	assert_int_equal(bytes, 10);
	assert_int_equal(requests, 4);
	/* that of the first question, and libcurl's */
	assert_int_equal(server_connections(s), 2);
	assert_int_equal(server_strange(s), 0);
	fetch_free(f);
	server_free(s);
	close(dir);
}

/* The first question is asked without libcurl; whatever becomes of it, the answer is the one that libcurl gets. */
TEST(fetch_text_asks_again_where_the_first_answer_is_wrong)
{
	static const struct page pages[] = {
		{.body = "hello", .len = 5, .cut_after = 2, .times = 1},
		{.body = "hello", .len = 5, .claimed = 9, .times = 1},
		{.body = "hello", .len = 5, .close_first = true, .times = 1},
		{.body = "hello", .len = 5, .status = 503, .times = 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		struct server *s = server_new(NULL);
		_cleanup_(fetch_freep) struct fetch *f = fetch_new(&usual);
		_cleanup_(buf_free) struct buf text = {0};
		struct page page = pages[i];
		struct err e = ERR_INIT;
		page.path = "/a";
		server_put(s, page);
		assert_ok(fetch_text(f, server_url(s), "a", 5, &text, &e), &e);
		assert_string_equal(text.data, "hello");
		assert_int_equal(server_requests(s), 2);
		server_free(s);
	}
}

TEST(fetch_text_asks_once_for_what_is_not_there)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	_cleanup_(fetch_freep) struct fetch *f = fetch_new(&usual);
	_cleanup_(buf_free) struct buf text = {0};

	assert_fails(fetch_text(f, server_url(s), "no", 5, &text, &e), ERR_MISSING, &e, "not on the server");
	assert_int_equal(server_requests(s), 1);
	assert_int_equal(server_connections(s), 1);
	server_free(s);
}

TEST(fetch_text_follows_to_another_place)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	_cleanup_(fetch_freep) struct fetch *f = fetch_new(&usual);
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *there = xasprintf("%s/b", server_url(s));

	server_put(s, (struct page){.path = "/a", .body = "", .status = 302, .location = there});
	server_put(s, (struct page){.path = "/b", .body = "hello", .len = 5});
	assert_ok(fetch_text(f, server_url(s), "a", 5, &text, &e), &e);
	assert_string_equal(text.data, "hello");
	server_free(s);
}

TEST(fetch_text_refuses_more_than_it_was_told)
{
	struct err e = ERR_INIT;
	struct fetch *f = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	struct server *s = server_new(NULL);

	server_put(s, (struct page){.path = "/a", .body = "123456", .len = 6});
	f = fetch_new(&usual);
	assert_fails(fetch_text(f, server_url(s), "a", 5, &text, &e), ERR_LIMIT, &e, "larger than 5 bytes");
	assert_null(text.data);
	assert_ok(fetch_text(f, server_url(s), "a", 6, &text, &e), &e);
	fetch_free(f);
	server_free(s);
}

TEST(fetch_says_missing_without_trying_again)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	int dir = test_dir(NULL, 0);

	assert_fails(fetch_one(&usual, server_url(s), "no/such", 0, dir, &e), ERR_MISSING, &e, "404");
	assert_int_equal(server_requests(s), 1);
	assert_fails(fetch_one(&usual, "file:///nonexistent", "x", 0, dir, &e), ERR_MISSING, &e, "no such file");
	assert_false(fs_exists(dir, "x"));
	assert_false(fs_exists(dir, "x.part"));
	server_free(s);
	close(dir);
}

TEST(fetch_tries_again_after_a_server_error_but_not_after_forbidden)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	int dir = test_dir(NULL, 0);

	server_put(s, (struct page){.path = "/busy", .body = "ok", .len = 2, .status = 503, .times = 2});
	assert_ok(fetch_one(&usual, server_url(s), "busy", 0, dir, &e), &e);
	assert_content(dir, "x", "ok", 2);
	assert_int_equal(server_requests_of(s, "/busy"), 3);
	server_put(s, (struct page){.path = "/down", .body = "oh", .len = 2, .status = 500});
	assert_fails(fetch_one(&usual, server_url(s), "down", 0, dir, &e), ERR_DOWNLOAD, &e, "500");
	assert_int_equal(server_requests_of(s, "/down"), 4);
	server_put(s, (struct page){.path = "/closed", .body = "no", .len = 2, .status = 403});
	assert_fails(fetch_one(&usual, server_url(s), "closed", 0, dir, &e), ERR_MISSING, &e, "403");
	assert_int_equal(server_requests_of(s, "/closed"), 1);
	server_free(s);
	close(dir);
}

/* Seconds that it takes to get a page that is there at the second try or later. */
static double seconds_for(struct page page)
{
	_cleanup_(server_freep) struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	const struct fetch_options patient = {.parallel = 1, .retries = 2, .delay_s = 1, .allow_http = true};
	struct timespec before, after;
	struct err e = ERR_INIT;

	server_put(s, page);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_ok(fetch_one(&patient, server_url(s), page.path + 1, 0, dir, &e), &e);
	clock_gettime(CLOCK_MONOTONIC, &after);
	return (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
}

TEST(fetch_waits_as_long_as_the_server_wishes_and_longer_each_time)
{
	struct page busy = {.path = "/a", .body = "ok", .len = 2, .status = 503, .times = 1, .retry_after = "2"};

	/* the wait itself; to which a slow machine may add */
	assert_true(seconds_for(busy) >= 2 - 0.01);
	busy.retry_after = NULL;
	busy.times = 2;
	assert_true(seconds_for(busy) >= 1 + 2 - 0.01);
}

TEST(fetch_goes_on_where_a_transfer_was_cut)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	int dir = test_dir(NULL, 0);

	server_put(s, (struct page){.path = "/big", .body = body, .len = BIG, .cut_after = 30000, .times = 2});
	assert_ok(fetch_one(&usual, server_url(s), "big", 0, dir, &e), &e);
	assert_content(dir, "x", body, BIG);
	assert_int_equal(server_requests(s), 3);
	assert_int_equal(server_ranges(s), 2);
	assert_false(fs_exists(dir, "x.part"));
	server_free(s);
	close(dir);
}

TEST(fetch_keeps_the_part_of_a_failed_run_for_the_next)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	const struct fetch_options once = {.parallel = 1, .allow_http = true};
	_cleanup_free_ char *body = big_body();
	int dir = test_dir(NULL, 0);
	struct stat st;

	server_put(s, (struct page){.path = "/big", .body = body, .len = BIG, .cut_after = 30000});
	assert_int_equal(fetch_one(&once, server_url(s), "big", 0, dir, &e), -ERR_DOWNLOAD);
	err_clear(&e);
	assert_int_equal(fstatat(dir, "x.part", &st, 0), 0);
	assert_int_equal(st.st_size, 30000);
	assert_false(fs_exists(dir, "x"));
	server_put(s, (struct page){.path = "/big", .body = body, .len = BIG});
	assert_ok(fetch_one(&once, server_url(s), "big", 0, dir, &e), &e);
	assert_content(dir, "x", body, BIG);
	assert_int_equal(server_ranges(s), 1);
	server_free(s);
	close(dir);
}

TEST(fetch_starts_over_when_the_rest_cannot_be_had)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	int dir = test_dir(NULL, 0);

	/* a server that sends all of it */
	assert_int_equal(fs_save(dir, "x.part", "garbage", 7, 0600, NULL), 0);
	server_put(s, (struct page){.path = "/all", .body = body, .len = BIG, .no_range = true});
	assert_ok(fetch_one(&usual, server_url(s), "all", 0, dir, &e), &e);
	assert_content(dir, "x", body, BIG);
	assert_int_equal(server_requests(s), 1);
	/* one that has less than we */
	assert_int_equal(fs_save(dir, "x.part", body, BIG, 0600, NULL), 0);
	server_put(s, (struct page){.path = "/less", .body = "short", .len = 5});
	assert_ok(fetch_one(&usual, server_url(s), "less", 0, dir, &e), &e);
	assert_content(dir, "x", "short", 5);
	assert_int_equal(server_requests_of(s, "/less"), 2);
	server_free(s);
	close(dir);
}

TEST(fetch_finds_a_wrong_length)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	const struct fetch_options once = {.parallel = 1, .allow_http = true};
	int dir = test_dir(NULL, 0);

	server_put(s, (struct page){.path = "/less", .body = "12345", .len = 5, .claimed = 50});
	assert_int_equal(fetch_one(&once, server_url(s), "less", 0, dir, &e), -ERR_DOWNLOAD);
	assert_false(fs_exists(dir, "x"));
	err_clear(&e);
	server_put(s, (struct page){.path = "/gone", .body = "12345", .len = 5, .close_first = true});
	assert_int_equal(fetch_one(&usual, server_url(s), "gone", 0, dir, &e), -ERR_DOWNLOAD);
	assert_true(server_requests_of(s, "/gone") >= 4);
	err_clear(&e);
	server_free(s);
	close(dir);
}

TEST(fetch_waits_for_a_slow_server)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	int dir = test_dir(NULL, 0);

	server_put(s, (struct page){.path = "/slow", .body = body, .len = 2000, .slow_ms = 5});
	assert_ok(fetch_one(&usual, server_url(s), "slow", 0, dir, &e), &e);
	assert_content(dir, "x", body, 2000);
	server_free(s);
	close(dir);
}

TEST(fetch_follows_redirects_but_not_for_ever_nor_to_files)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	int dir = test_dir(NULL, 0);

	server_put(s, (struct page){.path = "/old", .body = "moved", .len = 5, .status = 301, .location = "/new"});
	server_put(s, (struct page){.path = "/new", .body = "here", .len = 4});
	assert_ok(fetch_one(&usual, server_url(s), "old", 0, dir, &e), &e);
	assert_content(dir, "x", "here", 4);
	server_put(s, (struct page){.path = "/loop", .body = "", .len = 0, .status = 302, .location = "/loop"});
	assert_fails(fetch_one(&usual, server_url(s), "loop", 0, dir, &e), ERR_DOWNLOAD, &e, "redirect");
	assert_int_equal(server_requests_of(s, "/loop"), 6);
	server_put(s, (struct page){
			      .path = "/steal",
			      .body = "",
			      .status = 302,
			      .location = "file:///etc/passwd",
		      });
	assert_int_equal(fetch_one(&usual, server_url(s), "steal", 0, dir, &e), -ERR_DOWNLOAD);
	err_clear(&e);
	server_free(s);
	close(dir);
}

TEST(fetch_refuses_plain_http_unless_it_is_allowed)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	const struct fetch_options strict = {.parallel = 1};
	_cleanup_(buf_free) struct buf text = {0};
	struct fetch *f = NULL;

	f = fetch_new(&strict);
	assert_int_equal(fetch_text(f, server_url(s), "x", 10, &text, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.hint, "--allow-insecure-http"));
	err_clear(&e);
	assert_int_equal(server_connections(s), 0);
	assert_fails(fetch_text(f, "ftp://127.0.0.1", "x", 10, &text, &e), ERR_CONFIG, &e, "only https, http and file");
	assert_fails(fetch_text(f, "/srv/web", "x", 10, &text, &e), ERR_CONFIG, &e, "only https, http and file");
	fetch_free(f);
	server_free(s);
}

TEST(fetch_says_that_nobody_is_there)
{
	struct err e = ERR_INIT;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int dir = test_dir(NULL, 0);

	/* bound but not listening: nobody else can take the port meanwhile */
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%u", ntohs(a.sin_port));
	assert_int_equal(fetch_one(&usual, url, "x", 0, dir, &e), -ERR_CONNECT);
	err_clear(&e);
	close(dir);
}

TEST(fetch_does_not_trust_a_server_that_speaks_no_tls)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	int dir = test_dir(NULL, 0);

	_cleanup_free_ char *url = xasprintf("https%s", server_url(s) + 4);
	server_put(s, (struct page){.path = "/x", .body = "x", .len = 1});
	assert_int_equal(fetch_one(&usual, url, "x", 0, dir, &e), -ERR_TLS);
	err_clear(&e);
	server_free(s);
	close(dir);
}

TEST(fetch_files_uses_few_connections_and_outlives_failed_jobs)
{
	struct err e = ERR_INIT;
	struct fetch *f = NULL;
	_cleanup_(outcome_free) struct outcome o = {0};
	struct fetch_job jobs[40];
	char paths[40][16], names[40][16];
	size_t numbers[40];
	char web[4096];

	int from = test_dir(web, sizeof(web)), to = test_dir(NULL, 0);
	for (size_t i = 0; i < 40; i++) {
		numbers[i] = i;
		snprintf(paths[i], sizeof(paths[i]), "file%zu", i);
		snprintf(names[i], sizeof(names[i]), "got%zu", i);
		jobs[i] = (struct fetch_job){.path = paths[i], .name = names[i], .user = &numbers[i]};
		if (i % 10 != 3)
			assert_int_equal(fs_save_cache(from, paths[i], names[i], strlen(names[i]), 0644, NULL), 0);
	}
	struct server *s = server_new(web);
	f = fetch_new(&usual);
	assert_ok(fetch_files(f, server_url(s), to, jobs, 40, on_done, &o, NULL, &e), &e);
	assert_int_equal(o.n, 40);
	for (size_t i = 0; i < 40; i++) {
		assert_int_equal(o.results[i], i % 10 == 3 ? -ERR_MISSING : 0);
		if (i % 10 != 3)
			assert_content(to, names[i], names[i], strlen(names[i]));
	}
	/* a 404 does not cost its connection */
	assert_true(server_connections(s) <= 4);
	assert_int_equal(server_requests(s), 40);
	fetch_free(f);
	server_free(s);
	close(from);
	close(to);
}

TEST(fetch_files_stops_when_the_caller_has_enough)
{
	struct err e = ERR_INIT;
	struct fetch *f = NULL;
	_cleanup_(outcome_free) struct outcome o = {.stop = -ERR_CANCELLED};
	struct fetch_job jobs[64];
	struct server *s = server_new(NULL);
	int dir = test_dir(NULL, 0);

	for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
		jobs[i] = (struct fetch_job){.path = "nothing", .name = "x"};
	f = fetch_new(&usual);
	assert_fails(fetch_files(f, server_url(s), dir, jobs, ARRAY_LEN(jobs), on_done, &o, NULL, &e), ERR_CANCELLED,
		     &e, "that is enough");
	assert_int_equal(o.n, 1);
	assert_true(server_requests(s) <= 5);
	fetch_free(f);
	server_free(s);
	close(dir);
}

TEST(fetch_tells_a_full_disk)
{
	struct err e = ERR_INIT;
	struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	int dir = test_dir(NULL, 0);

	/* /dev/full in the part's place */
	server_put(s, (struct page){.path = "/big", .body = body, .len = BIG});
	if (mknodat(dir, "x.part", S_IFCHR | 0600, (dev_t)((1 << 8) | 7)) < 0)
		skip(); /* only root can make devices */
	_cleanup_close_ int probe = openat(dir, "x.part", O_WRONLY | O_CLOEXEC);
	if (probe < 0)
		skip(); /* mounted nodev */
	assert_fails(fetch_one(&usual, server_url(s), "big", 0, dir, &e), ENOSPC, &e, "x.part");
	assert_int_equal(server_requests(s), 1);
	assert_false(fs_exists(dir, "x.part"));
	server_free(s);
	close(dir);
}

TEST(fetch_keeps_small_files_in_memory_when_asked)
{
	struct err e = ERR_INIT;
	struct fetch *f = NULL;
	_cleanup_(outcome_free) struct outcome o = {0};
	_cleanup_free_ char *body = big_body(), *large = xcalloc(5, BIG);
	struct buf texts[4] = {0};
	struct server *s = server_new(NULL);
	size_t numbers[] = {0, 1, 2, 3};
	int dir = test_dir(NULL, 0);

	for (size_t i = 0; i < 5; i++)
		memcpy(large + i * BIG, body, BIG);
	const struct fetch_job jobs[] = {
		{.path = "small", .name = "small", .text = &texts[0], .user = &numbers[0]},
		{.path = "large", .name = "large", .text = &texts[1], .user = &numbers[1]},
		{.path = "none", .name = "none", .text = &texts[2], .user = &numbers[2]},
		{.path = "begun", .name = "begun", .text = &texts[3], .user = &numbers[3]},
	};
	/* cut in memory, cut in the file, and with a part of an earlier run */
	server_put(s, (struct page){.path = "/small", .body = body, .len = BIG, .cut_after = 3000, .times = 1});
	server_put(s, (struct page){
			      .path = "/large",
			      .body = large,
			      .len = (size_t)5 * BIG,
			      .cut_after = (size_t)4 * BIG,
			      .times = 1,
		      });
	server_put(s, (struct page){.path = "/begun", .body = body, .len = BIG});
	assert_int_equal(fs_save(dir, "begun.part", body, 500, 0600, NULL), 0);
	f = fetch_new(&usual);
	assert_ok(fetch_files(f, server_url(s), dir, jobs, ARRAY_LEN(jobs), on_done, &o, NULL, &e), &e);
	assert_int_equal(o.results[0], 0);
	assert_int_equal(texts[0].len, BIG);
	assert_memory_equal(texts[0].data, body, BIG);
	assert_false(fs_exists(dir, "small"));
	assert_int_equal(o.results[1], 0);
	assert_null(texts[1].data);
	_cleanup_(buf_free) struct buf got = {0};
	assert_int_equal(fs_load(dir, "large", (size_t)5 * BIG, &got, NULL), 0);
	assert_int_equal(got.len, 5 * BIG);
	assert_memory_equal(got.data, large, got.len);
	assert_int_equal(o.results[2], -ERR_MISSING);
	assert_null(texts[2].data);
	assert_int_equal(o.results[3], 0);
	assert_null(texts[3].data);
	assert_content(dir, "begun", body, BIG);
	assert_int_equal(server_ranges(s), 3);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		buf_free(&texts[i]);
	fetch_free(f);
	server_free(s);
	close(dir);
}

/* A part of a file, into dir/x. */
static int fetch_range(struct server *s, const char *path, int dir, uint64_t at, uint64_t bytes, struct buf *text,
		       struct err *e)
{
	_cleanup_(fetch_freep) struct fetch *f = NULL;
	const struct fetch_options quick = {.parallel = 1, .retries = 2, .allow_http = true};
	const struct fetch_job job = {.path = path + 1, .name = "x", .at = at, .bytes = bytes, .max = BIG};
	struct outcome o = {0};

	f = fetch_new(&quick);
	assert_ok(fetch_files(f, server_url(s), dir, &job, 1, on_done, &o, NULL, e), e);
	if (o.results[0] >= 0) {
		text->len = 0;
		assert_ok(fs_load(dir, "x", BIG, text, e), e);
		assert_ok(fs_remove_tree(dir, "x", e), e);
	}
	outcome_free(&o);
	return o.results[0];
}

TEST(fetch_files_gets_a_part)
{
	_cleanup_(server_freep) struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/a", .body = body, .len = BIG});
	assert_int_equal(fetch_range(s, "/a", dir, 1000, 500, &text, &e), 0);
	assert_int_equal(text.len, 500);
	assert_memory_equal(text.data, body + 1000, 500);
	/* up to its end, where it has fewer */
	assert_int_equal(fetch_range(s, "/a", dir, BIG - 10, 500, &text, &e), 0);
	assert_int_equal(text.len, 10);
	/* behind it */
	assert_true(fetch_range(s, "/a", dir, BIG + 10, 500, &text, &e) < 0);
	/* gone on with after it was cut */
	server_put(s, (struct page){.path = "/a", .body = body, .len = BIG, .cut_after = 200, .times = 1});
	assert_int_equal(fetch_range(s, "/a", dir, 1000, 500, &text, &e), 0);
	assert_memory_equal(text.data, body + 1000, 500);
	assert_int_equal(text.len, 500);
	/* what an earlier run left of it */
	assert_ok(fs_save(dir, "x.part", body + 1000, 100, 0600, &e), &e);
	assert_int_equal(fetch_range(s, "/a", dir, 1000, 500, &text, &e), 0);
	assert_memory_equal(text.data, body + 1000, 500);
	/* too much of it */
	assert_ok(fs_save(dir, "x.part", body, 600, 0600, &e), &e);
	assert_int_equal(fetch_range(s, "/a", dir, 1000, 500, &text, &e), 0);
	assert_memory_equal(text.data, body + 1000, 500);
	assert_int_equal(text.len, 500);
}

TEST(fetch_files_takes_all_where_there_are_no_parts)
{
	_cleanup_(server_freep) struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/a", .body = body, .len = BIG, .no_range = true});
	assert_int_equal(fetch_range(s, "/a", dir, 1000, 500, &text, &e), FETCH_WHOLE);
	assert_int_equal(text.len, BIG);
	assert_memory_equal(text.data, body, BIG);
	/* and not what it had of all, when it was cut once, as a part */
	server_put(s, (struct page){
			      .path = "/a", .body = body, .len = BIG, .no_range = true, .cut_after = 2000, .times = 1});
	assert_int_equal(fetch_range(s, "/a", dir, 1000, 5000, &text, &e), 0);
	assert_int_equal(text.len, 5000);
	assert_memory_equal(text.data, body + 1000, 5000);
	/* from a file */
	char path[200];
	_cleanup_close_ int files = test_dir(path, sizeof(path));
	assert_ok(fs_save(files, "a", body, BIG, 0600, &e), &e);
	_cleanup_free_ char *url = xasprintf("file://%s", path);
	_cleanup_(fetch_freep) struct fetch *f = NULL;
	const struct fetch_job job = {.path = "a", .name = "x", .at = 1000, .bytes = 500};
	struct outcome o = {0};
	f = fetch_new(&usual);
	assert_ok(fs_save(dir, "x.part", body, 100, 0600, &e), &e);
	assert_ok(fetch_files(f, url, dir, &job, 1, on_done, &o, NULL, &e), &e);
	assert_int_equal(o.results[0], 0);
	text.len = 0;
	assert_ok(fs_load(dir, "x", BIG, &text, &e), &e);
	assert_int_equal(text.len, 500);
	assert_memory_equal(text.data, body + 1000, 500);
	outcome_free(&o);
}

TEST(fetch_files_takes_all_where_parts_are_refused)
{
	_cleanup_(server_freep) struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf text = {0};
	const int statuses[] = {400, 416, 501};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		server_put(s, (struct page){.path = "/a", .body = body, .len = BIG, .range_status = statuses[i]});
		const unsigned asked = server_requests(s);
		/* also where an earlier run has something of it */
		for (unsigned left = 0; left < 2; left++) {
			if (left)
				assert_ok(fs_save(dir, "x.part", body + 1000, 100, 0600, &e), &e);
			assert_int_equal(fetch_range(s, "/a", dir, 1000, 500, &text, &e), FETCH_WHOLE);
			assert_int_equal(text.len, BIG);
			assert_memory_equal(text.data, body, BIG);
		}
		assert_int_equal(server_requests(s), asked + 5);
	}
	/* what is refused anyway is asked for no oftener */
	server_put(s, (struct page){.path = "/b", .status = 501});
	assert_true(fetch_range(s, "/b", dir, 1000, 500, &text, &e) < 0);
	assert_int_equal(server_requests_of(s, "/b"), 4);
	err_clear(&e);
	/* nor what is behind the end, by who says where that is */
	server_put(s, (struct page){.path = "/c", .body = body, .len = BIG});
	assert_true(fetch_range(s, "/c", dir, BIG + 10, 500, &text, &e) < 0);
	assert_int_equal(server_requests_of(s, "/c"), 1);
	err_clear(&e);
}

TEST(fetch_files_refuses_another_part)
{
	_cleanup_(server_freep) struct server *s = server_new(NULL);
	_cleanup_free_ char *body = big_body();
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/a", .body = body, .len = BIG, .shifted = 7});
	assert_true(fetch_range(s, "/a", dir, 1000, 500, &text, &e) < 0);
	assert_false(fs_exists(dir, "x"));
}
