/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/stage.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/catalog.h"
#include "swupd/client/plan.h"
#include "swupd/client/update_head.h"
#include "swupd/content/digest.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/layout.h"
#include "swupd/content/object.h"
#include "tests/unit/server.h"
#include "tests/unit/test.h"
#include "tests/unit/world.h"

#define ALL "os-core os-core-update editors libs extras"

/* The predecessor's content has several owners, and those are hashed. */
#define NEEDS_ROOT                                                                                                     \
	do {                                                                                                           \
		if (geteuid() != 0)                                                                                    \
			skip();                                                                                        \
	} while (0)

/* A machine, a misbehaving server of the predecessor's tree, what is installed and what is to be. */
struct scene {
	struct world w;
	struct server *s;
	struct catalog *old, *new;
	struct files old_files, new_files;
	struct plan *plan;
};

static void scene_begin(struct scene *c)
{
	_cleanup_free_ char *www = xasprintf("%s/www", test_vectors());
	struct err e = ERR_INIT;

	*c = (struct scene){0};
	c->s = server_new(www);
	world_begin(&c->w, server_url(c->s));
	assert_ok(trust_load(&c->w.m, &e), &e);
}

static void scene_end(struct scene *c)
{
	plan_free(c->plan);
	files_free(&c->old_files);
	files_free(&c->new_files);
	catalog_free(c->old);
	catalog_free(c->new);
	world_end(&c->w);
	server_free(c->s);
}

static struct catalog *load(struct scene *c, uint32_t release, const char *names)
{
	_cleanup_(strv_free) struct strv list = {0};
	struct manifest *mom = NULL;
	struct catalog *out = NULL;
	struct err e = ERR_INIT;

	strv_split(&list, names, " ");
	assert_ok(catalog_mom(&c->w.m, release, &mom, &e), &e);
	assert_ok(catalog_load(&c->w.m, mom, &list, false, NULL, NULL, &out, &e), &e);
	return out;
}

/* Everything that new has and old does not have so. */
static void make_plan(struct scene *c)
{
	c->plan = plan_new(0, c->new->mom->release);
	c->plan->old = c->old ? &c->old_files : NULL;
	for (size_t i = 0; i < c->new_files.n; i++) {
		const struct entry *want = c->new_files.items[i];
		const struct entry *have = c->old ? files_find(&c->old_files, want->name) : NULL;
		if (want->kind != KIND_NONE && !(have && digest_equal(&have->hash, &want->hash)))
			plan_put(c->plan, want, c->new_files.bundles[i]);
	}
}

static void aim(struct scene *c, uint32_t release, const char *names)
{
	c->new = load(c, release, names);
	files_of(c->new, &c->new_files);
	make_plan(c);
}

static bool staged_is_right(struct scene *c, const struct digest *want)
{
	char hex[DIGEST_HEX];
	struct digest real;

	digest_format(want, hex);
	_cleanup_free_ char *name = xasprintf(STAGE_DIR "/%s", hex);
	return file_hash_at(c->w.m.root, name, NULL, &real, NULL) >= 0 && digest_equal(&real, want);
}

static void assert_all_staged(struct scene *c)
{
	assert_true(c->plan->n_changes > 0);
	for (size_t i = 0; i < c->plan->n_changes; i++)
		if (!staged_is_right(c, &c->plan->changes[i].want->hash))
			fail_msg("'%s' is not staged", c->plan->changes[i].name);
	/* and the downloads are gone */
	_cleanup_(strv_free) struct strv left = {0};
	assert_int_equal(fs_list(c->w.m.cache, "download", &left, NULL), 0);
	assert_int_equal(left.n, 0);
}

static size_t count_staged(struct scene *c)
{
	_cleanup_(strv_free) struct strv names = {0};

	assert_int_equal(fs_list(c->w.m.root, STAGE_DIR, &names, NULL), 0);
	return names.n;
}

/* As install() would, without its care. */
static void place_all(struct scene *c)
{
	_cleanup_close_ int dir = fs_open_dir(c->w.m.root, STAGE_DIR, NULL);

	for (size_t i = 0; i < c->new_files.n; i++) {
		const struct entry *entry = c->new_files.items[i];
		char hex[DIGEST_HEX];
		struct stat st;
		if (entry->kind == KIND_NONE)
			continue;
		digest_format(&entry->hash, hex);
		assert_int_equal(fstatat(dir, hex, &st, AT_SYMLINK_NOFOLLOW), 0);
		if (entry->kind != KIND_DIR) {
			assert_int_equal(linkat(dir, hex, c->w.m.root, entry->name + 1, 0), 0);
			continue;
		}
		(void)mkdirat(c->w.m.root, entry->name + 1, 0700);
		assert_int_equal(fchownat(c->w.m.root, entry->name + 1, st.st_uid, st.st_gid, 0), 0);
		assert_int_equal(fchmodat(c->w.m.root, entry->name + 1, st.st_mode & 07777, 0), 0);
	}
	assert_int_equal(fs_remove_tree(c->w.m.root, STAGE_PARENT, NULL), 0);
}

/* Have release installed, and nothing in the cache. */
static void settle_in(struct scene *c, uint32_t release, const char *names)
{
	_cleanup_free_ char *www = xasprintf("%s/www", test_vectors());
	_cleanup_free_ char *full = realpath(www, NULL), *url = xasprintf("file://%s", full);
	struct err e = ERR_INIT;

	world_go_to(&c->w, url);
	aim(c, release, names);
	assert_ok(stage(&c->w.m, c->plan, NULL, c->new, &e), &e);
	place_all(c);
	plan_free(take(c->plan));
	c->old = take(c->new);
	c->old_files = c->new_files;
	c->new_files = (struct files){0};
	world_forget_cache(&c->w);
	world_go_to(&c->w, server_url(c->s));
}

static const struct entry *entry_of(struct scene *c, const char *name)
{
	const struct entry *entry = files_find(&c->new_files, name);

	assert_non_null(entry);
	return entry;
}

/* "/10/files/<hash>.tar"; caller frees */
static char *fullfile_of(const struct entry *entry)
{
	_cleanup_free_ char *path = layout_fullfile(entry->release, &entry->hash);

	return xasprintf("/%s", path);
}

/* Leave only the change of this path in the plan. */
static void only(struct scene *c, const char *name)
{
	const struct entry *entry = entry_of(c, name);

	c->plan->n_changes = 0;
	plan_put(c->plan, entry, "os-core");
}

TEST(stage_brings_every_release_of_the_predecessor)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;

	for (uint32_t release = 10; release <= 30; release += 10) {
		struct scene c;
		scene_begin(&c);
		aim(&c, release, ALL);
		assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
		assert_all_staged(&c);
		assert_int_equal(server_strange(c.s), 0);
		scene_end(&c);
	}
}

/* The head of an update file for the first n files of the plan: each, of size bytes, has a section of stored bytes; they begin so far apart. */
static struct update_head *lying(const struct plan *p, size_t n, uint64_t size, uint64_t stored, uint64_t apart)
{
	static const struct attrs shape = {.kind = KIND_FILE, .mode = 0644};
	struct update_head *h = xcalloc(1, sizeof(*h));
	_cleanup_(update_index_clear) struct update_index written = {0};
	struct update_index *x = &written;
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_close_ int fd = memfd_create("update", MFD_CLOEXEC);
	struct err e = ERR_INIT;

	x->from = h->from = 20;
	x->to = h->to = p->to;
	x->shapes = xmemdup(&shape, sizeof(shape));
	x->n_shapes = 1;
	x->prefix = sizeof(struct digest);
	x->records = xcalloc(n, sizeof(*x->records));
	x->sections = xcalloc(n, sizeof(*x->sections));
	for (size_t i = 0; i < p->n_changes && x->n_records < n; i++) {
		const size_t k = x->n_records;
		if (p->changes[i].want->kind != KIND_FILE)
			continue;
		x->records[k] =
			(struct update_record){.hash = p->changes[i].want->hash, .shape = x->shapes, .size = size};
		x->sections[k] = (struct update_section){.first = k, .n = 1};
		x->n_sections = ++x->n_records;
	}
	assert_int_equal(x->n_records, n);
	assert_ok(update_format(x, &text, &e), &e);
	assert_ok(fs_write_all(fd, text.data, text.len, &e), &e);
	assert_ok(update_load(fd, UPDATE_MEMORY, &h->index, &e), &e);
	for (size_t k = 0; k < n; k++) {
		h->index.sections[k].at = 100 + k * apart;
		h->index.sections[k].stored = stored;
	}
	h->fd = -1;
	h->path = layout_update(h->to, h->from);
	return h;
}

TEST(stage_asks_for_nothing_of_an_update_file_that_lies_about_sizes)
{
	NEEDS_ROOT;
	const struct {
		size_t n;
		uint64_t size, stored, apart;
		unsigned requests;
	} cases[] = {
		{1, 10UL << 20, 10UL << 20, 0, 1},
		{1, 10UL << 20, 512UL << 20, 0, 0}, /* larger than what it makes */
		{12, 1000, 1000, 1000, 1},
		{12, 1000, 1000, 1ULL << 40, 0}, /* more between them than there is room */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct scene c;
		scene_begin(&c);
		aim(&c, 30, ALL);
		struct update_head *h = lying(c.plan, cases[i].n, cases[i].size, cases[i].stored, cases[i].apart);
		_cleanup_free_ char *path = xasprintf("/%s", h->path);
		c.w.m.update = h;
		assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
		assert_all_staged(&c);
		assert_int_equal(server_requests_of(c.s, path), cases[i].requests);
		update_head_free(take(c.w.m.update));
		scene_end(&c);
	}
}

TEST(stage_needs_no_packs)
{
	NEEDS_ROOT;
	static const char *const bundles[] = {"os-core", "os-core-update", "editors", "libs", "extras"};
	struct err e = ERR_INIT;
	struct scene c;
	char paths[5][100];

	scene_begin(&c);
	aim(&c, 30, ALL);
	for (size_t i = 0; i < ARRAY_LEN(bundles); i++) {
		uint32_t release = catalog_find(c.new, bundles[i])->release;
		snprintf(paths[i], sizeof(paths[i]), "/%u/pack-%s-from-0.tar", release, bundles[i]);
		server_put(c.s, (struct page){.path = paths[i], .status = 404, .body = ""});
	}
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_all_staged(&c);
	/* directories and empty files of usual attributes are not asked for, and nothing twice */
	for (size_t i = 0; i < c.plan->n_changes; i++) {
		const struct entry *want = c.plan->changes[i].want;
		_cleanup_free_ char *path = fullfile_of(want);
		assert_true(server_requests_of(c.s, path) <= 1);
		if (strcmp(want->name, "/usr") == 0 || strcmp(want->name, "/usr/share/sticky-dir") == 0 ||
		    strcmp(want->name, "/usr/lib/empty-file") == 0)
			assert_int_equal(server_requests_of(c.s, path), 0);
	}
	scene_end(&c);
}

TEST(stage_updates_with_deltas)
{
	NEEDS_ROOT;
	static const uint32_t steps[][2] = {{10, 20}, {20, 30}, {10, 30}};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct scene c;
		scene_begin(&c);
		settle_in(&c, steps[i][0], ALL);
		aim(&c, steps[i][1], ALL);
		_cleanup_free_ char *pack = xasprintf("/%u/pack-editors-from-%u.tar", steps[i][1], steps[i][0]);
		_cleanup_free_ char *data = fullfile_of(entry_of(&c, "/usr/share/editors/big.dat"));
		assert_ok(stage(&c.w.m, c.plan, c.old, c.new, &e), &e);
		assert_all_staged(&c);
		assert_int_equal(server_requests_of(c.s, pack), 1);
		assert_int_equal(server_requests_of(c.s, data), 0);
		scene_end(&c);
	}
}

TEST(stage_does_not_apply_a_delta_to_a_changed_file)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;

	scene_begin(&c);
	settle_in(&c, 10, ALL);
	_cleanup_close_ int fd = openat(c.w.m.root, "usr/share/editors/big.dat", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "!", 1, 1000), 1);
	aim(&c, 30, ALL);
	_cleanup_free_ char *data = fullfile_of(entry_of(&c, "/usr/share/editors/big.dat"));
	assert_ok(stage(&c.w.m, c.plan, c.old, c.new, &e), &e);
	assert_all_staged(&c);
	assert_int_equal(server_requests_of(c.s, data), 1);
	scene_end(&c);
}

TEST(stage_copies_what_is_installed_under_another_name)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;

	scene_begin(&c);
	settle_in(&c, 20, ALL);
	aim(&c, 30, ALL);
	/* old-name of release 20 is new-name in 30 */
	only(&c, "/usr/share/libs/new-name");
	unsigned before = server_requests(c.s);
	assert_ok(stage(&c.w.m, c.plan, c.old, c.new, &e), &e);
	assert_all_staged(&c);
	assert_int_equal(server_requests(c.s), before);
	scene_end(&c);
}

TEST(stage_does_not_wait_for_a_fifo_in_the_place_of_a_file)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;

	scene_begin(&c);
	settle_in(&c, 20, ALL);
	aim(&c, 30, ALL);
	assert_int_equal(unlinkat(c.w.m.root, "usr/share/libs/old-name", 0), 0);
	assert_int_equal(mkfifoat(c.w.m.root, "usr/share/libs/old-name", 0644), 0);
	assert_ok(stage(&c.w.m, c.plan, c.old, c.new, &e), &e);
	assert_all_staged(&c);
	scene_end(&c);
}

TEST(stage_falls_through_a_damaged_pack)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;
	_cleanup_(buf_free) struct buf pack = {0};
	_cleanup_free_ char *path = xasprintf("%s/www/30/pack-editors-from-0.tar", test_vectors());

	scene_begin(&c);
	assert_int_equal(fs_load(AT_FDCWD, path, 1 << 20, &pack, NULL), 0);
	aim(&c, 30, ALL);
	server_put(c.s, (struct page){.path = "/30/pack-editors-from-0.tar", .body = pack.data, .len = pack.len / 2});
	server_put(c.s, (struct page){.path = "/30/pack-os-core-from-0.tar", .body = "<html>", .len = 6});
	server_put(c.s, (struct page){.path = "/30/pack-libs-from-0.tar", .body = "no", .len = 2, .status = 500});
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_all_staged(&c);
	scene_end(&c);
}

TEST(stage_fetches_a_few_files_without_their_pack)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;

	scene_begin(&c);
	aim(&c, 30, ALL);
	only(&c, "/usr/bin/hello");
	_cleanup_free_ char *path = fullfile_of(entry_of(&c, "/usr/bin/hello"));
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_all_staged(&c);
	assert_int_equal(server_requests_of(c.s, "/30/pack-os-core-from-0.tar"), 0);
	assert_int_equal(server_requests_of(c.s, path), 1);
	scene_end(&c);
}

TEST(stage_refuses_a_fullfile_of_other_content)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;
	_cleanup_(buf_free) struct buf wrong = {0};

	scene_begin(&c);
	aim(&c, 30, ALL);
	only(&c, "/usr/bin/hello");
	const struct entry *hello = entry_of(&c, "/usr/bin/hello");
	_cleanup_free_ char *path = fullfile_of(hello);
	const struct attrs a = {.kind = KIND_FILE, .mode = 04755, .size = 4};
	assert_ok(fullfile_write(&hello->hash, &a, "evil", CODEC_GZIP, 0, &wrong, &e), &e);
	/* once: it is fetched again */
	server_put(c.s, (struct page){.path = path, .body = wrong.data, .len = wrong.len});
	assert_fails(stage(&c.w.m, c.plan, NULL, c.new, &e), ERR_DIGEST, &e, "'/usr/bin/hello'");
	assert_int_equal(server_requests_of(c.s, path), 2);
	assert_int_equal(count_staged(&c), 0);
	server_put(c.s, (struct page){.path = path, .status = 404, .body = ""});
	assert_fails(stage(&c.w.m, c.plan, NULL, c.new, &e), ERR_DOWNLOAD, &e, "'/usr/bin/hello'");
	server_put(c.s, (struct page){.path = path});
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_all_staged(&c);
	scene_end(&c);
}

TEST(stage_starts_over_when_a_part_was_of_something_else)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;
	char hex[DIGEST_HEX];

	scene_begin(&c);
	aim(&c, 30, ALL);
	only(&c, "/usr/bin/hello");
	digest_format(&entry_of(&c, "/usr/bin/hello")->hash, hex);
	_cleanup_free_ char *part = xasprintf("download/%s.tar.part", hex);
	assert_int_equal(fs_save_cache(c.w.m.cache, part, "garbage", 7, 0600, NULL), 0);
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_all_staged(&c);
	scene_end(&c);
}

TEST(stage_trusts_no_leftover_unseen)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;
	char hex[DIGEST_HEX];

	scene_begin(&c);
	aim(&c, 30, ALL);
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	unsigned before = server_requests(c.s);
	/* whole: nothing is asked for */
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_int_equal(server_requests(c.s), before);
	/* cut short by a crash, and with something in a directory's place */
	digest_format(&entry_of(&c, "/usr/share/editors/big.dat")->hash, hex);
	_cleanup_free_ char *cut = xasprintf("%s/" STAGE_DIR "/%s", c.w.root, hex);
	assert_int_equal(truncate(cut, 1000), 0);
	digest_format(&entry_of(&c, "/usr/bin/hello")->hash, hex);
	_cleanup_free_ char *odd = xasprintf("%s/" STAGE_DIR "/%s", c.w.root, hex);
	assert_int_equal(unlink(odd), 0);
	assert_int_equal(mkdir(odd, 0755), 0);
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_all_staged(&c);
	assert_true(server_requests(c.s) > before);
	scene_end(&c);
}

TEST(stage_cleans_a_place_that_others_could_write)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;

	scene_begin(&c);
	aim(&c, 30, ALL);
	only(&c, "/usr/bin/hello");
	assert_int_equal(fs_mkdirs(c.w.m.root, STAGE_DIR, 0755, NULL), 0);
	assert_int_equal(fs_save(c.w.m.root, STAGE_DIR "/planted", "x", 1, 0644, NULL), 0);
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_all_staged(&c);
	assert_int_equal(count_staged(&c), 1);
	/* a link is not followed */
	assert_int_equal(fs_remove_tree(c.w.m.root, STAGE_PARENT, NULL), 0);
	assert_int_equal(symlinkat("/tmp", c.w.m.root, STAGE_PARENT), 0);
	assert_int_equal(stage(&c.w.m, c.plan, NULL, c.new, &e), -ERR_PATH);
	err_clear(&e);
	scene_end(&c);
}

TEST(stage_looks_for_space_before_the_first_byte)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;

	scene_begin(&c);
	aim(&c, 30, ALL);
	const struct entry huge = {
		.name = "/usr/huge",
		.hash = {{9}},
		.release = 30,
		.kind = KIND_FILE,
		.size = 1ULL << 50,
	};
	plan_put(c.plan, &huge, "os-core");
	unsigned before = server_requests(c.s);
	assert_fails(stage(&c.w.m, c.plan, NULL, c.new, &e), ERR_SPACE, &e, "the new content takes");
	assert_int_equal(server_requests(c.s), before);
	assert_int_equal(count_staged(&c), 0);
	/* who says to know better is told later */
	c.plan->unchecked_space = true;
	assert_fails(stage(&c.w.m, c.plan, NULL, c.new, &e), ERR_DOWNLOAD, &e, "'/usr/huge'");
	scene_end(&c);
}

/* A plan for one file of this content, and the name its object has in a pack. */
static const struct attrs tool = {.kind = KIND_FILE, .mode = 0755, .size = 4};
struct one_file {
	struct entry entry;
	char hex[DIGEST_HEX];
	char member[100];
};

static void plan_one_file(struct scene *c, struct one_file *f)
{
	f->entry = (struct entry){
		.name = "/usr/bin/tool",
		.release = 30,
		.kind = KIND_FILE,
		.size = SIZE_UNKNOWN,
	};
	file_hash_mem(&tool, "good", 4, &f->entry.hash);
	digest_format(&f->entry.hash, f->hex);
	snprintf(f->member, sizeof(f->member), "staged/%s", f->hex);
	/* extras becomes a bundle of nothing else, so that its pack is worth a request */
	struct manifest *m = catalog_find(c->new, "extras");
	m->entries[0] = f->entry;
	m->n_entries = 1;
	c->plan->n_changes = 0;
	plan_put(c->plan, &f->entry, "extras");
}

TEST(stage_takes_no_attribute_from_a_pack_that_the_hash_does_not_cover)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;
	struct one_file f;
	struct stat st;

	scene_begin(&c);
	aim(&c, 30, "extras");
	plan_one_file(&c, &f);
	const struct hostile members[] = {{f.member, AE_IFREG, 0755, "good", NULL, true}};
	_cleanup_(buf_free) struct buf pack = hostile_tar(members, ARRAY_LEN(members));
	server_put(c.s, (struct page){.path = "/30/pack-extras-from-0.tar", .body = pack.data, .len = pack.len});
	unsigned before = server_requests(c.s);
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_int_equal(server_requests(c.s), before + 2); /* for the way from nothing, and the pack */
	assert_all_staged(&c);
	_cleanup_free_ char *path = xasprintf("%s/" STAGE_DIR "/%s", c.w.root, f.hex);
	assert_int_equal(listxattr(path, NULL, 0), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_nlink, 1);
	scene_end(&c);
}

TEST(stage_writes_nothing_else_that_a_pack_has)
{
	NEEDS_ROOT;
	struct err e = ERR_INIT;
	struct scene c;
	struct one_file f;
	_cleanup_(buf_free) struct buf good = {0};
	_cleanup_(strv_free) struct strv names = {0};

	scene_begin(&c);
	aim(&c, 30, "extras");
	plan_one_file(&c, &f);
	_cleanup_free_ char *twin = xasprintf("manifest/Manifest.os-core.%s", f.hex);
	_cleanup_free_ char *delta = xasprintf("delta/10-20-%s-%s", f.hex, f.hex);
	const struct hostile members[] = {
		{"/etc/evil", AE_IFREG, 0755, "evil", NULL, false},
		{"../../evil", AE_IFREG, 0755, "evil", NULL, false},
		{"manifest/30/Manifest.os-core", AE_IFREG, 0644, "evil", NULL, false},
		{twin, AE_IFREG, 0644, NULL, "manifest/30/Manifest.os-core", false},
		{"staged/evil", AE_IFREG, 04755, "evil", NULL, false},
		{"staged/0000000000000000000000000000000000000000000000000000000000000001", AE_IFREG, 04755, "evil",
		 NULL, false},
		{f.member, AE_IFREG, 0755, NULL, "/etc/passwd", false},
		{f.member, AE_IFCHR, 0666, NULL, NULL, false},
		{f.member, AE_IFIFO, 0666, NULL, NULL, false},
		{f.member, AE_IFLNK, 0777, "/etc/passwd", NULL, false},
		{f.member, AE_IFDIR, 0755, NULL, NULL, false},
		{f.member, AE_IFREG, 04755, "good", NULL, false},
		{f.member, AE_IFREG, 0755, "evil", NULL, false},
		{delta, AE_IFREG, 0755, "BSDIFF4U", NULL, false},
	};
	_cleanup_(buf_free) struct buf pack = hostile_tar(members, ARRAY_LEN(members));
	_cleanup_free_ char *path = fullfile_of(&f.entry);
	assert_ok(fullfile_write(&f.entry.hash, &tool, "good", CODEC_NONE, 0, &good, &e), &e);
	server_put(c.s, (struct page){.path = "/30/pack-extras-from-0.tar", .body = pack.data, .len = pack.len});
	server_put(c.s, (struct page){.path = path, .body = good.data, .len = good.len});
	assert_ok(stage(&c.w.m, c.plan, NULL, c.new, &e), &e);
	assert_int_equal(server_requests_of(c.s, "/30/pack-extras-from-0.tar"), 1);
	assert_int_equal(server_requests_of(c.s, path), 1);
	assert_all_staged(&c);
	assert_int_equal(count_staged(&c), 1);
	assert_int_equal(fs_list(c.w.m.cache, ".", &names, NULL), 0);
	assert_int_equal(names.n, 3);
	assert_string_equal(names.items[0], "download");
	assert_string_equal(names.items[1], "manifest");
	assert_string_equal(names.items[2], "mom");
	scene_end(&c);
}
