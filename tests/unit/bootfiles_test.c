/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/bootfiles.h"

#include <fcntl.h>
#include <string.h>

#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/client/boot_partition.h"
#include "swupd/content/boot_entry.h"
#include "swupd/content/layout.h"
#include "tests/unit/test.h"
#include "tests/unit/world.h"

/* A machine with a directory for its boot partition. What is done with kernels, on a FAT, is in tests/func/bootfiles.bats. */
struct esp {
	struct world w;
	struct boot *b;
};

static void save(const struct esp *p, const char *path, const char *text)
{
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct err e = ERR_INIT;

	assert_ok(fs_mkdirs(p->w.m.root, dir, 0755, &e), &e);
	assert_ok(fs_save(p->w.m.root, path, text, strlen(text), 0644, &e), &e);
}

static void add_entry(const struct esp *p, const char *file, const char *linux_, const char *options)
{
	_cleanup_free_ char *path = xasprintf("efi/" BOOT_ENTRIES "/%s", file),
			    *text = xasprintf("title %s\nlinux %s\noptions %s\n", file, linux_, options);

	save(p, path, text);
}

/* files: names of entries, with blanks between; all of the same kernel */
static void begin(struct esp *p, const char *files)
{
	_cleanup_(strv_free) struct strv names = {0};

	*p = (struct esp){0};
	world_begin(&p->w, "");
	p->w.opts.boot = "/efi";
	save(p, INSTALLED_OS_RELEASE, "ID=limpid\n");
	save(p, "efi/limpid/10/linux", "kernel");
	strv_split(&names, files, " ");
	for (size_t i = 0; i < names.n; i++)
		add_entry(p, names.items[i], "/limpid/10/linux", "rootflags=subvol=root");
}

static void open_esp(struct esp *p)
{
	struct err e = ERR_INIT;

	assert_ok(boot_open(&p->w.m, &p->b, &e), &e);
	assert_non_null(p->b);
}

static void end(struct esp *p)
{
	boot_close(p->b);
	world_end(&p->w);
}

/* What is in a folder of the partition, with blanks between. */
static void assert_in(const struct esp *p, const char *dir, const char *want)
{
	_cleanup_free_ char *path = xasprintf("efi/%s", dir), *all = NULL;
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_list(p->w.m.root, path, &names, &e), &e);
	all = strv_join(&names, " ");
	assert_string_equal(all, want);
}

static bool is_there(const struct esp *p, const char *path)
{
	_cleanup_free_ char *below = xasprintf("efi/%s", path);

	return fs_exists(p->w.m.root, below);
}

/* The entry keeps its text whatever it is called. */
static void assert_title(const struct esp *p, const char *file, const char *title)
{
	_cleanup_free_ char *path = xasprintf("efi/" BOOT_ENTRIES "/%s", file), *want = xasprintf("title %s\n", title);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_load(p->w.m.root, path, 4096, &text, &e), &e);
	assert_true(text_starts(text.data, want));
}

struct counters {
	const char *before, *file, *after, *now; /* now: what file is called afterwards */
};

static void check_counters(const struct counters *c, int change(struct boot *, const char *, struct err *))
{
	struct err e = ERR_INIT;
	struct esp p;

	begin(&p, c->before);
	open_esp(&p);
	assert_ok(change(p.b, c->file, &e), &e);
	assert_in(&p, BOOT_ENTRIES, c->after);
	assert_title(&p, c->now, c->file);
	/* by its new name once more: nothing */
	assert_ok(change(p.b, c->now, &e), &e);
	assert_in(&p, BOOT_ENTRIES, c->after);
	assert_title(&p, c->now, c->file);
	if (strcmp(c->file, c->now) != 0 && !strstr(c->after, c->file))
		assert_fails(change(p.b, c->file, &e), ENOENT, &e, c->file);
	end(&p);
}

TEST(bootfiles_bless_an_entry_by_taking_its_tries_away)
{
	static const struct counters cases[] = {
		{"limpid-10.conf limpid-20+3.conf", "limpid-20+3.conf", "limpid-10.conf limpid-20.conf",
		 "limpid-20.conf"},
		{"limpid-10.conf limpid-20+2-1.conf", "limpid-20+2-1.conf", "limpid-10.conf limpid-20.conf",
		 "limpid-20.conf"},
		/* who went back to a bad one */
		{"limpid-10.conf limpid-20+0-3.conf", "limpid-20+0-3.conf", "limpid-10.conf limpid-20.conf",
		 "limpid-20.conf"},
		{"limpid-10.conf limpid-20.conf", "limpid-20.conf", "limpid-10.conf limpid-20.conf", "limpid-20.conf"},
		/* the one that was good before gives up its name, and nothing is lost */
		{"limpid-20.conf limpid-20+2-1.conf", "limpid-20+2-1.conf", "limpid-20+0-1.conf limpid-20.conf",
		 "limpid-20.conf"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_counters(&cases[i], boot_bless);
}

TEST(bootfiles_put_a_bad_entry_last_with_the_tries_it_had)
{
	static const struct counters cases[] = {
		{"limpid-10.conf limpid-20+3.conf", "limpid-20+3.conf", "limpid-10.conf limpid-20+0-3.conf",
		 "limpid-20+0-3.conf"},
		{"limpid-10.conf limpid-20+2-1.conf", "limpid-20+2-1.conf", "limpid-10.conf limpid-20+0-3.conf",
		 "limpid-20+0-3.conf"},
		{"limpid-10.conf limpid-20.conf", "limpid-20.conf", "limpid-10.conf limpid-20+0-1.conf",
		 "limpid-20+0-1.conf"},
		{"limpid-10.conf limpid-20+0-3.conf", "limpid-20+0-3.conf", "limpid-10.conf limpid-20+0-3.conf",
		 "limpid-20+0-3.conf"},
		/* each keeps a name */
		{"limpid-20+0-3.conf limpid-20+2-1.conf", "limpid-20+2-1.conf", "limpid-20+0-3.conf limpid-20+0-4.conf",
		 "limpid-20+0-4.conf"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_counters(&cases[i], boot_bad);
}

TEST(bootfiles_set_the_tries_of_an_entry_as_the_loader_would)
{
	struct err e = ERR_INIT;
	struct esp p;

	begin(&p, "limpid-10.conf limpid-20+3.conf");
	open_esp(&p);
	assert_ok(boot_set_tries(p.b, "limpid-20+3.conf", 2, 1, &e), &e);
	assert_in(&p, BOOT_ENTRIES, "limpid-10.conf limpid-20+2-1.conf");
	assert_title(&p, "limpid-20+2-1.conf", "limpid-20+3.conf");
	assert_ok(boot_set_tries(p.b, "limpid-20+2-1.conf", 2, 1, &e), &e);
	assert_in(&p, BOOT_ENTRIES, "limpid-10.conf limpid-20+2-1.conf");
	assert_fails(boot_set_tries(p.b, "limpid-20+3.conf", 1, 2, &e), ENOENT, &e, "limpid-20+3.conf");
	/* and back */
	assert_ok(boot_set_tries(p.b, "limpid-20+2-1.conf", 3, 0, &e), &e);
	assert_in(&p, BOOT_ENTRIES, "limpid-10.conf limpid-20+3.conf");
	end(&p);
}

TEST(bootfiles_list_bad_entries_last_else_the_newest_first)
{
	static const char *const want[] = {"limpid-20+2-1.conf", "limpid-10.conf", "limpid-30+0-3.conf"};
	struct boot_entry *list = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;
	struct esp p;

	begin(&p, "limpid-10.conf limpid-30+0-3.conf limpid-20+2-1.conf other-40.conf limpid-rescue.conf");
	open_esp(&p);
	assert_ok(boot_list(p.b, &list, &n, &e), &e);
	assert_int_equal(n, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_string_equal(list[i].file, want[i]);
		assert_string_equal(list[i].subvolume, "root");
		/* another root than / does not run */
		assert_false(list[i].running);
	}
	assert_true(list[0].counted);
	assert_int_equal(list[0].left, 2);
	assert_int_equal(list[0].done, 1);
	assert_false(list[1].counted);
	boot_entries_free(list, n);
	end(&p);
}

TEST(bootfiles_remove_an_entry_and_what_only_it_names)
{
	struct err e = ERR_INIT;
	struct esp p;

	begin(&p, "limpid-10.conf");
	save(&p, "efi/limpid/20/linux", "kernel 20");
	save(&p, "efi/limpid/30/linux", "kernel 30");
	save(&p, "efi/limpid/30/notes", "not ours");
	save(&p, "efi/limpid/40/linux-1", "another's");
	add_entry(&p, "limpid-20.conf", "/limpid/20/linux", "a");
	add_entry(&p, "limpid-20+3.conf", "/limpid/20/linux", "b");
	add_entry(&p, "limpid-30.conf", "/limpid/30/linux", "c");
	add_entry(&p, "rescue.conf", "/limpid/40/linux-1", "d");
	open_esp(&p);

	/* its kernel is also that of the other */
	assert_ok(boot_remove(p.b, "limpid-20+3.conf", &e), &e);
	assert_in(&p, BOOT_ENTRIES, "limpid-10.conf limpid-20.conf limpid-30.conf rescue.conf");
	assert_in(&p, "limpid/20", "linux");
	assert_ok(boot_remove(p.b, "limpid-20.conf", &e), &e);
	assert_false(is_there(&p, "limpid/20"));
	assert_ok(boot_remove(p.b, "limpid-30.conf", &e), &e);
	assert_in(&p, BOOT_ENTRIES, "limpid-10.conf rescue.conf");
	assert_in(&p, "limpid/30", "notes");
	assert_in(&p, "limpid/40", "linux-1");
	assert_in(&p, "limpid/10", "linux");
	end(&p);
}

TEST(bootfiles_refuse_to_remove_the_last_entry_or_one_that_is_not_ours)
{
	static const char *const others[] = {"limpid-20.conf", "limpid-rescue.conf", "other-5.conf", "limpid-7.conf",
					     "../loader.conf"};
	struct err e = ERR_INIT;
	struct esp p;

	begin(&p, "limpid-10.conf limpid-rescue.conf other-5.conf");
	/* a name of ours, but a kernel of others */
	add_entry(&p, "limpid-7.conf", "/vmlinuz", "x");
	save(&p, "efi/loader/loader.conf", "default limpid-*\n");
	open_esp(&p);
	assert_fails(boot_remove(p.b, "limpid-10.conf", &e), EBUSY, &e, "the last that is left");
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_fails(boot_remove(p.b, others[i], &e), ENOENT, &e, others[i]);
		assert_fails(boot_bless(p.b, others[i], &e), ENOENT, &e, others[i]);
		assert_fails(boot_bad(p.b, others[i], &e), ENOENT, &e, others[i]);
	}
	assert_in(&p, BOOT_ENTRIES, "limpid-10.conf limpid-7.conf limpid-rescue.conf other-5.conf");
	assert_in(&p, "limpid/10", "linux");
	assert_true(is_there(&p, "loader/loader.conf"));
	end(&p);
}

TEST(bootfiles_refuse_to_remove_the_entry_that_runs)
{
	_cleanup_free_ char *selected = boot_loader_variable("LoaderEntrySelected"), *options = NULL;
	_cleanup_(strv_free) struct strv words = {0}, rest = {0};
	_cleanup_(buf_free) struct buf cmdline = {0};
	struct err e = ERR_INIT;
	struct esp p;

	/* it would say that this machine runs something else */
	if (selected)
		skip();
	/* words that loaders add are no part of an entry */
	assert_ok(fs_load(AT_FDCWD, "/proc/cmdline", 1UL << 20, &cmdline, &e), &e);
	strv_split(&words, cmdline.data, " \t\n");
	for (size_t i = 0; i < words.n; i++) {
		if (text_starts(words.items[i], "initrd="))
			skip();
		strv_add(&rest, words.items[i]);
	}
	if (rest.n == 0)
		skip();
	options = strv_join(&rest, " ");
	begin(&p, "limpid-10.conf");
	add_entry(&p, "limpid-20+2-1.conf", "/limpid/10/linux", options);
	free(p.w.m.path);
	p.w.m.path = xstrdup("/");
	open_esp(&p);
	assert_fails(boot_remove(p.b, "limpid-20+2-1.conf", &e), EBUSY, &e, "limpid-20+2-1.conf runs");
	/* under its new name, too */
	assert_ok(boot_bless(p.b, "limpid-20+2-1.conf", &e), &e);
	assert_fails(boot_remove(p.b, "limpid-20.conf", &e), EBUSY, &e, "limpid-20.conf runs");
	assert_ok(boot_remove(p.b, "limpid-10.conf", &e), &e);
	assert_in(&p, BOOT_ENTRIES, "limpid-20.conf");
	assert_in(&p, "limpid/10", "linux");
	end(&p);
}
