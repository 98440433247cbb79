/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/catalog.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/manifest.h"
#include "swupd/content/tar.h"
#include "tests/unit/server.h"
#include "tests/unit/test.h"
#include "tests/unit/world.h"

static char *vectors_www(void)
{
	return xasprintf("%s/www", test_vectors());
}

static void load_vector(const char *path, struct buf *out)
{
	_cleanup_free_ char *full = xasprintf("%s/www/%s", test_vectors(), path);

	assert_int_equal(fs_load(AT_FDCWD, full, 1 << 20, out, NULL), 0);
}

/* A machine at a misbehaving server of the predecessor's tree; trust is loaded. */
struct visit {
	struct world w;
	struct server *s;
};

static void visit_begin(struct visit *v)
{
	_cleanup_free_ char *www = vectors_www();
	struct err e = ERR_INIT;

	v->s = server_new(www);
	world_begin(&v->w, server_url(v->s));
	assert_ok(trust_load(&v->w.m, &e), &e);
}

static void visit_end(struct visit *v)
{
	world_end(&v->w);
	server_free(v->s);
}

static size_t count_files(int dirfd, const char *name)
{
	_cleanup_(strv_free) struct strv v = {0};

	if (fs_exists(dirfd, name))
		assert_int_equal(fs_list(dirfd, name, &v, NULL), 0);
	return v.n;
}

TEST(catalog_reads_the_predecessors_tree_from_a_directory)
{
	_cleanup_free_ char *www = vectors_www(), *full = realpath(www, NULL), *url = xasprintf("file://%s", full);
	struct err e = ERR_INIT;
	struct world w;
	uint32_t release;

	world_begin(&w, url);
	assert_ok(trust_load(&w.m, &e), &e);
	assert_ok(catalog_newest(&w.m, &release, &e), &e);
	assert_int_equal(release, 30);
	for (uint32_t r = 10; r <= 30; r += 10) {
		struct manifest *mom = NULL;
		struct catalog *c = NULL;
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(catalog_mom(&w.m, r, &mom, &e), &e);
		assert_int_equal(mom->release, r);
		assert_ok(catalog_check_format(&w.m, mom, &e), &e);
		for (size_t i = 0; i < mom->n_entries; i++)
			strv_add(&names, mom->entries[i].name);
		assert_ok(catalog_load(&w.m, mom, &names, true, NULL, NULL, &c, &e), &e);
		assert_int_equal(c->n, names.n);
		for (size_t i = 0; i < c->n; i++)
			assert_ptr_equal(catalog_find(c, c->names[i]), c->manifests[i]);
		catalog_free(c);
	}
	world_end(&w);
}

TEST(catalog_newest_remembers_only_what_was_signed)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct visit v;
	uint32_t release = 0;

	visit_begin(&v);
	v.w.opts.nosigcheck_latest = true;
	assert_ok(catalog_newest(&v.w.m, &release, &e), &e);
	assert_int_equal(release, 30);
	assert_false(fs_exists(v.w.m.data, "seen"));
	assert_int_equal(server_requests_of(v.s, "/version/format30/latest.sig"), 0);
	v.w.opts.nosigcheck_latest = false;
	assert_ok(catalog_newest(&v.w.m, &release, &e), &e);
	assert_int_equal(fs_load(v.w.m.data, "seen", 1000, &text, NULL), 0);
	assert_string_equal(text.data, "format 30 release 30 time 0 freshness 0\n");
	assert_ok(catalog_newest_any(&v.w.m, &release, &e), &e);
	assert_int_equal(release, 30);
	assert_int_equal(server_strange(v.s), 0);
	visit_end(&v);
}

TEST(catalog_newest_refuses_what_is_not_signed)
{
	static const struct page wrong[] = {
		{.path = "/version/format30/latest.sig", .status = 404, .body = ""},
		{.path = "/version/format30/latest.sig", .body = "x", .len = 1},
		{.path = "/version/format30/latest", .body = "999\n", .len = 4},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct visit v;
		uint32_t release;
		visit_begin(&v);
		server_put(v.s, wrong[i]);
		assert_fails(catalog_newest(&v.w.m, &release, &e), ERR_SIGNATURE, &e, "latest");
		assert_false(fs_exists(v.w.m.data, "seen"));
		visit_end(&v);
	}
}

TEST(catalog_newest_says_that_the_format_is_not_there)
{
	struct err e = ERR_INIT;
	struct visit v;
	uint32_t release;

	visit_begin(&v);
	v.w.m.format = 77;
	assert_fails(catalog_newest(&v.w.m, &release, &e), ERR_CONNECT, &e, "format77/latest");
	visit_end(&v);
}

TEST(catalog_newest_refuses_to_go_back)
{
	static const char seen[] = "format 29 release 7 time 0 freshness 0\nformat 30 release 40 time 0 freshness 0\n";
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;
	struct visit v;
	uint32_t release;

	visit_begin(&v);
	assert_int_equal(fs_save(v.w.m.data, "seen", seen, strlen(seen), 0644, NULL), 0);
	assert_int_equal(catalog_newest(&v.w.m, &release, &e), -ERR_STALE);
	assert_non_null(strstr(e.text, "release 30"));
	assert_non_null(strstr(e.text, "release 40"));
	assert_non_null(strstr(e.hint, "--version"));
	err_clear(&e);
	assert_int_equal(fs_load(v.w.m.data, "seen", 1000, &text, NULL), 0);
	assert_string_equal(text.data, seen);
	visit_end(&v);
}

TEST(catalog_mom_comes_from_the_cache_the_second_time)
{
	struct err e = ERR_INIT;
	struct visit v;

	visit_begin(&v);
	for (int i = 0; i < 2; i++) {
		struct manifest *mom = NULL;
		assert_ok(catalog_mom(&v.w.m, 20, &mom, &e), &e);
		assert_int_equal(mom->n_entries, 6);
		manifest_free(mom);
		assert_int_equal(server_requests(v.s), 1);
	}
	visit_end(&v);
}

TEST(catalog_mom_fetches_a_damaged_copy_again)
{
	struct err e = ERR_INIT;
	struct visit v;

	visit_begin(&v);
	for (unsigned i = 0; i < 4; i++) {
		struct manifest *mom = NULL;
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(catalog_mom(&v.w.m, 30, &mom, &e), &e);
		manifest_free(mom);
		assert_int_equal(server_requests_of(v.s, "/30/Manifest.MoM.tar"), i + 1);
		/* the text and its signature, cut short or gone */
		assert_int_equal(fs_list(v.w.m.cache, "mom", &names, NULL), 0);
		assert_int_equal(names.n, 2);
		_cleanup_free_ char *name = xasprintf("%s/mom/%s", v.w.cache, names.items[i / 2]);
		assert_int_equal(i % 2 ? unlink(name) : truncate(name, 100), 0);
	}
	visit_end(&v);
}

/* Serve a MoM tar of these members instead of release 30's. */
static int mom_of(struct visit *v, const char *const *names, const struct buf *texts, size_t n, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0};
	struct manifest *mom = NULL;

	assert_ok(tar_write_texts(names, texts, n, CODEC_NONE, 0, &tar, e), e);
	server_put(v->s, (struct page){.path = "/30/Manifest.MoM.tar", .body = tar.data, .len = tar.len});
	int r = catalog_mom(&v->w.m, 30, &mom, e);
	server_put(v->s, (struct page){.path = "/30/Manifest.MoM.tar"});
	manifest_free(mom);
	return r;
}

TEST(catalog_mom_is_believed_only_with_its_signature)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig", "Manifest.os-core"};
	struct buf texts[3] = {0};
	struct err e = ERR_INIT;
	struct visit v;

	visit_begin(&v);
	load_vector("30/Manifest.MoM", &texts[0]);
	load_vector("30/Manifest.MoM.sig", &texts[1]);
	load_vector("10/Manifest.os-core", &texts[2]);

	/* a member that nobody asked for */
	assert_fails(mom_of(&v, names, texts, 3, &e), ERR_MOM, &e, "Manifest.MoM.tar");
	/* a changed byte */
	texts[0].data[10] ^= 1;
	assert_int_equal(mom_of(&v, names, texts, 2, &e), -ERR_SIGNATURE);
	err_clear(&e);
	texts[0].data[10] ^= 1;
	/* the MoM of another release, rightly signed */
	load_vector("20/Manifest.MoM", &texts[0]);
	load_vector("20/Manifest.MoM.sig", &texts[1]);
	assert_fails(mom_of(&v, names, texts, 2, &e), ERR_MOM, &e, "release 30");
	/* none at all */
	assert_fails(mom_of(&v, names + 1, texts + 1, 1, &e), ERR_MOM, &e, "no Manifest.MoM");
	/* nothing of all that was kept */
	assert_int_equal(count_files(v.w.m.cache, "mom") + count_files(v.w.m.cache, "manifest"), 0);
	/* the signature lies beside the tar */
	load_vector("30/Manifest.MoM", &texts[0]);
	assert_ok(mom_of(&v, names, texts, 1, &e), &e);
	world_forget_cache(&v.w);
	/* also when the one inside is not good */
	assert_ok(mom_of(&v, names, texts, 2, &e), &e);
	world_forget_cache(&v.w);
	/* not signed */
	server_put(v.s, (struct page){.path = "/30/Manifest.MoM.sig", .status = 404, .body = ""});
	assert_fails(mom_of(&v, names, texts, 1, &e), ERR_SIGNATURE, &e, "not signed");
	v.w.opts.nosigcheck = true;
	assert_ok(mom_of(&v, names, texts, 1, &e), &e);
	/* what was taken unsigned is no evidence later */
	v.w.opts.nosigcheck = false;
	assert_fails(mom_of(&v, names, texts, 1, &e), ERR_SIGNATURE, &e, "not signed");
	for (size_t i = 0; i < 3; i++)
		buf_free(&texts[i]);
	visit_end(&v);
}

TEST(catalog_mom_says_that_there_is_none)
{
	struct manifest *mom = NULL;
	struct err e = ERR_INIT;
	struct visit v;

	visit_begin(&v);
	assert_fails(catalog_mom(&v.w.m, 1234, &mom, &e), ERR_MOM, &e, "release 1234");
	server_put(v.s, (struct page){.path = "/30/Manifest.MoM.tar", .body = "<html>log in</html>", .len = 19});
	assert_fails(catalog_mom(&v.w.m, 30, &mom, &e), ERR_MOM, &e, "release 30");
	visit_end(&v);
}

static int load_names(struct visit *v, uint32_t release, const char *names, bool also_add, const struct catalog *base,
		      struct strv *missing, struct catalog **out, struct err *e)
{
	_cleanup_(strv_free) struct strv list = {0};
	struct manifest *mom = NULL;

	assert_ok(catalog_mom(&v->w.m, release, &mom, e), e);
	strv_split(&list, names, " ");
	return catalog_load(&v->w.m, mom, &list, also_add, base, missing, out, e);
}

TEST(catalog_load_follows_includes_and_wishes)
{
	_cleanup_(strv_free) struct strv missing = {0};
	struct err e = ERR_INIT;
	struct catalog *c = NULL;
	struct visit v;

	visit_begin(&v);
	assert_ok(load_names(&v, 30, "newbundle", false, NULL, NULL, &c, &e), &e);
	assert_int_equal(c->n, 4);
	assert_string_equal(c->names[0], "editors");
	assert_string_equal(c->names[1], "libs");
	assert_string_equal(c->names[2], "newbundle");
	assert_string_equal(c->names[3], "os-core");
	assert_int_equal(catalog_find(c, "newbundle")->release, 20);
	assert_null(catalog_find(c, "extras"));
	catalog_free(c);
	/* all of it is in the cache now, but for extras */
	unsigned before = server_requests(v.s);
	assert_ok(load_names(&v, 30, "newbundle nonsense", true, NULL, &missing, &c, &e), &e);
	assert_int_equal(c->n, 5);
	assert_non_null(catalog_find(c, "extras"));
	assert_int_equal(missing.n, 1);
	assert_string_equal(missing.items[0], "nonsense");
	assert_int_equal(server_requests(v.s), before + 1);
	catalog_free(c);
	assert_fails(load_names(&v, 30, "nonsense", false, NULL, NULL, &c, &e), ERR_BUNDLE, &e, "nonsense");
	visit_end(&v);
}

TEST(catalog_load_has_one_line_for_each_path)
{
	struct err e = ERR_INIT;
	struct catalog *c = NULL;
	struct visit v;
	size_t n = 0;

	visit_begin(&v);
	assert_ok(load_names(&v, 20, "libs", false, NULL, NULL, &c, &e), &e);
	const struct manifest *m = catalog_find(c, "libs");
	for (size_t i = 0; i < m->n_entries; i++)
		if (strcmp(m->entries[i].name, "/usr/lib/libopt.so.1") == 0) {
			assert_int_equal(m->entries[i].variant % 4 == 3 || m->entries[i].variant == 11, 1);
			n++;
		}
	/* another root than "/" gets the one for every CPU */
	assert_int_equal(n, 1);
	catalog_free(c);
	visit_end(&v);
}

TEST(catalog_load_takes_deltas_from_an_older_release)
{
	struct err e = ERR_INIT;
	struct catalog *old = NULL, *c = NULL;
	struct visit v;

	visit_begin(&v);
	assert_ok(load_names(&v, 10, "editors extras os-core-update", false, NULL, NULL, &old, &e), &e);
	/* a damaged one is no reason to stop */
	server_put(v.s, (struct page){.path = "/30/Manifest-libs-delta-from-10", .body = "BSDIFF4U", .len = 8});
	assert_ok(load_names(&v, 30, "editors extras os-core-update", false, old, NULL, &c, &e), &e);
	assert_int_equal(c->n, 5);
	assert_int_equal(server_requests_of(v.s, "/30/Manifest-editors-delta-from-10"), 1);
	assert_int_equal(server_requests_of(v.s, "/30/Manifest.editors.tar"), 0);
	assert_int_equal(server_requests_of(v.s, "/30/Manifest.extras.tar"), 0);
	assert_int_equal(server_requests_of(v.s, "/30/Manifest.libs.tar"), 1);
	/* the predecessor published none for it */
	assert_int_equal(server_requests_of(v.s, "/30/Manifest-os-core-delta-from-10"), 1);
	assert_int_equal(server_requests_of(v.s, "/30/Manifest.os-core.tar"), 1);
	/* the same in both releases */
	assert_int_equal(server_requests_of(v.s, "/10/Manifest.os-core-update.tar"), 1);
	assert_int_equal(count_files(v.w.m.cache, "download"), 0);
	catalog_free(old);
	catalog_free(c);
	visit_end(&v);
}

TEST(catalog_load_asks_again_for_a_manifest_that_is_damaged_in_the_cache)
{
	struct err e = ERR_INIT;
	struct catalog *c = NULL;
	struct visit v;

	visit_begin(&v);
	for (unsigned i = 1; i <= 2; i++) {
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(load_names(&v, 30, "os-core", false, NULL, NULL, &c, &e), &e);
		size_t entries = catalog_find(c, "os-core")->n_entries;
		assert_int_equal(entries, 35);
		catalog_free(c);
		assert_int_equal(server_requests_of(v.s, "/30/Manifest.os-core.tar"), i);
		/* cut at the end of a line, as a crash may leave it: the predecessor took missing lines for deletions */
		assert_int_equal(fs_list(v.w.m.cache, "manifest", &names, NULL), 0);
		_cleanup_free_ char *name = xasprintf("%s/manifest/%s", v.w.cache, names.items[0]);
		_cleanup_(buf_free) struct buf text = {0};
		assert_int_equal(fs_load(AT_FDCWD, name, 1 << 20, &text, NULL), 0);
		text.data[text.len - 1] = '\0';
		assert_int_equal(truncate(name, strrchr(text.data, '\n') + 1 - text.data), 0);
	}
	visit_end(&v);
}

/* What a mirror serves for os-core's manifest of release 30. */
static int bundle_of(struct visit *v, const char *const *names, const struct buf *texts, size_t n, struct err *e)
{
	_cleanup_(buf_free) struct buf tar = {0};
	struct catalog *c = NULL;

	assert_ok(tar_write_texts(names, texts, n, CODEC_NONE, 0, &tar, e), e);
	server_put(v->s, (struct page){.path = "/30/Manifest.os-core.tar", .body = tar.data, .len = tar.len});
	return load_names(v, 30, "os-core", false, NULL, NULL, &c, e);
}

TEST(catalog_load_refuses_a_forged_manifest)
{
	static const char *const names[] = {"Manifest.os-core", "../mom", "manifest"};
	struct buf texts[3] = {0};
	struct err e = ERR_INIT;
	struct visit v;

	visit_begin(&v);
	/* a true one, but not this */
	load_vector("20/Manifest.os-core", &texts[0]);
	assert_fails(bundle_of(&v, names, texts, 1, &e), ERR_MANIFEST, &e, "'os-core'");
	/* the right one with company */
	load_vector("30/Manifest.os-core", &texts[0]);
	buf_puts(&texts[1], "x");
	assert_fails(bundle_of(&v, names, texts, 2, &e), ERR_MANIFEST, &e, "'os-core'");
	/* a forged one with the right one behind it */
	struct buf twice[2] = {texts[0], texts[0]};
	twice[0] = (struct buf){0};
	buf_add(&twice[0], texts[0].data, texts[0].len);
	twice[0].data[300] ^= 1;
	assert_fails(bundle_of(&v, (const char *[]){names[0], names[0]}, twice, 2, &e), ERR_MANIFEST, &e, "'os-core'");
	buf_free(&twice[0]);
	assert_fails(bundle_of(&v, names + 2, texts, 1, &e), ERR_MANIFEST, &e, "'os-core'");
	assert_int_equal(count_files(v.w.m.cache, "manifest") + count_files(v.w.m.cache, "download"), 0);
	server_put(v.s, (struct page){.path = "/30/Manifest.os-core.tar", .status = 404, .body = ""});
	struct catalog *c = NULL;
	assert_fails(load_names(&v, 30, "os-core", false, NULL, NULL, &c, &e), ERR_MANIFEST, &e, "404");
	for (size_t i = 0; i < 3; i++)
		buf_free(&texts[i]);
	visit_end(&v);
}

TEST(catalog_load_starts_over_when_a_part_was_of_something_else)
{
	struct err e = ERR_INIT;
	struct catalog *c = NULL;
	struct visit v;

	visit_begin(&v);
	assert_ok(load_names(&v, 30, "os-core", false, NULL, NULL, &c, &e), &e);
	char hex[DIGEST_HEX];
	digest_format(&manifest_find(c->mom, "os-core")->hash, hex);
	catalog_free(c);
	world_forget_cache(&v.w);
	assert_int_equal(fs_mkdirs(v.w.m.cache, "download", 0700, NULL), 0);
	_cleanup_free_ char *part = xasprintf("download/manifest-os-core-%.16s.tar.part", hex);
	assert_int_equal(fs_save_cache(v.w.m.cache, part, "garbage", 7, 0600, NULL), 0);
	assert_ok(load_names(&v, 30, "os-core", false, NULL, NULL, &c, &e), &e);
	assert_int_equal(server_requests_of(v.s, "/30/Manifest.os-core.tar"), 3);
	catalog_free(c);
	visit_end(&v);
}

TEST(catalog_bundle_gives_one_manifest)
{
	struct manifest *mom = NULL, *m = NULL;
	struct err e = ERR_INIT;
	struct visit v;

	visit_begin(&v);
	assert_ok(catalog_mom(&v.w.m, 30, &mom, &e), &e);
	assert_ok(catalog_bundle(&v.w.m, mom, "os-core-update", &m, &e), &e);
	assert_int_equal(m->release, 10);
	assert_fails(catalog_bundle(&v.w.m, mom, "nonsense", &m, &e), ERR_BUNDLE, &e, "release 30 has no bundle");
	manifest_free(m);
	manifest_free(mom);
	visit_end(&v);
}

TEST(catalog_check_format_compares_numbers_not_digits)
{
	struct err e = ERR_INIT;
	struct manifest mom = {.format = 30, .release = 20};
	struct machine m = {.format = 3};

	assert_fails(catalog_check_format(&m, &mom, &e), ERR_MANIFEST, &e, "of format 30");
	m.format = 0; /* staging */
	assert_ok(catalog_check_format(&m, &mom, &e), &e);
}

TEST(catalog_refuses_names_that_lead_outside)
{
	static const char *const names[] = {"/usr/../../etc/passwd", "/var/..", "usr/bin/x", "/usr//bin", "/"};
	struct test_key key;
	struct tree t;
	struct err e = ERR_INIT;

	test_key_make(&key, "A");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct entry bad = {
			.name = names[i],
			.hash = {{1}},
			.release = 10,
			.kind = KIND_FILE,
			.size = SIZE_UNKNOWN,
		};
		struct manifest *mom = NULL, *m = NULL;
		struct world w;
		tree_begin(&t);
		tree_add_release(&t, &key, 10, &bad, 1);
		world_begin(&w, t.url);
		free((char *)w.opts.certpath);
		w.opts.certpath = xstrdup(key.cert);
		assert_ok(trust_load(&w.m, &e), &e);
		assert_ok(catalog_mom(&w.m, 10, &mom, &e), &e);
		assert_fails(catalog_bundle(&w.m, mom, "os-core", &m, &e), ERR_MANIFEST, &e, "line");
		manifest_free(mom);
		world_end(&w);
		tree_end(&t);
	}
}

/*
 * The predecessor took every member of the MoM's tar into its cache, and a hard link named after the signed hash for the proof that a manifest was verified
 * (spec/weaknesses.md, 1.1).
 */
TEST(catalog_takes_no_manifest_from_the_tar_of_the_mom)
{
	_cleanup_(buf_free) struct buf mom_text = {0}, sig = {0}, forged = {0};
	struct err e = ERR_INIT;
	struct visit v;

	visit_begin(&v);
	load_vector("30/Manifest.MoM", &mom_text);
	load_vector("30/Manifest.MoM.sig", &sig);
	load_vector("30/Manifest.os-core", &forged);
	forged.data[forged.len - 2] ^= 1;
	/* libarchive's writer is given text; the signature is left beside the tar */
	const struct hostile members[] = {
		{"Manifest.MoM", AE_IFREG, 0644, mom_text.data, NULL, false},
		{"Manifest.os-core", AE_IFREG, 0644, forged.data, NULL, false},
		{"Manifest.os-core.8037698b7b65f7535ec63893f871a084bd63688922f3ec8c0867f9fa094e60fa", AE_IFREG, 0644,
		 NULL, "Manifest.os-core", false},
	};
	static const size_t shown[] = {3, 2, 1};
	for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
		struct manifest *mom = NULL;
		_cleanup_(buf_free) struct buf tar = hostile_tar(members, shown[i]);
		server_put(v.s, (struct page){.path = "/30/Manifest.MoM.tar", .body = tar.data, .len = tar.len});
		int r = catalog_mom(&v.w.m, 30, &mom, &e);
		assert_int_equal(r, shown[i] == 1 ? 0 : -ERR_MOM);
		err_clear(&e);
		manifest_free(mom);
		assert_int_equal(count_files(v.w.m.cache, "manifest"), 0);
		assert_int_equal(count_files(v.w.m.cache, "mom"), shown[i] == 1 ? 2 : 0);
	}
	/* a hard link in the place of the MoM itself */
	const struct hostile link = {"Manifest.MoM", AE_IFREG, 0644, NULL, "/etc/passwd", false};
	_cleanup_(buf_free) struct buf tar = hostile_tar(&link, 1);
	struct manifest *mom = NULL;
	world_forget_cache(&v.w);
	server_put(v.s, (struct page){.path = "/30/Manifest.MoM.tar", .body = tar.data, .len = tar.len});
	assert_fails(catalog_mom(&v.w.m, 30, &mom, &e), ERR_MOM, &e, "Manifest.MoM.tar");
	visit_end(&v);
}
