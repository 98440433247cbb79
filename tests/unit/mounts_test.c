/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/mounts.h"

static const char mountinfo[] = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
				"22 21 0:20 / /usr/local rw shared:1 - tmpfs tmpfs rw\n"
				"23 21 0:21 / /mnt/a\\040b/usr/x\\011y rw - tmpfs tmpfs rw\n"
				"24 21 0:22 / /mnt/a\\040bc rw - tmpfs tmpfs rw\n"
				"short line\n";

TEST(mounts_of_the_running_system_are_all_but_the_root)
{
	_cleanup_(strv_free) struct strv v = {0};

	mounts_parse(mountinfo, "/", &v);
	assert_int_equal(v.n, 3);
	assert_string_equal(v.items[0], "/usr/local");
	assert_string_equal(v.items[1], "/mnt/a b/usr/x\ty");
}

TEST(mounts_of_another_root_are_named_inside_it)
{
	_cleanup_(strv_free) struct strv v = {0};

	mounts_parse(mountinfo, "/mnt/a b", &v);
	assert_int_equal(v.n, 1);
	assert_string_equal(v.items[0], "/usr/x\ty");
}
