/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/reboot.h"
#include "swupd/client/restart.h"

static void expect(const struct machine *m, const char *unit, const char *why)
{
	_cleanup_free_ char *is = restart_objection(m, unit);

	if (why)
		assert_string_equal(is, why);
	else
		assert_null(is);
}

TEST(restart_is_forbidden_by_marks_of_administrator_release_and_predecessor)
{
	_cleanup_close_ int root = test_dir(NULL, 0);
	const struct machine m = {.root = root};

	assert_int_equal(fs_mkdirs(root, "etc/swupd/no-restart.d", 0755, NULL), 0);
	assert_int_equal(fs_mkdirs(root, "usr/share/defaults/swupd/no-restart.d", 0755, NULL), 0);
	assert_int_equal(fs_mkdirs(root, "etc/clr-service-restart", 0755, NULL), 0);
	assert_int_equal(symlinkat("nowhere", root, "etc/swupd/no-restart.d/a.service"), 0);
	assert_int_equal(fs_save(root, "usr/share/defaults/swupd/no-restart.d/t@.service", "", 0, 0644, NULL), 0);
	assert_int_equal(symlinkat("/dev/null", root, "etc/clr-service-restart/b.service"), 0);
	assert_int_equal(symlinkat("/usr/lib/systemd/system/c.service", root, "etc/clr-service-restart/c.service"), 0);
	expect(&m, "a.service", "/etc/swupd/no-restart.d has its name");
	expect(&m, "t@x.service", "/usr/share/defaults/swupd/no-restart.d has its name");
	expect(&m, "t@.service", "/usr/share/defaults/swupd/no-restart.d has its name");
	expect(&m, "t.service", NULL);
	expect(&m, "b.service", "/etc/clr-service-restart disallows it");
	expect(&m, "c.service", NULL);
	expect(&m, "dbus-broker.service", "every service talks over it");
	expect(&m, "user@1000.service", "it holds all that this user runs");
	expect(&m, "users.service", NULL);
}

TEST(reboot_is_needed_for_what_only_a_boot_loads)
{
	static const struct {
		const char *names[3], *reason;
	} cases[] = {
		{{"/usr/lib/kernel/guest/bzImage"}, "the kernel changed"},
		{{"/usr/lib/modules/6.1/a.ko", "/usr/lib/systemd/boot/efi/a.efi"},
		 "the kernel, the boot loader changed"},
		{{"/usr/lib/initrd-guest", "/boot/vmlinuz"}, "the kernel, the initrd changed"},
		{{"/usr/lib/kernel/install.d/50-depmod.install", "/usr/lib/kernel/install.conf"}, NULL},
		{{"/usr/lib/modules-load.d/a.conf", "/usr/lib/modules", "/usr/lib/systemd/systemd"}, NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(plan_freep) struct plan *p = plan_new(10, 20);
		for (size_t k = 0; k < ARRAY_LEN(cases[i].names) && cases[i].names[k]; k++)
			plan_remove(p, cases[i].names[k]);
		_cleanup_free_ char *reason = reboot_reason(p);
		if (cases[i].reason)
			assert_string_equal(reason, cases[i].reason);
		else
			assert_null(reason);
	}
}
