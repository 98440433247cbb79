/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"

static bool in_tree(const char *path)
{
	_cleanup_free_ char *full = xasprintf("%s/www/%s", test_vectors(), path);

	return access(full, F_OK) == 0;
}

/* frees path */
static void assert_there(char *path)
{
	if (!in_tree(path))
		fail_msg("%s: not in the vectors", path);
	free(path);
}

static void assert_path(char *path, const char *want)
{
	assert_string_equal(path, want);
	free(path);
}

TEST(layout_names_what_the_predecessor_published)
{
	struct digest from, to;

	assert_there(layout_latest(30));
	assert_there(layout_latest_version());
	assert_there(layout_release_file(20, "format"));
	assert_there(layout_mom(20));
	assert_there(layout_mom_signature(20));
	assert_there(layout_manifest(20, "os-core"));
	assert_there(layout_manifest_plain(20, "os-core"));
	assert_there(layout_manifest_delta(20, "os-core", 10));
	assert_there(layout_pack(20, "os-core", 10));
	assert_there(layout_pack(20, "os-core", 0));
	assert_int_equal(digest_parse("56a0108b5203131f4a3cbb9c300e3b65e3f2bfc7c56af7cdfb959c8db0ddfe1e", &from), 0);
	assert_int_equal(digest_parse("4edfe8d5b13bf3654174e35e4c9c3c035b75471b664879171e09b8fa82f9538a", &to), 0);
	assert_there(layout_delta(20, &from, &to));
}

TEST(layout_finds_the_fullfile_of_each_entry)
{
	_cleanup_free_ char *dir = xasprintf("%s/www/30", test_vectors());
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(buf_free) struct buf b = {0};
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct err e = ERR_INIT;

	assert_ok(fs_load(fd, "Manifest.editors", 1 << 20, &b, &e), &e);
	assert_ok(manifest_parse(b.data, b.len, false, 30, &m, &e), &e);
	assert_true(m->n_entries >= 5);
	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].kind != KIND_NONE)
			assert_there(layout_fullfile(m->entries[i].release, &m->entries[i].hash));
}

TEST(layout_of_our_own_files)
{
	assert_path(layout_freshness(30), "version/format30/freshness");
	assert_path(layout_root(2), "version/root/2");
	assert_path(layout_release_file(40, "lock"), "40/lock");
	assert_path(layout_latest(4294967295U), "version/format4294967295/latest");
}
