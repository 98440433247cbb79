/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include "swupd/base/mem.h"
#include "swupd/client/soft_reboot.h"

TEST(soft_reboot_mounts_as_the_kernel_command_line_says)
{
	static const struct {
		const char *cmdline, *options;
		uint32_t deadline;
	} cases[] = {
		{"", "subvol=/root-20,ro", 600},
		{"root=/dev/vda rw\n", "subvol=/root-20,rw", 600},
		{"ro quiet rw", "subvol=/root-20,rw", 600},
		{"rw ro", "subvol=/root-20,ro", 600},
		{"rw rootflags=subvol=root", "subvol=/root-20,rw", 600},
		{"rw rootflags=noatime,subvolid=256,compress=zstd limpid.deadline=90",
		 "subvol=/root-20,rw,noatime,compress=zstd", 90},
		{"rw rootflags=noatime rootflags=compress=zstd,subvol=/root", "subvol=/root-20,rw,compress=zstd", 600},
		{"rw limpid.deadline=never", "subvol=/root-20,rw", 600},
		{"rw limpid.deadline=0", "subvol=/root-20,rw", 600},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *options = NULL;
		uint32_t deadline;
		soft_reboot_words(cases[i].cmdline, "root-20", &options, &deadline);
		assert_string_equal(options, cases[i].options);
		assert_int_equal(deadline, cases[i].deadline);
	}
}
