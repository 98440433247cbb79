/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/diff.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/between.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/file.h"
#include "swupd/content/update_file.h"
#include "tests/unit/mixed.h"
#include "tests/unit/test.h"

#define LARGE 20000
#define FILE  "update/www/20/update-from-10"

static void diff(struct mixed *x, struct update_index *index)
{
	_cleanup_(between_clear) struct between b = {0};
	struct err e = ERR_INIT;

	(void)unlinkat(x->config.dir, FILE, 0);
	(void)fs_remove_tree(x->m.cache, "sections", NULL);
	assert_ok(between_open(&x->m, 10, 20, &b, &e), &e);
	assert_ok(diff_update(&b, &e), &e);
	_cleanup_close_ int fd = openat(x->config.dir, FILE, O_RDONLY | O_CLOEXEC);
	assert_ok(update_load(fd, UPDATE_MEMORY, index, &e), &e);
	update_sort(index);
}

static bool has_base(const struct update_index *index, const char *content, size_t len)
{
	const struct attrs attrs = {.kind = KIND_FILE, .mode = 0644, .size = len};
	struct digest hash;

	file_hash_mem(&attrs, content, len, &hash);
	const size_t found = update_find(index, &hash, sizeof(hash));
	assert_int_not_equal(found, SIZE_MAX);
	const struct update_record r = update_record_at(index, found);
	return update_has_base(&r);
}

/* Of one file a byte changes, of another all; what both are in release 20. */
static void two_releases(struct mixed *x, char **little, char **all)
{
	*little = mixed_noise(LARGE, 1);
	*all = mixed_noise(LARGE, 2);
	for (uint32_t release = 10; release <= 20; release += 10) {
		mixed_bundle(x, "os-core", "");
		mixed_file(x, "/usr/share/little", 0644, *little, LARGE);
		mixed_file(x, "/usr/share/all", 0644, *all, LARGE);
		mixed_release(x, release, release - 10);
		if (release == 10) {
			(*little)[LARGE / 2]++;
			free(*all);
			*all = mixed_noise(LARGE, 3);
		}
	}
}

TEST(update_files_make_of_older_ones_only_what_gets_smaller)
{
	_cleanup_(buf_free) struct buf first = {0}, again = {0};
	_cleanup_free_ char *little = NULL, *all = NULL;
	struct err e = ERR_INIT;
	struct mixed x;

	mixed_begin(&x);
	two_releases(&x, &little, &all);
	for (int run = 0; run < 2; run++) {
		_cleanup_(update_index_clear) struct update_index index = {0};
		diff(&x, &index);
		assert_true(has_base(&index, little, LARGE));
		assert_false(has_base(&index, all, LARGE));
		/* decided once: the second time the cache knows both */
		assert_ok(fs_load(x.config.dir, FILE, 1 << 20, run ? &again : &first, &e), &e);
	}
	assert_int_equal(first.len, again.len);
	assert_memory_equal(first.data, again.data, first.len);
	mixed_end(&x);
}

static size_t count_objects(const struct update_index *index)
{
	size_t n = 0;

	for (size_t i = 0; i < index->n_sections; i++)
		n += index->sections[i].meta ? 0 : index->sections[i].n;
	return n;
}

/* At the same path, at others, twice in one of them: it is one record; a client of any of them can make it, so not of what only one of them had. */
TEST(update_files_have_an_object_of_several_bundles_once)
{
	_cleanup_free_ char *first = mixed_noise(LARGE, 1), *second = mixed_noise(LARGE, 2);
	_cleanup_(update_index_clear) struct update_index index = {0};
	struct mixed x;

	mixed_begin(&x);
	for (uint32_t release = 10; release <= 20; release += 10) {
		if (release == 20) {
			first[LARGE / 2]++;
			second[LARGE / 2]++;
		}
		mixed_bundle(&x, "a", "os-core");
		mixed_file(&x, "/same", 0644, first, LARGE);
		mixed_file(&x, "/a", 0644, second, LARGE);
		mixed_bundle(&x, "b", "os-core");
		mixed_file(&x, "/same", 0644, first, LARGE);
		if (release == 20) {
			mixed_file(&x, "/b", 0644, second, LARGE);
			mixed_file(&x, "/b-again", 0644, second, LARGE);
		}
		mixed_bundle(&x, "os-core", "");
		mixed_text(&x, "/stays", "stays");
		mixed_release(&x, release, release - 10);
	}
	diff(&x, &index);
	assert_int_equal(count_objects(&index), 2);
	assert_true(has_base(&index, first, LARGE));
	assert_false(has_base(&index, second, LARGE));
	mixed_end(&x);
}
