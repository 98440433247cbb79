/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/client/inuse.h"

TEST(inuse_units_are_those_of_the_system_manager)
{
	static const struct {
		const char *text, *unit;
	} cases[] = {
		{"0::/system.slice/ssh.service\n", "ssh.service"},
		{"0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service"},
		{"0::/system.slice/docker.service/sub/group\n", "docker.service"},
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n", "user@1000.service"},
		{"0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"},
		{"0::/init.scope\n", "init.scope"},
		{"0::/system.slice/_cgroup.service\n", "cgroup.service"},
		{"12:cpu:/a.service\n1:name=systemd:/system.slice/cron.service\n0::/\n", "cron.service"},
		{"12:cpu:/system.slice/a.service\n0::/\n", NULL},
		{"0::/\n", NULL},
		{"0::/../../system.slice/outside.service\n", NULL},
		{"0::/lxc/one\n", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *unit = inuse_unit(cases[i].text);
		if (cases[i].unit)
			assert_string_equal(unit, cases[i].unit);
		else
			assert_null(unit);
	}
}

TEST(inuse_map_lines_are_read_with_blanks_in_their_names)
{
	char line[] =
		"7f0c2a000000-7f0c2a021000 r-xp 00002000 00:1f 4711                       /usr/lib/a b.so (deleted)";
	char memory[] = "7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]";
	char anonymous[] = "7ffc0000-7ffd0000 rw-p 00000000 00:00 0 ";
	char zero[] = "7ffc0000-7ffd0000 rw-p 00000000 00:00 0 /usr/none";
	const char *range, *path;
	ino_t inode;

	assert_true(inuse_map_line(line, &range, &inode, &path));
	assert_string_equal(range, "7f0c2a000000-7f0c2a021000");
	assert_int_equal(inode, 4711);
	assert_string_equal(path, "/usr/lib/a b.so (deleted)");
	assert_false(inuse_map_line(memory, &range, &inode, &path));
	assert_false(inuse_map_line(anonymous, &range, &inode, &path));
	assert_false(inuse_map_line(zero, &range, &inode, &path));
}

TEST(inuse_a_file_of_a_snapshot_is_the_same_until_it_is_changed)
{
	const struct stat a = {.st_dev = 1, .st_ino = 5, .st_size = 9, .st_mtim = {10, 11}, .st_ctim = {12, 13}};
	struct stat b = a;

	assert_true(inuse_same(&a, &b, false));
	b.st_dev = 2;
	assert_false(inuse_same(&a, &b, false));
	assert_true(inuse_same(&a, &b, true));
	b.st_ctim.tv_nsec++;
	assert_false(inuse_same(&a, &b, true));
	b = a;
	b.st_ino = 6;
	assert_false(inuse_same(&a, &b, true));
}
