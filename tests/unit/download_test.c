/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/download.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "tests/unit/server.h"
#include "tests/unit/test.h"

#define BODY "0123456789abcdefghijklmnopqrstuvwxyz"
#define LEN  (sizeof(BODY) - 1)

/* Downloads /file to "x" of dir; the digest is that of BODY. */
static int get(const struct server *s, int dir, uint64_t size, uint64_t max, struct err *e)
{
	_cleanup_(downloader_freep) struct downloader *d = downloader_new();
	_cleanup_free_ char *url = url_join(server_url(s), "file");
	struct digest sha256;

	sha256_mem(BODY, LEN, &sha256);
	const struct download one = {.url = url,
				     .what = "package 'x'",
				     .dirfd = dir,
				     .name = "x",
				     .sha256 = size ? &sha256 : NULL,
				     .size = size,
				     .max = max};
	return download_all(d, &one, 1, NULL, e);
}

static void assert_got(int dir)
{
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_load(dir, "x", 1000, &b, &e), &e);
	assert_string_equal(b.data, BODY);
	assert_false(fs_exists(dir, "x.part"));
}

TEST(download_brings_a_file)
{
	struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/file", .body = BODY, .len = LEN});
	assert_ok(get(s, dir, LEN, 0, &e), &e);
	assert_got(dir);
	server_free(s);
}

TEST(download_tries_again_when_a_failure_may_pass)
{
	const struct page pages[] = {
		{.status = 503, .times = 1},
		{.close_first = true, .times = 1},
		{.cut_after = 10, .times = 1},
		{.cut_after = 10, .times = 1, .no_range = true},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		struct server *s = server_new(NULL);
		struct page page = pages[i];
		_cleanup_close_ int dir = test_dir(NULL, 0);
		page.path = "/file";
		page.body = BODY;
		page.len = LEN;
		server_put(s, page);
		assert_ok(get(s, dir, LEN, 0, &e), &e);
		assert_got(dir);
		assert_int_equal(server_requests_of(s, "/file"), 2);
		server_free(s);
	}
}

TEST(download_asks_once_for_what_is_missing)
{
	struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/file", .body = "gone", .len = 4, .status = 404});
	assert_fails(get(s, dir, LEN, 0, &e), ERR_MISSING, &e,
		     "package 'x': the server does not have http://127.0.0.1");
	assert_int_equal(server_requests_of(s, "/file"), 1);
	assert_false(fs_exists(dir, "x.part"));
	server_free(s);
}

TEST(download_goes_on_where_an_earlier_run_ended)
{
	struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/file", .body = BODY, .len = LEN});
	assert_ok(fs_save_cache(dir, "x.part", BODY, 20, 0644, &e), &e);
	assert_ok(get(s, dir, LEN, 0, &e), &e);
	assert_got(dir);
	assert_int_equal(server_ranges(s), 1);

	/* the beginning of something else: asked for as a whole then */
	assert_ok(fs_save_cache(dir, "x.part", "something else", 14, 0644, &e), &e);
	assert_ok(get(s, dir, LEN, 0, &e), &e);
	assert_got(dir);
	assert_int_equal(server_requests(s), 3);
	server_free(s);
}

TEST(download_refuses_wrong_content)
{
	struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/file", .body = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", .len = LEN});
	assert_fails(get(s, dir, LEN, 0, &e), ERR_DIGEST, &e, "is not what its signed index says");
	server_put(s, (struct page){.path = "/file", .body = BODY BODY, .len = 2 * LEN});
	assert_fails(get(s, dir, LEN, 0, &e), ERR_DIGEST, &e, "is larger than 36 bytes");
	assert_fails(get(s, dir, 0, 50, &e), ERR_LIMIT, &e, "is larger than 50 bytes");
	assert_false(fs_exists(dir, "x"));
	assert_false(fs_exists(dir, "x.part"));
	server_free(s);
}

TEST(download_says_when_nobody_answers)
{
	struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(downloader_freep) struct downloader *d = downloader_new();
	_cleanup_free_ char *url = url_join(server_url(s), "file");
	const struct download one = {.url = url, .what = "package 'x'", .dirfd = dir, .name = "x", .max = 100};
	struct err e = ERR_INIT;

	server_free(s);
	assert_fails(download_all(d, &one, 1, NULL, &e), ERR_CONNECT, &e, "package 'x': cannot reach http://127.0.0.1");
}

TEST(download_brings_many_files_over_few_connections)
{
	struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(downloader_freep) struct downloader *d = downloader_new();
	struct download list[50];
	char *names[50];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(list); i++) {
		names[i] = xasprintf("f%zu", i);
		_cleanup_free_ char *path = xasprintf("/f%zu", i);
		server_put(s, (struct page){.path = path, .body = BODY, .len = LEN});
		list[i] = (struct download){
			.url = url_join(server_url(s), names[i]),
			.what = names[i],
			.dirfd = dir,
			.name = names[i],
			.max = LEN,
		};
	}
	assert_ok(download_all(d, list, ARRAY_LEN(list), NULL, &e), &e);
	assert_int_equal(server_requests(s), 50);
	assert_true(server_connections(s) <= 8);
	for (size_t i = 0; i < ARRAY_LEN(list); i++) {
		assert_true(fs_exists(dir, names[i]));
		free((char *)list[i].url);
		free(names[i]);
	}
	server_free(s);
}

TEST(download_of_what_another_run_downloads_is_refused)
{
	struct server *s = server_new(NULL);
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	server_put(s, (struct page){.path = "/file", .body = BODY, .len = LEN});
	int other = fs_lock(dir, "x.part", "", &e);
	assert_ok(other, &e);
	assert_fails(get(s, dir, LEN, 0, &e), ERR_LOCKED, &e, "package 'x': another mixer is downloading it");
	close(other);
	assert_ok(get(s, dir, LEN, 0, &e), &e);
	assert_got(dir);
	server_free(s);
}
