/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>
#include <sys/stat.h>

#include "swupd/base/mem.h"
#include "swupd/content/file.h"

TEST(name_check_takes_absolute_names_with_any_printable_bytes)
{
	static const char *const names[] = {"/usr",         "/usr/bin/a b", "/usr/..a",         "/usr/a..",
					    "/usr/.hidden", "/-x/%n",       "/usr/caf\xc3\xa9", "/usr/latin1-\xe9",
					    "/usr/...",     "/usr/'\"\\;&"};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_ok(name_check(names[i], &e), &e);
}

TEST(name_check_refuses_what_could_lead_elsewhere)
{
	static const struct {
		const char *name, *why;
	} cases[] = {
		{"", "not absolute"},
		{"usr/bin", "not absolute"},
		{"/", "empty component"},
		{"/usr/", "empty component"},
		{"/usr//bin", "empty component"},
		{"//usr", "empty component"},
		{"/usr/.", "'.' or '..'"},
		{"/./usr", "'.' or '..'"},
		{"/usr/..", "'.' or '..'"},
		{"/var/../../x", "'.' or '..'"},
		{"/usr/a\tb", "the name '/usr/a?b' has a control character"},
		{"/usr/a\nb", "control character"},
		{"/usr/\x7f", "control character"},
		{"/usr/\x1b[2J", "the name '/usr/?[2J' has"},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_fails(name_check(cases[i].name, &e), ERR_PATH, &e, cases[i].why);
}

TEST(name_check_has_a_limit)
{
	char name[NAME_LIMIT + 2];
	struct err e = ERR_INIT;

	memset(name, 'a', sizeof(name));
	name[0] = '/';
	name[NAME_LIMIT] = '\0';
	assert_ok(name_check(name, &e), &e);
	name[NAME_LIMIT] = 'a';
	name[NAME_LIMIT + 1] = '\0';
	assert_fails(name_check(name, &e), ERR_PATH, &e, "…' is too long");
}

TEST(bundle_name_check_knows_its_letters)
{
	static const char *const good[] = {"os-core", "a", "c-basic_2.0+x", "MoMo", "fuller", "9p"};
	static const char *const bad[] = {"", ".a", "-a", "MoM", "full", "a/b", "a b", "..", "a\tb", "caf\xc3\xa9"};
	char name[BUNDLE_NAME_LIMIT + 2];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_ok(bundle_name_check(good[i], &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_fails(bundle_name_check(bad[i], &e), ERR_BUNDLE, &e, "name");
	memset(name, 'a', sizeof(name));
	name[BUNDLE_NAME_LIMIT + 1] = '\0';
	assert_fails(bundle_name_check(name, &e), ERR_BUNDLE, &e, "too long");
	name[BUNDLE_NAME_LIMIT] = '\0';
	assert_ok(bundle_name_check(name, &e), &e);
}

TEST(state_is_what_updates_leave_alone)
{
	static const char *const yes[] = {"/etc/x",  "/var/lib/swupd", "/home/u/.a",    "/root/x", "/srv/x",
					  "/run/x",  "/tmp/x",         "/dev/x",        "/proc/x", "/sys/x",
					  "/data/x", "/lost+found/x",  "/usr/src/other"};
	static const char *const no[] = {"/etc",      "/usr/etc/x",     "/variant",         "/database/x",
					 "/usr/src",  "/usr/src/debug", "/usr/src/debug/a", "/usr/src/kernel/Makefile",
					 "/usr/lib/x"};

	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		assert_true(name_is_state(yes[i]));
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		assert_false(name_is_state(no[i]));
	assert_true(name_is_state("/usr/src/debugger"));
}

TEST(boot_is_what_may_be_booted_from)
{
	static const char *const yes[] = {"/boot/x", "/usr/lib/modules/6.1/x.ko", "/usr/lib/kernel/a",
					  "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"};
	static const char *const no[] = {"/boot", "/bootx/y", "/usr/lib/modules-load.d/x", "/usr/lib/systemd/bootctl"};

	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		assert_true(name_is_boot(yes[i]));
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		assert_false(name_is_boot(no[i]));
}

TEST(attrs_are_what_is_hashed)
{
	struct err e = ERR_INIT;
	struct attrs a;
	struct stat st = {.st_mode = S_IFREG | 06755, .st_uid = 5, .st_gid = 6, .st_size = 7};

	assert_ok(attrs_from_stat(&st, &a, &e), &e);
	assert_true(a.kind == KIND_FILE && a.mode == 06755 && a.uid == 5 && a.gid == 6 && a.size == 7);
	st.st_mode = S_IFDIR | 01777;
	assert_ok(attrs_from_stat(&st, &a, &e), &e);
	assert_true(a.kind == KIND_DIR && a.mode == 01777 && a.size == 0);
	st.st_mode = S_IFLNK | 0777;
	assert_ok(attrs_from_stat(&st, &a, &e), &e);
	assert_true(a.kind == KIND_LINK && a.mode == 0 && a.size == 7);
	st.st_mode = S_IFBLK | 0600;
	assert_fails(attrs_from_stat(&st, &a, &e), ERR_FORMAT, &e, "not a file");
}
