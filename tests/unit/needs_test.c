/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/needs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/between.h"
#include "mixer/step/diff.h"
#include "mixer/step/release.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "tests/unit/mixed.h"
#include "tests/unit/test.h"

static void make_release(struct mixed *x, uint32_t release, uint32_t previous)
{
	_cleanup_free_ char *noise = mixed_noise(20000, 7);

	mixed_bundle(x, "os-core", "");
	noise[19000] = (char)release;
	mixed_file(x, "/usr/bin/program", 0755, noise, 20000);
	mixed_text(x, "/usr/share/same", "the same");
	mixed_link(x, "/usr/share/link", release == 10 ? "ten" : "twenty");
	mixed_release(x, release, previous);
}

/* Releases 10 and 20 with everything between them, and what both need. */
static struct needs *two_releases(struct mixed *x)
{
	_cleanup_(release_freep) struct release *old = NULL, *new = NULL;
	_cleanup_(between_clear) struct between b = {0};
	struct err e = ERR_INIT;

	mixed_begin(x);
	make_release(x, 10, 0);
	make_release(x, 20, 10);
	assert_ok(between_open(&x->m, 10, 20, &b, &e), &e);
	assert_ok(diff_update(&b, &e), &e);
	assert_ok(diff_packs(&b, &e), &e);
	assert_ok(diff_manifests(&b, &e), &e);
	assert_ok(release_load(&x->m, 10, &old, &e), &e);
	assert_ok(release_load(&x->m, 20, &new, &e), &e);
	struct needs *n = needs_new();
	const struct release *const both[] = {old, new};
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		needs_add_mom(n, both[i]->mom);
		for (size_t k = 0; k < both[i]->n; k++)
			if (!needs_has_bundle(n, &both[i]->mom->entries[k]))
				needs_add_bundle(n, both[i]->mom->release, &both[i]->mom->entries[k],
						 both[i]->bundles[k]);
	}
	needs_add_classic(n, old->mom, new->mom);
	needs_add_update(n, 10, 20);
	/* what no client asks for */
	static const struct attrs attrs = {.kind = KIND_FILE, .mode = 0644, .size = 5};
	struct digest hash;
	file_hash_mem(&attrs, "other", 5, &hash);
	assert_ok(fs_save_cache(x->config.dir, "update/www/other", "other", 5, 0644, &e), &e);
	needs_add_other(n, 20, "other", &attrs, &hash);
	return n;
}

static int check(const struct mixed *x, const struct need *need, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("update/www/%s", need->path);
	_cleanup_close_ int fd = openat(x->config.dir, path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : need_check(need, fd, e);
}

TEST(needs_are_all_that_was_published_and_each_is_right)
{
	struct mixed x;
	_cleanup_(needs_freep) struct needs *n = two_releases(&x);
	struct err e = ERR_INIT;
	unsigned seen[NEED_OTHER + 1] = {0};

	for (size_t i = 0; i < needs_count(n); i++) {
		const struct need *need = needs_get(n, i);
		int r = check(&x, need, &e);
		if (r == -ENOENT && need_is_optional(need))
			continue;
		assert_ok(r, &e);
		seen[need->kind]++;
		assert_ptr_equal(needs_find(n, need->path), need);
	}
	for (size_t kind = 0; kind < ARRAY_LEN(seen); kind++)
		assert_true(seen[kind] > 0);
	/* the directories, the file that is the same, and two of each that changed */
	const uint32_t releases[] = {10, 20};
	for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
		_cleanup_free_ char *dir = xasprintf("update/www/%u/files", releases[i]);
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(fs_list(x.config.dir, dir, &names, &e), &e);
		for (size_t k = 0; k < names.n; k++) {
			_cleanup_free_ char *path = xasprintf("%u/files/%s", releases[i], names.items[k]);
			assert_non_null(needs_find(n, path));
		}
	}
	mixed_end(&x);
}

/* Whoever serves it may have anything there. */
TEST(needs_that_are_damaged_are_found)
{
	struct mixed x;
	_cleanup_(needs_freep) struct needs *n = two_releases(&x);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < needs_count(n); i++) {
		const struct need *need = needs_get(n, i);
		_cleanup_free_ char *path = xasprintf("update/www/%s", need->path);
		_cleanup_(buf_free) struct buf text = {0};
		if (need->kind == NEED_MOM || need->kind == NEED_TEXT || !fs_exists(x.config.dir, path))
			continue;
		assert_ok(fs_load(x.config.dir, path, 1 << 20, &text, &e), &e);
		const size_t lengths[] = {0, 1, text.len / 2, text.len - 1};
		for (size_t k = 0; k < ARRAY_LEN(lengths); k++) {
			/* a delta says nothing of its end, and a tar may end early */
			if ((need->kind == NEED_MANIFEST_DELTA || need->kind == NEED_PACK) && lengths[k] > 1)
				continue;
			assert_ok(fs_save_cache(x.config.dir, path, text.data, lengths[k], 0644, &e), &e);
			if (check(&x, need, &e) >= 0 && need->kind != NEED_FULLFILE && need->kind != NEED_MANIFEST_TAR)
				fail_msg("%s, %zu of %zu bytes", path, lengths[k], text.len);
			err_clear(&e);
		}
		assert_ok(fs_save_cache(x.config.dir, path, "<html>Please log in</html>", 26, 0644, &e), &e);
		assert_true(check(&x, need, NULL) < 0);
		/* any byte may be another: an error, or nothing that matters; never more than that */
		for (size_t at = 0; at < text.len; at += 1 + text.len / 40) {
			text.data[at] ^= 0x5a;
			assert_ok(fs_save_cache(x.config.dir, path, text.data, text.len, 0644, &e), &e);
			int r = check(&x, need, NULL);
			if (need->kind == NEED_MANIFEST || need->kind == NEED_ATTACHED || need->kind == NEED_OTHER)
				assert_int_equal(r, -ERR_DIGEST);
			text.data[at] ^= 0x5a;
		}
	}
	mixed_end(&x);
}
