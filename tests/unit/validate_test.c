/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/between.h"
#include "mixer/step/diff.h"
#include "mixer/step/release.h"
#include "mixer/step/validate.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "tests/unit/elf.h"
#include "tests/unit/mixed.h"

#define LARGE 20000

/* app has a file that changes, and a small new one */
static void two_releases(struct mixed *x)
{
	_cleanup_free_ char *data = mixed_noise(LARGE, 1);

	mixed_begin(x);
	for (uint32_t release = 10; release <= 20; release += 10) {
		_cleanup_free_ char *text = xasprintf("VERSION_ID=%u", release);
		struct err e = ERR_INIT;
		data[100] = (char)release;
		mixed_bundle(x, "app", "os-core");
		mixed_file(x, "/usr/bin/app", 0755, data, LARGE);
		for (unsigned i = 0; i < 50; i++) {
			_cleanup_free_ char *path = xasprintf("/usr/share/app/%u", i);
			mixed_text(x, path, path);
		}
		if (release == 20)
			mixed_text(x, "/usr/share/app/new", "new");
		mixed_bundle(x, "os-core", "");
		mixed_text(x, "/usr/lib/os-release", text);
		mixed_link(x, "/usr/lib/link", "os-release");
		mixed_release(x, release, release - 10);
		if (release == 20) {
			_cleanup_(between_clear) struct between b = {0};
			assert_ok(between_open(&x->m, 10, 20, &b, &e), &e);
			assert_ok(diff_packs(&b, &e), &e);
			assert_ok(diff_manifests(&b, &e), &e);
		}
	}
}

static char *validated(const struct mixed *x, uint32_t release, bool quick)
{
	_cleanup_(strv_free) struct strv findings = {0};
	struct err e = ERR_INIT;

	assert_ok(validate_list(&x->m, release, quick, &findings, &e), &e);
	return strv_join(&findings, "; ");
}

static void expect(const struct mixed *x, bool quick, const char *part)
{
	_cleanup_free_ char *all = validated(x, 20, quick);

	if (!strstr(all, part))
		fail_msg("'%s' does not have '%s'", all, part);
}

TEST(validate_finds_nothing_wrong_with_what_mixer_made)
{
	struct mixed x;
	struct err e = ERR_INIT;

	two_releases(&x);
	for (uint32_t release = 10; release <= 20; release += 10) {
		_cleanup_free_ char *all = validated(&x, release, false);
		assert_string_equal(all, "");
	}
	assert_ok(validate(&x.m, 20, false, &e), &e);
	mixed_end(&x);
}

/* What a test breaks: below update/www. */
struct broken {
	const char *path;
	enum { REMOVE, CUT, FLIP, EMPTY } how;
	const char *finding, *quick; /* NULL: only reading it tells */
};

static const struct broken broken[] = {
	{"20/Manifest.MoM.sig", REMOVE, "20/Manifest.MoM.sig is missing", "is missing"},
	{"20/Manifest.MoM.sig", FLIP, "20/Manifest.MoM.sig: ", "20/Manifest.MoM.sig: "},
	{"20/Manifest.MoM.tar", CUT, "20/Manifest.MoM.tar", "20/Manifest.MoM.tar"},
	{"20/Manifest.app", FLIP, "20/Manifest.app is not what the MoM lists", "not what the MoM lists"},
	{"20/Manifest.app.tar", REMOVE, "20/Manifest.app.tar is missing", "is missing"},
	{"20/mixer.lock", FLIP, "20/mixer.lock is not what the MoM lists", "not what the MoM lists"},
	{"20/pack-app-from-0.tar", REMOVE, "20/pack-app-from-0.tar is missing", "is missing"},
	{"20/pack-app-from-0.tar", CUT, "20/pack-app-from-0.tar", NULL},
	{"20/pack-app-from-10.tar", CUT, "20/pack-app-from-10.tar", NULL},
	{"20/Manifest-app-delta-from-10", CUT, "20/Manifest-app-delta-from-10: ", NULL},
};

static void break_file(const struct mixed *x, const struct broken *b)
{
	_cleanup_free_ char *path = xasprintf("update/www/%s", b->path);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_load(x->config.dir, path, 1 << 24, &text, &e), &e);
	/* not in place: the cache has a link to it */
	assert_int_equal(unlinkat(x->config.dir, path, 0), 0);
	if (b->how == REMOVE)
		return;
	if (b->how == FLIP)
		text.data[text.len - 1] ^= 1;
	else
		text.len = b->how == CUT ? text.len * 2 / 3 : 0;
	assert_ok(fs_save_cache(x->config.dir, path, text.data, text.len, 0644, &e), &e);
}

TEST(validate_finds_what_is_damaged_or_missing)
{
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		struct mixed x;
		two_releases(&x);
		break_file(&x, &broken[i]);
		expect(&x, false, broken[i].finding);
		if (broken[i].quick) {
			expect(&x, true, broken[i].quick);
		} else {
			_cleanup_free_ char *quick = validated(&x, 20, true);
			assert_string_equal(quick, "");
		}
		mixed_end(&x);
	}
}

TEST(validate_finds_damaged_and_missing_fullfiles)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	two_releases(&x);
	assert_ok(fs_list(x.config.dir, "update/www/20/files", &names, &e), &e);
	assert_int_equal(names.n, 3); /* app, new, os-release */
	for (int how = REMOVE; how <= EMPTY; how++) {
		_cleanup_free_ char *name = xasprintf("20/files/%s", names.items[0]);
		_cleanup_free_ char *www = xasprintf("update/www/%s", name), *kept = xasprintf("%s.kept", www);
		assert_ok(fs_link_or_copy(x.config.dir, www, x.config.dir, kept, &e), &e);
		break_file(&x, &(struct broken){.path = name, .how = how});
		expect(&x, false, name);
		assert_int_equal(renameat(x.config.dir, kept, x.config.dir, www), 0);
	}
	_cleanup_free_ char *healed = validated(&x, 20, false);
	assert_string_equal(healed, "");
	mixed_end(&x);
}

static void copy_pack(const struct mixed *x, const char *from, const char *to)
{
	_cleanup_free_ char *a = xasprintf("update/www/20/%s", from), *b = xasprintf("update/www/20/%s", to);
	struct err e = ERR_INIT;

	assert_int_equal(unlinkat(x->config.dir, b, 0), 0);
	assert_ok(fs_link_or_copy(x->config.dir, a, x->config.dir, b, &e), &e);
}

TEST(validate_finds_packs_with_less_or_other_content)
{
	struct mixed x;

	two_releases(&x);
	copy_pack(&x, "pack-app-from-10.tar", "pack-app-from-0.tar");
	expect(&x, false, "20/pack-app-from-0.tar lacks /usr/");
	copy_pack(&x, "pack-os-core-from-0.tar", "pack-app-from-10.tar");
	expect(&x, false, "which the bundle has not");
	expect(&x, false, "20/pack-app-from-10.tar lacks /usr/bin/app and 1 more");
	mixed_end(&x);
}

TEST(validate_does_not_ask_for_packs_that_were_not_made)
{
	struct mixed x;

	two_releases(&x);
	assert_int_equal(unlinkat(x.config.dir, "update/www/20/pack-app-from-0.tar", 0), 0);
	assert_int_equal(unlinkat(x.config.dir, "update/www/20/pack-os-core-from-0.tar", 0), 0);
	_cleanup_free_ char *all = validated(&x, 20, false);
	assert_string_equal(all, "");
	mixed_end(&x);
}

static void add_elf(struct mixed *x, const char *path, uint16_t machine, const char *interpreter, const char *needed,
		    const char *runpath)
{
	_cleanup_(buf_free) struct buf elf = {0};

	elf_make(machine, interpreter, needed, runpath, &elf);
	mixed_file(x, path, 0755, elf.data, elf.len);
}

#define LIB "/usr/lib/x86_64-linux-gnu"

/* What is in the bundles of every case. */
static void add_base(struct mixed *x)
{
	mixed_bundle(x, "os-core", "");
	add_elf(x, LIB "/libc.so.6", EM_X86_64, NULL, "", NULL);
	add_elf(x, LIB "/private/libprivate.so", EM_X86_64, NULL, "", NULL);
	add_elf(x, LIB "/ld-linux.so.2", EM_X86_64, NULL, "", NULL);
	add_elf(x, "/usr/lib/libarm.so", EM_AARCH64, NULL, "", NULL);
	add_elf(x, LIB "/libreal.so.1.2", EM_X86_64, NULL, "", NULL);
	mixed_link(x, LIB "/libreal.so.1", "libreal.so.1.2");
	mixed_link(x, "/lib64", "usr/lib64");
	mixed_link(x, "/usr/lib64/ld-linux.so.2", "../lib/x86_64-linux-gnu/ld-linux.so.2");
	mixed_file(x, "/usr/bin/sh", 0755, "shell", 5);
	mixed_link(x, "/bin", "usr/bin");
	mixed_bundle(x, "stranger", "os-core");
	add_elf(x, LIB "/libstrange.so", EM_X86_64, NULL, "", NULL);
}

static const struct program_case {
	const char *interpreter, *needed, *runpath; /* of an ELF file */
	const char *script;                         /* or of a script */
	uint32_t mode;
	const char *link; /* or of a link */
	const char *want;
	const char *path; /* NULL: /usr/bin/it */
} programs[] = {
	{.interpreter = "/lib64/ld-linux.so.2", .needed = "libc.so.6 libreal.so.1", .want = ""},
	{.needed = "libgone.so.1", .want = "app: /usr/bin/it needs libgone.so.1, which is not there"},
	{.needed = "libarm.so", .want = ""}, /* something else may load it from elsewhere: a note */
	{.needed = "libprivate.so", .runpath = LIB "/private", .want = ""},
	{.needed = "libprivate.so", .runpath = "$ORIGIN/../lib/x86_64-linux-gnu/private", .want = ""},
	{.needed = "libprivate.so", .runpath = "/usr/${LIB}/private", .want = ""},
	{.needed = "libstrange.so", .want = "app: /usr/bin/it needs libstrange.so, which is not there"},
	{.interpreter = "/lib64/ld-gone.so",
	 .needed = "",
	 .want = "app: /usr/bin/it is run by /lib64/ld-gone.so, which is not there"},
	{.script = "#!/bin/sh\n", .mode = 0755, .want = ""},
	{.script = "#!/bin/gone\n", .mode = 0755, .want = "app: /usr/bin/it is run by /bin/gone, which is not there"},
	{.script = "#!/bin/gone\n", .mode = 0644, .want = ""},
	{.script = "#!/bin/gone\n", .mode = 0755, .path = "/usr/lib/python3.13/it.py", .want = ""},
	{.script = "#!/bin/gone\n",
	 .mode = 0755,
	 .path = "/usr/lib/it",
	 .want = "app: /usr/lib/it is run by /bin/gone, which is not there"},
	{.script = "#!/usr/bin/env gone\n",
	 .mode = 0755,
	 .want = "app: /usr/bin/it is run by /usr/bin/env, which is not there; app: /usr/bin/it is run by "
		 "/usr/bin/gone, which is not there"},
	{.script = "#!/etc/alternatives/awk\n", .mode = 0755, .want = ""},
	{.link = "sh", .want = ""},
	{.link = "/bin/sh", .want = ""},
	{.link = "gone", .want = "app: /usr/bin/it leads to gone, which is not there"},
	{.link = "it", .want = "app: /usr/bin/it leads to it, which is not there"},
	{.link = "../../../usr/lib", .want = ""},
	{.link = "/etc/alternatives/it", .want = ""},
	{.link = "../../run/it", .want = ""},
};

TEST(validate_finds_what_programs_lack)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
		const struct program_case *c = &programs[i];
		const char *path = c->path ? c->path : "/usr/bin/it";
		struct mixed x;
		mixed_begin(&x);
		mixed_bundle(&x, "app", "os-core");
		if (c->needed)
			add_elf(&x, path, EM_X86_64, c->interpreter, c->needed, c->runpath);
		else if (c->script)
			mixed_file(&x, path, c->mode, c->script, strlen(c->script));
		else
			mixed_link(&x, path, c->link);
		add_base(&x);
		mixed_release(&x, 10, 0);
		_cleanup_free_ char *got = validated(&x, 10, false);
		assert_string_equal(got, c->want);
		mixed_end(&x);
	}
}

TEST(validate_says_how_many_findings_there_are)
{
	struct mixed x;
	struct err e = ERR_INIT;

	mixed_begin(&x);
	mixed_bundle(&x, "os-core", "");
	mixed_link(&x, "/usr/a", "gone");
	mixed_link(&x, "/usr/b", "gone");
	mixed_release(&x, 10, 0);
	x.ui.json = true; /* keep the findings out of the tests' output */
	assert_fails(validate(&x.m, 10, true, &e), ERR_INCOMPLETE, &e, "release 10: 2 findings");
	mixed_end(&x);
}
