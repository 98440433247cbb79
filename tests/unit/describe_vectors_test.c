/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/step/release.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/tar.h"
#include "tests/unit/mixed.h"

/*
 * The releases that the predecessor made, made again: the trees are put together from its manifests and fullfiles, and what describe() writes must be its
 * text but for our own lines. One path cannot come back: /usr/lib/libopt.so.1, which it has once for each kind of CPU.
 */
struct vectors {
	const char *tree; /* below test_vectors() */
	struct mixed x;
};

static void load(const char *tree, const char *path, struct buf *out)
{
	_cleanup_free_ char *full = xasprintf("%s/%s/%s", test_vectors(), tree, path);
	struct err e = ERR_INIT;

	assert_ok(fs_load(AT_FDCWD, full, MANIFEST_MAX, out, &e), &e);
}

static struct manifest *load_manifest(const char *tree, uint32_t release, const char *bundle)
{
	_cleanup_free_ char *path = layout_manifest_plain(release, bundle);
	_cleanup_(buf_free) struct buf text = {0};
	struct manifest *m = NULL;
	struct err e = ERR_INIT;

	load(tree, path, &text);
	assert_ok(manifest_parse(text.data, text.len, strcmp(bundle, "MoM") == 0, release, &m, &e), &e);
	return m;
}

/* As the fullfile says. */
static struct attrs attrs_of(const char *tree, const struct entry *x)
{
	_cleanup_free_ char *path = layout_fullfile(x->release, &x->hash),
			    *full = xasprintf("%s/%s/%s", test_vectors(), tree, path);
	_cleanup_close_ int fd = open(full, O_RDONLY | O_CLOEXEC);
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member member;
	struct err e = ERR_INIT;

	assert_true(fd >= 0);
	assert_ok(tar_open(fd, &t, &e), &e);
	assert_int_equal(tar_next(t, &member, &e), 1);
	return member.attrs;
}

static void add(struct tree *t, const char *tree, const struct entry *x)
{
	struct node n = {.path = x->name, .attrs = attrs_of(tree, x), .hash = x->hash, .origin = "test"};

	n.link = n.attrs.kind == KIND_LINK ? "somewhere" : NULL;
	(void)tree_add(t, &n);
}

/* A package brings the directories above its files, too. */
static void add_parents(struct tree *t)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	struct node dir = {.attrs = {.kind = KIND_DIR, .mode = 0755}, .origin = "test"};
	const size_t n = t->n;

	file_hash_mem(&dir.attrs, NULL, 0, &dir.hash);
	for (size_t i = 0; i < n; i++)
		(void)table_add_str(seen, t->nodes[i].path, t);
	for (size_t i = 0; i < n; i++) {
		const char *path = t->nodes[i].path;
		for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
			char *parent = arena_strndup(t->arena, path, (size_t)(slash - path));
			dir.path = parent;
			if (!table_add_str(seen, parent, t))
				(void)tree_add(t, &dir);
		}
	}
	tree_sort(t);
}

/* The bundle's own files, and what it also brought but left to a bundle that it includes. */
static void add_bundle(struct vectors *v, const struct entry *line, const struct manifest *m)
{
	mixed_bundle(&v->x, line->name, "");
	struct bundle_tree *b = &v->x.trees.bundles[v->x.trees.n - 1];

	b->experimental = line->status == STATUS_EXPERIMENTAL;
	for (size_t i = 0; i < m->n_includes; i++)
		strv_add(&b->includes, m->includes[i]);
	for (size_t i = 0; i < m->n_also_add; i++)
		strv_add(&b->also_add, m->also_add[i]);
	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].kind != KIND_NONE && m->entries[i].variant == 0)
			add(b->tree, v->tree, &m->entries[i]);
	/* tests/vectors/README.md: "listed by editors too" */
	if (strcmp(line->name, "editors") == 0) {
		_cleanup_(manifest_freep) struct manifest *libs = load_manifest(v->tree, 10, "libs");
		add(b->tree, v->tree, manifest_find(libs, "/usr/share/common/shared.txt"));
	}
	add_parents(b->tree);
}

static int bundle_by_name(const void *a, const void *b)
{
	return strcmp(((const struct bundle_tree *)a)->name, ((const struct bundle_tree *)b)->name);
}

static void add_bundles(struct vectors *v, uint32_t release)
{
	_cleanup_(manifest_freep) struct manifest *mom = load_manifest(v->tree, release, "MoM");

	v->x.trees.time = mom->timestamp;
	for (size_t i = 0; i < mom->n_entries; i++) {
		const struct entry *line = &mom->entries[i];
		_cleanup_(manifest_freep) struct manifest *m = load_manifest(v->tree, line->release, line->name);
		add_bundle(v, line, m);
	}
	qsort(v->x.trees.bundles, v->x.trees.n, sizeof(*v->x.trees.bundles), bundle_by_name);
}

/* Without the lines that the predecessor does not know. */
static void drop_own_lines(struct buf *text)
{
	const char *pos = text->data, *end = text->data + text->len, *line;
	struct buf out = {0};
	bool complete, header = true;
	size_t len;

	while (text_line(&pos, end, &line, &len, &complete)) {
		header &= len > 0;
		if (header && (text_starts(line, "sizes:\t") || text_starts(line, "attached:\t")))
			continue;
		buf_add(&out, line, len);
		buf_putc(&out, '\n');
	}
	buf_free(text);
	*text = out;
}

/* Without the files that are for some kinds of CPU only. */
static void drop_variants(struct buf *text, const char *tree, uint32_t release)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;

	assert_ok(manifest_parse(text->data, text->len, false, release, &m, &e), &e);
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct entry *x = &m->entries[i];
		if (x->variant)
			m->contentsize -= attrs_of(tree, x).size;
		else
			m->entries[n++] = *x;
	}
	if (n == m->n_entries)
		return;
	m->n_entries = n;
	text->len = 0;
	manifest_format(m, text);
}

static void compare_manifest(const struct vectors *v, uint32_t release, const char *bundle)
{
	_cleanup_free_ char *path = layout_manifest_plain(release, bundle), *own = xasprintf("update/www/%s", path);
	_cleanup_(buf_free) struct buf have = {0}, want = {0};
	struct err e = ERR_INIT;

	assert_ok(fs_load(v->x.config.dir, own, MANIFEST_MAX, &have, &e), &e);
	load(v->tree, path, &want);
	drop_own_lines(&have);
	drop_variants(&want, v->tree, release);
	buf_puts(&have, "");
	buf_puts(&want, "");
	assert_string_equal(have.data, want.data);
}

/* Its hashes are of texts with our lines; all else must be the same. */
static void compare_mom(const struct vectors *v, uint32_t release)
{
	_cleanup_(release_freep) struct release *r = NULL;
	_cleanup_(manifest_freep) struct manifest *theirs = load_manifest(v->tree, release, "MoM");
	_cleanup_(buf_free) struct buf have = {0}, want = {0};
	struct err e = ERR_INIT;

	assert_ok(release_load(&v->x.m, release, &r, &e), &e);
	struct manifest *ours = r->mom;
	ours->n_attached = 0;
	assert_int_equal(ours->n_entries, theirs->n_entries);
	for (size_t i = 0; i < ours->n_entries; i++)
		ours->entries[i].hash = theirs->entries[i].hash;
	manifest_format(ours, &have);
	manifest_format(theirs, &want);
	buf_puts(&have, "");
	buf_puts(&want, "");
	assert_string_equal(have.data, want.data);
	for (size_t i = 0; i < theirs->n_entries; i++)
		if (theirs->entries[i].release == release)
			compare_manifest(v, release, theirs->entries[i].name);
}

static void describe_again(struct vectors *v, uint32_t release, uint32_t previous, uint32_t minversion)
{
	add_bundles(v, release);
	mixed_describe(&v->x, release, previous, minversion);
	compare_mom(v, release);
}

TEST(describe_gives_the_manifests_of_the_predecessor)
{
	struct vectors v = {.tree = "www"};

	mixed_begin(&v.x);
	describe_again(&v, 10, 0, 0);
	describe_again(&v, 20, 10, 0);
	describe_again(&v, 30, 20, 0);
	mixed_end(&v.x);
}

TEST(describe_gives_the_manifests_of_the_predecessor_when_the_format_changes)
{
	struct vectors v = {.tree = "www-format-bump"};

	mixed_begin(&v.x);
	describe_again(&v, 10, 0, 0);
	describe_again(&v, 20, 10, 0);
	v.x.m.format = v.x.config.format = 31;
	describe_again(&v, 30, 10, 30);
	mixed_end(&v.x);
}

/* Of several lines of one path, the one for all CPUs comes first: it is the one that is found. */
static void copy_manifest(const struct vectors *v, uint32_t release, const char *bundle)
{
	_cleanup_free_ char *path = layout_manifest_plain(release, bundle), *own = xasprintf("update/www/%s", path);
	_cleanup_(manifest_freep) struct manifest *m = load_manifest(v->tree, release, bundle);
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	manifest_sort(m);
	manifest_format(m, &text);
	assert_ok(fs_save_cache(v->x.config.dir, own, text.data, text.len, 0644, &e), &e);
}

/* A file that was there for several kinds of CPU, and is now only there for all: the same bytes, but clients must look at it again. */
TEST(describe_goes_on_from_a_release_of_the_predecessor)
{
	static const char *const bundles[] = {"MoM", "editors", "extras", "libs", "os-core", "os-core-update"};
	static const char name[] = "/usr/lib/libopt.so.1";
	struct vectors v = {.tree = "www"};
	struct entry baseline = {0};
	struct err e = ERR_INIT;

	mixed_begin(&v.x);
	assert_ok(fs_mkdirs(v.x.config.dir, "update/www/10", 0755, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(bundles); i++)
		copy_manifest(&v, 10, bundles[i]);
	add_bundles(&v, 10);
	_cleanup_(manifest_freep) struct manifest *libs = load_manifest(v.tree, 10, "libs");
	for (size_t i = 0; i < libs->n_entries; i++)
		if (strcmp(libs->entries[i].name, name) == 0 && libs->entries[i].variant == 11)
			baseline = libs->entries[i];
	assert_non_null(baseline.name);
	for (size_t i = 0; i < v.x.trees.n; i++)
		if (strcmp(v.x.trees.bundles[i].name, "libs") == 0) {
			add(v.x.trees.bundles[i].tree, v.tree, &baseline);
			tree_sort(v.x.trees.bundles[i].tree);
		}
	mixed_describe(&v.x, 20, 10, 0);
	_cleanup_(release_freep) struct release *r = NULL;
	assert_ok(release_load(&v.x.m, 20, &r, &e), &e);
	for (size_t i = 0; i < r->n; i++)
		assert_int_equal(r->mom->entries[i].release, strcmp(r->mom->entries[i].name, "libs") == 0 ? 20 : 10);
	const struct manifest *now = release_find(r, "libs");
	for (size_t i = 0; i < now->n_entries; i++)
		assert_int_equal(now->entries[i].release, strcmp(now->entries[i].name, name) == 0 ? 20 : 10);
	assert_int_equal(manifest_find(now, name)->variant, 0);
	mixed_end(&v.x);
}
