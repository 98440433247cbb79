/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"
#include "swupd/base/work.h"

static void put(int dir, const char *name, const char *text)
{
	struct err e = ERR_INIT;

	assert_ok(fs_save(dir, name, text, strlen(text), 0644, &e), &e);
}

TEST(fs_save_replaces_whole_and_leaves_nothing_beside)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;

	put(dir, "a", "first");
	put(dir, "a", "second");
	assert_int_equal(fs_load(dir, "a", 100, &text, NULL), 0);
	assert_string_equal(text.data, "second");
	assert_int_equal(fs_list(dir, ".", &names, NULL), 0);
	assert_int_equal(names.n, 1);
	assert_int_equal(fstatat(dir, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
}

TEST(fs_load_refuses_more_than_it_may)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	put(dir, "a", "12345");
	assert_ok(fs_load(dir, "a", 5, &text, &e), &e);
	assert_fails(fs_load(dir, "a", 4, &text, &e), ERR_LIMIT, &e, "a: larger than 4 bytes");
	assert_fails(fs_load(dir, "none", 4, &text, &e), ENOENT, &e, "none: No such file");
}

TEST(fs_map_has_the_whole_file_and_of_an_empty_one_nothing)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	put(dir, "a", "what is there");
	put(dir, "empty", "");
	for (int i = 0; i < 2; i++) {
		_cleanup_(fs_unmap) struct fs_map map = {0};
		_cleanup_close_ int fd = openat(dir, i ? "empty" : "a", O_RDONLY | O_CLOEXEC);
		assert_ok(fs_map_fd(fd, "a", &map, &e), &e);
		assert_int_equal(map.len, i ? 0 : 13);
		assert_memory_equal(map.data, "what is there", map.len);
	}
}

TEST(fs_beneath_follows_no_link_and_leaves_no_root)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	static const char *const paths[] = {"link/f", "..", "real/../../x", "link", "self/passwd", "up/x"};
	struct err e = ERR_INIT;

	assert_int_equal(mkdirat(dir, "real", 0755), 0);
	put(dir, "real/f", "x");
	assert_int_equal(symlinkat("real", dir, "link"), 0);
	assert_int_equal(symlinkat("/etc", dir, "self"), 0);
	assert_int_equal(symlinkat("..", dir, "up"), 0);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		assert_fails(fs_open_beneath(dir, paths[i], O_RDONLY, 0, &e), ERR_PATH, &e, "leads through");
	_cleanup_close_ int fd = fs_open_beneath(dir, "real/f", O_RDONLY, 0, &e);
	assert_true(fd >= 0);
}

TEST(fs_parent_opens_a_directory_once_for_the_paths_in_it)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(fs_parent_close) struct fs_parent p = FS_PARENT_OF(dir);
	const char *base;

	assert_int_equal(fs_mkdirs(dir, "a/b", 0755, NULL), 0);
	put(dir, "a/b/x", "in b");
	put(dir, "a/x", "in a");
	assert_int_equal(symlinkat("a", dir, "link"), 0);
	const int fd = fs_parent_open(&p, "a/b/x", &base, NULL);
	assert_true(fd >= 0);
	assert_string_equal(base, "x");
	assert_true(fs_exists(fd, base));
	/* gone from where it was found, and still open */
	assert_int_equal(renameat(dir, "a/b", dir, "a/c"), 0);
	assert_int_equal(fs_parent_open(&p, "a/b/y", &base, NULL), fd);
	assert_string_equal(base, "y");
	assert_false(fs_exists(fd, base));
	/* names that begin alike */
	assert_int_equal(fs_parent_open(&p, "a/bb/x", &base, NULL), -ENOENT);
	assert_int_equal(fs_parent_open(&p, "a/b/x", &base, NULL), -ENOENT);
	assert_true(fs_exists(fs_parent_open(&p, "a/x", &base, NULL), "c"));
	assert_true(fs_exists(fs_parent_open(&p, "a", &base, NULL), "a"));
	assert_int_equal(fs_parent_open(&p, "link/x", &base, NULL), -ERR_PATH);
}

TEST(fs_remove_tree_removes_all_below_but_follows_no_link)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);

	assert_int_equal(fs_mkdirs(dir, "t/a/b/c", 0755, NULL), 0);
	assert_int_equal(fs_mkdirs(dir, "keep", 0755, NULL), 0);
	put(dir, "keep/f", "x");
	put(dir, "t/a/f", "x");
	assert_int_equal(symlinkat("../../keep", dir, "t/a/link"), 0);
	assert_int_equal(fs_remove_tree(dir, "t", NULL), 0);
	assert_false(fs_exists(dir, "t"));
	assert_true(fs_exists(dir, "keep/f"));
	assert_int_equal(fs_remove_tree(dir, "t", NULL), 0);
}

TEST(fs_link_or_copy_replaces_and_copies_across_file_systems)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_close_ int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	put(dir, "a", "new");
	put(dir, "b", "old");
	assert_ok(fs_link_or_copy(dir, "a", dir, "b", &e), &e);
	assert_ok(fs_link_or_copy(dir, "a", dir, "b", &e), &e);
	assert_int_equal(fs_load(dir, "b", 10, &text, NULL), 0);
	assert_string_equal(text.data, "new");
	if (shm < 0)
		skip();
	_cleanup_free_ char *name = xasprintf("limpid-unit-%d", (int)getpid());
	assert_ok(fs_link_or_copy(dir, "a", shm, name, &e), &e);
	assert_int_equal(fs_load(shm, name, 10, &text, NULL), 0);
	assert_string_equal(text.data, "new");
	unlinkat(shm, name, 0);
}

TEST(fs_lock_is_held_by_one)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	struct err e = ERR_INIT;

	int held = fs_lock(dir, "lock", "1\n", &e);
	assert_true(held >= 0);
	/* open-file-description locks exclude other descriptions of the same process, too, and survive the closing of others */
	assert_fails(fs_lock(dir, "lock", "2\n", &e), ERR_LOCKED, &e, "another run holds the lock");
	close(held);
	held = fs_lock(dir, "lock", "3\n", &e);
	assert_true(held >= 0);
	close(held);
}

TEST(proc_gives_output_and_status)
{
	_cleanup_(buf_free) struct buf out = {0}, errors = {0};
	static const char *const argv[] = {"sh", "-c", "cat; echo err >&2; exit 7", NULL};
	const struct proc p = {
		.argv = argv, .dirfd = AT_FDCWD, .input = "in", .input_len = 2, .out = &out, .errors = &errors};
	struct err e = ERR_INIT;

	assert_int_equal(proc_run(&p, &e), 7);
	assert_string_equal(out.data, "in");
	assert_string_equal(errors.data, "err\n");
	assert_fails(proc_check(&p, &e), ERR_CHILD, &e, "sh ended with status 7: err");
}

TEST(proc_names_a_program_that_is_not_there)
{
	static const char *const argv[] = {"no-such-program-here", NULL};
	const struct proc p = {.argv = argv, .dirfd = AT_FDCWD};
	struct err e = ERR_INIT;

	assert_fails(proc_run(&p, &e), ENOENT, &e, "cannot run no-such-program-here");
}

TEST(proc_moves_more_than_a_pipe_holds_both_ways)
{
	_cleanup_(buf_free) struct buf in = {0}, out = {0};
	static const char *const argv[] = {"cat", NULL};

	for (int i = 0; i < 300000; i++)
		buf_puts(&in, "0123456789");
	const struct proc p = {.argv = argv, .dirfd = AT_FDCWD, .input = in.data, .input_len = in.len, .out = &out};
	assert_int_equal(proc_run(&p, NULL), 0);
	assert_int_equal(out.len, in.len);
	assert_memory_equal(out.data, in.data, in.len);
}

static int square(void *arg, size_t i, struct err *e)
{
	uint64_t *out = arg;

	if (i == 700)
		return err_set(e, -ERR_CONFLICT, "job %zu", i);
	/* on a busy machine the thread that fails may be stopped before it has said so */
	if (i > 700)
		usleep(1000);
	out[i] = i * i + 1;
	return 0;
}

TEST(work_does_each_job_once)
{
	uint64_t out[600] = {0};
	struct err e = ERR_INIT;

	assert_ok(work_each(4, 600, square, out, &e), &e);
	for (size_t i = 0; i < 600; i++)
		assert_int_equal(out[i], i * i + 1);
	assert_ok(work_each(0, 0, square, NULL, &e), &e);
}

TEST(work_stops_at_a_failure_and_says_which)
{
	uint64_t out[5000] = {0};
	struct err e = ERR_INIT;

	assert_fails(work_each(3, 5000, square, out, &e), ERR_CONFLICT, &e, "job 700");
	assert_int_equal(out[4999], 0);
}

static int list_file(void *arg, const char *path, int fd, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	assert_ok(fs_load_fd(fd, path, 100, &text, e), e);
	buf_printf(arg, "%s=%s ", path, text.data);
	return strcmp(text.data, "stop") == 0 ? err_set(e, -ERR_FORMAT, "stopped") : 0;
}

TEST(fs_each_file_finds_regular_files_by_name_and_follows_no_link)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf found = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_mkdirs(dir, "b/c", 0755, &e), &e);
	put(dir, "z", "1");
	put(dir, "b/c/deep", "2");
	put(dir, "a", "3");
	assert_int_equal(symlinkat("z", dir, "link"), 0);
	assert_int_equal(symlinkat("b", dir, "folder"), 0);
	assert_ok(fs_each_file(dir, list_file, &found, &e), &e);
	assert_string_equal(found.data, "/a=3 /b/c/deep=2 /z=1 ");
}

TEST(fs_each_file_ends_at_a_failure_and_at_folders_without_end)
{
	_cleanup_close_ int dir = test_dir(NULL, 0);
	_cleanup_(buf_free) struct buf found = {0}, deep = {0};
	struct err e = ERR_INIT;

	put(dir, "a", "stop");
	put(dir, "b", "not seen");
	assert_fails(fs_each_file(dir, list_file, &found, &e), ERR_FORMAT, &e, "stopped");
	assert_string_equal(found.data, "/a=stop ");
	put(dir, "a", "fine");
	for (int i = 0; i < 64; i++)
		buf_puts(&deep, "d/");
	assert_ok(fs_mkdirs(dir, deep.data, 0755, &e), &e);
	assert_ok(fs_each_file(dir, list_file, &found, &e), &e);
	buf_puts(&deep, "d");
	assert_ok(fs_mkdirs(dir, deep.data, 0755, &e), &e);
	assert_int_equal(fs_each_file(dir, list_file, &found, &e), -ERR_LIMIT);
	err_clear(&e);
}
