/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "swupd/content/boot_entry.h"

TEST(boot_names_of_ours_have_a_release_and_perhaps_tries)
{
	static const struct {
		const char *file;
		struct boot_name want;
	} good[] = {
		{"limpid-10.conf", {.release = 10}},
		{"LIMPID-10.CONF", {.release = 10}},
		{"limpid-20+3.conf", {.release = 20, .counted = true, .left = 3}},
		{"limpid-20+2-1.conf", {.release = 20, .counted = true, .left = 2, .done = 1}},
		{"limpid-20+0-3.conf", {.release = 20, .counted = true, .left = 0, .done = 3}},
		{"limpid-20+0.conf", {.release = 20, .counted = true}},
	};
	static const char *const bad[] = {"limpid-.conf",
					  "limpid-0.conf",
					  "limpid-010.conf",
					  "limpid-10",
					  "limpid-10.conf~",
					  "limpid-rescue.conf",
					  "limpid-10-rescue.conf",
					  "other-10.conf",
					  "limpid-10+.conf",
					  "limpid-10+1-.conf",
					  "limpid-10+-1.conf",
					  "limpid-10 .conf",
					  "limpid-9999999999.conf",
					  ".conf",
					  ""};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct boot_name n;
		assert_true(boot_name_parse(good[i].file, "limpid", &n));
		assert_int_equal(n.release, good[i].want.release);
		assert_int_equal(n.counted, good[i].want.counted);
		assert_int_equal(n.left, good[i].want.left);
		assert_int_equal(n.done, good[i].want.done);
		if (i == 1)
			continue;
		_cleanup_free_ char *again = boot_name_format(&n, "limpid");
		assert_string_equal(again, good[i].file);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct boot_name n;
		if (boot_name_parse(bad[i], "limpid", &n))
			fail_msg("'%s' is taken for ours", bad[i]);
	}
}

TEST(boot_names_without_tries_are_what_loaders_call_them)
{
	static const char *const cases[][2] = {
		{"limpid-20+2-1.conf", "limpid-20"},
		{"limpid-20.conf", "limpid-20"},
		{"limpid-20", "limpid-20"},
		{"a+b.conf", "a+b"},
		{"c+1.conf", "c"},
		{"+1.conf", "+1"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *plain = boot_name_plain(cases[i][0]);
		assert_string_equal(plain, cases[i][1]);
	}
}

TEST(boot_entries_are_read_as_they_are_written)
{
	static const char text[] =
		"# kernel native\ntitle Limpid OS 20\nversion 20\nsort-key limpid\nlinux /limpid/10/linux\n"
		"initrd /limpid/20/initrd\noptions root=LABEL=x rootflags=subvol=root rw\n";
	_cleanup_(boot_text_clear) struct boot_text t = {0};
	_cleanup_(buf_free) struct buf again = {0};

	boot_text_parse(text, strlen(text), &t);
	assert_string_equal(t.kernel, "native");
	assert_int_equal(t.version, 20);
	assert_true(strv_has(&t.paths, "/limpid/10/linux") && strv_has(&t.paths, "/limpid/20/initrd"));
	boot_text_format(&t, &again);
	assert_string_equal(again.data, text);
}

TEST(boot_entries_of_others_name_files_by_any_key)
{
	static const char text[] = "title\tOther /limpid/1/linux\r\nlinux  /vmlinuz \r\ninitrd /a\ninitrd /b\n"
				   "devicetree-overlay /c /d\noptions one\noptions two\nversion x\nlinux\n#linux /no";
	_cleanup_(boot_text_clear) struct boot_text t = {0};

	boot_text_parse(text, strlen(text), &t);
	assert_null(t.kernel);
	assert_string_equal(t.linux_, "/vmlinuz");
	assert_string_equal(t.options, "one two");
	assert_int_equal(t.initrds.n, 2);
	for (const char *const *s = (const char *const[]){"/vmlinuz", "/a", "/b", "/c", "/d", NULL}; *s; s++)
		assert_true(strv_has(&t.paths, *s));
	assert_false(strv_has(&t.paths, "/no") || strv_has(&t.paths, "/limpid/1/linux"));
}

TEST(boot_options_get_another_subvolume)
{
	static const char *const cases[][3] = {
		{"root=a rootflags=subvol=root rw", "root", "root=a rootflags=subvol=next rw"},
		{"rootflags=noatime,subvol=/@/x,ssd", "/@/x", "rootflags=subvol=next,noatime,ssd"},
		{"rootflags=subvolid=256", NULL, "rootflags=subvol=next"},
		{"root=a  rw", NULL, "root=a rw rootflags=subvol=next"},
		{"rootflags=subvol=a rootflags=subvol=b", "b", "rootflags=subvol=next rootflags=subvol=next"},
		{"", NULL, "rootflags=subvol=next"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *have = boot_options_subvolume(cases[i][0]);
		_cleanup_free_ char *next = boot_options_with_subvolume(cases[i][0], "next");
		if (cases[i][1])
			assert_string_equal(have, cases[i][1]);
		else
			assert_null(have);
		assert_string_equal(next, cases[i][2]);
	}
}
